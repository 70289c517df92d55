"""Rules of relevance by name, and tables that say which operation takes which rule.

A table names a rule for each operation or place: ``{"first": ..., "conv": ..., "linear": ...}``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, cast

from limelight.errors import InvalidOption
from limelight.relevance.affine_rules import AlphaBeta, Box, Epsilon, Flat, Gamma, Squared
from limelight.relevance.op import Op
from limelight.relevance.rule import TINY, Rule
from limelight.relevance.simple_rules import Proportional, keep, native, take_apart, to_signal

NAMED: Mapping[str, tuple[Rule, tuple[str, ...]]] = {
    "z": (Epsilon(0.0), ()),
    "epsilon": (Epsilon(), ("e", "rms")),
    "z-plus": (AlphaBeta(), ("alpha", "beta", "e")),
    "alpha-beta": (AlphaBeta(), ("alpha", "beta", "e")),
    "gamma": (Gamma(), ("gamma", "e")),
    "classic-gamma": (Gamma(classic=True), ("gamma",)),
    "flat": (Flat(), ("e",)),
    "w-squared": (Squared(), ("e",)),
    "z-box": (Box(None, TINY), ("low", "high")),
    "gradient": (native, ()),
    "proportional": (Proportional(), ("e", "shift")),
    "keep": (keep, ()),
    "take-apart": (take_apart, ()),
}
"""Rules by name, for settings that are written down: ``gamma``, or with numbers ``gamma(0.25)``; and what these are."""


def rule_of(rule: str | Rule) -> Rule:
    """Return a rule for its name, such as ``alpha-beta(2, 1)``; a rule itself is handed through.

    Raises:
        InvalidOption: no rule has this name, or not these numbers.
    """
    if not isinstance(rule, str):
        return rule
    name, opened, numbers = rule.strip().partition("(")
    if name.strip() not in NAMED or bool(opened) != numbers.endswith(")"):
        raise InvalidOption(
            f"there is no rule {rule!r}; there are {', '.join(NAMED)}, some with numbers, as in gamma(0.25), "
            "and functions (op, r) of your own"
        )
    named, names = NAMED[name.strip()]
    try:
        settings = [float(n) for n in numbers[:-1].split(",") if n.strip()]
        if len(settings) > len(names) or (name.strip() == "z-box" and len(settings) == 1):
            raise ValueError(f"the numbers of {name.strip()} are {', '.join(names) or 'none'}")
        if not settings:
            return named
        if isinstance(named, Box):
            return replace(named, bounds=(settings[0], settings[1]))
        return replace(cast(Any, named), **dict(zip(names, settings, strict=False)))
    except ValueError as error:
        raise InvalidOption(f"rule {rule!r}: {error}") from None


COMMON: dict[str, Rule] = {
    "affine": Epsilon(),
    "batch_norm": keep,
    "norm": keep,
    "activation": keep,
    "max_pool": native,
    "avg_pool": Proportional(),
    "add": Proportional(),
    "multiply": to_signal,
    "scale": keep,
    "cat": native,
}
"""What is done where a table says nothing; calls that have no rule here either hand on their own gradient."""


@dataclass(frozen=True)
class Rules:
    """A table of rules.

    Attributes:
        table: rules by place: ``first`` and ``last`` affine operation on the way, ``shallow`` convolutions (whose
            output is at least a quarter of the image's size), or a kind: ``conv``, ``linear``, ``affine`` for both,
            or another of ``Kind``. The most special entry counts.
        fuse: treat a batch normalisation and the affine operation right before it as one affine operation.
        overrides: rules for affine operations by name of their module, where ``*`` stands for anything.
        rest: what is done where the table says nothing.
    """

    table: Mapping[str, Rule] = field(default_factory=dict[str, Rule])
    fuse: bool = True
    overrides: Mapping[str, Rule] = field(default_factory=dict[str, Rule])
    rest: Mapping[str, Rule] = field(default_factory=lambda: COMMON)

    def find(self, op: Op) -> tuple[Op, Rule]:
        """Return the operation to which relevance goes (a fused pair in place of its normalisation) and its rule."""
        if self.fuse and op.pair is not None:
            return op.pair, self._rule(op.pair) or native
        return op, self._rule(op) or native

    def lists(self, op: Op) -> bool:
        """Return whether there is a rule for an operation, in the table or among what is done otherwise."""
        return self._rule(op) is not None or any(place in COMMON for place in op.places)

    def _rule(self, op: Op) -> Rule | None:
        """Look a rule up: by the name of the module, then by place, then in what is done otherwise."""
        if op.affine is not None:
            for pattern, rule in self.overrides.items():
                if fnmatchcase(op.owner, pattern):
                    return rule
        for table in (self.table, self.rest):
            for place in op.places:
                if place in table:
                    return table[place]
        return None

    def but(self, **changes: Rule) -> "Rules":
        """Return a copy with other rules at some places."""
        return replace(self, table={**self.table, **changes})


GRADIENT = Rules(fuse=False, rest={})
"""The rules of calculus: every operation hands on its own gradient."""
