"""Relative attributing propagation."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from limelight.card import register_method
from limelight.engine.saliency import Raw
from limelight.maps.propagation.excitation_backprop import warn_of_negative_inputs
from limelight.maps.propagation.lrp import Init, start
from limelight.relevance.affine_rules import Box
from limelight.relevance.op import Op, divide_by
from limelight.relevance.recording import Recording
from limelight.relevance.rules import Rules
from limelight.relevance.simple_rules import Proportional, only_active

Route = Literal["code", "excitatory", "inhibitory"]


def by_influence(op: Op, r: Tensor) -> Tensor:
    """Share in proportion to contributions without their sign: R' = |x| . |W|^T D(R, |W| |x|)."""
    x = op.x.abs()
    return x * op.back(divide_by(r, op.forward(x, "absolute")), "absolute")


@dataclass(frozen=True)
class Relative:
    """Relevance by absolute influence, then the same amount off every unit, so that the least influential fall below 0.

    With z+ = W+ x, z- = -W- x (both at least 0) and D(a, b) = a / b, 0 where b = 0:

        C  = x . (W+^T D(R+, z+) - W-^T (D(R, z+ + z-) + D(R-, z-)))      the inhibitory route of R-, or
        C  = x . (W+^T D(R, z+) - W-^T D(R, z+ + z-))                     the excitatory one
        R' = C - [C != 0] (sum C - sum R) / #{C != 0}

    Attributes:
        route: way of negative relevance.
    """

    route: Route = "code"

    def __call__(self, op: Op, r: Tensor) -> Tensor:
        """Return the relevance of the input."""
        x = op.x
        if not op.nonnegative:
            x = x.clamp_min(0)
        helps, hurts = op.forward(x, "positive"), -op.forward(x, "negative")
        up, down = r, divide_by(r, helps + hurts)
        if self.route == "inhibitory" or (self.route == "code" and op.kind == "conv"):
            up, down = r.clamp_min(0), down + divide_by(r.clamp_max(0), hurts)
        c = x * (op.back(divide_by(up, helps), "positive") - op.back(down, "negative"))
        reached = (c != 0).to(c)
        return c - reached * divide_by(op.total(c) - op.total(r), op.total(reached))


def through_pool(op: Op, r: Tensor) -> Tensor:
    """Hand all to the winner of a maximum that is not 0: R' = x . pool^T D(R, pool(x))."""
    return op.native(r * (op.y != 0))[0]


def rules_for(inner: Relative) -> Rules:
    """Return the table of rules, with that of inner affine operations."""
    return Rules(
        {
            "first": Box(),
            "last": by_influence,
            "affine": inner,
            "batch_norm": only_active,
            "max_pool": through_pool,
            "avg_pool": Proportional(0.0),
            "add": Proportional(0.0),
        },
        fuse=False,
    )


@register_method(
    "rap",
    family="propagation",
    cites="nam2020",
    cost="3 F + 2 R",
    layers="stop",
)
def rap(
    recording: Recording,
    stop: str | None,
    *,
    negative_route: Route = "code",
    init: Init = "absolute",
) -> Raw:
    """Relevance by absolute influence, where units with the least end up negative; it sums to the score.

    The last affine operation hands R on in proportion to |x| |w|. Every one below hands it on by positive and by
    negative contributions alike, then takes the same amount off every unit that has some; see ``Relative``.

    Args:
        recording: the recorded pass.
        stop: the layer at which relevance is stopped, if any.
        negative_route: where an inner operation hands negative relevance on: to contributions that raise its output
            (``excitatory``) or lower it (``inhibitory``); ``code`` does as the authors' programs, the first in linear
            operations and the second in convolutions.
        init: relevance of the class score: its absolute value, the score itself, or one; of a function see ``lrp``.

    Returns:
        (n, *space), signed; (n, *place) at a layer.

    Warns:
        ConservationWarning: an inner operation is given negative values, for which the method has no place: they get
            no relevance.

    Source: Nam et al. 2020, and the authors' code.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "rap")
        >>> abs(float(explanation.raw.sum()) / explanation.score - 1) < 1e-3  # the map adds up to the score
        True
    """
    inner = Relative(negative_route)
    seed = start(recording, init)
    if (
        seed.shape != recording.start.outputs.shape
    ):  # one output tells two classes apart by its sign, and influence has none
        seed = seed.sum(1, keepdim=True)
    relevance = recording.from_outputs(rules_for(inner), seed, stop).sum(1)
    return Raw(relevance, notes=warn_of_negative_inputs(recording, "rap", "get no relevance", by_influence))
