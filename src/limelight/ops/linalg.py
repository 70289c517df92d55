"""Linear algebra with tensors, where torch's own functions have no types."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor


def eigh(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues of symmetric matrices (..., z, z), ascending, and an eigenvector for each, a column."""
    return cast(tuple[Tensor, Tensor], torch.linalg.eigh(matrices))  # pyright: ignore[reportUnknownMemberType]


def solve(matrices: Tensor, right: Tensor) -> Tensor:
    """Return what the matrices (..., z, z) turn into the right sides (..., z, columns)."""
    return cast(Tensor, torch.linalg.solve(matrices, right))  # pyright: ignore[reportUnknownMemberType]


def vector_norm(values: Tensor, order: int | float, axes: int | Sequence[int]) -> Tensor:
    """Return the norm of that order over one axis, or over several as if they were one."""
    return cast(Tensor, torch.linalg.vector_norm(values, order, axes))  # pyright: ignore[reportUnknownMemberType]
