"""Sums, products and concatenations, of what depends on the image or with constants."""

from typing import Any

import torch
from torch import Tensor

from limelight.relevance.handlers.arguments import arrange
from limelight.relevance.recorder import Handler, Recorder, TorchFunction, name_of


def handle_sum(sign: int, swapped: bool = False) -> Handler:
    """Return the handler of a + b (sign 1) or a - b (sign -1), or of b - a if swapped."""

    def handle(recorder: Recorder, func: TorchFunction, args: Any, kwargs: Any) -> Any:
        """Record a sum, or the addition of a constant as a shift."""
        if kwargs.keys() - {"alpha", "other", "input"} or kwargs.get("out") is not None:
            return NotImplemented
        a, b, alpha = arrange(args, kwargs, "input other alpha", (1,))
        weight = sign * alpha
        overwrites = name_of(func) in ("add_", "sub_", "__iadd__", "__isub__")
        of_a, of_b = recorder.info(a), recorder.info(b)
        if overwrites and of_a is None:
            return recorder.call_natively(func, args, kwargs)

        def add(a: Any, b: Any) -> Tensor:
            """Compute the sum of any two operands."""
            return b + weight * a if swapped else a + weight * b if weight != 1 else a + b

        if of_a and of_b:
            positive = sign > 0 and of_a.nonnegative and of_b.nonnegative
            return recorder.record("add", func, [a, b], add, overwrites=overwrites, nonnegative=positive)
        if of_a:
            return recorder.record("shift", func, [a], lambda a: add(a, b), overwrites=overwrites)
        return recorder.record("shift", func, [b], lambda b: add(a, b))

    return handle


def handle_product(recorder: Recorder, func: TorchFunction, args: Any, kwargs: Any) -> Any:
    """Record a product of a signal and its gate, of two activations, or with a constant; or a quotient."""
    a, b = arrange(args, kwargs, "input other", ())
    name = name_of(func)
    overwrites = name in ("mul_", "div_", "multiply_", "__imul__", "__itruediv__")
    quotient = name in ("div", "div_", "true_divide", "divide", "__itruediv__", "__truediv__")
    of_a, of_b = recorder.info(a), recorder.info(b)
    if (overwrites and (of_a is None or a is b)) or (quotient and of_b and not of_a):
        return NotImplemented
    if quotient and of_b:
        return recorder.record("quotient", func, [a, b], torch.div, overwrites=overwrites)
    if of_a is None or of_b is None:
        x, c = (a, b) if of_a else (b, a)
        info = of_a or of_b
        assert info is not None
        positive = info.nonnegative and isinstance(c, int | float) and c >= 0

        def scale(x: Tensor) -> Tensor:
            """Compute the product or quotient of any operand."""
            return x / c if quotient else x * c

        return recorder.record("scale", func, [x], scale, overwrites=overwrites, nonnegative=positive)
    gates = [bool(of_a.gate), bool(of_b.gate)]
    if gates[0] == gates[1]:
        gates = [a.numel() < b.numel(), b.numel() < a.numel()]
    if gates[0] == gates[1]:
        return recorder.record("product", func, [a, b], torch.mul, overwrites=overwrites)
    return recorder.record("multiply", func, [a, b], torch.mul, overwrites=overwrites, gate=gates.index(True))


def handle_negation(recorder: Recorder, func: TorchFunction, args: Any, kwargs: Any) -> Any:
    """Record -x as a scale."""
    return recorder.record("scale", func, [args[0]], torch.neg)


def handle_concatenation(recorder: Recorder, func: TorchFunction, args: Any, kwargs: Any) -> Any:
    """Record what is joined along any axis but the batch; constants among the parts stay as they are."""
    parts, axis = arrange(args, {("dim" if k == "axis" else k): v for k, v in kwargs.items()}, "tensors dim", (0,))
    parts = list(parts)  # a network may go on to append to its own list
    infos = [recorder.info(p) for p in parts]
    if axis % parts[0].ndim == 0:
        return NotImplemented

    def join(*inputs: Tensor) -> Tensor:
        """Compute the output anew from the parts that depend on the image."""
        moving = iter(inputs)
        return torch.cat([next(moving) if i else p for p, i in zip(parts, infos, strict=True)], axis)

    moving = [p for p, i in zip(parts, infos, strict=True) if i]
    positive = all(i is not None and i.nonnegative for i in infos)
    return recorder.record("cat", func, moving, join, axis=axis, nonnegative=positive)
