"""Apply methods to a batch: gather the evidence that they need once, then call each equation."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from limelight.core.batches import chunk_size, in_chunks
from limelight.core.borrow import borrowed
from limelight.core.classifier import Classifier
from limelight.core.cost import Meter
from limelight.core.layers import LayerInfo
from limelight.core.rng import Draws
from limelight.core.saliency import Finish, Raw, Saliency
from limelight.core.taps import tapped
from limelight.core.target import ScoreKind, Target, TargetLike, class_scores, resolve
from limelight.errors import InvalidOption, NonFinite, UnknownMethod, UnsupportedModel
from limelight.shapes import Acts, Images, Logits, Scores

if TYPE_CHECKING:
    from limelight.core.method import Method


@dataclass(frozen=True)
class Stage:
    """One layer's evidence.

    Attributes:
        info: the layer.
        acts: activations, (n, k, h, w), at least float32.
        grads: gradient of the score with respect to them, or None if no method asked for it.
    """

    info: LayerInfo
    acts: Acts
    grads: Acts | None = None


@dataclass(frozen=True)
class Evidence:
    """What one pass over a chunk of images gave.

    Attributes:
        classifier: the model.
        image: normalised images, (n, 3, H, W).
        logits: (n, classes), or None if a function of the outputs is explained.
        target: the explained class or function.
        score: the explained scalar, (n,).
        kind: which scalar that is.
        stages: evidence by layer name.
    """

    classifier: Classifier
    image: Images
    logits: Logits | None
    target: Target
    score: Scores
    kind: ScoreKind
    stages: Mapping[str, Stage]


GRADIENT_NEEDS = {"grads", "stages"}


def run(methods: Sequence["Method"], classifier: Classifier, x: Images, target: TargetLike = None) -> list[Saliency]:
    """Explain a batch by several methods that share passes: one forward and backward serves all they can.

    Args:
        methods: at least one.
        classifier: the model.
        x: normalised images, (n, 3, H, W).
        target: see ``Method.run``.

    Returns:
        One record per method, in their order.
    """
    results: dict[int, Saliency] = {}
    with torch.inference_mode(False), torch.no_grad():  # whatever mode the caller is in
        x = classifier.checked(x)
        for kind in dict.fromkeys(m.options.score for m in methods):  # one backward per explained scalar
            group = [(i, m) for i, m in enumerate(methods) if m.options.score == kind]
            together = _run_group([m for _, m in group], classifier, x, target, kind)
            results |= {i: saliency for (i, _), saliency in zip(group, together, strict=True)}
    return [results[i] for i in range(len(methods))]


def _run_group(
    methods: Sequence["Method"], classifier: Classifier, x: Images, target: TargetLike, kind: ScoreKind
) -> list[Saliency]:
    layers = [_layers_of(m, classifier, x) for m in methods]
    wanted = {info.name: info for infos in layers for info in infos}
    gradients = any(GRADIENT_NEEDS & set(m.card.needs) for m in methods)
    sizes = [m.options.batch_size for m in methods if m.options.batch_size]
    per_image = classifier.trace(x).bytes_per_image * (3 if gradients else 1)
    size = min(sizes) if sizes else chunk_size(per_image, x.device)

    def explain(images: slice) -> list[Saliency]:
        start = time.perf_counter()
        meter = Meter()
        chunk = target if not _one_per_image(target, len(x)) else target[images]  # type: ignore[index]
        evidence = gather(classifier, x[images], chunk, kind, wanted, gradients=gradients, meter=meter)
        shared = time.perf_counter() - start
        return [
            _apply(m, evidence, infos, meter, shared, len(methods))
            for m, infos in zip(methods, layers, strict=True)
        ]

    chunks = in_chunks(explain, len(x), size)
    return [_joined([chunk[i] for chunk in chunks]) for i in range(len(methods))]


def _one_per_image(target: TargetLike, n: int) -> bool:
    if isinstance(target, Tensor):
        return target.ndim == 1 and len(target) == n
    return isinstance(target, list | tuple) and len(target) == n


def _layers_of(method: "Method", classifier: Classifier, x: Images) -> list[LayerInfo]:
    given = method.options.layer
    if method.card.layers == "none":
        return []
    names = classifier.layer_names(given) if given is not None else None
    infos = classifier.layers(names, x, method.card.layers)
    if method.card.layers == "one" and len(infos) != 1:
        raise InvalidOption(
            f"{method.name} explains one layer, got {len(infos)}: {', '.join(i.name for i in infos)}; "
            "layer-cam fuses several"
        )
    return infos


def gather(
    classifier: Classifier,
    x: Images,
    target: TargetLike | Target,
    kind: ScoreKind,
    layers: Mapping[str, LayerInfo],
    *,
    gradients: bool,
    meter: Meter,
) -> Evidence:
    """Run the model once, and once back if gradients are wanted, and collect what the layers gave."""
    with borrowed(classifier.module), tapped(classifier.modules(list(layers)), gradients=gradients) as taps:
        output = classifier.module(x)
        meter.add(forward=len(x))
        resolved, logits = _target(classifier, output, x, target)
        score = _score(classifier, output, logits, resolved, kind)
        found = taps.gradients(score.sum()) if gradients and layers else {}
        meter.add(backward_tail=len(x) if found else 0)
    stages = {
        name: Stage(info, _maps(info, taps.outputs[name]), _maps(info, found[name]) if name in found else None)
        for name, info in layers.items()
    }
    for name, stage in stages.items():
        _check_finite(classifier, name, stage)
    return Evidence(
        classifier, x, None if logits is None else logits.detach(), resolved, score.detach(), kind, stages
    )


def _target(classifier: Classifier, output: Any, x: Images, target: Any) -> tuple[Target, Logits | None]:
    if isinstance(target, Target):
        return target, classifier.logits(output) if target.function is None else None
    if callable(target) and not isinstance(target, Tensor):
        return Target(torch.full((len(x),), -1, device=x.device), target), None
    logits = classifier.finite(classifier.logits(output), x)
    index = resolve(target, len(x), logits.shape[1], classifier.labels)
    return Target(logits.argmax(1) if index is None else index.to(x.device)), logits


def _score(
    classifier: Classifier, output: Any, logits: Logits | None, target: Target, kind: ScoreKind
) -> Scores:
    if target.function is None:
        assert logits is not None
        return class_scores(logits, target.index, kind, classifier.multilabel)
    score = target.function(output)
    if not isinstance(score, Tensor) or score.shape != target.index.shape:  # pyright: ignore[reportUnnecessaryIsInstance]
        what = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__  # pyright: ignore
        raise InvalidOption(f"the target function must return one score per image, ({len(target.index)},), got {what}")
    if not bool(torch.isfinite(score).all()):
        raise NonFinite("the target function returned a NaN or infinite score")
    return score


def _maps(info: LayerInfo, output: Tensor) -> Acts:
    assert info.layout is not None
    maps = info.layout.maps(output.detach())
    return maps if maps.dtype == torch.float64 else maps.float()  # half precision is too coarse for the sums


def _check_finite(classifier: Classifier, name: str, stage: Stage) -> None:
    for what, values in (("activations", stage.acts), ("gradients", stage.grads)):
        if values is not None and not bool(torch.isfinite(values).all()):
            half = classifier.dtype in (torch.float16, torch.bfloat16)
            cause = f"; {str(classifier.dtype)[6:]} overflows there, try the model in float32" if half else ""
            raise NonFinite(f"{what} of layer {name!r} are NaN or infinite{cause}")


class Supply:
    """Everything that a method may name as a positional parameter.

    Methods ask by parameter name, so a method's signature is the list of its needs.
    """

    def __init__(self, method: "Method", evidence: Evidence, layers: Sequence[LayerInfo], meter: Meter) -> None:
        self._method, self._evidence, self._layers, self._meter = method, evidence, layers, meter

    @property
    def stages(self) -> list[Stage]:
        """Evidence of every layer, shallow to deep."""
        return [self._evidence.stages[info.name] for info in self._layers]

    @property
    def acts(self) -> Acts:
        """Activations of the layer, (n, k, h, w)."""
        return self.stages[0].acts

    @property
    def grads(self) -> Acts:
        """Gradient of the score with respect to them, (n, k, h, w)."""
        grads = self.stages[0].grads
        assert grads is not None
        return grads

    @property
    def image(self) -> Images:
        """The normalised images, (n, 3, H, W)."""
        return self._evidence.image

    @cached_property
    def draws(self) -> Draws:
        """Random numbers fixed by the seed."""
        return Draws(self._method.options.seed)

    @property
    def layer_at(self) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """A function: variants of the images (n, s, 3, H, W) -> A and G of the layer, (n, s, k, h, w) each."""
        evidence, info = self._evidence, self._layers[0]

        def layer_at(variants: Tensor) -> tuple[Tensor, Tensor]:
            n, s = variants.shape[:2]
            flat = variants.flatten(0, 1)
            target = evidence.target.repeated(s)

            def work(part: slice) -> tuple[Tensor, Tensor]:
                found = gather(
                    evidence.classifier,
                    flat[part],
                    target[part],
                    evidence.kind,
                    {info.name: info},
                    gradients=True,
                    meter=self._meter,
                ).stages[info.name]
                assert found.grads is not None
                return found.acts, found.grads

            trace = evidence.classifier.trace(evidence.image)
            size = self._method.options.batch_size or chunk_size(3 * trace.bytes_per_image, flat.device)
            acts, grads = zip(*in_chunks(work, n * s, size), strict=True)
            return torch.cat(acts).unflatten(0, (n, s)), torch.cat(grads).unflatten(0, (n, s))

        return layer_at

    @property
    def class_weights(self) -> Tensor:
        """Weights of the linear classifier behind global average pooling, for the target class: (n, k).

        Raises:
            UnsupportedModel: the classifier is not linear in the pooled layer.
        """
        evidence, stage = self._evidence, self.stages[0]
        if evidence.logits is None:
            raise UnsupportedModel(f"{self._method.name} needs a class as target, not a function")
        weights = linear_head(evidence.classifier.module, stage.acts, evidence.logits)
        if weights is None:
            raise UnsupportedModel(
                f"{self._method.name} needs layer -> global average pooling -> one linear layer; "
                f"that is not how {evidence.classifier.name} goes on after {stage.info.name!r} "
                "(grad-cam has no such condition)"
            )
        return weights[evidence.target.index].to(stage.acts)


def linear_head(module: nn.Module, acts: Acts, logits: Logits) -> Tensor | None:
    """Find W with logits = W mean(A) + b, or mean(ReLU(W A + b)) for a convolutional classifier.

    Whether a layer is the head is not read off its name but tested on the numbers.
    """
    pooled, logits = acts.mean((-2, -1)), logits.to(acts)
    for layer in reversed(list(module.modules())):
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            continue
        weight = layer.weight.detach().to(acts)
        if tuple(weight.shape[:2]) != (logits.shape[1], acts.shape[1]) or weight[0, 0].numel() != 1:
            continue
        weight = weight.reshape(weight.shape[0], -1)
        bias = torch.zeros_like(logits[0]) if layer.bias is None else layer.bias.detach().to(acts)
        linear = pooled @ weight.T + bias
        convolved = torch.einsum("ck,nkhw->nchw", weight, acts) + bias[:, None, None]
        tolerance = 1e-3 * float(logits.abs().max()) + 1e-5
        for candidate in (linear, convolved.relu().mean((-2, -1))):
            if torch.allclose(candidate, logits, rtol=1e-3, atol=tolerance):
                return weight
    return None


def _apply(
    method: "Method",
    evidence: Evidence,
    layers: Sequence[LayerInfo],
    shared_meter: Meter,
    shared_seconds: float,
    sharing: int,
) -> Saliency:
    start = time.perf_counter()
    meter = Meter()
    supply = Supply(method, evidence, layers, meter)
    missing = [name for name in method.card.needs if not hasattr(Supply, name)]
    if missing:
        known = ", ".join(n for n in vars(Supply) if not n.startswith("_"))
        raise UnknownMethod(f"method {method.name} asks for {missing[0]!r}; there is: {known}")
    needs = [getattr(supply, name) for name in method.card.needs]
    result = method.function(*needs, **method.own_options)
    raw = result if isinstance(result, Raw) else Raw(result)
    if not bool(torch.isfinite(raw.values).all()):
        raise NonFinite(f"{method.name} made a NaN or infinite map")

    size = (int(evidence.image.shape[-2]), int(evidence.image.shape[-1]))
    finish = Finish(size, method.options.relu, method.options.normalize_at)
    _, empty = finish(raw.values)
    n = len(evidence.image)
    tail = 1 - layers[0].before if layers else 1.0
    used = shared_meter.per_image(n, tail)
    if not GRADIENT_NEEDS & set(method.card.needs):
        used = replace(used, n_backward_tail=0.0)
    own = meter.per_image(n, tail)
    cost = replace(
        own,
        n_forward=own.n_forward + used.n_forward,
        n_backward_tail=own.n_backward_tail + used.n_backward_tail,
    )
    details: dict[str, Any] = dict(raw.details)
    if raw.ambiguous is not None:
        details["ambiguous"] = raw.ambiguous
    return Saliency(
        raw=raw.values,
        finish=finish,
        target=evidence.target.index,
        score=evidence.score,
        probability=_probability(evidence),
        reasons=_reasons(raw.values, empty, evidence, layers, method),
        notes=_notes(raw, evidence, layers, method),
        cost=cost,
        seconds=(shared_seconds + time.perf_counter() - start) / n,
        details=details,
        provenance=_provenance(method, evidence, layers, finish, sharing),
    )


def _probability(evidence: Evidence) -> Scores:
    if evidence.logits is None:
        return torch.full_like(evidence.score, torch.nan)
    logits = evidence.logits.float()
    return class_scores(logits, evidence.target.index, "prob", evidence.classifier.multilabel)


def _reasons(
    raw: Tensor, empty: Tensor, evidence: Evidence, layers: Sequence[LayerInfo], method: "Method"
) -> tuple[str, ...]:
    """Say for every empty map why it is empty."""
    reasons: list[str] = []
    for i, is_empty in enumerate(empty.tolist()):
        reasons.append(_reason(i, raw[i], evidence, layers, method) if is_empty else "")
    return tuple(reasons)


def _reason(
    i: int, raw: Tensor, evidence: Evidence, layers: Sequence[LayerInfo], method: "Method"
) -> str:
    stages = [evidence.stages[info.name] for info in layers]
    where = ", ".join(info.name for info in layers)
    if stages and all(not s.acts[i].any() for s in stages):
        return f"dead layer: every activation of {where} is 0"
    if GRADIENT_NEEDS & set(method.card.needs) and all(s.grads is None or not s.grads[i].any() for s in stages):
        if evidence.classifier.dtype in (torch.float16, torch.bfloat16):
            return f"the gradient at {where} underflows in half precision; try the model in float32"
        if evidence.kind in ("prob", "logprob") and float(_probability(evidence)[i]) > 1 - 1e-6:
            return f"saturated score: the {evidence.kind} is at its limit and has no gradient; try score='logit'"
        if not any(info.candidate for info in layers):
            return f"not on the path: the score does not depend on {where} at any position of its map"
        return f"dead gradient: the score does not change with {where}"
    if method.options.relu and float(raw.max()) <= 0:
        return "no positive evidence: the map is nowhere above 0 (relu=False shows the negative part)"
    return "constant map: every position has the same value"


def _notes(raw: Raw, evidence: Evidence, layers: Sequence[LayerInfo], method: "Method") -> tuple[str, ...]:
    notes: list[str] = []
    if raw.ambiguous is not None and bool(raw.ambiguous.any()):
        notes.append("Two principal directions are equally strong: the map is one of several right ones.")
    if method.name in SAME_ON_POOLED_HEADS and len(layers) == 1:
        grads = evidence.stages[layers[0].name].grads
        if grads is not None and bool(grads.any()):
            spread = grads.amax((-2, -1)) - grads.amin((-2, -1))
            if bool((spread <= 1e-5 * grads.abs().amax((-2, -1))).all()):
                notes.append(
                    "The gradient is the same at every position (a pooling + linear head), where "
                    "Grad-CAM, XGrad-CAM and HiRes-CAM are the same map by theorem."
                )
    return tuple(notes)


SAME_ON_POOLED_HEADS = {"grad-cam", "xgrad-cam", "hires-cam"}


def _provenance(
    method: "Method", evidence: Evidence, layers: Sequence[LayerInfo], finish: Finish, sharing: int
) -> dict[str, Any]:
    classifier = evidence.classifier
    return {
        "method": method.name,
        "cites": method.card.cites,
        "options": method.options.model_dump(mode="json"),
        "model": classifier.name,
        "weights": WeightsStamp(classifier, classifier.weights_version()),
        "layers": [info.name for info in layers],
        "input_size": list(finish.size),
        "dtype": str(classifier.dtype).removeprefix("torch."),
        "device": str(evidence.image.device),
        "protocol": finish.protocol,
        "shares_passes_with": sharing - 1,
        "versions": _versions(),
    }


@dataclass(frozen=True)
class WeightsStamp:
    """The weights' hash, worked out only if somebody asks, and refused if they have changed since."""

    classifier: Classifier
    version: Mapping[str, int]

    def __str__(self) -> str:
        if self.classifier.weights_version() != self.version:
            return "unknown: the weights have changed since this explanation was made"
        return f"sha256:{self.classifier.weights_hash()}"


def _versions() -> dict[str, str]:
    found = {"torch": torch.__version__}
    try:
        found["limelight"] = version("limelight")
    except PackageNotFoundError:  # run from a source tree that is not installed
        found["limelight"] = "source"
    return found


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
