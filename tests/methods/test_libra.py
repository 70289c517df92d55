"""LibraGrad: against its authors' code, what adds up to the score, and its rules worked by hand."""

import copy
from functools import cache
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

import architectures
import limelight as ll
from conftest import npz, script, shared
from limelight.engine.run import run
from limelight.relevance.op import Op
from limelight.relevance.recording import Recording
from limelight.rules import LIBRA
from methods.adding_up import Head, gap, one, pixel
from methods.goldens import golden


@cache
def tinyvit(*, fused: bool = False) -> nn.Module:
    models = script(shared("golden", "models_vit.py"))
    net = models.load("tinyvit", shared("golden", "models_vit.npz"), torch.float64).eval()
    return models.set_fused(net, fused)


@cache
def inputs() -> tuple[Tensor, Tensor, Tensor]:
    arrays = npz("golden", "inputs_vit.npz")
    x = script(shared("golden", "models_vit.py")).preprocess(arrays["u8"], torch.float64)
    return x, torch.as_tensor(arrays["target"]), torch.as_tensor(arrays["second"])


def assert_close(ours: Tensor, theirs: Any, tolerance: float = 1e-5) -> None:
    theirs = torch.as_tensor(theirs).to(ours)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance * float(theirs.abs().max()))


@pytest.mark.parametrize("fused", [False, True])
def test_libra_authors(fused: bool) -> None:
    """Its authors' input x gradient at pixels and tokens; that is CP-LRP with a stabiliser of 0."""
    (x, target, second), (_, arrays) = inputs(), golden("vit-libragrad-tinyvit")
    c = ll.Classifier(tinyvit(fused=fused))
    tokens = [ll.method("hires-cam", layer=f"blocks.{i}", balance="libra") for i in (0, 2)]
    pixels, *blocks = run([ll.method("input-x-gradient", balance="libra"), *tokens], c, x, target)
    assert_close(pixels.raw[:1], arrays["libra_target_pixels"].sum(1))
    assert_close(pixels.raw, golden("vit-cp_lrp-tinyvit")[1]["pixels_target"].sum(1))
    theirs = {
        kind: arrays[f"libra_{kind}_input_x_gradient_per_block"] for kind in ("target", "target_softmax", "second")
    }
    for block, i in zip(blocks, (1, 3), strict=True):
        assert_close(block.raw.flatten(1), theirs["target"][:, i, 1:])
    assert str(pixels.cost) == "1 F + 1 R"
    method = ll.method("hires-cam", layer="blocks.1", score="prob", balance="libra")
    assert_close(method.raw(c, x, target).flatten(1), theirs["target_softmax"][:, 2, 1:])
    method = ll.method("hires-cam", layer="blocks.1", balance="libra")
    assert_close(method.raw(c, x, second).flatten(1), theirs["second"][:, 2, 1:])


def bias_of(op: Op, net: nn.Module) -> Tensor | None:
    """The bias of a layer, of its module where the operation has none."""
    return op.bias if op.affine else net.get_submodule(op.owner).bias if op.kind == "norm" else None


def biases_behind(recording: Recording, arrived: dict[Op, Tensor], layer: Tensor, net: nn.Module) -> list[Tensor]:
    """G . b of every layer behind a tensor, in the shape of its output."""
    behind = recording.number(layer)
    biases = [(g, bias_of(op, net)) for op, g in arrived.items() if op.number > behind]
    return [(g * b.detach()).reshape(len(recording.image), -1, len(b)) for g, b in biases if b is not None]


def small_swin() -> nn.Module:
    return torchvision.models.SwinTransformer([4, 4], 8, [2, 2], [2, 2], [4, 4], num_classes=5)


def small_vit() -> nn.Module:
    net = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5)
    nn.init.normal_(net.heads.head.weight)
    return net


@pytest.mark.parametrize(
    ("build", "layers"),
    [
        (small_vit, ["encoder.dropout", "encoder.layers.encoder_layer_0"]),
        (small_swin, ["features.0", "features.1.0", "features.1.1", "features.2"]),
        (tinyvit, ["blocks.0", "blocks.1"]),
    ],
)
def test_inputs_of_blocks_and_biases_behind_them_add_up(build: Any, layers: list[str]) -> None:
    torch.manual_seed(0)
    net = copy.deepcopy(build()).double().eval()
    for p in net.parameters():  # of a new network many biases are 0
        p.data += 0.05 * torch.randn_like(p)
    c, x = ll.Classifier(net), torch.randn(2, 3, *(64, 64) if build is tinyvit else (32, 32)).double()
    recording = Recording(c, x, {info.name: info for info in c.layers(tuple(layers), x, "several")})
    score = recording.logits[:, 1]
    arrived = recording.at_operations(LIBRA, score, torch.ones_like(score))
    for layer in recording.outputs.values():
        (g,) = recording.relevance(LIBRA, score, torch.ones_like(score), [layer], audit=False)
        biases = sum(b.sum((1, 2)) for b in biases_behind(recording, arrived, layer, net))
        assert_close((layer * g).detach().flatten(1).sum(1) + biases, score.detach(), 1e-10)
        assert (biases / score.detach()).abs().min() > 1e-3
        (plain,) = recording.gradients(score, [layer])
        assert not torch.allclose((layer * plain).flatten(1).sum(1) + biases, score, rtol=0.01)
    assert gap(ll.method("full-grad", balance="libra").run(c, x, 1)).max() < 1e-12


def test_the_ledger_of_biases_is_that_of_the_authors() -> None:
    (x, target, _), (_, arrays) = inputs(), golden("vit-libragrad-tinyvit")
    net = tinyvit()
    c = ll.Classifier(net)
    recording = Recording(c, x, {"blocks.0": c.layers(("blocks.0",), x)[0]})
    score = recording.logits.gather(1, target[:, None])[:, 0]
    arrived = recording.at_operations(LIBRA, score, torch.ones_like(score))
    layer = recording.outputs["blocks.0"]
    (g,) = recording.relevance(LIBRA, score, torch.ones_like(score), [layer], audit=False)
    tokens = (layer * g).sum(2).detach()
    for piece in biases_behind(recording, arrived, layer, net):
        tokens[:, : piece.shape[1]] += piece.sum(2)  # that of the head is the class token's
    assert_close(tokens, arrays["libra_target_fullgrad_per_block"][:, 1])


@pytest.mark.parametrize("name", ["gradient", "smooth-grad", "layer-cam", "smooth-grad-cam++", "full-grad"])
def test_nothing_changes_on_a_network_of_relus(name: str) -> None:
    c, x = ll.Classifier(architectures.build("plain").double()), architectures.images(2).double()
    few = {"n": 2} if name.startswith("smooth") else {}
    plain, libra = (ll.method(name, balance=b, **few).run(c, x, [1, 4]) for b in ("none", "libra"))
    assert_close(libra.raw, plain.raw, 1e-12)
    assert str(libra.cost) == str(plain.cost)


@pytest.mark.parametrize("name", ["grad-cam", "smooth-grad", "full-grad"])
def test_a_batch_is_its_images_and_the_model_stays(name: str) -> None:
    c, x = ll.Classifier(architectures.build("tokens").double()), architectures.images(2).double()
    weights = c.weights_hash()
    few = {"n": 2} if name == "smooth-grad" else {}
    method = ll.method(name, balance="libra", **few)
    both, singles = method.raw(c, x, [1, 4]), [method.raw(c, x[i : i + 1], [1, 4][i]) for i in (0, 1)]
    assert_close(both, torch.cat(singles), 1e-10)
    assert not torch.allclose(both, ll.method(name, **few).raw(c, x, [1, 4]), rtol=1e-2)
    assert c.weights_hash() == weights
    assert not any(p.grad is not None for p in c.module.parameters())


def test_integrated_gradients_are_those_on_the_way() -> None:
    c, x = ll.Classifier(architectures.build("tokens").double()), architectures.images(1).double()
    options = {"n": 1, "quadrature": "midpoint", "baseline": ("zero",), "balance": "libra"}
    ones = ll.method("integrated-gradients", **options).raw(c, x, 1)
    expected = ll.method("input-x-gradient", balance="libra").raw(c, x / 2, 1) * 2
    assert expected.any()
    assert_close(ones, expected, 1e-12)


def quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def written_gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1.0 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x.pow(3))))


def written_rms_norm(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-6)


X = torch.tensor([[0.5, -1.0, 2.0]]).double()
RMS = X.square().mean().sqrt()

HELD = {
    # f, and dy/dx as it should be at X for y = sum_i v_i f(x)_i.
    "silu": (F.silu, lambda v: v * X.sigmoid()),
    "quick gelu": (quick_gelu, lambda v: v * (1.702 * X).sigmoid()),
    "gelu": (F.gelu, lambda v: v * torch.special.ndtr(X)),
    "tanh gelu": (written_gelu, lambda v: v * F.gelu(X, approximate="tanh") / X),
    "tanh": (torch.tanh, lambda v: v * (1 - X.tanh() ** 2)),
    "squared relu": (lambda x: x.relu() ** 2, lambda v: v * X.relu()),
    "gated": (lambda x: F.silu(x) * x.flip(1), lambda v: 0.5 * (v * X.flip(1) * X.sigmoid() + (v * F.silu(X)).flip(1))),
    "layer norm": (lambda x: F.layer_norm(x, (3,)), lambda v: (v - v.mean()) / (X.var(correction=0) + 1e-5).sqrt()),
    "rms norm": (lambda x: F.rms_norm(x, (3,), eps=0.0), lambda v: v / RMS),
    "written rms norm": (written_rms_norm, lambda v: v / (RMS**2 + 1e-6).sqrt()),
    "unit length": (lambda x: F.normalize(x, dim=1), lambda v: v / X.norm()),
    "written unit length": (lambda x: x / x.norm(dim=1, keepdim=True), lambda v: v / X.norm()),
    "attention": (
        lambda x: (x[:, :, None] * x[:, None]).softmax(2) @ x[:, :, None],
        lambda v: (X[:, :, None] * X[:, None]).softmax(2).mT @ v.mT,
    ),
    "talking heads": (
        lambda x: F.linear((x[:, :, None] * x[:, None]).softmax(2), torch.eye(3).double()) @ x[:, :, None],
        lambda v: (X[:, :, None] * X[:, None]).softmax(2).mT @ v.mT,
    ),
}


@pytest.mark.parametrize("name", HELD)
def test_what_is_held_constant(name: str) -> None:
    function, expected = HELD[name]
    v = torch.tensor([[1.0, 3.0, -2.0]]).double()
    c = one(Head(lambda x: (function(x.flatten(1)).flatten(1) * v).sum(1)))
    saliency = ll.method("input-x-gradient", balance="libra", reduce="sum").run(c, X[:, :, None, None], 0)
    assert_close(saliency.raw.flatten(), (X.flatten() * expected(v).flatten()).sum(0, keepdim=True), 1e-9)
    assert not saliency.notes


def test_a_gate_has_its_limit_at_0() -> None:
    c = one(Head(lambda x: (F.silu(x) + F.gelu(x)).flatten(1).sum(1)))
    assert ll.method("gradient", balance="libra").raw(c, pixel(0, 0, 0), 0).item() == 1.0


@pytest.mark.parametrize("name", ["rise", "sc-sm-cam", "lrp", "guided-grad-cam", "i-gos", "aop", "generic-attention"])
def test_who_has_no_other_derivatives_says_so(name: str) -> None:
    with pytest.raises(ll.errors.InvalidOption, match=rf"^{name}: balance='libra' is for .*gradients"):
        ll.method(name, balance="libra")


def test_the_option_is_checked_and_recorded() -> None:
    with pytest.raises(ll.errors.InvalidOption, match="balance = 'lira'"):
        ll.method("gradient", balance="lira")
    assert ll.method("aop", base_options={"balance": "libra"}).base.options.balance == "libra"
    c, x = ll.Classifier(architectures.build("tokens")), architectures.images(1)
    saliency = ll.method("gradient", balance="libra").run(c, x, 1)
    assert saliency.provenance["options"]["balance"] == "libra"


def test_what_has_no_rule_is_told() -> None:
    torch.manual_seed(0)
    c = one(Head(lambda x, a: F.glu(a(x).flatten(1)).sum(1), a=nn.Conv2d(3, 6, 1)))
    with pytest.warns(ll.errors.ConservationWarning, match="no rule for glu: their own gradient"):
        ll.method("smooth-grad", balance="libra", n=1).run(c, pixel(1, 2, 3), 0)
    with pytest.raises(ll.errors.UnsupportedModel, match="no rule for glu"):
        ll.method("gradient", balance="libra", strict=True).run(c, pixel(1, 2, 3), 0)
