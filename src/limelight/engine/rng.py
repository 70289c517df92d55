"""Random numbers: ours from an explicit generator, those of what is not ours from the global one at a seed.

Every image of a batch gets the same draws, or draws that depend on its own pixels, so that a batch gives what
its images give one by one. Ours are made on the CPU, so that every device gets the same.
"""

import threading
import zlib
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from limelight.shapes import Images


class Draws:
    """Random draws fixed by a seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._generator = torch.Generator().manual_seed(seed)

    def normal(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Return standard normal numbers on the device of ``like`` and of its dtype, at least float32."""
        return torch.randn(shape, generator=self._generator).to(like.device, _at_least_single(like))

    def uniform(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Return numbers in [0, 1) on the device of ``like`` and of its dtype, at least float32."""
        return torch.rand(shape, generator=self._generator).to(like.device, _at_least_single(like))

    def number(self, number: int) -> "Draws":
        """Return draws of their own for one of many, so that none depend on the order in which they are made."""
        return Draws(zlib.crc32(f"{self._seed}/{number}".encode()))


def _at_least_single(like: Tensor) -> torch.dtype:
    return torch.promote_types(like.dtype, torch.float32)  # half precision rounds what is below 1/2, or 1, up to it


def draws_per_image(seed: int, images: Images) -> list[Draws]:
    """Return random numbers for each image, fixed by the seed and its pixels."""
    pixels = images.detach().float().cpu().contiguous().numpy()
    return [Draws(zlib.crc32(one.tobytes(), seed)) for one in pixels]


_global = threading.RLock()


@contextmanager
def fix_seeds(seed: int, devices: Sequence[torch.device] = ()) -> Generator[None]:
    """Let the global generators begin at a seed, and put them back behind the block; one thread at a time.

    For what is not ours and draws from them, such as the way in which layers initialise themselves.

    Args:
        seed: of the processor's generator and of those of the devices; all others are left alone.
        devices: cards on which something is drawn.
    """
    cards = [device for device in dict.fromkeys(devices) if device.type != "cpu"]
    with _global, ExitStack() as stack:
        stack.callback(torch.set_rng_state, torch.get_rng_state())
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every card
        for device in cards:
            stack.enter_context(_fix_seed_of_device(seed, device))
        yield


@contextmanager
def _fix_seed_of_device(seed: int, device: torch.device) -> Generator[None]:
    card: Any = torch.get_device_module(device)

    def here() -> Any:  # of MPS there is one only
        return card.device(device) if hasattr(card, "device") else nullcontext()

    with here():
        before = card.get_rng_state()
        card.manual_seed(seed)
    try:
        yield
    finally:
        with here():
            card.set_rng_state(before)
