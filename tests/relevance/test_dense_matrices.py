"""The rules of affine operations against their equations on dense matrices."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limelight.relevance.op import divide_by
from limelight.rules import AlphaBeta, Box, Epsilon, Flat, Gamma, Rule, Squared
from relevance.networks import close, record

CONVOLUTIONS: list[nn.Module] = [
    nn.Conv2d(4, 6, 3),
    nn.Conv2d(4, 6, 3, stride=2),
    nn.Conv2d(4, 6, 3, padding=1, dilation=2),
    nn.Conv2d(4, 6, 3, padding=1, groups=2),
    nn.Conv2d(4, 6, (1, 3), padding=(0, 1), bias=False),
    nn.Conv2d(4, 6, 2, padding="same"),
    nn.Conv2d(4, 6, 3, padding="same", dilation=2),
    nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
    nn.Conv2d(4, 4, 3, padding=1, groups=4),
    nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1),
]
RULES: list[Rule] = [
    Epsilon(0.0),
    Epsilon(0.5),
    Epsilon(0.1, bias="exclude"),
    Epsilon(1e-9, rms=0.25),
    AlphaBeta(),
    AlphaBeta(2, 1),
    AlphaBeta(bias="exclude", e=0),
    Gamma(),
    Gamma(classic=True),
    Box((-2.0, 3.0)),
    Box(),
    Squared(),
    Flat(),
]
# The parts of pixels that are reflected can't be told apart in a dense matrix, but by rules that don't look at signs.
PAIRS = [
    (conv, rule)
    for conv in CONVOLUTIONS
    for rule in RULES
    if getattr(conv, "padding_mode", "zeros") == "zeros" or isinstance(rule, Epsilon)
]


def dense_rule(rule: Any, w: Tensor, b: Tensor, x: Tensor, r: Tensor, used: Tensor) -> Tensor:
    """What a rule gives by its equation, w (out, in), one image; ``used`` says which weights there are."""
    pos, neg = (lambda t: t.clamp_min(0)), (lambda t: t.clamp_max(0))
    z = w * x  # out in

    def share(parts: Tensor, bias: Tensor | float, e: float, relevance: Tensor = r) -> Tensor:
        return (parts * divide_by(relevance, parts.sum(1) + bias, e)[:, None]).sum(0)

    keep_bias = getattr(rule, "bias", "include") == "include"
    if isinstance(rule, Epsilon):
        out = z.sum(1) + (b if keep_bias else 0)
        e = rule.e + rule.rms * (z.sum(1) + b).square().mean().sqrt()
        return (z * (r / (out + torch.where(out >= 0, e, -e)))[:, None]).sum(0)
    if isinstance(rule, AlphaBeta):
        up = share(pos(z), pos(b) if keep_bias else 0.0, rule.e)
        return rule.alpha * up - rule.beta * share(neg(z), neg(b) if keep_bias else 0.0, rule.e)
    if isinstance(rule, Gamma) and rule.classic:
        return share((w + rule.gamma * pos(w)) * x, b + rule.gamma * pos(b), rule.e)
    if isinstance(rule, Gamma):
        out = z.sum(1) + b
        more = share(z + rule.gamma * pos(z), b + rule.gamma * pos(b), rule.e, r * (out > 0))
        return more + share(z + rule.gamma * neg(z), b + rule.gamma * neg(b), rule.e, r * (out < 0))
    if isinstance(rule, Box):
        low, high = rule.bounds or (x.min(), x.max())
        return share(z - pos(w) * low - neg(w) * high, 0.0, 0.0)
    if isinstance(rule, Squared):
        return share(w**2, b**2, rule.e)
    return share(used.to(w), 0.0, rule.e)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(("conv", "rule"), PAIRS, ids=str)
def test_rules_against_dense_matrices(conv: nn.Module, rule: Rule) -> None:
    torch.manual_seed(0)
    conv = copy.deepcopy(conv).double()
    x = torch.randn(1, 4, 5, 5).double()
    net = nn.Sequential(nn.Conv2d(3, 4, 1), conv, nn.Flatten(), nn.LazyLinear(2)).double()
    net(torch.zeros(1, 3, 5, 5).double())
    recording = record(net, torch.randn(1, 3, 5, 5).double())
    op = next(op for op in recording.ops if op.owner == "1")
    op.inputs[0], op.output = x, conv(x).detach()
    if getattr(conv, "padding_mode", "zeros") == "reflect":
        op.inputs[0] = F.pad(x, (1, 1, 1, 1), mode="reflect")
    elif op.inputs[0].shape != x.shape or conv.padding == "same":
        total = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        if total[0] % 2:
            op.inputs[0] = F.pad(x, (total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2))
    given = op.inputs[0]
    r = torch.randn_like(op.output)
    function = lambda flat: op.affine(flat.view_as(given), conv.weight.detach(), None).flatten()  # noqa: E731
    w = torch.autograd.functional.jacobian(function, given.flatten())
    ones = lambda flat: op.affine(flat.view_as(given), torch.ones_like(conv.weight), None).flatten()  # noqa: E731
    used = torch.autograd.functional.jacobian(ones, given.flatten())
    b = torch.zeros(w.shape[0]).double() if conv.bias is None else conv.bias.detach().repeat_interleave(r[0, 0].numel())
    expected = dense_rule(rule, w, b, given.flatten(), r.flatten(), used)
    close(rule(op, r).flatten(), expected, 1e-9)
