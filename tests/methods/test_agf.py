"""Attribution guided factorisation: worked examples, the equations in another notation, other people's maps."""

import copy
import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import architectures
import limelight as ll
from limelight.errors import ConservationWarning, UnsupportedModel
from limelight.maps.propagation.agf import (
    Guided,
    factorise,
    flat_convolutions,
    flattened_maps,
    gradient_of_sharpened,
    sharpen,
    shift,
)
from limelight.maps.propagation.agf import divide as over
from limelight.relevance.affine import Convolution
from limelight.relevance.op import Op
from limelight.relevance.recording import Recording
from methods import golden_network
from methods.goldens import classifier, golden, inputs

SWITCHES = ("no_a", "no_fx", "no_fdx", "no_m", "no_reg", "gradcam", "flat")


def in_double(c: ll.Classifier) -> ll.Classifier:
    return ll.Classifier(copy.deepcopy(c.module).double())


def quiet(c: ll.Classifier, x: Tensor, target: Any, **options: Any) -> ll.Saliency:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConservationWarning)
        return ll.method("agf", **options).run(c, x, target)


# -- the pieces ------------------------------------------------------------------------------------------------


def test_division() -> None:
    b = torch.tensor([2.0, 0.0, 1e-9, -1e-9], dtype=torch.float64)
    expected = torch.tensor([1 / (2 + 1e-9), 0.0, 0.5e9, 1e9], dtype=torch.float64)
    torch.testing.assert_close(over(torch.ones_like(b), b), expected)


def test_shift() -> None:
    c, more = torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([[0.5, 0.0, 0.0]])
    torch.testing.assert_close(shift(c, more), torch.tensor([[1.25, 0.0, 1.75]]))
    elsewhere = torch.tensor([[0.5, 7.0, 0.0]])  # where C is 0 nothing is moved to
    torch.testing.assert_close(shift(c, elsewhere), torch.tensor([[1.25, 0.0, 1.75]]))
    assert not shift(0 * c, more).any()


def test_sharpened_score() -> None:
    """Three classes by hand, and the gradient through target and spread by finite differences."""
    y, t = [1.0, 3.0, 2.5], 1
    new = [3.0 * math.exp(-0.5 * ((v - 3.0) / 2.0) ** 2) for v in y]
    expected = math.exp(new[t]) / sum(map(math.exp, new))
    logits, target = torch.tensor([y]).double(), torch.tensor([t])
    assert float(sharpen(logits, target)) == pytest.approx(expected, rel=1e-12)
    e = 1e-6
    steps = e * torch.eye(3).double()
    numeric = [float(sharpen(logits + s, target) - sharpen(logits - s, target)) / (2 * e) for s in steps]
    np.testing.assert_allclose(gradient_of_sharpened(logits, target)[0], numeric, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("logits", [[2.0, 2.0, 2.0], [0.0, 0.0, 0.0], [0.0, 1e-30, 0.0], [1e4, -1e4, 3.0]])
def test_slope_is_finite(logits: list[float]) -> None:
    assert gradient_of_sharpened(torch.tensor([logits]), torch.tensor([0])).isfinite().all()


def test_factorisation_separates() -> None:
    """Channels that are on at positive positions and others that are on at negative ones: F > 0 at the former only."""
    values = torch.tensor([[[[1.0, 1.0, -1.0, -1.0]], [[-1.0, -1.0, 1.0, 1.0]]]]).repeat(1, 4, 1, 1)
    relevance = torch.tensor([[[[1.0, 2.0, -1.0, -3.0]]]]).expand(1, 8, 1, 4)
    found = factorise(values, relevance)
    assert (found[..., :2] > 0.5).all()
    assert not found[..., 2:].any()
    assert not factorise(values, 0 * relevance).any()


# -- the rule of a convolution, with dense matrices and loops ------------------------------------------------------


def dense(op: Op, weight: Tensor) -> np.ndarray:
    """The matrix of a convolution, (out, in)."""
    n = op.x[0].numel()
    columns = op.affine(torch.eye(n).double().view(n, *op.x.shape[1:]), weight, None)  # type: ignore[misc]
    return columns.flatten(1).T.numpy()


def d9(a: Any, b: Any) -> Any:
    a, b = np.broadcast_arrays(np.asarray(a, float), np.asarray(b, float))
    return np.array([0.0 if v == 0 else u / (v + 1e-9) for u, v in zip(a.flat, b.flat, strict=True)]).reshape(a.shape)


def by_hand(op: Op, phi: np.ndarray, g_out: np.ndarray, off: str) -> np.ndarray:
    shape = op.x.shape[1:]
    k = shape[0]
    w, x = dense(op, op.w()), op.x.flatten().numpy()
    wa = np.abs(w)
    m = (phi != 0).astype(float)
    c = np.abs(x) * (wa.T @ (d9(phi, (wa @ np.abs(x)) * m) * m))
    g, gm = w.T @ g_out, w.T @ (g_out * m)

    def channels(v: np.ndarray) -> np.ndarray:
        return v.reshape(k, -1)

    def spread(v: np.ndarray) -> np.ndarray:
        return np.tile(v, (k, 1)).ravel()

    def f(h0: np.ndarray) -> np.ndarray:
        mean = channels(c).mean(0)
        h = channels(1 / (1 + np.exp(-10 * d9(h0, h0.max()))))
        q = np.zeros((k, 2))
        for column, side in enumerate((mean < 0, mean > 0)):
            for channel in range(k):
                q[channel, column] = d9((h[channel] * side).sum(), side.sum())
        u = np.maximum(np.linalg.inv(q.T @ q + np.eye(2)) @ q.T @ h, 0)
        return spread(np.maximum(u[1] - u[0], 0))

    product = spread(np.maximum(channels(x * g).mean(0), 0))
    product = d9(product, product.max())
    seen = (0 if off == "no_fx" else f(x)) + (0 if off == "no_m" else product)
    if off == "gradcam":
        weights = channels(g).mean(1, keepdims=True)
        seen = spread(np.maximum((channels(x) * weights).mean(0), 0))
    delta = seen if off == "no_reg" else d9(seen, 1 + np.exp(-c))
    delta = delta + (0 if off == "no_fdx" else f(gm))
    if off != "no_a":
        delta = delta + wa.T @ (d9(phi, (wa @ np.ones_like(x)) * m) * m)
    delta = delta * (c != 0)
    return c + delta - (c != 0) * delta.sum() / max((c != 0).sum(), 1)


@pytest.mark.parametrize("off", ["", *SWITCHES[:-1]])
@pytest.mark.parametrize("groups", [1, 2])
def test_convolution(off: str, groups: int) -> None:
    generator = torch.Generator().manual_seed(4)
    w = torch.randn(6, 4 // groups, 3, 3, generator=generator).double()
    x = torch.randn(1, 4, 5, 4, generator=generator).double()
    x[x.abs() < 0.2] = 0
    x = x.relu()
    affine = Convolution([2, 1], [1, 1], [1, 1], groups)
    y = affine(x, w, None)
    op = Op("conv", "conv2d", "", [x], y, lambda x: x, (1,), ("",), True, 1, 1, affine, w)
    phi, g = (torch.randn(y.shape, generator=generator).double() for _ in range(2))
    phi[:, 1] = 0
    names = {"no_a": "use_a", "no_fx": "use_fx", "no_fdx": "use_fdx", "no_m": "use_m", "no_reg": "use_reg"}
    options: dict[str, bool] = {"gradcam": True} if off == "gradcam" else {names[off]: False} if off else {}
    found = Guided({op: g}, **options)(op, phi)  # type: ignore[arg-type]
    expected = by_hand(op, phi.flatten().numpy(), g.flatten().numpy(), off)
    np.testing.assert_allclose(found.flatten(), expected, rtol=1e-9, atol=1e-10)
    assert float(found.sum()) == pytest.approx(float(phi.sum()), abs=1e-6)


# -- other people's maps ---------------------------------------------------------------------------------------


def test_golden_network() -> None:
    found = ll.method("agf").raw(golden_network.classifier(), golden_network.image(), golden_network.TARGET)
    torch.testing.assert_close(found[0], golden_network.rows("agf"), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("name", "options", "model"), [
    ("agf", {}, "tinyvgg"),
    ("agf", {}, "tinyresnet_bottleneck"),
    ("agf_flat", {"flat": True}, "tinyvgg"),
])  # fmt: skip
def test_authors(name: str, options: dict[str, Any], model: str) -> None:
    _, arrays = golden(f"authors-{name}-{model}")
    theirs = torch.from_numpy(arrays["agf" if name == "agf" else "flat"])[:, 0]
    ours = ll.method("agf", **options).raw(classifier(model), inputs(model), torch.from_numpy(arrays["target"]))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5 * float(b.abs().max()))


def test_switches_differ() -> None:
    c, x = in_double(classifier("tinyvgg")), inputs("tinyvgg")[:1].double()
    maps = [ll.method("agf", **({name: True} if name else {})).raw(c, x, 1) for name in ("", *SWITCHES)]
    for i, a in enumerate(maps):
        assert all((a - b).abs().max() > 1e-3 * a.abs().max() for b in maps[:i])


# -- which operation does what -----------------------------------------------------------------------------------


def record(name: str) -> Recording:
    return Recording(classifier(name), inputs(name)[:2])


@pytest.mark.parametrize(("model", "full"), [
    ("tinyvgg", {f"features.{i}" for i in (0, 2, 5, 7, 10, 12)}),
    ("tinyresnet_basic", {"conv1", "layer1.0.conv1", "layer2.0.conv1", "layer2.1.conv1", "layer3.0.conv1",
                          "layer4.0.conv1"}),
    ("tinyresnet_bottleneck", {"conv1", "layer1.0.conv2", "layer2.0.conv2", "layer2.1.conv2", "layer3.0.conv2",
                               "layer4.0.conv2"}),
])  # fmt: skip
def test_flat_convolutions(model: str, full: set[str]) -> None:
    """Full are those of a VGG, the first of a basic block, and the middle one of a bottleneck."""
    recording = record(model)
    flat = flat_convolutions(recording)
    assert {op.owner for op in recording.ops if op.kind == "conv" and op not in flat} == full
    assert recording.forwards == recording.backwards == 0


@pytest.mark.parametrize("name", ["residual"])
def test_flat_convolutions_where_sums_overwrite(name: str) -> None:
    recording = Recording(ll.Classifier(architectures.build(name, inplace=True)), architectures.images(1))
    flat = {op.owner for op in flat_convolutions(recording)}
    assert flat == {"layer1.conv2", "layer1.skip", "layer2.conv2", "layer2.skip"}


def test_flattened_map() -> None:
    """The first linear layer of a VGG gets a map of 64 x 4 x 4, in whatever layout that lies."""
    recording = record("tinyvgg")
    assert {op.owner: tuple(shape) for op, shape in flattened_maps(recording).items()} == {
        "classifier.0": (2, 64, 4, 4)
    }
    net = copy.deepcopy(classifier("tinyvgg").module).to(memory_format=torch.channels_last)
    last = Recording(ll.Classifier(net), inputs("tinyvgg")[:2].contiguous(memory_format=torch.channels_last))
    assert {op.owner for op in flattened_maps(last)} == {"classifier.0"}
    pooled = Recording(ll.Classifier(architectures.build("residual")), architectures.images(1))
    assert not flattened_maps(pooled)


# -- conservation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("name", ["plain", "residual", "inception"])
def test_conservation(name: str, flat: bool) -> None:
    """From the last operation on, where relevance is x . dS/dx, all is handed on but what 1e-9 costs small units."""
    c, x = ll.Classifier(architectures.build(name).double()), architectures.images().double()
    found = ll.method("agf", flat=flat).run(c, x, [1, 4, 2])
    came, went = found.details["relevance_incoming"], found.details["relevance_outgoing"]
    assert (
        found.details["relevance_operations"][0] == "linear in " + ("head.4" if name == "plain" else "fc") + " (Last)"
    )
    torch.testing.assert_close(went[:, 1:], came[:, 1:], rtol=0, atol=0.01 * float(came.abs().max()))
    torch.testing.assert_close(found.details["relevance_at_end"], went[:, 0], rtol=0.05, atol=0)


def test_scale() -> None:
    """It is divided by the highest value of any channel, at a layer as at the pixels."""
    c, x = ll.Classifier(architectures.build("plain").double()), architectures.images().double()
    for layer, size, channels in ((None, (40, 56), 3), ("features.5", (10, 14), 12)):
        found = quiet(c, x, 1, layer=layer)
        assert found.raw.shape[1:] == size
        assert (found.raw <= channels).all()
        assert (found.raw.sum((1, 2)) * found.details["relevance_at_end"] > 0).all()


# -- edges -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plain", "residual", "dense", "inception", "depthwise"])
def test_batch_is_its_images(name: str) -> None:
    c, x = ll.Classifier(architectures.build(name).double()), architectures.images().double()
    together = quiet(c, x, 1).raw
    singles = torch.cat([quiet(c, one[None], 1).raw for one in x])
    assert together.isfinite().all()
    torch.testing.assert_close(together, singles, rtol=0, atol=1e-7 * float(singles.abs().max()))


def test_one_output_is_two_classes() -> None:
    """An output z is a pair of scores -z / 2 and z / 2: the same map as that of the network that has both."""
    one = architectures.build("plain").double()
    one.head[-1] = nn.Linear(24, 1, bias=False).double()
    one.head[-1].weight.data = torch.linspace(-1, 1, 24).double()[None]
    two = copy.deepcopy(one)
    two.head[-1] = nn.Linear(24, 2, bias=False).double()
    two.head[-1].weight.data = torch.cat([-one.head[-1].weight, one.head[-1].weight]).detach() / 2
    x = architectures.images(2).double()
    for target in (0, 1):
        maps = [quiet(ll.Classifier(net), x, target).raw for net in (one, two)]
        assert maps[0].abs().max() > 0
        torch.testing.assert_close(*maps)


def test_softmax_at_the_end_is_left_out() -> None:
    net, x = architectures.build("plain").double(), architectures.images(2).double()
    maps = [quiet(ll.Classifier(n), x, 1).raw for n in (net, nn.Sequential(net, nn.Softmax(1)))]
    torch.testing.assert_close(*maps)


def test_nothing_to_see() -> None:
    net = architectures.build("plain").double()
    assert quiet(ll.Classifier(net), torch.full((1, 3, 40, 56), 0.3).double(), 1).raw.isfinite().all()
    net.head[-1].weight.data.zero_()  # no class is set apart
    found = quiet(ll.Classifier(net), architectures.images(2).double(), 1)
    assert not found.raw.any()
    assert found.degenerate.all()


def test_explains_a_class() -> None:
    c = ll.Classifier(architectures.build("plain"))
    with pytest.raises(UnsupportedModel, match="agf explains a class"):
        ll.method("agf").run(c, architectures.images(1), lambda output: output[:, 0])
