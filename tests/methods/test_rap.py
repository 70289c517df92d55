"""Relative attributing propagation: worked examples, other people's maps, conservation."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import architectures
import limelight as ll
from limelight.errors import ConservationWarning
from limelight.maps.propagation.rap import Relative, by_influence
from limelight.relevance.affine import Convolution, Product
from limelight.relevance.op import Op
from methods import golden_network
from methods.goldens import classifier, golden, inputs

W = torch.tensor([[[1.0, -1.0], [2.0, 0.0]], [[0.5, 1.0], [-1.0, -2.0]]]).double()[:, None]
X = torch.tensor([[2.0, 1.0], [0.0, 1.0]]).double()[None, None]
R = torch.tensor([[3.0, -1.0]]).double()
CONV = (17 / 6, 5 / 6, 0, -5 / 3)
LINEAR = (7 / 3, 1 / 3, 0, -2 / 3)


def as_conv(w: Tensor = W, x: Tensor = X) -> Op:
    y = nn.functional.conv2d(x, w)
    affine = Convolution([1, 1], [0, 0], [1, 1], 1)
    return Op("conv", "conv2d", "", [x], y, lambda x: x, (1,), ("",), True, len(x), 1, affine, w)


def as_linear(w: Tensor, x: Tensor, b: Tensor | None = None, nonnegative: bool = True) -> Op:
    y = nn.functional.linear(x, w, b)
    return Op("linear", "linear", "", [x], y, lambda x: x, (1,), ("",), nonnegative, len(x), 1, Product(), w, b)


def in_double(c: ll.Classifier) -> ll.Classifier:
    return ll.Classifier(copy.deepcopy(c.module).double())


def quiet(method: ll.Method, c: ll.Classifier, x: Tensor, target: object) -> ll.Saliency:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConservationWarning)
        return method.run(c, x, target)


# -- worked examples -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("route", "conv", "linear"), [
    ("code", CONV, LINEAR),
    ("inhibitory", CONV, CONV),
    ("excitatory", LINEAR, LINEAR),
])  # fmt: skip
def test_inner_operation(route: str, conv: tuple[float, ...], linear: tuple[float, ...]) -> None:
    """Two outputs with relevance 3 and -1, whose inputs are 2, 1, 0, 1: worked out by hand."""
    rule = Relative(route)
    np.testing.assert_allclose(rule(as_conv(), R.view(1, 2, 1, 1)).flatten(), conv, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(rule(as_linear(W.flatten(1), X.flatten(1)), R).flatten(), linear, rtol=1e-12, atol=1e-15)


def test_inner_operation_one_by_one() -> None:
    """The inhibitory route by the text: three shares, then what is too much off all that have some."""
    generator = torch.Generator().manual_seed(3)
    w, x, r = (torch.randn(s, generator=generator).double() for s in ((5, 7), (7,), (5,)))
    x = x.relu()
    r[1] = 0
    c = np.zeros(7)
    for j in range(5):
        pos, neg = [float(x @ side) for side in (w[j].clamp_min(0), (-w[j]).clamp_min(0))]
        for i in range(7):
            helps, hurts = float(x[i] * w[j, i].clamp_min(0)), float(x[i] * (-w[j, i]).clamp_min(0))
            c[i] += max(float(r[j]), 0) * helps / pos + float(r[j]) * hurts / (pos + neg)
            c[i] += min(float(r[j]), 0) * hurts / neg
    excess = c.sum() - float(r.sum())
    expected = np.where(c != 0, c - excess / (c != 0).sum(), 0)
    np.testing.assert_allclose(Relative("inhibitory")(as_linear(w, x[None]), r[None])[0], expected, rtol=1e-10)


def test_dead_denominators() -> None:
    """Relevance 1 where nothing raises the output and 2 where nothing does anything, x = (1, 2): C = (1, 2) / 3."""
    w, x = torch.tensor([[-1.0, -1.0], [0.0, 0.0]]), torch.tensor([[1.0, 2.0]])
    found = Relative()(as_linear(w, x), torch.tensor([[1.0, 2.0]]))
    torch.testing.assert_close(found, torch.tensor([[4 / 3, 5 / 3]]))
    assert not Relative()(as_linear(w, 0 * x), torch.tensor([[1.0, 2.0]])).any()


def test_last_operation() -> None:
    """x = (2, 1, 0, 1), w = (1, -1, 2, 0), b = 1/2: y = 1.5, shared out as 2 : 1 : 0 : 0."""
    x, w = torch.tensor([[2.0, 1.0, 0.0, 1.0]]), torch.tensor([[1.0, -1.0, 2.0, 0.0], [5.0, 5.0, 5.0, 5.0]])
    op = as_linear(w, x, torch.tensor([0.5, 0.0]))
    assert op.y[0, 0] == 1.5
    r = torch.tensor([[1.5, 0.0]])
    torch.testing.assert_close(by_influence(op, r), torch.tensor([[1.0, 0.5, 0.0, 0.0]]))
    assert not by_influence(as_linear(torch.zeros(2, 4), x), r).any()
    signed = as_linear(w, -x, torch.tensor([0.5, 0.0]), nonnegative=False)
    torch.testing.assert_close(by_influence(signed, r), torch.tensor([[1.0, 0.5, 0.0, 0.0]]))


# -- other people's maps ---------------------------------------------------------------------------------------


def test_golden_network() -> None:
    found = ll.method("rap").run(golden_network.classifier(), golden_network.image(), golden_network.TARGET)
    torch.testing.assert_close(found.raw[0], golden_network.rows("rap"), rtol=0, atol=1e-9)
    assert float(found.raw.sum()) == pytest.approx(0.202625, abs=1e-12)


# In a residual network sums close to 0 stand in denominators: their single precision is worth two digits.
@pytest.mark.parametrize(("model", "tolerance"), [("tinyvgg", 1e-5), ("tinyresnet_bottleneck", 1e-2)])
@pytest.mark.parametrize("double", [False, True])
def test_authors(model: str, tolerance: float, double: bool) -> None:
    _, arrays = golden(f"authors-rap-{model}")
    theirs, target = torch.from_numpy(arrays["rap"]).sum(1), torch.from_numpy(arrays["target"])
    c, x = classifier(model), inputs(model)[: len(theirs)]
    if double:
        c, x, theirs = in_double(c), x.double(), theirs.double()
    ours = ll.method("rap").raw(c, x, target)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * float(b.abs().max()))


# -- conservation ------------------------------------------------------------------------------------------------


def assert_sum(found: ll.Saliency, expected: Tensor) -> None:
    torch.testing.assert_close(found.raw.sum((1, 2)), expected, rtol=1e-8, atol=1e-10)
    came, went = found.details["relevance_incoming"], found.details["relevance_outgoing"]
    torch.testing.assert_close(went, came, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("route", ["code", "excitatory", "inhibitory"])
@pytest.mark.parametrize("name", ["plain", "residual", "inception"])
def test_conservation(name: str, route: str) -> None:
    """What every operation hands on is what came, and the map sums to the score."""
    c, x = ll.Classifier(architectures.build(name).double()), architectures.images().double()
    found = ll.method("rap", negative_route=route).run(c, x, [1, 4, 2])
    assert_sum(found, found.score.abs())


class Dead(nn.Sequential):
    """Some units have no positive input, some no negative one, some none at all, and yet an output."""

    def __init__(self) -> None:
        super().__init__(
            *(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 10), nn.ReLU(), nn.Linear(10, 3)),
        )
        generator = torch.Generator().manual_seed(1)
        for p in self.parameters():
            p.data = torch.randn(p.shape, generator=generator)
        for layer in (self[3], self[7]):
            layer.weight.data[0] = -layer.weight[0].abs()
            layer.weight.data[1] = layer.weight[1].abs()
            layer.weight.data[2] = 0
            layer.bias.data[:3] = 40.0
        self.double().eval()


@pytest.mark.parametrize("route", ["code", "excitatory", "inhibitory"])
def test_conservation_with_dead_denominators(route: str) -> None:
    c, x = ll.Classifier(Dead()), architectures.images(2, (16, 16)).double()
    found = ll.method("rap", negative_route=route).run(c, x, [0, 2])
    assert_sum(found, found.score.abs())


def test_batch_norm_loses_only_what_comes_to_zeros() -> None:
    """Elsewhere relevance is conserved to the last digit; behind convolutions without bias there are such zeros."""
    c, x = in_double(classifier("tinyresnet_basic")), inputs("tinyresnet_basic")[:2].double()
    found = quiet(ll.method("rap"), c, x, None)
    lost = (found.details["relevance_incoming"] - found.details["relevance_outgoing"]).abs().amax(0)
    names = found.details["relevance_operations"]
    assert all(float(n) < 1e-8 or name.startswith("batch_norm") for n, name in zip(lost, names, strict=True))


def test_stops_at_a_layer() -> None:
    c, x = ll.Classifier(architectures.build("plain").double()), architectures.images().double()
    found = ll.method("rap", layer="features.5").run(c, x, 1)
    assert found.raw.shape[1:] == (10, 14)
    torch.testing.assert_close(found.raw.sum((1, 2)), found.score.abs())


# -- where it begins ---------------------------------------------------------------------------------------------


def test_start() -> None:
    c, x = ll.Classifier(architectures.build("plain").double()), architectures.images(1).double()
    target = int(c(x)[0].argmin())
    found = {init: ll.method("rap", init=init).run(c, x, target) for init in ("absolute", "logit", "one")}
    score = float(found["one"].score)
    assert score < 0
    sums = {init: float(s.raw.sum()) for init, s in found.items()}
    assert sums == pytest.approx({"absolute": -score, "logit": score, "one": 1.0})
    # It is only positively homogeneous: the negative start gives another map, not the same one turned over.
    torch.testing.assert_close(found["absolute"].raw, -score * found["one"].raw)
    assert (found["logit"].raw + found["absolute"].raw).abs().max() > 0.01 * found["absolute"].raw.abs().max()


def test_one_output_is_two_classes() -> None:
    """An output z is a pair of scores -z / 2 and z / 2: the same map as that of the network that has both."""
    one = Dead()
    one[-1] = nn.Linear(10, 1).double()
    one[-1].bias.data.zero_()
    two = copy.deepcopy(one)
    two[-1] = nn.Linear(10, 2, bias=False).double()
    two[-1].weight.data = torch.cat([-one[-1].weight, one[-1].weight]).detach() / 2
    x = architectures.images(2, (16, 16)).double()
    for target in (0, 1):
        maps = [ll.method("rap").raw(ll.Classifier(net), x, target) for net in (one, two)]
        assert maps[0].abs().max() > 0
        torch.testing.assert_close(*maps)


def test_softmax_at_the_end_is_left_out() -> None:
    net, x = Dead(), architectures.images(2, (16, 16)).double()
    with_softmax = nn.Sequential(*copy.deepcopy(net), nn.Softmax(1))
    maps = [ll.method("rap").raw(ll.Classifier(n), x, 1) for n in (net, with_softmax)]
    torch.testing.assert_close(*maps)


# -- edges ---------------------------------------------------------------------------------------------------------


def test_signed_inputs_are_reported() -> None:
    """Convolutions that are given negative values; a network of ReLUs has none, whatever comes before them."""
    c, x = ll.Classifier(architectures.build("depthwise").double()), architectures.images().double()
    with pytest.warns(ConservationWarning, match=r"rap: negative inputs.*pointwise\.0") as caught:
        found = ll.method("rap").run(c, x, 1)
    assert sum("negative inputs" in str(w.message) for w in caught) == 1
    assert any("negative inputs" in note for note in found.notes)
    assert found.raw.isfinite().all()
    for name in ("plain", "residual", "inception"):
        c = ll.Classifier(architectures.build(name).double())
        assert not any("negative inputs" in note for note in ll.method("rap").run(c, x, 1).notes)


@pytest.mark.parametrize("name", ["plain", "residual", "dense", "inception", "depthwise"])
def test_batch_is_its_images(name: str) -> None:
    c, x = ll.Classifier(architectures.build(name).double()), architectures.images().double()
    together = quiet(ll.method("rap"), c, x, 1).raw
    singles = torch.cat([quiet(ll.method("rap"), c, one[None], 1).raw for one in x])
    assert together.isfinite().all()
    torch.testing.assert_close(together, singles, rtol=0, atol=1e-7 * float(singles.abs().max()))


def test_nothing_to_see() -> None:
    """A constant picture has no highest and lowest value, a dead network no evidence: zeros, not NaN."""
    net = Dead()
    x = torch.full((1, 3, 16, 16), 0.3).double()
    assert not quiet(ll.method("rap"), ll.Classifier(net), x, 1).raw.any()
    for p in net.parameters():
        p.data.zero_()
    found = quiet(ll.method("rap"), ll.Classifier(net), architectures.images(2, (16, 16)).double(), 1)
    assert not found.raw.any()
    assert found.degenerate.all()
