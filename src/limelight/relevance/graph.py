"""The calls of one forward pass that depend on the image, entered in the autograd graph as they are made."""

import copy
from collections.abc import Generator, Sequence
from typing import Any, Unpack, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from limelight.model.boundary import behind
from limelight.model.parts import parts_of
from limelight.ops.space import height_of
from limelight.relevance.handlers.table import HANDLERS, ROUTES
from limelight.relevance.op import Arithmetic, Compute, Kind, Op
from limelight.relevance.propagation import Propagation, enter_graph
from limelight.relevance.recorder import NO_RULE, Computation, Facts, TensorInfo, TorchFunction, Unruled, name_of
from limelight.shapes import Images

GATES = frozenset({"sigmoid", "sigmoid_", "hardsigmoid", "softmax", "tanh", "erf"})
"""Functions whose outputs gate what they are multiplied with."""

NORMALISERS = frozenset({"softmax", "log_softmax", "sigmoid", "logsigmoid"})
"""Functions that turn logits into probabilities at the end of a network; relevance starts before them."""

SCRIPTED, UNSEEN = "scripted code", "code that can't be seen (a scripted or compiled function, an extension)"
"""How calls of them are named."""

NO_GRADIENTS, NO_CALLS = "it runs without gradients", "no call in it can be seen"
"""What may be the matter with a call, beside that no rule is known."""


class Graph:
    """Records the calls of a network one by one; a ``Recorder`` for the handlers of calls.

    Args:
        module: the network.
        image: the images, a leaf of the autograd graph.
        propagation: what every recorded call asks for the rule in force.

    Attributes:
        ops: the recorded calls in their order.
        unruled: calls without a rule.
        spent: counts the arithmetic of affine operations.
        number: how many calls depended on the image so far.
    """

    def __init__(self, module: nn.Module, image: Images, propagation: Propagation) -> None:
        self.image = image
        self.ops: list[Op] = []
        self.unruled: list[Unruled] = []
        self.spent = Arithmetic()
        self.number = 0
        self._propagation = propagation
        self._info: Any = WeakTensorKeyDictionary({image: TensorInfo()})
        self._constants: Any = WeakTensorKeyDictionary()  # tensors with a graph that does not begin at the image
        self._holders: dict[int, list[Op]] = {}
        self._names = {id(m): name for name, m in parts_of(module)}
        self._owners: list[str] = []
        self._counted = False  # whether what is recorded are the parts of a call that has been counted

    # -- what is known ---------------------------------------------------------------------------------

    @property
    def owner(self) -> str:
        """Dotted name of the module that is at work."""
        return self._owners[-1] if self._owners else ""

    def info(self, t: object) -> TensorInfo | None:
        """Return what is known of a tensor, or None if it does not depend on the image."""
        return self._info[t] if isinstance(t, Tensor) and t in self._info else None

    def depends(self, t: Tensor) -> bool:
        """Return whether a tensor depends on the image, as far as its gradient tells.

        What comes out of code of which no call was seen would pass for a constant, and its share be lost.
        """
        if t in self._info:
            if self._info[t].returned:
                self._note_return(t)
            return True
        if t.grad_fn is None or t in self._constants:
            return False
        last = [n for n in behind([t], self._depth_of) if self._depth_of(n)]
        if not last:  # made of parameters alone
            self._constants[t] = True
            return False
        own = type(t.grad_fn).__name__.removesuffix("Backward")
        name = own if isinstance(t.grad_fn, torch.autograd.function.BackwardCFunction) else UNSEEN
        self._note_unruled(name, NO_CALLS, hidden=True)
        depth = max(map(self._depth_of, last)) - 1
        self._info[t] = TensorInfo(depth, self.number, owner=self.owner, made_by=name)
        return True

    def _note_return(self, t: Tensor) -> None:
        """Note by whose gradient relevance passes what a function returned as it was given; it has that one by now."""
        self._info[t].returned = False
        own = isinstance(t.grad_fn, torch.autograd.function.BackwardCFunction)
        name = type(t.grad_fn).__name__.removesuffix("Backward") if own else self._info[t].made_by
        if name != "BackwardHookFunction":  # PyTorch's, around modules with backward hooks, hands gradients on
            self._note_unruled(name, NO_RULE if own else NO_GRADIENTS)

    def _note_unruled(self, name: str, why: str, *, hidden: bool = False) -> None:
        """Note a call without a rule."""
        self.unruled.append(Unruled(name, self.owner, self.number, why, hidden))

    def _depth_of(self, node: Any) -> int:
        """Return one more than the affine operations before a recorded call's node or the image's; 0 for others."""
        op = getattr(node, "op", None)
        if isinstance(op, Op):
            return 1 + max(op.depths) + (op.affine is not None)
        return int(getattr(node, "variable", None) is self.image)

    # -- which module is at work -----------------------------------------------------------------------

    def enter(self, module: nn.Module) -> None:
        """Note that a module begins to work."""
        if id(module) in self._names:
            self._owners.append(self._names[id(module)])

    def leave(self, module: nn.Module, args: Any, output: Any) -> None:
        """Note that a module is done; what scripted code did is not seen otherwise."""
        if id(module) not in self._names:
            return
        if isinstance(module, torch.jit.ScriptModule):
            infos = [self._info[t] for t in tensors(args) if t in self._info]
            if infos:
                self._note_unruled(SCRIPTED, NO_CALLS, hidden=True)
                for t in tensors(output):
                    self._info[t] = TensorInfo(max(i.depth for i in infos), self.number, owner=self.owner)
        self._owners.pop()

    # -- calls -----------------------------------------------------------------------------------------

    def call(self, func: TorchFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make one call of the network, recorded if it depends on the image."""
        if not [t for t in tensors((args, kwargs)) if self.depends(t)]:
            return func(*args, **kwargs)
        self.number += not self._counted
        handler = HANDLERS.get(name_of(func))
        if handler and torch.is_grad_enabled():
            result = handler(self, func, args, kwargs)
            if result is not NotImplemented:
                return result
        return self.call_natively(func, args, kwargs)

    def call_natively(self, func: TorchFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make a call that keeps its own gradient: one that routes, or one without a rule."""
        name = name_of(func)
        overwrites = (name.endswith("_") and not name.endswith("__")) or name in ("__setitem__", "__iadd__", "__imul__")
        if overwrites and isinstance(args[0], Tensor):
            self._keep_values(args[0])
        inputs = [t for t in tensors((args, kwargs)) if t in self._info]
        infos = [self._info[t] for t in inputs]
        result = func(*args, **kwargs)
        made = [t for t in tensors(args[0] if overwrites else result) if t.is_floating_point()]
        if not made:
            return result
        routes = name in ROUTES
        returned = name == "view_as" and args[0] is args[-1] and not torch.is_grad_enabled()
        moves = any(t.requires_grad for t in inputs) or not torch.is_grad_enabled()  # more than the shape of an image
        if moves and not returned and not (routes and torch.is_grad_enabled()):
            self._note_unruled(name, NO_RULE if torch.is_grad_enabled() else NO_GRADIENTS)
        gates = {i.gate for i in infos}
        source = inputs[0] if name in (*NORMALISERS, "flatten", "squeeze") else infos[0].source if routes else None
        for t in made:
            self._info[t] = TensorInfo(
                max(i.depth for i in infos),
                self.number,
                routes and all(i.nonnegative for i in infos),
                infos[0].owner if routes and len(infos) == 1 else self.owner,
                made_by=infos[0].made_by if routes and len(infos) == 1 and name not in NORMALISERS else name,
                gate=gates.pop() if routes and len(gates) == 1 else "",
                source=source,
                returned=returned,
            )
        return result

    def record(
        self,
        kind: Kind,
        func: TorchFunction,
        inputs: Sequence[Tensor],
        call: Computation,
        *,
        overwrites: bool = False,
        nonnegative: bool = False,
        parts: Computation | None = None,
        **facts: Unpack[Facts],
    ) -> Tensor:
        """Make a call and enter it as an operation; see ``Recorder``."""
        name, compute = name_of(func), cast(Compute, call)  # of just as many inputs as there are
        infos: list[TensorInfo] = [self._info[t] for t in inputs]
        plain = [t.detach() for t in inputs]
        with torch.no_grad():
            result = compute(*plain)
        if overwrites:
            self._keep_values(inputs[0])
            plain[0] = plain[0].clone()
        op = Op(
            kind=kind,
            function=name,
            owner=self.owner,
            inputs=plain,
            output=result.detach(),
            call=compute,
            depths=tuple(i.depth for i in infos),
            origins=tuple(i.owner for i in infos),
            nonnegative=all(i.nonnegative for i in infos),
            images=len(self.image),
            stride=self._stride(result),
            number=self.number,
            parts=None if parts is None else self._take_apart(cast(Compute, parts), infos),
            spent=self.spent,
            **facts,
        )
        if op.affine and not self._counted:
            self.spent.forward += op.arithmetic(op.inputs[0])
        made = enter_graph(self._propagation, op, result, inputs, overwrites=overwrites)
        if overwrites:
            op.output = made.detach()
        for t in (*op.inputs, op.output):
            self._holders.setdefault(_storage(t), []).append(op)
        self.ops.append(op)
        depth = max(op.depths) + (op.affine is not None)
        self._info[made] = TensorInfo(
            depth, self.number, nonnegative, self.owner, op, name, _gate_of(op, infos), inputs[0]
        )
        return made

    def _take_apart(self, parts: Compute, infos: Sequence[TensorInfo]) -> Compute:
        """Return a function that computes the result of a call in other calls, and records these."""
        inner = copy.copy(self)  # without what it would hold alive
        inner.ops, inner.unruled, inner._holders, inner._owners = [], [], {}, [self.owner]
        inner._counted = True

        number = self.number

        def compute(*inputs: Tensor) -> Tensor:
            """Compute it from leaves of the autograd graph."""
            inner.number = number
            inner._info = WeakTensorKeyDictionary(dict(zip(inputs, infos, strict=True)))
            with torch.enable_grad(), CallWatcher(inner):
                result = parts(*inputs)
            inner.ops, inner._holders = [], {}  # the autograd graph holds them as long as they are needed
            return result

        return compute

    def _stride(self, t: Tensor) -> int:
        """Return how many pixels of the image lie under one position of a map."""
        height = height_of(self.image)
        return max(1, round(height / height_of(t))) if t.ndim == self.image.ndim else height

    def _keep_values(self, t: Tensor) -> None:
        """Give the operations that hold a tensor which is about to be overwritten a copy of it."""
        at = _storage(t)
        for op in self._holders.pop(at, ()):
            op.inputs[:] = [x.clone() if _storage(x) == at else x for x in op.inputs]
            if _storage(op.output) == at:
                op.output = op.output.clone()
            if op.pair:
                op.pair.inputs[:] = [op.inputs[1]]
                op.pair.output = op.output


class CallWatcher(TorchFunctionMode):
    """Hands every call of the network, as a function or inside a module, to its graph."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self._graph = graph

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._graph.call(func, args, kwargs or {})


def tensors(tree: Any) -> Generator[Tensor]:
    """Yield the tensors in nested arguments."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, list | tuple):
        for part in cast(Sequence[Any], tree):
            yield from tensors(part)
    elif isinstance(tree, dict):
        for part in cast(dict[Any, Any], tree).values():
            yield from tensors(part)


def _gate_of(op: Op, infos: Sequence[TensorInfo]) -> str:
    """Return by which function an operation's output gates others; weights of attention stay some, whatever follows."""
    if op.function in GATES:
        return op.function
    gates = {i.gate for i in infos}
    gate = gates.pop() if len(gates) == 1 else ""
    return gate if gate == "softmax" or op.kind in ("scale", "shift") else ""


def _storage(t: Tensor) -> int:
    """Return where a tensor's numbers lie in memory."""
    return t.untyped_storage().data_ptr()
