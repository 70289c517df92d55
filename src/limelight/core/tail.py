"""Run the part of a network that lies behind one of its layers, without the part before it."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from limelight.core.borrow import borrowed
from limelight.core.classifier import Classifier
from limelight.core.layers import first_tensor
from limelight.core.stopwatch import in_model
from limelight.core.taps import replaced
from limelight.shapes import Images


class _Head(TorchFunctionMode):
    """Keeps what every call before a layer returned, without its numbers, and then returns that in its place."""

    def __init__(self) -> None:
        super().__init__()
        self.results: list[Any] = []
        self.cursor = 0
        self.runs = 0  # of the layer, whose last run counts
        self.end = 0  # results up to there are from before the end of that run
        self.replays = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.replays:
            if self.cursor >= self.end:
                return func(*args, **(kwargs or {}))
            self.cursor += 1
            return self.results[self.cursor - 1]
        result = func(*args, **(kwargs or {}))
        self.results.append(pytree.tree_map_only(Tensor, _without_numbers, result))
        return result


def _without_numbers(tensor: Tensor) -> Tensor:
    with torch._C.DisableTorchFunction():  # pyright: ignore[reportPrivateUsage]
        return tensor.detach().new_zeros(()).expand(tensor.shape)


class Tail:
    """A network from one layer on.

    The calls before the layer are skipped: in their place stand results of the same shape and without
    numbers. Where something bypasses the layer these would reach the end, so the logits are compared once;
    ``exact`` tells.

    Args:
        classifier: the model.
        name: of the layer.
        x: an image, (1, 3, H, W).
    """

    def __init__(self, classifier: Classifier, name: str, x: Images) -> None:
        self._classifier, self.image, self._layer = classifier, x, classifier.module.get_submodule(name)
        self._head = _Head()
        outputs: list[Tensor] = []

        def watch(_module: nn.Module, _args: Any, output: Any) -> None:
            with torch._C.DisableTorchFunction():  # pyright: ignore[reportPrivateUsage]
                outputs.append(_tensor(output).clone())  # what follows may overwrite it
            self._head.runs, self._head.end = self._head.runs + 1, len(self._head.results)

        handle = self._layer.register_forward_hook(watch)
        try:
            with borrowed(classifier.module), self._head:
                logits = classifier.logits(classifier.module(x))
        finally:
            handle.remove()
        del self._head.results[self._head.end :]
        self._head.replays = True
        self.exact = self._same(outputs[-1], logits)

    @property
    def reached(self) -> bool:
        """Whether the run that is going on has come to the layer."""
        return self._head.cursor == self._head.end

    def _same(self, output: Tensor, logits: Tensor) -> bool:
        twice = torch.cat([output, output])
        try:
            again = self._classifier.logits(self(twice))
        except (RuntimeError, ValueError, IndexError):  # shapes don't fit: the layer is no cut through the network
            return False
        return again.shape == (2, *logits.shape[1:]) and torch.allclose(
            again, logits.expand_as(again), rtol=1e-4, atol=1e-5 * float(logits.abs().max())
        )

    def __call__(self, variants: Tensor) -> Any:
        """Return the module's outputs for variants of the layer's output."""
        head = self._head
        head.cursor, left = 0, head.runs

        def hand_over(_module: nn.Module, _args: Any, output: Any) -> Any:
            nonlocal left
            left -= 1
            if left:
                return None
            head.cursor = head.end
            return replaced(output, _tensor(output), variants)

        handle = self._layer.register_forward_hook(hand_over)
        try:
            with borrowed(self._classifier.module), in_model(variants.device), head:
                return self._classifier.module(self.image)
        finally:
            handle.remove()


def _tensor(output: Any) -> Tensor:
    found = output if isinstance(output, Tensor) else first_tensor(output)
    assert found is not None
    return found


@contextmanager
def overwritten(layer: nn.Module, edit: Callable[[Tensor], Tensor]) -> Generator[None]:
    """Hand ``edit(output)`` onward in place of a layer's output for the duration of the block."""

    def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
        found = _tensor(output)
        return replaced(output, found, edit(found))

    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
