"""Integrated gradients, and their expectation over baselines."""

from functools import partial

import pytest
import torch
from torch import Tensor

import limelight as ll
from limelight.errors import InvalidOption
from limelight.maps.pixel.integrated_gradients import nodes
from methods import golden_network
from methods.goldens import SEEDED_MODELS, TINY, cifar, classifier, exact, golden, inputs, seeded
from methods.known_scores import assert_same, assert_same_but_for_ties, line, product, smooth

QUADRATURES = ("gauss-legendre", "midpoint", "right", "left", "trapezoid", "ends")


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
        return ll.method("integrated-gradients", n=5, baseline=baseline).raw(c, x, 1)

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
    by_magnitude = ll.method("integrated-gradients", n=3, reduce="abs-sum").raw(c, x, 1)
    assert (by_magnitude >= ll.method("integrated-gradients", n=3).raw(c, x, 1).abs() - 1e-12).all()


def evidence(method: ll.Method, c: ll.Classifier, target: Tensor, x: Tensor) -> Tensor:
    return method.raw(c, x, target)


CAPTUM = {
    "gausslegendre": "gauss-legendre",
    "riemann_trapezoid": "trapezoid",
    "riemann_middle": "midpoint",
    "riemann_right": "right",
}

LONE_TIES = {"captum": {"tinyvgg": 1e-3}, "blur": {"tinyvgg": 1e-2}}
"""Where float32 lets ties of its max pooling fall as no noise of ours does: at 0.3 % of the pixels, by at most 8e-4 of
the largest value (the gap of one sum by 1.2e-4), along blurs at 3 %, by at most 8e-3."""


@pytest.mark.parametrize("model", [pytest.param(m, marks=[pytest.mark.slow] * (m == "tinyvgg")) for m in TINY])
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
    assert_same_but_for_ties(lambda x: method.raw(c, x, target), x, arrays["attr"].sum(1), 2e-5)


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


@pytest.mark.slow
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
        ours = method.raw(classifier(model), one.float(), target)
        off = (ours - torch.from_numpy(theirs)).abs().amax()
        if off > 1e-5 * ours.abs().amax():  # this processor rounds otherwise than theirs
            noise = 1e-7 * torch.randn(4, *one.shape, generator=torch.Generator().manual_seed(1))
            found = [method.raw(classifier(model), one.float() + e, target) for e in noise]
            assert off < 2 * max(float((f - ours).abs().amax()) for f in found)


@pytest.mark.slow
def test_cifar() -> None:
    c, x, target, arrays = cifar()
    method, double = ll.method("integrated-gradients", profile="captum", n=32), exact(c)
    assert_same_but_for_ties(lambda x: method.raw(double, x, target), x.double(), arrays["captum_ig32"].sum(1), 1e-4)


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
    assert_same_but_for_ties(lambda x: method.raw(c, x, target), x[:1], arrays["captum_ig16"].sum(1), tolerance)
