"""Calls of which one input depends on the image: activations and the like."""

from collections.abc import Mapping
from typing import Any, Unpack

from torch import Tensor
from torch.utils._pytree import tree_map_only

from limelight.relevance.op import Kind
from limelight.relevance.recorder import Facts, Handler, Recorder, TorchFunction, name_of


def record_one_input(
    recorder: Recorder,
    kind: Kind,
    func: TorchFunction,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    nonnegative: bool = False,
    **facts: Unpack[Facts],
) -> Any:
    """Record a call if only its first argument depends on the image."""
    if not args:
        args, kwargs = (kwargs["input"],), {k: v for k, v in kwargs.items() if k != "input"}
    if recorder.info(args[0]) is None or any(recorder.info(a) for a in (*args[1:], *kwargs.values())):
        return NotImplemented
    dtype = args[0].dtype

    def call(x: Tensor) -> Tensor:
        """Compute the output anew; if a rule does so with more precision, weights follow."""
        rest, named = args[1:], kwargs
        if x.dtype != dtype:
            rest, named = tree_map_only(Tensor, lambda w: w.to(x.dtype) if w.is_floating_point() else w, (rest, named))
        return func(x, *rest, **named)

    return recorder.record(kind, func, [args[0]], call, nonnegative=nonnegative, **facts)


def handle_activation(nonnegative: bool = False) -> Handler:
    """Return the handler of activation functions, which may have outputs that are never negative."""

    def handle(recorder: Recorder, func: TorchFunction, args: Any, kwargs: Any) -> Any:
        """Record an activation; with inplace=True it is computed out of place, a method such as relu_ really writes."""
        kwargs = {k: v for k, v in kwargs.items() if k != "inplace"}
        positive = nonnegative or (kwargs.get("min_val", kwargs.get("min")) or -1) >= 0
        name = name_of(func)
        if name.endswith("_") and not name.endswith("__"):
            plain, rest = getattr(Tensor, name[:-1]), args[1:]

            def call(x: Tensor) -> Tensor:
                """Compute the output anew, out of place."""
                return plain(x, *rest, **kwargs)

            return recorder.record("activation", func, [args[0]], call, overwrites=True, nonnegative=positive)
        return record_one_input(recorder, "activation", func, args, kwargs, nonnegative=positive)

    return handle


def handle_clamp(recorder: Recorder, func: TorchFunction, args: Any, kwargs: Any) -> Any:
    """Record a clamp between numbers as an activation."""
    low = kwargs.get("min", args[1] if len(args) > 1 else None)
    if isinstance(low, Tensor) or isinstance(kwargs.get("max"), Tensor):
        return NotImplemented
    return handle_activation(low is not None and low >= 0)(recorder, func, args, kwargs)
