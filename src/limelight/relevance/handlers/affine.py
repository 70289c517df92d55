"""Convolutions and products with a matrix."""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from limelight.relevance.affine import Convolution, Product
from limelight.relevance.handlers.arguments import arrange, one_per_axis
from limelight.relevance.handlers.attention import record_product
from limelight.relevance.recorder import Handler, Recorder, TorchFunction


def handle_convolution(dimensions: int, transposed: bool = False) -> Handler:
    """Return the handler of convolutions over so many axes."""

    def handle(recorder: Recorder, func: TorchFunction, args: Any, kwargs: Any) -> Any:
        """Record a convolution; padding that differs from side to side is a call of its own before it."""
        if transposed:
            x, w, b, stride, padding, outer, groups, dilation = arrange(
                args, kwargs, "input weight bias stride padding output_padding groups dilation", (None, 1, 0, 0, 1, 1)
            )
        else:
            x, w, b, stride, padding, dilation, groups = arrange(
                args, kwargs, "input weight bias stride padding dilation groups", (None, 1, 0, 1, 1)
            )
            outer = 0
        if recorder.info(x) is None or recorder.info(w) or recorder.info(b) or x.ndim != dimensions + 2:
            return NotImplemented
        spread = partial(one_per_axis, n=dimensions)
        if isinstance(padding, str):
            sides = [0] * dimensions
            if padding == "same":
                sides = [d * (k - 1) for d, k in zip(spread(dilation), w.shape[2:], strict=True)]
            if any(s % 2 for s in sides):  # more on the far side than on the near one
                both = [edge for s in reversed(sides) for edge in (s // 2, s - s // 2)]
                x, sides = recorder.call_natively(F.pad, (x, both), {}), [0] * dimensions
            padding = [s // 2 for s in sides]
        affine = Convolution(spread(stride), spread(padding), spread(dilation), int(groups), transposed, spread(outer))
        return recorder.record("conv", func, [x], partial(_apply, affine, w, b), affine=affine, weight=w, bias=b)

    return handle


def handle_linear(recorder: Recorder, func: TorchFunction, args: Any, kwargs: Any) -> Any:
    """Record ``linear``."""
    x, w, b = arrange(args, kwargs, "input weight bias", (None,))
    return _record_product(recorder, func, x, w, b)


def handle_matmul(recorder: Recorder, func: TorchFunction, args: Any, kwargs: Any) -> Any:
    """Record a product with a constant matrix, or of others."""
    x, w = arrange(args, kwargs, "input other", ())
    if recorder.info(x) is not None and recorder.info(w) is None and w.ndim == 2 and x.ndim >= 2:
        return _record_product(recorder, func, x, w.T, None)
    return record_product(recorder, func, (x, w), {})


def handle_addmm(recorder: Recorder, func: TorchFunction, args: Any, kwargs: Any) -> Any:
    """Record ``addmm`` with a vector as bias."""
    if kwargs or len(args) != 3 or args[0].ndim != 1:
        return NotImplemented
    b, x, w = args
    return _record_product(recorder, func, x, w.T, b)


def _record_product(recorder: Recorder, func: TorchFunction, x: Any, w: Any, b: Any) -> Any:
    """Record x W^T + b, if only x depends on the image."""
    if recorder.info(x) is None or recorder.info(w) or recorder.info(b) or w.ndim != 2 or x.ndim < 2:
        return NotImplemented
    affine = Product()
    return recorder.record("linear", func, [x], partial(_apply, affine, w, b), affine=affine, weight=w, bias=b)


def _apply(affine: Convolution | Product, w: Tensor, b: Tensor | None, x: Tensor) -> Tensor:
    """Apply an affine operation in the precision that autocast asks for."""
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, w, b = x.to(dtype), w.to(dtype), None if b is None else b.to(dtype)
    return affine(x, w, b)
