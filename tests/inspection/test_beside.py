"""Where pictures are free of objects."""

import torch

from limelight.inspection.beside import box_of, fade, free_cells, free_of


def test_it_is_free_where_no_rectangle_around_an_object_is_or_fades_out():
    masks = torch.zeros(3, 40, 64, dtype=torch.bool)
    masks[0, 10, 12] = masks[0, 22, 30] = True  # two corners of a rectangle
    masks[1, 0:5, 60:64] = True  # at an edge
    boxes = torch.stack([box_of(mask) for mask in masks])
    assert boxes.sum((1, 2)).tolist() == [13 * 19, 5 * 4, 0]
    free = free_of([*masks])
    assert torch.allclose(free, 1 - fade(boxes), atol=1e-12)
    assert (free[0, 10:23, 12:31].max(), free[0, 0, 63], free[2].min()) == (0, 1, 1)
    assert torch.allclose(free_cells(free, 4)[0, 1, 3], free[0, 10:20, 48:64].mean().float())
