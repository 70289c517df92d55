"""Reference networks and their pictures, what other people's code says of them, and how maps are compared."""

import copy
import json
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

import architectures
import limelight as ll
from conftest import npz, script, shared
from limelight.ops import min_max

MEAN, STD = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

TINY = ("tinyvgg", "tinyresnet_basic", "tinyresnet_bottleneck")

MODELS = (*TINY, "squeezenet")


def images(u8: np.ndarray) -> Tensor:
    return (torch.from_numpy(u8).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD


@cache
def inputs(model: str) -> Tensor:
    name = "inputs_squeezenet.npz" if model == "squeezenet" else "inputs_tiny.npz"
    return images(npz("golden", name)["u8"])


@cache
def classifier(model: str) -> ll.Classifier:
    if model == "squeezenet":
        net = torchvision.models.squeezenet1_0(weights=None)
        net.load_state_dict(torch.load(shared("data", "squeezenet1_0_imagenet.pt"), weights_only=True))
        return ll.Classifier(net)
    return ll.Classifier(script(shared("golden", "models.py")).load(model, shared("golden", "models_tiny.npz")))


@cache
def vit() -> tuple[ll.Classifier, Tensor, Tensor]:
    """The tiny trained transformer, its pictures and their classes."""
    net = script(shared("golden", "models_vit.py")).load("tinyvit", shared("golden", "models_vit.npz"))
    arrays = npz("golden", "inputs_vit.npz")
    return ll.Classifier(net), images(arrays["u8"]), torch.from_numpy(arrays["target"])


def exact(c: ll.Classifier) -> ll.Classifier:
    """The same in float64, for what another processor's rounding may decide otherwise."""
    return ll.Classifier(copy.deepcopy(c.module).double())


def golden(name: str) -> tuple[dict[str, Any], Any]:
    path = shared("golden", f"{name}.npz")
    return json.loads(path.with_suffix(".json").read_text()), npz("golden", f"{name}.npz")


def assert_same_map(ours: Tensor, theirs: np.ndarray | Tensor, tolerance: float = 1e-4) -> None:
    theirs = torch.as_tensor(theirs).reshape(ours.shape)
    assert theirs.abs().amax() > 0
    a, b = min_max(ours.relu())[0], min_max(theirs.relu())[0]
    torch.testing.assert_close(a, b.to(a), rtol=0, atol=tolerance)


def seeded(model: str) -> tuple[dict[str, Any], Any, ll.Classifier, Tensor]:
    """A network made from a seed, its pictures, and what others say of them.

    Batch norm fitted to four pictures divides by tiny variances: float32 would give every processor another network.
    """
    about, arrays = golden(f"seeded-torchvision-{model}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1234)
        net = torchvision.models.get_model(model, weights=None, num_classes=10).double()
    x = inputs("tinyvgg").double()
    c = ll.Classifier(architectures.fitted(net, x))
    assert np.abs(c(x).numpy() - arrays["logits"]).max() < 3e-4
    return about, arrays, c, x


SEEDED_MODELS = ["resnet18", *(pytest.param(name, marks=pytest.mark.slow) for name in ("resnet50", "vgg11_bn"))]


class CifarResNet(nn.Module):
    """The ResNet for CIFAR-10 whose weights the reference data has: parameter-free shortcuts."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        widths = ((16, 16), (16, 32), (32, 64))
        for i, (before, planes) in enumerate(widths, 1):
            layers = [CifarBlock(before if j == 0 else planes, planes) for j in range(blocks)]
            self.add_module(f"layer{i}", nn.Sequential(*layers))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        for name in ("layer1", "layer2", "layer3"):
            x = self.get_submodule(name)(x)
        return self.linear(x.mean((-2, -1)))


class CifarBlock(nn.Module):
    def __init__(self, before: int, planes: int) -> None:
        super().__init__()
        self.stride = 1 if before == planes else 2
        self.conv1 = nn.Conv2d(before, planes, 3, self.stride, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(planes), nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        if self.stride == 2:
            quarter = y.shape[1] // 4
            x = nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, quarter, quarter))
        return (y + x).relu()


def cifar() -> tuple[ll.Classifier, Tensor, Tensor, dict[str, np.ndarray]]:
    """The trained network, its pictures, their classes, and what others say of them."""
    from safetensors.torch import load_file

    _, arrays = golden("several-cifar_resnet20")
    net = CifarResNet(3)
    net.load_state_dict(load_file(shared("data", "cifar10_resnet20.safetensors")))
    x = images(npz("data", "cifar10_test200.npz")["images"][arrays["index"]])
    return ll.Classifier(net, size=32), x, torch.from_numpy(arrays["target"]), arrays
