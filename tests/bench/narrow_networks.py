"""The recipes' networks with layers a sixteenth as wide, and files of random weights for them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models
from torchvision.models import DenseNet, resnet

from limelight.api.pictures import as_input
from limelight.data.samples import Sample
from limelight.model.classifier import Classifier
from limelight.model.last_layer import find_last_layer, read_features

SURE = 20.0
"""Score of a picture's class where all other scores are 0: of a thousand classes it has a probability of 0.999998."""


def _narrow(channels: int) -> int:
    """Return a sixteenth; all of what is no multiple of 32, as colours, classes and some of Inception's channels.

    A layer without memory is made for the weights of another, which is narrow already.
    """
    return channels if channels % 32 or torch.get_default_device().type == "meta" else channels // 16


def build_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, whoever builds a network gets a narrow one, which takes a fraction of the time.

    A ResNet has three blocks a stage at most, a DenseNet eight layers a block; others have all of their layers.
    """
    dense = DenseNet.__init__
    stage = resnet.ResNet._make_layer
    wide: dict[type[nn.Module], Callable[..., None]] = {
        kind: kind.__init__ for kind in (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
    }

    def both(self: nn.Module, inputs: int, outputs: int, *more: Any, **options: Any) -> None:
        wide[type(self)](self, _narrow(inputs), _narrow(outputs), *more, **options)

    def convolution(self: nn.Module, inputs: int, outputs: int, *more: Any, groups: int = 1, **options: Any) -> None:
        both(self, inputs, outputs, *more, groups=_narrow(groups), **options)

    def normalisation(self: nn.Module, channels: int, *more: Any, **options: Any) -> None:
        wide[type(self)](self, _narrow(channels), *more, **options)

    def short(self: nn.Module, block: Any, planes: int, blocks: int, *more: Any, **options: Any) -> nn.Module:
        return stage(self, block, planes, min(blocks, 3), *more, **options)

    def shallow(self: nn.Module, growth: int, layers: tuple[int, ...], *more: Any, **options: Any) -> None:
        dense(self, growth, tuple(min(count, 8) for count in layers), *more, **options)

    monkeypatch.setattr(resnet.ResNet, "_make_layer", short)
    monkeypatch.setattr(DenseNet, "__init__", shallow)
    for kind, init in ((nn.Conv2d, convolution), (nn.Linear, both), (nn.BatchNorm2d, normalisation)):
        monkeypatch.setattr(kind, "__init__", init)


def draw_weights(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return random weights of a network, normalised on noise, so that no layer is all zero or endless."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.randn(4, 3, 299, 299, generator=torch.Generator().manual_seed(0)))
    return network.state_dict()


def write_weights(model: str, weights: str, classes: int) -> None:
    """Write weights of a model of a recipe to where they are looked for: the file, or the one that was downloaded."""
    family, _, name = model.partition("/")
    torch.manual_seed(0)
    if family == "torchray":
        from limelight.zoo import sliding, torchray

        network, file = sliding.with_classes(torchray.build(name), classes), torchray.FILES[name, weights]
        nn.init.normal_(sliding.convolutions(network)[-1].weight)
    else:  # also sliding, which makes its networks of torchvision's
        whole = {"init_weights": True, "aux_logits": True} if name == "inception_v3" else {}
        network = models.get_model(name, weights=None, num_classes=classes, **whole)
        entries = models.get_model_weights(name).__members__
        file = Path(entries[weights].url).name if weights in entries else ""
    path = Path(torch.hub.get_dir()) / "checkpoints" / file if file else Path(weights)
    path.parent.mkdir(parents=True, exist_ok=True)
    state = draw_weights(network)
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)


def fit_weights(model: str, weights: str, classifier: Classifier, pictures: Sequence[Sample]) -> None:
    """Let the last layer of a network of random weights recognise pictures, by least squares of what it is given.

    Args:
        model: of a recipe, whose file of weights is there.
        weights: their name.
        classifier: the network in torchvision's form, prepared as the recipe says.
        pictures: of distinct classes, which are indices.
    """
    x = torch.stack([as_input(classifier, one.image) for one in pictures])
    layer = find_last_layer(classifier, x[:1])
    seen = read_features(classifier, layer, x).double()
    wanted = torch.zeros(len(x), len(classifier.labels or []), dtype=torch.double)
    wanted[torch.arange(len(x)), torch.tensor([int(str(one.label)) for one in pictures])] = SURE
    name = model.partition("/")[2]
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(models.get_model_weights(name)[weights].url).name
    state = torch.load(path, weights_only=True)
    state[f"{layer}.weight"] = (torch.linalg.pinv(seen) @ wanted).T.float()
    state[f"{layer}.bias"] = torch.zeros(wanted.shape[1])
    torch.save(state, path)
