"""Pictures without information, against which methods measure an image."""

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor

from limelight.core.fills import Fill
from limelight.core.supply import FillOf
from limelight.errors import InvalidOption
from limelight.shapes import Images


def _plain(given: Any) -> Any:
    """Return tensors and lists as nested tuples, which compare, and can be written to a file and read again."""
    if isinstance(given, Tensor):
        given = given.tolist()
    return tuple(_plain(part) for part in given) if isinstance(given, list | tuple) else given


def _several(given: Any) -> Any:
    plain = _plain(given)
    return plain if isinstance(plain, tuple) and _depth(plain) != 3 else (plain,)


def _depth(nested: Any) -> int:
    return 1 + _depth(nested[0]) if isinstance(nested, tuple) and nested else 0


Baseline = Annotated[Fill | tuple[tuple[tuple[float, ...], ...], ...], BeforeValidator(_plain)]
"""A fill by name, or a normalised picture as a tensor: (3, H, W), or (3, 1, 1) for a colour."""
Baselines = Annotated[tuple[Baseline, ...], BeforeValidator(_several), Field(min_length=1)]
"""One of them, or several: (k, 3, H, W), or names and tensors one after another."""


def picture(baseline: Baseline, image: Images, fill: FillOf) -> Images:
    """Return the baseline of each image, (n, 3, H, W).

    Raises:
        InvalidOption: a tensor of another size.
    """
    if isinstance(baseline, str):
        return fill(baseline)
    given = torch.tensor(baseline, dtype=image.dtype, device=image.device)
    try:
        return given.expand_as(image)
    except RuntimeError as error:
        raise InvalidOption(
            f"a baseline of shape {tuple(given.shape)} for images of {tuple(image.shape[1:])}; "
            "give one of their size, or one value per colour, (3, 1, 1)"
        ) from error


def pictures(baselines: Sequence[Baseline], image: Images, fill: FillOf) -> Tensor:
    """Return the k baselines of each image, (n, k, 3, H, W)."""
    return torch.stack([picture(one, image, fill) for one in baselines], 1)
