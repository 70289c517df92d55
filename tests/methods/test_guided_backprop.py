"""Guided backprop and the deconvnet: by hand, against other packages, and every way to write a ReLU."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import limelight as ll
from limelight.errors import ConservationWarning
from limelight.maps.pixel.guided_backprop import deconvolved, guided
from limelight.ops.blur import smooth
from limelight.relevance.recording import Recording
from methods import golden_network
from methods.goldens import TINY, classifier, golden, inputs
from methods.known_scores import assert_same

EDGES = ("guided-backprop", "deconvnet")


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
    assert ll.method(name).raw(toy(), X, 0).item() == max(colours)
    assert ll.method(name, reduce="sum").raw(toy(), X, 0).item() == sum(colours)


@pytest.mark.parametrize("name", EDGES)
def test_golden_network(name: str) -> None:
    found = ll.method(name).raw(golden_network.classifier(), golden_network.image(), golden_network.TARGET)
    torch.testing.assert_close(found[0], golden_network.rows(name, "abs-max"), rtol=0, atol=1e-9)


@pytest.mark.parametrize("model", TINY)
@pytest.mark.parametrize(("theirs", "name"), [("guidedbackprop", "guided-backprop"), ("deconvolution", "deconvnet")])
def test_captum(theirs: str, name: str, model: str) -> None:
    _, arrays = golden(f"captum-{theirs}-{model}")
    attribution, target = torch.from_numpy(arrays["attr"]), torch.from_numpy(arrays["target"])
    x = inputs(model)[: len(attribution)]
    found = ll.method(name).raw(classifier(model), x, target[: len(x)])
    assert_same(found, attribution.abs().amax(1))
    signed = ll.method(name, reduce="sum").raw(classifier(model), x, target[: len(x)])
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
    assert_same(ll.method(name).raw(classifier(model), inputs(model)[: len(saliency)], target), saliency)


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
    found = ll.method(name).raw(ll.Classifier(Small(RELUS[written]), size=8), pictures(), 1)
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
    assert_same(ll.method("guided-backprop", score=score).raw(c, pictures(), 1), expected.abs().amax(1), 1e-12)
    if score == "margin":  # the same as a function of the outputs
        function = lambda out: out[:, 1] - out[:, [0, 2, 3]].amax(1)  # noqa: E731
        assert_same(ll.method("guided-backprop").raw(c, pictures(), function), expected.abs().amax(1), 1e-12)


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
    recording = Recording(toy(F.silu), torch.tensor([-3.0, 1, 0]).view(1, 3, 1, 1))
    op = next(op for op in recording.ops if op.kind == "activation")
    r = torch.tensor([-1.0, -1, 1]).view_as(op.y)
    expected = op.native(r)[0].flatten().clamp_min(0)
    assert expected[0] > 0
    torch.testing.assert_close(rule(op, r).flatten(), expected)


@pytest.mark.parametrize("name", EDGES)
def test_gates_keep_their_gradient(name: str) -> None:
    """A sigmoid is no rectifier: without any the map is the gradient's, and nothing is noted."""
    c = toy(torch.sigmoid)
    saliency = ll.method(name).run(c, X, 0)
    assert_same(saliency.raw, ll.method("gradient").raw(c, X, 0))
    assert not saliency.notes


def test_a_relu_with_a_ceiling() -> None:
    """Above it nothing changes the output, so that guided backprop's gate is shut; a deconvnet has no gate."""
    c = toy(nn.ReLU6())
    x = torch.tensor([7.0, -1, 0]).view(1, 3, 1, 1)
    assert ll.method("guided-backprop", reduce="sum").raw(c, x, 0).item() == 0  # h = 7, 1, 6
    assert ll.method("deconvnet", reduce="sum").raw(c, x, 0).item() == 12


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


@pytest.mark.parametrize("name", [*EDGES, "gradient"])
def test_smoothed_maps(name: str) -> None:
    c, x = classifier(TINY[0]), inputs(TINY[0])[:2]
    plain = ll.method(name).raw(c, x, 1)
    torch.testing.assert_close(ll.method(name, smooth=0.02).raw(c, x, 1), smooth(plain, 0.02))
