"""Borrow a model and give it back as it was."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import torch
from torch import nn


@dataclass
class _Loan:
    borrowers: int = 0
    flags: list[tuple[nn.Module, bool]] = field(default_factory=list[tuple[nn.Module, bool]])


_loans: WeakKeyDictionary[nn.Module, _Loan] = WeakKeyDictionary()
_lock = threading.Lock()


@contextmanager
def borrowed(module: nn.Module) -> Generator[None]:
    """Put every sub-module in evaluation mode; restore each one's own flag at the end, whatever happens.

    Inference mode is left too, since no gradient can pass through tensors made in it. Gradients are off
    inside; whoever needs them switches them on. Of several borrowers at a time, in threads, the last one gives the
    model back.
    """
    with torch.inference_mode(False), torch.no_grad():
        with _lock:
            loan = _loans.setdefault(module, _Loan())
            loan.borrowers += 1
            if loan.borrowers == 1:
                loan.flags = [(m, m.training) for m in module.modules()]
                for m, _ in loan.flags:
                    m.training = False  # not .eval(): a user's own train() may do more than set the flag
        try:
            yield
        finally:
            with _lock:
                loan.borrowers -= 1
                if not loan.borrowers:
                    for m, training in loan.flags:
                        m.training = training
                    del _loans[module]
