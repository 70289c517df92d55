"""torchvision's networks of features and a fully connected classifier, as networks that slide over larger pictures."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from limelight.errors import nearest
from limelight.zoo import torchvision
from limelight.zoo.names import is_file_name, no_such_model
from limelight.zoo.recipe import Recipe, labels_that_fit
from limelight.zoo.weights import build_with_weights, read_state


def names() -> list[str]:
    """Return the names of all networks: AlexNet, and VGG in all its depths."""
    return [name for name in torchvision.names() if name == "alexnet" or name.startswith("vgg")]


def load(name: str, weights: str | None, **given: Any) -> Recipe:
    """Build torchvision's network with the linear layers of its classifier as convolutions, and a mean behind them.

    A picture of the usual size has the scores of torchvision's network; a larger one the mean of the scores of all
    windows of that size, a step of the features apart. The weights are torchvision's own, or from a file of either
    form.

    Raises:
        LimelightError: as for ``torchvision``.

    Source: how the grid pointing game's authors show mosaics to a VGG.
    """
    if name not in names():
        raise no_such_model("sliding", name, nearest(name, names()))
    from_file = weights is not None and is_file_name(weights)
    recipe = torchvision.load(name, None if from_file else weights, **given)
    module = slide(recipe.module, _mean())
    if from_file:
        state = as_convolutions(read_state(cast(str, weights)), module)

        def build(classes: int | None) -> nn.Module:
            return module if classes is None else with_classes(module, classes)

        module = build_with_weights(build, state, f"sliding/{name} from {weights}")
    labels = labels_that_fit(recipe.labels, convolutions(module)[-1].out_channels)
    return Recipe(module, recipe.function, labels, {**recipe.source, "zoo": "sliding"})


def slide(network: nn.Module, score: nn.Module) -> nn.Sequential:
    """Return features, classifier and score, the classifier's linear layers as convolutions of the same weights.

    Args:
        network: torchvision's, with ``features``, ``avgpool`` and ``classifier``.
        score: makes one score of a class of its map, (n, classes, h, w) -> (n, classes).
    """
    parts: Any = network
    side = int(parts.avgpool.output_size[0])
    for number, layer in enumerate(parts.classifier):
        if isinstance(layer, nn.Linear):
            parts.classifier[number] = _convolution(layer, side)
            side = 1
    return nn.Sequential(OrderedDict(features=parts.features, classifier=parts.classifier, score=score))


def convolutions(module: nn.Module) -> list[nn.Conv2d]:
    """Return the convolutions of a network in their order."""
    return [m for m in module.modules() if isinstance(m, nn.Conv2d)]


def as_convolutions(state: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Return weights of which those of linear layers have the shape of convolutions, where the module has these."""
    own = module.state_dict()

    def fit(name: str, value: Tensor) -> Tensor:
        shape = own[name].shape[1:] if name in own else ()
        fits = value.ndim == 2 and len(shape) == 3 and value.shape[1] == shape.numel()
        return value.reshape(len(value), *shape) if fits else value

    return {name: fit(name, value) for name, value in state.items()}


def with_classes(module: nn.Module, classes: int) -> nn.Module:
    """Give the last convolution so many outputs, with weights that are yet to be filled in."""
    last = convolutions(module)[-1]
    last.weight = nn.Parameter(last.weight.new_zeros(classes, *last.weight.shape[1:]))
    if last.bias is not None:
        last.bias = nn.Parameter(last.bias.new_zeros(classes))
    last.out_channels = classes
    return module


def _convolution(layer: nn.Linear, side: int) -> nn.Conv2d:
    """Return a linear layer of maps of this side as a convolution."""
    with torch.device("meta"):  # its weights are the layer's
        made = nn.Conv2d(layer.in_features // side**2, layer.out_features, side)
    made.weight = nn.Parameter(layer.weight.detach().reshape(made.weight.shape))
    made.bias = nn.Parameter(layer.bias.detach())
    return made


def _mean() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
