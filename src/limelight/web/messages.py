"""Messages between the server and its children: a word, and JSON, which can't make anyone run anything."""

import json
import math
from collections.abc import Mapping
from typing import Any, cast

LARGEST = 256 << 20
"""Bytes of a message, at most."""


def pack(kind: str, data: Mapping[str, Any]) -> bytes:
    """Return the bytes of a message; numbers that are not finite, which JSON lacks, become null."""
    try:
        text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    except ValueError:
        text = json.dumps(_finite(data), separators=(",", ":"))
    return f"{kind} {text}".encode()


def unpack(message: bytes) -> tuple[str, bytes]:
    """Return the word and the JSON."""
    kind, _, data = message.partition(b" ")
    return kind.decode(), data


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in cast(Mapping[Any, Any], value).items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in cast(list[Any], value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value
