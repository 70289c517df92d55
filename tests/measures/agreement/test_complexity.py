"""How much of a picture a map covers."""

import torch

from measures.known_models import close, score_maps


def test_complexity() -> None:
    indicator = torch.zeros(5, 8)
    indicator[1:4, 2:6] = 1
    maps = torch.stack([torch.ones(5, 8), torch.zeros(5, 8), indicator])
    close(score_maps("complexity", maps, None), [1, 0, 12 / 40])
