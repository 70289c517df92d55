"""Layers are found by looking, and named errors say which would be right."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import architectures
import limelight as ll

FOUND = {
    "plain": ("features", (10, 14)),
    "residual": ("layer2", (10, 14)),
    "dense": ("norm", (10, 14)),
    "inception": ("mix", (10, 14)),
    "depthwise": ("pointwise", (10, 14)),  # not the class map behind it
    "tokens": ("blocks.1.norm1", (5, 7)),  # behind it only the class token counts
}
STAGES = {
    "plain": [(40, 56), (20, 28), (10, 14)],
    "residual": [(20, 28), (10, 14)],
    "dense": [(20, 28), (10, 14)],
    "inception": [(20, 28), (10, 14)],
    "depthwise": [(20, 28), (10, 14)],
    "tokens": [(5, 7)],
}


@pytest.mark.parametrize("architecture", architectures.ARCHITECTURES)
def test_last_map_and_stages(architecture: str) -> None:
    c, x = ll.Classifier(architectures.build(architecture)), architectures.images(1)
    (layer,) = c.layers(None, x)
    assert layer.layout is not None
    assert (layer.name, layer.layout.grid) == FOUND[architecture]
    assert [s.layout.grid for s in c.layers(None, x, "stages") if s.layout] == STAGES[architecture]
    assert c.stages == [s.name for s in c.layers(None, x, "stages")]
    assert 0 < layer.before <= 1


def test_tokens_are_unfolded_in_reading_order() -> None:
    """Each patch's own colour must come out at the patch's own place."""
    net = architectures.build("tokens")
    c, x = ll.Classifier(net), torch.zeros(1, 3, *architectures.SIZE)
    x[:, :, 8:16, 40:48] = 5  # row 1, column 5 of the patches
    info = c.layers(["blocks.0"], x)[0]
    assert info.layout is not None
    assert info.layout.prefix == 1
    outputs: list[torch.Tensor] = []
    with torch.no_grad():
        net.patches.register_forward_hook(lambda _m, _i, out: outputs.append(out))
        net(x)
        tokens = torch.cat([torch.zeros(1, 1, 16), outputs[0].flatten(2).mT], 1)
    torch.testing.assert_close(info.layout.maps(tokens), outputs[0])
    assert info.layout.maps(tokens)[0, 0].sub(outputs[0][0, 0, 0, 0]).abs().argmax() == 1 * 7 + 5


class ChannelsLast(nn.Module):
    """Swin's way: rows and columns before channels."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm, self.head = nn.Conv2d(3, 6, 8, 8), nn.LayerNorm(6), nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.patches(x).permute(0, 2, 3, 1)).mean((1, 2)))


def test_channels_last_tokens() -> None:
    c, x = ll.Classifier(ChannelsLast()), architectures.images(2)
    (info,) = c.layers(None, x)
    assert info.layout is not None
    assert (info.name, info.layout.kind, info.layout.grid) == ("norm", "nhwc", (5, 7))
    assert ll.method("cam")(c, x).shape == (2, *architectures.SIZE)


def test_shared_module_shows_its_last_call() -> None:
    """torchvision's residual blocks call one ReLU twice; the block's output is what it gave last."""
    net, x = architectures.build("residual"), architectures.images(1)
    block = ll.method("hires-cam", layer="layer2").raw(ll.Classifier(net), x)
    relu = ll.method("hires-cam", layer="layer2.relu").raw(ll.Classifier(net), x)
    torch.testing.assert_close(block, relu)


def test_parallel_layers_in_one_pass() -> None:
    """Branches that do not depend on each other: each gets its full gradient."""
    c, x = ll.Classifier(architectures.build("inception")), architectures.images(1)
    names = ("branches.0", "branches.1", "branches.2")
    for p in c.module.parameters():
        p.requires_grad_(False)
    together = ll.method("layer-cam", layer=names, fuse="mean", tanh_on="none").raw(c, x)
    singles = [ll.method("layer-cam", layer=n).raw(c, x).relu() for n in names]
    expected = torch.stack([m / m.amax((-2, -1), keepdim=True) for m in singles]).mean(0)
    torch.testing.assert_close(together, expected)


class Own(nn.Module):
    """A convolution of the user's own; ``kind`` is how it keeps its weights and uses them."""

    def __init__(self, kind: str, before: int, after: int, size: int, step: int = 1) -> None:
        super().__init__()
        self.kind, self.step, self.size = kind, step, size
        shape = {
            "unfolded": (after, before * size * size),
            "rows first": (size, size, before, after),
            "separable": (after, before, 1, 1),
        }.get(kind, (after, before, size, size))
        self.weight = nn.Parameter(torch.randn(shape) / (before * size * size) ** 0.5)
        if kind == "separable":
            self.depthwise = nn.Parameter(torch.randn(before, 1, size, size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight
        if self.kind == "unfolded":
            rows, columns = ((n - self.size) // self.step + 1 for n in x.shape[2:])
            return (weight @ F.unfold(x, self.size, stride=self.step)).unflatten(2, (rows, columns))
        if self.kind == "rows first":
            weight = weight.permute(3, 2, 0, 1)
        if self.kind == "standardised":
            weight = (weight - weight.mean((1, 2, 3), keepdim=True)) / weight.std((1, 2, 3), keepdim=True)
        if self.kind == "separable":
            x = F.conv2d(x, self.depthwise, padding=self.size // 2, groups=x.shape[1])
        return F.conv2d(x, weight, stride=self.step, padding=self.size // 2 if self.kind == "rows first" else 0)


OWN = ["plain", "standardised", "separable", "unfolded", "rows first", "weight norm", "behind one of PyTorch's"]


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("size", [(40, 56), (48, 48)])
def test_convolutions_of_the_users_own(kind: str, size: tuple[int, int]) -> None:
    convs: list[nn.Module] = [Own(kind, 3, 6, 4 if kind == "unfolded" else 3, 2), Own(kind, 6, 8, 3)]
    if kind == "weight norm":
        convs = [nn.utils.parametrizations.weight_norm(conv) for conv in convs]
    if kind.startswith("behind"):
        convs[0] = nn.Conv2d(3, 6, 3)
    head = nn.Sequential(nn.Flatten(2), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 4))
    net = nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU(), head)
    x = torch.randn(2, 3, *size)
    c = ll.Classifier(net)
    (layer,) = c.layers(None, x)
    with torch.no_grad():
        grid = tuple(net[:4](x).shape[2:])
    assert layer.layout is not None
    assert (layer.name, layer.layout.kind, layer.layout.grid) == ("3", "nchw", grid)
    assert c.layers(["0"], x) == c.layers([net[0]], x)
    for method in ("grad-cam", "layer-cam", "ablation-cam", "lrp", "excitation-backprop"):
        assert ll.explain(c, x, method=method)[0].map.abs().max() > 0


class Biased(nn.Module):
    """Attention with a table of places, as a module that returns its matrix."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(4, tokens * tokens))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.table.unflatten(1, x.shape[2:])


class Unfolded(nn.Module):
    """A transformer without a convolution, with as many tokens as the picture has rows."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.bias, self.head = nn.Linear(192, 12), Biased(64), nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(F.unfold(x, 8, stride=8).mT)
        heads = x.unflatten(2, (4, 3)).transpose(1, 2)
        return self.head((self.bias(heads @ heads.mT).softmax(-1) @ heads).transpose(1, 2).flatten(2).mean(1))


def test_an_attention_matrix_is_no_map() -> None:
    c, x = ll.Classifier(Unfolded()), torch.randn(1, 3, 64, 64)
    shapes = {layer.name: layer.layout for layer in c.trace(x).layers}
    assert shapes["bias"] is None
    assert shapes["embed"] is not None
    assert shapes["embed"].kind == "tokens"
