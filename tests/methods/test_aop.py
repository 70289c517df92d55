"""AOP and SIGCAM: the first mask by hand, and what the parts make of each other."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import architectures
import limelight as ll
from limelight.engine.baselines import fill_images
from limelight.engine.rng import draws_per_image
from limelight.errors import InvalidOption, UnknownMethod
from limelight.maps.perturbation.aop import aop
from limelight.ops import min_max
from methods.known_scores import Of, Scored
from methods.written_i_gos import SIZE, Counting, Written, enlarge, smooth

FEW: dict[str, Any] = {"n": 3, "points": 2, "l1": 0.01, "tv": 0.1}
I_GOS: dict[str, Any] = {"size": 8, "optimiser_options": FEW}
EMP: dict[str, Any] = {"size": 8, "optimiser": "emp", "optimiser_options": {"n": 4}}


def network(name: str = "residual", kind: torch.dtype = torch.float32) -> tuple[ll.Classifier, Tensor]:
    return ll.Classifier(architectures.build(name).to(kind)), architectures.images(3).to(kind)


def corner_to_corner(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps[:, None], size, mode="bilinear", align_corners=True)[:, 0]


# -- the first mask --------------------------------------------------------------------------------------------


def first_mask(m: Tensor, **options: Any) -> Tensor:
    """Run the equation on a map of the base method, with an optimiser that leaves its first mask alone."""
    image = torch.zeros(len(m), 3, 30, 40, dtype=m.dtype)
    found = aop(m, image, lambda start: ll.Raw(start), **options)
    assert torch.equal(found.values, found.details["first_mask"])
    return found.values


def test_first_mask_by_hand() -> None:
    m = torch.tensor([[[1.0, 0.8], [0.5, 0.0]]], dtype=torch.float64)
    expected = torch.tensor([[[0.85, 0.88], [1.0, 1.0]]], dtype=torch.float64)
    torch.testing.assert_close(first_mask(m, theta=0.7, lam=0.15, size=2), expected, rtol=0, atol=1e-15)
    # The scale of the map does not count, nor what is negative.
    torch.testing.assert_close(first_mask(5 * m, theta=0.7, lam=0.15, size=2), expected, rtol=0, atol=1e-15)
    signed = torch.tensor([[[10.0, 8.0], [5.0, -90.0]]], dtype=torch.float64)
    torch.testing.assert_close(first_mask(signed, theta=0.7, lam=0.15, size=2), expected, rtol=0, atol=1e-15)
    # 1/2 is kept by a threshold of 1/2.
    kept = first_mask(m, theta=0.5, lam=1.0, size=2)
    assert kept.tolist() == [[[0.0, pytest.approx(0.2)], [0.5, 1.0]]]
    # Corner to corner: the middle of 3 is the mean of both ends.
    assert first_mask(m, theta=0.0, lam=1.0, size=3)[0, 0].tolist() == pytest.approx([0, 0.1, 0.2])


def test_first_mask_stays_in_its_range() -> None:
    m = torch.rand(4, 7, 9, generator=torch.Generator().manual_seed(0))
    for lam in (0.15, 1.0):
        mask = first_mask(m, lam=lam)
        assert mask.shape == (4, 28, 28)
        assert mask.min() >= 1 - lam - 1e-6
        assert mask.max() <= 1
        assert (mask.amin((1, 2)) < 1 - 0.9 * lam).all()


@pytest.mark.parametrize("name", ["aop", "sigcam"])
@pytest.mark.parametrize("optimiser", ["i-gos", "emp"])
def test_without_steps(name: str, optimiser: str) -> None:
    """T = 0: mm(U(U_28(lam filter(M)))), at the cost of the base method."""
    c, x = network(kind=torch.float64)
    if name == "sigcam" and optimiser == "emp":
        return
    top = {"n": 0} if name == "sigcam" else {"optimiser": optimiser, "optimiser_options": {"n": 0}}
    found = ll.method(name, **top).run(c, x, 1)
    base = ll.method("wgrad-cam" if name == "sigcam" else "grad-cam").raw(c, x, 1)
    m = min_max(base.relu())[0]
    small = corner_to_corner(0.15 * m * (m >= 0.7), (28, 28))
    torch.testing.assert_close(found.details["first_mask"], 1 - small, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.details["mask"], 1 - small, rtol=0, atol=1e-12)
    if optimiser == "i-gos" or found.raw.shape == x.shape[-3:]:
        expected = min_max(corner_to_corner(small, (40, 56)))[0]
        torch.testing.assert_close(found.map, expected.float(), rtol=0, atol=1e-6)
    assert str(found.cost) == "1 F + 1 R_t"


# -- its parts -------------------------------------------------------------------------------------------------

BASES: dict[str, dict[str, Any]] = {
    "grad-cam": {},
    "layer-cam": {},
    "hires-cam": {},
    "smooth-grad-cam++": {"n": 2},
    "eigen-cam": {},
    "fake-cam": {},
    "ablation-cam": {},
    "score-cam": {},
    "group-cam": {"n_groups": 4},
    "cluster-cam": {},
    "collection-cam": {},
    "rise": {"n_masks": 20},
    "gradient": {},
    "occlusion": {"window": 12, "stride": 12},
    "relevance-cam": {},
    "lrp": {},
    "full-grad": {},
}


@pytest.mark.parametrize("base", BASES)
def test_every_kind_of_base(base: str) -> None:
    """The first mask is made of what the base method finds by itself, for the score that is its own default."""
    c, x = network(kind=torch.float64)
    found = ll.method("aop", base=base, base_options=BASES[base], **I_GOS).run(c, x)
    m = min_max(ll.method(base, **BASES[base]).raw(c, x).relu())[0]
    expected = 1 - corner_to_corner(0.15 * m * (m >= 0.7), (8, 8))
    torch.testing.assert_close(found.details["first_mask"], expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.details["trace_masks"][:, 0], expected, rtol=0, atol=1e-9)
    assert (m.amax((1, 2)) == 1).any()
    assert torch.isfinite(found.map).all()


def test_each_part_has_its_own_score() -> None:
    """Grad-CAM explains the logit; what is minimised is the probability, unless told otherwise."""
    c, x = network(kind=torch.float64)
    for given, kind in (({}, "prob"), ({"score": "logit"}, "logit")):
        found = ll.method("aop", **I_GOS, **given).run(c, x, 1)
        logits = c(x)
        expected = logits.softmax(1)[:, 1] if kind == "prob" else logits[:, 1]
        torch.testing.assert_close(found.score, expected)
        masks = ll.method("aop", **I_GOS).run(c, x, 1).details["first_mask"]
        assert torch.equal(found.details["first_mask"], masks)
    by_probability = ll.method("aop", base_options={"score": "prob"}, **I_GOS).run(c, x, 1)
    expected = ll.method("grad-cam", score="prob").raw(c, x, 1)
    m = min_max(expected.relu())[0]
    torch.testing.assert_close(
        by_probability.details["first_mask"], 1 - corner_to_corner(0.15 * m * (m >= 0.7), (8, 8)), rtol=0, atol=1e-9
    )
    assert ll.method("aop").base.options.score == "logit"
    assert ll.method("aop").optimiser.options.score == "prob"
    assert ll.method("aop", optimiser="emp").optimiser.options.baseline == "gauss-51-50"


def test_sigcam_is_aop() -> None:
    c, x = network()
    options = {"theta": 0.6, "lam": 0.3, "size": 9, "warmup": 1, "seed": 3}
    quick = {k: v for k, v in FEW.items() if k != "n"}
    a = ll.method("aop", base="wgrad-cam", optimiser="i-gos", optimiser_options=FEW, **options).run(c, x, 1)
    b = ll.method("sigcam", n=FEW["n"], optimiser_options=quick, **options).run(c, x, 1)
    assert torch.equal(a.raw, b.raw)
    assert str(a.cost) == str(b.cost)
    for name in ("aop", "sigcam"):
        o = ll.method(name).options
        assert (o.theta, o.lam, o.size, o.warmup, o.score) == (0.7, 0.15, 28, 5, "prob")
        coco = ll.method(name, profile="coco").options
        assert (coco.theta, coco.lam) == (0.6, 0.25)
    parts = ll.method("sigcam")
    assert (parts.base.name, parts.optimiser.name) == ("wgrad-cam", "i-gos")
    o = parts.optimiser.options
    assert (o.n, o.points, o.l1, o.tv, o.noise, o.size, o.warmup) == (15, 20, 1.0, 20.0, 0.2, 28, 5)
    assert (o.baseline, o.weak, o.game, o.tol) == ("gauss-51-50", "gauss-11-5", "deletion", None)


@pytest.mark.parametrize("architecture", ["plain", "residual", "dense", "tokens"])
@pytest.mark.parametrize("optimiser", ["i-gos", "emp"])
def test_without_a_map_it_is_the_optimiser(optimiser: str, architecture: str) -> None:
    """lam = 0, and no warm-up: bit for bit, with the same noise, and but for the base at the same cost."""
    c, x = network(architecture)
    quick = FEW if optimiser == "i-gos" else {"n": 4}
    found = ll.method("aop", lam=0.0, warmup=0, size=8, optimiser=optimiser, optimiser_options=quick, seed=5).run(
        c, x, 1
    )
    profile = {} if optimiser == "i-gos" else {"profile": "aop"}
    plain = ll.method(optimiser, size=8, seed=5, **profile, **quick).run(c, x, 1)
    assert torch.equal(found.raw, plain.raw)
    for key, value in plain.details.items():
        assert torch.equal(found.details[key], value) or bool(value.isnan().any())
    assert found.cost.n_forward == plain.cost.n_forward
    assert found.cost.n_backward == plain.cost.n_backward
    assert plain.details["mask"].min() < 1


class Dead(nn.Module):
    """A layer that is 0 on the way of the first picture only."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        alive = (x.mean((1, 2, 3)) > 0).to(x)[:, None, None, None]
        maps = self.relu(self.conv(x)) * alive
        return self.tail(maps).mean((2, 3)) + x[:, :, :4].mean((2, 3)).repeat(1, 2)[:, :4]

    def tail(self, maps: Tensor) -> Tensor:
        return self.relu(maps)


def test_an_empty_map() -> None:
    """It begins at nothing there, as the plain optimiser does, and says so."""
    torch_state = torch.Generator().manual_seed(0)
    net = Dead()
    for p in net.parameters():
        p.data = torch.randn(p.shape, generator=torch_state)
    c = ll.Classifier(net.double(), layer="conv")
    x = architectures.images(2).double()
    x[0] -= 3
    x[1] += 3
    plain = ll.method("i-gos", **FEW, size=8).run(c, x, 1)
    method = ll.method("aop", base="layer-cam", warmup=0, **I_GOS, layer="relu")
    found = method.run(c, x, 1)
    empty = (found.details["first_mask"] == 1).all((1, 2)).tolist()
    assert empty == [True, False]
    torch.testing.assert_close(found.raw[0], plain.raw[0], rtol=0, atol=1e-12)
    assert not torch.equal(found.raw[1], plain.raw[1])
    assert any("began at nothing" in note for note in found.notes)
    assert not method.run(c, x[1:], 1).notes


# -- costs -----------------------------------------------------------------------------------------------------


def test_clean_pass_is_shared() -> None:
    """The module's own count: Grad-CAM and EMP need 1 + n forwards together, and the image is passed once."""
    c, x = network()
    method = ll.method("aop", **EMP)
    found = method.run(c, x, 1)
    assert str(found.cost) == str(method.cost(c, x)) == "5 F + 4 R + 1 R_t"
    scored = ll.method("aop", base="occlusion", base_options={"window": 20, "stride": 20}, **EMP)
    alone = ll.method("occlusion", window=20, stride=20).run(c, x, 1).cost
    assert scored.run(c, x, 1).cost.n_forward == alone.n_forward + 4
    counting = Counting(architectures.build("residual"))
    c = ll.Classifier(counting, layer="module.layer2")
    c.trace(x)
    counting.plain = counting.back = 0
    found = ll.method("aop", **EMP).run(c, x, 1)
    assert counting.plain + counting.back == 3 * 5 == 3 * found.cost.n_forward


def test_from_a_first_mask_written_out() -> None:
    """The same masks; the score of a first mask that is not 1 costs the one pass that a known one saves."""
    net, x = smooth()
    c = ll.Classifier(net, layer="module.2")
    quick = {"n": 4, "points": 3, "noise": 0.0, "l1": 0.02, "tv": 0.1}
    for warmup, more in ((0, 1), (2, 2), (4, 1), (9, 1)):
        method = ll.method("aop", size=5, warmup=warmup, optimiser_options=quick)
        found = method.run(c, x, 1)
        full, weak = fill_images(c, x, "gauss-51-50"), fill_images(c, x, "gauss-11-5")
        written = Written(net.module, x, 1, 0.02, 0.1, 3, lambda t, w=warmup, a=weak, b=full: a if t < w else b)
        start = found.details["first_mask"][0]
        assert start.min() < 0.95
        mask, _, _ = written(4, start)
        torch.testing.assert_close(found.details["mask"][0], mask, rtol=0, atol=1e-10)
        torch.testing.assert_close(found.raw[0], enlarge(1 - mask, (12, 14)), rtol=0, atol=1e-10)
        assert found.cost.n_forward == written.passes - 4 + more
        assert found.cost.n_backward == 12
        assert found.cost.n_backward_tail == 1
        assert found.cost.n_forward <= method.cost(c, x).n_forward


@pytest.mark.parametrize(("name", "base"), [("i-gos", None), ("sigcam", "wgrad-cam"), ("aop", "grad-cam")])
def test_the_authors_profile_written_out(name: str, base: str | None) -> None:
    """Ten steps; noise of 0.25 / (max - min) on the points; masks, and the map to begin with, enlarged as cells."""
    net, x = smooth()
    c = ll.Classifier(net, layer="module.2")
    quick = {"points": 6, "l1": 0.02, "tv": 0.1}
    given = quick if name == "i-gos" else {"warmup": 2, "optimiser_options": quick}
    found = ll.method(name, profile="author", size=5, seed=7, **given).run(c, x, 1)

    start = torch.ones(5, 5).double()
    if base:
        m = min_max(ll.method(base).raw(c, x, 1).relu())[0][0]
        start = start - enlarge(0.15 * m * (m >= 0.7), (5, 5), cells=True)
        torch.testing.assert_close(found.details["first_mask"][0], start, rtol=0, atol=1e-12)
        assert start.min() < 0.95
    full, weak = fill_images(c, x, "gauss-51-50"), fill_images(c, x, "gauss-11-5")
    (drawn,) = draws_per_image(7, x)
    deviation = 0.25 / (x.max() - x.min()).item()
    assert 0.03 < deviation < 0.06

    def noise(t: int, j: int) -> Tensor:
        return deviation * drawn.number(t).number(j - 1).normal((3, *SIZE), x)

    written = Written(
        net.module, x, 1, 0.02, 0.1, 6, lambda t: weak if base and t < 2 else full, cells=True, noise=noise
    )
    mask, _, _ = written(10, start)
    torch.testing.assert_close(found.details["mask"][0], mask, rtol=0, atol=1e-10)
    torch.testing.assert_close(found.raw[0], enlarge(1 - mask, SIZE, cells=True), rtol=0, atol=1e-10)
    assert (start - mask).abs().max() > 0.02


def test_the_authors_profile_is_one_of_i_gos() -> None:
    """What the user gives goes before it, piece by piece; EMP has none, and says so."""
    for name in ("aop", "sigcam"):
        o = ll.method(name, profile="author", optimiser_options={"points": 5}).optimiser.options
        assert (o.n, o.points, o.noise, o.noise_scale, o.align_corners) == (10, 5, 0.25, "inverse_range", False)
        assert (o.l1, o.tv, o.size, o.warmup, o.baseline) == (1.0, 20.0, 28, 5, "gauss-51-50")
        assert ll.method(name, profile="author", align_corners=True).optimiser.options.align_corners
        assert ll.method(name, profile="author", optimiser_options={"noise": 0.1}).optimiser.options.noise == 0.1
        assert ll.method(name, profile="author", optimiser_options={"profile": "aop"}).optimiser.options.noise == 0.2
    with pytest.raises(InvalidOption, match="emp has no profile 'author'"):
        ll.method("aop", optimiser="emp", profile="author")


@pytest.mark.parametrize("options", [I_GOS, EMP])
def test_a_batch_is_its_images_one_by_one(options: dict[str, Any]) -> None:
    c, x = network(kind=torch.float64)
    method = ll.method("aop", **options)
    together = method.run(c, x, [0, 1, 2])
    singles = [method.run(c, x[i : i + 1], i) for i in range(3)]
    torch.testing.assert_close(together.raw, torch.cat([one.raw for one in singles]), rtol=0, atol=1e-9)
    assert together.cost.n_forward * 3 == pytest.approx(sum(one.cost.n_forward for one in singles))


def test_budget() -> None:
    c, x = network()
    for options in (I_GOS, EMP):
        long = options | {"optimiser_options": options["optimiser_options"] | {"n": 99}}
        found = ll.method("aop", **long, budget="45 forwards").run(c, x, 1)
        assert 30 < found.cost.n_forward <= 45
        assert any("budget" in note for note in found.notes)


# -- options ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["aop", "sigcam"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_options": {"layr": "x"}}, "no option 'layr'; did you mean layer"),
        ({"optimiser_options": {"point": 3}}, "no option 'point'; did you mean points"),
        ({"optimiser_options": {"points": 0}}, "option points = 0"),
        ({"base_options": {"score": "odds"}}, "option score = 'odds'"),
        ({"optimiser_options": {"baseline": "grey"}}, "option baseline = 'grey'"),
        ({"theta": 1.5}, "option theta"),
        ({"lam": -0.1}, "option lam"),
        ({"size": 1}, "option size"),
        ({"warmup": -1}, "option warmup"),
        ({"lambda": 0.1}, "no option 'lambda'"),
        ({"profile": "voc"}, "no profile 'voc'"),
    ],
)
def test_wrong_options_are_found_at_once(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        ll.method(name, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base": "aop"}, "refines none itself, not of aop"),
        ({"base": "sigcam"}, "refines none itself, not of sigcam"),
        ({"base": ""}, "option base"),
        ({"optimiser": "grad-cam"}, "option optimiser"),
        ({"optimiser": "emp", "optimiser_options": {"points": 3}}, "emp has no option 'points'"),
    ],
)
def test_wrong_parts_are_found_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        ll.method("aop", **options)


def test_unknown_parts() -> None:
    with pytest.raises(UnknownMethod, match="did you mean grad-cam"):
        ll.method("aop", base="grad-kam")
    with pytest.raises(InvalidOption, match="no option 'base'"):
        ll.method("sigcam", base="grad-cam")


@pytest.mark.parametrize("name", ["aop", "sigcam"])
def test_layer_is_that_of_the_base(name: str) -> None:
    c, x = network()
    quick = {"size": 8, "optimiser_options": {"points": 2, **({"n": 2} if name == "aop" else {})}}
    quick |= {"n": 2} if name == "sigcam" else {}
    deep, shallow = (ll.method(name, **quick, layer=layer).run(c, x, 1) for layer in (None, "layer1"))
    assert not torch.equal(deep.details["first_mask"], shallow.details["first_mask"])
    base = ll.method("wgrad-cam" if name == "sigcam" else "grad-cam", layer="layer1").raw(c, x, 1)
    m = min_max(base.relu())[0]
    expected = 1 - corner_to_corner(0.15 * m * (m >= 0.7), (8, 8))
    torch.testing.assert_close(shallow.details["first_mask"], expected, rtol=0, atol=1e-5)
    assert shallow.provenance["layers"] == ["layer1"]


@pytest.mark.parametrize(
    "options",
    [
        {"base": "score-cam", "optimiser": "emp", "optimiser_options": {"n": 2, "noise": 0.1}, "theta": 0.5},
        {"base_options": {"relu": False}, "lam": 0.3, "optimiser_options": FEW, "seed": 4},
        {"profile": "coco", "optimiser_options": {"n": 2, "profile": "batched", "points": 2}},
    ],
)
def test_settings_make_the_same_map_again(options: dict[str, Any]) -> None:
    c, x = network()
    method = ll.method("aop", size=8, **options)
    e = ll.explain(c, x[0], method, 1)
    settings = e.settings()
    again = ll.method(settings["method"], **settings["options"])
    assert again.options == method.options
    assert torch.equal(ll.explain(c, x[0], again, 1).raw, e.raw)


def test_zero_and_constant_maps() -> None:
    """A constant map says nothing about places: the first mask is 1."""
    assert (first_mask(torch.full((1, 4, 4), 0.7, dtype=torch.float64)) == 1).all()
    assert (first_mask(-torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(0))) == 1).all()
    c = ll.Classifier(Scored(Of(lambda x: 0 * x.sum((1, 2, 3)) + 3)).double())
    found = ll.method("aop", base="gradient", **I_GOS).run(c, architectures.images(1).double(), 0)
    assert found.degenerate.all()
    assert found.notes
