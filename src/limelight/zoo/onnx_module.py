"""An ONNX model as a PyTorch module, whose layers have the names of the model's nodes.

The operations are converted by onnx2torch, which knows them as they were up to opset 17. What is newer is put into
older words first, and what is one layer to PyTorch becomes one.
"""

import ast
import importlib
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, fx, nn

from limelight.errors import MissingExtra, UnsupportedModel
from limelight.files import reason_of
from limelight.model.parts import put_part

NEWEST = 17
"""The set of operations that the converter knows; models with newer ones are put into it."""

OWN = "limelight"
"""Domain of operations that were added later, while a model is put into older words."""


class Slice(nn.Module):
    """Parts of a tensor along some axes."""

    def forward(
        self, x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None
    ) -> Tensor:
        """Return x[start:end:step] along each axis."""
        index = [slice(None)] * x.ndim
        axes = torch.arange(len(starts)) if axes is None else axes
        steps = torch.ones_like(starts) if steps is None else steps
        for axis, start, end, step in zip(*map(_integers, (axes, starts, ends, steps)), strict=True):
            if step < 0:  # from behind
                x, start, end = x.flip(axis), -start - 1, -end - 1
            index[axis] = slice(start, end, abs(step))
        return x[tuple(index)]


def _integers(values: Tensor) -> list[int]:
    return [int(value) for value in values]


OURS: Mapping[str, tuple[int, type[nn.Module]]] = {"Gelu": (20, nn.GELU), "Mish": (18, nn.Mish), "Slice": (10, Slice)}
"""Operations that the converter does not know, or not as PyTorch is today, from which opset on, as what."""

SCOPES = "pkg.torch.onnx.name_scopes"
"""Under which PyTorch's exporter writes down which module of the network a node comes from."""


def convert(model: Any) -> fx.GraphModule:
    """Return a module for an ONNX model, in evaluation mode.

    Args:
        model: an ``onnx.ModelProto``; it is not changed.

    Raises:
        MissingExtra: the converter is not installed.
        UnsupportedModel: the model can't be converted; the message says why, and names all operations that can't be.
    """
    onnx, onnx2torch = _packages()
    opset, newest = opset_of(model), onnx.defs.onnx_opset_version()
    if opset > newest:
        raise UnsupportedModel(f"its operations are those of opset {opset}, and {newest} is the newest that is known")
    older = _in_older_words(model, onnx)
    unknown = dict.fromkeys(_call(node, older) for node in older.graph.node if not _is_known(node, older))
    if unknown:
        raise UnsupportedModel(f"these operations have no conversion: {', '.join(unknown)}")
    try:
        module = onnx2torch.convert(older, save_input_names=all(v.name.isidentifier() for v in older.graph.input))
    except Exception as error:  # it raises many types
        raise UnsupportedModel(f"its conversion fails: {reason_of(error)}") from error
    _join_linear(module)
    _join_gelu(module)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    _name_layers(module, list(layer_names(model).values()), [node.op_type for node in model.graph.node])
    _name_outputs(module, [value.name for value in model.graph.output])
    return fx.GraphModule(module, module.graph, "ONNX").eval()


def opset_of(model: Any) -> int:
    """Return the number of a model's set of operations."""
    return next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 1)


def layer_names(model: Any) -> dict[str, str]:
    """Return the name of each node's layer, by the node's own name where it has one, else by its number.

    It is the node's name, behind the module of which PyTorch's exporter says that the node comes from it.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for i, node in enumerate(model.graph.node):
        own = node.name or node.op_type
        scope = _scope_of(node)
        name = base = f"{scope}/{own}" if scope else own
        count = 0
        while name in taken:
            count += 1
            name = f"{base}_{count}"
        taken.add(name)
        names[node.name if node.name and node.name not in names else f"{OWN}_{i}"] = name
    return names


@cache
def _packages() -> tuple[Any, Any]:
    """Return onnx and onnx2torch, taught the operators that came later."""
    try:
        onnx, onnx2torch = (importlib.import_module(name) for name in ("onnx", "onnx2torch"))
        registry: Any = importlib.import_module("onnx2torch.node_converters.registry")
        common: Any = importlib.import_module("onnx2torch.utils.common")
    except ImportError:
        raise MissingExtra("onnx2torch", "onnx") from None

    def converts(kind: type[nn.Module]) -> Any:
        def converter(node: Any, graph: Any) -> Any:
            said = {name: value for name, value in node.attributes.items() if name == "approximate"}
            return common.OperationConverterResult(kind(**said), common.onnx_mapping_from_node(node))

        return converter

    for name, (_, kind) in OURS.items():
        registry.add_converter(name, 1, OWN)(converts(kind))
    return onnx, onnx2torch


# -- before the conversion -------------------------------------------------------------------------------


def _scope_of(node: Any) -> str:
    """Return the dotted name of the module that a node comes from, as PyTorch's exporter wrote it down; "" if not."""
    said = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "[]")
    try:
        scopes = ast.literal_eval(said)
    except (ValueError, SyntaxError):
        return ""
    return str(scopes[-2]) if isinstance(scopes, list) and len(scopes) > 1 else ""  # pyright: ignore[reportUnknownArgumentType]


def _in_older_words(model: Any, onnx: Any) -> Any:
    """Return a model with operations as they were before, its nodes called by their numbers."""
    model = onnx.shape_inference.infer_shapes(model)
    for i, node in enumerate(model.graph.node):
        node.name = str(i)
        if node.domain == "" and opset_of(model) >= OURS.get(node.op_type, (math.inf,))[0]:
            node.domain = OWN
        # An axis of size 0, of which this tells, is in no picture's way.
        kept = [one for one in node.attribute if not (node.op_type == "Reshape" and one.name == "allowzero")]
        del node.attribute[:]
        node.attribute.extend(kept)
    _skip_identities(model.graph)
    _free_batch(model.graph)
    model.opset_import.append(onnx.helper.make_opsetid(OWN, 1))
    if opset_of(model) <= NEWEST:
        return model
    try:
        return onnx.version_converter.convert_version(model, NEWEST)
    except Exception as error:  # it raises what C++ throws
        raise UnsupportedModel(
            f"its operations are those of opset {opset_of(model)}, and not all can be put into opset {NEWEST}, which "
            f"the converter knows: {reason_of(error).rpartition('failed: ')[2]}"
        ) from error


def _skip_identities(graph: Any) -> None:
    """Give weights that several layers share to each of them, instead of handing them on by nodes."""
    source = {one.name: one.name for one in graph.initializer}
    outputs = {value.name for value in graph.output}
    for node in list(graph.node):
        if node.op_type == "Identity" and node.input[0] in source and node.output[0] not in outputs:
            source[node.output[0]] = source[node.input[0]]
            graph.node.remove(node)
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = source.get(name, name)


def _is_known(node: Any, model: Any) -> bool:
    version = next((one.version for one in model.opset_import if one.domain == node.domain), 1)
    registry: Any = importlib.import_module("onnx2torch.node_converters.registry")
    try:
        registry.get_converter(node.op_type, version, node.domain)
    except NotImplementedError:
        return False
    return True


def _call(node: Any, model: Any) -> str:
    """Return how messages call an operation."""
    return f"{node.domain}.{node.op_type}" if node.domain else f"{node.op_type} (opset {opset_of(model)})"


def _free_batch(graph: Any) -> None:
    """Let a graph that was made for one image take the batch's size as it comes, where it reshapes."""
    numpy_helper: Any = importlib.import_module("onnx.numpy_helper")
    known = {one.name: one for one in graph.initializer}
    known |= {n.output[0]: n.attribute[0].t for n in graph.node if n.op_type == "Constant"}
    rows = {
        value.name: value.type.tensor_type.shape.dim[0].dim_value
        for value in (*graph.value_info, *graph.input)
        if value.type.tensor_type.shape.dim
    }
    for i, node in enumerate(graph.node):
        if node.op_type != "Reshape" or rows.get(node.input[0]) != 1 or node.input[1] not in known:
            continue
        shape = numpy_helper.to_array(known[node.input[1]]).copy()
        if shape[0] == 1:
            shape[0] = 0  # as it comes
            node.input[1] = f"{OWN}_shape_{i}"
            graph.initializer.append(numpy_helper.from_array(shape, node.input[1]))


# -- after it --------------------------------------------------------------------------------------------


def _join_linear(module: fx.GraphModule) -> None:
    """Make linear layers of products with a matrix of weights, and of the vectors that are added to them."""
    for node in module.graph.nodes:
        weight = _constant(module, node.args[1]) if _operation(module, node) == "OnnxMatMul" else None
        if weight is None or weight.ndim != 2:
            continue
        linear = nn.Linear(*weight.shape, bias=False, device="meta", dtype=weight.dtype)
        linear.weight = nn.Parameter(weight.T.contiguous())
        after = next(iter(node.users)) if len(node.users) == 1 else None
        if after is not None and _operation(module, after) == "add":
            biases = (_constant(module, one) for one in after.args)
            bias = next((b for b in biases if b is not None and b.shape == weight.shape[1:]), None)
            if bias is not None:
                linear.bias = nn.Parameter(bias)
                after.replace_all_uses_with(node)
                module.graph.erase_node(after)
        put_part(module, str(node.target), linear)
        node.args = node.args[:1]


def _join_gelu(module: fx.GraphModule) -> None:
    """Make one activation of x (1 + erf(x / sqrt 2)) / 2, in whatever order it is written."""
    for node in module.graph.nodes:
        factor, parts = _factors(module, node)
        if len(parts) != 2 or abs(factor - 0.5) > 1e-4:
            continue
        for x, other in (parts, parts[::-1]):
            if _under_erf(module, other) is x:
                put_part(module, str(node.target), nn.GELU())
                node.args = (x,)


def _under_erf(module: nn.Module, node: fx.Node) -> fx.Node | None:
    """Return the x of a node that is 1 + erf(x / sqrt 2); None of any other."""
    if _operation(module, node) != "add":
        return None
    erf = next((one for one in node.args if _operation(module, one) == "OnnxErf"), None)
    if not isinstance(erf, fx.Node) or 1.0 not in [_number(module, one) for one in node.args]:
        return None
    factor, parts = _factors(module, erf.args[0])
    return parts[0] if len(parts) == 1 and abs(factor - 0.5**0.5) < 1e-4 else None


def _factors(module: nn.Module, node: Any) -> tuple[float, list[fx.Node]]:
    """Return what a node is the product of: a number, and other nodes."""
    number = _number(module, node)
    if number is not None:
        return number, []
    operation = _operation(module, node)
    if operation == "mul":
        (a, left), (b, right) = (_factors(module, one) for one in node.args)
        return a * b, left + right
    divisor = _number(module, node.args[1]) if operation == "div" else None
    if divisor:
        factor, parts = _factors(module, node.args[0])
        return factor / divisor, parts
    return 1.0, [node]


def _operation(module: nn.Module, node: Any) -> str:
    """Return what a node does: add, sub, mul or div, else the class of its module; "" if it has none."""
    if not isinstance(node, fx.Node) or node.op != "call_module":
        return ""
    called: Any = module.get_submodule(str(node.target))
    kind = type(called).__name__
    plain = kind == "OnnxBinaryMathOperation" and called.broadcast is None
    return called.math_op_function.__name__.removeprefix("_onnx_") if plain else kind


def _number(module: nn.Module, node: Any) -> float | None:
    """Return the number that a node is, None if it is not constant."""
    constant = _constant(module, node)
    return constant.item() if constant is not None and constant.numel() == 1 else None


def _constant(module: nn.Module, node: Any) -> Tensor | None:
    """Return the constant tensor that a node is, None if it is not constant."""
    constant: Any = None
    if isinstance(node, fx.Node) and node.op == "get_attr":
        constant = module.get_buffer(str(node.target))
    elif _operation(module, node) == "OnnxConstant":
        constant = getattr(module.get_submodule(str(node.target)), "value", None)
    return constant if isinstance(constant, Tensor) and constant.is_floating_point() else None


def _name_layers(module: fx.GraphModule, names: Sequence[str], kinds: Sequence[str]) -> None:
    """Call the layers, which have the numbers of the nodes, by their names, and what PyTorch does not have by kind."""
    for node in list(module.graph.nodes):
        if node.op == "call_module":
            old = str(node.target)
            i = int(old.rpartition("/")[2])
            layer: Any = module.get_submodule(old)
            if type(layer).__name__.startswith("Onnx"):
                layer._ty = kinds[i]  # as a module of an exported program says of which class it was
            module.delete_submodule(old)
            node.target = _place(module, names[i], layer)
    module.recompile()


def _place(module: nn.Module, name: str, layer: nn.Module) -> str:
    """Put a layer into a network under a name, the dots of which are levels; return the name that it could get."""
    parts = [part or "_" for part in name.split(".")]
    *levels, last = parts
    here = module
    for part in levels:
        inner = dict(here.named_children()).get(part)
        if inner is None and hasattr(here, part):  # a word that modules use themselves
            return _place(module, name.replace(".", "/") + "_", layer)
        if inner is None:
            inner = nn.Module()
            here.add_module(part, inner)
        here = inner
    if hasattr(here, last):
        return _place(module, f"{name}_", layer)
    here.add_module(last, layer)
    return ".".join(parts)


def _name_outputs(module: fx.GraphModule, names: list[str]) -> None:
    """Return several outputs by their names."""
    (end,) = (node for node in module.graph.nodes if node.op == "output")
    given: Any = end.args[0]
    if isinstance(given, list | tuple) and len(given) == len(names):  # pyright: ignore[reportUnknownArgumentType]
        end.args = (dict(zip(names, given, strict=True)),)  # pyright: ignore[reportUnknownArgumentType]
        module.recompile()
