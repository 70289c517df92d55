"""Warnings and limits of other packages about what is judged here anyway."""

import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

_MUTED: tuple[dict[str, Any], ...] = (
    {"module": r"(?#limelight)PIL\."},  # odd metadata, large pictures
    {"message": "(?#limelight)Number of distinct clusters"},  # of nearly equal vectors one may be left without members
    {"message": "(?#limelight)Maximum number of iterations"},  # of a factorisation, whose record says so
)
_lock = threading.Lock()
_inside = 0
_added: list[Any] = []

_PILLOWS_LIMIT = 1024**3 // 4 // 3
_unlimited, _lifted = 0, False


@contextmanager
def quiet() -> Generator[None]:
    """Keep warnings of Pillow's decoders and of scikit-learn from the user during the block.

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


@contextmanager
def any_size() -> Generator[None]:
    """Put aside Pillow's own limit on pixels during the block: sizes are judged here, or don't matter.

    The limit is a global of Pillow's module, so other threads are without it too while the block lasts. One that the
    user's program has set stays.
    """
    from PIL import Image

    global _unlimited, _lifted
    with _lock:
        _unlimited += 1
        if Image.MAX_IMAGE_PIXELS == _PILLOWS_LIMIT:
            Image.MAX_IMAGE_PIXELS, _lifted = None, True
    try:
        yield
    finally:
        with _lock:
            _unlimited -= 1
            if _lifted and not _unlimited:
                _lifted = False
                if Image.MAX_IMAGE_PIXELS is None:  # or the program has set another one meanwhile
                    Image.MAX_IMAGE_PIXELS = _PILLOWS_LIMIT
