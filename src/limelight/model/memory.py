"""Tell before the first pass of a large input what memory it takes, by passes that have shapes but no numbers."""

import weakref
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from limelight.errors import OutOfMemory
from limelight.model.batch_runner import BatchRunner
from limelight.model.batches import measure_free
from limelight.model.feed import Feed
from limelight.model.hooks import duplicate
from limelight.model.layers import Trace
from limelight.model.outputs import Choice, Ending
from limelight.model.trace import trace
from limelight.model.weights import has_weights
from limelight.shapes import Images

LARGE = 2**22
"""Values of an input, such as 161 x 161 x 161, above which its memory is estimated before it is taken."""

RECORDED = 3
"""How many times the activations of a pass are at least kept at a time where relevance goes back through it."""

_NOTHING_SEEN = Trace((), {}, (), 0, "", 0, Ending(), False)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that are made in the block, for as long as each of them is there.

    Attributes:
        peak: the most that there were at a time.
    """

    def __init__(self) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self.peak = self._now = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # as in Arithmetic

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        there = _storages((args, kwargs))  # of weights, or counted before: a view of them is nothing new
        for place, storage in _storages(output).items():
            if place not in there:
                self._add(storage.nbytes())
                weakref.finalize(storage, self._add, -storage.nbytes())
        self.peak = max(self.peak, self._now)
        return output

    def _add(self, size: int) -> None:
        self._now += size


def _storages(tree: Any) -> dict[int, torch.UntypedStorage]:
    """Return by identity the memory of the tensors in arguments or an output, which several may view."""
    storages = [t.untyped_storage() for t in pytree.tree_leaves(tree) if isinstance(t, Tensor)]
    return {id(storage): storage for storage in storages}


def first_passes(runner: BatchRunner, x: Images, feed: Feed, choice: Choice) -> int:
    """Return the bytes that the first passes of an input of this size keep at a time, without running them.

    They are run on the device meta, by a copy of the network without numbers, as far as they go there: what depends on
    numbers ends them, most often after the peak. So it is a lower bound; what the operations need for
    themselves, by experience up to a third more, is not in it.

    Args:
        runner: passes batches through the network.
        x: an image, (1, c, *space).
        feed: gives it images.
        choice: which part of the outputs are class scores.
    """
    feed = feed[:1]
    feed = replace(feed, rows={name: row.to("meta") for name, row in feed.rows.items()})
    live = LiveBytes()
    with suppress(Exception):  # a module may do anything; its real pass says what is wrong
        twin = _without_numbers(runner.module)
        with live:
            noise = torch.empty_like(x, device="meta")
            with suppress(Exception):
                trace(twin, noise, None, feed, choice)
            with torch.no_grad():
                runner.of(twin).learn(noise, _NOTHING_SEEN, feed)
    return live.peak


def refuse_first_passes(runner: BatchRunner, x: Images, feed: Feed, choice: Choice) -> None:
    """Refuse a large input whose first passes take more memory than is free; small ones cost nothing.

    Args:
        runner: see ``first_passes``.
        x: see ``first_passes``.
        feed: see ``first_passes``.
        choice: see ``first_passes``.

    Raises:
        OutOfMemory: they do.
    """
    if x[0].numel() > LARGE and has_weights(runner.module):  # nobody's service is asked for nothing
        refuse(x, first_passes(runner, x, feed, choice), "a pass of it through the network and back")


def refuse(x: Images, needed: int, what: str) -> None:
    """Refuse what takes more memory than is free on the device of a large input, where it can be told.

    Args:
        x: the input, (1, c, *space).
        needed: bytes.
        what: takes them.

    Raises:
        OutOfMemory: more is needed.
    """
    free = measure_free(x.device) if x[0].numel() > LARGE else None
    if free is not None and needed > free:
        sides = " x ".join(map(str, x.shape[1:]))
        raise OutOfMemory(
            f"the input, {sides} values, is too large for the memory: {what} takes about {needed / 2**30:z.1f} GiB, "
            f"and {free / 2**30:z.1f} GiB are free on {x.device}; give a coarser one (size=) or a crop, or use a "
            "device with more memory"
        )


def _without_numbers(module: nn.Module) -> nn.Module:
    """Return a copy of a network on the device meta, in evaluation mode and without hooks."""
    weights = {id(t): t.detach().to("meta") for t in (*module.parameters(), *module.buffers())}
    memo = weights | {id(p): nn.Parameter(weights[id(p)], p.requires_grad) for p in module.parameters()}
    twin = duplicate(module, memo)
    for m in twin.modules():  # whoever collects what layers give gets none of this
        vars(m)["_forward_hooks"].clear()
        vars(m)["_forward_pre_hooks"].clear()
    return twin
