"""Published tables of rules for layer-wise relevance propagation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from torch import Tensor

from limelight.errors import InvalidOption
from limelight.ops.space import height_of
from limelight.relevance.affine_rules import Box, Epsilon, Gamma
from limelight.relevance.attention_rules import attention_table
from limelight.relevance.op import Op
from limelight.relevance.rule import TINY, Rule
from limelight.relevance.rules import Rules, rule_of
from limelight.relevance.simple_rules import Proportional

Composite = Literal[
    "epsilon-plus",
    "alpha2-beta1",
    "epsilon-gamma-box",
    "epsilon-plus-flat",
    "alpha2-beta1-flat",
    "comp",
    "comp-classic",
    "attn-lrp",
    "cp-lrp",
]

Bounds = tuple[Tensor, Tensor]
"""Black and white as the model sees them, (3, 1, 1) each."""


@dataclass(frozen=True)
class Average:
    """A maximum as the mean of its window, stabilised as ``lrp-comp`` stabilises the convolutions around it.

    Attributes:
        e: stabiliser.
        rms: where the input is less than a quarter of the image's size, this share of the root mean square of the
            means is added to it.
    """

    e: float = 1e-9
    rms: float = 0.25
    absorbs = True

    def __call__(self, op: Op, r: Tensor) -> tuple[Tensor, ...]:
        """Return the relevance of the input."""
        z = op.average(op.x)
        height = height_of(z) if z.ndim == op.x.ndim else 1
        if op.stride * height > 4 * height_of(op.x):
            most = self.rms * z.flatten(1).square().mean(1).sqrt().view(-1, *[1] * (z.ndim - 1))
            r = r * (z.abs() + self.e) / (z.abs() + self.e + most)
        return Proportional(self.e)(op, r)


# fmt: off
COMPOSITES: Mapping[Composite, Mapping[str, str | Rule]] = {
    "epsilon-plus":      {                   "conv": "z-plus",            "linear": "epsilon"},
    "alpha2-beta1":      {                   "conv": "alpha-beta(2, 1)",  "linear": "epsilon"},
    "epsilon-gamma-box": {"first": "z-box",  "conv": "gamma",             "linear": "epsilon"},
    "epsilon-plus-flat": {"first": "flat",   "conv": "z-plus",            "linear": "epsilon"},
    "alpha2-beta1-flat": {"first": "flat",   "conv": "alpha-beta(2, 1)",  "linear": "epsilon"},
    "comp":              {"first": "z-box",  "shallow": Gamma(0.25, 1e-9),
                          "conv": Epsilon(1e-9, rms=0.25), "linear": Epsilon(1e-9), "max_pool": Average(1e-9)},
    "comp-classic":      {"first": "z-box",  "shallow": Gamma(0.25, 1e-9, classic=True),
                          "conv": Epsilon(1e-9, rms=0.25), "linear": Epsilon(1e-9), "max_pool": Average(1e-9)},
    "attn-lrp":          attention_table(),
    "cp-lrp":            attention_table("constant"),
}
# fmt: on
"""The published tables, by place; see ``Rules``."""

ATTN_LRP = attention_table(gamma_conv=0.0, gamma_linear=0.0, explicit=True)
"""The rules of AttnLRP as its authors' code first had them."""

TUTORIAL = Epsilon(1e-9, rms=0.25, sign_aware=False)
"""The rule for convolutions of ``comp`` in its authors' tutorial."""


def rules_of(composite: Composite, bounds: Bounds) -> Rules:
    """Return a published table of rules, for pixels between these bounds."""
    return Rules({place: rule_between(rule, bounds) for place, rule in COMPOSITES[composite].items()})


def rule_between(rule: object, bounds: Bounds) -> Rule:
    """Return a rule, or that of a name, in which ``z-box`` alone stands for the rule for pixels between these bounds.

    Raises:
        InvalidOption: it is neither the name of a rule nor a function.
    """
    if isinstance(rule, str):
        return Box(bounds, TINY) if rule == "z-box" else rule_of(rule)
    if not callable(rule):
        raise InvalidOption(f"{rule!r} is no rule; give a name such as 'gamma(0.25)', or a function (op, r)")
    return cast(Rule, rule)
