"""Attention as it is recorded, against what the networks themselves compute and return."""

import itertools

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.swin_transformer import SwinTransformer
from transformers import BeitConfig, BeitForImageClassification, ViTConfig, ViTForImageClassification

import limelight as ll
from limelight.model.attention import Attention, watch_attention
from limelight.model.tokens import Tokens, find_tokens
from limelight.model.windows import place_windows


def record(module: nn.Module, *inputs: Tensor, images: int, **kwargs: object) -> tuple[list[Attention], object]:
    with torch.no_grad(), watch_attention(module, images) as watch:
        output = module(*inputs, **kwargs)
    return list(watch.seen.values()), output


MASKS = [
    None,
    torch.tensor([[False, False, True, False], [True, False, False, False], [False] * 4]),
    torch.linspace(-1, 1, 12).view(3, 4),
    torch.arange(96).view(8, 3, 4) % 5 == 1,
]


@pytest.mark.parametrize("options", [{}, {"add_bias_kv": True}, {"add_zero_attn": True}, {"kdim": 6, "vdim": 5}])
def test_weights_are_those_that_a_module_returns(options: dict[str, int]) -> None:
    torch.manual_seed(0)
    for first, mask, padded in itertools.product((True, False), MASKS, (False, True)):
        m = nn.MultiheadAttention(8, 4, batch_first=first, **options).eval()
        q, k, v = (
            torch.randn(2, 3, 8),
            torch.randn(2, 4, options.get("kdim", 8)),
            torch.randn(2, 4, options.get("vdim", 8)),
        )
        if not first:
            q, k, v = (t.transpose(0, 1) for t in (q, k, v))
        padding = torch.tensor([[False, False, False, True]] * 2) if padded else None
        if padding is not None and mask is not None and mask.dtype != torch.bool:
            padding = torch.zeros(2, 4).masked_fill(padding, -torch.inf)
        given = {"attn_mask": mask, "key_padding_mask": padding, "average_attn_weights": False}
        output, weights = m(q, k, v, **given)
        (attention,), again = record(m, q, k, v, images=2, **given)
        torch.testing.assert_close(attention.weights, weights)
        torch.testing.assert_close(again, (output, weights))


class Kernel(nn.Module):
    def __init__(self, **options: object) -> None:
        super().__init__()
        self.options = options

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, **self.options)


@pytest.mark.parametrize(
    "options", [{}, {"is_causal": True}, {"scale": 0.7}, {"enable_gqa": True}, {"attn_mask": torch.eye(5) == 0}]
)
def test_weights_of_the_fused_kernel_give_its_output(options: dict[str, object]) -> None:
    if options.get("enable_gqa") and torch.__version__ < "2.5":
        pytest.skip("PyTorch 2.4 has no enable_gqa")
    torch.manual_seed(0)
    heads = 2 if options.get("enable_gqa") else 4
    q, k, v = torch.randn(2, 4, 5, 3), torch.randn(2, heads, 5, 3), torch.randn(2, heads, 5, 3)
    (attention,), output = record(Kernel(**options), q, k, v, images=2)
    torch.testing.assert_close(attention.weights @ attention.values[:, 0], output)
    torch.testing.assert_close(attention.weights.sum(-1), torch.ones(2, 4, 5))
    if options.get("is_causal"):
        assert not bool(attention.weights.triu(1).any())


class Written(nn.Module):
    """Attention by hand, as many networks have it."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if self.way == "einsum":
            a = (torch.einsum("bhid,bhjd->bhij", q, k) * 3**-0.5).softmax(-1)
            return torch.einsum("bhij,bhjd->bhid", a, v)
        if self.way == "bmm":
            q, k, v = (t.flatten(0, 1) for t in (q, k, v))
            a = torch.bmm(q * 3**-0.5, k.transpose(1, 2))
            return torch.bmm(F.dropout(F.softmax(a, -1), 0.1, self.training), v).view(2, 4, 5, 3)
        a = (q @ k.mT / 3**0.5 + 0.0).softmax(-1, dtype=torch.float64).to(q.dtype)
        return a.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2) @ v  # as a mixing of heads does


@pytest.mark.parametrize("way", ["einsum", "bmm", "matmul"])
def test_attention_by_hand_is_that_of_the_kernel(way: str) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 4, 5, 3) for _ in range(3))
    (by_hand,), output = record(Written(way).eval(), q, k, v, images=2)
    (fused,), same = record(Kernel(), q, k, v, images=2)
    torch.testing.assert_close(output, same)
    torch.testing.assert_close(by_hand.weights, fused.weights)


def test_gradient_is_that_of_weights_in_the_graph() -> None:
    """The gradient that autograd gives where a network holds its weights, from a kernel that holds none."""
    config = ViTConfig(
        hidden_size=12, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, image_size=16, patch_size=8
    )
    torch.manual_seed(0)
    net = ViTForImageClassification(config).eval().double()
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    clean = ll.method("generic-attention")
    fused = clean.raw(ll.Classifier(net, size=16), x, 1)
    net.set_attn_implementation("eager")
    out = net(x, output_attentions=True)
    gradients = torch.autograd.grad(out.logits[:, 1].sum(), out.attentions)
    r = torch.eye(5, dtype=torch.float64).expand(2, 5, 5)
    for a, g in zip(out.attentions, gradients, strict=True):
        r = r + (g * a).relu().mean(1) @ r
    torch.testing.assert_close(fused, r[:, 0, 1:].view(2, 2, 2).detach(), rtol=1e-6, atol=1e-12)


def test_windows_lie_where_a_roll_puts_them() -> None:
    torch.manual_seed(0)
    net = SwinTransformer([2, 2], 8, [2], [2], window_size=[4, 4], num_classes=3).eval()
    c, x = ll.Classifier(net, size=16), torch.randn(1, 3, 16, 16)
    seen, _ = record(net, x, images=1)
    plain, shifted = place_windows(c, x, seen)
    grid = torch.arange(64).view(8, 8)
    for attention, shift in ((plain, 0), (shifted, 2)):
        rolled = grid.roll((-shift, -shift), (0, 1))
        expected = rolled.view(2, 4, 2, 4).permute(0, 2, 1, 3).reshape(4, 16)
        assert attention.places is not None
        assert attention.places.equal(expected)
        whole = attention.weights[0, 0]
        torch.testing.assert_close(whole.sum(-1), torch.ones(64))
        torch.testing.assert_close(whole[expected[1]][:, expected[1]], attention.weights_in_windows[0, 1, 0])
    corner = shifted.weights[0, :, 63]  # a shifted window holds opposite corners of the picture, behind a mask
    assert float(corner[:, 0].max()) < 1e-30


def test_tokens_that_a_head_reads_are_found() -> None:
    common = {"img_size": 16, "patch_size": 4, "embed_dim": 12, "depth": 2, "num_heads": 2, "num_classes": 3}
    x = torch.zeros(1, 3, 16, 24)
    expected = {
        "class token": ({}, 1, {0: 1.0}),
        "registers": ({"reg_tokens": 4}, 5, {0: 1.0}),
        "mean of patches": ({"reg_tokens": 2, "global_pool": "avg"}, 3, dict.fromkeys(range(3, 27), 1 / 24)),
        "no prefix": ({"class_token": False, "global_pool": "avg"}, 0, dict.fromkeys(range(24), 1 / 24)),
    }
    for name, (options, prefix, read) in expected.items():
        torch.manual_seed(0)
        net = timm.models.VisionTransformer(**{**common, "img_size": (16, 24)}, **options).eval()
        nn.init.normal_(net.head.weight)
        method = ll.method("attention-rollout")
        assert method.raw(ll.Classifier(net, size=(16, 24)), x).shape == (1, 4, 6), name
        tokens = find_tokens(ll.Classifier(net, size=(16, 24)), x, prefix + 24)
        assert (tokens.prefix, tokens.grid) == (prefix, (4, 6)), name
        torch.testing.assert_close(tokens.read, torch.tensor([read.get(i, 0.0) for i in range(prefix + 24)]), msg=name)


def test_patches_stand_behind_the_keys_that_a_pool_adds() -> None:
    tokens = Tokens(0, (2, 2), torch.full((4,), 0.25))
    assert tokens.map(torch.arange(5.0)[None]).tolist() == [[[1, 2], [3, 4]]]


class Stages(nn.Module):
    """Two attentions of sixteen tokens each, of other parts of the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down, self.head = nn.Conv2d(3, 4, 8, 8), nn.Conv2d(4, 8, 2, 2), nn.Linear(8, 3)
        self.blocks = nn.ModuleList([Pooled(4, 2), Pooled(8, 1)])

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks[1](self.down(self.blocks[0](self.stem(x)))).mean((2, 3)))


class Pooled(nn.Module):
    """Attention of a picture's means."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.attention, self.stride = nn.MultiheadAttention(channels, 1, batch_first=True), stride

    def forward(self, x: Tensor) -> Tensor:
        small = F.avg_pool2d(x, self.stride)
        t = small.flatten(2).mT
        return x + F.interpolate(self.attention(t, t, t)[0].mT.reshape(small.shape), scale_factor=float(self.stride))


SMALL = {"img_size": 64, "depth": 2, "embed_dim": 16, "num_heads": 2, "num_classes": 3}


@pytest.mark.parametrize(
    ("net", "why"),
    [
        (lambda: SwinTransformer([2, 2], 8, [2], [2], window_size=[4, 4], num_classes=3), "in windows only"),
        (lambda: timm.create_model("pvt_v2_b0", depths=(1, 1, 1, 1), num_classes=3), "keys are pooled"),
        (lambda: Stages(), "other tokens"),
        (lambda: timm.create_model("vit_small_patch16_18x2_224", **SMALL), "attns.0.attn' and"),
        pytest.param(
            *(lambda: timm.create_model("vit_dlittle_patch16_reg1_gap_256", **SMALL), "attn' has two"),
            marks=pytest.mark.skipif(not timm.is_model("vit_dlittle_patch16_reg1_gap_256"), reason="an old timm"),
        ),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "no attention"),
    ],
)
def test_what_is_not_defined_is_refused_by_name(net: object, why: str) -> None:
    torch.manual_seed(0)
    c = ll.Classifier(net().eval(), size=64)
    for name in ("attention-rollout", "generic-attention", "legrad"):
        with pytest.raises(ll.errors.UnsupportedModel, match=f"{name}.*{why}|{why}.*{name}"):
            ll.method(name).raw(c, torch.zeros(1, 3, 64, 64))


def test_projected_queries_need_a_projection() -> None:
    torch.manual_seed(0)
    net = timm.create_model("vit_tiny_patch16_224", **SMALL).eval()
    net.blocks[-1].attn.proj = nn.Identity()
    with pytest.raises(ll.errors.UnsupportedModel, match=r"'blocks\.1\.attn' gives was not seen to go through"):
        ll.method("grad-eclip", profile="script").raw(ll.Classifier(net, size=64), torch.randn(1, 3, 64, 64))


def test_tokens_may_be_handed_out_beside_what_the_head_reads() -> None:
    torch.manual_seed(0)
    few = {"num_hidden_layers": 1, "num_attention_heads": 1, "hidden_size": 8, "intermediate_size": 8}
    net = BeitForImageClassification(BeitConfig(image_size=32, patch_size=16, num_labels=2, **few)).eval()
    tokens = find_tokens(ll.Classifier(net, size=32), torch.zeros(1, 3, 32, 32), 5)
    torch.testing.assert_close(tokens.read, torch.tensor([0.0, 0.25, 0.25, 0.25, 0.25]))
