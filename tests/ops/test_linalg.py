"""Linear algebra with tensors."""

import torch

from limelight.ops.linalg import eigh, solve, vector_norm


def symmetric() -> torch.Tensor:
    values = torch.randn(3, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return values @ values.mT


def test_eigenvectors_make_up_the_matrix() -> None:
    values, vectors = eigh(symmetric())
    assert (values.diff(dim=1) >= 0).all()
    assert torch.allclose(vectors @ torch.diag_embed(values) @ vectors.mT, symmetric())


def test_solution_gives_the_right_side() -> None:
    matrices, right = symmetric(), torch.ones(3, 5, 2, dtype=torch.float64)
    assert torch.allclose(matrices @ solve(matrices, right), right)


def test_norm_over_one_axis_and_over_several() -> None:
    values = torch.tensor([[[3.0, 4.0], [0.0, -12.0]]])
    assert vector_norm(values, 2, 2).tolist() == [[5, 12]]
    assert vector_norm(values, 2, [1, 2]).tolist() == [13]
    assert vector_norm(values, 1, 1).tolist() == [[3, 16]]
