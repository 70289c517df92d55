"""Arrays of any origin as tensors, and tensors as numbers: torch's own functions for both have no types."""

from typing import Any, TypeGuard, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def tensor_of(values: Tensor | npt.NDArray[np.generic]) -> Tensor | None:
    """Return numbers of any type and layout in memory as a tensor; None if they are no real numbers."""
    if isinstance(values, Tensor):
        return None if values.is_complex() else values.detach()
    wide: dict[str, Any] = {"b": np.bool_, "i": np.int64, "u": np.int64, "f": np.float64}
    if values.dtype.kind not in wide:
        return None
    kind = np.float32 if values.dtype == np.float32 else wide[values.dtype.kind]
    return from_numpy(np.array(values, dtype=kind, order="C"))


def is_array(value: object) -> TypeGuard[npt.NDArray[Any]]:
    """Whether a value is an array, of whatever numbers."""
    return isinstance(value, np.ndarray)


def from_numpy(array: npt.NDArray[np.generic]) -> Tensor:
    """Return an array as a tensor that shares its memory."""
    return torch.from_numpy(array)  # pyright: ignore[reportUnknownMemberType]


def floats(values: Tensor) -> list[float]:
    """Return the numbers of a tensor with one axis."""
    return cast(list[float], values.tolist())  # pyright: ignore[reportUnknownMemberType]


def integers(values: Tensor) -> list[int]:
    """Return the whole numbers of a tensor with one axis."""
    return cast(list[int], values.tolist())  # pyright: ignore[reportUnknownMemberType]


def truths(values: Tensor) -> list[bool]:
    """Return the truth values of a tensor with one axis."""
    return cast(list[bool], values.tolist())  # pyright: ignore[reportUnknownMemberType]


def rows(values: Tensor) -> list[list[float]]:
    """Return the numbers of a tensor with two axes, row by row."""
    return cast(list[list[float]], values.tolist())  # pyright: ignore[reportUnknownMemberType]


def nested(values: Tensor | npt.NDArray[np.generic] | np.generic) -> Any:
    """Return what a tensor, an array or a NumPy scalar of any number of axes holds, as nested lists."""
    return cast(Any, values.tolist())  # pyright: ignore[reportUnknownMemberType]


def is_tensor_or_array(value: object) -> TypeGuard[Tensor | npt.NDArray[np.generic]]:
    """Whether a value is a tensor or an array."""
    return isinstance(value, Tensor | np.ndarray)
