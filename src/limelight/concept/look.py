"""One look at a layer: its activations, the relevance there, and how it goes on to the picture through concepts alone.

A concept j is a mask M_j in [0, 1] over the layer's channels and positions. Its relevance is M_j . R, and its
conditional map is what arrives at the picture when that alone is passed on. The rules are linear in what they pass on,
so that masks that add up to 1 give maps that add up to the whole one (Achtibat et al. 2023).

Relevance begins with the score itself, whatever its sign, so that what is above 0 has raised it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from limelight.engine.passes import AT_A_RECORDING
from limelight.errors import NonFinite, UnsupportedModel
from limelight.maps.propagation.lrp import start, usual_composite
from limelight.model.classifier import Classifier
from limelight.model.cost import Meter
from limelight.model.layers import LayerInfo, Layout
from limelight.model.one_pass import pass_images
from limelight.model.targets import Targets
from limelight.ops.scale import divide
from limelight.relevance.audit import audit_recording, conservation_notes, read_batch
from limelight.relevance.composites import Composite, rules_of
from limelight.relevance.recorded_pass import RecordedPass, record_images
from limelight.relevance.recording import Recording
from limelight.relevance.rules import Rules
from limelight.shapes import Columns, Images, Maps, Scores


@dataclass(frozen=True)
class Settings:
    """How a layer is looked at.

    Attributes:
        classifier: the model.
        layer: what is known of the layer.
        composite: a published table of rules, or None for that of ``lrp``.
        meter: counts the passes.
        strict: refuse operations that have no rule.
    """

    classifier: Classifier
    layer: LayerInfo
    composite: Composite | None
    meter: Meter
    strict: bool = False

    @property
    def layout(self) -> Layout:
        """Where the layer's maps are."""
        assert self.layer.layout is not None
        return self.layer.layout

    @property
    def prefix(self) -> int:
        """Tokens in front of them, which ``columns`` has too."""
        return self.layout.prefix if self.layout.kind in ("tokens", "tokens_first") else 0

    def centre_of(self, position: int, size: Sequence[int]) -> tuple[float, float]:
        """Return x and y of the centre of a position of the map in a picture (H, W)."""
        rows, columns = self.layout.grid
        row, column = divmod(position, columns)
        return (column + 0.5) * size[1] / columns, (row + 0.5) * size[0] / rows


@dataclass(frozen=True)
class Batch:
    """Pictures of one size.

    Attributes:
        settings: how the layer is looked at.
        x: normalised pictures, (n, c, H, W).
        targets: what is explained of them.
        names: of the pictures, n or none.
    """

    settings: Settings
    x: Images
    targets: Targets
    names: Sequence[str] = ()

    def split(self, batch_size: int | None = None) -> Iterator["Batch"]:
        """Yield as many at a time as fit the memory of a recorded pass, or as are wanted."""
        classifier = self.settings.classifier
        size = classifier.at_once(self.x, AT_A_RECORDING, batch_size, per_thread=1)
        for first in range(0, len(self.x), size):
            some = slice(first, min(len(self.x), first + size))
            settings = replace(self.settings, classifier=classifier.take(some))
            yield Batch(settings, self.x[some], self.targets[some], self.names[some])


@dataclass(frozen=True)
class Look:
    """A recorded pass of some pictures, and the relevance at a layer.

    Attributes:
        settings: how it was made.
        clean: the pass.
        rules: of relevance.
        acts: activations of the layer A, (n, k, prefix + positions).
        relevance: R, in the same shape.
        whole: what arrives at the pictures of all of R, (n, H, W); None where nobody asked for it.
        notes: for each picture, what the reader should know of where its relevance went.
        warnings: what is wrong about it, for any picture.
    """

    settings: Settings
    clean: RecordedPass
    rules: Rules
    acts: Columns
    relevance: Columns
    whole: Maps | None
    notes: tuple[tuple[str, ...], ...]
    warnings: tuple[str, ...]

    def share(self, mask: Tensor) -> Scores:
        """Return a concept's share of the layer's relevance, with its sign: sum M . R / sum |R|, (n,); 0 of none."""
        return divide((mask * self.relevance).sum((1, 2)), self.relevance.abs().sum((1, 2)))

    def condition(self, masks: Sequence[Tensor], copies: int | None = None) -> Tensor:
        """Return the relevance at the pictures that passes the layer through each of c concepts alone, (n, c, H, W).

        Args:
            masks: M of each, (n, k, places), or with axes of 1 where it is the same for all.
            copies: see ``pass_on``.
        """
        return self.pass_on([mask * self.relevance for mask in masks], copies)

    def pass_on(self, seeds: Sequence[Columns], copies: int | None = None) -> Tensor:
        """Return where c amounts of relevance at the layer, (n, k, places) each, come from in the pictures.

        Args:
            seeds: the amounts.
            copies: how many pass together, each along a recorded copy of the pictures. None for one after the other on
                a processor, where a copy takes as long as what it saves, and else for as many as fit.

        Returns:
            (n, c, H, W), signed.
        """
        x, n = self.clean.image, len(self.clean.image)
        at_once = 1 if x.device.type == "cpu" else self.settings.classifier.at_once(x, AT_A_RECORDING) // n
        size = max(1, min(len(seeds), copies or at_once))
        recording = self.clean.recording if size == 1 else _record(self.settings, x, self.clean.targets, size).recording
        maps: list[Maps] = []
        for first in range(0, len(seeds), size):
            some = [*seeds[first : first + size]]
            unused = [torch.zeros_like(some[0])] * (size - len(some))
            arrived = _to_image(self.settings, recording, self.rules, torch.stack([*some, *unused], 1).flatten(0, 1))
            maps += torch.unflatten(arrived, 0, (n, size)).unbind(1)[: len(some)]
        return torch.stack(maps, 1)


def look(batch: Batch, *, whole: bool = True) -> Look:
    """Record a pass, and pass relevance back to the layer.

    Args:
        batch: the pictures.
        whole: whether to pass it on to the pictures too.

    Raises:
        NonFinite: relevance became NaN or infinite.
        UnsupportedModel: nothing can be recorded of the model, or ``strict`` is asked for and an operation has no rule.
    """
    settings, x = batch.settings, batch.x
    clean = _record(settings, x, batch.targets)
    recording, layout, name = clean.recording, settings.layout, settings.layer.name
    low, high = settings.classifier.bounds
    rules = rules_of(settings.composite or usual_composite(recording), (low.to(x), high.to(x)))
    begin = recording.logits if recording.targets.function is None else recording.start.outputs
    recording.restart()
    seed = recording.seed(start(recording, "logit"))
    (r,) = recording.relevance(rules, begin, seed, [recording.outputs[name]])
    _require_finite(settings, r)
    _count(settings, recording)
    accounts = [_audit(recording, f"to {name}", len(x), strict=settings.strict)]
    wide = torch.promote_types(r.dtype, torch.float32)
    acts, relevance = (layout.columns(t.detach()).to(wide) for t in (recording.outputs[name], r))
    at_image = None
    if whole:
        recording.restart()
        at_image = _to_image(settings, recording, rules, relevance, audit=True)
        accounts.append(_audit(recording, f"from {name} to the picture", len(x), strict=settings.strict))
    notes = tuple(tuple(dict.fromkeys(a + b)) for a, b in zip(accounts[0][0], accounts[-1][0], strict=True))
    warned = tuple(dict.fromkeys(accounts[0][1] + accounts[-1][1]))
    return Look(settings, clean, rules, acts, relevance, at_image, notes, warned)


def read_acts(batch: Batch) -> Columns:
    """Return activations of the layer, (n, k, prefix + positions), of a pass that is not recorded."""
    settings, name = batch.settings, batch.settings.layer.name
    clean = pass_images(
        settings.classifier,
        batch.x,
        batch.targets,
        {name: settings.layer},
        layer_gradients=False,
        meter=settings.meter,
    )
    acts = settings.layout.columns(clean.stages[name].output)
    return acts.to(torch.promote_types(acts.dtype, torch.float32))


def _record(settings: Settings, x: Images, targets: Targets, copies: int = 1) -> RecordedPass:
    """Record a pass of pictures, or of so many copies of each, which stand beside one another."""
    numbers = torch.arange(len(x), device=x.device).repeat_interleave(copies)
    own = settings.classifier if copies == 1 else settings.classifier.take(numbers)
    some = (x, targets) if copies == 1 else (x[numbers], targets[numbers])
    layers = {settings.layer.name: settings.layer}
    return record_images(own, *some, layers, layer_gradients=False, meter=settings.meter)


def _to_image(settings: Settings, recording: Recording, rules: Rules, seed: Columns, *, audit: bool = False) -> Maps:
    """Return what arrives at the pictures of relevance at the layer, (n, H, W)."""
    name = settings.layer.name
    with torch.enable_grad():
        at = settings.layout.columns(recording.outputs[name])
    (r,) = recording.relevance(rules, at, seed, [recording.image], audit=audit)
    _count(settings, recording)
    _require_finite(settings, r)
    return r.sum(1).detach()


def _require_finite(settings: Settings, r: Tensor) -> None:
    """Refuse relevance that is NaN or infinite."""
    if not bool(torch.isfinite(r).all()):
        raise NonFinite(f"the relevance that passes layer {settings.layer.name!r} became NaN or infinite")


def _count(settings: Settings, recording: Recording) -> None:
    """Count the arithmetic of a pass of relevance, in passes of the whole network."""
    images = len(recording.image)
    settings.meter.add(forward=images * recording.forwards, backward=images * recording.backwards)
    recording.spent.forward = recording.spent.backward = 0.0


def _audit(recording: Recording, where: str, n: int, *, strict: bool) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """Return for each picture what is to be said of a pass of relevance, and what is wrong about any.

    Raises:
        UnsupportedModel: ``strict`` is asked for, and there is no rule for some operation.
    """
    if strict and recording.without_rule:
        raise UnsupportedModel(f"concepts: there is no rule for {', '.join(map(str, recording.without_rule[:3]))}")
    details, remarks = audit_recording(recording)
    balances = read_batch(details)
    notes = [(*remarks, *(f"{where}: {note}" for note in conservation_notes(one))) for one in balances]
    wrong = (f"{where}: {warning}" for one in balances for warning in one.warnings)
    return notes or [tuple(remarks)] * n, (*remarks, *wrong)
