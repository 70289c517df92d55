"""Linear algebra with tensors, where torch's own functions have no types."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor


def eigh(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues of symmetric matrices (..., z, z), ascending, and an eigenvector for each, a column."""
    return cast(tuple[Tensor, Tensor], torch.linalg.eigh(matrices))  # pyright: ignore[reportUnknownMemberType]


def leading(matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the leading eigenvector of Gram matrices.

    Args:
        matrices: X X^T, (n, z, z).

    Returns:
        The largest singular value of X, (n,), 0 if no eigenvalue is above 0; its vector, (n, z); and whether the second
        largest is equal, so that another vector would do as well, (n,).
    """
    values, vectors = eigh(matrices)
    roots = values.clamp_min(0).sqrt()
    first = roots[:, -1]
    second = roots[:, -2] if roots.shape[1] > 1 else torch.zeros_like(first)
    return first, vectors[..., -1], (first - second <= 1e-6 * first) & (first > 0)


def solve(matrices: Tensor, right: Tensor) -> Tensor:
    """Return what the matrices (..., z, z) turn into the right sides (..., z, columns)."""
    return cast(Tensor, torch.linalg.solve(matrices, right))  # pyright: ignore[reportUnknownMemberType]


def vector_norm(values: Tensor, order: int | float, axes: int | Sequence[int]) -> Tensor:
    """Return the norm of that order over one axis, or over several as if they were one."""
    return cast(Tensor, torch.linalg.vector_norm(values, order, axes))  # pyright: ignore[reportUnknownMemberType]
