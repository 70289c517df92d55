"""What is planted stays in its region, depends on its seed alone, and is what its kind says."""

import numpy as np
import pytest

from limelight import errors
from limelight.data.planted import KINDS, plant
from limelight.data.synthetic import scene, stamp

SCENE = scene(7, objects=1)
OBJECT = SCENE.mask_of(SCENE.label)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_region_changes_and_the_seed_decides(kind: str) -> None:
    before = SCENE.image.copy()
    image, region = plant(kind, SCENE.image, 1, OBJECT)
    assert np.array_equal(SCENE.image, before)
    assert image.dtype == np.uint8
    assert region.any()
    assert np.array_equal(image[~region], before[~region])
    assert (image != before).any(-1).sum() > 0.8 * region.sum()
    again, where = plant(kind, SCENE.image, 1, OBJECT)
    assert np.array_equal(image, again)
    assert np.array_equal(region, where)
    others = [plant(kind, SCENE.image, seed, OBJECT)[0] for seed in range(2, 6)]
    assert any(not np.array_equal(image, other) for other in others) == (kind != "brightness")


def test_kinds_are_what_they_say() -> None:
    grey = np.full((128, 128, 3), 120, np.uint8)
    assert np.array_equal(plant("watermark", grey, 3)[0], stamp(grey, 3)[0])
    assert plant("border", grey, 3)[1].sum() in [128**2 - (128 - 2 * width) ** 2 for width in (3, 4, 5)]
    assert (plant("brightness", grey, 3)[0] == 174).all()  # 255 - 0.6 * 135
    noise, everywhere = plant("noise", grey, 3)
    assert everywhere.all()
    assert np.abs(noise.astype(int) - 120).max() <= 10
    power = np.abs(np.fft.fft2(noise[:126, :126, 0] - 120.0))  # 126 is a multiple of the period
    assert set(zip(*np.nonzero(power > 0.1 * power.max()), strict=True)) == {(21, 0), (105, 0)}


def test_the_companion_keeps_clear_of_what_is_occupied() -> None:
    occupied = np.zeros((128, 128), np.bool_)
    occupied[:, :100] = True
    for seed in range(5):
        planted, region = plant("companion", np.zeros((128, 128, 3), np.uint8), seed, occupied)
        assert not (region & occupied).any()
        assert 110 < region.sum() < 145  # two discs of radius 4.5: 127
        assert len(np.unique(planted[region], axis=0)) == 2
    assert plant("companion", SCENE.image, 0, np.ones((128, 128), np.bool_))[1].any()  # no place is free


def test_what_can_not_be_planted() -> None:
    with pytest.raises(errors.InvalidOption, match=r"no artefact 'nois'.*did you mean noise"):
        plant("nois", SCENE.image, 0)
    with pytest.raises(errors.InvalidOption, match="not negative, as -1 is"):
        plant("noise", SCENE.image, -1)
    for picture in (SCENE.image[:100], SCENE.image[:32, :32], SCENE.image / 255):
        with pytest.raises(errors.InvalidImage, match="needs a uint8 picture"):
            plant("noise", picture, 0)
    with pytest.raises(errors.InvalidImage, match=r"occupied is \(3, 3\)"):
        plant("noise", SCENE.image, 0, np.ones((3, 3), np.bool_))
