"""Pictures as sums of waves."""

from typing import Any, cast

import torch
from torch import Tensor

_fft = cast(Any, torch.fft)  # which has no types


def to_waves(x: Tensor) -> Tensor:
    """Return the complex amplitudes of real pictures, (…, h, w), at their frequencies, (…, h, w // 2 + 1)."""
    return _fft.rfft2(x)


def from_waves(waves: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the real pictures, (…, h, w), of ``to_waves``."""
    return _fft.irfft2(waves, s=size)


def correlate(a: Tensor, b: Tensor) -> Tensor:
    """Return sum_p a(p) b(p - s) for all shifts s, round the edges: (…, h, w)."""
    size = (int(b.shape[-2]), int(b.shape[-1]))
    return from_waves(to_waves(a) * to_waves(b).conj(), size)
