"""Where the tokens of a transformer lie in the picture, and which of them its head reads."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from limelight.errors import UnsupportedModel
from limelight.model.boundary import differentiate
from limelight.model.classifier import Classifier
from limelight.model.layer_hooks import watch_layers
from limelight.model.layers import LayerInfo
from limelight.model.preserve import preserve_state
from limelight.shapes import Grid, Images

SAME = 1e-4
"""By how much gradients of tokens that are averaged may differ, as a share of the largest."""


LAST = 16
"""How many of the last layers that give the tokens are looked at: more than a block and what is around it have."""


@dataclass(frozen=True)
class Tokens:
    """The tokens of a transformer.

    Attributes:
        prefix: how many stand in front of the patches: class, distillation and register tokens.
        grid: rows and columns of patches.
        read: what the head takes of each token after the last block, (prefix + patches,), 1 in all: of a class token
            all, of tokens that are averaged the same.
    """

    prefix: int
    grid: tuple[int, ...]
    read: Tensor

    @property
    def patches(self) -> int:
        """How many patches there are."""
        return prod(self.grid)

    @property
    def count(self) -> int:
        """How many there are."""
        return self.prefix + self.patches

    def map(self, values: Tensor) -> Grid:
        """Return what the patches of (n, tokens) have, as maps, (n, *grid); others may stand in front."""
        return torch.unflatten(values[:, -self.patches :], 1, self.grid)


def find_tokens(classifier: Classifier, x: Images, count: int) -> Tokens:
    """Find out where so many tokens lie, and which of them the head reads; done once per size of the input.

    The head reads those on which the score depends after the last block; those that it averages have one gradient.
    Several groups of them, such as a class and a distillation token with a head each, count alike.

    Raises:
        UnsupportedModel: no layer gives so many tokens of a grid.
    """
    key = ("tokens", count, *x.shape[1:])
    if key not in classifier.memo:
        classifier.memo[key] = _find(classifier, x, count)
    return classifier.memo[key]


def _find(classifier: Classifier, x: Images, count: int) -> Tokens:
    layers = [
        layer
        for layer in classifier.trace(x).layers
        if (layout := layer.layout) and layout.kind != "custom" and layout.prefix + prod(layout.grid) == count
    ]
    if not layers:
        raise UnsupportedModel(f"the {count} tokens of {classifier.name} have no place in the picture that can be told")
    last = next((layer for layer in reversed(layers) if layer.candidate), layers[-1])
    assert last.layout is not None
    return Tokens(last.layout.prefix, last.layout.grid, _read(classifier, x[:1], layers[-LAST:]))


def _read(classifier: Classifier, x: Images, layers: Sequence[LayerInfo]) -> Tensor:
    """Return what the head takes of each token of the last layer on whose tokens it depends."""
    module = classifier.module
    with (
        preserve_state(module),
        watch_layers(classifier.modules([layer.name for layer in layers]), gradients=True) as hooks,
    ):
        numbers = classifier.outputs.numbers(classifier.forward(x.clone()), 1)
        with torch.enable_grad():
            score = torch.stack([t.max() for t in numbers]).sum()
            gradients = differentiate(module, x, score, [hooks.outputs[layer.name] for layer in layers])
    reached = [(of.layout, g) for of, g in zip(layers, gradients, strict=True) if g is not None]
    layout, gradient = reached[-1]
    assert layout is not None
    rows = replace(layout, prefix=0, grid=(-1,)).maps(gradient) if layout.prefix else layout.maps(gradient)
    rows = rows[0].flatten(1).T  # tokens channels
    size = float(rows.abs().max())
    groups: list[list[int]] = []
    for i, row in enumerate(rows):
        if not bool(row.any()):
            continue
        same = next((g for g in groups if float((rows[g[0]] - row).abs().max()) <= SAME * size), None)
        if same is None:
            groups.append([i])
        else:
            same.append(i)
    read = torch.zeros(len(rows), device=rows.device)
    for group in groups:
        read[group] = 1 / (len(groups) * len(group))
    return read
