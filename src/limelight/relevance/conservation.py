"""The books of relevance: what entered, what left, and where it was absorbed, lost or made on the way.

What goes missing is measured against the total that is due by the rules, or against the absolute relevance where that
nearly cancels. A rule may say what it does by definition, and is held to that:

- ``absorbs``: it may hand on less (or more) than it was given, into biases, stabilisers and dead denominators;
- ``law(op, r, came, size)``: the total that it hands on, and the most absolute relevance (inf: any), per image, given
  R, its sum and its absolute sum; without one it hands on what came, and what grows is warned of;
- ``resets``: that total has nothing to do with what came.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from limelight.relevance.op import Op
from limelight.shapes import Scores

if TYPE_CHECKING:
    from limelight.relevance.tape import Tape

TOLERANCE = 0.01
"""Share of the relevance that entered which may be lost or made against a rule's law before it is reported."""

ABSORBED = 0.9
"""Share of the relevance that entered which biases and stabilisers, or rounding, may take (or give) before a warning:
beyond it, less than a tenth of what is on the map has come through from the score. LRP's composites stay below it on
trained VGGs and SqueezeNet; on linear bottlenecks (MobileNetV2, EfficientNet) nearly everything is taken."""

CANCELS = 10
"""Absolute relevance over its sum from which sums are measured against a tenth of it, and an account names both."""

GROWN = 100.0
"""How many times the absolute relevance that entered may be on the way before a warning: beyond it, 99 parts of 100 of
the map cancel, and what is left is what rounding and near-zero denominators make of it."""

ROUNDING = {"float32": 1e-5, "float64": 1e-12, "tf32": 2.0**-10}
"""Share of the absolute relevance at an operation that may be missing because sums are rounded. TensorFloat-32 keeps 10
bits of the factors of a GPU's convolutions and products."""


@dataclass(frozen=True)
class Flow:
    """What one operation did with the relevance that came to it.

    Attributes:
        op: the operation.
        rule: the rule that was used.
        entered: relevance that came from behind, per image, (n,).
        size: sum of its absolute values, (n,).
        left: relevance that was handed on, (n,).
        made: sum of its absolute values, (n,).
        absorbs: whether the rule may lose or make relevance by its definition.
        resets: whether what the rule hands on has nothing to do with what came.
        biases: what of it went into biases, (n,).
        dead: absolute relevance at denominators of 0, (n,).
        outside: whether inputs leave the rule's bounds: not 0, (n,).
        due: the total that the rule hands on by its law, (n,).
        most: the most absolute relevance that it hands on by its law, (n,).
    """

    op: Op
    rule: Any
    entered: Scores
    size: Scores
    left: Scores
    made: Scores
    absorbs: bool
    resets: bool = False
    biases: Scores | None = None
    dead: Scores | None = None
    outside: Scores | None = None
    due: Scores | None = None
    most: Scores | None = None


@dataclass(frozen=True)
class Pass:
    """One way back.

    Attributes:
        entered: relevance at the start, per image, (n,).
        size: sum of its absolute values, (n,).
        left: relevance where it was stopped, (n,).
        made: sum of its absolute values, (n,).
        flows: what every operation did.
    """

    entered: Scores
    size: Scores
    left: Scores
    made: Scores
    flows: Sequence[Flow]


def flow_of(used: Op, rule: Any, r: Tensor, shares: Sequence[Tensor | None]) -> Flow:
    """Book what a rule made of the relevance R at an operation. Nothing is read from the device."""
    came, size = used.of_images(r), used.size_of_images(r)
    given = [s for s in shares if s is not None]
    if len(given) == 1 and given[0] is r:
        left, made = came, size
    else:
        left = sum((used.of_images(s) for s in given), torch.zeros_like(came))
        made = sum((used.size_of_images(s) for s in given), torch.zeros_like(came))
    due, most = None, None
    if hasattr(rule, "law"):  # a user's own may give numbers
        due, most = (torch.as_tensor(v).to(came).expand_as(came) for v in rule.law(used, r, came, size))
    biases, dead, outside = (used.booked.get(name) for name in ("biases", "dead", "outside"))
    return Flow(used, rule, came, size, left, made, absorbs(rule), resets(rule), biases, dead, outside, due, most)


def absorbs(rule: Any) -> bool:
    """Whether a rule may hand on less, or more, than came, by its definition."""
    return bool(getattr(rule, "absorbs", False))


def resets(rule: Any) -> bool:
    """Whether the total that a rule hands on has nothing to do with what came."""
    return bool(getattr(rule, "resets", False))


def law_of(rule: Any, op: Op, r: Tensor, came: Scores, size: Scores) -> tuple[Scores, Scores]:
    """Return a rule's law: the total that it hands on, by default what came, and the most absolute relevance or NaN."""
    law = getattr(rule, "law", None)
    return law(op, r, came, size) if law else (came, torch.full_like(size, torch.nan))


def rounding_of(device: torch.device, dtype: torch.dtype) -> float:
    """Share of the absolute relevance by which sums of such numbers may be off."""
    if device.type != "cuda" or dtype == torch.float64:
        return ROUNDING["float64" if dtype == torch.float64 else "float32"]
    backends: Any = torch.backends
    settings = (backends, backends.cudnn, backends.cudnn.conv, backends.cuda.matmul)
    return ROUNDING["tf32" if any(s.fp32_precision == "tf32" for s in settings) else "float32"]


def pass_of(start: Tensor, stops: Sequence[Tensor], flows: Sequence[Flow], images: int) -> Pass:
    """Book a way back with the relevance at its start and at its ends."""

    def over(t: Tensor) -> Tensor:
        return (t if t.dtype == torch.float64 else t.float()).detach().reshape(images, -1)

    entered, size = over(start).sum(1), over(start).abs().sum(1)
    left = sum((over(s).sum(1) for s in stops), torch.zeros_like(entered))
    return Pass(entered, size, left, sum((over(s).abs().sum(1) for s in stops), torch.zeros_like(size)), flows)


def title(rule: Any) -> str:
    """A rule's name, with the numbers that it was given."""
    if hasattr(rule, "__name__"):
        return rule.__name__
    try:
        known = [f for f in fields(rule) if f.repr and isinstance(getattr(rule, f.name), int | float | str)]
    except TypeError:  # a rule of the user's own
        return str(rule)
    own = [f"{f.name}={getattr(rule, f.name)}" for f in known if getattr(rule, f.name) != f.default]
    return type(rule).__name__ + (f"({', '.join(own)})" if own else "")


# -- one image -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Conservation:
    """Where the relevance of one image went.

    Attributes:
        entered: relevance at the start.
        left: relevance where it was stopped.
        size: absolute relevance at the start; of several ways back in all.
        made: absolute relevance where it was stopped.
        strayed: relevance that went ways that no rule books: onto padding, or past the layer where it was stopped.
        by_law: what rules that fix totals of their own took (below 0: made).
        broken: relevance that was lost (below 0: made) against the rules' laws.
        rounded: relevance that was lost (below 0: made) because sums of large amounts are rounded.
        grew: the largest absolute relevance on the way over that at the start.
        beyond: the same, without what rules make by their law.
        grew_at: the operation, with its rule, where it grew most.
        operations: what it passed, from the start on, with the rule that was used.
        came: relevance that came to each of them.
        went: relevance that each of them handed on.
        absorbs: whether the rule may lose or make relevance by its definition.
        into_biases: relevance that went into the bias of each of them (below 0: that came from it).
        into_stabilisers: relevance that went into its stabiliser and dead denominators, of rules that may absorb.
        broke: relevance that each of them lost or made against its law.
        resets: whether rules fix amounts that have nothing to do with what entered, so that those are held to.
        outside: operations with inputs outside of their rule's bounds, for which it is not made.
        ways: how often relevance was passed back; what is said of it is the sum.
    """

    entered: float
    left: float
    size: float
    made: float
    strayed: float
    by_law: float
    broken: float
    rounded: float
    grew: float
    beyond: float
    grew_at: str
    operations: tuple[str, ...]
    came: tuple[float, ...]
    went: tuple[float, ...]
    absorbs: tuple[bool, ...]
    into_biases: tuple[float, ...]
    into_stabilisers: tuple[float, ...]
    broke: tuple[float, ...]
    resets: bool
    outside: tuple[str, ...]
    ways: int

    @property
    def due(self) -> float:
        """The total that is to leave by the rules' laws."""
        return self.entered - self.by_law

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
    def absorbed(self) -> float:
        """Relevance that went into stabilisers and dead denominators, less what came from them."""
        return sum(self.into_stabilisers, 0.0)

    @property
    def taken(self) -> float:
        """Relevance that biases and stabilisers took, at operations where they took more than they gave."""
        return _in(self.into_biases) + _in(self.into_stabilisers)

    @property
    def given(self) -> float:
        """Relevance that biases and stabilisers gave, at operations where they gave more than they took."""
        return _out(self.into_biases) + _out(self.into_stabilisers)

    @property
    def lost(self) -> dict[str, float]:
        """Relevance that operations lost (or made, below 0), the most first, without tolerable losses."""
        found = zip(self.operations, self.came, self.went, strict=True)
        losses = [(name, a - b) for name, a, b in found if self._tells(a - b)]
        return dict(sorted(losses, key=lambda item: -abs(item[1])))

    @property
    def lawful(self) -> bool:
        """Whether what left is the total that is due by the rules' laws, to a hundredth of ``measure``.

        What biases took at one operation and gave at another does not make up for each other.
        """
        missing = (self.due - self.left, self.broken, self.rounded, self.taken, self.given, self.strayed)
        return not any(map(self._tells, missing)) and not self.warnings

    @property
    def conserves(self) -> bool:
        """Whether what left is what entered, to a hundredth of ``measure``."""
        return self.lawful and not self._tells(self.entered - self.left)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of this account is beyond the rules' laws, or beyond what leaves a map its meaning."""
        if self.size == 0:
            return ()
        found: list[str] = []
        most, where = max(((abs(b), i) for i, b in enumerate(self.broke)), default=(0.0, 0))
        if self._tells(max(most, abs(self.broken))):
            one = self.broke[where] if self._tells(most) else self.broken
            operation, _, rule = self.operations[where].partition(" (")
            at = f"{'' if one == self.broke[where] else ', most'} at {operation} (rule {rule}"
            total = f", {self._share(self.broken)} in all" if self._tells(self.broken - one) else ""
            found.append(f"{self._amount(one)} was {'lost' if one > 0 else 'made'}{at}{total}")
        if abs(self.rounded) > ABSORBED * self.measure:
            what = "lost" if self.rounded > 0 else "made"
            found.append(f"{self._amount(self.rounded)} was {what} by rounding sums of amounts that cancel")
        if self.beyond > GROWN:
            found.append(f"relevance grew {self.grew:z.3g}-fold, most at {self.grew_at}: nearly all of it cancels")
        if not self.resets and max(self.taken, self.given, abs(self.strayed)) > ABSORBED * self.measure:
            turned = "-" if self.left * self.entered < 0 else ""
            found.append(f"{self._absorbed()}: {turned}{self._amount(self.left)} is left")
        return tuple(found)

    def _tells(self, amount: float, least: float = TOLERANCE) -> bool:
        return not abs(amount) <= least * self.measure  # so that a NaN tells

    def _share(self, of: float) -> str:
        share = abs(of) / self.measure
        if share > 10:
            return f"{share:z.3g} times"
        return f"{share:z.0%}" if share in (0, 1) or 0.01 <= share <= 0.99 else f"{100 * share:z.4g}%"

    def _amount(self, of: float) -> str:
        said = self._share(of)
        return f"{said} the relevance" if said.endswith("times") else f"{said} of the relevance"

    def _absorbed(self, least: float = TOLERANCE) -> str:
        parts = (
            (_in(self.into_biases), "went into biases"),
            (_out(self.into_biases), "came from biases"),
            (_in(self.into_stabilisers), "into stabilisers and dead ends"),
            (_out(self.into_stabilisers), "from stabilisers and dead ends"),
            (self.strayed, "past the layer or onto padding"),
            (-self.strayed, "from past the layer or padding"),
        )
        said = [f"{self._share(part)} {where}" for part, where in parts if part > 0 and self._tells(part, least)]
        return ", ".join(said) or "nothing was absorbed"

    def __str__(self) -> str:
        ways = f" on {self.ways} ways back" if self.ways > 1 else ""
        cancels = self.size > CANCELS * min(abs(self.entered), self.made) or self.made > CANCELS * abs(self.left)
        of = f" (in absolute values {self.size:z.4g} and {self.made:z.4g})" if cancels else ""
        said = [f"{self.entered:z.4g} entered, {self.left:z.4g} left{ways}{of}"]
        parts = (self.taken, self.given, self.strayed, self.broken, self.rounded)
        least = TOLERANCE if self.lawful or any(map(self._tells, parts)) else TOLERANCE / 10  # small ones that add up
        if any(self._tells(part, least) for part in (self.taken, self.given, self.strayed)):
            said.append(self._absorbed(least))
        if self._tells(self.by_law):
            said.append(f"{abs(self.by_law):z.4g} {'taken' if self.by_law > 0 else 'made'} by the rules' own law")
        if self._tells(self.broken, least):
            said.append(f"{self._share(self.broken)} {'lost' if self.broken > 0 else 'made'} against the rules' law")
        if self._tells(self.rounded, least):
            said.append(f"{self._share(self.rounded)} {'lost' if self.rounded > 0 else 'made'} by rounding")
        if self.grew > 1 + TOLERANCE:
            why = "" if self.beyond > 1 + TOLERANCE else ", by the rules' own law"
            said.append(f"grew {self.grew:z.3g}-fold, most at {self.grew_at}{why}")
        return "; ".join(said)


def _in(amounts: Sequence[float]) -> float:
    return sum((max(a, 0.0) for a in amounts), 0.0)


def _out(amounts: Sequence[float]) -> float:
    return sum((max(-a, 0.0) for a in amounts), 0.0)


OPERATIONS = "relevance_operations"
"""Under this name the record has what relevance passed, in words."""

ZERO, UNKNOWN = -2, -1
"""Where the numbers of a batch have them."""

COLUMNS = ("came", "went", "size", "made", "biases", "dead", "outside", "due", "most")
"""What is kept of every operation in the record of a batch, each (n, operations)."""


# -- a batch ----------------------------------------------------------------------------------------------------


def booked(tape: "Tape") -> tuple[dict[str, Any], list[str]]:
    """Return what becomes part of the record, and remarks on operations that have no rule."""
    remarks: list[str] = []
    if tape.fell_back:
        names = Counter(u.function for u in tape.unruled)
        where = ", ".join(f"{name} ({count}x)" if count > 1 else name for name, count in names.items())
        law = ", which does not conserve relevance" if tape.passes else ""
        remarks.append(f"no rule for {where}: their own gradient was used{law}")
    flows = [(flow, number) for number, p in enumerate(tape.passes) for flow in p.flows]
    if not flows:
        return {}, remarks
    numbers: dict[int, tuple[int, Tensor]] = {}  # what many rules hand on unchanged is kept once

    def at(t: Tensor | None, missing: int = 0) -> int:
        return missing if t is None else numbers.setdefault(id(t), (len(numbers), t))[0]

    def row(f: Flow) -> list[int]:
        taken = at(f.biases, ZERO), at(f.dead, ZERO), at(f.outside, ZERO)
        return [*map(at, (f.entered, f.left, f.size, f.made)), *taken, at(f.due, at(f.entered)), at(f.most, UNKNOWN)]

    index = [row(f) for f, _ in flows]
    last = [[at(t) for t in (p.entered, p.size, p.left, p.made)] for p in tape.passes]
    dtype = tape.passes[0].entered.dtype
    # All numbers come from the device at once.
    known = torch.stack([t.to(dtype) for _, t in numbers.values()], 1).cpu().double()
    n, none = len(known), known.new_tensor([0.0, torch.nan])
    known = torch.cat([known, none.expand(n, 2)], 1)
    table, ends = known[:, torch.tensor(index)], known[:, torch.tensor(last)]
    titles = {id(f.rule): title(f.rule) for f, _ in flows}
    details: dict[str, Any] = {f"relevance_{name}": table[:, :, i] for i, name in enumerate(COLUMNS)}
    details |= {
        "relevance_entered": ends[:, :, 0].sum(1),
        "relevance_left": ends[:, :, 2].sum(1),
        "relevance_ends": ends,
        "relevance_pass": torch.tensor([number for _, number in flows]).expand(n, -1),
        "relevance_absorbs": torch.tensor([f.absorbs for f, _ in flows]).expand(n, -1),
        "relevance_resets": torch.tensor([f.resets for f, _ in flows]).expand(n, -1),
        "relevance_rounding": torch.full((n,), rounding_of(tape.image.device, dtype)),
        OPERATIONS: tuple(f"{f.op} ({titles[id(f.rule)]})" for f, _ in flows),
    }
    return details, remarks


def accounts(details: Mapping[str, Any]) -> list[Conservation]:
    """Return the account of every image of a batch; none of methods that pass no relevance."""
    if "relevance_ends" not in details:
        return []
    columns = (cast(Tensor, details[f"relevance_{name}"]) for name in COLUMNS)
    came, went, size, made, biases, dead, outside, due, most = columns
    absorb = cast(Tensor, details["relevance_absorbs"]).bool()
    ends, of = cast(Tensor, details["relevance_ends"]), cast(Tensor, details["relevance_pass"])[0].long()
    entered = ends[:, of, 1]  # (n, ops): absolute relevance at the start of its pass
    total = ends[:, :, 0].sum(1) - (came - due).sum(1)  # what is due at the end
    measure = torch.maximum(total.abs(), ends[:, :, (1, 3)].sum(1).amin(1) / CANCELS)
    reset = cast(Tensor, details["relevance_resets"]).bool()
    rounding = cast(Tensor, details["relevance_rounding"])[:, None]
    has_law = ~most.isnan()
    rest = due - went - biases
    small = torch.finfo(torch.float64).tiny
    rest = torch.where(dead > rest.abs(), dead, rest)  # losses of both signs don't make up for each other
    # The sum of large amounts that cancel is as good as rounding lets it be. Amounts that a rule fixes don't cancel,
    # and are the measure of what it hands on.
    rounding = rounding * torch.maximum(size, made)
    rounds = ~reset & (rest.abs() <= rounding)
    scaled = torch.where(reset, rest * measure[:, None] / most.clamp_min(small), rest)
    broke = torch.where(absorb | rounds, 0.0, scaled)
    strayed = (ends[:, :, 0] - ends[:, :, 2]).sum(1) - (came - went).sum(1)
    stays = strayed.abs() <= rounding.amax(1)
    rounded = torch.where(rounds, rest, 0.0).sum(1) + torch.where(stays, strayed, 0.0)
    within = size > TOLERANCE * entered
    lawful = torch.where(has_law, most / size.clamp_min(small), 1.0).clamp_min(1.0)
    ratio = torch.where(within, made / size.clamp_min(small), 0.0)
    grew, beyond = torch.zeros(len(came)), torch.zeros(len(came))
    for number in range(ends.shape[1]):
        here = of == number
        if not bool(here.any()):  # it was stopped where it started
            continue
        start = ends[:, number, 1].clamp_min(small)
        on_the_way = torch.cat([size[:, here], ends[:, number, 3:4]], 1) / start[:, None]  # in the order of time
        peak = on_the_way.amax(1)
        alone = peak
        if bool(has_law[:, here].any()):
            worst = (ratio / lawful)[:, here].amax(1)
            acted = F.pad(lawful[:, here].cumprod(1), (1, 0), value=1.0)  # the laws that had acted by then
            alone = torch.maximum(worst, (on_the_way / acted).amax(1))
        live = ends[:, number, 1] > 0
        grew = torch.maximum(grew, torch.where(live, peak, 0.0))
        beyond = torch.maximum(beyond, torch.where(live, alone, 0.0))
    where = torch.where(within, ratio / lawful, 0.0).argmax(1).tolist()
    operations = tuple(details.get(OPERATIONS) or map(str, range(came.shape[1])))
    rows = zip(
        ends[:, :, 0].sum(1).tolist(),
        ends[:, :, 2].sum(1).tolist(),
        ends[:, :, 1].sum(1).tolist(),
        ends[:, :, 3].sum(1).tolist(),
        torch.where(stays, 0.0, strayed).tolist(),
        (came - due).sum(1).tolist(),
        broke.sum(1).tolist(),
        rounded.tolist(),
        grew.tolist(),
        beyond.tolist(),
        (operations[i] for i in where),
        (operations for _ in where),
        map(tuple, came.tolist()),
        map(tuple, went.tolist()),
        map(tuple, absorb.tolist()),
        map(tuple, biases.tolist()),
        map(tuple, torch.where(absorb & ~rounds, scaled, 0.0).tolist()),
        map(tuple, broke.tolist()),
        reset.any(1).tolist(),
        [tuple(operations[i] for i in some.nonzero()[:, 0].tolist()) for some in outside],
        (ends.shape[1] for _ in where),
        strict=True,
    )
    return [Conservation(*row) for row in rows]


def read(details: Mapping[str, Any]) -> Conservation | None:
    """Return one image's account from its details, or None if its method passes no relevance."""
    return next(iter(accounts({k: v[None] if isinstance(v, Tensor) else v for k, v in details.items()})), None)


def notes(account: Conservation) -> tuple[str, ...]:
    """Return what the reader of a map should know of its account; nothing where relevance is conserved."""
    silent = account.size == 0 or (account.conserves and account.grew <= GROWN)
    said = () if silent else (*account.warnings, f"relevance: {account}")
    if not account.outside:
        return said
    where = account.outside[0].partition(" (")[0]
    return (
        *said,
        f"At {where} inputs are darker than black or brighter than white, between which its rule shares relevance: the "
        "classifier's mean and std are not those by which its inputs were made, or the network changes them before. "
        "Bounds of your own for lrp: rules={'first': 'z-box(LOW, HIGH)'}.",
    )
