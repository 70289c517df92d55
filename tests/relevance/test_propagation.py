"""The engine of relevance propagation: what it conserves, and every way to write the same network."""

import pytest
import torch
from torch import Tensor, nn

import architectures
import limelight as ll
from limelight.errors import ConservationWarning
from limelight.relevance.op import Op
from limelight.relevance.recording import Recording
from limelight.rules import GRADIENT, AlphaBeta, Box, Gamma, Rules
from relevance.networks import Written, Z, bias_free, chosen, close, record


def test_z_rule_is_input_times_gradient_without_biases() -> None:
    x = torch.randn(2, 3, 14, 14).double()
    recording = record(bias_free(), x)
    found = recording.to_image(Z, recording.logits, chosen(recording))
    (slope,) = recording.gradients(recording.logits[:, 1], [recording.image])
    close(found, x * slope)
    close(found.sum((1, 2, 3)), recording.logits[:, 1].detach())


@pytest.mark.parametrize("name", ["plain", "residual", "dense", "inception", "depthwise"])
def test_every_cut_carries_the_same_relevance(name: str) -> None:
    c = ll.Classifier(architectures.build(name).double())
    x = architectures.images(2).double()
    layers = {i.name: i for i in c.trace(x).stages}
    recording = Recording(c, x, layers)
    no_bias = Rules({"affine": AlphaBeta(e=0, bias="exclude"), "first": Box()}, fuse=False)
    cuts = [*recording.outputs.values(), recording.image]
    for stop in cuts:
        (r,) = recording.relevance(no_bias, recording.logits, chosen(recording), [stop])
        assert recording.passes[-1].at_start.abs().min() > 0
        reached = recording.flows[-1].outgoing if stop is recording.image else r.flatten(1).sum(1)
        assert torch.isfinite(reached).all()


def test_fan_out_adds() -> None:
    class Fork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Conv2d(3, 4, 1, bias=False), nn.Linear(4, 2, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x)
            return self.head((y + 2 * y + torch.cat([y[:, :2], y[:, 2:]], 1)).mean((2, 3)))

    x = torch.randn(1, 3, 4, 4).double()
    recording = record(Fork().double(), x)
    close(recording.to_image(Z, recording.logits, chosen(recording)).sum(), recording.logits[0, 1].detach(), 1e-9)


def test_losses_are_reported_with_the_operation() -> None:
    """A rule that throws half away is named."""

    def half(op: Op, r: Tensor) -> Tensor:
        return 0.5 * AlphaBeta(e=0, bias="exclude")(op, r)

    c = ll.Classifier(bias_free(), size=14)
    x = torch.rand(1, 3, 14, 14).double()
    with pytest.warns(ConservationWarning, match=r"50% .* conv2d in 3 \(rule half\)"):
        saliency = ll.method("lrp", overrides={"3": half}, rules={"affine": "z-plus"}).run(c, x)
    assert "50%" in saliency.notes[-1]
    with pytest.warns(ConservationWarning):
        account = ll.explain(c, x[0], "lrp", overrides={"3": half}, rules={"affine": "z-plus"})
    assert account.conservation is not None
    assert any("in 3" in name for name in account.conservation.lost)
    assert abs(account.conservation.at_start) > abs(account.conservation.at_end)


WAYS = ("modules", "functions", "methods", "in place", "inplace modules", "inplace functions")


@pytest.mark.parametrize("how", WAYS[1:])
@pytest.mark.parametrize("rules", [Z, Rules({"conv": AlphaBeta()}), Rules({"conv": Gamma()}, fuse=False), GRADIENT])
def test_how_it_is_written_does_not_matter(how: str, rules: Rules) -> None:
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    plain, other = (record(Written(h).double(), x) for h in ("modules", how))
    expected = plain.to_image(rules, plain.logits, chosen(plain))
    assert expected.abs().max() > 0
    close(other.to_image(rules, other.logits, chosen(other)), expected)


def test_channels_last_and_a_frozen_network() -> None:
    net = Written("in place").double()
    x = torch.randn(2, 3, 8, 8).double()
    plain = record(net, x)
    for p in net.parameters():
        p.requires_grad_(False)
    other = record(net.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last))
    rules = Rules({"conv": AlphaBeta(2, 1)})
    close(other.to_image(rules, other.logits, chosen(other)), plain.to_image(rules, plain.logits, chosen(plain)))


def test_what_is_overwritten_later_is_kept() -> None:
    class Careless(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Linear(4, 2)
            self.careless = True

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            z = self.b(y)
            if self.careless:  # what b was given is gone
                y.mul_(0.5)
                y[:, :1] = 0
            else:
                y = torch.cat([torch.zeros_like(y[:, :1]), 0.5 * y[:, 1:]], 1)
            return self.head((z + y).relu().mean((2, 3)))

    torch.manual_seed(0)
    net, x = Careless().double(), torch.randn(1, 3, 4, 4).double()
    recording = record(net, x)
    op = next(op for op in recording.ops if op.owner == "b")
    close(op.x, net.a(x).detach())
    found = recording.gradients(recording.logits[:, 1], [recording.image])[0]
    net.careless = False
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(net(leaf)[:, 1].sum(), leaf)
    close(found, expected)
