"""Guided backprop, the deconvnet, guided Grad-CAM and Relevance-CAM."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import architectures
import limelight as ll
from limelight.errors import ConservationWarning
from limelight.maps.pixel.guided_backprop import deconvolved, guided
from limelight.maps.propagation.relevance_cam import RULES, contrast
from limelight.relevance.op import Op, divide_by
from limelight.relevance.tape import Tape
from methods import golden_network
from methods.test_goldens import TINY, classifier, golden, inputs, np

EDGES = ("guided-backprop", "deconvnet")


def assert_same(ours: Tensor, theirs: np.ndarray | Tensor, tolerance: float = 1e-5) -> None:
    """Equal but for this share of the largest value: not only up to a factor."""
    theirs = torch.as_tensor(theirs)
    assert theirs.abs().max() > 0
    torch.testing.assert_close(ours, theirs.to(ours), rtol=0, atol=tolerance * float(theirs.abs().max()))


# -- worked by hand ------------------------------------------------------------------------------------------


class Toy(nn.Module):
    """y = (2, -3, 5) . ReLU(V x) with V = [[1, 0], [0, -1], [1, 1]]; the third colour counts for nothing."""

    def __init__(self, act: Any = torch.relu) -> None:
        super().__init__()
        self.first, self.head, self.act = nn.Conv2d(3, 3, 1, bias=False), nn.Linear(3, 2, bias=False), act
        self.first.weight.data = torch.tensor([[1.0, 0, 0], [0, -1, 0], [1, 1, 0]])[:, :, None, None]
        self.head.weight.data = torch.tensor([[2.0, -3, 5], [0, 0, 0]])

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.first(x)).sum((2, 3)))


def toy(act: Any = torch.relu) -> ll.Classifier:
    return ll.Classifier(Toy(act).eval(), size=1)


X = torch.tensor([1.0, -1.0, 0.0]).view(1, 3, 1, 1)


@pytest.mark.parametrize(("name", "colours"), [("guided-backprop", (2, 0)), ("deconvnet", (7, 5))])
def test_toy(name: str, colours: tuple[int, int]) -> None:
    """The third hidden value is exactly 0: its gate is shut for guided backprop."""
    assert ll.method(name).evidence(toy(), X, 0).item() == max(colours)
    assert ll.method(name, reduce="sum").evidence(toy(), X, 0).item() == sum(colours)


@pytest.mark.parametrize("name", EDGES)
def test_golden_network(name: str) -> None:
    found = ll.method(name).evidence(golden_network.classifier(), golden_network.image(), golden_network.TARGET)
    torch.testing.assert_close(found[0], golden_network.rows(name, "abs-max"), rtol=0, atol=1e-9)


# -- the authors' packages -------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", TINY)
@pytest.mark.parametrize(("theirs", "name"), [("guidedbackprop", "guided-backprop"), ("deconvolution", "deconvnet")])
def test_captum(theirs: str, name: str, model: str) -> None:
    _, arrays = golden(f"captum-{theirs}-{model}")
    attribution, target = torch.from_numpy(arrays["attr"]), torch.from_numpy(arrays["target"])
    x = inputs(model)[: len(attribution)]
    found = ll.method(name).evidence(classifier(model), x, target[: len(x)])
    assert_same(found, attribution.abs().amax(1))
    signed = ll.method(name, reduce="sum").evidence(classifier(model), x, target[: len(x)])
    assert_same(signed, attribution.sum(1))


@pytest.mark.parametrize(("theirs", "name"), [("guidedbackprop", "guided-backprop"), ("deconvolution", "deconvnet")])
def test_captum_on_a_large_network(theirs: str, name: str) -> None:
    """What the deconvnet passes back dies in a squeeze layer there, and so it does here."""
    _, arrays = golden(f"captum-{theirs}-squeezenet")
    theirs_map = torch.from_numpy(arrays["attr_stride2"]).abs().amax(1)
    target = torch.from_numpy(arrays["target"])[: len(theirs_map)]
    saliency = ll.method(name).run(classifier("squeezenet"), inputs("squeezenet")[: len(theirs_map)], target)
    if theirs_map.any():
        assert_same(saliency.raw[:, ::2, ::2], theirs_map)
    else:
        assert name == "deconvnet"
        assert not saliency.raw.any()
        assert saliency.degenerate.all()


@pytest.mark.parametrize("model", TINY)
@pytest.mark.parametrize(("theirs", "name"), [("guided_backprop", "guided-backprop"), ("deconvnet", "deconvnet")])
def test_torchray(theirs: str, name: str, model: str) -> None:
    _, arrays = golden(f"torchray-{theirs}-{model}")
    saliency = arrays["saliency"][:, 0]
    target = torch.from_numpy(arrays["target"])[: len(saliency)]
    assert_same(ll.method(name).evidence(classifier(model), inputs(model)[: len(saliency)], target), saliency)


# -- against a network whose activations have another gradient -------------------------------------------------


class Ruled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gate: bool) -> Tensor:
        ctx.save_for_backward(x)
        ctx.gate = gate
        return x.clamp_min(0)

    @staticmethod
    def backward(ctx: Any, *r: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return r[0] * (r[0] > 0) * ((x > 0) if ctx.gate else 1), None


class Small(nn.Module):
    """A shortcut, a maximum, and one activation that is called twice."""

    def __init__(self, act: Any) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.stem, self.inner = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.head, self.act = nn.Linear(6, 4), act
        for p in self.parameters():
            p.data = torch.randn(p.shape, generator=generator) / 3
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.stem(x))
        return self.head(F.max_pool2d(self.act(self.inner(x) + x), 2).mean((2, 3)))


def pictures() -> Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)).double()


RELUS: dict[str, Any] = {
    "module": nn.ReLU(),
    "module in place": nn.ReLU(inplace=True),
    "function": F.relu,
    "torch": torch.relu,
    "method": lambda x: x.relu(),
    "in place": lambda x: x.relu_(),
    "clamp": lambda x: x.clamp(min=0),
    "high ceiling": nn.Hardtanh(0, 1e3),
    "threshold": nn.Threshold(0.0, 0.0),
}


@pytest.mark.parametrize("written", RELUS)
@pytest.mark.parametrize("name", EDGES)
def test_every_way_to_write_a_relu_is_caught(name: str, written: str) -> None:
    leaf = pictures().requires_grad_()
    logits = Small(lambda x: Ruled.apply(x, name == "guided-backprop"))(leaf)
    (expected,) = torch.autograd.grad(logits[:, 1].sum(), leaf)
    (plain,) = torch.autograd.grad(Small(torch.relu)(leaf)[:, 1].sum(), leaf)
    assert (expected - plain).abs().max() > 1e-3
    found = ll.method(name).evidence(ll.Classifier(Small(RELUS[written]), size=8), pictures(), 1)
    assert_same(found, expected.abs().amax(1), 1e-12)


@pytest.mark.parametrize("score", ["logit", "prob", "logprob", "margin"])
def test_every_score(score: str) -> None:
    leaf = pictures().requires_grad_()
    logits = Small(lambda x: Ruled.apply(x, True))(leaf)
    others = logits[:, [0, 2, 3]].amax(1)
    explained = {
        "logit": logits[:, 1],
        "prob": logits.softmax(1)[:, 1],
        "logprob": logits.log_softmax(1)[:, 1],
        "margin": logits[:, 1] - others,
    }[score]
    (expected,) = torch.autograd.grad(explained.sum(), leaf)
    c = ll.Classifier(Small(torch.relu), size=8)
    assert_same(ll.method("guided-backprop", score=score).evidence(c, pictures(), 1), expected.abs().amax(1), 1e-12)
    if score == "margin":  # the same as a function of the outputs
        function = lambda out: out[:, 1] - out[:, [0, 2, 3]].amax(1)  # noqa: E731
        assert_same(ll.method("guided-backprop").evidence(c, pictures(), function), expected.abs().amax(1), 1e-12)


# -- what is no ReLU -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", [F.gelu, F.silu, F.elu, F.leaky_relu, F.hardswish, F.softplus])
@pytest.mark.parametrize("name", EDGES)
def test_of_what_is_like_a_relu_the_positive_part_of_the_gradient_goes_on(name: str, act: Any) -> None:
    h = torch.tensor([1.0, 1.0, 0.0], requires_grad=True)
    (slope,) = torch.autograd.grad(act(h).sum(), h)
    expected = (torch.tensor([2.0, -3, 5]) * slope).clamp_min(0) @ Toy().first.weight[:, :, 0, 0]
    with pytest.warns(ConservationWarning, match=f"of {act.__name__} the positive part of the gradient") as seen:
        saliency = ll.method(name, reduce="sum").run(toy(act), X, 0)
    assert len(seen) == 1
    assert "defined for ReLUs" in saliency.notes[0]
    assert_same(saliency.raw.flatten(), expected.sum()[None].detach())


@pytest.mark.parametrize("rule", [guided, deconvolved])
def test_negative_slopes_are_clamped_behind_the_slope(rule: Any) -> None:
    """SiLU falls below -1.28: a negative gradient comes out positive there, and stays."""
    tape = Tape(toy(F.silu), torch.tensor([-3.0, 1, 0]).view(1, 3, 1, 1))
    op = next(op for op in tape.ops if op.kind == "activation")
    r = torch.tensor([-1.0, -1, 1]).view_as(op.y)
    expected = op.native(r)[0].flatten().clamp_min(0)
    assert expected[0] > 0
    torch.testing.assert_close(rule(op, r).flatten(), expected)


@pytest.mark.parametrize("name", EDGES)
def test_gates_keep_their_gradient(name: str) -> None:
    """A sigmoid is no rectifier: without any the map is the gradient's, and nothing is noted."""
    c = toy(torch.sigmoid)
    saliency = ll.method(name).run(c, X, 0)
    assert_same(saliency.raw, ll.method("gradient").evidence(c, X, 0))
    assert not saliency.notes


def test_a_relu_with_a_ceiling() -> None:
    """Above it nothing changes the output, so that guided backprop's gate is shut; a deconvnet has no gate."""
    c = toy(nn.ReLU6())
    x = torch.tensor([7.0, -1, 0]).view(1, 3, 1, 1)
    assert ll.method("guided-backprop", reduce="sum").evidence(c, x, 0).item() == 0  # h = 7, 1, 6
    assert ll.method("deconvnet", reduce="sum").evidence(c, x, 0).item() == 12


@pytest.mark.parametrize("name", [*EDGES, "guided-grad-cam"])
def test_no_evidence(name: str) -> None:
    """Guided: a class against which everything speaks."""
    net = Small(torch.relu)
    net.head.weight.data = -net.head.weight.data.abs()
    saliency = ll.method(name).run(ll.Classifier(net, size=8), pictures(), 1)
    assert not saliency.raw.any()
    assert saliency.degenerate.all()
    assert all(saliency.reasons)


@pytest.mark.parametrize("name", EDGES)
def test_costs(name: str) -> None:
    cost = ll.method(name).run(ll.Classifier(Small(torch.relu), size=8), pictures(), 1).cost
    assert str(cost) == "1 F + 1 R"


# -- guided Grad-CAM ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", TINY)
def test_captum_guided_grad_cam(model: str) -> None:
    about, arrays = golden(f"captum-guidedgradcam-{model}")
    attribution, target = torch.from_numpy(arrays["attr"]), torch.from_numpy(arrays["target"])
    x, layer = inputs(model)[: len(attribution)], about["hyper_parameters"]["layer"]
    method = ll.method("guided-grad-cam", profile="captum", layer=layer)
    assert_same(method.evidence(classifier(model), x, target[: len(x)]), attribution.abs().amax(1))


@pytest.mark.parametrize("reduce", ["abs-max", "sum"])
def test_guided_grad_cam_is_the_product_of_both(reduce: Any) -> None:
    c, x = ll.Classifier(architectures.build("residual").double()), architectures.images(2).double()
    edges = ll.method("guided-backprop", reduce=reduce).evidence(c, x, 3)
    cam = ll.method("grad-cam", layer="layer1").evidence(c, x, 3).relu()[:, None]
    for interpolation, more in (("bilinear", {"align_corners": False}), ("nearest", {})):
        up = F.interpolate(cam, x.shape[-2:], mode=interpolation, **more)[:, 0]
        method = ll.method("guided-grad-cam", layer="layer1", interpolation=interpolation, reduce=reduce)
        assert_same(method.evidence(c, x, 3), edges * up, 1e-12)


# -- Relevance-CAM -------------------------------------------------------------------------------------------------


class Pooled(nn.Module):
    """Two maps that are the first two colours, averaged; W = [[1, 1], [1, 0], [0, 2]]."""

    def __init__(self) -> None:
        super().__init__()
        self.maps, self.head = nn.Conv2d(3, 2, 1, bias=False), nn.Linear(2, 3, bias=False)
        self.maps.weight.data = torch.eye(3)[:2, :, None, None]
        self.head.weight.data = torch.tensor([[1.0, 1], [1, 0], [0, 2]])

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.adaptive_avg_pool2d(self.maps(x).relu(), 1).flatten(1))


def test_relevance_cam_worked_example() -> None:
    x = torch.tensor([[1.0, 3], [2, 0], [9, 9]]).view(1, 3, 1, 2)
    c = ll.Classifier(Pooled().eval(), size=2)
    found = ll.method("relevance-cam", layer="maps").evidence(c, x, 0)
    torch.testing.assert_close(found, torch.tensor([[[1 / 6, 1 / 2]]]))


@pytest.mark.parametrize("layer", ["2", "4"])
def test_relevance_cam_golden_network(layer: str) -> None:
    method = ll.method("relevance-cam", layer=layer)
    found = method.evidence(golden_network.classifier(), golden_network.image(), golden_network.TARGET)
    torch.testing.assert_close(found[0], golden_network.rows("relevance-cam", f"layer {layer}"), rtol=0, atol=1e-9)


@pytest.mark.parametrize("model", TINY)
def test_relevance_cam_authors(model: str) -> None:
    """Where convolutions have biases they are left out here; see the next test."""
    _, arrays = golden(f"authors-relevance_cam-{model}")
    layers = [k[1:] for k in arrays.files if k.startswith("@") and k != "@features.8"]
    assert layers
    for layer in layers:
        method = ll.method("relevance-cam", layer=layer)
        found = method.evidence(classifier(model), inputs(model), torch.from_numpy(arrays["target"]))
        assert_same(found, arrays[f"@{layer}"][:, 0])


def test_relevance_cam_authors_with_biases() -> None:
    """Their code has the bias in both halves of the denominator; with that rule alone ours is theirs."""

    def twice_the_bias(op: Op, r: Tensor) -> Tensor:
        b = op.b()
        z = op.forward(op.x.clamp_min(0), "positive", b) + op.forward(op.x.clamp_max(0), "negative", b)
        s = divide_by(r, z)
        return op.x.clamp_min(0) * op.back(s, "positive") + op.x.clamp_max(0) * op.back(s, "negative")

    _, arrays = golden("authors-relevance_cam-tinyvgg")
    c, x, target = classifier("tinyvgg"), inputs("tinyvgg"), torch.from_numpy(arrays["target"])
    (info,) = c.layers(["features.8"], x)
    tape = Tape(c, x, {"features.8": info})
    a, seed = tape.outputs["features.8"].detach(), contrast(tape.logits.detach(), target)
    r = tape.to_layer(RULES.but(conv=twice_the_bias), tape.logits, seed, "features.8")
    assert_same((r.mean((2, 3), keepdim=True) * a).sum(1), arrays["@features.8"][:, 0])
    without = ll.method("relevance-cam", layer="features.8").evidence(c, x, target)
    assert_same(without, arrays["@features.8"][:, 0], 0.03)


CUTS = [
    ("plain", ("features.0", "features.1", "features.3", "features.4", "features")),
    ("residual", ("stem", "layer1", "layer2")),
    ("inception", ("stem", "mix.0", "mix")),
]


@pytest.mark.parametrize(("name", "layers"), CUTS)
@pytest.mark.parametrize(("others", "total"), [("1/K", 1 / architectures.CLASSES), ("1/(K-1)", 0.0)])
def test_relevance_adds_up_at_every_cut(name: str, layers: tuple[str, ...], others: Any, total: float) -> None:
    """Where no output is without any positive contribution: all activations are above 0."""
    net = architectures.build(name).double()
    for m in list(net.modules()):
        for child in [n for n, inner in m.named_children() if isinstance(inner, nn.ReLU)]:
            setattr(m, child, nn.Softplus())
    c, x = ll.Classifier(net), architectures.images(2).double()
    for layer in layers:
        saliency = ll.method("relevance-cam", layer=layer, others=others).run(c, x, [1, 4])
        left = saliency.details["relevance_left"]
        torch.testing.assert_close(left, torch.full_like(left, total), rtol=0, atol=1e-9)
        assert saliency.raw.abs().amax() > 0
        assert not saliency.notes


def test_batch_normalisation_hands_relevance_on() -> None:
    """Also where its scale is negative, which folded into the weights would turn their signs."""

    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.maps, self.mix, self.norm = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
            self.head = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.norm(self.mix(self.maps(x).relu())).relu().mean((2, 3)))

    torch.manual_seed(0)
    net, x = Normed().double().eval(), torch.randn(1, 3, 4, 4).double()
    net.norm.weight.data, net.norm.bias.data = torch.tensor([-1.0, 1, -2, 2]).double(), torch.rand(4).double()
    r = {}
    for layer in ("maps", "norm"):
        c = ll.Classifier(net, size=4)
        tape = Tape(c, x, {layer: c.layers([layer], x)[0]})
        seed = contrast(tape.logits.detach(), torch.tensor([0]))
        r[layer] = tape.to_layer(RULES, tape.logits, seed, layer)
    assert r["norm"].abs().max() > 0
    parts = net.mix.weight[:, :, 0, 0].clamp_min(0)[None, :, :, None, None] * net.maps(x).relu()[:, None]
    share = divide_by(parts, parts.sum(2, keepdim=True).expand_as(parts))
    assert_same(r["maps"], (share * r["norm"][:, :, None]).sum(1).detach(), 1e-12)


@pytest.mark.parametrize(
    ("pool", "shares"),
    [
        (lambda x: F.adaptive_avg_pool2d(x, 1), (0.25, 0.75, 0)),
        (lambda x: x.mean((2, 3)), (0.25, 0.75, 0)),
        (lambda x: F.avg_pool2d(x, (1, 3)), (0.5, 1.5, -1)),
    ],
)
def test_a_mean_over_whole_maps_counts_what_is_above_0(pool: Any, shares: tuple[float, ...]) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 3, 1, bias=False)
            self.first.weight.data = torch.eye(3)[:, :, None, None]

        def forward(self, x: Tensor) -> Tensor:
            return pool(self.first(x)).flatten(1)

    tape = Tape(ll.Classifier(Net().eval(), size=2), torch.tensor([1.0, 3, -2]).expand(1, 3, 1, 3))
    op = next(op for op in tape.ops if op.kind == "avg_pool")
    (found,) = RULES.find(op)[1](op, torch.ones_like(op.y))
    torch.testing.assert_close(found[0, 0, 0], torch.tensor(shares))


def test_relevance_cam_of_a_function_is_refused() -> None:
    with pytest.raises(ll.errors.UnsupportedModel, match="explains a class"):
        ll.method("relevance-cam").run(classifier("tinyvgg"), inputs("tinyvgg")[:1], lambda out: out.sum(1))
