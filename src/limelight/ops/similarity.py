"""How alike two maps are."""

import numpy as np
import torch
from torch import Tensor

from limelight.ops.arrays import from_numpy
from limelight.ops.linalg import vector_norm
from limelight.ops.scale import divide, min_max
from limelight.ops.scikit_image import structural_similarity
from limelight.shapes import Flags, Maps, Scores


def _flat(maps: Maps) -> Tensor:
    return maps.flatten(1).double()


def constant(maps: Maps) -> Flags:
    """Tell which maps have the same value everywhere, up to rounding."""
    return min_max(maps)[1]


def pearson(a: Maps, b: Maps) -> Scores:
    """Return the correlation of two maps' values, image by image; NaN where one of them is constant."""
    u, v = (_flat(m) - _flat(m).mean(1, keepdim=True) for m in (a, b))
    r = divide((u * v).sum(1), vector_norm(u, 2, 1) * vector_norm(v, 2, 1), torch.nan)
    return r.clamp(-1, 1).masked_fill(constant(a) | constant(b), torch.nan).to(a.dtype)


def spearman(a: Maps, b: Maps) -> Scores:
    """Return the correlation of two maps' ranks (equal values share theirs); NaN where one is constant."""
    from scipy import stats  # takes a second to be imported

    ranked = [from_numpy(stats.rankdata(m.flatten(1).cpu().numpy(), axis=1)).view(m.shape) for m in (a, b)]
    r = pearson(*ranked).to(a)
    return r.masked_fill(constant(a) | constant(b), torch.nan)


def ssim(a: Maps, b: Maps, window: int = 11) -> Scores:
    """Return the structural similarity of two maps, each scaled to [0, 1]; NaN where one is constant.

    Args:
        a: (n, *space).
        b: (n, *space).
        window: side in pixels; pictures that are smaller take their largest odd side, and of a window of one pixel
            the means are all that is compared. Axes of a single pixel are none.

    Source: Wang et al. 2004, by scikit-image.
    """
    (u, flat_u), (v, flat_v) = min_max(a), min_max(b)
    size = [side for side in a.shape[1:] if side > 1] or [1]
    u, v = u.reshape(-1, *size), v.reshape(-1, *size)
    side = min(window, *size)
    side -= 1 - side % 2
    pairs = zip(u.double().cpu().numpy(), v.double().cpu().numpy(), strict=True)
    sample = side > 1  # of one value there is no unbiased variance
    values = np.array([structural_similarity(p, q, side, sample=sample) for p, q in pairs])
    return from_numpy(values).to(a).masked_fill(flat_u | flat_v, torch.nan)
