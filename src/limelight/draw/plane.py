"""Lay images and maps of any number of channels and axes out on a plane: volumes as planes, signals as curves."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from limelight.draw.paint import Array
from limelight.errors import InvalidOption

__all__ = ["Bands", "Plane", "to_rgb"]

Bands = tuple[int, int, int]
"""Which channels are drawn as red, green and blue, from 0."""

COMPONENTS = "first three principal components"
"""What is drawn of an image of many channels, if nobody says which."""

CURVE = (640, 240)
"""Width and height of the curves of a signal, in pixels."""
MOST_CURVES = 12
"""Channels of a signal that are drawn, one above the other."""
_FINER = 2  # drawn larger and shrunk, lines are smooth


def to_rgb(image: Array, bands: Bands | None = None) -> npt.NDArray[np.uint8]:
    """Return the colours of an image: (*space, 3).

    One channel is grey and three are red, green and blue; of others ``bands`` are drawn, or else the first three
    principal components of the channels, each from its least to its largest value.

    Args:
        image: shape (c, *space), in [0, 1].
        bands: the channels for red, green and blue.

    Raises:
        InvalidOption: there are no such bands.

    Example:
        >>> import numpy as np
        >>> from limelight.draw.plane import to_rgb
        >>> to_rgb(np.ones((1, 2, 2))).shape
        (2, 2, 3)
    """
    if bands is not None:
        if len(bands) != 3 or not all(0 <= band < len(image) for band in bands):
            raise InvalidOption(f"bands = {bands!r} of {len(image)} channels; give three from 0 to {len(image) - 1}")
        image = image[list(bands)]
    if len(image) == 1:
        image = np.repeat(image, 3, 0)
    elif len(image) != 3:
        image = _principal_components(image)
    return np.rint(np.moveaxis(np.clip(image, 0, 1), 0, -1) * 255).astype(np.uint8)


def _principal_components(image: Array) -> Array:
    """Return the first three principal components over the channels, (3, *space), each scaled to [0, 1]."""
    values = image.reshape(len(image), -1).astype(np.float64)
    values = values - values.mean(1, keepdims=True)
    _, vectors = np.linalg.eigh(values @ values.T)
    vectors = vectors[:, ::-1][:, :3]  # by falling variance
    strongest = np.take_along_axis(vectors, np.abs(vectors).argmax(0)[None], 0)
    components = (vectors * np.where(strongest < 0, -1, 1)).T @ values  # a sign that does not hang on the solver
    low, high = components.min(1, keepdims=True), components.max(1, keepdims=True)
    scaled = (components - low) / np.where(high > low, high - low, 1)
    return np.concatenate([scaled, np.zeros((3 - len(scaled), *scaled.shape[1:]))]).reshape(3, *image.shape[1:])


@dataclass(frozen=True)
class Plane:
    """How images and maps over one to three axes are laid out on a plane, so that the one fits the other.

    A picture stays as it is. Of a volume (D, H, W) the three planes through one voxel stand side by side: H x W, D x W
    and D x H. A signal (T) is a curve for each channel, and its map the colour behind them.

    Attributes:
        through: the voxel, (d, h, w); read for volumes only.
        bands: see ``to_rgb``.
    """

    through: tuple[int, ...] = ()
    bands: Bands | None = None

    @classmethod
    def at_maximum(cls, values: Array, bands: Bands | None = None) -> "Plane":
        """Return the planes through the maximum of a map, (*space)."""
        return cls(tuple(int(i) for i in np.unravel_index(np.argmax(values), values.shape)), bands)

    def image(self, image: Array) -> npt.NDArray[np.uint8]:
        """Return the colours of an image (c, *space) in [0, 1]: (rows, columns, 3)."""
        if image.ndim == 2:
            return _curves(image)
        colours = to_rgb(image, self.bands)
        return self._planes(colours, 255) if image.ndim == 4 else colours

    def map(self, values: Array) -> Array:
        """Return a map, or a mask, (*space), where the image has its place: (rows, columns)."""
        if values.ndim == 1:
            return np.repeat(_columns(values)[None], CURVE[1], 0)
        return self._planes(values, 0) if values.ndim == 3 else values

    def _planes(self, values: Array, blank: int) -> Array:
        d, h, w = self.through
        planes = [values[d], values[:, h], values[:, :, w]]
        rows = max(len(plane) for plane in planes)
        gap = max(1, rows // 24)
        room = [(0, gap)] * (len(planes) - 1) + [(0, 0)]
        rest = [(0, 0)] * (planes[0].ndim - 2)
        return np.concatenate(
            [
                np.pad(plane, [(0, rows - len(plane)), side, *rest], constant_values=blank)
                for plane, side in zip(planes, room, strict=True)
            ],
            1,
        )


def _columns(values: Array) -> Array:
    """Return the value of each column of a curve's picture: of several samples in one, that of largest magnitude."""
    starts = np.arange(CURVE[0]) * len(values) // CURVE[0]
    if len(values) <= CURVE[0]:
        return values[starts]
    ends = np.append(starts[1:], len(values))
    return np.array([values[a:b][np.abs(values[a:b]).argmax()] for a, b in zip(starts, ends, strict=True)])


def _curves(signal: Array) -> npt.NDArray[np.uint8]:
    """Draw a signal, (c, T): a curve for each channel, from its least to its largest value."""
    width, height = (_FINER * side for side in CURVE)
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    shown = signal[:MOST_CURVES]
    lane = height / len(shown)
    samples = signal.shape[1]
    for number, values in enumerate(shown):
        low, high = float(values.min()), float(values.max())
        unit = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
        points = [
            ((i + 0.5) * width / samples, lane * (number + 0.9 - 0.8 * float(value))) for i, value in enumerate(unit)
        ]
        pen.line(points, fill="#1a1a1a", width=2 * _FINER, joint="curve")
    return np.asarray(sheet.resize(CURVE, Image.Resampling.LANCZOS))
