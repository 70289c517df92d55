"""What happens to relevance on its way back: how much comes to every operation, and how much is handed on."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limelight.relevance.op import Op
from limelight.relevance.rule import HasLaw, Rule, absorbs, resets
from limelight.shapes import Scores


@dataclass(frozen=True)
class Flow:
    """What one operation did with the relevance that came to it.

    Attributes:
        operation: what it is called.
        rule: the rule that was used.
        incoming: relevance that came from behind, per image, (n,).
        size: sum of its absolute values, (n,).
        outgoing: relevance that was handed on, (n,).
        made: sum of its absolute values, (n,).
        absorbs: whether the rule may lose or make relevance by its definition.
        resets: whether what the rule hands on has nothing to do with what came.
        biases: what of it went into biases, (n,).
        constants: what of it went into other constants, such as learned tokens and positions, (n,).
        remainder: what of it the linearised softmax dropped, (n,).
        dead: absolute relevance at denominators of 0, (n,).
        outside: whether inputs leave the rule's bounds: not 0, (n,).
        due: the total that the rule hands on by its law, (n,).
        most: the most absolute relevance that it hands on by its law, (n,).
        op: itself, if it is affine; others, such as the products within attention, would keep large tensors alive.
    """

    operation: str
    rule: Rule
    incoming: Scores
    size: Scores
    outgoing: Scores
    made: Scores
    absorbs: bool
    resets: bool = False
    biases: Scores | None = None
    constants: Scores | None = None
    remainder: Scores | None = None
    dead: Scores | None = None
    outside: Scores | None = None
    due: Scores | None = None
    most: Scores | None = None
    op: Op | None = None


@dataclass(frozen=True)
class RelevancePass:
    """One pass of relevance, from where it starts to where it is stopped.

    Attributes:
        at_start: relevance at the start, per image, (n,).
        size: sum of its absolute values, (n,).
        at_end: relevance where it was stopped, (n,).
        made: sum of its absolute values, (n,).
        flows: what every operation did.
    """

    at_start: Scores
    size: Scores
    at_end: Scores
    made: Scores
    flows: Sequence[Flow]


def measure_flow(op: Op, rule: Rule, r: Tensor, shares: Sequence[Tensor | None]) -> Flow:
    """Measure what a rule made of the relevance R at an operation, without reading anything from the device."""
    incoming, size = op.sum_per_image(r), op.size_per_image(r)
    handed = [s for s in shares if s is not None]
    if len(handed) == 1 and handed[0] is r:
        outgoing, made = incoming, size
    else:
        outgoing = sum((op.sum_per_image(s) for s in handed), torch.zeros_like(incoming))
        made = sum((op.size_per_image(s) for s in handed), torch.zeros_like(incoming))
    due, most = None, None
    lawful: object = rule
    if isinstance(lawful, HasLaw):  # a user's own may give numbers
        due, most = (torch.as_tensor(v).to(incoming).expand_as(incoming) for v in lawful.law(op, r, incoming, size))
    noted = {name: op.audit.get(name) for name in ("biases", "constants", "remainder", "dead", "outside")}
    amounts = (incoming, size, outgoing, made)
    kept = None if op.affine is None else op
    return Flow(str(op), rule, *amounts, absorbs(rule), resets(rule), due=due, most=most, op=kept, **noted)


def measure_pass(start: Tensor, stops: Sequence[Tensor], flows: Sequence[Flow], images: int) -> RelevancePass:
    """Measure the relevance at the start of a pass and at its ends."""

    def by_image(t: Tensor) -> Tensor:
        """Return a tensor with one row for each image, at least float32."""
        return (t if t.dtype == torch.float64 else t.float()).detach().reshape(images, -1)

    at_start, size = by_image(start).sum(1), by_image(start).abs().sum(1)
    at_end = sum((by_image(s).sum(1) for s in stops), torch.zeros_like(at_start))
    made = sum((by_image(s).abs().sum(1) for s in stops), torch.zeros_like(size))
    return RelevancePass(at_start, size, at_end, made, flows)
