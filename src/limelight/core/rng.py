"""Random numbers: always from an explicit generator, never from the global one.

Every image of a batch gets the same draws, so that a batch gives what its images give one by one, and the
draws are made on the CPU, so that every device gets the same.
"""

import torch
from torch import Tensor


class Draws:
    """Random draws fixed by a seed."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def normal(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Return standard normal numbers with the device and dtype of ``like``."""
        return torch.randn(shape, generator=self._generator).to(like)
