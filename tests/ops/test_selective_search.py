"""Candidate boxes by hierarchical grouping."""

from typing import Any

import numpy as np
import pytest

from limelight.errors import InvalidImage, InvalidOption
from limelight.ops import selective_search as module
from limelight.ops.selective_search import ious, selective_search

RECTANGLES = {(20, 30, 80, 90): (220, 30, 30), (110, 40, 190, 75): (30, 60, 220), (60, 110, 160, 150): (30, 170, 60)}


def painted(noise: float = 4.0) -> Any:
    """A grey picture of coloured rectangles, a little noisy."""
    picture = np.full((180, 220, 3), 150.0)
    for (x0, y0, x1, y1), colour in RECTANGLES.items():
        picture[y0:y1, x0:x1] = colour
    picture += np.random.default_rng(0).normal(0, noise, picture.shape)
    return picture.clip(0, 255).astype(np.uint8)


def test_rectangles_are_found() -> None:
    boxes = selective_search(painted())
    assert (ious(list(RECTANGLES), boxes).max(1) > 0.9).all()
    assert ious([(0, 0, 220, 180)], boxes).max() == 1  # the region that is left in the end


def test_parts_are_joined_to_a_whole() -> None:
    """Two halves of different colours that touch are one candidate too, which no segment is."""
    picture = painted()
    picture[30:90, 50:80] = (240, 200, 40)
    boxes = selective_search(picture)
    wanted = [(20, 30, 50, 90), (50, 30, 80, 90), (20, 30, 80, 90)]
    assert (ious(wanted, boxes).max(1) > 0.9).all()


def test_boxes_are_distinct_large_enough_inside_and_the_same_every_time() -> None:
    picture = painted(noise=25)
    boxes = selective_search(picture)
    assert len(np.unique(boxes, axis=0)) == len(boxes) > 3
    assert (boxes[:, 2:] - boxes[:, :2]).min() >= 20
    assert boxes.min() >= 0
    assert (boxes[:, 2:] <= (220, 180)).all()
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    assert (np.diff(areas) >= 0).all()
    np.testing.assert_array_equal(boxes, selective_search(picture))
    fewer = selective_search(picture, least=60)
    assert 0 < len(fewer) < len(boxes)
    assert (fewer[:, 2:] - fewer[:, :2]).min() >= 60


@pytest.mark.slow
def test_a_large_picture_is_searched_as_a_small_one() -> None:
    large = painted().repeat(5, axis=0).repeat(5, axis=1)  # 1100 x 900
    boxes = selective_search(large)
    assert (ious(np.array(list(RECTANGLES)) * 5, boxes).max(1) > 0.9).all()
    assert (boxes[:, 2:] <= (1100, 900)).all()
    assert (boxes[:, 2:] == (1100, 900)).all(1).any()


def test_merging_equals_a_search_through_all_pairs() -> None:
    """The queue takes the same pair at every step as computing every similarity from the pixels would."""
    rng = np.random.default_rng(1)
    labels = np.kron(np.arange(12).reshape(3, 4), np.ones((4, 5), int))
    colours = rng.integers(0, module.COLOURS, (3, labels.size)) + module.COLOURS * np.arange(3)[:, None]
    edges = rng.integers(0, 10, (24, labels.size)) + 10 * np.arange(24)[:, None]
    flat = labels.ravel()

    def similarity(a: set[int], b: set[int], by_colour: bool) -> float:
        inside = [np.isin(flat, list(part)) for part in (a, b)]
        total = 0.0
        for bins in (colours, edges) if by_colour else (edges,):
            ha, hb = (np.bincount(bins[:, i].ravel(), minlength=300) / bins[:, i].size for i in inside)
            total += np.minimum(ha, hb).sum()
        y, x = np.nonzero((inside[0] | inside[1]).reshape(labels.shape))
        both, around = len(x), (np.ptp(x) + 1) * (np.ptp(y) + 1)
        return total + (1 - both / labels.size) + (1 - (around - both) / labels.size)

    def touch(a: set[int], b: set[int]) -> bool:
        return any(abs(i // 4 - j // 4) + abs(i % 4 - j % 4) == 1 for i in a for j in b)

    for by_colour in (True, False):
        parts = [{i} for i in range(12)]
        wanted = list(parts)
        while len(parts) > 1:
            pairs = [(a, b) for i, a in enumerate(parts) for b in parts[i + 1 :] if touch(a, b)]
            a, b = max(pairs, key=lambda pair: similarity(*pair, by_colour))
            parts = [part for part in parts if part not in (a, b)] + [a | b]
            wanted.append(a | b)
        boxes = []
        for part in wanted:
            y, x = np.nonzero(np.isin(labels, list(part)))
            boxes.append((x.min(), y.min(), x.max() + 1, y.max() + 1))
        found = module.Segments(labels, colours, edges).group(by_colour)
        np.testing.assert_array_equal(found, boxes)


@pytest.mark.slow
def test_a_photo_has_hundreds_of_candidates() -> None:
    picture = np.kron(np.random.default_rng(0).integers(0, 255, (25, 34, 3)), np.ones((15, 15, 1)))
    picture = picture[:375, :500].astype(np.uint8)
    assert len(selective_search(picture)) > 500


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (19, 100)])
def test_small_pictures_have_no_candidates(shape: tuple[int, int]) -> None:
    assert selective_search(np.zeros((*shape, 3), np.uint8)).shape == (0, 4)


def test_a_plain_picture_has_itself() -> None:
    np.testing.assert_array_equal(selective_search(np.full((30, 40, 3), 7, np.uint8)), [[0, 0, 40, 30]])


def test_bad_input() -> None:
    with pytest.raises(InvalidImage, match="uint8 of shape"):
        selective_search(np.zeros((30, 30, 3)))  # type: ignore[arg-type]
    with pytest.raises(InvalidImage, match=r"shape \(30, 30\)"):
        selective_search(np.zeros((30, 30), np.uint8))
    picture = np.zeros((30, 30, 3), np.uint8)
    for options in ({"scales": ()}, {"spaces": ("rgb",)}, {"least": 0}, {"sigma": -1}, {"longest": 0}):
        with pytest.raises(InvalidOption):
            selective_search(picture, **options)  # type: ignore[arg-type]


def test_ious() -> None:
    a, b = [(0, 0, 4, 4), (2, 2, 6, 6)], [(0, 0, 4, 4), (2, 0, 6, 4), (4, 4, 8, 8)]
    np.testing.assert_allclose(ious(a, b), [[1, 8 / 24, 0], [4 / 28, 8 / 24, 4 / 28]])
    assert ious(a, np.zeros((0, 4))).shape == (2, 0)
