"""What a network's last layers see of pictures that are explained."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from limelight.engine.method import Method
from limelight.engine.saliency import Saliency
from limelight.errors import UnsupportedModel
from limelight.inspection.record import FEATURES, GRID
from limelight.model.classifier import Classifier
from limelight.model.hooks import Registration, attach_hooks
from limelight.model.last_layer import find_last_layer
from limelight.model.layers import LayerInfo
from limelight.model.preserve import preserve_state
from limelight.shapes import Acts, Images

Drawn = Float[Tensor, "n d"]


@dataclass
class Seen:
    """What was seen of some pictures; empty lists where the network has no such layer.

    Attributes:
        n: how many pictures there are.
        given: to the linear layer that gives the scores.
        maps: of the last layer that has some.
    """

    n: int
    given: list[Tensor] = field(default_factory=list[Tensor])
    maps: list[Acts] = field(default_factory=list[Acts])

    def keep(self, kept: list[Tensor], value: Tensor) -> None:
        """Keep what a pass shows, but for the many passes of a method that makes many."""
        if sum(map(len, kept)) <= self.n:
            kept.append(value.detach())

    def features(self) -> Drawn:
        """Return what the last layer was given, drawn to ``FEATURES`` numbers; (n, 0) for nothing."""
        return draw(torch.cat(self.given).flatten(1)) if self.given else torch.empty(self.n, 0)

    def at(self, cells: Sequence[int], rows: Sequence[int]) -> Drawn:
        """Return the last maps of pictures at one of ``GRID`` x ``GRID`` cells each, drawn likewise.

        Args:
            cells: row by row.
            rows: of which pictures.
        """
        maps = F.adaptive_avg_pool2d(torch.cat(self.maps)[list(rows)].float(), GRID).flatten(2)
        return draw(maps[torch.arange(len(maps)), :, list(cells)])


def draw(x: Float[Tensor, "n d"]) -> Drawn:
    """Return random projections, which keep distances (Johnson and Lindenstrauss 1984)."""
    draws = torch.Generator().manual_seed(0)
    return x.float().cpu() @ torch.randn(x.shape[1], FEATURES, generator=draws) / FEATURES**0.5


@dataclass(frozen=True)
class LastLayers:
    """Watches a network's last layers while its pictures are explained.

    Args:
        classifier: the network.
        first: a picture, (1, c, h, w).
    """

    classifier: Classifier
    first: Images

    @cached_property
    def linear(self) -> str | None:
        """The linear layer that gives the scores; None if another gives them."""
        try:
            return find_last_layer(self.classifier, self.first)
        except UnsupportedModel:
            return None

    @cached_property
    def stage(self) -> LayerInfo | None:
        """The last layer that has a map; None if no layer has one."""
        self.classifier.trace(self.first)
        stages = self.classifier.stages
        return self.classifier.layers(stages[-1], self.first)[0] if stages else None

    def run(self, method: Method, x: Images, targets: Sequence[int] | None) -> tuple[Saliency, Seen]:
        """Explain pictures and watch: in the pass of the method where it makes but one, else in another."""
        seen = Seen(len(x))
        with attach_hooks(self._hooks(seen), within=True):
            saliency = method.run(self.classifier, x, targets)
        if not self._each_once(seen):
            seen = Seen(len(x))
            with preserve_state(self.classifier.module), attach_hooks(self._hooks(seen)):
                self.classifier.forward(self.classifier.to_batch(x))
            for kept in (seen.given, seen.maps):
                if sum(map(len, kept)) != len(x):  # a layer that runs several times, which is not told from the others
                    kept.clear()
        return saliency, seen

    def _each_once(self, seen: Seen) -> bool:
        """Whether every layer that there is saw each picture once: methods may pass more, or through a copy."""
        wanted = [seen.n * (layer is not None) for layer in (self.linear, self.stage)]
        return [sum(map(len, kept)) for kept in (seen.given, seen.maps)] == wanted

    def _hooks(self, seen: Seen) -> list[Registration]:
        def keep_given(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            seen.keep(seen.given, arguments[0])

        def keep_maps(_module: nn.Module, _arguments: Any, output: Tensor) -> None:
            assert self.stage is not None
            assert self.stage.layout is not None
            seen.keep(seen.maps, self.stage.layout.maps(output))

        module = self.classifier.module
        hooks: list[Registration] = []
        if self.linear is not None:
            hooks.append((module.get_submodule(self.linear).register_forward_pre_hook, keep_given))
        if self.stage is not None:
            hooks.append((module.get_submodule(self.stage.name.partition("#")[0]).register_forward_hook, keep_maps))
        return hooks
