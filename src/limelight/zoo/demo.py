"""The embedded models: small, trained on the synthetic scenes, shipped with the package.

``resnet`` is residual with batch normalisation and a pooled linear head, ``vgg`` is plain with a fully
connected head, ``vit`` is made of tokens and reads its answer off a class token. ``hans`` is a cheat: the
same network as ``resnet``, trained where one class always carries a watermark.
"""

import json
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from limelight.errors import UnknownModel, nearest
from limelight.zoo.weights import open_safetensors

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
SIZE = 128


class Residual(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.downsample: nn.Module = nn.Identity()
        if (before, stride) != (after, 1):
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        self.relu2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, before, h, w) to (n, after, h / stride, w / stride)."""
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(y + self.downsample(x))


class ResNet(nn.Sequential):
    """Residual network; last map 16 x 16, then global average pooling and one linear layer."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 24, 5, 2, 2, bias=False)
        self.bn1 = nn.BatchNorm2d(24)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(2)
        self.layer1 = Residual(24, 32, 1)
        self.layer2 = Residual(32, 48, 2)
        self.layer3 = Residual(48, 64, 1)
        self.layer4 = Residual(64, 112, 1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(112, classes)


class VGG(nn.Sequential):
    """Plain convolutions; last map 8 x 8 (16 x 16 before pooling), then two fully connected layers.

    With ``norm`` there is batch normalisation behind every convolution, for training; ``without_norm`` merges it.
    """

    def __init__(self, classes: int, norm: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for width in (16, "pool", 32, "pool", 48, "pool", 64, 96, "pool"):
            if isinstance(width, str):
                layers.append(nn.MaxPool2d(2))
                continue
            layers.append(nn.Conv2d(before, width, 3, padding=1))
            layers += [nn.BatchNorm2d(width)] if norm else []
            layers.append(nn.ReLU(inplace=True))
            before = width
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((4, 4))
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            *(nn.Linear(96 * 4 * 4, 160), nn.ReLU(inplace=True), nn.Dropout(0.2), nn.Linear(160, classes)),
        )

    def without_norm(self) -> "VGG":
        """Return the same function without batch normalisation."""
        plain = VGG(cast(nn.Linear, self.classifier[-1]).out_features)
        kept: list[nn.Module] = []
        for layer in self.features:
            if isinstance(layer, nn.BatchNorm2d):
                kept[-1] = nn.utils.fuse_conv_bn_eval(cast(nn.Conv2d, kept[-1].eval()), layer.eval())
            else:
                kept.append(layer)
        plain.features, plain.classifier = nn.Sequential(*kept), self.classifier
        return plain.eval()


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (n, t, width) to tokens."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # n heads t d
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and a perceptron, each with a shortcut and normalised beforehand."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (n, t, width) to tokens."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """Hybrid vision transformer: a residual stem makes 8 x 8 tokens, a class token collects the answer."""

    def __init__(self, classes: int, width: int = 112, depth: int = 3, heads: int = 4) -> None:
        super().__init__()
        self.stem = nn.Sequential()
        for name, layer in list(ResNet(classes).named_children())[:6]:  # up to layer2, 48 x 16 x 16
            self.stem.add_module(name, layer)
        self.patch_embed = nn.Sequential(Residual(48, 80, 2), nn.Conv2d(80, width, 1))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (SIZE // 16) ** 2, width))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, 3, 128, 128) to logits."""
        tokens = self.patch_embed(self.stem(x)).flatten(2).mT
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], 1) + self.pos_embed
        return self.head(self.norm(self.blocks(tokens))[:, 0])


_BUILDERS = {"resnet": ResNet, "vgg": VGG, "vit": ViT, "hans": ResNet}

NAMES = tuple(_BUILDERS)
"""The models, without the leading ``demo/``."""


def build(name: str, classes: int = 10) -> nn.Module:
    """Return an untrained network.

    Raises:
        UnknownModel: no embedded model has this name.
    """
    if name not in _BUILDERS:
        raise UnknownModel(f"there is no model 'demo/{name}'{nearest(name, NAMES)} (there are {', '.join(NAMES)})")
    return _BUILDERS[name](classes)


def weights_path(name: str) -> Path:
    """Return where a model's weights are shipped."""
    return Path(__file__).parent / "weights" / f"{name}.safetensors"


def load(name: str) -> tuple[nn.Module, dict[str, Any]]:
    """Return a trained network in evaluation mode, float32, and what is known of it.

    Returns:
        The network; ``classes``, ``mean``, ``std``, ``size`` and ``accuracy``.
    """
    net = build(name)
    with open_safetensors(weights_path(name)) as file:
        about = json.loads((file.metadata() or {})["limelight"])
        state = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 - it is no dict
    net.load_state_dict(state)
    return net.eval(), about
