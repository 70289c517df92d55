"""The share of pixels that a map calls positive."""

from measures.known_models import close, score_maps


def test_positive_ratio() -> None:
    maps = [[[3, -1], [0, 0.1]], [[-1, -1], [0, -2]], [[1, 1], [1, 1]]]
    close(score_maps("positive-ratio", maps, None), [0.5, 0, 1])
