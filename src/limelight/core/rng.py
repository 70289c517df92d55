"""Random numbers: always from an explicit generator, never from the global one.

Every image of a batch gets the same draws, or draws that depend on its own pixels, so that a batch gives what
its images give one by one, and the draws are made on the CPU, so that every device gets the same.
"""

import zlib

import torch
from torch import Tensor

from limelight.shapes import Images


class Draws:
    """Random draws fixed by a seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._generator = torch.Generator().manual_seed(seed)

    def normal(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Return standard normal numbers with the device and dtype of ``like``."""
        return torch.randn(shape, generator=self._generator).to(like)

    def uniform(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Return numbers between 0 and 1 with the device and dtype of ``like``."""
        return torch.rand(shape, generator=self._generator).to(like)

    def numbered(self, number: int) -> "Draws":
        """Return draws of their own for one of many, so that none depend on the order in which they are made."""
        return Draws(zlib.crc32(f"{self._seed}/{number}".encode()))


def draws_per_image(seed: int, images: Images) -> list[Draws]:
    """Return random numbers for each image, fixed by the seed and its pixels."""
    pixels = images.detach().float().cpu().contiguous().numpy()
    return [Draws(zlib.crc32(one.tobytes(), seed)) for one in pixels]
