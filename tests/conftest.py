"""Shared fixtures."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SHARED = Path(os.environ.get("LIMELIGHT_SHARED", Path(__file__).parents[2] / "shared"))
"""Reference outputs, weights and pictures that are too large or too restricted to ship with the code."""


def shared(*parts: str) -> Path:
    """Return a path under the shared folder, or skip the test if this machine lacks it."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs reference data ({'/'.join(parts)}); set LIMELIGHT_SHARED to the folder that has it")
    return path


def npz(*parts: str) -> Any:
    """Return the arrays of a file in the shared folder; the file is closed."""
    return np.load(io.BytesIO(shared(*parts).read_bytes()))
