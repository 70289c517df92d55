"""Read activations and gradients of any layers in one forward and one backward pass."""

import sys
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from limelight.errors import UnsupportedModel
from limelight.model.boundary import beside, differentiate
from limelight.model.hooks import Hook, attach_hooks
from limelight.model.module_output import first_tensor


class LayerHooks:
    """What the watched layers gave in the latest pass, by name."""

    def __init__(self, runs: Mapping[str, int | None], wants_gradients: bool, graph_from_image: bool = False) -> None:
        self.outputs: dict[str, Tensor] = {}
        self._runs, self._ran = runs, Counter[str]()
        self._wants_gradients, self._graph_from_image = wants_gradients, graph_from_image

    def keep(self, name: str, output: Any) -> Any:
        """Keep a layer's output and hand a copy onward.

        The copy lets the network overwrite it (an in-place ReLU does) without touching what was kept. With
        gradients, the graph begins at the first watched layer: nothing before it is recorded, and the
        backward pass ends there.
        """
        self._ran[name] += 1
        if self._runs.get(name) not in (None, self._ran[name] - 1):
            return output
        tensor = first_tensor(output)
        if tensor is None:
            raise UnsupportedModel(f"layer {name!r} returns no tensor with a spatial map")
        if self._wants_gradients:
            torch.set_grad_enabled(True)
            inside = tensor.requires_grad and (self._graph_from_image or self.outputs)
            watched = tensor if inside else tensor.detach().requires_grad_()
        else:
            watched = tensor
        self.outputs[name] = watched
        return replace_tensor(output, tensor, watched.clone())

    def gradients(
        self,
        module: nn.Module,
        x: Tensor,
        score: Tensor,
        more: Mapping[str, Tensor] | None = None,
        *,
        again: bool = False,
    ) -> dict[str, Tensor]:
        """Return the gradient of a scalar with respect to every watched output, and to more tensors by name.

        Args:
            module: the model.
            x: the images that it was given.
            score: the scalar.
            more: tensors by name.
            again: whether the gradients are to be differentiated again.

        Raises:
            UnsupportedModel: the score does not depend on a layer.
        """
        at = {**self.outputs, **(more or {})}
        gradients: dict[str, Tensor] = {}
        called = {name: f"layer {name!r}" if name in self.outputs else name for name in at}
        what = " or ".join(called.values())
        computed = differentiate(module, x, score, list(at.values()), again=again, what=what)
        for name, gradient in zip(at, computed, strict=True):
            if gradient is None:
                why = beside(module, x, score, [at[name]], called[name])
                raise UnsupportedModel(f"no gradient reaches {called[name]}: {why}")
            gradients[name] = gradient
        return gradients


@contextmanager
def watch_layers(
    layers: Mapping[str, nn.Module],
    *,
    gradients: bool,
    graph_from_image: bool = False,
    runs: Mapping[str, int | None] | None = None,
) -> Generator[LayerHooks]:
    """Watch layers in the pass of the block; a layer that runs several times shows the run that is asked for.

    Without ``runs`` it is the last. With ``graph_from_image`` the graph goes on to the image, which must ask for its
    gradient.
    """
    hooks = LayerHooks(runs or {}, gradients, graph_from_image)

    def hook(name: str) -> Hook:
        def keep(_module: nn.Module, _args: Any, output: Any) -> Any:
            return hooks.keep(name, output)

        return keep

    # A hook switches gradients on in the middle of the pass; behind it they are what they were.
    with (
        torch.set_grad_enabled(graph_from_image or torch.is_grad_enabled()),
        attach_hooks((module.register_forward_hook, hook(name)) for name, module in layers.items()),
    ):
        yield hooks
    expect_all(layers, hooks.outputs)


def expect_all(layers: Iterable[str], outputs: Mapping[str, Tensor]) -> None:
    """Say which layer did not run, if one didn't.

    Raises:
        UnsupportedModel: it gave no output in this pass.
    """
    missing = next((name for name in layers if name not in outputs), None)
    if missing is not None:
        hint = "; code compiled by torch.compile may hide it" if "torch._dynamo" in sys.modules else ""
        raise UnsupportedModel(f"layer {missing!r} did not run for these images, though it did in a trial pass{hint}")


def replace_tensor(output: Any, old: Tensor, new: Tensor) -> Any:
    """Return the module's output with one tensor exchanged, in a container of the same type."""
    if output is old:
        return new
    kind = cast(Any, type(output))
    if isinstance(output, dict):
        swapped = {k: replace_tensor(v, old, new) for k, v in cast(dict[Any, Any], output).items()}
        return kind(**swapped) if kind is not dict else swapped
    if isinstance(output, list | tuple):
        given = cast(Sequence[Any], output)
        values = [replace_tensor(v, old, new) for v in given]
        return kind(*values) if hasattr(given, "_fields") else kind(values)
    return output
