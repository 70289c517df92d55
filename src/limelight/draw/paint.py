"""Paint one saliency map, alone or on its picture."""

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor, ImageFilter

from limelight.draw.assets import palette
from limelight.errors import InvalidImage, InvalidOption

__all__ = ["Mode", "Picture", "colorize", "contour", "outline_mask", "overlay", "signed", "top_region"]

Array = npt.NDArray[Any]

Picture = Image.Image | Array
"""An RGB image, or an array (H, W, 3): uint8, or float in [0, 1]."""

Mode = Literal["blend", "flat", "fade"]

GREEN = "#39ff14"
"""Of an outline: what hardly any picture has."""

_SLACK = 1e-4  # rounding of float32 arithmetic beyond [0, 1]


def colorize(values: Array, cmap: str = "inferno") -> npt.NDArray[np.uint8]:
    """Return the colours of a map, shape (H, W, 3).

    Args:
        values: shape (H, W), in [0, 1]; 0 gets the first colour and 1 the last.
        cmap: name of a Matplotlib colour map; the default is perceptually uniform.

    Raises:
        InvalidOption: an unknown colour map, or a map of another shape or range.
    """
    return palette(cmap)[np.rint(_unit_map(values) * 255).astype(np.intp)]


def overlay(
    image: Picture, values: Array, *, cmap: str = "inferno", alpha: float = 0.7, mode: Mode = "blend"
) -> Image.Image:
    """Show a map on its picture.

    Args:
        image: the picture, H x W.
        values: the map, shape (H, W), in [0, 1].
        cmap: name of a Matplotlib colour map.
        alpha: strength in [0, 1]; 0 leaves the picture as it is.
        mode: ``"blend"`` lays the colours over the picture, more opaque where the map is higher: where it
            is 0 the picture is untouched, where it is 1 the opacity is ``alpha``. ``"flat"`` lays them
            with the same opacity everywhere. ``"fade"`` uses no colours: the picture keeps its own
            where the map is 1 and fades towards black by ``alpha`` where it is 0.

    Raises:
        InvalidImage: ``image`` is not an RGB picture.
        InvalidOption: an option out of its range, or a map that does not fit the picture.
    """
    picture, map_values = _pair(image, values)
    if mode not in get_args(Mode):
        raise InvalidOption(f"there is no mode {mode!r}; use one of {', '.join(get_args(Mode))}")
    if not 0 <= alpha <= 1:
        raise InvalidOption(f"alpha is {alpha}; it must be in [0, 1]")
    lit = np.ones_like(map_values) if mode == "flat" else np.sqrt(map_values)  # the root keeps weak areas visible
    opacity = alpha * (1 - lit if mode == "fade" else lit)
    colours = 0 if mode == "fade" else colorize(map_values, cmap) / 255
    opacity = opacity[..., None]
    return _to_image(picture * (1 - opacity) + colours * opacity)


def signed(values: Array, *, cmap: str = "seismic", limit: float | None = None) -> Image.Image:
    """Show a raw map: red is for the class and blue against it, with 0 in the exact middle of the colours.

    Args:
        values: shape (H, W), finite, of any sign.
        cmap: name of a diverging Matplotlib colour map.
        limit: the magnitude that gets the strongest colour; larger ones are cut off. Default: the largest
            magnitude of the map. Give the same one to maps that are to be compared.

    Raises:
        InvalidOption: an unknown colour map, a map of another shape or with NaN, or a limit that is not
            above 0.
    """
    values = _map(values)
    if limit is not None and not limit > 0:
        raise InvalidOption(f"limit is {limit}; it must be above 0")
    # A map of zeros has no scale of its own; any will do.
    scale = limit or float(np.abs(values).max()) or 1.0
    steps = np.rint(128 * (1 + np.clip(values / scale, -1, 1))).astype(np.intp)
    return Image.fromarray(palette(cmap, 257)[steps])  # an odd number of colours has a middle one


def top_region(values: Array, top: float = 0.1) -> npt.NDArray[np.bool_]:
    """Return the mask, shape (*space), of the ``top`` share of the pixels with the highest values.

    Exactly ``round(top * size)`` pixels (at least one) are in it: of equal values that compete for the
    last places, those nearer the top left win.

    Raises:
        InvalidOption: ``top`` is not in (0, 1], or a map without values or with NaN.
    """
    values = _finite(values)
    if not 0 < top <= 1:
        raise InvalidOption(f"top is {top}; it must be above 0 and at most 1 (0.1: a tenth of the pixels)")
    count = max(1, round(top * values.size))
    mask = np.zeros(values.size, bool)
    mask[np.argsort(-values, axis=None, kind="stable")[:count]] = True
    return mask.reshape(values.shape)


def contour(image: Picture, values: Array, *, top: float = 0.1, color: str = GREEN, width: int = 2) -> Image.Image:
    """Outline the part of a picture where its map is highest.

    The line lies around the region, which is the share ``top``; see :func:`outline_mask`.

    Args:
        image: the picture, H x W.
        values: the map, shape (H, W), finite.
        top: share of the pixels inside, see :func:`top_region`.
        color: a colour name or ``#rrggbb``.
        width: of the line, in pixels.

    Raises:
        InvalidImage: ``image`` is not an RGB picture.
        InvalidOption: an option out of its range, or a map that does not fit the picture.
    """
    return outline_mask(image, top_region(_pair(image, values, unit=False)[1], top), color=color, width=width)


def outline_mask(image: Picture, mask: Array, *, color: str = "#ffffff", width: int = 2) -> Image.Image:
    """Outline a region of a picture, such as where an object is.

    The line lies around the region, so that of a small one nothing is hidden, and on its last pixels at the picture's
    edge; a dark pixel beyond keeps it visible on any background. Of several regions each has a line of its own, also
    where they touch or overlap.

    Args:
        image: the picture, H x W.
        mask: the region, shape (H, W), or several, (regions, H, W); what is not 0 belongs to it.
        color: a colour name or ``#rrggbb``.
        width: of the line, in pixels.

    Raises:
        InvalidImage: ``image`` is not an RGB picture.
        InvalidOption: an option out of its range, or a mask that does not fit the picture.

    Example:
        >>> import numpy as np
        >>> from limelight import draw
        >>> half = np.tile([0, 0, 0, 1, 1, 1], (4, 1))
        >>> np.asarray(draw.outline_mask(np.zeros((4, 6, 3)), half, width=1))[1, :, 0].tolist()
        [0, 0, 255, 0, 0, 255]
    """
    regions = [_pair(image, one, unit=False) for one in (mask if mask.ndim == 3 and len(mask) else mask[None])]
    picture = regions[0][0]
    if width < 1:
        raise InvalidOption(f"width is {width}; it must be at least 1")
    try:
        line = ImageColor.getrgb(color)[:3]
    except ValueError as error:
        raise InvalidOption(f"{color!r} is not a colour; give a name such as 'lime' or '#39ff14'") from error
    line_at, edge_at = np.zeros((2, *picture.shape[:2]), dtype=np.bool_)
    at_edge = np.ones_like(line_at)
    at_edge[1:-1, 1:-1] = False
    for _, values in regions:
        inside = values != 0
        around = _grow(inside, width)
        line_at |= around & ~inside
        line_at |= inside & at_edge
        edge_at |= _grow(inside, width + 1) & ~around
    picture[edge_at] *= 0.35
    picture[line_at] = np.array(line) / 255
    return _to_image(picture)


def _grow(mask: npt.NDArray[np.bool_], by: int) -> npt.NDArray[np.bool_]:
    """Extend a mask by some pixels."""
    padded = Image.fromarray(np.pad(mask, by).astype(np.uint8))
    return np.asarray(padded.filter(ImageFilter.MaxFilter(2 * by + 1)))[by:-by, by:-by] > 0


def _map(values: Array) -> Array:
    """Check a map and return it as float64."""
    if values.ndim != 2 or values.size == 0:
        raise InvalidOption(f"the map has shape {values.shape}; give one map of shape (H, W)")
    return _finite(values)


def _finite(values: Array) -> Array:
    if values.size == 0 or values.dtype.kind not in "fiub" or not np.isfinite(values).all():
        raise InvalidOption("the map has values that are not finite real numbers")
    return values.astype(np.float64)


def _unit_map(values: Array) -> Array:
    values = _map(values)
    low, high = float(values.min()), float(values.max())
    if low < -_SLACK or high > 1 + _SLACK:
        raise InvalidOption(f"the map has values from {low:g} to {high:g}; scale it to [0, 1] first")
    return np.clip(values, 0, 1)


def _pair(image: Picture, values: Array, unit: bool = True) -> tuple[Array, Array]:
    """Return picture (H, W, 3) and map (H, W) as fresh float64 arrays, the picture in [0, 1]."""
    picture = np.asarray(image)
    if picture.ndim != 3 or picture.shape[2] != 3:
        raise InvalidImage(f"the image has shape {picture.shape}; give an RGB picture, (H, W, 3)")
    if picture.dtype == np.uint8:
        picture = picture / 255
    elif picture.dtype.kind != "f" or not (picture.min() >= -_SLACK and picture.max() <= 1 + _SLACK):
        raise InvalidImage(f"the image ({picture.dtype}) must be uint8, or float in [0, 1] without NaN")
    map_values = _unit_map(values) if unit else _map(values)
    if map_values.shape != picture.shape[:2]:
        raise InvalidOption(
            f"the map is {map_values.shape[0]} x {map_values.shape[1]} but the image {picture.shape[0]} x "
            f"{picture.shape[1]} (height x width); resize the map first"
        )
    return np.clip(picture.astype(np.float64), 0, 1), map_values


def _to_image(picture: Array) -> Image.Image:
    return Image.fromarray(np.rint(picture * 255).astype(np.uint8))
