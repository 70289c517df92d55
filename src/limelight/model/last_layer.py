"""A network's last layer, which can be trained alone while the rest stays as it is."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from limelight.errors import UnsupportedModel
from limelight.model.classifier import Classifier
from limelight.model.hooks import attach_hooks
from limelight.model.outputs import class_scores
from limelight.model.parts import kind_of, parts_of
from limelight.model.preserve import preserve_state
from limelight.shapes import Images

Features = Float[Tensor, "n features"]


def find_last_layer(classifier: Classifier, x: Images) -> str:
    """Return the name of the linear layer that gives the class scores.

    Args:
        classifier: the network.
        x: an image, (1, c, *space).

    Raises:
        UnsupportedModel: the scores are not what a linear layer gives, as they are.
    """
    outputs: dict[str, Any] = {}
    weighted: list[str] = []

    def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, _given: Any, output: Any) -> None:
            weighted.append(f"{name} ({kind_of(module)})")
            if isinstance(module, nn.Linear):
                outputs[name] = output

        return hook

    with_weights = [
        (m.register_forward_hook, note(name))
        for name, m in parts_of(classifier.module)
        if isinstance(m, nn.Linear | nn.modules.conv._ConvNd)  # pyright: ignore[reportPrivateUsage]
    ]
    with preserve_state(classifier.module), attach_hooks(with_weights):
        scores = class_scores(classifier.forward(classifier.to_batch(x)), len(x), classifier.choice)
    for name, output in reversed(outputs.items()):
        if output.shape == scores.shape and torch.equal(output, scores):
            return name
    last = weighted[-1] if weighted else "none"
    raise UnsupportedModel(
        f"{classifier.name}: its class scores are not the output of a linear layer, which could be trained alone; "
        f"the last layer with weights is {last}"
    )


def read_features(classifier: Classifier, name: str, x: Images) -> Features:
    """Return what a linear layer is given for images, in float32.

    Args:
        classifier: the network.
        name: of the layer.
        x: normalised images, (n, c, *space).
    """
    given: list[Tensor] = []
    layer = classifier.module.get_submodule(name)

    def keep(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        given.append(arguments[0])

    with preserve_state(classifier.module), attach_hooks([(layer.register_forward_pre_hook, keep)]):
        classifier.forward(classifier.to_batch(x))
    return given[-1].float()


def draw_linear(features: int, classes: int, seed: int) -> nn.Linear:
    """Return a linear layer with PyTorch's own initial weights, uniform within 1 / sqrt(features), drawn by a seed."""
    draws, bound = torch.Generator().manual_seed(seed), features**-0.5
    layer = nn.Linear(features, classes, device="meta").to_empty(device="cpu")
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -bound, bound, draws)
    return layer
