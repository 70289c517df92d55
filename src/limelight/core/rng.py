"""Random numbers: always from an explicit generator, never from the global one.

Every image of a batch gets the same draws, or draws that depend on its own pixels, so that a batch gives what
its images give one by one, and the draws are made on the CPU, so that every device gets the same.
"""

import threading
import zlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager

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


_global = threading.RLock()


@contextmanager
def seeded(seed: int, devices: Sequence[torch.device] = ()) -> Generator[None]:
    """Let the global generators begin at a seed, and put them back behind the block; one thread at a time.

    For what is not ours and draws from them, such as the way in which layers initialise themselves.

    Args:
        seed: of the processor's generator and of those of the devices.
        devices: those whose generators are put back too.
    """
    with _global, torch.random.fork_rng(devices=[d for d in devices if d.type == "cuda"]):
        torch.manual_seed(seed)
        yield
