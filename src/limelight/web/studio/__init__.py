"""What the page asks of networks: done in a child process, told in dictionaries that can be written as JSON.

``FUNCTIONS`` holds a generator for every question, which is given a ``Studio`` and the request, and yields words and
dictionaries: ``progress``, ``partial`` and at last ``result``. What can't be done is a ``LimelightError``. Bytes are
written in base64.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limelight.web.studio.functions import FUNCTIONS
    from limelight.web.studio.studio import Studio

_HOME = {"FUNCTIONS": "functions", "Studio": "studio"}

__all__ = ["FUNCTIONS", "Studio"]


if not TYPE_CHECKING:  # so that the catalogue costs no import of PyTorch

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
