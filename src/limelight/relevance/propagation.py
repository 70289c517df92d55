"""How relevance goes back through one recorded call: the rule in force is looked up when relevance arrives."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from limelight.errors import InvalidOption, LimelightError
from limelight.model.batches import is_out_of_memory
from limelight.model.boundary import LIBRARIES
from limelight.relevance.flows import Flow, measure_flow
from limelight.relevance.op import Op
from limelight.relevance.recorder import Unruled
from limelight.relevance.rule import Rule, is_own, title
from limelight.relevance.rules import GRADIENT, Rules
from limelight.relevance.simple_rules import take_apart


@dataclass
class Propagation:
    """The rules in force, and what is kept of the relevance that passes.

    All recorded calls share it, so that one forward pass serves many tables of rules.

    Attributes:
        rules: which rule each operation uses.
        flows: what every operation did with relevance, unless None.
        arrived: the relevance at the output of every operation, unless None.
        unruled: the operations for which the rules in force had none.
    """

    rules: Rules = GRADIENT
    flows: list[Flow] | None = None
    arrived: dict[Op, Tensor] | None = None
    unruled: dict[Unruled, None] = field(default_factory=dict[Unruled, None])

    @contextmanager
    def use(self, rules: Rules, flows: list[Flow] | None) -> Generator[None]:
        """Put rules in force."""
        self.rules, self.flows = rules, flows
        try:
            yield
        finally:
            self.rules, self.flows = GRADIENT, None

    def apply(self, op: Op, r: Tensor) -> list[Tensor | None]:
        """Return the relevance of every input of an operation, given that of its output."""
        used, rule = self.rules.find(op)
        r = r if r.dtype == torch.float64 else r.float()
        if self.arrived is not None:
            self.arrived[op] = r
        listed = self.rules.lists(used)
        if not listed:
            self.unruled[Unruled.at(op)] = None
        used.audit.clear()
        with _name_rule(rule, used):
            shares = _check_shares(rule, used, rule(used, r))
            if self.flows is not None and listed and rule is not take_apart:  # whose parts have been measured
                self.flows.append(measure_flow(used, rule, r, shares))
        if used is not op:  # a pair: all to what the affine operation was given
            return [None, *shares]
        return shares + [None] * (len(op.inputs) - len(shares))


@contextmanager
def _name_rule(rule: Rule, op: Op) -> Generator[None]:
    """Say of which rule of the user's own an exception is: on the way back it would pass for one of the network's.

    One of the user's own types passes through with a note, as out of a model.
    """
    try:
        yield
    except Exception as error:
        if is_own(rule) or isinstance(error, LimelightError) or is_out_of_memory(error):
            raise
        if type(error).__module__.partition(".")[0] not in LIBRARIES:
            error.add_note(f"It was raised in rule {title(rule)}, at {op}.")
            raise
        said = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise InvalidOption(f"rule {title(rule)} failed at {op}; it says: {said}") from error


def _check_shares(rule: Rule, op: Op, result: Any) -> list[Tensor | None]:
    """Return what a rule gave as the relevance of each input.

    Raises:
        InvalidOption: a rule of the user's own gave something else.
    """
    shares = list(cast(Sequence[Any], result)) if isinstance(result, tuple | list) else [result]
    if is_own(rule):
        return shares
    shapes = [tuple(x.shape) for x in op.inputs]
    fits = isinstance(result, tuple | list) or result is not None
    fits = fits and len(shares) <= len(shapes) and all(s is None or isinstance(s, Tensor) for s in shares)
    if fits and all(s is None or s.shape == shape for s, shape in zip(shares, shapes, strict=False)):
        return shares
    kinds = [tuple(s.shape) if isinstance(s, Tensor) else type(s).__name__ for s in shares]
    raise InvalidOption(
        f"rule {title(rule)} at {op} returned {', '.join(map(str, kinds)) or 'nothing'}; it must return the relevance "
        f"of the input, a tensor of shape {shapes[0]}"
        + (f", or a tuple of tensors or None for inputs of shapes {', '.join(map(str, shapes))}" if shapes[1:] else "")
    )


class _Node(torch.autograd.Function):
    """A recorded call in the autograd graph."""

    @staticmethod
    def forward(ctx: Any, propagation: Propagation, op: Op, result: list[Tensor], *inputs: Tensor) -> Tensor:
        """Hand out the result that was computed before."""
        ctx.propagation, ctx.op = propagation, op
        ctx.set_materialize_grads(False)
        made = result.pop()
        return made.clone() if made._is_view() else made  # PyTorch lets nobody write into a view made here

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Ask for the relevance of the inputs."""
        (r,) = grads
        if r is None:  # relevance by-passed this operation
            return (None,) * (3 + len(ctx.op.inputs))
        return None, None, None, *ctx.propagation.apply(ctx.op, r)


class _OverwritingNode(torch.autograd.Function):
    """A recorded call that writes its result into its first input."""

    @staticmethod
    def forward(ctx: Any, propagation: Propagation, op: Op, result: list[Tensor], *inputs: Tensor) -> Tensor:
        """Write the result that was computed before."""
        ctx.propagation, ctx.op = propagation, op
        ctx.set_materialize_grads(False)
        inputs[0].copy_(result.pop())
        ctx.mark_dirty(inputs[0])
        return inputs[0]

    backward = _Node.backward


def enter_graph(
    propagation: Propagation, op: Op, result: Tensor, inputs: Sequence[Tensor], *, overwrites: bool
) -> Tensor:
    """Return the result of a recorded call as a tensor of the autograd graph, whose way back is the rule in force."""
    node = _OverwritingNode if overwrites else _Node
    return cast(Tensor, node.apply(propagation, op, [result], *inputs))
