"""Pictures without information, against which methods measure an image."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import BeforeValidator, Field
from torch import Tensor

from limelight.core.fills import Fill
from limelight.core.supply import FillOf
from limelight.shapes import Images


def _several(given: Any) -> Any:
    """Return a row of baselines; one by itself is a row of one, a colour (3,) is one."""
    if isinstance(given, Tensor | np.ndarray):
        return (given,) if given.ndim in (0, 1, 3) else tuple(given)
    return tuple(given) if isinstance(given, list | tuple) and _depth(given) != 3 else (given,)


def _depth(nested: Any) -> int:
    return 1 + _depth(nested[0]) if isinstance(nested, list | tuple) and nested else 0


Baseline = Fill
"""A fill: a name, a number, a normalised picture (3, H, W), a colour (3,) or (3, 1, 1), or a function of the images."""
Baselines = Annotated[tuple[Baseline, ...], BeforeValidator(_several), Field(min_length=1)]
"""One of them, or several: (k, 3, H, W), or one after another."""


def picture(baseline: Baseline, image: Images, fill: FillOf) -> Images:
    """Return the baseline of each image, (n, 3, H, W).

    Raises:
        InvalidOption: a tensor of another size, or a function that gives something else.
    """
    return fill(baseline)


def pictures(baselines: Sequence[Baseline], image: Images, fill: FillOf) -> Tensor:
    """Return the k baselines of each image, (n, k, 3, H, W)."""
    return torch.stack([picture(one, image, fill) for one in baselines], 1)
