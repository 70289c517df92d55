"""Borrow a model and give it back as it was."""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def borrowed(module: nn.Module) -> Generator[None]:
    """Put every sub-module in evaluation mode; restore each one's own flag at the end, whatever happens.

    Inference mode is left too, since no gradient can pass through tensors made in it. Gradients are off
    inside; whoever needs them switches them on.
    """
    flags = [(m, m.training) for m in module.modules()]
    with torch.inference_mode(False), torch.no_grad():
        try:
            for m, _ in flags:
                m.training = False  # not .eval(): a user's own train() may do more than set the flag
            yield
        finally:
            for m, training in flags:
                m.training = training
