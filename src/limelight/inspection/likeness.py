"""How alike two explanation maps are in where they look: vectors whose distance says it."""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from limelight.errors import InvalidMap

Floats = npt.NDArray[np.float32]
Booleans = npt.NDArray[np.bool_]


def check_maps(maps: npt.ArrayLike) -> Floats:
    """Return maps (n, h, w) as they are.

    Raises:
        InvalidMap: another number of axes, NaN or infinite numbers.
    """
    given = np.asarray(maps, dtype=np.float32)
    if given.ndim != 3 or min(given.shape[1:], default=0) < 2:
        raise InvalidMap(f"maps are an array (n, height, width), of 2 x 2 cells or more, not of shape {given.shape}")
    if not np.isfinite(given).all():
        raise InvalidMap("maps have finite values, not NaN or infinity")
    return given


def usable(maps: Floats) -> Booleans:
    """Tell which maps (n, h, w) say where they look: those with positive relevance that is not alike everywhere."""
    high, low = np.maximum(maps.max((1, 2)), 0), np.maximum(maps.min((1, 2)), 0)
    return np.asarray(high - low > 1e-6 * high)


def shares(maps: Floats) -> Floats:
    """Return the share that each cell has in a map's positive relevance: p = max(m, 0) / sum max(m, 0).

    Negative relevance, which speaks against the class, is left out.

    Args:
        maps: (n, h, w), each usable.

    Returns:
        (n, h, w), each of sum 1.
    """
    positive = np.maximum(maps, 0)
    positive = positive / positive.max((1, 2), keepdims=True)  # so that no sum is infinite, or 0
    return positive / positive.sum((1, 2), keepdims=True)


def signatures(p: Floats) -> Floats:
    """Return vectors x of length 1: the root of the blurred map, less its mean over the cells.

    r = sqrt(G p), with a Gaussian G of one cell, or a sixteenth of the map if that is more, so that what moves by a
    cell stays near; x = (r - mean r) / |r - mean r|. Without the mean, |x - y|^2 / 2 would be the squared Hellinger
    distance of two blurred maps; with it, it is 1 less the correlation of their roots, and maps that look everywhere,
    or nowhere in particular, are far from each other rather than near.

    Args:
        p: (n, h, w), as ``shares`` returns them.

    Returns:
        (n, h * w).
    """
    sigma = max(1.0, max(p.shape[1:]) / 16)
    root = np.sqrt(gaussian_filter(p, (0, sigma, sigma), mode="reflect", truncate=3.0)).reshape(len(p), -1)
    root -= root.mean(1, keepdims=True)
    return root / np.maximum(np.linalg.norm(root, axis=1, keepdims=True), 1e-12)


def resolutions(p: Floats, x: Floats) -> Floats:
    """Return how far each map is from itself moved by a cell, along the axis where that is farther.

    Maps nearer than that are at the same place. Along each axis the nearer of both directions counts, as the other may
    lead across the edge.

    Args:
        p: (n, h, w), as ``shares`` returns them.
        x: their signatures, (n, h * w).

    Returns:
        (n,).
    """
    by_axis = [
        np.minimum(*(np.linalg.norm(x - signatures(np.roll(p, step, axis)), axis=1) for step in (1, -1)))
        for axis in (1, 2)
    ]
    return np.maximum(*by_axis)


def distances(x: Floats, y: Floats | None = None) -> Floats:
    """Return |x_i - y_j| between unit vectors (n, z) and (m, z), or among x: (n, m)."""
    apart = np.sqrt(np.maximum(2 - 2 * (x @ (x if y is None else y).T), 0))
    if y is None:
        np.fill_diagonal(apart, 0)
    return apart
