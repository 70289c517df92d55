"""Rules of relevance propagation, for tables of your own.

>>> import limelight as ll
>>> from limelight.rules import divide_by
>>> def z_rule(op, r):
...     return op.x * op.back(divide_by(r, op.y))
>>> method = ll.method("lrp", rules={"conv": z_rule, "linear": "epsilon(0.1)"})
"""

from limelight.relevance.affine_rules import AlphaBeta, Box, Epsilon, Flat, Gamma, Squared
from limelight.relevance.attention_rules import (
    Contributions,
    SignedGamma,
    ValuesOnly,
    attention_table,
    linearised_softmax,
)
from limelight.relevance.handlers.own import register_operation
from limelight.relevance.libra_rules import LIBRA
from limelight.relevance.op import Op, divide_by
from limelight.relevance.rule import Rule
from limelight.relevance.rules import COMMON, GRADIENT, Rules, rule_of
from limelight.relevance.simple_rules import (
    Proportional,
    keep,
    native,
    only_active,
    split_evenly,
    take_apart,
    to_signal,
)

__all__ = [
    "COMMON",
    "GRADIENT",
    "LIBRA",
    "AlphaBeta",
    "Box",
    "Contributions",
    "Epsilon",
    "Flat",
    "Gamma",
    "Op",
    "Proportional",
    "Rule",
    "Rules",
    "SignedGamma",
    "Squared",
    "ValuesOnly",
    "attention_table",
    "divide_by",
    "keep",
    "linearised_softmax",
    "native",
    "only_active",
    "register_operation",
    "rule_of",
    "split_evenly",
    "take_apart",
    "to_signal",
]
