"""What a map has outside of the object against what it has inside."""

import torch

from measures.known_models import NAN, TOP_LEFT, close, score_maps, tensor


def test_outside_inside_ratio() -> None:
    cell = tensor([TOP_LEFT])
    close(score_maps("outside-inside-ratio", [[[4, 0], [-4, 0]]], cell), 1 / 3)
    # The positive part as it is: 0, then (1 + 0 + .5) / 3 over 4.
    close(score_maps("outside-inside-ratio", [[[4, 0], [-4, 0]]], cell, normalise="none"), 0)
    close(score_maps("outside-inside-ratio", [[[4, 1], [-4, 0.5]]], cell, normalise="none"), 1 / 8)
    # Scaled: 1 5/8 / 0 9/16
    close(score_maps("outside-inside-ratio", [[[4, 1], [-4, 0.5]]], cell), (10 / 16 + 9 / 16) / 3)


def test_outside_inside_ratio_that_is_not_defined() -> None:
    cell, maps = tensor([TOP_LEFT]), tensor([[[4, 0], [-4, 0]]])
    for value in (0.0, 0.1, -2.0):
        close(score_maps("outside-inside-ratio", torch.full((1, 2, 2), value), cell), 1)
    close(score_maps("outside-inside-ratio", maps, torch.zeros(1, 2, 2)), NAN)
    close(score_maps("outside-inside-ratio", maps, torch.ones(1, 2, 2)), NAN)
    close(score_maps("outside-inside-ratio", torch.ones(1, 2, 2), torch.ones(1, 2, 2)), NAN)
    close(score_maps("outside-inside-ratio", -maps, cell), NAN)  # the inside is the minimum: 0
    close(score_maps("outside-inside-ratio", -maps, cell, normalise="none"), NAN)
