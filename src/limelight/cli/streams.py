"""The terminal or pipe that a command was given, whatever its state."""

import codecs
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

_PLAIN = {
    "→": "->", "←": "<-", "↑": "^", "↓": "v", "·": "-", "–": "-", "—": "-", "−": "-", "…": "...", "•": "*",
    "×": "x", "✓": "OK", "’": "'", "‘": "'", "“": '"', "”": '"',
}  # fmt: skip
"""What our own lines have beyond ASCII, for a terminal that has no more."""


def _replace_unprintable(error: UnicodeError) -> tuple[str, int]:
    """Write characters that an encoding lacks as they are known everywhere, or as escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lacking), error.end


codecs.register_error("limelight", _replace_unprintable)


def open_all() -> None:
    """Give the process an input, an output and an error stream, if it was started without.

    The next file that it opens would have the number of the lacking one, and get what is printed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number


@contextmanager
def printable() -> Generator[None]:
    """Let everything be printed that has an escape in the stream's encoding, instead of raising."""
    streams: list[Any] = [s for s in (sys.stdout, sys.stderr) if hasattr(s, "reconfigure")]
    before = [s.errors for s in streams]
    for stream in streams:
        stream.reconfigure(errors="limelight")
    try:
        yield
    finally:
        for stream, errors in zip(streams, before, strict=True):
            if not stream.closed:
                stream.reconfigure(errors=errors)


def hang_up() -> None:
    """Let nothing more be written to an output that nobody reads: Python would complain when it ends."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nothing, stream.fileno())
