"""A training that goes on as if nobody had looked."""

import random
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from limelight.errors import UnsupportedModel
from limelight.model.parts import kind_of
from limelight.model.weights import device_of, version_of

SHARDED = ("FullyShardedDataParallel", "DTensor")
"""What splits weights among processes, of which none can pass a picture alone."""


@contextmanager
def same_draws() -> Generator[None]:
    """Put back the states of the generators of torch, NumPy and Python, from which layers and loggers may draw."""
    untyped = cast(Any, torch.random)
    cards = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # that of code that draws from it
    try:
        with untyped.fork_rng(cards):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


@contextmanager
def undisturbed(module: nn.Module) -> Generator[None]:
    """Let a network be explained between two steps of its training, outside of autocast.

    Modes, hooks and gradients are preserved by whoever explains. Here it is the buffers, which the network's own code
    may change in a pass, also in evaluation mode.

    Raises:
        UnsupportedModel: its weights are split among processes.
    """
    _refuse_sharded(module)
    own = vars(module)
    wrapped = own.get("forward") if "_original_forward" in own else None  # by accelerate, whose own passes use autocast
    with torch.autocast(device_of(module).type, enabled=False), _buffers_of(module):
        try:
            if wrapped is not None:
                own["forward"] = own["_original_forward"]
            yield
        finally:
            if wrapped is not None:
                own["forward"] = wrapped


@contextmanager
def _buffers_of(module: nn.Module) -> Generator[None]:
    """Put back buffers that were written to, or for which others were put in their place."""
    own = [buffers for m in module.modules() if (buffers := vars(m).get("_buffers"))]
    before = [{name: (b, None if b is None else (version_of(b), b.clone())) for name, b in one.items()} for one in own]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffers, known in zip(own, before, strict=True):
                for name, (buffer, content) in known.items():
                    buffers[name] = buffer
                    if content is not None and version_of(buffer) != content[0]:
                        buffer.copy_(content[1])


def _refuse_sharded(module: nn.Module) -> None:
    split = {kind_of(m) for m in module.modules()} | {type(p).__name__ for p in module.parameters()}
    if split & {*SHARDED} or any(hasattr(p, "ds_id") for p in module.parameters()):  # the mark of DeepSpeed's ZeRO-3
        raise UnsupportedModel(
            f"the weights of {kind_of(module)} are split among processes (FSDP, DTensor or ZeRO-3), none of which can "
            "explain alone; explain a checkpoint that has all of them"
        )
