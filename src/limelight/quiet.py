"""Warnings of other packages about what is judged here anyway."""

import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

_MUTED: tuple[dict[str, Any], ...] = (
    {"module": r"(?#limelight)PIL\."},  # odd metadata, large pictures
    {"message": "(?#limelight)Number of distinct clusters"},  # of nearly equal vectors one may be left without members
)
_lock = threading.Lock()
_inside = 0
_added: list[Any] = []


@contextmanager
def quiet() -> Generator[None]:
    """Keep warnings of Pillow's decoders and of scikit-learn's K-means from the user during the block.

    ``warnings.catch_warnings`` would do for one thread. Of several, the one that is done last puts back what another
    had changed for a while, and so all warnings may stay mute for good.
    """
    global _inside
    with _lock:
        _inside += 1
        if _inside == 1:
            for which in _MUTED:
                warnings.filterwarnings("ignore", **which)
            _added[:] = warnings.filters[: len(_MUTED)]
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                filters = cast(list[Any], warnings.filters)
                filters[:] = [f for f in filters if not any(f is one for one in _added)]
