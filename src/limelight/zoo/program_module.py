"""The modules of an exported program, made again of what methods look for: layers of PyTorch, and its functions.

An exported program calls PyTorch's operators (``aten.conv2d.default``), which no mode that records calls can see, and
its layers hold weights and such calls, but are no ``nn.Conv2d``.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._ops import OpOverload
from torch.nn import functional as F

from limelight.model.parts import kind_of, parts_of, put_part

PLACES: tuple[Any, ...] = (torch, torch._C._nn, F, Tensor)  # pyright: ignore
"""Where PyTorch has its operators as functions, with the same arguments."""


def restore(module: nn.Module) -> None:
    """Put layers of PyTorch in place of those of an unflattened program, and functions in place of operators."""
    made: dict[int, nn.Module] = {}
    for name, part in list(parts_of(module, again=True)):
        graph: Any = getattr(part, "graph", None)
        if not isinstance(graph, fx.Graph):
            continue
        if name and (layer := made.get(id(part)) or _layer(part, graph)):
            made[id(part)] = layer
            put_part(module, name, layer)
            continue
        nodes: Any = graph.nodes
        for node in nodes:
            operator: Any = node.target
            if node.op == "call_function" and isinstance(operator, OpOverload):
                node.target = _function(operator)


def _layer(part: nn.Module, graph: Any) -> nn.Module | None:
    """Return the layer that a part is if it is one of weights: a single call with its input and its own tensors."""
    calls = [node for node in graph.nodes if node.op not in ("placeholder", "get_attr", "output")]
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    build = LAYERS.get(str(calls[0].target)) if len(calls) == 1 == len(inputs) else None
    if build is None or not calls[0].args or calls[0].args[0] is not inputs[0]:
        return None
    schema = calls[0].target._schema.arguments
    given: dict[str, Any] = {one.name: one.default_value for one in schema}
    given |= dict(zip((one.name for one in schema), calls[0].args, strict=False)) | calls[0].kwargs
    known = {
        key: _tensor(part, value) if isinstance(value, fx.Node) else value
        for key, value in given.items()
        if value is not inputs[0]
    }
    return build(kind_of(part), known)


def _tensor(part: nn.Module, node: fx.Node) -> Any:
    """Return the tensor of a part's own that a node stands for."""
    owner, _, name = str(node.target).rpartition(".")
    return getattr(part.get_submodule(owner), name)


def _fill_layer(layer: nn.Module, given: Mapping[str, Any], **names: str) -> nn.Module:
    """Give a layer the very same tensors as before, and return it."""
    for place, name in {"weight": "weight", "bias": "bias", **names}.items():
        if isinstance(given[name], nn.Parameter) or given[name] is None:
            layer.register_parameter(place, given[name])
        else:
            layer.register_buffer(place, given[name])
    return layer.eval()


def _linear_layer(kind: str, given: Mapping[str, Any]) -> nn.Module | None:
    if not isinstance(given["weight"], nn.Parameter):
        return None
    rows, columns = given["weight"].shape
    return _fill_layer(nn.Linear(columns, rows, given["bias"] is not None, device="meta"), given)


def _convolution_layer(kind: str, given: Mapping[str, Any]) -> nn.Module | None:
    if not isinstance(given["weight"], nn.Parameter):
        return None
    width, depth, *kernel = given["weight"].shape
    build: Any = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(kernel) - 1]
    settings = {key: _setting(given[key], len(kernel)) for key in ("stride", "padding", "dilation")}
    groups = given["groups"]
    layer = build(depth * groups, width, tuple(kernel), groups=groups, bias=False, device="meta", **settings)
    return _fill_layer(layer, given)


def _batch_norm_layer(kind: str, given: Mapping[str, Any]) -> nn.Module | None:
    build: Any = getattr(nn, kind, None)
    if given["training"] or given["weight"] is None or kind not in ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d"):
        return None
    layer = build(len(given["weight"]), given["eps"], given["momentum"], device="meta")
    layer.num_batches_tracked = torch.tensor(0)
    return _fill_layer(layer, given, running_mean="running_mean", running_var="running_var")


def _setting(value: Any, axes: int) -> Any:
    return value if isinstance(value, str) else tuple(value) * (axes // len(value))


LAYERS: dict[str, Callable[[str, Mapping[str, Any]], nn.Module | None]] = {
    "aten.linear.default": _linear_layer,
    "aten.batch_norm.default": _batch_norm_layer,
    **{f"aten.conv{n}d.{kind}": _convolution_layer for n in (1, 2, 3) for kind in ("default", "padding")},
}
"""What makes a layer of PyTorch of an operator's arguments."""


def _function(operator: Any) -> Callable[..., Any]:
    """Return the function of PyTorch's that does what an operator does; the operator if there is none."""
    if str(operator) in FUNCTIONS:
        return FUNCTIONS[str(operator)]
    name = operator._schema.name.removeprefix("aten::")
    if name.startswith(("_", "sym_")) or operator.namespace != "aten":
        return operator
    return next((getattr(place, name) for place in PLACES if hasattr(place, name)), operator)


def _cut(x: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    return x[(slice(None),) * (dim % x.ndim) + (slice(start, end, step),)]


def _convolve(x: Tensor, w: Tensor, b: Any, stride: Any, pad: Any, dilation: Any, back: bool, more: Any, n: int) -> Any:
    if back:
        return getattr(F, f"conv_transpose{w.ndim - 2}d")(x, w, b, stride, pad, more, n, dilation)
    return getattr(F, f"conv{w.ndim - 2}d")(x, w, b, stride, pad, dilation, n)


def _softmax(x: Tensor, dim: int, half: bool) -> Tensor:
    return torch.softmax(x, dim)


def _batch_norm(
    x: Tensor, w: Any, b: Any, mean: Any, var: Any, train: bool, share: float, eps: float, _: Any
) -> Tensor:
    return F.batch_norm(x, mean, var, w, b, train, share, eps)


def _fixed_norm(x: Tensor, w: Any, b: Any, mean: Any, var: Any, share: float, eps: float) -> tuple[Tensor]:
    return (F.batch_norm(x, mean, var, w, b, False, share, eps),)


def _layer_norm(x: Tensor, shape: list[int], w: Any = None, b: Any = None, eps: float = 1e-5, _: Any = 0) -> Tensor:
    return F.layer_norm(x, shape, w, b, eps)


def _native_layer_norm(x: Tensor, shape: list[int], w: Any, b: Any, eps: float) -> tuple[Tensor]:
    return (F.layer_norm(x, shape, w, b, eps),)


def _max_pool(x: Tensor, *settings: Any) -> tuple[Tensor]:
    return (torch.max_pool2d(x, *settings),)


def _group_norm(x: Tensor, groups: int, w: Any = None, b: Any = None, eps: float = 1e-5, _: Any = 0) -> Tensor:
    return F.group_norm(x, groups, w, b, eps)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "aten.slice.Tensor": _cut,
    "aten.convolution.default": _convolve,
    "aten._softmax.default": _softmax,
    "aten.batch_norm.default": _batch_norm,
    "aten._native_batch_norm_legit_no_training.default": _fixed_norm,
    "aten.layer_norm.default": _layer_norm,
    "aten.native_layer_norm.default": _native_layer_norm,
    "aten.group_norm.default": _group_norm,
    "aten.max_pool2d_with_indices.default": _max_pool,
    "aten._adaptive_avg_pool2d.default": F.adaptive_avg_pool2d,
}
"""Functions in place of operators that take their arguments otherwise, or return more, which nothing uses."""
