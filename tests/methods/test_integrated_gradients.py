"""Integrated gradients, and their expectation over baselines."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import architectures
import limelight as ll
from limelight.engine.rng import Draws
from limelight.errors import InvalidOption
from limelight.maps.pixel.integrated_gradients import nodes
from methods import golden_network
from methods.test_goldens import SEEDED_MODELS, TINY, classifier, exact, golden, inputs, seeded
from methods.test_gradient import architectures_net, assert_same, assert_same_but_for_ties, cifar, line, scoring

QUADRATURES = ("gauss-legendre", "midpoint", "right", "left", "trapezoid", "ends")


def product() -> ll.Classifier:
    """f = x_1 x_2."""
    return scoring(lambda x: x[:, 0, 0, 0] * x[:, 0, 0, 1])


# -- worked out by hand ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("quadrature", ["gauss-legendre", "midpoint"])
def test_exact_on_a_product(quadrature: str, n: int) -> None:
    saliency = ll.method("integrated-gradients", n=n, quadrature=quadrature).run(product(), line(2, 3), 0)
    torch.testing.assert_close(saliency.raw, torch.tensor([[[3.0, 3]]]).double(), rtol=1e-14, atol=0)
    assert saliency.details["completeness_gap"].item() < 1e-12


@pytest.mark.parametrize(
    ("quadrature", "expected"), [("right", 4.5), ("left", 1.5), ("trapezoid", 3.0), ("ends", 3.0), ("midpoint", 3.0)]
)
def test_two_points_by_hand(quadrature: str, expected: float) -> None:
    """int a da by points 1/2 and 1; 0 and 1/2; 0 and 1; 1/4 and 3/4."""
    saliency = ll.method("integrated-gradients", n=2, quadrature=quadrature).run(product(), line(2, 3), 0)
    assert saliency.raw[0, 0].tolist() == [expected, expected]
    assert saliency.details["completeness_gap"].item() == abs(2 * expected - 6)


def test_another_baseline_by_hand() -> None:
    """From (1, 1) to (2, 3): R_1 = 1 int 1 + 2 a da = 2, R_2 = 2 int 1 + a da = 3, and 2 + 3 = 6 - 1."""
    for baseline in (line(1, 1)[0], line(1, 1)):
        saliency = ll.method("integrated-gradients", baseline=baseline).run(product(), line(2, 3), 0)
        torch.testing.assert_close(saliency.raw[0, 0], torch.tensor([2.0, 3]).double())
        assert saliency.details["completeness_gap"].item() < 1e-12


def test_golden_network() -> None:
    c, x = golden_network.classifier(), golden_network.image()
    saliency = ll.method("integrated-gradients").run(c, x, golden_network.TARGET)
    rows = golden_network.rows("integrated-gradients", "gauss-legendre 50; baseline -0.5")
    torch.testing.assert_close(saliency.raw[0], rows, rtol=0, atol=1e-9)
    assert saliency.details["completeness_gap"].item() == pytest.approx(9.5e-4, abs=5e-6)


# -- the quadratures -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quadrature", QUADRATURES)
def test_weights_add_up(quadrature: str) -> None:
    for n in (2, 5, 50):
        points, weights = nodes(quadrature, n)
        assert len(points) == len(weights) == n
        assert weights.sum().item() == pytest.approx(1, abs=1e-14)
        assert points.min() >= 0
        assert points.max() <= 1
        assert ((points == 0).any(), (points == 1).any()) == (
            quadrature in ("left", "trapezoid", "ends"),
            quadrature in ("right", "trapezoid", "ends"),
        )


@pytest.mark.parametrize(
    ("quadrature", "degree"), [("gauss-legendre", 9), ("midpoint", 1), ("trapezoid", 1), ("left", 0), ("right", 0)]
)
def test_exact_up_to_a_degree(quadrature: str, degree: int) -> None:
    """Five points of Gauss and Legendre integrate polynomials of degree 9, and no more."""
    points, weights = nodes(quadrature, 5)
    errors = [abs((weights * points**k).sum().item() - 1 / (k + 1)) for k in range(degree + 2)]
    assert max(errors[:-1]) < 1e-14
    assert errors[-1] > 1e-7


def test_both_ends_need_two_points() -> None:
    for quadrature in ("trapezoid", "ends"):
        with pytest.raises(InvalidOption, match="n = 2"):
            ll.method("integrated-gradients", n=1, quadrature=quadrature).run(product(), line(2, 3), 0)


# -- laws ------------------------------------------------------------------------------------------------------


def smooth() -> tuple[ll.Classifier, Tensor]:
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Tanh(), nn.Conv2d(5, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(48, 3))
    generator = torch.Generator().manual_seed(3)
    for p in net.parameters():
        p.data = 0.3 * torch.randn(p.shape, generator=generator)
    return ll.Classifier(net.double()), torch.randn(3, 3, 7, 8, generator=generator).double()


@pytest.mark.parametrize("score", ["logit", "prob"])
@pytest.mark.parametrize("baseline", ["black", "zero", "white", "mean", "rise-blur", "gauss-51-50"])
def test_complete_on_a_smooth_network(baseline: str, score: str) -> None:
    c, x = smooth()
    saliency = ll.method("integrated-gradients", baseline=baseline, score=score).run(c, x, [0, 1, 2])
    assert saliency.raw.abs().amax() > 1e-3
    assert saliency.details["completeness_gap"].shape == (3,)
    assert saliency.details["completeness_gap"].max() < 1e-10
    if baseline == "zero":
        start = c(torch.zeros_like(x))
        start = (start.softmax(1) if score == "prob" else start).diagonal()
        torch.testing.assert_close(saliency.raw.sum((1, 2)), saliency.score - start, rtol=0, atol=1e-10)


def test_several_baselines_are_averaged() -> None:
    c, x = smooth()
    white = c.bounds[1]

    def evidence(baseline: object) -> Tensor:
        return ll.method("integrated-gradients", n=5, baseline=baseline).evidence(c, x, 1)

    mean = (evidence("black") + evidence("white")) / 2
    for several in (["black", "white"], ("black", white), torch.stack(c.bounds)):
        assert_same(evidence(several), mean, 1e-6)
    saliency = ll.method("integrated-gradients", n=5, baseline=("black", "white")).run(c, x, 1)
    assert str(saliency.cost) == "13 F + 10 R"


def test_from_the_image_itself() -> None:
    c, x = smooth()
    saliency = ll.method("integrated-gradients", n=3, baseline=x[0]).run(c, x[:1], 1)
    assert saliency.degenerate.all()
    assert not saliency.raw.any()
    assert saliency.details["completeness_gap"].item() == 0


# -- other ways ------------------------------------------------------------------------------------------------


def test_a_blur_by_hand() -> None:
    """f = x_1 is linear, so that R_1 = -sigma_max int d(x_1 blurred)/dsigma: what the blur took from x_1."""
    c = scoring(lambda x: x[:, 0, 0, 0])
    saliency = ll.method("integrated-gradients", path="blur", max_sigma=0.8, n=200).run(c, line(2, 3), 0)
    bell = torch.exp(-0.5 * (torch.arange(-3, 4) / 0.8) ** 2).double()
    at_start = (bell[3] * 2 + bell[2] * 3) * bell[3] / bell.sum() ** 2  # the rows beside the only one are 0
    torch.testing.assert_close(saliency.raw[0, 0], torch.tensor([2 - at_start.item(), 0]).double(), rtol=1e-2, atol=0)
    assert saliency.details["completeness_gap"].item() < 1e-2 * abs(2 - at_start.item())


def test_complete_on_a_way_of_blurs() -> None:
    c, x = smooth()
    gaps = [
        ll.method("integrated-gradients", path="blur", max_sigma=3, n=n).run(c, x, 1).details["completeness_gap"].max()
        for n in (10, 300)
    ]
    assert gaps[1] < 1e-3 < gaps[0]


def test_a_guided_step_by_hand() -> None:
    """f = x_1 x_2 from (1, 1) to (2, 4) in two steps, a value at a time, none held back.

    The slopes at (1, 1) are equal, so both move together: half of the way, 2, is 1/2 of each way, to (1.5, 2.5).
    There they are (2.5, 1.5): x_2 moves first, its 1.5, and then x_1, its 0.5, both with the slopes of that point.
    """
    method = ll.method("integrated-gradients", path="guided", n=2, fraction=0.01, max_dist=1.0, baseline=line(1, 1))
    saliency = method.run(product(), line(2, 4), 0)
    torch.testing.assert_close(saliency.raw[0, 0], torch.tensor([0.5 + 0.5 * 2.5, 1.5 + 1.5 * 1.5]).double())
    assert saliency.details["completeness_gap"].item() == pytest.approx(abs(0.5 + 1.25 + 1.5 + 2.25 - 7))


def test_a_guided_way_without_freedom_is_straight() -> None:
    c, x = smooth()
    guided = ll.method("integrated-gradients", path="guided", n=9, max_dist=1e-9, baseline="zero").evidence(c, x, 1)
    straight = ll.method("integrated-gradients", quadrature="left", n=9, baseline="zero").evidence(c, x, 1)
    assert_same(guided, straight, 1e-6)


def test_a_guided_way_is_complete_in_the_limit() -> None:
    c, x = smooth()
    for baseline in ("zero", ("black", "white")):
        gaps = [
            ll.method("integrated-gradients", path="guided", n=n, max_dist=0.1, baseline=baseline)
            .run(c, x, 1)
            .details["completeness_gap"]
            .max()
            for n in (10, 200)
        ]
        assert gaps[1] < gaps[0] / 3


def test_a_blur_has_no_other_baseline() -> None:
    with pytest.raises(InvalidOption, match="max_sigma"):
        ll.method("integrated-gradients", path="blur", baseline="zero").run(product(), line(2, 3), 0)


def test_options() -> None:
    method = ll.method("integrated-gradients", baseline=torch.rand(2, 3, 1, 1))
    assert len(method.options.baseline) == 2
    assert ll.method("integrated-gradients", baseline="black") == ll.method("integrated-gradients")
    for wrong in ("grey", (), True):
        with pytest.raises(InvalidOption, match="baseline"):
            ll.method("integrated-gradients", baseline=wrong)
    c, x = smooth()
    options = ll.explain(c, x[0], method, 1).settings()["options"]
    assert ll.method("integrated-gradients", **options).options == method.options
    by_magnitude = ll.method("integrated-gradients", n=3, reduce="abs-sum").evidence(c, x, 1)
    assert (by_magnitude >= ll.method("integrated-gradients", n=3).evidence(c, x, 1).abs() - 1e-12).all()


# -- other people's code ---------------------------------------------------------------------------------------


def evidence(method: ll.Method, c: ll.Classifier, target: Tensor, x: Tensor) -> Tensor:
    return method.evidence(c, x, target)


CAPTUM = {
    "gausslegendre": "gauss-legendre",
    "riemann_trapezoid": "trapezoid",
    "riemann_middle": "midpoint",
    "riemann_right": "right",
}


LONE_TIES = {"captum": {"tinyvgg": 1e-3}, "blur": {"tinyvgg": 1e-2}}
"""Where float32 lets ties of its max pooling fall as no noise of ours does: at 0.3 % of the pixels, by at most 8e-4 of
the largest value (the gap of one sum by 1.2e-4), along blurs at 3 %, by at most 8e-3."""


@pytest.mark.parametrize("model", TINY)
def test_captum(model: str) -> None:
    about, arrays = golden(f"captum-integratedgradients-{model}")
    n, target = about["hyper_parameters"]["n_steps"], torch.from_numpy(arrays["target"])
    for key in CAPTUM.keys() & set(arrays.files):
        method = ll.method("integrated-gradients", profile="captum", n=n, quadrature=CAPTUM[key])
        c, x = exact(classifier(model)), inputs(model)[:2].double()
        theirs, gap = torch.from_numpy(arrays[key]).sum(1), torch.from_numpy(arrays[f"{key}_delta"]).abs()
        if key == "riemann_trapezoid":
            theirs = theirs * n / (n - 1)  # its weights add up to (n - 1) / n, so that its sums are too small
        else:
            found = method.run(c, x, target).details["completeness_gap"]
            torch.testing.assert_close(found, gap.to(found), rtol=0, atol=2e-4 if model == "tinyvgg" else 1e-4)
        tolerance = LONE_TIES["captum"].get(model, 1e-5)
        assert_same_but_for_ties(partial(evidence, method, c, target), x, theirs, tolerance)


@pytest.mark.parametrize("model", TINY)
def test_pair(model: str) -> None:
    _, arrays = golden(f"saliency-integrated_gradients-{model}")
    method = ll.method("integrated-gradients", profile="pair", score="prob")
    c, x, target = exact(classifier(model)), inputs(model)[:2].double(), torch.from_numpy(arrays["target"])
    # The way starts at a constant picture, where rounding picks the pixel that a maximum takes.
    assert_same_but_for_ties(lambda x: method.evidence(c, x, target), x, arrays["attr"].sum(1), 2e-5)


@pytest.mark.parametrize("model", TINY)
def test_pair_blur(model: str) -> None:
    about, arrays = golden(f"saliency-blur_ig-{model}")
    steps, sigma = about["hyper_parameters"]["steps"], about["hyper_parameters"]["max_sigma"]
    method = ll.method("integrated-gradients", profile="pair-blur", score="prob", n=steps, max_sigma=sigma)
    c, x, target = exact(classifier(model)), inputs(model)[:2].double(), torch.from_numpy(arrays["target"])
    tolerance = LONE_TIES["blur"].get(model, 1e-5)
    assert_same_but_for_ties(partial(evidence, method, c, target), x, arrays["attr"].sum(1), tolerance)


FORKS = {("tinyvgg", 0), ("tinyvgg", 1), ("tinyresnet_basic", 0), ("tinyresnet_bottleneck", 0)}
"""Pictures on whose way rounding decides which values move, as noise of its size shows on ours alone."""


@pytest.mark.parametrize("model", TINY)
def test_pair_guided(model: str) -> None:
    about, arrays = golden(f"saliency-guided_ig-{model}")
    n, fraction, far = (about["hyper_parameters"][key] for key in ("x_steps", "fraction", "max_dist"))
    options = {"n": n, "fraction": fraction, "max_dist": far}
    method = ll.method("integrated-gradients", profile="pair-guided", score="prob", **options)
    c, x, targets = exact(classifier(model)), inputs(model)[:2].double(), torch.from_numpy(arrays["target"])
    for i, theirs in enumerate(arrays["attr"].sum(1, keepdims=True)):
        one, target = x[i : i + 1], targets[i : i + 1]
        if (model, i) not in FORKS:
            assert_same_but_for_ties(partial(evidence, method, c, target), one, theirs, 1e-5)
            continue
        ours = method.evidence(classifier(model), one.float(), target)
        off = (ours - torch.from_numpy(theirs)).abs().amax()
        if off > 1e-5 * ours.abs().amax():  # this processor rounds otherwise than theirs
            noise = 1e-7 * torch.randn(4, *one.shape, generator=torch.Generator().manual_seed(1))
            found = [method.evidence(classifier(model), one.float() + e, target) for e in noise]
            assert off < 2 * max(float((f - ours).abs().amax()) for f in found)


def test_cifar() -> None:
    c, x, target, arrays = cifar()
    method, double = ll.method("integrated-gradients", profile="captum", n=32), exact(c)
    assert_same_but_for_ties(
        lambda x: method.evidence(double, x, target), x.double(), arrays["captum_ig32"].sum(1), 1e-4
    )


@pytest.mark.slow
def test_squeezenet() -> None:
    about, arrays = golden("captum-integratedgradients-squeezenet")
    method = ll.method("integrated-gradients", profile="captum", n=about["hyper_parameters"]["n_steps"])
    x, target = inputs("squeezenet")[:1], torch.from_numpy(arrays["target"])
    saliency = method.run(classifier("squeezenet"), x, target)
    assert_same(saliency.raw[:, ::2, ::2], arrays["gausslegendre_stride2"].sum(1), 1e-3)
    gap = torch.from_numpy(arrays["gausslegendre_delta"]).abs()
    torch.testing.assert_close(saliency.details["completeness_gap"], gap, rtol=0, atol=1e-3)


@pytest.mark.parametrize("model", SEEDED_MODELS)
def test_seeded_torchvision(model: str) -> None:
    about, arrays, c, x = seeded(model)
    method = ll.method("integrated-gradients", profile="captum", n=about["hyper_parameters"]["ig_steps"])
    target = torch.from_numpy(arrays["target"])[:1]
    # Theirs is float32. Behind many batch norms fitted to four pictures noise of 1e-6 on the picture changes the map by
    # up to 0.4 % of its largest value (ResNet-18) and 4 % (ResNet-50); outside of that band 2e-6 and 1 % are left, of
    # ResNet-18 on processors without AVX2 6e-4.
    tolerance = 1e-3 if model == "resnet18" else 1.2e-2
    assert_same_but_for_ties(lambda x: method.evidence(c, x, target), x[:1], arrays["captum_ig16"].sum(1), tolerance)


# -- expected gradients ----------------------------------------------------------------------------------------


class Replayed:
    """Draws that are known: the way's point a, and the place of the baseline in [0, 1); no noise but ``noise``."""

    def __init__(self, a: float, place: float, noise: float = 0.0) -> None:
        self.numbers, self.noise = torch.tensor([a, place]), noise

    def uniform(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return self.numbers.to(like)

    def normal(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return torch.full(shape, self.noise).to(like)


def replay(monkeypatch: pytest.MonkeyPatch, *draws: tuple[float, ...]) -> None:
    monkeypatch.setattr(Draws, "numbered", lambda self, number: Replayed(*draws[number]))


def test_gradient_shap_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """f = x_1 x_2 at (2, 3).

    Draw 1: from (0, 0), a = 3/4: the point (3/2, 9/4), so R = (2 9/4, 3 3/2) = (4.5, 4.5).
    Draw 2: from (1, 1), a = 1/4: the point (5/4, 3/2), so R = (1 3/2, 2 5/4) = (1.5, 2.5).
    """
    replay(monkeypatch, (0.75, 0.1), (0.25, 0.9))
    baseline = torch.cat([line(0, 0), line(1, 1)])
    saliency = ll.method("gradient-shap", n=2, baseline=baseline).run(product(), line(2, 3), 0)
    assert saliency.raw[0, 0].tolist() == [3, 3.5]
    # The sum is 6.5; y(x) - E y(x_0) is 6 - 1/2.
    assert saliency.details["completeness_gap"].item() == 1
    assert str(saliency.cost) == "5 F + 2 R"


def test_gradient_shap_noise_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """x' = (2, 3) + 0.5 * 2 = (3, 4), from (0, 0), a = 1/2: the point (3/2, 2), so R = (3 2, 4 3/2)."""
    replay(monkeypatch, (0.5, 0.0, 2.0))
    method = ll.method("gradient-shap", n=1, baseline=line(0, 0), stdev=0.5)
    assert method.evidence(product(), line(2, 3), 0)[0, 0].tolist() == [6, 6]


def test_gradient_shap_tends_to_integrated_gradients() -> None:
    c, x = smooth()
    shap = ll.method("gradient-shap", n=3000, baseline=("black", "white")).run(c, x[:1], 1)
    exact = ll.method("integrated-gradients", baseline=("black", "white")).evidence(c, x[:1], 1)
    assert_same(shap.raw, exact, 0.1)
    few = ll.method("gradient-shap", n=30, baseline=("black", "white")).run(c, x[:1], 1)
    assert (few.raw - exact).square().mean() > 9 * (shap.raw - exact).square().mean()  # 100 on average
    assert few.details["completeness_gap"].item() > shap.details["completeness_gap"].item()


def test_gradient_shap_draws_every_baseline() -> None:
    """A linear score: R = W (x - mean of the baselines drawn), and its sum says how often each was."""
    c = scoring(lambda x: x[:, 0, 0, 0])
    for n in (1, 400):
        raw = ll.method("gradient-shap", n=n, baseline=torch.cat([line(0), line(1)])).evidence(c, line(2), 0)
        share_of_zero = raw.item() - 1
        assert share_of_zero in (0, 1) if n == 1 else 0.4 < share_of_zero < 0.6


def test_gradient_shap_does_not_depend_on_the_batch() -> None:
    c, x = exact(architectures_net("plain")[0]), architectures.images().double()
    method = ll.method("gradient-shap", n=3, stdev=0.1)
    together = method.evidence(c, x, 1)
    assert_same(torch.cat([method.evidence(c, x[i : i + 1], 1) for i in range(3)]), together)
    assert_same(ll.method("gradient-shap", n=3, stdev=0.1, batch_size=2).evidence(c, x, 1), together)


def test_gradient_shap_against_captum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their points on the way, given to us."""
    attr = pytest.importorskip("captum.attr", reason="needs the package captum, of the extra peers")
    c, x = classifier("tinyresnet_basic"), inputs("tinyresnet_basic")[:1]
    points: list[float] = []
    uniform = np.random.uniform

    def recorded(*args: float) -> np.ndarray:
        found = uniform(*args)
        points.extend(found)
        return found

    monkeypatch.setattr(np.random, "uniform", recorded)
    theirs = attr.GradientShap(c.module).attribute(x, baselines=torch.zeros_like(x), n_samples=4, stdevs=0.0, target=3)
    assert len(points) == 4
    replay(monkeypatch, *((a, 0.0) for a in points))
    ours = ll.method("gradient-shap", n=4, baseline="zero").evidence(c, x, 3)
    assert_same(ours, theirs.detach().sum(1))
