"""Apply methods to a batch: gather the evidence that they need once, then call each equation."""

import time
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from typing import Any, get_args

import torch
from torch import Tensor, nn

from limelight.engine import diagnosis
from limelight.engine.augment import VIEWS, averaged
from limelight.engine.budget import Allowance
from limelight.engine.options import enlarged
from limelight.engine.passes import Evidence, gather, record
from limelight.engine.provenance import provenance
from limelight.engine.request import GRADIENT_NEEDS, SLOPE_NEEDS, TAPE_NEEDS, Supply
from limelight.engine.saliency import Finish, Saliency
from limelight.engine.spec import Spec
from limelight.errors import ConservationWarning, InvalidOption, NonFinite, OutOfMemory, UnsupportedModel
from limelight.model.batches import PER_CPU_THREAD, in_chunks
from limelight.model.boundary import NEEDS_GRADIENTS
from limelight.model.classifier import Classifier, as_classifier
from limelight.model.cost import Meter
from limelight.model.layers import LayerInfo
from limelight.model.preserve import borrowed
from limelight.model.targets import Asked, ScoreKind, TargetLike, understood
from limelight.relevance import conservation
from limelight.shapes import Images


def run(
    methods: Sequence[Spec], classifier: Classifier | nn.Module | str, x: Images, target: TargetLike = None
) -> list[Saliency]:
    """Explain a batch by several methods that share passes: one forward and backward serves all they can.

    Args:
        methods: at least one.
        classifier: a ``Classifier``, a module, or a name that ``limelight.load`` knows.
        x: normalised images, (n, 3, H, W).
        target: see ``Method.run``.

    Returns:
        One record per method, in their order.
    """
    results: dict[int, Saliency] = {}
    classifier = as_classifier(classifier)
    methods = [m.located(classifier) for m in methods]
    with borrowed(classifier.module):  # once for all passes; and whatever mode the caller is in
        x = classifier.checked(x)
        target = understood(target, len(x))  # is counted here, before chunks have counts of their own
        classifier.admit(methods, x)
        # One backward per explained scalar, and a recorded pass for those that need one.
        for kind, recorded in product(get_args(ScoreKind), (False, True)):
            group = [(i, m) for i, m in enumerate(methods) if m.kind == kind and _wants(m, TAPE_NEEDS) == recorded]
            if not group:
                continue
            together = _run_group([m for _, m in group], classifier, x, target, kind)
            results |= {i: saliency for (i, _), saliency in zip(group, together, strict=True)}
        for i, m in enumerate(methods):
            if m.options.augment != "none":
                results[i] = _with_views(m, classifier, x, results[i], target)
    return [results[i] for i in range(len(methods))]


def _with_views(method: Spec, classifier: Classifier, x: Images, plain: Saliency, target: Asked) -> Saliency:
    """Explain the same classes on other views of the pictures too, and average."""
    alone = replace(method, options=method.options.model_copy(update={"augment": "none"}))
    same = target if callable(target) else plain.target
    views = [run([alone], classifier, there(x), same)[0] for there, _ in VIEWS[method.options.augment]]
    return averaged([plain, *views], method.options.augment)


def _run_group(
    methods: Sequence[Spec], classifier: Classifier, x: Images, target: Asked, kind: ScoreKind
) -> list[Saliency]:
    layers: list[list[LayerInfo]] = []
    for m in methods:
        with naming([m]):
            layers.append(_layers_of(m, classifier, x))
    wanted = {info.name: info for infos in layers for info in infos}
    gradients, slope, taped = (
        any(_wants(m, needs) for m in methods) for needs in (GRADIENT_NEEDS, SLOPE_NEEDS, TAPE_NEEDS)
    )
    sizes = [m.options.batch_size for m in methods if m.options.batch_size]
    kept = 4 if taped else 3 if gradients or slope else 1
    # What is kept for the way back falls out of a processor's cache with a second image.
    given, per_thread = min(sizes) if sizes else None, 1 if taped else PER_CPU_THREAD
    size = classifier.at_once(x, kept, given, per_thread=per_thread)

    def explain(images: slice) -> list[Saliency]:
        start = time.perf_counter()
        meter = Meter()
        chunk = target[images] if isinstance(target, list) else target
        if taped:
            evidence = record(classifier, x[images], chunk, kind, wanted, gradients=gradients, meter=meter)
        else:
            evidence = gather(classifier, x[images], chunk, kind, wanted, gradients=gradients, slope=slope, meter=meter)
        shared = time.perf_counter() - start
        return [
            _apply(m, evidence, infos, meter, shared, len(methods)) for m, infos in zip(methods, layers, strict=True)
        ]

    with naming([m for m in methods if m.needs & NEEDS_GRADIENTS] or methods):
        try:
            chunks = in_chunks(explain, len(x), size)
        except OutOfMemory as error:
            large = [f"{m.name}'s {option}" for m in methods for option in enlarged(m.card, m.options)]
            error.args = (f"{error}{''.join(f', or less than {option}' for option in large)}",)
            raise
    return [_audited(_joined([chunk[i] for chunk in chunks]), m) for i, m in enumerate(methods)]


def _audited(saliency: Saliency, method: Spec) -> Saliency:
    """Look through the books of relevance: warn of the worst image, and note it."""
    images = conservation.accounts(saliency.details)
    worst = max(images, key=lambda a: (len(a.warnings), a.beyond, max(a.taken, a.given)), default=None)
    if worst is None:
        return saliency
    for remark in worst.warnings:
        warnings.warn(f"{method.name}: {remark}", ConservationWarning, stacklevel=2)
    return replace(saliency, notes=(*saliency.notes, *conservation.notes(worst)))


@contextmanager
def naming(methods: Sequence[Spec]) -> Generator[None]:
    """Say in an error about the model which methods it is about."""
    try:
        yield
    except UnsupportedModel as error:
        names = [m.name for m in methods]
        if not any(str(error).startswith(name) for name in names):
            error.args = (f"{', '.join(names)}: {error}",)
        raise


def _wants(method: Spec, needs: frozenset[str]) -> bool:
    return bool(needs & method.needs)


def _layers_of(method: Spec, classifier: Classifier, x: Images) -> list[LayerInfo]:
    method = method.base or method
    if method.card.layers == "none" or (method.card.layers == "stop" and method.layers is None):
        return []
    infos = classifier.layers(method.layers, x, method.card.layers)
    names = [info.name for info in infos]
    if not names or len(set(names)) < len(names):
        raise InvalidOption(f"{method.name}: layer={tuple(names)}; give at least one, and none twice")
    if method.card.layers == "stop" and len(infos) > 1:
        raise InvalidOption(f"{method.name} stops at one layer, got {len(infos)}: {', '.join(names)}")
    if method.fusible and method.options.fuse and len(infos) == 1:
        raise InvalidOption(
            f"{method.name}: fuse={method.options.fuse!r} puts the maps of several layers together, and there is one, "
            f"{names[0]!r}; give layer=('…', '…')"
        )
    if method.fusible and method.options.budget and len(infos) > 1:
        raise InvalidOption(f"{method.name}: a budget is for one layer, got {len(infos)}: {', '.join(names)}")
    return infos


def _apply(
    method: Spec,
    evidence: Evidence,
    layers: Sequence[LayerInfo],
    shared_meter: Meter,
    shared_seconds: float,
    sharing: int,
) -> Saliency:
    start = time.perf_counter()
    meter = Meter()
    n = len(evidence.image)
    tail = 1 - layers[0].before if layers else 1.0

    def spent() -> float:
        return shared_meter.per_image(n, tail).forwards + meter.per_image(n, tail).forwards

    allowance = Allowance(method.options.budget, n, spent, start - shared_seconds, device=evidence.image.device)
    supply = Supply(method, evidence, layers, meter, allowance)
    tape = evidence.tape
    if tape:
        tape.restart()
        if method.options.strict and tape.unruled:
            raise UnsupportedModel(f"{method.name} has no rule for {', '.join(map(str, tape.unruled[:3]))}")
    with naming([method]):
        raw = supply.applied()
    details: dict[str, Any] = dict(raw.details)
    remarks: list[str] = []
    if tape:
        meter.add(
            forward=len(evidence.image) * tape.forwards,
            backward=len(evidence.image) * tape.backwards,
        )
        books, remarks = conservation.booked(tape)
        details |= books
        for remark in remarks:
            warnings.warn(f"{method.name}: {remark}", ConservationWarning, stacklevel=2)
    if not bool(torch.isfinite(raw.values).all()):
        raise NonFinite(f"{method.name} made a NaN or infinite map")

    size = (int(evidence.image.shape[-2]), int(evidence.image.shape[-1]))
    finish = Finish(size, method.options.relu, method.options.normalize_at)
    _, empty = finish(raw.values)
    used = shared_meter.per_image(n, tail)
    if not _wants(method, GRADIENT_NEEDS | SLOPE_NEEDS):
        used = replace(used, n_backward=0.0, n_backward_tail=0.0)
    elif not tape and not _wants(method, SLOPE_NEEDS):  # it would have stopped at the layer
        used = replace(used, n_backward=0.0, n_backward_tail=used.n_backward + used.n_backward_tail)
    cost = meter.per_image(n, tail) + used
    if raw.ambiguous is not None:
        details["ambiguous"] = raw.ambiguous
    return Saliency(
        raw=raw.values,
        finish=finish,
        target=evidence.target.index,
        score=evidence.score_as(method.options.score),
        probability=evidence.probability,
        reasons=diagnosis.reasons(raw, empty, evidence, [] if method.base else layers, method, supply.felt),
        notes=(*raw.notes, *diagnosis.notes(raw, evidence, layers, method, supply.felt), *allowance.remarks, *remarks),
        cost=cost,
        seconds=(shared_seconds + time.perf_counter() - start) / n,
        details=details,
        provenance=provenance(method, evidence, layers, finish, sharing),
    )


def _joined(parts: Sequence[Saliency]) -> Saliency:
    """Put the records of consecutive chunks together."""
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
    )
