"""Pictures without information, against which methods measure an image."""

from collections.abc import Sequence
from typing import Annotated, Any, cast

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BeforeValidator, Field
from torch import Tensor

from limelight.engine.baselines import Fill, depth
from limelight.engine.needs import FillOf
from limelight.errors import InvalidOption
from limelight.shapes import Images


def _as_row(given: Any) -> Any:
    """Return a row of baselines; one by itself is a row of one, and so are a colour (3,) and a picture."""
    if isinstance(given, Tensor | np.ndarray):
        array = cast(Tensor | npt.NDArray[Any], given)
        return (array,) if array.ndim in (0, 1, 3) else tuple(array)
    if isinstance(given, list | tuple) and depth(given) != 3:
        return tuple(cast(Sequence[Any], given))
    return (given,)


Baseline = Fill
"""One of them: see ``baselines.Fill``."""
Baselines = Annotated[tuple[Baseline, ...], BeforeValidator(_as_row), Field(min_length=1)]
"""One of them, or several: a list, or a tensor (k, 3, H, W). A tensor (3,) is one colour."""


def pictures(baselines: Sequence[Baseline], image: Images, fill: FillOf) -> Tensor:
    """Return the k baselines of each image, (n, k, 3, H, W).

    Raises:
        InvalidOption: a tensor of another size, a function that gives something else, or as many numbers as there are
            colours, which may be meant as several greys or as one colour.
    """
    if len(baselines) == image.shape[1] > 1 and all(isinstance(one, int | float) for one in baselines):
        raise InvalidOption(
            f"baseline={tuple(baselines)} may be {len(baselines)} greys or one colour; give a tensor "
            f"({len(baselines)},) for the colour, or ({len(baselines)}, 1, 1, 1) for the greys"
        )
    return torch.stack([fill(one) for one in baselines], 1)
