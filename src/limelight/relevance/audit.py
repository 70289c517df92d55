"""The audit of relevance: what a batch's record keeps of every pass, and every image's conservation read from it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from limelight.ops.arrays import floats, integers, rows, truths
from limelight.relevance.conservation import CANCELS, GROWN, TOLERANCE, Conservation
from limelight.relevance.flows import Flow
from limelight.relevance.recording import Recording
from limelight.relevance.rule import title

ROUNDING = {"float32": 1e-5, "float64": 1e-12, "tf32": 2.0**-10}
"""Share of the absolute relevance at an operation that may be missing because sums are rounded. TensorFloat-32 keeps 10
bits of the factors of a GPU's convolutions and products."""

OPERATIONS = "relevance_operations"
"""Under this name the record has what relevance passed, in words."""

ZERO, UNKNOWN = -2, -1
"""Where the numbers of a batch have them."""

ABSORBERS = ("biases", "constants", "remainder")
"""What may take relevance by the definition of a rule, beside its stabiliser."""

COLUMNS = ("incoming", "outgoing", "size", "made", *ABSORBERS, "dead", "outside", "due", "most")
"""What is kept of every operation in the record of a batch, each (n, operations)."""

SMALL = torch.finfo(torch.float64).tiny
"""In place of a denominator of 0."""


def audit_recording(recording: Recording) -> tuple[dict[str, Any], list[str]]:
    """Return what the record keeps of every pass of relevance, and remarks on operations that have no rule."""
    remarks: list[str] = []
    if recording.fell_back:
        names = Counter(u.function for u in recording.without_rule)
        where = ", ".join(f"{name} ({count}x)" if count > 1 else name for name, count in names.items())
        law = ", which does not conserve relevance" if recording.passes else ""
        remarks.append(f"no rule for {where}: their own gradient was used{law}")
    flows = [(flow, number) for number, one in enumerate(recording.passes) for flow in one.flows]
    if not flows:
        return {}, remarks
    columns: dict[int, tuple[int, Tensor]] = {}  # what many rules hand on unchanged is kept once

    def at(t: Tensor | None, missing: int = 0) -> int:
        """Return the column where an amount per image is kept."""
        return missing if t is None else columns.setdefault(id(t), (len(columns), t))[0]

    def row(f: Flow) -> list[int]:
        """Return where the amounts of an operation are kept, in the order of ``COLUMNS``."""
        moved = (f.incoming, f.outgoing, f.size, f.made)
        noted = (f.biases, f.constants, f.remainder, f.dead, f.outside)
        return [*map(at, moved), *(at(t, ZERO) for t in noted), at(f.due, at(f.incoming)), at(f.most, UNKNOWN)]

    index = [row(f) for f, _ in flows]
    last = [[at(t) for t in (one.at_start, one.size, one.at_end, one.made)] for one in recording.passes]
    dtype = recording.passes[0].at_start.dtype
    # All numbers come from the device at once.
    amounts = torch.stack([t.to(dtype) for _, t in columns.values()], 1).cpu().double()
    n, none = len(amounts), amounts.new_tensor([0.0, torch.nan])
    amounts = torch.cat([amounts, none.expand(n, 2)], 1)
    table, ends = amounts[:, torch.tensor(index)], amounts[:, torch.tensor(last)]
    titles = {id(f.rule): title(f.rule) for f, _ in flows}
    details: dict[str, Any] = {f"relevance_{name}": table[:, :, i] for i, name in enumerate(COLUMNS)}
    details |= {
        "relevance_at_start": ends[:, :, 0].sum(1),
        "relevance_at_end": ends[:, :, 2].sum(1),
        "relevance_ends": ends,
        "relevance_pass": torch.tensor([number for _, number in flows]).expand(n, -1),
        "relevance_absorbs": torch.tensor([f.absorbs for f, _ in flows]).expand(n, -1),
        "relevance_resets": torch.tensor([f.resets for f, _ in flows]).expand(n, -1),
        "relevance_rounding": torch.full((n,), rounding_of(recording.image.device, dtype)),
        OPERATIONS: tuple(f"{f.operation} ({titles[id(f.rule)]})" for f, _ in flows),
    }
    return details, remarks


def read_batch(details: Mapping[str, Any]) -> list[Conservation]:
    """Return the conservation of every image of a batch; none of methods that pass no relevance."""
    if "relevance_ends" not in details:
        return []
    incoming, outgoing, size, made, biases, constants, remainder, dead, outside, due, most = (
        cast(Tensor, details.get(f"relevance_{name}", torch.zeros_like(details["relevance_incoming"])))
        for name in COLUMNS
    )
    absorbs = cast(Tensor, details["relevance_absorbs"]).bool()
    ends, of = cast(Tensor, details["relevance_ends"]), cast(Tensor, details["relevance_pass"])[0].long()
    total = ends[:, :, 0].sum(1) - (incoming - due).sum(1)  # what is due at the end
    measure = torch.maximum(total.abs(), ends[:, :, (1, 3)].sum(1).amin(1) / CANCELS)
    resets = cast(Tensor, details["relevance_resets"]).bool()
    rest = due - outgoing - biases - constants - remainder
    rest = torch.where(dead > rest.abs(), dead, rest)  # losses of both signs don't make up for each other
    # The sum of large amounts that cancel is as good as rounding lets it be. Amounts that a rule fixes don't cancel,
    # and are the measure of what it hands on.
    rounding = cast(Tensor, details["relevance_rounding"])[:, None] * torch.maximum(size, made)
    rounds = ~resets & (rest.abs() <= rounding)
    scaled = torch.where(resets, rest * measure[:, None] / most.clamp_min(SMALL), rest)
    violations = torch.where(absorbs | rounds, 0.0, scaled)
    strayed = (ends[:, :, 0] - ends[:, :, 2]).sum(1) - (incoming - outgoing).sum(1)
    stays = strayed.abs() <= rounding.amax(1)
    grew, beyond, most_at = _growth(size, made, most, ends, of)
    operations = tuple(details.get(OPERATIONS) or map(str, range(incoming.shape[1])))
    columns: dict[str, Iterable[Any]] = {
        "at_start": floats(ends[:, :, 0].sum(1)),
        "at_end": floats(ends[:, :, 2].sum(1)),
        "size": floats(ends[:, :, 1].sum(1)),
        "made": floats(ends[:, :, 3].sum(1)),
        "strayed": floats(torch.where(stays, 0.0, strayed)),
        "by_law": floats((incoming - due).sum(1)),
        "violation": floats(violations.sum(1)),
        "rounded": floats(torch.where(rounds, rest, 0.0).sum(1) + torch.where(stays, strayed, 0.0)),
        "grew": floats(grew),
        "beyond": floats(beyond),
        "grew_at": [operations[i] for i in most_at],
        "operations": [operations] * len(incoming),
        "incoming": map(tuple, rows(incoming)),
        "outgoing": map(tuple, rows(outgoing)),
        "absorbs": (tuple(truths(one)) for one in absorbs),
        "into_biases": map(tuple, rows(biases)),
        "into_constants": map(tuple, rows(constants)),
        "into_softmax": map(tuple, rows(remainder)),
        "into_stabilisers": map(tuple, rows(torch.where(absorbs & ~rounds, scaled, 0.0))),
        "violations": map(tuple, rows(violations)),
        "resets": truths(resets.any(1)),
        "outside": [tuple(operations[i] for i in integers(some.nonzero()[:, 0])) for some in outside],
        "ways": [ends.shape[1]] * len(incoming),
    }
    return [Conservation(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def _growth(size: Tensor, made: Tensor, most: Tensor, ends: Tensor, of: Tensor) -> tuple[Tensor, Tensor, list[int]]:
    """Return how many times the absolute relevance grew, all in all and beyond the rules' laws, and where most.

    Args:
        size: absolute relevance that came to each operation, (n, operations).
        made: absolute relevance that each handed on, (n, operations).
        most: the most that it hands on by its law, NaN without one, (n, operations).
        ends: what entered and left in each pass, and its size, (n, passes, 4).
        of: the pass of each operation, (operations,).
    """
    has_law, at_start = ~most.isnan(), ends[:, of, 1]
    within = size > TOLERANCE * at_start
    lawful = torch.where(has_law, most / size.clamp_min(SMALL), 1.0).clamp_min(1.0)
    ratio = torch.where(within, made / size.clamp_min(SMALL), 0.0)
    grew, beyond = torch.zeros(len(size)), torch.zeros(len(size))
    for number in range(ends.shape[1]):
        here = of == number
        if not bool(here.any()):  # it was stopped where it started
            continue
        start = ends[:, number, 1].clamp_min(SMALL)
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
    return grew, beyond, integers(torch.where(within, ratio / lawful, 0.0).argmax(1))


def read_image(details: Mapping[str, Any]) -> Conservation | None:
    """Return one image's conservation from its details, or None if its method passes no relevance."""
    batch = {name: value[None] if isinstance(value, Tensor) else value for name, value in details.items()}
    return next(iter(read_batch(batch)), None)


def conservation_notes(conservation: Conservation) -> tuple[str, ...]:
    """Return what the reader of a map should know of its conservation; nothing where relevance is conserved."""
    grew = conservation.beyond > CANCELS or conservation.grew > GROWN
    silent = conservation.size == 0 or (conservation.conserves and not grew)
    said = () if silent else (*conservation.warnings, f"relevance: {conservation}")
    if not conservation.outside:
        return said
    where = conservation.outside[0].partition(" (")[0]
    return (
        *said,
        f"At {where} inputs are darker than black or brighter than white, between which its rule shares relevance: the "
        "classifier's mean and std are not those by which its inputs were made, or the network changes them before. "
        "Bounds of your own for lrp: rules={'first': 'z-box(LOW, HIGH)'}.",
    )


def rounding_of(device: torch.device, dtype: torch.dtype) -> float:
    """Return the share of the absolute relevance by which sums of such numbers may be off."""
    if device.type != "cuda" or dtype == torch.float64:
        return ROUNDING["float64" if dtype == torch.float64 else "float32"]
    backends: Any = torch.backends
    if hasattr(backends.cudnn, "conv"):  # a setting for each kind of operation, in newer PyTorch
        settings = (backends, backends.cudnn, backends.cudnn.conv, backends.cuda.matmul)
        rounds = any(s.fp32_precision == "tf32" for s in settings)
    else:
        rounds = backends.cudnn.allow_tf32 or backends.cuda.matmul.allow_tf32
    return ROUNDING["tf32" if rounds else "float32"]
