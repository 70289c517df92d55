"""Rules for the operations of transformers, by hand, and the many ways in which these are written."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import limelight as ll
from limelight.relevance.attention_rules import attention_table
from limelight.relevance.recording import Recording
from limelight.rules import Rules
from relevance.networks import chosen, close

TABLE = Rules(attention_table(gamma_conv=0.0, gamma_linear=0.0))


class Between(nn.Module):
    """Some function of tokens (n, 4, 6), between two linear layers."""

    def __init__(self, f: Callable[..., Tensor], *more: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.head, self.f, self.more = nn.Linear(3, 6), nn.Linear(6, 3), f, nn.ModuleList(more)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.f(self.stem(x.flatten(2).mT), *self.more).mean(1))


def relevance(f: Callable[..., Tensor], *more: nn.Module, table: Rules = TABLE) -> Tensor:
    """Relevance of the pixels, of which every operation has to be accounted for."""
    net = Between(f, *more).double().eval()
    x = torch.randn(2, 3, 2, 2, generator=torch.Generator().manual_seed(1)).double()
    recording = Recording(ll.Classifier(net, size=2), x)
    found = recording.to_image(table, recording.logits, chosen(recording))
    assert not recording.without_rule
    (one,) = recording.passes
    taken = sum((f.biases if f.biases is not None else 0) for f in one.flows)
    taken = taken + sum((f.constants if f.constants is not None else 0) for f in one.flows)
    taken = taken + sum((f.remainder if f.remainder is not None else 0) for f in one.flows)
    close(one.at_end + taken, one.at_start)
    return found


MASK = torch.tensor([[1, 0, 0, 1], [1, 1, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1]]).bool()
BIAS = torch.zeros(4, 4).double().masked_fill(~MASK, -torch.inf) + torch.arange(4)


def heads(x: Tensor, n: int) -> Tensor:
    """(b, 4, 6) -> (b, n, 4, 6 / n)."""
    return x.unflatten(-1, (n, -1)).transpose(1, 2)


def written(x: Tensor, bias: Tensor | float = 0.0, scale: float = 3**-0.5) -> Tensor:
    q, k, v = (heads(t, 2) for t in (x, x + 1, x * 2))
    return (((q * scale) @ k.mT + bias).softmax(-1) @ v).transpose(1, 2).flatten(2)


def fused(x: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
    q, k, v = (heads(t, 2) for t in (x, x + 1, x * 2))
    return F.scaled_dot_product_attention(q, k, v, mask, **options).transpose(1, 2).flatten(2)


def masked(x: Tensor) -> Tensor:
    return written(x, torch.zeros(4, 4).double().masked_fill(~MASK, -torch.inf))


def causal(x: Tensor) -> Tensor:
    return written(x, torch.zeros(4, 4).double().masked_fill(~torch.ones(4, 4).bool().tril(), -torch.inf))


def by_einsum(x: Tensor) -> Tensor:
    q, k, v = (heads(t, 2) for t in (x, x + 1, x * 2))
    weights = (torch.einsum("bhqd,bhkd->bhqk", q * 3**-0.5, k) + BIAS).softmax(-1)
    return torch.einsum("bhqk,bhkd->bqhd", weights, v).flatten(2)


def by_bmm(x: Tensor) -> Tensor:
    q, k, v = (heads(t, 2).flatten(0, 1) for t in (x, x + 1, x * 2))
    weights = torch.baddbmm(BIAS.clamp_min(-100.0).expand(4, 4, 4), q * 3**-0.5, k.mT).softmax(-1)
    return torch.bmm(weights, v).unflatten(0, (-1, 2)).transpose(1, 2).flatten(2)


def grouped(x: Tensor) -> Tensor:
    q, k = heads(x, 2), heads(x, 2)[:, :1]
    return F.scaled_dot_product_attention(q, k, k, enable_gqa=True).transpose(1, 2).flatten(2)


def repeated(x: Tensor) -> Tensor:
    q, k = heads(x, 2), heads(x, 2)[:, :1].expand(-1, 2, -1, -1)
    return (((q * 3**-0.5) @ k.mT).softmax(-1) @ k).transpose(1, 2).flatten(2)


@pytest.mark.parametrize("attention", ["attn-lrp", "constant"])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (fused, lambda x: written(x, torch.zeros(1).double())),
        (lambda x: fused(x, scale=0.7), lambda x: written(x, 0.0, 0.7)),
        (lambda x: fused(x, MASK), masked),
        (lambda x: fused(x, BIAS), lambda x: written(x, BIAS)),
        (lambda x: fused(x, is_causal=True), causal),
        (by_einsum, lambda x: written(x, BIAS)),
        (by_bmm, lambda x: written(x, BIAS.clamp_min(-100.0))),
        pytest.param(grouped, repeated, marks=pytest.mark.skipif(torch.__version__ < "2.5", reason="has no groups")),
    ],
    ids=["plain", "scale", "boolean mask", "bias", "causal", "einsum", "bmm", "grouped heads"],
)
def test_fused_attention_is_what_it_consists_of(one: Any, other: Any, attention: Any) -> None:
    table = Rules(attention_table(attention, 0.0, 0.0))
    close(relevance(one, table=table), relevance(other, table=table))


def projected(x: Tensor, m: nn.MultiheadAttention) -> Tensor:
    q, k, v = (heads(t, 2) for t in F.linear(x, m.in_proj_weight, m.in_proj_bias).chunk(3, -1))
    return m.out_proj((((q * 3**-0.5) @ k.mT).softmax(-1) @ v).transpose(1, 2).flatten(2))


def tokens_first(x: Tensor, m: nn.MultiheadAttention) -> Tensor:
    return m(*[x.transpose(0, 1)] * 3)[0].transpose(0, 1)


def residual(x: Tensor, t: nn.TransformerEncoderLayer) -> Tensor:
    x = t.norm1(x + projected(x, t.self_attn))
    return t.norm2(x + t.linear2(t.linear1(x).relu()))


@pytest.mark.parametrize(
    ("module", "one", "other"),
    [
        (lambda: nn.MultiheadAttention(6, 2, batch_first=True), lambda x, m: m(x, x, x)[0], projected),
        (lambda: nn.MultiheadAttention(6, 2), tokens_first, projected),
        (lambda: nn.TransformerEncoderLayer(6, 2, 8, 0.0, batch_first=True), lambda x, t: t(x), residual),
    ],
    ids=["batch first", "tokens first", "encoder layer"],
)
def test_attention_in_one_module(module: Any, one: Any, other: Any) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        m = module()
    close(relevance(one, m), relevance(other, m))


def test_weights_that_a_module_returns_are_recorded() -> None:
    m = nn.MultiheadAttention(6, 2, batch_first=True)

    def weigh(x: Tensor, m: nn.MultiheadAttention) -> Tensor:
        return m(x, x, x)[1] @ x

    def by_hand(x: Tensor, m: nn.MultiheadAttention) -> Tensor:
        q, k, _ = (heads(t, 2) for t in F.linear(x, m.in_proj_weight, m.in_proj_bias).chunk(3, -1))
        return ((q * 3**-0.5) @ k.mT).softmax(-1).mean(1) @ x

    close(relevance(weigh, m), relevance(by_hand, m))


NORM = nn.LayerNorm(6)
NORM.weight.data, NORM.bias.data = torch.linspace(0.5, 2, 6), torch.linspace(-1, 1, 6)


def own_layer_norm(x: Tensor, n: nn.LayerNorm) -> Tensor:
    away = x - x.mean(-1, keepdim=True)
    return away / (away.pow(2).mean(-1, keepdim=True) + n.eps).sqrt() * n.weight + n.bias


def own_rms_norm(x: Tensor) -> Tensor:
    return x * (x.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda x: NORM.double()(x), lambda x: own_layer_norm(x, NORM.double())),
        (lambda x: F.rms_norm(x, (6,), eps=1e-6), own_rms_norm),
        (lambda x: F.normalize(x, dim=-1), lambda x: x / x.norm(dim=-1, keepdim=True)),
        (F.silu, lambda x: x * torch.sigmoid(x)),
        (lambda x: F.group_norm(x.mT, 1, eps=1e-3).mT, lambda x: F.layer_norm(x, (4, 6), eps=1e-3)),
    ],
    ids=["layer norm", "rms norm", "unit length", "silu", "group norm"],
)
def test_layers_that_a_network_writes_itself(one: Any, other: Any) -> None:
    close(relevance(one), relevance(other))


def ops_of(net: nn.Module, x: Tensor, kind: str) -> Any:
    return next(op for op in Recording(ll.Classifier(net, size=2), x).ops if op.kind == kind)


def test_rules_by_hand() -> None:
    """Softmax: x = (0, ln 3), s = (1/4, 3/4), R = (1, 2) -> (0, ln 3 (2 - 9/4)); the rest is its remainder."""

    class Pair(nn.Module):
        def __init__(self, f: Any) -> None:
            super().__init__()
            self.f = f

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(self.f(x.flatten(1)), torch.eye(2).double())

    ln3 = torch.tensor(3.0).double().log()
    x = torch.stack([torch.zeros(()).double(), ln3]).view(1, 2, 1, 1)
    r = torch.tensor([[1.0, 2.0]]).double()
    op = ops_of(Pair(lambda x: x.softmax(-1)), x, "softmax")
    close(TABLE.find(op)[1](op, r), torch.stack([0 * ln3, -ln3 / 4])[None])
    close(op.audit["remainder"], torch.stack([3 + ln3 / 4]))
    op = ops_of(Pair(lambda x: (x + 2) * (x + 3)), x, "product")
    close(torch.stack(TABLE.find(op)[1](op, r)), torch.stack([r / 2, r / 2]))
    op = ops_of(Pair(lambda x: x + 3), x, "shift")
    close(TABLE.find(op)[1](op, r)[0], torch.stack([0 * ln3, 2 * ln3 / (ln3 + 3)])[None])
    close(op.audit["constants"], torch.stack([1 + 6 / (ln3 + 3)]))


def test_tokens_behind_a_linear_layer_may_be_written_into() -> None:
    place = torch.linspace(-1, 1, 24).view(1, 4, 6).double()
    torch.manual_seed(1)
    linear = nn.Linear(6, 6).double()
    close(relevance(lambda t, f: f(t).add_(place), linear), relevance(lambda t, f: f(t) + place, linear))


def test_weights_whose_heads_are_mixed_are_held_constant() -> None:
    """CP-LRP is input times gradient with constant weights of attention, also where heads talk to each other."""

    def mixed(x: Tensor, mix: nn.Linear) -> Tensor:
        q, k, v = (heads(t, 2) for t in (x, x + 1, x * 2))
        a = mix((q @ k.mT).softmax(-1).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return ((a.detach() if hold else a) @ v).transpose(1, 2).flatten(2)

    hold = False
    mix = nn.Linear(2, 2, bias=False)
    ours = relevance(mixed, mix, table=Rules(attention_table("constant", 0.0, 0.0)))
    hold = True
    net = Between(mixed, mix).double().eval()
    x = torch.randn(2, 3, 2, 2, generator=torch.Generator().manual_seed(1)).double().requires_grad_()
    (gradient,) = torch.autograd.grad(net(x)[:, 1].sum(), x)
    close(ours, x.detach() * gradient)


@pytest.mark.parametrize("name", ["rap", "rsp"])
def test_windows_of_an_image_are_balanced_together(name: str) -> None:
    """What is fixed for an image is so for all of its windows together."""

    class Parts(nn.Module):
        def __init__(self, windows: int) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.stem, self.mix, self.head = nn.Conv2d(3, 6, 2, 2), nn.Linear(6, 5), nn.Linear(5, 3)
            self.windows = windows

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.stem(x).relu().flatten(2).mT
            split = self.mix(tokens.reshape(len(x) * self.windows, -1, 6)).relu()
            return self.head(split.reshape(len(x), -1, 5).mean(1))

    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    whole, parts = (
        ll.method(name).raw(ll.Classifier(Parts(windows).double().eval(), size=8), x, 1) for windows in (1, 4)
    )
    close(parts, whole)
