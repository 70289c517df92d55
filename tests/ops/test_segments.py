"""Segments: pictures whose segments are known, and sets of pixels against whole-picture morphology."""

import numpy as np
import pytest
import torch
from skimage.morphology import ball, dilation, disk
from skimage.segmentation import felzenszwalb
from skimage.transform import resize
from torch import Tensor

from limelight.errors import InvalidOption
from limelight.ops.segments import SCALES, Segmentation, pixel_sets, segment, segment_means

KINDS = ("felzenszwalb", "slic")


def two_halves(height: int = 40, width: int = 56) -> Tensor:
    """Red on the left, blue on the right."""
    picture = torch.zeros(3, height, width)
    picture[0, :, : width // 2] = 0.9
    picture[2, :, width // 2 :] = 0.8
    return picture


def blotches(seed: int = 0, size: tuple[int, int] = (40, 56)) -> Tensor:
    coarse = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size, mode="bicubic")[0].clamp(0, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_every_pixel_is_in_one_segment_of_each_scale(kind: Segmentation) -> None:
    labels = segment(blotches(), kind, SCALES[kind])
    assert labels.shape == (len(SCALES[kind]), 40, 56)
    numbers = [np.unique(one) for one in labels]
    np.testing.assert_array_equal(np.concatenate(numbers), np.arange(labels.max() + 1))
    counts = [len(one) for one in numbers]
    assert counts == sorted(counts, reverse=kind == "felzenszwalb")
    assert counts[0] != counts[-1]


def test_felzenszwalb_finds_the_border() -> None:
    for one in segment(two_halves(224, 224), "felzenszwalb", (50, 1200)):
        left, right = np.unique(one[:, :107]), np.unique(one[:, 117:])  # but where smoothing has mixed the colours
        assert len(left) == len(right) == 1
        assert left != right


@pytest.mark.parametrize("size", [(224, 224), (90, 130)])
def test_felzenszwalb_at_224(size: tuple[int, int]) -> None:
    """Colours in [-1, 1], 224 x 224, sigma 0.8, at least 150 pixels; back to the nearest of these."""
    picture = (blotches(2, size) * 255).round() / 255
    noise = torch.randint(-20, 20, picture.shape, generator=torch.Generator().manual_seed(0)) / 255
    picture = (picture + noise).clamp(0, 1)
    scaled = 2 * (picture - picture.min()) / (picture.max() - picture.min()) - 1
    square = scaled.permute(1, 2, 0).double().numpy()
    if size != (224, 224):
        square = resize(square, (224, 224), order=3, anti_aliasing=True)
    at_224 = felzenszwalb(square, scale=100, sigma=0.8, min_size=150)
    assert np.bincount(at_224.ravel()).min() >= 150
    row, column = ((((np.arange(s) + 0.5) * 224 / s).astype(int)) for s in size)  # the nearest pixels
    expected = at_224[row][:, column]
    (labels,) = segment(picture, "felzenszwalb", (100,))
    pairs = np.unique(np.stack([expected.ravel(), labels.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(expected)) == labels.max() + 1 > 10  # the same sets by other names


def test_slic_respects_the_border() -> None:
    (labels,) = segment(two_halves(), "slic", (20,))
    assert not set(np.unique(labels[:, :28])) & set(np.unique(labels[:, 28:]))
    assert 10 <= labels.max() + 1 <= 30


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("picture", [torch.full((3, 40, 56), 0.3), torch.zeros(3, 8, 8), blotches()[:1]])
def test_pictures_without_colours_or_contrast(kind: Segmentation, picture: Tensor) -> None:
    labels = segment(picture, kind, (100,))
    assert labels.shape == (1, *picture.shape[1:])
    assert labels.min() == 0
    if kind == "felzenszwalb" and not picture.std():
        assert labels.max() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_precision_does_not_move_borders(kind: Segmentation) -> None:
    picture = blotches(1)
    exact = segment(picture, kind, (100,))
    wrong_by_rounding = picture.double() * (1 - 1e-7)
    np.testing.assert_array_equal(exact, segment(wrong_by_rounding, kind, (100,)))


def test_kept_segments_cannot_be_spoilt() -> None:
    labels = segment(blotches(), "slic", (20,))
    with pytest.raises(ValueError, match="read-only"):
        labels[0, 0, 0] = 7


@pytest.mark.parametrize("radius", [0, 1, 5])
def test_pixel_sets_are_dilated_segments(radius: int) -> None:
    labels = segment(blotches(), "slic", (5, 30))
    sets = pixel_sets(labels, radius)
    expected = [dilation(one == number, disk(radius)) for one in labels for number in np.unique(one)]
    np.testing.assert_array_equal(sets.toarray().reshape(-1, 40, 56) > 0, expected)
    assert set(sets.data) == {1.0}


def test_a_segment_may_be_in_pieces() -> None:
    labels = np.zeros((1, 3, 9), dtype=np.int32)
    labels[0, 1, 1:8] = [1, 0, 0, 0, 0, 0, 1]
    _, grown = pixel_sets(labels, 1).toarray().reshape(-1, 3, 9)
    outer, middle = [0, 1, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(grown, [outer, middle, outer])


def test_volumes_in_two_halves() -> None:
    volume = torch.zeros(1, 12, 10, 16)
    volume[..., 8:] = 0.9
    (labels,) = segment(volume, "slic", (20,))
    assert labels.shape == (12, 10, 16)
    assert not set(np.unique(labels[..., :8])) & set(np.unique(labels[..., 8:]))
    assert 8 <= labels.max() + 1 <= 40
    sets = pixel_sets(labels[None], 2).toarray().reshape(-1, 12, 10, 16) > 0
    np.testing.assert_array_equal(sets[3], dilation(labels == 3, ball(2)))


@pytest.mark.parametrize("channels", [1, 3])
def test_signals_are_cut_in_pieces_of_about_one_length(channels: int) -> None:
    signal = torch.randn(channels, 200, generator=torch.Generator().manual_seed(0))  # leaves [0, 1]
    (labels,) = segment(signal, "slic", (20,))
    assert labels.shape == (200,)
    lengths = np.bincount(labels)
    assert 15 <= len(lengths) <= 25
    assert lengths.max() <= 30
    assert (np.diff(labels) != 0).sum() == len(lengths) - 1  # each of one piece
    grown = pixel_sets(labels[None], 2).toarray()
    assert grown.shape == (len(lengths), 200)
    np.testing.assert_array_equal(
        grown.sum(1), np.minimum(lengths + 4, np.where(grown[:, 0] + grown[:, -1], 2, 4) + lengths)
    )


def test_felzenszwalb_is_for_pictures() -> None:
    for size in ((30,), (4, 30, 30)):
        with pytest.raises(InvalidOption, match=f"this input has {len(size)} axes of space; give segmentation='slic'"):
            segment(torch.zeros(1, *size), "felzenszwalb", (100,))


def test_segment_means() -> None:
    image = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]], [[[1.0, 2.0], [3.0, 6.0]]]])
    labels = torch.tensor([[[0, 0], [1, 0]], [[0, 0], [0, 0]]])
    expected = torch.tensor([[[[11 / 3, 11 / 3], [5.0, 11 / 3]]], [[[3.0, 3.0], [3.0, 3.0]]]])
    torch.testing.assert_close(segment_means(image, labels), expected)
