"""The law of lifting: a signal is a picture of one row, a picture a volume of one slice, and nothing else changes."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from limelight.ops.blur import gaussian_blur, median_blur, rise_blur, smooth
from limelight.ops.impute import impute
from limelight.ops.order import keep_top, pixels_per_step, ranks
from limelight.ops.peaks import find_peaks
from limelight.ops.percentile import above_percentile
from limelight.ops.scale import min_max, resize, varies
from limelight.ops.segments import pixel_sets, segment, segment_means
from limelight.ops.similarity import pearson, spearman, ssim
from limelight.ops.space import pads, spread


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


FLAT: list[tuple[int, ...]] = [(24,), (12, 17)]
OF_IMAGES: dict[str, Callable[[Tensor], Tensor]] = {
    "gaussian": lambda x: gaussian_blur(x, 11, 5.0),
    "median": median_blur,
    "rise": rise_blur,
    "impute": lambda x: impute(x, (x > 0.4)[:, 0], tolerance=1e-9),
    "means": lambda x: segment_means(x, (x[:, 0] * 5).long()),
}
OF_MAPS: dict[str, Callable[[Tensor], Tensor]] = {
    "smooth": lambda m: smooth(m, 0.05),
    "min-max": lambda m: min_max(m)[0],
    "percentile": lambda m: above_percentile(m, 30, 1),
    "ranks": lambda m: ranks(m.round(decimals=1)),
    "ranks by lot": lambda m: ranks(m.round(decimals=1), "random"),
    "top": lambda m: keep_top(m, torch.tensor([3, 5])),
}
OF_TWO: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"pearson": pearson, "spearman": spearman, "ssim": ssim}


@pytest.mark.parametrize("size", FLAT)
@pytest.mark.parametrize("name", OF_IMAGES)
def test_images(name: str, size: tuple[int, ...]) -> None:
    x, work = draw(2, 3, *size), OF_IMAGES[name]
    torch.testing.assert_close(work(x[:, :, None])[:, :, 0], work(x), rtol=0, atol=1e-8)
    torch.testing.assert_close(work(x[..., None])[..., 0], work(x), rtol=0, atol=1e-8)


@pytest.mark.parametrize("size", FLAT)
@pytest.mark.parametrize("name", OF_MAPS)
def test_maps(name: str, size: tuple[int, ...]) -> None:
    maps, work = draw(2, *size), OF_MAPS[name]
    torch.testing.assert_close(work(maps[:, None])[:, 0], work(maps))


@pytest.mark.parametrize("size", FLAT)
@pytest.mark.parametrize("name", OF_TWO)
def test_similarities(name: str, size: tuple[int, ...]) -> None:
    (a, b), work = (draw(2, *size, seed=seed) for seed in (0, 1)), OF_TWO[name]
    torch.testing.assert_close(work(a[:, None], b[:, None]), work(a, b))


@pytest.mark.parametrize("size", FLAT)
def test_resizing(size: tuple[int, ...]) -> None:
    maps, larger = draw(2, *size), tuple(2 * side + 1 for side in size)
    torch.testing.assert_close(resize(maps[:, None], (1, *larger))[:, 0], resize(maps, larger))
    several = draw(2, 4, *size)
    torch.testing.assert_close(resize(several, larger)[:, 2], resize(several[:, 2], larger))
    assert resize(maps, size) is maps


def test_a_volume_is_resized_along_its_slices_too() -> None:
    ramp = torch.arange(4.0)[None, :, None, None].expand(1, 4, 3, 3)
    between = resize(ramp, (8, 3, 3))[0, :, 1, 1]
    torch.testing.assert_close(between, torch.tensor([0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]))


def test_which_maps_vary() -> None:
    acts = draw(2, 3, 4, 5, 6)
    acts[0, 1] = 0.3
    assert varies(acts, 2).tolist() == [[True, False, True], [True] * 3]
    assert min_max(acts[:, 1])[1].tolist() == [True, False]


def test_segments_of_a_picture_are_those_of_its_volume() -> None:
    picture = draw(3, 6, 8).repeat_interleave(5, 1).repeat_interleave(5, 2)
    flat, lifted = (segment(p, "slic", (20, 60)) for p in (picture, picture[:, None]))
    np.testing.assert_array_equal(flat, lifted[:, 0])
    np.testing.assert_array_equal(pixel_sets(flat, 3).toarray(), pixel_sets(lifted, 3).toarray())


def test_peaks_of_a_picture_are_those_of_its_volume() -> None:
    values = draw(20, 30).numpy()
    flat, lifted = (find_peaks(v, 3, 0.2) for v in (values, values[None]))
    np.testing.assert_array_equal(np.pad(flat[0], ((0, 0), (0, 1))), lifted[0])  # x, y, 0
    np.testing.assert_array_equal(flat[1], lifted[1])


@pytest.mark.parametrize(
    ("size", "pixels"), [((40, 56), 8 * 56), ((1, 40, 56), 8 * 56), ((5, 40, 56), 8 * 5 * 56), ((40,), 8)]
)
def test_rows_of_a_step(size: tuple[int, ...], pixels: int) -> None:
    assert pixels_per_step("8W", size) == pixels
    assert pixels_per_step("224", size) == pixels_per_step(224, size) == 224


def test_helpers() -> None:
    assert spread(torch.ones(2, 3), torch.ones(2, 3, 4, 5)).shape == (2, 3, 1, 1)
    x = torch.zeros(1, 2, 3)
    assert torch.nn.functional.pad(x, pads([(0, 1), (2, 0), (0, 4)])).shape == (2, 4, 7)
