"""The share of a map within its cell of a mosaic."""

import pytest
import torch
from torch import Tensor

import limelight as ll
from limelight.card import METHODS
from measures.known_models import TOP_LEFT, always, close, says, score_maps, tensor

pytestmark = pytest.mark.usefixtures("methods_for_tests")


def test_grid_pg() -> None:
    cell = tensor([TOP_LEFT])
    close(score_maps("grid-pg", [[[3, -1], [1, 0]]], cell), 0.75)
    for empty in (0.0, -1.0, 2e-8):  # 4 * 2e-8 is still nothing
        close(score_maps("grid-pg", torch.full((1, 2, 2), empty, dtype=torch.double), cell), 0)
    close(score_maps("grid-pg", torch.full((1, 2, 2), 1e-7, dtype=torch.double), cell), 0.25)


def test_grid_pg_of_the_largest_values() -> None:
    maps, bottom = [[[3, -1], [1, 0.5]]], tensor([[[0, 0], [1, 1]]])
    for keep, share in ((0.25, 0), (0.5, 1 / 4), (0.75, 1.5 / 4.5), (1.0, 1.5 / 4.5)):
        close(score_maps("grid-pg", maps, bottom, keep=keep), share)
    # Of equal values the first stay.
    close(score_maps("grid-pg", [[[1, 1], [1, 1]]], bottom, keep=0.75), 1 / 3)


def test_grid_pg_of_as_many_values_as_another_method_has() -> None:
    """The grey picture is the other method's map: 1, 2, 3, 0 positive pixels."""
    c = says(always(0.5))
    other = tensor([[[5, -1], [0, -1]], [[5, 1], [-1, 0]], [[1, 1], [-2, 9]], [[-1, -1], [0, 0]]])
    x = other[:, None].expand(4, 3, 2, 2)
    maps = tensor([[[3, -1], [1, 0.5]]]).expand(4, 2, 2)
    bottom = tensor([[[0, 0], [1, 1]]]).expand(4, 2, 2)
    metric = ll.metric("grid-pg", keep_as="test-mean")
    close(metric(c, x, 0, maps, truth=bottom), [0, 1 / 4, 1.5 / 4.5, 0])


def test_grid_pg_counts_the_other_map_at_the_size_of_the_picture() -> None:
    """1 -1 / 1 -1 becomes 1 .5 -.5 -1 in each of four rows: 8 positive pixels of 16, not 2 of 4."""

    def half(image: Tensor) -> Tensor:
        return tensor([[1, -1], [1, -1]]).expand(len(image), 2, 2)

    ll.register_method("test-half", family="test", cites="none", cost="1 F", layers="none")(half)
    maps = torch.arange(16, 0, -1, dtype=torch.double).view(1, 4, 4)
    cell = torch.zeros(1, 4, 4)
    cell[:, 0] = 1
    try:
        close(score_maps("grid-pg", maps, cell, keep_as="test-half"), (16 + 15 + 14 + 13) / sum(range(9, 17)))
    finally:
        METHODS.own.pop("test-half")
