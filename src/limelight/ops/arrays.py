"""Arrays of any origin as tensors."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def tensor_of(values: Tensor | npt.NDArray[np.generic]) -> Tensor | None:
    """Return numbers of any type and layout in memory as a tensor; None if they are no real numbers."""
    if isinstance(values, Tensor):
        return None if values.is_complex() else values.detach()
    wide: dict[str, Any] = {"b": np.bool_, "i": np.int64, "u": np.int64, "f": np.float64}
    if values.dtype.kind not in wide:
        return None
    kind = np.float32 if values.dtype == np.float32 else wide[values.dtype.kind]
    return torch.from_numpy(np.array(values, dtype=kind, order="C"))
