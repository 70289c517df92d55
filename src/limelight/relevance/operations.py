"""Which calls of a network have a rule, and what they are to it.

A handler is given the tape and the call, and records it as an operation of some kind, or returns
``NotImplemented``: then the call keeps its own gradient.
"""

import operator
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import resolve_name
from torch.utils._pytree import tree_map_only

from limelight.errors import UnsupportedModel
from limelight.relevance.op import Convolution, Op, Product

if TYPE_CHECKING:
    from limelight.relevance.tape import Tape

Handler = Callable[["Tape", Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ROUTES = _words("""
    flatten view view_as reshape reshape_as permute transpose swapaxes swapdims movedim moveaxis t T mT
    squeeze squeeze_ unsqueeze unsqueeze_ unflatten contiguous clone to _to_copy type type_as float double half bfloat16
    cpu cuda expand expand_as repeat tile chunk split tensor_split unbind narrow slice select index_select __getitem__
    roll flip pad interpolate upsample pixel_shuffle pixel_unshuffle channel_shuffle fold unfold stack hstack vstack
    dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout requires_grad_
    zeros_like ones_like empty_like full_like rand_like randn_like new_zeros new_ones new_empty new_full new_tensor
""")
"""Calls that hand each number on as it is (or make new ones that do not depend on the image)."""


@cache
def name_of(func: Callable[..., Any]) -> str:
    """The name under which users know a function, such as ``conv2d`` or ``add_``."""
    full = resolve_name(func) or getattr(func, "__name__", str(func))
    parts = full.split(".")
    return parts[-2] if parts[-1] == "__get__" else parts[-1]


# -- affine operations ------------------------------------------------------------------------------------


def _conv(dimensions: int, transposed: bool = False) -> Handler:
    def handle(tape: "Tape", func: Any, args: Any, kwargs: Any) -> Any:
        if transposed:
            x, w, b, stride, padding, outer, groups, dilation = _bound(
                args, kwargs, "input weight bias stride padding output_padding groups dilation", (None, 1, 0, 0, 1, 1)
            )
        else:
            x, w, b, stride, padding, dilation, groups = _bound(
                args, kwargs, "input weight bias stride padding dilation groups", (None, 1, 0, 1, 1)
            )
            outer = 0
        if tape.info(x) is None or tape.info(w) or tape.info(b) or x.ndim != dimensions + 2:
            return NotImplemented
        spread = partial(_spread, n=dimensions)
        if isinstance(padding, str):
            sides = [0] * dimensions
            if padding == "same":
                sides = [d * (k - 1) for d, k in zip(spread(dilation), w.shape[2:], strict=True)]
            if any(s % 2 for s in sides):  # more on the far side than on the near one
                both = [edge for s in reversed(sides) for edge in (s // 2, s - s // 2)]
                x, sides = tape.native(F.pad, (x, both), {}), [0] * dimensions
            padding = [s // 2 for s in sides]
        affine = Convolution(spread(stride), spread(padding), spread(dilation), int(groups), transposed, spread(outer))
        call = partial(_affine, affine, w, b)
        return tape.record("conv", func, [x], call, affine=affine, weight=w, bias=b)

    return handle


def _affine(affine: Convolution | Product, w: Tensor, b: Tensor | None, x: Tensor) -> Tensor:
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, w, b = x.to(dtype), w.to(dtype), None if b is None else b.to(dtype)
    return affine(x, w, b)


def _linear(tape: "Tape", func: Any, args: Any, kwargs: Any) -> Any:
    x, w, b = _bound(args, kwargs, "input weight bias", (None,))
    return _product(tape, func, x, w, b)


def _matmul(tape: "Tape", func: Any, args: Any, kwargs: Any) -> Any:
    x, w = _bound(args, kwargs, "input other", ())
    return _product(tape, func, x, w.T, None) if isinstance(w, Tensor) and w.ndim == 2 else NotImplemented


def _addmm(tape: "Tape", func: Any, args: Any, kwargs: Any) -> Any:
    if kwargs or len(args) != 3 or args[0].ndim != 1:
        return NotImplemented
    b, x, w = args
    return _product(tape, func, x, w.T, b)


def _product(tape: "Tape", func: Any, x: Any, w: Any, b: Any) -> Any:
    if tape.info(x) is None or tape.info(w) or tape.info(b) or w.ndim != 2 or x.ndim < 2:
        return NotImplemented
    affine = Product()
    return tape.record("linear", func, [x], partial(_affine, affine, w, b), affine=affine, weight=w, bias=b)


# -- normalisation ----------------------------------------------------------------------------------------


def _batch_norm(tape: "Tape", func: Any, args: Any, kwargs: Any) -> Any:
    names = "input running_mean running_var weight bias training momentum eps"
    x, mean, var, weight, bias, training, _, eps = _bound(args, kwargs, names, (None, None, False, 0.1, 1e-5))
    info = tape.info(x)
    if info is None or training or mean is None:
        return NotImplemented
    scale = (var + eps).rsqrt().detach() * (1 if weight is None else weight.detach())
    shift = -mean * scale + (0 if bias is None else bias.detach())
    wide = (1, -1, *[1] * (x.ndim - 2))

    def call(x: Tensor, *_: Tensor) -> Tensor:
        return F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps)

    before = info.op if info.op is not None and info.op.affine is not None and info.fed is not None else None
    if before is None or (isinstance(before.affine, Convolution) and before.affine.transposed):
        return tape.record("batch_norm", func, [x], call, scale=scale.view(wide))
    fed = info.fed
    assert fed is not None and before.weight is not None
    made = tape.record("batch_norm", func, [x, fed], call, scale=scale.view(wide))
    op = tape.ops[-1]
    op.depths, op.origins = op.depths[:1], op.origins[:1]
    op.nonnegative = False
    b = shift if before.bias is None else shift + scale * before.bias.detach()
    op.pair = Op(
        before.kind,
        f"{before.function} + batch_norm",
        before.owner,
        op.inputs[1:],
        op.output,
        lambda x: call(before.call(x)),
        before.depths,
        before.origins,
        before.nonnegative,
        before.images,
        before.stride,
        before.affine,
        before.weight.detach() * scale.view(-1, *[1] * (before.weight.ndim - 1)).to(before.weight),
        b,
        spent=tape.spent,
    )
    return made


def _norm(tape: "Tape", func: Any, args: Any, kwargs: Any) -> Any:
    return _of_one(tape, "norm", func, args, kwargs)


# -- one input --------------------------------------------------------------------------------------------


def _of_one(tape: "Tape", kind: Any, func: Any, args: Any, kwargs: Any, **more: Any) -> Any:
    if not args:
        args, kwargs = (kwargs["input"],), {k: v for k, v in kwargs.items() if k != "input"}
    if tape.info(args[0]) is None or any(tape.info(a) for a in (*args[1:], *kwargs.values())):
        return NotImplemented

    recorded = args[0].dtype

    def call(x: Tensor) -> Tensor:
        rest, named = args[1:], kwargs
        if x.dtype != recorded:  # a rule recomputes it with more precision; weights follow
            rest, named = tree_map_only(Tensor, lambda w: w.to(x.dtype) if w.is_floating_point() else w, (rest, named))
        return func(x, *rest, **named)

    return tape.record(kind, func, [args[0]], call, **more)


def _activation(nonnegative: bool = False) -> Handler:
    def handle(tape: "Tape", func: Any, args: Any, kwargs: Any) -> Any:
        # A function with inplace=True is computed out of place; a method such as relu_ really writes.
        kwargs = {k: v for k, v in kwargs.items() if k != "inplace"}
        positive = nonnegative or (kwargs.get("min_val", kwargs.get("min")) or -1) >= 0
        if name_of(func).endswith("_") and not name_of(func).endswith("__"):
            plain = getattr(Tensor, name_of(func)[:-1])
            rest = args[1:]
            more = {"overwrites": True, "nonnegative": positive}
            return tape.record("activation", func, [args[0]], lambda x: plain(x, *rest, **kwargs), **more)
        return _of_one(tape, "activation", func, args, kwargs, nonnegative=positive)

    return handle


def _clamp(tape: "Tape", func: Any, args: Any, kwargs: Any) -> Any:
    low = kwargs.get("min", args[1] if len(args) > 1 else None)
    if isinstance(low, Tensor) or isinstance(kwargs.get("max"), Tensor):
        return NotImplemented
    return _activation(low is not None and low >= 0)(tape, func, args, kwargs)


def _max_pool(tape: "Tape", func: Any, args: Any, kwargs: Any) -> Any:
    if kwargs.get("return_indices"):
        return NotImplemented
    info = tape.info(args[0] if args else kwargs.get("input"))
    windows = partial(_mean_of_windows, name_of(func), args[1:], kwargs)
    positions = partial(_positions, name_of(func), args[1:], kwargs)
    nonnegative = bool(info and info.nonnegative)
    return _of_one(tape, "max_pool", func, args, kwargs, nonnegative=nonnegative, windows=windows, positions=positions)


def _mean_of_windows(name: str, args: Any, kwargs: Any, x: Tensor) -> Tensor:
    if name == "amax":
        dim, keepdim = _bound(args, kwargs, "dim keepdim", ((), False))
        return x.mean(dim, keepdim)
    if name.startswith("adaptive"):
        (size,) = _bound(args, {k: v for k, v in kwargs.items() if k == "output_size"}, "output_size", ())
        return getattr(F, name.replace("max", "avg"))(x, size)
    names = "kernel_size stride padding dilation ceil_mode"
    keep = {k: v for k, v in kwargs.items() if k in names.split()}
    kernel, stride, padding, dilation, ceil_mode = _bound(args, keep, names, (None, 0, 1, False))
    if any(d != 1 for d in _spread(dilation, 1)):
        raise UnsupportedModel("a max pool with dilation can't be treated as an average")
    pool = getattr(F, name.replace("max", "avg"))
    return pool(x, kernel, stride, padding, ceil_mode, count_include_pad=False)


def _positions(name: str, args: Any, kwargs: Any, x: Tensor, y: Tensor) -> dict[int, Tensor]:
    """For each axis along which windows lie, the positions in x of each window, (windows, size); -1 beyond the edge."""
    if name == "amax":
        (dim, _) = _bound(args, kwargs, "dim keepdim", ((), False))
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
        kernel, stride, padding, dilation, *_ = _bound(args, kwargs, names, (None, 0, 1, False, False))
        steps = zip(*(_spread(given, n) for given in (kernel, stride or kernel, padding, dilation)), strict=True)
        for (side, window), (size, step, edge, apart) in zip(sides, steps, strict=True):
            at = window * step - edge + torch.arange(size, device=x.device) * apart
            tables.append(at.masked_fill((at < 0) | (at >= side), -1))
    return dict(zip(range(x.ndim - n, x.ndim), tables, strict=True))


def _avg_pool(tape: "Tape", func: Any, args: Any, kwargs: Any) -> Any:
    x = args[0] if args else kwargs.get("input")
    info = tape.info(x)
    if name_of(func) in ("mean", "sum"):
        axes = kwargs.get("dim", args[1] if len(args) > 1 else None)
        along = axes if isinstance(axes, list | tuple) else [axes]
        if axes is None or any(a % x.ndim == 0 for a in along):  # over the batch
            return NotImplemented
    return _of_one(tape, "avg_pool", func, args, kwargs, nonnegative=bool(info and info.nonnegative))


# -- several inputs ---------------------------------------------------------------------------------------


def _add(sign: int, swapped: bool = False) -> Handler:
    def handle(tape: "Tape", func: Any, args: Any, kwargs: Any) -> Any:
        if kwargs.keys() - {"alpha", "other", "input"} or kwargs.get("out") is not None:
            return NotImplemented
        a, b, alpha = _bound(args, kwargs, "input other alpha", (1,))
        weight = sign * alpha
        overwrites = name_of(func) in ("add_", "sub_", "__iadd__", "__isub__")
        known = tape.info(a), tape.info(b)
        if overwrites and known[0] is None:
            return tape.native(func, args, kwargs)

        def call(a: Any, b: Any) -> Tensor:
            return b + weight * a if swapped else a + weight * b if weight != 1 else a + b

        if known[0] and known[1]:
            positive = sign > 0 and known[0].nonnegative and known[1].nonnegative
            return tape.record("add", func, [a, b], call, overwrites=overwrites, nonnegative=positive)
        if known[0]:
            return tape.record("scale", func, [a], lambda a: call(a, b), overwrites=overwrites)
        return tape.record("scale", func, [b], lambda b: call(a, b))

    return handle


def _multiply(tape: "Tape", func: Any, args: Any, kwargs: Any) -> Any:
    a, b = _bound(args, kwargs, "input other", ())
    name = name_of(func)
    overwrites = name in ("mul_", "div_", "multiply_", "__imul__", "__itruediv__")
    quotient = name in ("div", "div_", "true_divide", "divide", "__itruediv__", "__truediv__")
    apply = operator.truediv if quotient else operator.mul
    known = tape.info(a), tape.info(b)
    if (overwrites and known[0] is None) or a is b or (quotient and known[1]):
        return NotImplemented
    if known[0] is None or known[1] is None:
        x, c = (a, b) if known[0] else (b, a)
        info = known[0] or known[1]
        assert info is not None
        positive = info.nonnegative and isinstance(c, int | float) and c >= 0
        return tape.record("scale", func, [x], lambda x: apply(x, c), overwrites=overwrites, nonnegative=positive)
    gates = [i.made_by in ("sigmoid", "sigmoid_", "hardsigmoid", "softmax", "tanh") for i in known if i]
    if gates[0] == gates[1]:
        gates = [a.numel() < b.numel(), b.numel() < a.numel()]
    if gates[0] == gates[1]:
        return NotImplemented
    return tape.record("multiply", func, [a, b], operator.mul, overwrites=overwrites, gate=gates.index(True))


def _negate(tape: "Tape", func: Any, args: Any, kwargs: Any) -> Any:
    return tape.record("scale", func, [args[0]], torch.neg)


def _cat(tape: "Tape", func: Any, args: Any, kwargs: Any) -> Any:
    parts, axis = _bound(args, {("dim" if k == "axis" else k): v for k, v in kwargs.items()}, "tensors dim", (0,))
    parts = list(parts)  # a network may go on to append to its own list
    infos = [tape.info(p) for p in parts]
    if axis % parts[0].ndim == 0:
        return NotImplemented

    def call(*given: Tensor) -> Tensor:
        moving = iter(given)
        return torch.cat([next(moving) if i else p for p, i in zip(parts, infos, strict=True)], axis)

    known = [p for p, i in zip(parts, infos, strict=True) if i]
    positive = all(i is not None and i.nonnegative for i in infos)
    return tape.record("cat", func, known, call, axis=axis, nonnegative=positive)


# -- arguments --------------------------------------------------------------------------------------------


def _bound(args: tuple[Any, ...], kwargs: dict[str, Any], names: str, defaults: Sequence[Any]) -> list[Any]:
    """Return arguments in the order of names; the last ones have defaults."""
    order = names.split()
    fallback = dict(zip(order[len(order) - len(defaults) :], defaults, strict=True))
    given = dict(zip(order, args, strict=False)) | kwargs
    return [given[n] if n in given else fallback[n] for n in order]


def _spread(value: Any, n: int) -> list[int]:
    return [int(v) for v in value] * (n // len(value)) if isinstance(value, list | tuple) else [int(value)] * n


_TABLE: list[tuple[Handler, str]] = [
    (_linear, "linear"),
    (_matmul, "matmul mm __matmul__"),
    (_addmm, "addmm"),
    *((_conv(n), f"conv{n}d") for n in (1, 2, 3)),
    *((_conv(n, transposed=True), f"conv_transpose{n}d") for n in (1, 2, 3)),
    (_batch_norm, "batch_norm"),
    (_norm, "layer_norm group_norm instance_norm local_response_norm rms_norm"),
    (_activation(nonnegative=True), "relu relu_ relu6 sigmoid sigmoid_ hardsigmoid softplus"),
    (
        _activation(),
        "hardtanh hardtanh_ leaky_relu leaky_relu_ elu elu_ selu selu_ celu prelu rrelu silu gelu mish hardswish "
        "tanh tanh_ tanhshrink softsign softshrink hardshrink threshold",
    ),
    (_clamp, "clamp clamp_min clip"),
    (_max_pool, "max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d amax"),
    (
        _avg_pool,
        "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d mean sum",
    ),
    (_add(1), "add add_ __iadd__ __radd__"),
    (_add(-1), "sub sub_ subtract"),
    (_add(-1, swapped=True), "rsub __rsub__"),
    (_negate, "neg negative"),
    (_multiply, "mul mul_ multiply __rmul__ __imul__ div div_ divide true_divide"),
    (_cat, "cat concat concatenate"),
]
HANDLERS: dict[str, Handler] = {name: handler for handler, names in _TABLE for name in _words(names)}
"""By the name of the function."""
