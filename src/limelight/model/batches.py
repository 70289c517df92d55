"""Work in chunks that fit the memory."""

import functools
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch

from limelight.errors import LimelightError, OutOfMemory, is_out_of_memory

P = ParamSpec("P")
T = TypeVar("T")

SMALLER = "use a smaller input or model"
"""What to do where memory runs out."""

SHARE_OF_FREE_MEMORY = 0.25
LARGEST_CHUNK = 64  # beyond it no processor gains, and a mistake in the estimate costs more
PER_CPU_THREAD = 4  # images at once: more of them fall out of the processor's cache and are slower
_MEMORY = Path("/proc/meminfo")
_CONTAINER = Path("/sys/fs/cgroup")
CACHED = 2**25  # activations per image in bytes; of smaller images more fit


def free_bytes(device: torch.device) -> int:
    """Return the memory that is free on a device, in bytes, where it can't be measured a guess."""
    free = measure_free(device)
    if free is not None:
        return free
    if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 2**31  # unknown system: assume little


def measure_free(device: torch.device) -> int | None:
    """Return the memory that is free on a device, in bytes; None where nobody says."""
    if device.type == "cuda":  # what PyTorch has taken and does not use is free too
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    if device.type != "cpu" or not _MEMORY.exists():
        return None
    # Linux counts what caches files as taken, and gives it up when asked for memory.
    available = re.search(r"MemAvailable: *(\d+) kB", _MEMORY.read_text())
    return int(min(1024 * int(available[1]), _left_to_container())) if available else None


def _left_to_container() -> int | float:
    """Return the bytes that the limit of a container (cgroup) leaves; infinity without one."""
    try:
        most, taken = (int((_CONTAINER / f"memory.{name}").read_text()) for name in ("max", "current"))
        cached = re.findall(r"^(?:in)?active_file (\d+)$", (_CONTAINER / "memory.stat").read_text(), re.MULTILINE)
    except (OSError, ValueError):  # there is none, or its limit is "max"
        return math.inf
    return max(0, most - taken + sum(map(int, cached)))


def chunk_size(
    bytes_per_sample: int, device: torch.device, largest: int = LARGEST_CHUNK, per_thread: int = PER_CPU_THREAD
) -> int:
    """Return how many samples to push at once, given what one of them keeps alive, at most ``largest``.

    On a processor no more than ``per_thread`` of large samples for each thread.
    """
    fits = int(SHARE_OF_FREE_MEMORY * free_bytes(device) / max(1, bytes_per_sample))
    if device.type == "cpu":
        fits = min(fits, per_thread * torch.get_num_threads() * max(1, CACHED // max(1, bytes_per_sample)))
    return max(1, min(largest, fits))


def as_fit(given: int, bytes_per_sample: int, device: torch.device) -> int:
    """Return how many of the samples that are wanted at once the memory has room for, at least one.

    A graphics card says when it is full, and chunks are halved; a processor's system ends the program without a word.
    """
    if device.type == "cuda":
        return given
    return max(1, min(given, int(2 * SHARE_OF_FREE_MEMORY * free_bytes(device) / max(1, bytes_per_sample))))


def name_out_of_memory(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function say in one line that memory ran out, wherever it did; ``OutOfMemory`` takes the error's place."""

    @functools.wraps(function)
    def named(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            if isinstance(error, LimelightError) or not is_out_of_memory(error):
                raise
            clear = OutOfMemory(f"memory ran out; {SMALLER}")
            vars(clear).update(vars(error))  # such as what was finished before
            raise clear from error

    return named


def in_chunks(work: Callable[[slice], T], n: int, size: int) -> list[T]:
    """Call ``work`` on consecutive slices of ``range(n)``; halve the slices when memory runs out.

    Raises:
        OutOfMemory: a single sample does not fit.
    """
    results: list[T] = []
    start, size = 0, min(size, n)
    while start < n:
        try:
            results.append(work(slice(start, min(n, start + size))))
            start += size
            continue
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if size == 1:
                raise OutOfMemory(f"memory ran out with a single image; {SMALLER}") from error
        # Only now, when the exception is gone and with it whatever its frames held on to.
        size //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return results
