"""Whether relevance stays at one place over many pictures: entropies of maps and of their mean."""

import numpy as np
import numpy.typing as npt

from limelight.errors import InvalidMap
from limelight.inspection.likeness import check_maps, shares, usable

Floats = npt.NDArray[np.floating]


def entropy(p: Floats) -> npt.NDArray[np.float64]:
    """Return H(p) = -sum_x p(x) log p(x) in nats, over the last two axes: (..., h, w) of sum 1 -> (...)."""
    positive = np.asarray(p, dtype=np.float64)
    logs = np.log(positive, where=positive > 0, out=np.zeros_like(positive))
    return -(positive * logs).sum((-2, -1))


def position_entropy(maps: npt.ArrayLike) -> float:
    """Return how far relevance is spread over positions: H(p) / log(h w), where p is the mean share of relevance.

    Args:
        maps: (n, h, w), or one (h, w). Maps without positive relevance, or with the same everywhere, are left out.

    Returns:
        In [0, 1]: 0 where one cell has all relevance, 1 where all cells have as much.

    Raises:
        InvalidMap: not maps, not finite, or none left.
    """
    p = _shares(np.asarray(maps)[None] if np.ndim(maps) == 2 else maps)
    return float(entropy(p.mean(0)) / np.log(p[0].size))


def fixedness(maps: npt.ArrayLike) -> float:
    """Return how far relevance stays at one place: 1 - I / I_max.

    I = H(mean_i p_i) - mean_i H(p_i) is the mutual information of picture and position: how much a position, drawn by
    relevance, tells which picture it is from (the Jensen-Shannon divergence of the maps; Lin 1991, section 4). It is 0
    where all maps are alike, and I_max = min(log n, log(h w) - mean_i H(p_i)) at most, where no two of n maps overlap,
    or together they cover the picture evenly.

    Args:
        maps: (n, h, w). Those without positive relevance, or with the same everywhere, are left out.

    Returns:
        In [0, 1]: 1 for a mark that stays, near 0 for what may be anywhere; NaN for fewer than two maps.

    Raises:
        InvalidMap: not maps, not finite, or none left.
    """
    p = _shares(maps)
    if len(p) < 2:
        return float("nan")
    own = float(entropy(p).mean())
    most = min(np.log(len(p)), np.log(p[0].size) - own)
    return float(np.clip(1 - (entropy(p.mean(0, dtype=np.float64)) - own) / most, 0, 1))


def _shares(maps: npt.ArrayLike) -> Floats:
    given = check_maps(maps)
    valid = usable(given)
    if not valid.any():
        raise InvalidMap("no map has positive relevance that differs between cells")
    return shares(given[valid]).astype(np.float64)
