"""Check that relevance which enters a network also leaves it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limelight.core.relevance.tape import Tape

TOLERANCE = 0.01
"""Share of the relevance that entered which an operation may lose or make before it is reported."""


@dataclass(frozen=True)
class Conservation:
    """Where the relevance of one image went.

    Attributes:
        entered: relevance at the start.
        left: relevance where it was stopped.
        size: the largest sum of absolute relevance on the way.
        operations: what it passed, from the start on, with the rule that was used.
        came: relevance that came to each of them.
        went: relevance that each of them handed on.
        absorbs: whether the rule may lose or make relevance by its definition.
    """

    entered: float
    left: float
    size: float
    operations: tuple[str, ...]
    came: tuple[float, ...]
    went: tuple[float, ...]
    absorbs: tuple[bool, ...]

    @property
    def lost(self) -> dict[str, float]:
        """Relevance that operations lost (or made, below 0), the most first, without tolerable losses."""
        scale = TOLERANCE * self.size
        found = zip(self.operations, self.came, self.went, strict=True)
        losses = [(name, a - b) for name, a, b in found if abs(a - b) > scale]
        return dict(sorted(losses, key=lambda item: -abs(item[1])))

    def __str__(self) -> str:
        worst = "; ".join(f"{name}: {loss:+z.3g}" for name, loss in list(self.lost.items())[:3])
        return f"{self.entered:z.4g} entered, {self.left:z.4g} left" + (f" (lost at {worst})" if worst else "")


def conserved(tape: Tape) -> tuple[dict[str, Any], list[str]]:
    """Return what becomes part of the record, and remarks on losses that no rule explains."""
    remarks: list[str] = []
    if tape.fell_back:
        names = Counter(u.function for u in tape.unruled)
        where = ", ".join(f"{name} ({count}x)" if count > 1 else name for name, count in names.items())
        remarks.append(f"no rule for {where}: their own gradient was used, which does not conserve relevance")
    if not tape.flows:
        return {}, remarks
    came = torch.stack([f.entered for f in tape.flows], 1)
    went = torch.stack([f.left for f in tape.flows], 1)
    absorbs = torch.tensor([f.absorbs for f in tape.flows], device=came.device)
    scale = torch.stack([f.size for f in tape.flows], 1).amax(1, keepdim=True)
    loss = ((came - went).abs() / scale.clamp_min(1e-30)).amax(0).masked_fill(absorbs, 0.0)
    if float(loss.max()) > TOLERANCE:
        flow = tape.flows[int(loss.argmax())]
        remarks.append(f"{float(loss.max()):z.0%} of the relevance was lost or made at {flow.op} (rule {flow.rule})")
    names = tuple(f"{f.op} ({f.rule})" for f in tape.flows)
    details: dict[str, Any] = {
        "relevance_entered": tape.entered,
        "relevance_left": tape.left,
        "relevance_came": came,
        "relevance_size": scale[:, 0],
        "relevance_went": went,
        "relevance_absorbs": absorbs.expand(len(came), -1),
        "relevance_operations": names,
    }
    return details, remarks


def read(details: Mapping[str, Any]) -> Conservation | None:
    """Return one image's account from its details, or None if its method passes no relevance."""
    if "relevance_came" not in details:
        return None

    def numbers(name: str) -> tuple[Any, ...]:
        values: Tensor = details[name]
        return tuple(values.tolist())

    return Conservation(
        float(details["relevance_entered"]),
        float(details["relevance_left"]),
        float(details["relevance_size"]),
        tuple(details.get("relevance_operations", map(str, range(len(details["relevance_came"]))))),
        numbers("relevance_came"),
        numbers("relevance_went"),
        numbers("relevance_absorbs"),
    )
