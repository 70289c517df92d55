"""How long a model itself works: the time inside of its forward and backward passes."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter
from typing import Any

import torch


class Stopwatch:
    """Adds up the time of passes; on a GPU that of the GPU itself, which is not waited for."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._events: list[tuple[Any, Any]] = []
        self._inside = threading.local()  # whether this thread is within a pass that is added already
        self._adding = threading.Lock()

    @property
    def seconds(self) -> float:
        """Time of all passes that have begun and ended."""
        with self._adding:
            for start, end in self._events:
                end.synchronize()
                self._seconds += start.elapsed_time(end) / 1000
            self._events.clear()
            return self._seconds

    @contextmanager
    def passing(self, device: torch.device) -> Generator[None]:
        """Add the time of the block, unless it is within another that is added already."""
        if getattr(self._inside, "a_pass", False):
            yield
            return
        self._inside.a_pass = True
        on_gpu = device.type == "cuda"
        start = _event(device) if on_gpu else perf_counter()
        try:
            yield
        finally:
            self._inside.a_pass = False
            with self._adding:
                if on_gpu:
                    self._events.append((start, _event(device)))
                else:
                    self._seconds += perf_counter() - start


def _event(device: torch.device) -> Any:
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(device))
    return event


_watch: ContextVar[Stopwatch | None] = ContextVar("stopwatch", default=None)


@contextmanager
def timed_passes() -> Generator[Stopwatch]:
    """Measure the passes of all models during the block, of this thread."""
    watch = Stopwatch()
    token = _watch.set(watch)
    try:
        yield watch
    finally:
        _watch.reset(token)


@contextmanager
def in_model(device: torch.device) -> Generator[None]:
    """Say that the block is a pass through a model, for whoever measures."""
    watch = _watch.get()
    if watch is None:
        yield
        return
    with watch.passing(device):
        yield
