"""How images and maps of any number of channels and axes are laid out on a plane."""

import numpy as np
import pytest

from limelight.draw.plane import CURVE, MOST_CURVES, Plane, to_rgb
from limelight.errors import InvalidOption

RNG = np.random.default_rng(0)


def test_grey_is_grey_and_colours_stay() -> None:
    grey, colour = RNG.random((1, 4, 5)), RNG.random((3, 4, 5))
    assert (to_rgb(grey) == np.rint(grey[0] * 255)[..., None]).all()
    assert (to_rgb(colour) == np.rint(colour.transpose(1, 2, 0) * 255)).all()


def test_bands_are_those_that_were_named() -> None:
    image = RNG.random((6, 4, 5))
    assert (to_rgb(image, (4, 0, 2)) == to_rgb(image[[4, 0, 2]])).all()
    with pytest.raises(InvalidOption, match="give three from 0 to 5"):
        to_rgb(image, (4, 0, 6))


@pytest.mark.parametrize("channels", [2, 4, 9])
def test_many_channels_are_drawn_by_their_principal_components(channels: int) -> None:
    """Channels made of two hidden ones of very different size, in directions at right angles: these come out."""
    hidden = RNG.random((2, 8, 8)) * np.array([4, 1])[:, None, None]
    hidden[1] -= hidden[0] * (np.cov(hidden.reshape(2, -1))[0, 1] / np.var(hidden[0], ddof=1))  # not correlated
    directions = np.linalg.qr(RNG.random((channels, 2)))[0]
    drawn = to_rgb(np.einsum("kj,jhw->khw", directions, hidden)).astype(float) / 255
    for i in range(2):
        low, high = hidden[i].min(), hidden[i].max()
        unit = (hidden[i] - low) / (high - low)
        strongest = directions[np.abs(directions[:, i]).argmax(), i]  # counts as positive
        np.testing.assert_allclose(drawn[..., i], unit if strongest > 0 else 1 - unit, atol=0.003)
    assert not drawn[..., 2].any() or channels > 2  # rounding of what is constant


def test_a_constant_image_has_no_components() -> None:
    assert not to_rgb(np.full((5, 3, 3), 0.7)).any()


def test_a_picture_stays_as_it_is() -> None:
    values = RNG.random((5, 7))
    assert Plane.at_maximum(values).map(values) is values


def test_a_volume_is_three_planes_through_its_maximum() -> None:
    values = RNG.random((4, 5, 6))
    values[1, 2, 3] = 2
    plane = Plane.at_maximum(values)
    assert plane.through == (1, 2, 3)
    laid = plane.map(values)
    assert laid.shape == (5, 6 + 1 + 6 + 1 + 5)
    assert (laid[:, :6] == values[1]).all()
    assert (laid[:4, 7:13] == values[:, 2]).all()
    assert (laid[:4, 14:] == values[:, :, 3]).all()
    assert not laid[4:, 7:].any()
    assert not laid[:, [6, 13]].any()
    picture = plane.image(values[None] / 2)
    assert picture.shape == (*laid.shape, 3)
    assert (picture[:, :6, 0] == np.rint(values[1] / 2 * 255)).all()
    assert (picture[4:, 7:] == 255).all()


@pytest.mark.parametrize("samples", [10, 640, 5000])
def test_the_map_of_a_signal_stands_where_its_samples_are(samples: int) -> None:
    values = np.zeros(samples)
    values[samples // 2] = 1
    laid = Plane().map(values)
    assert laid.shape == CURVE[::-1]
    (columns,) = laid[0].nonzero()
    assert len(columns) == max(1, CURVE[0] // samples)
    middle = (samples // 2 + 0.5) / samples * CURVE[0]
    assert abs(columns.mean() + 0.5 - middle) <= 1


def test_a_curve_is_drawn_for_each_channel() -> None:
    time = np.linspace(0, 1, 50)
    picture = Plane().image(np.stack([time, 1 - time]))
    assert picture.shape == (*CURVE[::-1], 3)
    dark = picture[..., 0] < 128
    rising, falling = (lane.argmax(0)[[20, -20]] for lane in np.split(dark, 2))
    assert rising[0] > rising[1]
    assert falling[0] < falling[1]
    assert len(Plane().image(RNG.random((MOST_CURVES + 5, 9)))) == CURVE[1]
