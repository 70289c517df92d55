"""Apply one method to a pass that it shares with others, and keep the record of what it made and cost."""

import time
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from limelight.engine import diagnosis
from limelight.engine.budget import Allowance
from limelight.engine.provenance import provenance
from limelight.engine.request import ATTENTION_GRADIENT_NEEDS, GRADIENT_NEEDS, INPUT_GRADIENT_NEEDS, Request
from limelight.engine.saliency import Finish, Raw, Saliency
from limelight.engine.spec import Spec
from limelight.errors import ConservationWarning, NonFinite, UnsupportedModel
from limelight.model.cost import Cost, Meter
from limelight.model.layers import LayerInfo
from limelight.model.one_pass import Pass
from limelight.ops.space import size_of
from limelight.relevance.audit import audit_recording, conservation_notes, read_batch
from limelight.relevance.recorded_pass import RecordedPass
from limelight.relevance.rules import GRADIENT


@dataclass(frozen=True)
class Shared:
    """A pass over some images, and what it cost.

    Attributes:
        clean: what the network gave.
        meter: the passes that were spent on it.
        seconds: the time.
        methods: how many methods share it.
    """

    clean: Pass
    meter: Meter
    seconds: float
    methods: int


def apply(method: Spec, shared: Shared, layers: Sequence[LayerInfo]) -> Saliency:
    """Make the maps of one method.

    Args:
        method: its equation and options.
        shared: the pass.
        layers: those that it explains, shallow to deep.

    Raises:
        NonFinite: a map is NaN or infinite.
        UnsupportedModel: the method can't have this model.
    """
    start, meter, clean = time.perf_counter(), Meter(), shared.clean
    n, size = len(clean.image), size_of(clean.image)
    tail = 1 - layers[0].before if layers else 1.0

    def spent() -> float:
        return shared.meter.per_image(n, tail).forwards + meter.per_image(n, tail).forwards

    allowance = Allowance(method.options.budget, n, spent, start - shared.seconds, device=clean.image.device)
    request = Request(method, clean, layers, meter, allowance)
    with prefix_errors([method]):
        raw = _make_maps(method, request, clean)
        accounts, remarks = _audit_relevance(method, clean, meter)
    finish = Finish(size, method.options.relu, method.options.normalize_at)
    _, empty = finish(raw.values)
    explained: Sequence[LayerInfo] = [] if method.base else layers
    ambiguous = {} if raw.ambiguous is None else {"ambiguous": raw.ambiguous}
    flagged = dict(raw.flagged) if raw.ambiguous is None else {**raw.flagged, diagnosis.AMBIGUOUS: raw.ambiguous}
    some = [note for note, flags in flagged.items() if bool(flags.any())]
    assert clean.targets.index is not None
    return Saliency(
        raw=raw.values,
        finish=finish,
        target=clean.targets.index,
        score=clean.score_as(method.options.score),
        probability=clean.probability,
        reasons=diagnosis.reasons(raw, empty, clean, explained, method, request.effects),
        notes=(
            *raw.notes,
            *some,
            *diagnosis.notes(raw, clean, layers, method, request.effects),
            *_notes_of_score(method, clean),
            *allowance.remarks,
            *remarks,
        ),
        cost=meter.per_image(n, tail) + _share(method, shared.meter.per_image(n, tail), clean),
        seconds=(shared.seconds + time.perf_counter() - start) / n,
        details={**raw.details, **accounts, **ambiguous},
        provenance=provenance(method, clean, layers, finish, shared.methods),
        flagged=flagged,
    )


def _notes_of_score(method: Spec, clean: Pass) -> tuple[str, ...]:
    """Say that a kind of score was asked for where a function gives the score."""
    if clean.targets.function is None or "score" not in method.options.model_fields_set:
        return ()
    return (f"score={method.options.score!r} is that of a class; the target is a function, and its own was explained",)


def _make_maps(method: Spec, request: Request, clean: Pass) -> Raw:
    """Return the raw maps.

    Raises:
        UnsupportedModel: ``strict`` is asked for, and there is no rule for some operation.
        NonFinite: a map is NaN or infinite.
    """
    if isinstance(clean, RecordedPass):
        clean.recording.restart()
        clean.recording.note_unruled(method.derivatives, clean.recording.score)
        if method.options.strict and clean.recording.unruled:
            raise UnsupportedModel(f"{method.name} has no rule for {', '.join(map(str, clean.recording.unruled[:3]))}")
    raw = request.apply()
    if isinstance(clean, RecordedPass) and method.options.strict and clean.recording.without_rule:
        names = ", ".join(map(str, clean.recording.without_rule[:3]))
        raise UnsupportedModel(f"{method.name} has no rule for {names}")
    if not bool(torch.isfinite(raw.values).all()):
        raise NonFinite(f"{method.name} made a NaN or infinite map")
    return raw


def _audit_relevance(method: Spec, clean: Pass, meter: Meter) -> tuple[dict[str, Any], list[str]]:
    """Count what was passed back along a recorded pass; return the accounts of relevance, and what is to be noted."""
    if not isinstance(clean, RecordedPass):
        return {}, []
    recording, n = clean.recording, len(clean.image)
    meter.add(forward=n * recording.forwards, backward=n * recording.backwards)
    accounts, remarks = audit_recording(recording)
    for remark in remarks:
        warnings.warn(f"{method.name}: {remark}", ConservationWarning, stacklevel=2)
    return accounts, remarks


def _share(method: Spec, used: Cost, clean: Pass) -> Cost:
    """Return what a method would have spent of the shared pass, had it been alone."""
    whole = INPUT_GRADIENT_NEEDS | ATTENTION_GRADIENT_NEEDS
    if not method.needs & (GRADIENT_NEEDS | whole):
        return replace(used, n_backward=0.0, n_backward_tail=0.0)
    as_plain = not isinstance(clean, RecordedPass) or method.derivatives is not GRADIENT
    if as_plain and not method.needs & whole:  # it had stopped at the layer
        return replace(used, n_backward=0.0, n_backward_tail=used.n_backward + used.n_backward_tail)
    return used


def note_losses(saliency: Saliency, method: Spec) -> Saliency:
    """Warn of the image that lost most relevance on the way, and note it."""
    images = read_batch(saliency.details)
    worst = max(images, key=lambda a: (len(a.warnings), a.beyond, max(a.uptake, a.release)), default=None)
    if worst is None:
        return saliency
    for remark in worst.warnings:
        warnings.warn(f"{method.name}: {remark}", ConservationWarning, stacklevel=2)
    return replace(saliency, notes=(*saliency.notes, *conservation_notes(worst)))


@contextmanager
def prefix_errors(methods: Sequence[Spec]) -> Generator[None]:
    """Say in an error about the model which methods it is about."""
    try:
        yield
    except UnsupportedModel as error:
        names = [m.name for m in methods]
        if not any(str(error).startswith(name) for name in names):
            error.args = (f"{', '.join(names)}: {error}",)
        raise
