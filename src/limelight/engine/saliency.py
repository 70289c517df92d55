"""The finished record of a method on a batch. Scaling, resizing and colour are views of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from limelight.model.cost import Cost
from limelight.ops import min_max, resize
from limelight.ops.space import MODES
from limelight.shapes import Flags, Grid, Index, Maps, Scores


@dataclass(frozen=True)
class Raw:
    """What a method returns if there is more to tell than the map.

    Attributes:
        values: the raw map, (n, *place), signed.
        details: what was found on the way, tensors of n rows (clusters, masks, weights).
        ambiguous: per image, whether the map is one of several equally right ones.
        notes: what the reader of these maps should know.
        layers: what each layer gave, if the maps of several are fused.
        flagged: what the reader of some of these maps should know: a sentence -> which of them it is about, (n,).

    Example:
        >>> import torch
        >>> raw = ll.Raw(torch.rand(2, 7, 7), details={"weights": torch.rand(2, 5)}, notes=("drawn by lot",))
        >>> raw.values.shape
        torch.Size([2, 7, 7])
    """

    values: Grid
    details: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    ambiguous: Flags | None = None
    notes: tuple[str, ...] = ()
    layers: tuple["Raw", ...] = ()
    flagged: Mapping[str, Flags] = field(default_factory=dict[str, Flags])


@dataclass(frozen=True)
class Finish:
    """How a raw map becomes the finished one.

    Attributes:
        size: the sides of the input, such as (H, W).
        relu: keep the positive part only.
        normalize_at: ``"input"`` resizes first and scales then, so that the largest value is exactly 1;
            ``"feature"`` scales at the map's own resolution and resizes then, as some libraries do.
    """

    size: tuple[int, ...]
    relu: bool = True
    normalize_at: Literal["input", "feature"] = "input"

    def __call__(self, raw: Grid) -> tuple[Maps, Flags]:
        """Return maps in [0, 1] and a flag for those that are empty: 0 everywhere once they are rectified."""
        kept = raw.relu() if self.relu else raw
        if self.normalize_at == "input":
            return min_max(resize(kept, self.size))
        scaled, constant = min_max(kept)
        return resize(scaled, self.size), constant

    @property
    def protocol(self) -> str:
        """Short id of the finishing steps."""
        return f"{'relu' if self.relu else 'signed'}/minmax@{self.normalize_at}/{MODES[len(self.size)]}"


@dataclass(frozen=True)
class Saliency:
    """One method on one batch.

    Attributes:
        raw: the method's own map, (n, *place), signed, on the images' device.
        finish: how ``map`` is made of it.
        target: explained class per image, -1 where a function is explained; (n,).
        score: the scalar that was explained; (n,).
        probability: of the explained class; NaN where a function is explained; (n,).
        reasons: per image, why the map is empty, or "".
        notes: what the reader of these maps should know, some of it of some of them alone.
        cost: passes per image, measured.
        seconds: time per image; shared passes are counted in full.
        details: what the method chose on the way.
        provenance: everything needed to make the same map again.
        flagged: which images a note is about, (n,), where it is not about all.

    Example:
        >>> classifier = ll.load("demo/resnet")
        >>> x = classifier.preprocess(ll.example_image())[None]
        >>> saliency = ll.method("grad-cam").run(classifier, x)
        >>> saliency.map.shape, saliency.reasons
        (torch.Size([1, 128, 128]), ('',))
    """

    raw: Grid
    finish: Finish
    target: Index
    score: Scores
    probability: Scores
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    cost: Cost
    seconds: float
    details: Mapping[str, Any]
    provenance: Mapping[str, Any]
    flagged: Mapping[str, Flags] = field(default_factory=dict[str, Flags])

    def notes_of(self, i: int) -> tuple[str, ...]:
        """Return the notes that are about one image."""
        return tuple(note for note in self.notes if note not in self.flagged or bool(self.flagged[note][i]))

    @cached_property
    def map(self) -> Maps:
        """The finished maps: (n, *space), float32 in [0, 1], zeros where they are empty."""
        return self.finish(self.raw)[0].float()

    @property
    def degenerate(self) -> Flags:
        """Which maps are empty, (n,); ``reasons`` says why."""
        return torch.tensor([bool(r) for r in self.reasons], device=self.raw.device)

    def __len__(self) -> int:
        return len(self.raw)


def join(parts: Sequence[Saliency]) -> Saliency:
    """Return the record of a batch, given those of its consecutive chunks."""
    if len(parts) == 1:
        return parts[0]
    n = sum(len(p) for p in parts)

    def mean(value: Callable[[Saliency], float]) -> float:
        return sum(value(p) * len(p) for p in parts) / n

    counts = ("n_forward", "n_forward_tail", "n_backward", "n_backward_tail")
    return replace(
        parts[0],
        raw=torch.cat([p.raw for p in parts]),
        target=torch.cat([p.target for p in parts]),
        score=torch.cat([p.score for p in parts]),
        probability=torch.cat([p.probability for p in parts]),
        reasons=tuple(r for p in parts for r in p.reasons),
        notes=tuple(dict.fromkeys(note for p in parts for note in p.notes)),
        cost=replace(parts[0].cost, **{c: mean(lambda p, c=c: getattr(p.cost, c)) for c in counts}),
        seconds=mean(lambda p: p.seconds),
        details={
            k: torch.cat([p.details[k] for p in parts]) if isinstance(v, Tensor) else v
            for k, v in parts[0].details.items()
        },
        flagged={note: torch.cat([p.flagged[note] for p in parts]) for note in parts[0].flagged},
    )
