"""Record a forward pass of any eager network, and pass relevance back along it as often as one likes."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from limelight.errors import InvalidOption, LimelightError, UnsupportedModel
from limelight.model.batches import is_out_of_memory
from limelight.model.boundary import LIBRARIES, behind, cut, differentiated, hidden, no_way
from limelight.model.classifier import Classifier
from limelight.model.hooks import Hook, hooked
from limelight.model.layer_hooks import expect_all, replaced
from limelight.model.layers import LayerInfo, first_tensor
from limelight.model.outputs import numbers
from limelight.model.preserve import borrowed
from limelight.relevance.conservation import Flow, Pass, flow_of, pass_of, title
from limelight.relevance.op import Kind, Op, Spent
from limelight.relevance.operations import HANDLERS, ROUTES, name_of
from limelight.relevance.rules import GRADIENT, Rules
from limelight.shapes import Acts, Images, Logits

NORMALISERS = frozenset({"softmax", "log_softmax", "sigmoid", "logsigmoid"})
"""Functions that turn logits into probabilities at the end of a network; relevance starts before them."""

SCRIPTED, UNSEEN = "scripted code", "code that can't be seen (a scripted or compiled function, an extension)"
"""How calls of them are named."""

NO_RULE, NO_GRADIENTS = "no rule is known for it", "it runs without gradients"
"""What may be the matter with a call."""


@dataclass(frozen=True)
class Unruled:
    """A call that depends on the image and for which there is no rule.

    Attributes:
        function: its name.
        owner: dotted name of the module that called it.
        number: how many calls came before it.
        why: what is the matter.
        hidden: whether no call in it can be seen.
    """

    function: str
    owner: str
    number: int
    why: str
    hidden: bool = False

    def __str__(self) -> str:
        return f"{self.function} in {self.owner}" if self.owner else self.function


@dataclass
class _Active:
    """The rules that are in force; shared by all recorded calls, so that one forward serves many rule sets."""

    rules: Rules = GRADIENT
    ledger: list[Flow] | None = None
    streams: dict[Op, Tensor] | None = None

    def apply(self, op: Op, r: Tensor) -> list[Tensor | None]:
        used, rule = self.rules.find(op)
        r = r if r.dtype == torch.float64 else r.float()
        if self.streams is not None:
            self.streams[op] = r
        used.booked.clear()
        with _told(rule, used):
            found = rule(used, r)
            shares = _checked(rule, used, found)
            if self.ledger is not None:
                self.ledger.append(flow_of(used, rule, r, shares))
        if used is not op:  # a pair: all to what the affine operation was given
            return [None, *shares]
        return shares + [None] * (len(op.inputs) - len(shares))


@contextmanager
def _told(rule: Any, op: Op) -> Generator[None]:
    """Say of which rule of the user's own an exception is: on the way back it would pass for one of the network's.

    One of the user's own types passes through with a note, as out of a model.
    """
    try:
        yield
    except Exception as error:
        if _ours(rule) or isinstance(error, LimelightError) or is_out_of_memory(error):
            raise
        if type(error).__module__.partition(".")[0] not in LIBRARIES:
            error.add_note(f"It was raised in rule {title(rule)}, at {op}.")
            raise
        said = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise InvalidOption(f"rule {title(rule)} failed at {op}; it says: {said}") from error


def _checked(rule: Any, op: Op, found: Any) -> list[Tensor | None]:
    """Return what a rule gave as the relevance of each input.

    Raises:
        InvalidOption: a rule of the user's own gave something else.
    """
    shares = list(cast(Sequence[Any], found)) if isinstance(found, tuple | list) else [found]
    if _ours(rule):
        return shares
    shapes = [tuple(x.shape) for x in op.inputs]
    fits = isinstance(found, tuple | list) or found is not None
    fits = fits and len(shares) <= len(shapes) and all(s is None or isinstance(s, Tensor) for s in shares)
    if fits and all(s is None or s.shape == shape for s, shape in zip(shares, shapes, strict=False)):
        return shares
    given = [tuple(s.shape) if isinstance(s, Tensor) else type(s).__name__ for s in shares]
    raise InvalidOption(
        f"rule {title(rule)} at {op} returned {', '.join(map(str, given)) or 'nothing'}; it must return the relevance "
        f"of the input, a tensor of shape {shapes[0]}"
        + (f", or a tuple of tensors or None for inputs of shapes {', '.join(map(str, shapes))}" if shapes[1:] else "")
    )


def _ours(rule: Any) -> bool:
    module = getattr(rule, "__module__", None) or type(rule).__module__
    return module.partition(".")[0] == "limelight"


@dataclass
class Info:
    """What is known of a tensor that depends on the image.

    Attributes:
        depth: the largest number of affine operations on a way from the image.
        number: how many calls came before it.
        nonnegative: whether it is, because of what made it.
        owner: the module that made it.
        op: the recorded call that made it.
        made_by: name of the function that made it.
        fed: the tensor that this function was given.
        returned: whether a function with a gradient of its own may be about to return it, an input, as it is.
    """

    depth: int = 0
    number: int = 0
    nonnegative: bool = False
    owner: str = ""
    op: Op | None = None
    made_by: str = ""
    fed: Tensor | None = None
    returned: bool = False


class _Recorded(torch.autograd.Function):
    """A call whose way back is looked up when relevance arrives."""

    @staticmethod
    def forward(ctx: Any, active: _Active, op: Op, result: list[Tensor], *inputs: Tensor) -> Tensor:
        ctx.active, ctx.op = active, op
        ctx.set_materialize_grads(False)
        return result.pop()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (r,) = grads
        if r is None:  # relevance by-passed this operation
            return (None,) * (3 + len(ctx.op.inputs))
        return None, None, None, *ctx.active.apply(ctx.op, r)


class _Overwriting(torch.autograd.Function):
    """The same for a call that writes its result into its first input."""

    @staticmethod
    def forward(ctx: Any, active: _Active, op: Op, result: list[Tensor], *inputs: Tensor) -> Tensor:
        ctx.active, ctx.op = active, op
        ctx.set_materialize_grads(False)
        inputs[0].copy_(result.pop())
        ctx.mark_dirty(inputs[0])
        return inputs[0]

    backward = _Recorded.backward


class _Recorder(TorchFunctionMode):
    """Sees every call of the network, as a function or inside a module."""

    def __init__(self, tape: "Tape") -> None:
        super().__init__()
        self._tape = tape

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._tape.call(func, args, kwargs or {})


class Tape:
    """One forward pass, recorded.

    Every call that depends on the image and has a rule is computed as ever and enters the autograd graph as
    one node, which asks the rules in force for the relevance of its inputs when that of its output is
    complete. Autograd sorts the calls, adds up where a tensor is used more than once, and starts and stops at
    any tensor. Calls that only route numbers (views, slices, padding) keep their own gradient. Nothing of the
    user's module is changed.

    Args:
        classifier: the model.
        x: normalised images, (n, 3, H, W).
        layers: those whose outputs are kept.

    Attributes:
        image: the images, where relevance can stop.
        outputs: what the kept layers gave, by name.
        output: what the module returned.
        logits: the class scores before any softmax, where relevance can start; one column for a network with one
            output.
        ops: the recorded calls in their order.
        unruled: calls without a rule.
        score: the explained scalar, where gradients can start, (n,).
        spent: arithmetic of affine operations since the forward pass.
        passes: the books of every way back since ``restart``.
        fell_back: whether relevance may have passed a call that has no rule since ``restart``.

    Raises:
        UnsupportedModel: the network hides its calls (a scripted module), or overwrites what was recorded.
    """

    def __init__(self, classifier: Classifier, x: Images, layers: Mapping[str, LayerInfo] | None = None) -> None:
        self.classifier, self._layers = classifier, dict(layers or {})
        self._active = _Active()
        self._info: Any = WeakTensorKeyDictionary()
        self._free: Any = WeakTensorKeyDictionary()  # tensors with a graph that does not begin at the image
        self._holders: dict[int, list[Op]] = {}
        self._owners: list[str] = []
        self._clock = 0  # calls so far
        self._names = {id(m): name for name, m in classifier.module.named_modules()}
        self.spent = Spent()
        self.ops: list[Op] = []
        self.unruled: list[Unruled] = []
        self.outputs: dict[str, Tensor] = {}
        self.passes: list[Pass] = []
        self.fell_back = False
        with torch.inference_mode(False), torch.enable_grad():
            self.image = x.detach().clone().requires_grad_()
        self._info[self.image] = Info()
        self.output, scores = self._record()
        self.logits = self._before_normalising(scores)
        for op in self.ops:
            op.last = op.affine is not None and max(op.depths) + 1 == self.depth
            if op.pair:
                op.pair.last = max(op.pair.depths) + 1 == self.depth
        self.arithmetic = max(1.0, self.spent.forward)
        self.score = self.logits.new_zeros(len(x))
        self.restart()

    def restart(self) -> None:
        """Forget what was spent and where relevance went."""
        self.spent.forward = self.spent.backward = 0.0
        self.passes, self.fell_back = [], False

    @property
    def flows(self) -> list[Flow]:
        """What every operation did with relevance since ``restart``."""
        return [flow for way in self.passes for flow in way.flows]

    @property
    def forwards(self) -> float:
        """Passes of affine operations since ``restart``, in those of the whole network."""
        return self.spent.forward / self.arithmetic

    @property
    def backwards(self) -> float:
        """Backward passes since ``restart``, in those of the whole network."""
        return self.spent.backward / self.arithmetic

    @property
    def depth(self) -> int:
        """The largest number of affine operations on a way from the image to the logits."""
        return self._info[self.logits].depth

    # -- recording -------------------------------------------------------------------------------------

    def _record(self) -> tuple[Any, Logits]:
        module = self.classifier.module
        with borrowed(module), torch.enable_grad(), self._watched(), _Recorder(self):
            output = self.classifier.forward(self.image.clone())  # a network may overwrite what it is given
            return output, numbers(output, len(self.image))[0]

    def _before_normalising(self, scores: Logits) -> Logits:
        if not self._known(scores) or not any(op.affine for op in self.ops):
            why = cut(self.classifier.module, self.image)
            if why:
                raise UnsupportedModel(no_way(self.classifier.module, why))
            code = "compiled code, functions with a gradient of their own, or numbers taken out of tensors"
            raise UnsupportedModel(
                f"{self.classifier.name} hides how its scores depend on the image "
                f"({hidden(self.classifier.module) or code}); gradient methods may work: gradient, integrated-gradients"
            )
        seen, at = self._info[scores], scores
        while seen.made_by in NORMALISERS | {"flatten", "squeeze"} and seen.fed is not None:
            at = seen.fed
            if seen.made_by in NORMALISERS and at.shape == scores.shape:
                return at
            seen = self._info[at]
        return scores

    @contextmanager
    def _watched(self) -> Generator[None]:
        """Know which module is at work, and keep the outputs of the wanted layers."""

        def before(module: nn.Module, _args: Any) -> None:
            if id(module) in self._names:
                self._owners.append(self._names[id(module)])

        def after(module: nn.Module, args: Any, output: Any) -> None:
            if id(module) in self._names:
                if isinstance(module, torch.jit.ScriptModule):
                    self._opaque(module, args, output)
                self._owners.pop()

        def keep(name: str) -> Hook:
            def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
                found = first_tensor(output)
                if found is None:
                    raise UnsupportedModel(f"layer {name!r} returns no tensor with a spatial map")
                self.outputs[name] = found
                return replaced(output, found, found.clone())  # what follows may overwrite it

            return hook

        layers = self.classifier.modules(list(self._layers))
        # A layer's own hooks run after those of all modules: what is kept is what the user's hooks made of it.
        hooks = [(register_module_forward_pre_hook, before), (register_module_forward_hook, after)]
        with hooked([*hooks, *((m.register_forward_hook, keep(n)) for n, m in layers.items())]):
            yield
        expect_all(layers, self.outputs)

    def call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make one call of the network, recorded if it depends on the image."""
        if not [t for t in tensors((args, kwargs)) if self._known(t)]:
            return func(*args, **kwargs)
        self._clock += 1
        name = name_of(func)
        handler = HANDLERS.get(name)
        if handler and torch.is_grad_enabled():
            result = handler(self, func, args, kwargs)
            if result is not NotImplemented:
                return result
        return self.native(func, args, kwargs)

    def _known(self, t: Tensor) -> bool:
        """Whether a tensor depends on the image, as far as its gradient tells.

        What comes out of code of which no call was seen would pass for a constant, and its share be lost.
        """
        if t in self._info:
            if self._info[t].returned:
                self._note_return(t)
            return True
        if t.grad_fn is None or t in self._free:
            return False
        last = [n for n in behind([t], self._depth_of) if self._depth_of(n)]
        if not last:  # made of parameters alone
            self._free[t] = True
            return False
        own = type(t.grad_fn).__name__.removesuffix("Backward")
        name = own if isinstance(t.grad_fn, torch.autograd.function.BackwardCFunction) else UNSEEN
        self.unruled.append(Unruled(name, self.owner, self._clock, "no call in it can be seen", hidden=True))
        self._info[t] = Info(max(map(self._depth_of, last)) - 1, self._clock, owner=self.owner, made_by=name)
        return True

    def _note_return(self, t: Tensor) -> None:
        """Note by whose gradient relevance passes what a function returned as it was given; it has that one by now."""
        self._info[t].returned = False
        own = isinstance(t.grad_fn, torch.autograd.function.BackwardCFunction)
        name = type(t.grad_fn).__name__.removesuffix("Backward") if own else self._info[t].made_by
        if name != "BackwardHookFunction":  # PyTorch's, around modules with backward hooks, hands gradients on
            why = NO_RULE if own else NO_GRADIENTS
            self.unruled.append(Unruled(name, self.owner, self._clock, why))

    def _depth_of(self, node: Any) -> int:
        """One more than the affine operations before a node of a recorded call or of the image; 0 for other nodes."""
        op = getattr(node, "op", None)
        if isinstance(op, Op):
            return 1 + max(op.depths) + (op.affine is not None)
        return int(getattr(node, "variable", None) is self.image)

    def native(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make a call that keeps its own gradient: one that routes, or one without a rule."""
        name = name_of(func)
        overwrites = (name.endswith("_") and not name.endswith("__")) or name in ("__setitem__", "__iadd__", "__imul__")
        if overwrites and isinstance(args[0], Tensor):
            self._preserve(args[0])
        given = [t for t in tensors((args, kwargs)) if t in self._info]
        infos = [self._info[t] for t in given]
        result = func(*args, **kwargs)
        made = [t for t in tensors(args[0] if overwrites else result) if t.is_floating_point()]
        if not made:
            return result
        routes = name in ROUTES
        returned = name == "view_as" and args[0] is args[-1] and not torch.is_grad_enabled()
        if not returned and not (routes and torch.is_grad_enabled()):
            why = NO_RULE if torch.is_grad_enabled() else NO_GRADIENTS
            self.unruled.append(Unruled(name, self.owner, self._clock, why))
        for t in made:
            self._info[t] = Info(
                max(i.depth for i in infos),
                self._clock,
                routes and all(i.nonnegative for i in infos),
                infos[0].owner if routes and len(infos) == 1 else self.owner,
                made_by=infos[0].made_by if routes and len(infos) == 1 and name not in NORMALISERS else name,
                fed=given[0] if name in (*NORMALISERS, "flatten", "squeeze") else infos[0].fed if routes else None,
                returned=returned,
            )
        return result

    def _opaque(self, module: nn.Module, args: Any, output: Any) -> None:
        infos = [self._info[t] for t in tensors(args) if t in self._info]
        if infos:
            self.unruled.append(Unruled(SCRIPTED, self.owner, self._clock, "no call in it can be seen", hidden=True))
            for t in tensors(output):
                self._info[t] = Info(max(i.depth for i in infos), self._clock, owner=self.owner)

    @property
    def owner(self) -> str:
        """Dotted name of the module that is at work."""
        return self._owners[-1] if self._owners else ""

    def info(self, t: Any) -> Info | None:
        """Return what is known of a tensor, or None if it does not depend on the image."""
        return self._info[t] if isinstance(t, Tensor) and t in self._info else None

    def record(
        self,
        kind: Kind,
        func: Callable[..., Any],
        inputs: Sequence[Tensor],
        call: Callable[..., Tensor],
        *,
        overwrites: bool = False,
        nonnegative: bool = False,
        **facts: Any,
    ) -> Tensor:
        """Make a call and enter it in the graph.

        Args:
            kind: what it is.
            func: what was called.
            inputs: the operands that depend on the image.
            call: computes the result from them.
            overwrites: whether the first input is replaced by the result.
            nonnegative: whether the result is known to be.
            facts: further attributes of ``Op``.
        """
        name = name_of(func)
        infos: list[Info] = [self._info[t] for t in inputs]
        plain = [t.detach() for t in inputs]
        with torch.no_grad():
            result = call(*plain)
        if overwrites:
            self._preserve(inputs[0])
            plain[0] = plain[0].clone()
        op = Op(
            kind,
            name,
            self.owner,
            plain,
            result.detach(),
            call,
            tuple(i.depth for i in infos),
            tuple(i.owner for i in infos),
            all(i.nonnegative for i in infos),
            len(self.image),
            self._stride(result),
            spent=self.spent,
            **facts,
        )
        if op.affine:
            self.spent.forward += op._arithmetic(op.inputs[0])  # pyright: ignore[reportPrivateUsage]
        kind_of_node = _Overwriting if overwrites else _Recorded
        made = cast(Tensor, kind_of_node.apply(self._active, op, [result], *inputs))
        if overwrites:
            op.output = made.detach()
        for t in (*op.inputs, op.output):
            self._holders.setdefault(_storage(t), []).append(op)
        self.ops.append(op)
        depth = max(op.depths) + (op.affine is not None)
        self._info[made] = Info(depth, self._clock, nonnegative, self.owner, op, name, inputs[0])
        return made

    def _stride(self, t: Tensor) -> int:
        return max(1, round(self.image.shape[-2] / t.shape[-2])) if t.ndim == 4 else self.image.shape[-2]

    def _preserve(self, t: Tensor) -> None:
        """Give the calls that hold a tensor which is about to be overwritten a copy of it."""
        at = _storage(t)
        for op in self._holders.pop(at, ()):
            op.inputs[:] = [x.clone() if _storage(x) == at else x for x in op.inputs]
            if _storage(op.output) == at:
                op.output = op.output.clone()
            if op.pair:
                op.pair.inputs[:] = [op.inputs[1]]
                op.pair.output = op.output

    def expect_open(self, why: str) -> None:
        """Refuse a network with parts whose calls can't be seen.

        Args:
            why: what they have to be seen for.

        Raises:
            UnsupportedModel: some part is scripted code, or other code that no recorder sees.
        """
        unseen = dict.fromkeys(
            f"{u.function} ({u.owner!r})" if u.owner else u.function for u in self.unruled if u.hidden
        )
        if unseen:
            raise UnsupportedModel(
                f"{self.classifier.name} hides calls in {', '.join(unseen)}, {why}; give the network as it was before "
                "it was scripted, or in PyTorch's own operations"
            )

    # -- passing back ----------------------------------------------------------------------------------

    def relevance(
        self, rules: Rules, start: Tensor, seed: Tensor, stops: Sequence[Tensor], *, flows: bool = True
    ) -> list[Tensor]:
        """Pass relevance from one tensor of the forward pass to others.

        Args:
            rules: which rule each operation uses.
            start: ``logits``, one of ``outputs``, or anything made of them.
            seed: relevance there, in its shape.
            stops: ``image``, or some of ``outputs``.
            flows: keep the books of this way in ``passes``.

        Returns:
            The relevance of each stop, in its shape; zeros where none arrives, since a rule may hand an input nothing
            (the gate of a product).

        Raises:
            UnsupportedModel: the network cuts the way back; under the rules of calculus, none arrives anywhere.
            InvalidOption: a rule of the user's own fails, or returns something else.
        """
        ledger: list[Flow] | None = [] if flows else None
        self._active.rules, self._active.ledger = rules, ledger
        device, optional = self.image.device.type, bool(rules.rest)
        try:
            with torch.autocast(device, enabled=False):
                found = differentiated(
                    self.classifier.module, self.image, start, stops, seed.to(start), keep=True, optional=optional
                )
        finally:
            self._active.rules, self._active.ledger = GRADIENT, None
        shares = [torch.zeros_like(s) if r is None else r for r, s in zip(found, stops, strict=True)]
        if ledger is not None:
            self.passes.append(pass_of(seed.to(start), shares, ledger, len(self.image)))
        before = self.number(start)
        self.fell_back |= rules is not GRADIENT and any(u.number <= before for u in self.unruled)
        return shares

    def to_image(self, rules: Rules, start: Tensor, seed: Tensor) -> Images:
        """Pass relevance from a tensor of the forward pass to the images, (n, 3, H, W)."""
        return self.relevance(rules, start, seed, [self.image])[0]

    def to_layer(self, rules: Rules, start: Tensor, seed: Tensor, name: str) -> Acts:
        """Pass relevance from a tensor of the forward pass to a kept layer's output, as maps (n, k, h, w)."""
        layout = self._layers[name].layout
        assert layout is not None
        return layout.maps(self.relevance(rules, start, seed, [self.outputs[name]])[0])

    def passed(self, rules: Rules, seed: Tensor, stop: str | None) -> Acts:
        """Pass relevance of the classes, (n, classes), to a kept layer or the images, (n, k, h, w)."""
        start = self.logits, self.seed(seed)
        return self.to_image(rules, *start) if stop is None else self.to_layer(rules, *start, stop)

    def seed(self, values: Tensor) -> Tensor:
        """Turn relevance of classes (n, classes) into relevance of ``logits``, which may have one column."""
        return values if self.logits.shape[1] == values.shape[1] else values[:, 1:] - values[:, :1]

    def gradients(self, start: Tensor, stops: Sequence[Tensor]) -> list[Tensor]:
        """Return the gradients of the sum of a tensor: relevance under the rules of calculus."""
        return self.relevance(GRADIENT, start, torch.ones_like(start), stops, flows=False)

    def streams(self, rules: Rules, start: Tensor, seed: Tensor) -> dict[Op, Tensor]:
        """Return what arrives at the output of every operation."""
        self._active.streams = {}
        try:
            self.relevance(rules, start, seed, [self.image], flows=False)
            return self._active.streams
        finally:
            self._active.streams = None

    def maps(self, name: str) -> Acts:
        """A kept layer's output as maps, (n, k, h, w), where relevance can start."""
        layout = self._layers[name].layout
        assert layout is not None
        with torch.enable_grad():
            return layout.maps(self.outputs[name])

    def number(self, t: Tensor) -> int:
        """How many recorded calls came before a tensor."""
        return self._info[t].number if t in self._info else self._clock


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


def _storage(t: Tensor) -> int:
    return t.untyped_storage().data_ptr()
