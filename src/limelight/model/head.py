"""Run the part of a network that lies behind one of its layers, without the part before it."""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from limelight.errors import LimelightError, OutOfMemory
from limelight.model.boundary import forward_pass
from limelight.model.classifier import Classifier
from limelight.model.hooks import Hook, Registration, attach_hooks
from limelight.model.layer_hooks import replace_tensor
from limelight.model.module_output import first_tensor
from limelight.model.preserve import preserve_state
from limelight.shapes import Images


class _Keeps(TorchFunctionMode):
    """Keeps what every call returned, without its numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.results: list[Any] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.results.append(pytree.tree_map_only(Tensor, _without_numbers, result))
        return result


class _Returns(TorchFunctionMode):
    """Returns what was kept in place of making the calls before a layer; each run has its own."""

    def __init__(self, results: list[Any]) -> None:
        super().__init__()
        self._results, self.done = results, 0

    @property
    def reached(self) -> bool:
        """Whether the run has come to the layer."""
        return self.done == len(self._results)

    def finish(self) -> None:
        """Make the calls from here on."""
        self.done = len(self._results)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.reached:
            return func(*args, **(kwargs or {}))
        self.done += 1
        return self._results[self.done - 1]


def _without_numbers(tensor: Tensor) -> Tensor:
    with torch._C.DisableTorchFunction():  # pyright: ignore[reportPrivateUsage]
        return tensor.detach().new_zeros(()).expand(tensor.shape)


class Head:
    """A network from one layer on.

    The calls before the layer are skipped: in their place stand results of the same shape and without
    numbers. Where something bypasses the layer these would reach the end, so the logits are compared once;
    ``exact`` tells. Once made it is never changed, so that threads can share it.

    Args:
        classifier: the model.
        name: of the layer.
        x: an image, (1, c, *space).
    """

    def __init__(self, classifier: Classifier, name: str, x: Images) -> None:
        self._classifier, self._layer = classifier, classifier.module.get_submodule(name)
        self.image = x.clone()  # of its own: a part of a batch would keep the whole batch
        keeps = _Keeps()
        outputs: list[Tensor] = []
        ends: list[int] = []  # of the layer's runs, of which the last counts

        def watch(_module: nn.Module, _args: Any, output: Any) -> None:
            with torch._C.DisableTorchFunction():  # pyright: ignore[reportPrivateUsage]
                outputs.append(_tensor(output).clone())  # what follows may overwrite it
            ends.append(len(keeps.results))

        given, watched = (
            x.clone(),
            attach_hooks([(self._layer.register_forward_hook, watch)]),
        )  # a network may overwrite it
        with preserve_state(classifier.module), watched, forward_pass(classifier.module, x), keeps:
            numbers = classifier.outputs.numbers(classifier.feed[:1](classifier.module, given), len(x))
        self._before, self._runs = keeps.results[: ends[-1]], len(ends)
        self.exact = self._same(outputs[-1], numbers)

    def _same(self, output: Tensor, numbers: Sequence[Tensor]) -> bool:
        twice = torch.cat([output, output])
        try:
            again = self._classifier.outputs.numbers(self(twice), 2)
        except OutOfMemory:
            raise
        except LimelightError:  # shapes don't fit: the layer is no cut through the network
            return False
        return len(again) == len(numbers) and all(map(_twice, again, numbers))

    def __call__(self, variants: Tensor, hooks: Iterable[Registration] = (), *, gradients: bool = False) -> Any:
        """Return the module's outputs for variants of the layer's output.

        Args:
            variants: in the layer's own layout.
            hooks: what watches the modules behind the layer.
            gradients: whether what comes out is in the graph of the variants.
        """
        returns, left = _Returns(self._before), self._runs

        def hand_over(_module: nn.Module, _args: Any, output: Any) -> Any:
            nonlocal left
            left -= 1
            if left:
                return None
            returns.finish()
            return replace_tensor(output, _tensor(output), variants)

        def behind(hook: Hook) -> Hook:
            return lambda *args: hook(*args) if returns.reached else None

        hooks = [(self._layer.register_forward_hook, hand_over), *((place, behind(hook)) for place, hook in hooks)]
        module = self._classifier.module
        with (
            preserve_state(module),
            torch.set_grad_enabled(gradients),
            attach_hooks(hooks),
            forward_pass(module, variants),
            returns,
        ):
            return self._classifier.feed[:1](module, self.image)


def _twice(two: Tensor, one: Tensor) -> bool:
    """Tell whether what came out for two equal images is, for each, what came out for one."""
    if two.shape != (2, *one.shape[1:]):
        return False
    return torch.allclose(two, one.expand_as(two), rtol=1e-4, atol=1e-5 * float(one.abs().max()))


def _tensor(output: Any) -> Tensor:
    tensor = output if isinstance(output, Tensor) else first_tensor(output)
    assert tensor is not None
    return tensor


@contextmanager
def overwrite_output(layer: nn.Module, edit: Callable[[Tensor], Tensor], run: int | None = None) -> Generator[None]:
    """Hand ``edit(output)`` onward in place of a layer's output in the pass of the block: of one run, or of all."""
    ran = 0

    def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
        nonlocal ran
        ran += 1
        if run not in (None, ran - 1):
            return None
        tensor = _tensor(output)
        return replace_tensor(output, tensor, edit(tensor))

    with attach_hooks([(layer.register_forward_hook, hook)]):
        yield
