"""Excitation backprop and its contrastive form."""

import warnings
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from limelight.card import register_method
from limelight.engine.saliency import Raw
from limelight.errors import ConservationWarning, InvalidOption
from limelight.ops.arrays import truths
from limelight.relevance.affine_rules import Box
from limelight.relevance.composites import Bounds
from limelight.relevance.op import Op, divide_by
from limelight.relevance.recording import Recording
from limelight.relevance.rule import AffineRule, Relevance, Rule, absorbs, law_of
from limelight.relevance.rules import Rules
from limelight.relevance.simple_rules import Proportional
from limelight.shapes import Grid, Scores

EFFECT = "excite nothing"
"""What negative inputs do here."""


def excitation(op: Op, r: Tensor) -> Tensor:
    """Share the winning probability: R' = x+ . W+^T (R / W+ x+)."""
    x = op.x if op.nonnegative else op.x.clamp_min(0)
    z = op.forward(x, "positive")
    op.audit_dead_ends(r, z)
    return x * op.back(divide_by(r, z), "positive")


def negate(op: Op) -> Op:
    """Return an affine operation with the other sign of weights and biases."""
    assert op.weight is not None
    bias = None if op.bias is None else -op.bias
    return replace(op, weight=-op.weight, bias=bias, output=-op.output, _cache={})


@dataclass(frozen=True)
class Negated:
    """A rule for all weights with the other sign: what speaks against instead of for."""

    rule: Rule

    @property
    def absorbs(self) -> bool:
        """Whether the rule does."""
        return absorbs(self.rule)

    def __call__(self, op: Op, r: Tensor) -> Relevance:
        """Return the relevance of the input."""
        return self.rule(negate(op), r)

    def law(self, op: Op, r: Tensor, incoming: Scores, size: Scores) -> tuple[Scores, Scores]:
        """Return the rule's law."""
        return law_of(self.rule, op, r, incoming, size)


@dataclass(frozen=True)
class BothWays:
    """A rule that takes relevance below 0 for relevance of the class whose weights are -W."""

    rule: AffineRule

    @property
    def absorbs(self) -> bool:
        """Whether the rule does."""
        return absorbs(self.rule)

    def __call__(self, op: Op, r: Tensor) -> Tensor:
        """Return the relevance of the input."""
        return self.rule(op, r.clamp_min(0)) + self.rule(negate(op), -r.clamp_max(0))

    def law(self, op: Op, r: Tensor, incoming: Scores, size: Scores) -> tuple[Scores, Scores]:
        """Return the absolute relevance twice: that of either class counts for it."""
        return size, size


def for_one_output(rule: AffineRule, recording: Recording) -> AffineRule:
    """Return the rule of the last affine operation, which may have one output for two classes."""
    return rule if recording.logits.shape[1] > 1 else BothWays(rule)


@dataclass(frozen=True)
class Contrast:
    """Winning probability less that with negated weights."""

    def __call__(self, op: Op, r: Tensor) -> Tensor:
        """Return the difference, whose total is 0."""
        return excitation(op, r) - excitation(negate(op), r)

    def law(self, op: Op, r: Tensor, incoming: Scores, size: Scores) -> tuple[Scores, Scores]:
        """Return 0, to which the walks' difference adds up, and what both carry."""
        return torch.zeros_like(incoming), 2 * size


def sees_negative(recording: Recording) -> bool:
    """Return whether affine operations may be given negative numbers, other than pixels."""
    return not all(op.nonnegative or op.first for op in recording.ops if op.affine is not None)


def excitation_rules(last: Rule, bounds: Bounds, clamp_add: bool) -> Rules:
    """Return the table of rules, with that of the last affine operation."""
    return Rules(
        {
            "first": Box(bounds),
            "last": last,
            "affine": excitation,
            "avg_pool": Proportional(0.0, clamp=True),
            "add": Proportional(0.0, clamp=clamp_add),
        },
        fuse=False,
    )


def warn_of_negative_inputs(recording: Recording, method: str, effect: str, but: Rule | None = None) -> tuple[str, ...]:
    """Warn, and return what is to be noted, of affine operations on the way that were given negative numbers.

    Args:
        recording: after relevance was passed back.
        method: its name.
        effect: what becomes of negative inputs.
        but: a rule that takes them as they are.
    """
    used = [f.op for f in recording.flows if f.op is not None and f.rule is not but]
    inner = [op for op in used if not (op.nonnegative or op.first)]
    if not inner:
        return ()
    below = truths(torch.stack([(op.inputs[0] < 0).any() for op in inner]))
    names = list(dict.fromkeys(str(op) for op, has in zip(inner, below, strict=True) if has))
    if not names:
        return ()
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    remark = f"negative inputs, which {effect}: {', '.join(names[:3])}{more}"
    warnings.warn(f"{method}: {remark}", ConservationWarning, stacklevel=3)
    return (remark,)


def winners(recording: Recording, rules: Rules, layer: str | None) -> Grid:
    """Pass 1 back from the class and sum what the channels of the layer, or of the image, get.

    Raises:
        InvalidOption: a function is explained that falls where an output rises.
    """
    if bool((recording.start.gradient < 0).any()):
        raise InvalidOption(
            "a walk goes to outputs in proportion to how much each raises the score, and the target function has one "
            "that lowers it; lrp explains any function"
        )
    return recording.from_outputs(rules, recording.start.gradient, layer).sum(1)


@register_method(
    "excitation-backprop",
    family="propagation",
    cites="zhang2018",
    cost="(1 + pixels) F + (1 - pixels) F_t + pixels R + (1 - pixels) R_t",
    in_short="1 F + 1 F_t + 1 R_t",
    layers="penultimate",
)
def excitation_backprop(
    recording: Recording,
    layer: str,
    bounds: Bounds,
    *,
    clamp_add: bool | None = None,
    pixels: bool = False,
) -> Raw:
    """The probability that a random walk from the class down the positive connections passes each place.

    At every affine operation R' = x+ . W+^T (R / W+ x+): the walk goes on to an input with a probability in proportion
    to what it excites. Activations below 0 excite nothing, and scales of batch normalisations are taken to be above 0.
    The probabilities of a layer add up to 1, unless no connection excites; a warning says what is lost so.

    Args:
        recording: the recorded pass.
        layer: where the walk is watched; by default where the second-to-last stage of the network ends.
        bounds: black and white, (3, 1, 1) each.
        clamp_add: leave negative terms of sums (batch-normalised branches) out of their shares; by default in networks
            whose affine operations see negative inputs. In others, the ResNets for which the method was published, sums
            are shared as they come.
        pixels: go on to the pixels, by the box rule at the first operation.

    Returns:
        (n, *place), or (n, *space) with ``pixels``; at least 0 if terms of sums are, or are clamped.

    Warns:
        ConservationWarning: an operation is given negative values, for which the method has no place; more than a
            hundredth of the probability was lost, or made by sums as they come.

    Source: Zhang et al. 2018, section 3.2.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "excitation-backprop", layer="layer4")
        >>> round(float(explanation.raw.sum()), 3)  # probabilities
        1.0
    """
    clamp_add = sees_negative(recording) if clamp_add is None else clamp_add
    rules = excitation_rules(for_one_output(excitation, recording), bounds, clamp_add)
    relevance = winners(recording, rules, None if pixels else layer)
    return Raw(relevance, notes=warn_of_negative_inputs(recording, "excitation-backprop", EFFECT))


@register_method(
    "c-excitation-backprop",
    family="propagation",
    cites="zhang2018",
    cost="(1 + pixels) F + (1 - pixels) F_t + pixels R + (1 - pixels) R_t",
    in_short="1 F + 1 F_t + 1 R_t",
    layers="penultimate",
)
def contrastive_excitation_backprop(
    recording: Recording,
    layer: str,
    bounds: Bounds,
    *,
    clamp_add: bool | None = None,
    pixels: bool = False,
) -> Raw:
    """Excitation backprop of the class minus that of its opposite, the class with negated weights.

    The walk Q from the class and the walk N that takes the last affine operation's weights for their negatives differ
    in the rule of that operation only. All rules are linear in R, so one pass carries Q - N, and it does not matter
    at which layer they are told apart.

    Args:
        recording: the recorded pass.
        layer: see ``excitation-backprop``.
        bounds: black and white, (3, 1, 1) each.
        clamp_add: see ``excitation-backprop``.
        pixels: see ``excitation-backprop``.

    Returns:
        (n, *place), or (n, *space) with ``pixels``; at least 0.

    Source: Zhang et al. 2018, section 3.3.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "c-excitation-backprop", layer="layer4")
        >>> bool((explanation.raw >= 0).all())
        True
    """
    clamp_add = sees_negative(recording) if clamp_add is None else clamp_add
    rules = excitation_rules(Contrast(), bounds, clamp_add)
    relevance = winners(recording, rules, None if pixels else layer).relu()
    return Raw(relevance, notes=warn_of_negative_inputs(recording, "c-excitation-backprop", EFFECT))
