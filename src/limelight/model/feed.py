"""How a network is given its images: alone, beside further inputs, under a name, in a dict."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from limelight.errors import InvalidImage, InvalidOption
from limelight.ops.arrays import is_tensor_or_array, tensor_of
from limelight.shapes import Images, Index

Inside = Mapping[str, Any]
"""Further inputs by name: tensors or arrays with a row for each image."""


@dataclass(frozen=True)
class Feed:
    """Gives a network images, and with each image or changed copy of it the image's row of every further input.

    Attributes:
        name: of the argument that is the image; None for the first.
        in_dict: whether ``forward`` takes one dict that holds all inputs.
        rows: the further inputs by name, each (n, …): a row for each image.
    """

    name: str | None = None
    in_dict: bool = False
    rows: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])

    @classmethod
    def of(cls, module: nn.Module, name: str | None) -> "Feed":
        """Find out how a network takes an input of a name: as an argument, or where it takes but one, in a dict.

        Raises:
            InvalidOption: it has several arguments, and none of this name.
        """
        if name is None:
            return cls()
        known, free = _arguments(module)
        if name in known or free:
            return cls(name)
        needed = [p for p in known.values() if p.default is p.empty]
        if len(needed) > 1:
            raise InvalidOption(f"{type(module).__name__} has no argument {name!r}; it has {', '.join(known)}")
        return cls(name, in_dict=True)

    def with_rows(self, rows: Inside, module: nn.Module, like: Tensor | None = None) -> "Feed":
        """Return the same with these further inputs.

        Args:
            rows: by name, each with a row for each image.
            module: the network, whose arguments they must be.
            like: a tensor on the device and, of floating-point inputs, in the type in which they are to be.

        Raises:
            InvalidOption: the network has no such argument, or not all have the same number of rows.
        """
        if not self.in_dict:
            known, free = _arguments(module)
            image = self.name or next(iter(known), None)
            wrong = [name for name in rows if (name not in known and not free) or name == image]
            if wrong:
                others = [name for name in known if name != image]
                able = f"; beside {image!r} it takes {', '.join(others)}" if others else f"; it takes {image!r} alone"
                raise InvalidOption(f"{type(module).__name__} has no further input {wrong[0]!r}{able}")
        given = {name: _rows(name, values, like) for name, values in rows.items()}
        lengths = {name: len(values) for name, values in given.items()}
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{name} {n}" for name, n in lengths.items())
            raise InvalidOption(f"further inputs need a row for each image, and have as many: {said}")
        return replace(self, rows=given)

    def split(self, module: nn.Module, named: Inside, beside: Inside | None) -> tuple[Any, dict[str, Any]]:
        """Return which of all inputs by name is the image, and the others, with those given beside them.

        Raises:
            InvalidOption: it can't be told which one is the image, or one is given twice.
        """
        name, rest = self.name or next(iter(_arguments(module)[0]), None), dict(beside or {})
        if name is None or name not in named:
            raise InvalidOption(f"inputs {', '.join(named)}: which one is the picture? Give input= to Classifier")
        if twice := rest.keys() & named.keys():
            raise InvalidOption(f"{', '.join(sorted(twice))} is given twice: with the picture, and in inputs=")
        return named[name], rest | {key: value for key, value in named.items() if key != name}

    def __len__(self) -> int:
        """Return how many images the further inputs are of; 0 if there are none."""
        return len(next(iter(self.rows.values()))) if self.rows else 0

    def __getitem__(self, images: slice | Index) -> "Feed":
        return replace(self, rows={name: values[images] for name, values in self.rows.items()}) if self.rows else self

    def expect(self, n: int) -> None:
        """Refuse further inputs of another number of images.

        Raises:
            InvalidImage: there are not as many rows as images.
        """
        if self.rows and len(self) != n:
            raise InvalidImage(f"further inputs ({', '.join(self.rows)}) have {len(self)} rows for {n} images")

    def __call__(self, module: nn.Module, x: Images, images: Index | None = None) -> Any:
        """Return what the network returns for images or changed copies of them.

        Args:
            module: the network.
            x: what it is given, (m, c, *space).
            images: which image each is a copy of, (m,); None for the images themselves, or copies of a single one.
        """
        if self.name is None and not self.rows:
            return module(x)
        beside = self._beside(len(x), images)
        if self.in_dict:
            return module({self.name: x, **beside})
        return module(x, **beside) if self.name is None else module(**{self.name: x}, **beside)

    def _beside(self, m: int, images: Index | None) -> dict[str, Tensor]:
        if images is None and len(self) == 1:
            return {name: values.expand(m, *values.shape[1:]) for name, values in self.rows.items()}
        if images is None:
            self.expect(m)
            return dict(self.rows)
        return {name: values[images.to(values.device)] for name, values in self.rows.items()}


ALONE = Feed()
"""An image is all that the network takes."""


def _arguments(module: nn.Module) -> tuple[Mapping[str, inspect.Parameter], bool]:
    """Return the arguments that a network takes by name, and whether it takes any others too."""
    try:
        known = inspect.signature(module.forward).parameters
    except (TypeError, ValueError):  # of compiled code, which says itself what it doesn't take
        return {}, True
    named = {name: p for name, p in known.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    return named, any(p.kind is p.VAR_KEYWORD for p in known.values())


def _rows(name: str, values: Any, like: Tensor | None) -> Tensor:
    """Return a further input as a tensor that fits the network's weights."""
    if isinstance(values, list | tuple):
        values = torch.as_tensor(values)
    if not is_tensor_or_array(values):
        raise InvalidOption(
            f"inputs: {name} is a {type(values).__name__}; give a tensor or array, a row for each image"
        )
    tensor = tensor_of(values)
    if tensor is None:
        raise InvalidOption(f"inputs: {name} holds no real numbers")
    if not tensor.ndim or not len(tensor):
        raise InvalidOption(f"inputs: {name} has shape {tuple(tensor.shape)}; give a row for each image")
    if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
        raise InvalidOption(f"inputs: {name} has values that are NaN or infinite")
    if like is not None:
        tensor = tensor.to(like.device, like.dtype if tensor.is_floating_point() else None)
    return tensor
