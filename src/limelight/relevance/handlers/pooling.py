"""Maxima and means of windows, and over whole axes."""

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from limelight.errors import UnsupportedModel
from limelight.relevance.handlers.arguments import arrange, one_per_axis
from limelight.relevance.handlers.one_input import record_one_input
from limelight.relevance.recorder import Recorder, TorchFunction, name_of


def handle_max_pool(recorder: Recorder, func: TorchFunction, args: Any, kwargs: Any) -> Any:
    """Record a maximum with the means and the positions of its windows."""
    if kwargs.get("return_indices"):
        return NotImplemented
    info = recorder.info(args[0] if args else kwargs.get("input"))
    return record_one_input(
        recorder,
        "max_pool",
        func,
        args,
        kwargs,
        nonnegative=bool(info and info.nonnegative),
        windows=partial(_average_windows, name_of(func), args[1:], kwargs),
        positions=partial(_positions, name_of(func), args[1:], kwargs),
    )


def _average_windows(name: str, args: Any, kwargs: Any, x: Tensor) -> Tensor:
    """Return the mean of each window of a maximum."""
    if name == "amax":
        dim, keepdim = arrange(args, kwargs, "dim keepdim", ((), False))
        return x.mean(dim, keepdim)
    if name.startswith("adaptive"):
        (size,) = arrange(args, {k: v for k, v in kwargs.items() if k == "output_size"}, "output_size", ())
        return getattr(F, name.replace("max", "avg"))(x, size)
    names = "kernel_size stride padding dilation ceil_mode"
    keep = {k: v for k, v in kwargs.items() if k in names.split()}
    kernel, stride, padding, dilation, ceil_mode = arrange(args, keep, names, (None, 0, 1, False))
    if any(d != 1 for d in one_per_axis(dilation, 1)):
        raise UnsupportedModel("a max pool with dilation can't be treated as an average")
    pool = getattr(F, name.replace("max", "avg"))
    return pool(x, kernel, stride, padding, ceil_mode, count_include_pad=False)


def _positions(name: str, args: Any, kwargs: Any, x: Tensor, y: Tensor) -> dict[int, Tensor]:
    """Return what lies in each window, by axis: the positions in x, (windows, size), with -1 beyond the edge."""
    if name == "amax":
        (dim, _) = arrange(args, kwargs, "dim keepdim", ((), False))
        dims = range(x.ndim) if dim == () else [dim] if isinstance(dim, int) else dim
        return {d % x.ndim: torch.arange(x.shape[d], device=x.device)[None] for d in dims}
    n = int(name[-2])
    sides = [(x.shape[axis], torch.arange(y.shape[axis], device=x.device)[:, None]) for axis in range(-n, 0)]
    tables: list[Tensor] = []
    if name.startswith("adaptive"):
        for side, window in sides:
            start, end = window * side // len(window), -(-(window + 1) * side // len(window))
            at = start + torch.arange(int((end - start).max()), device=x.device)
            tables.append(at.masked_fill(at >= end, -1))
    else:
        names = "kernel_size stride padding dilation ceil_mode return_indices"
        kernel, stride, padding, dilation, *_ = arrange(args, kwargs, names, (None, 0, 1, False, False))
        steps = zip(*(one_per_axis(of, n) for of in (kernel, stride or kernel, padding, dilation)), strict=True)
        for (side, window), (size, step, edge, apart) in zip(sides, steps, strict=True):
            at = window * step - edge + torch.arange(size, device=x.device) * apart
            tables.append(at.masked_fill((at < 0) | (at >= side), -1))
    return dict(zip(range(x.ndim - n, x.ndim), tables, strict=True))


def handle_average(recorder: Recorder, func: TorchFunction, args: Any, kwargs: Any) -> Any:
    """Record a mean or sum, of windows or over axes other than the batch."""
    x = args[0] if args else kwargs.get("input")
    info = recorder.info(x)
    if name_of(func) in ("mean", "sum"):
        axes = kwargs.get("dim", args[1] if len(args) > 1 else None)
        along = cast(Sequence[Any], axes) if isinstance(axes, list | tuple) else [axes]
        if axes is None or any(a % x.ndim == 0 for a in along):  # over the batch
            return NotImplemented
    return record_one_input(recorder, "avg_pool", func, args, kwargs, nonnegative=bool(info and info.nonnegative))
