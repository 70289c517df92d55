"""Borrow a model and give it back as it was."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class _Loan:
    """A module that is lent: to so many borrowers, and its own flag, which it gets back from the last."""

    module: nn.Module
    training: bool
    borrowers: int = 0


_roots: dict[int, tuple[list[nn.Module], int]] = {}
"""By identity the modules that are borrowed as a whole: their parts, and by how many."""
_loans: dict[int, _Loan] = {}
"""By identity each of these parts, which may lie in several of them."""
_lock = threading.Lock()


@contextmanager
def borrowed(module: nn.Module) -> Generator[None]:
    """Put every sub-module in evaluation mode; restore each one's own flag at the end, whatever happens.

    Inference mode is left too, since no gradient can pass through tensors made in it. Gradients are off
    inside; whoever needs them switches them on. Of several borrowers at a time, in threads, of the module or of
    others with which it shares parts, the last one gives each part back.
    """
    with torch.inference_mode(False), torch.no_grad():
        with _lock:
            _take(module)
        try:
            yield
        finally:
            with _lock:
                _give_back(module)


def _take(root: nn.Module) -> None:
    if id(root) in _roots:
        parts, borrowers = _roots[id(root)]
        _roots[id(root)] = parts, borrowers + 1
        return
    parts: list[nn.Module] = []
    _roots[id(root)] = parts, 1
    try:
        for m in root.modules():
            loan = _loans.setdefault(id(m), _Loan(m, m.training))
            loan.borrowers += 1
            parts.append(m)
            if m.training:
                m.training = False  # not .eval(): a user's own train() may do more than set the flag
    except BaseException:
        _give_back(root)
        raise


def _give_back(root: nn.Module) -> None:
    parts, borrowers = _roots[id(root)]
    if borrowers > 1:
        _roots[id(root)] = parts, borrowers - 1
        return
    del _roots[id(root)]
    for m in parts:
        loan = _loans[id(m)]
        loan.borrowers -= 1
        if not loan.borrowers:
            del _loans[id(m)]
            if m.training != loan.training:
                m.training = loan.training
