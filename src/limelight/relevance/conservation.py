"""Conservation: how much of the relevance that entered is on the map, and where the rest went.

What goes missing is measured against the total that is due by the rules, or against the absolute relevance where that
nearly cancels. What a rule does by definition (see ``rule``) is no loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

TOLERANCE = 0.01
"""Share of the relevance that entered which may be lost or made against a rule's law before it is reported."""

ABSORBED = 0.9
"""Share of the relevance that entered which biases and stabilisers, or rounding, may take (or give) before a warning:
beyond it, less than a tenth of what is on the map has come through from the score. LRP's composites stay below it on
trained VGGs and SqueezeNet; on linear bottlenecks (MobileNetV2, EfficientNet) nearly everything is taken."""

CANCELS = 10
"""Absolute relevance over its sum from which sums are measured against a tenth of it, and both are named."""

GROWN = 100.0
"""How many times the absolute relevance that entered may be on the way before a warning: beyond it, 99 parts of 100 of
the map cancel, and what is left is what rounding and near-zero denominators make of it."""


@dataclass(frozen=True)
class Conservation:
    """Where the relevance of one image went.

    Attributes:
        at_start: relevance at the start.
        at_end: relevance where it was stopped.
        size: absolute relevance at the start; of several ways back in all.
        made: absolute relevance where it was stopped.
        strayed: relevance that went ways that no rule sees: onto padding, or past the layer where it was stopped.
        by_law: what rules that fix totals of their own took (below 0: made).
        violation: relevance that was lost (below 0: made) against the rules' laws.
        rounded: relevance that was lost (below 0: made) because sums of large amounts are rounded.
        grew: the largest absolute relevance on the way over that at the start.
        beyond: the same, without what rules make by their law.
        grew_at: the operation, with its rule, where it grew most.
        operations: what it passed, from the start on, with the rule that was used.
        incoming: relevance that came to each of them.
        outgoing: relevance that each of them handed on.
        absorbs: whether the rule may lose or make relevance by its definition.
        into_biases: relevance that went into the bias of each of them (below 0: that came from it).
        into_constants: relevance that went into other constants of each of them: learned tokens, positions, masks.
        into_softmax: relevance that the expansion of each softmax dropped, by definition of AttnLRP.
        into_stabilisers: relevance that went into its stabiliser and dead denominators, of rules that may absorb.
        violations: relevance that each of them lost or made against its law.
        resets: whether rules fix amounts that have nothing to do with what entered, so that those are held to.
        outside: operations with inputs outside of their rule's bounds, for which it is not made.
        ways: how often relevance was passed back; what is said of it is the sum.
    """

    at_start: float
    at_end: float
    size: float
    made: float
    strayed: float
    by_law: float
    violation: float
    rounded: float
    grew: float
    beyond: float
    grew_at: str
    operations: tuple[str, ...]
    incoming: tuple[float, ...]
    outgoing: tuple[float, ...]
    absorbs: tuple[bool, ...]
    into_biases: tuple[float, ...]
    into_constants: tuple[float, ...]
    into_softmax: tuple[float, ...]
    into_stabilisers: tuple[float, ...]
    violations: tuple[float, ...]
    resets: bool
    outside: tuple[str, ...]
    ways: int

    @property
    def due(self) -> float:
        """The total that is to leave by the rules' laws."""
        return self.at_start - self.by_law

    @property
    def measure(self) -> float:
        """What losses are shares of: the total that is due, at least a tenth of the absolute relevance.

        The latter is the one at the start or the one that left, whichever is smaller: a sum of 0 has no shares, and an
        error is to be told that is small against what entered and large against what is on the map.
        """
        return max(abs(self.due), min(self.size, self.made) / CANCELS, torch.finfo(torch.float64).tiny)

    @property
    def biases(self) -> float:
        """Relevance that went into biases, less what came from them."""
        return sum(self.into_biases, 0.0)

    @property
    def constants(self) -> float:
        """Relevance that went into learned tokens, positions and other constants, less what came from them."""
        return sum(self.into_constants, 0.0)

    @property
    def softmax(self) -> float:
        """Relevance that went into the remainders of linearised softmaxes, less what came from them."""
        return sum(self.into_softmax, 0.0)

    @property
    def absorbed(self) -> float:
        """Relevance that went into stabilisers and dead denominators, less what came from them."""
        return sum(self.into_stabilisers, 0.0)

    @property
    def uptake(self) -> float:
        """Relevance that biases, stabilisers and the like took, at operations where they took more than they gave."""
        return sum(map(_sum_above_0, self._absorbers), 0.0)

    @property
    def release(self) -> float:
        """Relevance that biases, stabilisers and the like gave, at operations where they gave more than they took."""
        return sum(map(_sum_below_0, self._absorbers), 0.0)

    @property
    def _absorbers(self) -> tuple[tuple[float, ...], ...]:
        """What takes relevance by the definition of the rules."""
        return self.into_biases, self.into_constants, self.into_softmax, self.into_stabilisers

    @property
    def lost(self) -> dict[str, float]:
        """Relevance that operations lost (or made, below 0), the most first, without tolerable losses."""
        passed = zip(self.operations, self.incoming, self.outgoing, strict=True)
        losses = [(name, a - b) for name, a, b in passed if self._matters(a - b)]
        return dict(sorted(losses, key=lambda item: -abs(item[1])))

    @property
    def lawful(self) -> bool:
        """Whether what left is the total that is due by the rules' laws, to a hundredth of ``measure``.

        What biases took at one operation and gave at another does not make up for each other.
        """
        missing = (self.due - self.at_end, self.violation, self.rounded, self.uptake, self.release, self.strayed)
        return not any(map(self._matters, missing)) and not self.warnings

    @property
    def conserves(self) -> bool:
        """Whether what left is what entered, to a hundredth of ``measure``."""
        return self.lawful and not self._matters(self.at_start - self.at_end)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of this is beyond the rules' laws, or beyond what leaves a map its meaning."""
        if self.size == 0:
            return ()
        warnings: list[str] = []
        most, where = max(((abs(b), i) for i, b in enumerate(self.violations)), default=(0.0, 0))
        if self._matters(max(most, abs(self.violation))):
            one = self.violations[where] if self._matters(most) else self.violation
            operation, _, rule = self.operations[where].partition(" (")
            at = f"{'' if one == self.violations[where] else ', most'} at {operation} (rule {rule}"
            total = f", {self._say_share(self.violation)} in all" if self._matters(self.violation - one) else ""
            warnings.append(f"{self._say_amount(one)} was {'lost' if one > 0 else 'made'}{at}{total}")
        if abs(self.rounded) > ABSORBED * self.measure:
            what = "lost" if self.rounded > 0 else "made"
            warnings.append(f"{self._say_amount(self.rounded)} was {what} by rounding sums of amounts that cancel")
        if self.beyond > GROWN:
            warnings.append(f"relevance grew {self.grew:z.3g}-fold, most at {self.grew_at}: nearly all of it cancels")
        if not self.resets and max(self.uptake, self.release, abs(self.strayed)) > ABSORBED * self.measure:
            turned = "-" if self.at_end * self.at_start < 0 else ""
            warnings.append(f"{self._say_absorbed()}: {turned}{self._say_amount(self.at_end)} is left")
        return tuple(warnings)

    def _matters(self, amount: float, least: float = TOLERANCE) -> bool:
        """Return whether an amount is large enough to be told."""
        return not abs(amount) <= least * self.measure  # so that a NaN matters

    def _say_share(self, of: float) -> str:
        """Say how many parts of ``measure`` an amount is."""
        share = abs(of) / self.measure
        if share > 10:
            return f"{share:z.3g} times"
        return f"{share:z.0%}" if share in (0, 1) or 0.01 <= share <= 0.99 else f"{100 * share:z.4g}%"

    def _say_amount(self, of: float) -> str:
        """Say how much of the relevance an amount is."""
        said = self._say_share(of)
        return f"{said} the relevance" if said.endswith("times") else f"{said} of the relevance"

    def _say_absorbed(self, least: float = TOLERANCE) -> str:
        """Say what biases, stabilisers and other places took and gave."""
        parts = (
            (_sum_above_0(self.into_biases), "went into biases"),
            (_sum_below_0(self.into_biases), "came from biases"),
            (_sum_above_0(self.into_constants), "into learned tokens, positions and other constants"),
            (_sum_below_0(self.into_constants), "from learned tokens, positions and other constants"),
            (_sum_above_0(self.into_softmax), "into the remainder of softmaxes"),
            (_sum_below_0(self.into_softmax), "from the remainder of softmaxes"),
            (_sum_above_0(self.into_stabilisers), "into stabilisers and dead ends"),
            (_sum_below_0(self.into_stabilisers), "from stabilisers and dead ends"),
            (self.strayed, "past the layer or onto padding"),
            (-self.strayed, "from past the layer or padding"),
        )
        said = [f"{self._say_share(part)} {where}" for part, where in parts if part > 0 and self._matters(part, least)]
        return ", ".join(said) or "nothing was absorbed"

    def __str__(self) -> str:
        ways = f" on {self.ways} ways back" if self.ways > 1 else ""
        cancels = self.size > CANCELS * min(abs(self.at_start), self.made) or self.made > CANCELS * abs(self.at_end)
        of = f" (in absolute values {self.size:z.4g} and {self.made:z.4g})" if cancels else ""
        said = [f"{self.at_start:z.4g} entered, {self.at_end:z.4g} left{ways}{of}"]
        parts = (self.uptake, self.release, self.strayed, self.violation, self.rounded)
        least = TOLERANCE if self.lawful or any(map(self._matters, parts)) else TOLERANCE / 10  # small ones that add up
        if any(self._matters(part, least) for part in (self.uptake, self.release, self.strayed)):
            said.append(self._say_absorbed(least))
        if self._matters(self.by_law):
            said.append(f"{abs(self.by_law):z.4g} {'taken' if self.by_law > 0 else 'made'} by the rules' own law")
        if self._matters(self.violation, least):
            said.append(
                f"{self._say_share(self.violation)} {'lost' if self.violation > 0 else 'made'} against the rules' law"
            )
        if self._matters(self.rounded, least):
            said.append(f"{self._say_share(self.rounded)} {'lost' if self.rounded > 0 else 'made'} by rounding")
        if self.grew > 1 + TOLERANCE:
            why = "" if self.beyond > 1 + TOLERANCE else ", by the rules' own law"
            said.append(f"grew {self.grew:z.3g}-fold, most at {self.grew_at}{why}")
        return "; ".join(said)


def _sum_above_0(amounts: Sequence[float]) -> float:
    """Sum the amounts above 0."""
    return sum((max(a, 0.0) for a in amounts), 0.0)


def _sum_below_0(amounts: Sequence[float]) -> float:
    """Sum the amounts below 0, without their sign."""
    return sum((max(-a, 0.0) for a in amounts), 0.0)
