"""Hold finished rows for a while before they become a file: all files are read when a run goes on."""

import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager

from limelight.bench.store import Record, Store

HOLD_SECONDS = 0.02, 30.0
"""How long finished rows are held: seconds per file that is there, and at most."""


class Holding:
    """Rows that are on their way to a store.

    Args:
        store: where they go.
    """

    def __init__(self, store: Store) -> None:
        self._store, self._rows = store, list[Record]()
        self._last, self._files = time.perf_counter(), len(store.files)

    def add(self, rows: Iterable[Record]) -> None:
        """Hold finished rows, and write all that are held if it is time."""
        self._rows += rows
        if time.perf_counter() - self._last > min(HOLD_SECONDS[0] * self._files, HOLD_SECONDS[1]):
            self.write()

    def write(self) -> None:
        """Write what is held."""
        held, self._rows = self._rows, []
        self._store.add(held)
        self._last, self._files = time.perf_counter(), self._files + bool(held)


@contextmanager
def holding(store: Store) -> Generator[Holding]:
    """Hold rows for a store; whatever happens, those that are finished are written in the end."""
    held = Holding(store)
    try:
        yield held
    finally:
        held.write()
