"""What one module of a network returned in a pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from limelight.model.parts import kind_of


@dataclass
class ModuleOutput:
    """A tensor that a module returned.

    Attributes:
        name: dotted name of the module.
        module: the module.
        output: the first tensor that it returned, (n, …).
        given: shape of the first that it was given.
        alone: whether it returned that tensor and nothing else.
        flops: arithmetic that was done when it had finished.
        version: of the tensor, see ``version_of``.
        run: which run of the module it was, from 0.
        tokens_first: whether the images lie along the second axis: (tokens, n, channels).
        frames: of a video, where they are folded into the images, (n frames, …); else 0.
    """

    name: str
    module: nn.Module
    output: Tensor
    given: torch.Size | None
    alone: bool
    flops: int
    version: int
    run: int = 0
    tokens_first: bool = False
    frames: int = 0

    @property
    def kind(self) -> str:
        """Class of the module."""
        return kind_of(self.module)

    @property
    def key(self) -> tuple[int, int]:
        """Tells tensors apart, also one from the same one after it was overwritten in place."""
        return id(self.output), self.version


def is_one(module: nn.Module, kinds: frozenset[str]) -> bool:
    """Tell whether a module is of one of some kinds, be it by a class that it descends from."""
    return kind_of(module) in kinds or any(c.__name__ in kinds for c in type(module).__mro__)


def hands_on(module: nn.Module) -> bool:
    """Whether a module only repeats, pools or reshapes what it is given; that is no feature of its own."""
    words = ("Pool", "Dropout", "Identity", "Flatten", "Permute", "DropPath", "Transpose", "Reshape")
    return any(word in kind_of(module) for word in words) and not any(True for _ in module.parameters())


def first_tensor(output: Any) -> Tensor | None:
    """Return the first floating-point tensor with at least three axes in a (nested) module output."""
    if isinstance(output, Tensor):
        return output if output.is_floating_point() and output.ndim >= 3 else None
    values: Sequence[Any] = ()
    if isinstance(output, dict):
        values = list(cast(dict[Any, Any], output).values())
    elif isinstance(output, list | tuple):
        values = cast(Sequence[Any], output)
    return next((t for t in map(first_tensor, values) if t is not None), None)


def is_alone(output: Any) -> bool:
    """Whether a module returned one tensor, be it in a tuple of one."""
    return isinstance(output, Tensor) or (isinstance(output, list | tuple) and len(cast(Sequence[Any], output)) == 1)
