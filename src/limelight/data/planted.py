"""Artefacts that are planted into pictures, so that a network may learn to go by them instead of the object.

Each kind stands for a shortcut that real collections hold: a photographer's mark, a scanner's frame, the noise of
one camera, a thing that happens to lie beside the objects of one class, the exposure of one studio.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from limelight.data.synthetic import Mask, stamp
from limelight.errors import InvalidImage, InvalidOption, nearest, show

Picture = npt.NDArray[np.uint8]

_REACH = 9  # of the companion, in pixels from its centre


def plant(kind: str, image: Picture, seed: int, occupied: Mask | None = None) -> tuple[Picture, Mask]:
    """Plant an artefact into a picture.

    Args:
        kind: one of ``KINDS``: ``watermark`` (a stamp in the lower left corner, moved by a few pixels), ``border`` (an
            orange frame, 3 to 5 pixels wide), ``noise`` (horizontal lines with a period of 6 pixels and an amplitude
            of 10 of 255: finer than the scenes' textures, hardly visible), ``companion`` (a dumbbell of a blue and a
            yellow disc, 18 pixels long, turned freely, at a random place) or ``brightness`` (the whole picture nearer
            to white by two fifths).
        image: (H, W, 3), uint8, square, of at least 64 pixels a side; it is not changed.
        seed: of place, width, phase and turn; not negative.
        occupied: (H, W), pixels that the companion keeps clear of; where it can't, it covers as few as possible.

    Returns:
        The picture, and the artefact's region (H, W), outside which the picture is untouched.

    Raises:
        InvalidImage: the picture is of another shape or type.
        InvalidOption: there is no such kind, or the seed is negative.
    """
    if kind not in KINDS:
        raise InvalidOption(f"there is no artefact {kind!r}{nearest(kind, KINDS)} (there are {', '.join(KINDS)})")
    if seed < 0:
        raise InvalidOption(f"the seed of an artefact is not negative, as {show(seed)} is")
    side = image.shape[0]
    if image.dtype != np.uint8 or image.shape != (side, side, 3) or side < 64:
        raise InvalidImage(
            f"an artefact needs a uint8 picture (H, H, 3), H at least 64; not {image.dtype} {image.shape}"
        )
    occupied = np.zeros((side, side), np.bool_) if occupied is None else occupied
    if occupied.shape != (side, side):
        raise InvalidImage(f"occupied is {occupied.shape}, but the picture is {side} x {side}; they must agree")
    return KINDS[kind](image, seed, occupied)


def _watermark(image: Picture, seed: int, occupied: Mask) -> tuple[Picture, Mask]:
    stamped, (x1, y1, x2, y2) = stamp(image, seed)
    region = np.zeros_like(occupied)
    region[y1:y2, x1:x2] = True
    return stamped, region


def _border(image: Picture, seed: int, occupied: Mask) -> tuple[Picture, Mask]:
    width = 3 + int(np.random.default_rng(seed).integers(3))
    region = np.ones_like(occupied)
    region[width:-width, width:-width] = False
    return np.where(region[..., None], np.array([230, 120, 20], np.uint8), image), region


def _noise(image: Picture, seed: int, occupied: Mask) -> tuple[Picture, Mask]:
    row = np.arange(len(image))[:, None, None]
    phase = np.random.default_rng(seed).uniform(0, 2 * np.pi)
    grating = 10 * np.cos(2 * np.pi * row / 6 + phase)
    return (image + grating).round().clip(0, 255).astype(np.uint8), np.ones_like(occupied)


def _companion(image: Picture, seed: int, occupied: Mask) -> tuple[Picture, Mask]:
    rng, span = np.random.default_rng(seed), 2 * _REACH + 1
    sums = np.pad(occupied.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    covers = sums[span:, span:] - sums[:-span, span:] - sums[span:, :-span] + sums[:-span, :-span]
    centre = rng.choice(np.argwhere(covers == covers.min())) + _REACH
    angle, radius = rng.uniform(0, 2 * np.pi), _REACH / 2
    apart = radius * np.array([np.sin(angle), np.cos(angle)])
    at = np.moveaxis(np.indices(occupied.shape), 0, -1)
    blue, yellow = (np.hypot(*np.moveaxis(at - middle, -1, 0)) <= radius for middle in (centre - apart, centre + apart))
    planted = image.copy()
    planted[blue], planted[yellow] = (30, 60, 220), (250, 220, 40)
    return planted, blue | yellow


def _brightness(image: Picture, seed: int, occupied: Mask) -> tuple[Picture, Mask]:
    return (255 - 0.6 * (255 - image.astype(np.float64))).round().astype(np.uint8), np.ones_like(occupied)


KINDS: dict[str, Callable[[Picture, int, Mask], tuple[Picture, Mask]]] = {
    "watermark": _watermark,
    "border": _border,
    "noise": _noise,
    "companion": _companion,
    "brightness": _brightness,
}
"""The kinds of artefacts, and what plants them."""
