"""What the comparisons with installed packages share."""

import importlib
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

PACKAGES = {"pytorch_grad_cam": "grad-cam"}


def peer(name: str) -> ModuleType:
    """Return a module of another package, or skip the test where it is not installed."""
    top = name.partition(".")[0]
    pytest.importorskip(top, reason=f"needs the package {PACKAGES.get(top, top)}, of the extra peers")
    return importlib.import_module(name)


def both(name: str) -> tuple[ModuleType, ModuleType]:
    """Return a module of another package and its counterpart here."""
    return peer(name), importlib.import_module(f"limelight.compat.{name.replace('pytorch_grad_cam', 'grad_cam')}")


def close(ours: Any, theirs: Any, tolerance: float) -> None:
    """Compare as shares of their largest magnitude, with type and shape."""
    ours, theirs = torch.as_tensor(ours), torch.as_tensor(theirs).detach()
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    assert theirs.abs().max() > 0
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance * float(theirs.abs().max()))


def correlation(a: Any, b: Any) -> float:
    """Of all values of two arrays."""
    pair = torch.stack([torch.as_tensor(v).detach().double().flatten() for v in (a, b)])
    return float(torch.corrcoef(pair)[0, 1])


def exactly(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same, NaN included."""
    return torch.equal(a.nan_to_num(7.5), b.nan_to_num(7.5))
