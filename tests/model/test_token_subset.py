"""A transformer that sees some of its tokens only: those are the same as if attention did not see the others."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import architectures
import limelight as ll
from limelight.errors import UnknownLayer, UnsupportedModel
from limelight.model.token_subset import keep_tokens


def some(images: int, tokens: int, count: int) -> Tensor:
    draws = torch.Generator().manual_seed(0)
    return torch.stack([torch.randperm(tokens, generator=draws)[:count] for _ in range(images)])


def short(c: ll.Classifier, x: Tensor, kept: Tensor) -> Any:
    first = c.layers(None, x, "blocks")[0]
    assert first.layout is not None
    with torch.no_grad(), keep_tokens(c.module.get_submodule(first.name), first.layout, kept):
        return c.forward(x)


def hooks(module: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


def test_by_hand() -> None:
    net, x, kept = architectures.build("tokens"), architectures.images(), some(3, 35, 9)
    tokens = net.patches(x).flatten(2).mT + net.positions[:, 1:]
    first = (net.class_token + net.positions[:, :1]).expand(3, -1, -1)
    left = torch.cat([first, tokens[torch.arange(3)[:, None], kept]], 1)
    expected = net.head(net.norm(net.blocks(left))[:, 0])
    torch.testing.assert_close(short(ll.Classifier(net), x, kept), expected)
    assert not hooks(net)


class Encoder(nn.Module):
    """PyTorch's own blocks, which take the tokens before the images."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.positions = nn.Parameter(torch.randn(16, 1, 16))
        self.blocks = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32), 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.patches(x).flatten(2).permute(2, 0, 1) + self.positions).mean(0))


def test_tokens_before_the_images() -> None:
    net, x, kept = Encoder().eval(), torch.randn(2, 3, 32, 32), some(2, 16, 5)
    tokens = net.patches(x).flatten(2).permute(2, 0, 1) + net.positions
    left = torch.stack([tokens[k, i] for i, k in enumerate(kept)], 1)
    torch.testing.assert_close(short(ll.Classifier(net), x, kept), net.head(net.blocks(left).mean(0)))


class Mixer(nn.Module):
    """Blocks over tokens with weights for each of them."""

    def __init__(self, fails: type[Exception] | None = None) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 8, 8)
        self.blocks = nn.Sequential(Mix(fails), Mix(fails))
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.patches(x).flatten(2).mT).mean(1))


class Mix(nn.Module):
    def __init__(self, fails: type[Exception] | None) -> None:
        super().__init__()
        self.mix, self.up, self.fails = nn.Linear(16, 16), nn.Linear(6, 6), fails

    def forward(self, x: Tensor) -> Tensor:
        if self.fails and x.shape[1] < 16:
            raise self.fails("the user's mistake")
        return x + self.up(self.mix(x.mT).mT)


class OwnError(Exception):
    """One of the user's."""


@pytest.mark.parametrize(
    ("fails", "raised", "message"),
    [
        (None, UnsupportedModel, "tis: only for networks that take any number of tokens; given 8 of 16"),
        (OwnError, OwnError, "mistake"),
    ],
)
def test_all_tokens_are_needed(fails: type[Exception] | None, raised: type[Exception], message: str) -> None:
    net = Mixer(fails).eval()
    with pytest.raises(raised, match=message):
        ll.method("tis", n_masks=3).run(net, torch.randn(2, 3, 32, 32))
    assert not hooks(net)


def test_no_sequence_of_tokens() -> None:
    x = architectures.images(1)
    with pytest.raises(UnsupportedModel, match=r"^tis: only for transformers.* Residual has none"):
        ll.method("tis").run(architectures.build("residual"), x)
    with pytest.raises(UnknownLayer, match=r"'patches' is no block of Tokens; its blocks are blocks\.0, blocks\.1"):
        ll.method("tis", layer="patches").run(architectures.build("tokens"), x)


# -- other people's transformers ---------------------------------------------------------------------------------


def timm(name: str, **options: Any) -> Callable[[], nn.Module]:
    small = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 4}

    def build() -> nn.Module:
        of = pytest.importorskip("timm", reason="needs the package timm, of the extra zoo")
        return of.create_model(name, pretrained=False, **small, **options)

    return build


def hugging_face(kind: str, attention: str = "sdpa", **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        of = pytest.importorskip("transformers", reason="needs the package transformers, of the extra zoo")
        small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        config = getattr(of, f"{kind}Config")(
            **small, image_size=32, patch_size=8, num_labels=4, attn_implementation=attention, **options
        )
        return getattr(of, f"{kind}ForImageClassification")(config)

    return build


LIBRARIES = {
    "class": (timm("vit_tiny_patch16_224"), 1),
    "distillation": (timm("deit_tiny_distilled_patch16_224"), 2),
    "registers": (timm("vit_small_patch14_reg4_dinov2"), 5),
    "no prefix": (timm("vit_base_patch16_rpn_224"), 0),
    "bias of pairs": (timm("beit_base_patch16_224"), 1),
    "rotations": (timm("eva02_tiny_patch14_224"), 1),
    "hugging face": (hugging_face("ViT"), 1),
    "hugging face, bias": (hugging_face("Beit", use_relative_position_bias=True), 1),
}


def build(kind: str) -> tuple[ll.Classifier, int]:
    make, prefix = LIBRARIES[kind]
    net = make().eval()
    for name, p in net.named_parameters():
        if any(part in name for part in ("relative", "cls", "reg", "gamma", "lambda", "head", "classifier")):
            nn.init.normal_(p, std=0.5)
    return ll.Classifier(net, size=32, mean=(0.5,) * 3, std=(0.5,) * 3), prefix


@pytest.mark.slow
@pytest.mark.parametrize("kind", LIBRARIES)
def test_libraries(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the last block gives is what it gives if attention is kept from the other tokens."""
    c, prefix = build(kind)
    x, kept, given = torch.randn(2, 3, 32, 32), some(2, 16, 7), []
    blocks = c.layers(None, x, "blocks")
    assert (blocks[0].layout.grid, blocks[0].layout.prefix) == ((4, 4), prefix)
    c.module.get_submodule(blocks[-1].name).register_forward_hook(lambda _m, _i, out: given.append(out))
    short(c, x, kept)
    left = torch.cat([torch.arange(prefix).expand(2, -1), prefix + kept], 1)
    hidden = torch.full((2, 1, 1, prefix + 16), -torch.inf).scatter(3, left[:, None, None], 0.0)
    plain, calls = F.scaled_dot_product_attention, []

    def masked(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, **options: Any) -> Tensor:
        calls.append(1)
        return plain(q, k, v, attn_mask=hidden if attn_mask is None else attn_mask + hidden, **options)

    monkeypatch.setattr(F, "scaled_dot_product_attention", masked)
    with torch.no_grad():
        c.forward(x)
    assert len(calls) == 2
    found, all_of_them = given
    torch.testing.assert_close(found, all_of_them[torch.arange(2)[:, None], left], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ViT", "Beit"])
def test_plain_attention(kind: str) -> None:
    """Without the fused operation it is the same, also with a bias for each pair of tokens."""
    biased = {"use_relative_position_bias": True} if kind == "Beit" else {}
    nets = [hugging_face(kind, attention, **biased)().eval() for attention in ("sdpa", "eager")]
    nets[1].load_state_dict(nets[0].state_dict())
    x, kept = torch.randn(2, 3, 32, 32), some(2, 16, 7)
    fused, plain = (short(ll.Classifier(net, size=32), x, kept).logits for net in nets)
    torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_torchvision() -> None:
    from torchvision.models.vision_transformer import VisionTransformer

    net = VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=4).eval()
    nn.init.normal_(net.heads.head.weight)
    x, kept = torch.randn(2, 3, 32, 32), some(2, 16, 7)
    tokens = net.conv_proj(x).flatten(2).mT + net.encoder.pos_embedding[:, 1:]
    first = (net.class_token + net.encoder.pos_embedding[:, :1]).expand(2, -1, -1)
    left = torch.cat([first, tokens[torch.arange(2)[:, None], kept]], 1)
    torch.testing.assert_close(
        short(ll.Classifier(net, size=32), x, kept), net.heads(net.encoder.ln(net.encoder.layers(left))[:, 0])
    )
