"""Colours of maps, overlays, signed maps and the outline of the top region."""

import numpy as np
import pytest
from PIL import Image

from draw.small_pictures import ONES, PICTURE, RNG, ZEROS, bump
from limelight.draw import colorize, contour, outline_mask, overlay, signed, top_region
from limelight.errors import InvalidImage, InvalidOption


def test_colorize_known_colours():
    got = colorize(np.array([[0.0, 1.0]]), "viridis")
    assert got.dtype == np.uint8
    assert got.tolist() == [[[68, 1, 84], [253, 231, 36]]]
    assert colorize(np.array([[0.0, 0.5, 1.0]]), "gray").tolist() == [[[0] * 3, [128] * 3, [255] * 3]]
    assert colorize(np.array([[1 + 1e-6, -1e-6]]), "gray")[0, :, 0].tolist() == [255, 0]
    assert colorize(np.array([[0.0, 1.0]]), "tab10").tolist() == [[[31, 119, 180], [23, 190, 207]]]


def test_default_colours_grow_lighter_evenly():
    from skimage.color import rgb2lab

    light = rgb2lab(colorize(np.linspace(0, 1, 256)[None]))[0, :, 0]
    steps = np.diff(light[::15])
    assert steps.min() > 0
    assert steps.std() < 0.25 * steps.mean()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((1, 4, 4)), r"shape \(1, 4, 4\); give one map"),
        (np.zeros((0, 4)), "give one map"),
        (np.full((2, 2), np.nan), "not finite"),
        (np.full((2, 2), 1j), "not finite real"),
        (np.full((2, 2), 1.5), r"values from 1.5 to 1.5; scale it"),
        (np.full((2, 2), -0.5), "scale it"),
    ],
)
def test_unusable_maps(values, message):
    with pytest.raises(InvalidOption, match=message):
        colorize(values)


def test_unknown_colour_map():
    with pytest.raises(InvalidOption, match="no colour map 'infreno'; did you mean inferno"):
        colorize(ZEROS, "infreno")
    with pytest.raises(InvalidOption, match="viridis"):
        colorize(ZEROS, "§§§")


def test_overlay_of_nothing_is_the_picture():
    for image in (PICTURE, Image.fromarray(PICTURE), PICTURE / 255, (PICTURE / 255).astype(np.float32)):
        np.testing.assert_array_equal(overlay(image, ZEROS), PICTURE)
    for mode in ("blend", "flat", "fade"):
        np.testing.assert_array_equal(overlay(PICTURE, bump(), mode=mode, alpha=0), PICTURE)
    np.testing.assert_array_equal(overlay(PICTURE, ONES, mode="fade"), PICTURE)


def test_overlay_known_values():
    grey = np.full((40, 60, 3), 100, np.uint8)
    # gray colour map at 0.25: 64; opacity 0.8 * sqrt(0.25) = 0.4
    quarter = np.full((40, 60), 0.25)
    assert np.asarray(overlay(grey, quarter, cmap="gray", alpha=0.8))[0, 0].tolist() == [86] * 3
    assert np.asarray(overlay(grey, quarter, cmap="gray", alpha=0.5, mode="flat"))[0, 0, 0] == 82
    assert np.asarray(overlay(grey, quarter, alpha=0.5, mode="fade"))[0, 0, 0] == 75
    assert np.asarray(overlay(grey, ONES, cmap="gray", alpha=1))[0, 0, 0] == 255
    assert np.asarray(overlay(grey, ZEROS, alpha=1, mode="fade")).max() == 0


def test_overlay_leaves_its_input_alone():
    picture, heat = PICTURE / 255, bump()
    before = picture.copy(), heat.copy()
    overlay(picture, heat)
    contour(picture, heat)
    np.testing.assert_array_equal(picture, before[0])
    np.testing.assert_array_equal(heat, before[1])


def test_unusable_pictures_and_options():
    for painter in (overlay, contour):
        with pytest.raises(InvalidOption, match="the map is 8 x 9 but the image 40 x 60"):
            painter(PICTURE, np.zeros((8, 9)))
        with pytest.raises(InvalidImage, match=r"shape \(40, 60\)"):
            painter(PICTURE[..., 0], ZEROS)
        with pytest.raises(InvalidImage, match=r"shape \(40, 60, 4\)"):
            painter(Image.fromarray(PICTURE).convert("RGBA"), ZEROS)
        for bad in (PICTURE * 1.0, np.full((40, 60, 3), np.nan), PICTURE.astype(int)):
            with pytest.raises(InvalidImage, match="must be uint8"):
                painter(bad, ZEROS)
    with pytest.raises(InvalidOption, match="one of blend, flat, fade"):
        overlay(PICTURE, ZEROS, mode="glow")
    for alpha in (-0.1, 1.1, float("nan")):
        with pytest.raises(InvalidOption, match="alpha"):
            overlay(PICTURE, ZEROS, alpha=alpha)


def test_signed_is_symmetric_about_white():
    got = np.asarray(signed(np.array([[-2.0, 0.0, 2.0]]))).tolist()[0]
    assert got[1] == [255, 255, 255]
    assert np.abs(np.subtract(got[0], [0, 0, 76])).max() <= 1
    assert np.abs(np.subtract(got[2], [128, 0, 0])).max() <= 1
    lopsided = np.asarray(signed(np.array([[-1.0, 0.0, 4.0]])))[0]
    assert lopsided[1].tolist() == [255, 255, 255]
    assert lopsided[0, 0] > 100  # a quarter of the scale is still pale
    np.testing.assert_array_equal(signed(ZEROS), np.full((40, 60, 3), 255))
    np.testing.assert_array_equal(signed(np.array([[-9.0, 1.0]]), limit=1), signed(np.array([[-1.0, 1.0]])))
    for limit in (0, -1, float("nan")):
        with pytest.raises(InvalidOption, match="limit"):
            signed(ZEROS, limit=limit)
    with pytest.raises(InvalidOption, match="not finite"):
        signed(np.full((2, 2), np.nan))


@pytest.mark.parametrize("top", [0.001, 0.1, 0.333, 1.0])
@pytest.mark.parametrize("values", [bump(), ZEROS, RNG.normal(size=(40, 60)), -bump() * 1e9])
def test_top_region_is_exact(values, top):
    mask = top_region(values, top)
    assert mask.sum() == max(1, round(top * 2400))
    assert values[mask].min() >= values[~mask].max(initial=-np.inf)


@pytest.mark.parametrize("top", [0, -1, 1.1, float("nan")])
def test_top_out_of_range(top):
    with pytest.raises(InvalidOption, match="a tenth of the pixels"):
        top_region(ZEROS, top)


@pytest.mark.parametrize("width", [1, 2, 4])
def test_contour_encloses_the_region(width):
    from scipy import ndimage

    black = np.zeros((40, 60, 3), np.uint8)
    got = np.asarray(contour(black, bump(), top=0.2, color="#ff8000", width=width))
    line = (got == [255, 128, 0]).all(2)
    assert (got[~line] == 0).all()
    np.testing.assert_array_equal(ndimage.binary_fill_holes(line) & ~line, top_region(bump(), 0.2))
    box = ZEROS.copy()
    box[10:30, 15:45] = 1
    line = (np.asarray(contour(black, box, top=0.25, color="#ff8000", width=width)) > 0).any(2)
    assert line.sum() == (20 + 2 * width) * (30 + 2 * width) - 20 * 30


def test_outline_of_a_mask_is_that_of_the_region_of_a_map():
    picture, region = np.full((40, 60, 3), 128, np.uint8), top_region(bump(), 0.2)
    expected = contour(picture, bump(), top=0.2, color="#ff8000", width=3)
    for mask in (region, 7 * region.astype(int)):  # whatever is not 0
        assert np.array_equal(outline_mask(picture, mask, color="#ff8000", width=3), expected)
    with pytest.raises(InvalidOption, match="40"):
        outline_mask(picture, np.ones((4, 6)))


def test_of_small_objects_nothing_is_hidden():
    """But the last pixels at the picture's edge, beyond which no line can be."""
    objects = np.zeros((2, 12, 16), bool)
    objects[0, 5:8, 6:9] = objects[1, :3, :3] = True
    grey = np.full((12, 16, 3), 128, np.uint8)
    got = np.asarray(outline_mask(grey, objects))[..., 0]
    assert (got[5:8, 6:9] == 128).all()
    assert (got[1:3, 1:3] == 128).all()
    assert (got[0, :3] == got[:3, 0]).all()
    assert got[0, 0] == got[4, 6] == got[3, 2] == 255


def test_objects_that_touch_have_an_outline_each():
    left, right = np.zeros((2, 12, 16), bool)
    left[2:10, 1:8] = right[2:10, 8:15] = True
    black = np.zeros((12, 16, 3), np.uint8)
    apart, together = (
        np.asarray(outline_mask(black, mask, width=1)) for mask in (np.stack([left, right]), left | right)
    )
    assert (apart[2:10, 7:9] == 255).all()  # both lines where they touch
    assert (together[3:9, 7:9] == 0).all()
    assert np.array_equal(
        np.asarray(outline_mask(black, left[None], width=1)), np.asarray(outline_mask(black, left, width=1))
    )


def test_contour_halo_and_border():
    white = np.full((40, 60, 3), 255, np.uint8)
    got = np.asarray(contour(white, bump(), top=0.2, color="lime", width=1))
    dark = (got == 89).all(2)
    assert dark.any()
    assert not (dark & top_region(bump(), 0.2)).any()
    whole = np.asarray(contour(white, ZEROS, top=1, color="lime", width=1))
    line = (whole == [0, 255, 0]).all(2)
    assert line[0].all()
    assert line[:, -1].all()
    assert line.sum() == 2 * (40 + 60) - 4
    with pytest.raises(InvalidOption, match="'limegreenish' is not a colour"):
        contour(white, ZEROS, color="limegreenish")
    with pytest.raises(InvalidOption, match="width is 0"):
        contour(white, ZEROS, width=0)
