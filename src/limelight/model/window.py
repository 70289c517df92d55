"""Where in a picture the network looks: the part that its preprocessing keeps."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from limelight.errors import InvalidOption
from limelight.model.inputs import Inputs

Floats = npt.NDArray[np.float64]
Window = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the picture, beyond its edges where the preprocessing pads."""


def find_window(inputs: Inputs, width: int, height: int) -> Window:
    """Find which part of a picture the preprocessing keeps.

    Of a preprocessing that is not our own this is found by giving it pictures whose grey is the position.

    Args:
        inputs: their preprocessing may be any that resizes, crops and pads.
        width: of the picture in pixels.
        height: of the picture in pixels.

    Returns:
        x0, y0, x1, y1 in pixels of the picture, to within a small part of a pixel of the network's input.

    Raises:
        InvalidOption: the preprocessing turns, mirrors or bends the picture.
    """
    known = inputs.known_window(width, height)
    if known is not None:
        return known

    def send_through(grey: npt.NDArray[Any]) -> Floats:
        picture = Image.fromarray(np.rint(grey).astype(np.uint8)).convert("RGB")
        return inputs.display(inputs.preprocess(picture)).mean(0).double().cpu().numpy() * 255

    there = send_through(np.full((height, width), 255.0)) > 250  # the rest is padding
    inner = np.zeros_like(there)
    inner[np.ix_(_middle(there.max(1)), _middle(there.max(0)))] = True
    v, u = np.nonzero(inner & there)
    if min(width, height) < 2 or len(u) < 16 or not (np.ptp(u) and np.ptp(v)):
        return 0.0, 0.0, float(width), float(height)
    # Each of two pictures grows along one axis, and a little along the other, so that rounding to 256 greys evens out.
    gains = np.array([[240 / (width - 1), 15 / (height - 1)], [15 / (width - 1), 240 / (height - 1)]])
    y, x = np.mgrid[:height, :width]
    values = np.stack([send_through(across * x + down * y)[v, u] for across, down in gains], 1)
    positions = np.linalg.solve(gains, values.T).T + 0.5
    at = np.stack([u + 0.5, v + 0.5, np.ones(len(u))], 1)
    # Rows: along u, along v, offset; columns: x, y.
    fit = np.asarray(np.linalg.lstsq(at, positions, rcond=None)[0], dtype=np.float64)
    bent = np.abs(at @ fit - positions).max(0)
    askew = (bent > 2 + 0.03 * np.array([width, height])).any() or _is_turned(fit, there)
    if fit[0, 0] <= 0 or fit[1, 1] <= 0 or askew:
        raise InvalidOption(
            "the preprocessing does more than to resize and to crop, so that nothing can be found again in the "
            "picture; give the normalised tensor (3, H, W)"
        )
    rows, columns = there.shape
    x0, y0 = fit[2]
    ends = (x0, y0, x0 + columns * fit[0, 0], y0 + rows * fit[1, 1])
    x0, y0, x1, y1 = (round(float(end), 2) + 0.0 for end in ends)
    return x0, y0, x1, y1


def place_in_picture(pixels: npt.NDArray[np.int64], size: tuple[int, int], window: Window) -> Floats:
    """Return where the centres of pixels x, y (p, 2) of the network's input lie in the picture, (p, 2).

    Args:
        pixels: of the input.
        size: height and width of the input.
        window: where that lies in the picture.
    """
    x0, y0, x1, y1 = window
    rows, columns = size
    step = np.array([(x1 - x0) / columns, (y1 - y0) / rows])
    return np.asarray((x0, y0) + (pixels + 0.5) * step, dtype=np.float64)


def place_on_picture(values: npt.NDArray[Any], window: Window, width: int, height: int) -> npt.NDArray[np.float32]:
    """Lay a map of the network's input on the picture, linearly: (height, width); 0 where the network did not look.

    Args:
        values: the map, (h, w).
        window: where in the picture the input lies.
        width: of the picture in pixels.
        height: of the picture in pixels.
    """
    rows, columns = values.shape
    x0, y0, x1, y1 = window
    across = (columns / (x1 - x0), rows / (y1 - y0))
    placed = Image.fromarray(values.astype(np.float32)).transform(
        (width, height),
        Image.Transform.AFFINE,
        (across[0], 0, -x0 * across[0], 0, across[1], -y0 * across[1]),
        Image.Resampling.BILINEAR,
    )
    return np.asarray(placed)


def _middle(kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Return where something is kept, less the ends, which resizing bends."""
    where = np.flatnonzero(kept)
    return where[len(where) // 10 : len(where) - len(where) // 10]


def _is_turned(fit: Floats, there: npt.NDArray[np.bool_]) -> bool:
    """Tell whether a straight row of the input is askew in the picture, by more than 3 % of what is seen."""
    rows, columns = there.shape
    return bool(
        abs(fit[0, 1]) * columns > 0.03 * fit[1, 1] * rows or abs(fit[1, 0]) * rows > 0.03 * fit[0, 0] * columns
    )
