"""Explain a batch by several methods: group those that can share a pass, apply each, join the chunks."""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, get_args

from torch import nn

from limelight.engine.apply import Shared, apply, note_losses, prefix_errors
from limelight.engine.augment import VIEWS, average_views
from limelight.engine.options import list_enlarged
from limelight.engine.passes import AT_A_GRADIENT, AT_A_RECORDING
from limelight.engine.request import (
    ATTENTION_GRADIENT_NEEDS,
    ATTENTION_NEEDS,
    GRADIENT_NEEDS,
    HESSIAN_NEEDS,
    INPUT_GRADIENT_NEEDS,
    is_recorded,
)
from limelight.engine.saliency import Saliency, join
from limelight.engine.spec import Spec
from limelight.errors import InvalidOption, OutOfMemory, UnsupportedModel
from limelight.model.batches import PER_CPU_THREAD, in_chunks
from limelight.model.boundary import NEEDS_GRADIENTS
from limelight.model.classifier import Classifier, as_classifier
from limelight.model.cost import Meter
from limelight.model.layers import LayerInfo
from limelight.model.memory import RECORDED, refuse
from limelight.model.one_pass import Pass, pass_images
from limelight.model.preserve import preserve_state
from limelight.model.targets import Aimed, ScoreKind, TargetLike, Targets
from limelight.relevance.libra_rules import DERIVATIVES
from limelight.relevance.recorded_pass import record_images
from limelight.shapes import Images


def run(
    methods: Sequence[Spec], classifier: Classifier | nn.Module | str, x: Images, target: TargetLike | Targets = None
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
    methods = [m.locate(classifier) for m in methods]
    with preserve_state(classifier.module):  # once for all passes; and whatever mode the caller is in
        x = classifier.to_batch(x)
        classifier.refuse_methods(methods, x)
        refuse_space(methods, x)
        targets = Targets.parse(target, classifier, x)
        # One backward per explained scalar and kind of derivative, and a recorded pass for those that need one.
        for kind, rules, recorded in product(get_args(ScoreKind), DERIVATIVES.values(), (False, True)):
            asked = (kind, rules, recorded)
            group = {i: m for i, m in enumerate(methods) if (m.kind, m.derivatives, is_recorded(m)) == asked}
            if group:
                together = _run_group(list(group.values()), classifier, x, replace(targets, kind=kind))
                results |= dict(zip(group, together, strict=True))
        for i, m in enumerate(methods):
            if m.options.augment != "none":
                results[i] = _average_views(m, classifier, x, results[i], targets)
    return [results[i] for i in range(len(methods))]


def refuse_space(methods: Sequence[Spec], x: Images) -> None:
    """Refuse methods, and views, that there are of pictures alone, for signals (n, c, T) and volumes (n, c, D, H, W).

    Raises:
        UnsupportedModel: one of the methods explains pictures only.
        InvalidOption: views of a picture are to be averaged.
    """
    if x.ndim == 4:
        return
    what = "signals" if x.ndim == 3 else "volumes"
    for m in methods:
        if m.card.pictures_only or (m.optimiser and m.optimiser.card.pictures_only):
            raise UnsupportedModel(f"{m.name} explains pictures (n, c, H, W), not {what} of shape {tuple(x.shape)}")
        if m.options.augment != "none":
            raise InvalidOption(f"{m.name}: augment={m.options.augment!r} makes views of pictures, and not of {what}")


def _average_views(method: Spec, classifier: Classifier, x: Images, plain: Saliency, targets: Targets) -> Saliency:
    """Explain the same classes on other views of the pictures too, and average.

    Raises:
        InvalidOption: the target is a place in the picture, which lies elsewhere in a view.
    """
    if isinstance(targets.function, Aimed) and targets.function.placed:
        raise InvalidOption(f"{method.name}: augment shows other views of the picture, where {targets.function} is not")
    alone = replace(method, options=method.options.model_copy(update={"augment": "none"}))
    same = replace(targets, index=plain.target)
    views = [run([alone], classifier, there(x), same)[0] for there, _ in VIEWS[method.options.augment]]
    return average_views([plain, *views], method.options.augment)


def _run_group(methods: Sequence[Spec], classifier: Classifier, x: Images, targets: Targets) -> list[Saliency]:
    """Explain a batch by methods that can share one pass over it."""
    layers = [_layers_of(m, classifier, x) for m in methods]
    looked_at = {info.name: info for infos in layers for info in infos}
    stops = {info.name: info for m in methods for info in _stop_of(m, classifier, x)}
    needs = frozenset[str]().union(*(m.needs for m in methods))
    layer_gradients, twice, image_gradient, attention, attention_gradients = (
        bool(needs & some)
        for some in (GRADIENT_NEEDS, HESSIAN_NEEDS, INPUT_GRADIENT_NEEDS, ATTENTION_NEEDS, ATTENTION_GRADIENT_NEEDS)
    )
    recorded, rules = is_recorded(methods[0]), methods[0].derivatives
    backward = layer_gradients or image_gradient or attention_gradients
    if recorded:
        refuse(x[:1], RECORDED * classifier.trace(x).bytes_per_image, "a pass that is recorded for relevance")
    kept = 8 if twice else AT_A_RECORDING if recorded else AT_A_GRADIENT if backward or attention else 1
    size = _at_once(methods, classifier, x, kept)
    look: Any = (
        partial(record_images, rules=rules, stops=stops)
        if recorded
        else partial(pass_images, attention=attention, attention_gradients=attention_gradients, twice=twice)
    )

    def explain(images: slice) -> list[Saliency]:
        start, meter = time.perf_counter(), Meter()
        some, wanted, own = x[images], targets[images], classifier.take(images)
        gradients = {"layer_gradients": layer_gradients, "image_gradient": image_gradient}
        clean: Pass = look(own, some, wanted, looked_at, **gradients, meter=meter)
        shared = Shared(clean, meter, time.perf_counter() - start, len(methods))
        return [apply(m, shared, infos) for m, infos in zip(methods, layers, strict=True)]

    with prefix_errors([m for m in methods if m.needs & NEEDS_GRADIENTS] or methods):
        try:
            chunks = in_chunks(explain, len(x), size)
        except OutOfMemory as error:
            large = [f"{m.name}'s {option}" for m in methods for option in list_enlarged(m.card, m.options)]
            error.args = (f"{error}{''.join(f', or less than {option}' for option in large)}",)
            raise
    return [note_losses(join(parts), m) for parts, m in zip(zip(*chunks, strict=True), methods, strict=True)]


def _at_once(methods: Sequence[Spec], classifier: Classifier, x: Images, kept: int) -> int:
    """Return how many images to pass together, where the activations of a pass are kept so many times."""
    given = min((m.options.batch_size for m in methods if m.options.batch_size), default=None)
    # What is kept of a recorded pass for the way back falls out of a processor's cache with a second image.
    per_thread = 1 if any(is_recorded(m) for m in methods) else PER_CPU_THREAD
    return classifier.at_once(x, kept, given, per_thread=per_thread)


def _layers_of(method: Spec, classifier: Classifier, x: Images) -> list[LayerInfo]:
    """Return the layers that a method explains, shallow to deep; none if it explains no layer.

    Raises:
        InvalidOption: one is given twice, or not as many as the method takes.
    """
    with prefix_errors([method]):
        return _find_layers(method.base or method, classifier, x)


def _find_layers(method: Spec, classifier: Classifier, x: Images) -> list[LayerInfo]:
    if method.explains == "none" or (method.explains == "stop" and method.layers is None):
        return []
    infos = classifier.layers(method.layers, x, method.explains)
    names = [info.name for info in infos]
    if not names or len(set(names)) < len(names):
        raise InvalidOption(f"{method.name}: layer={tuple(names)}; give at least one, and none twice")
    if method.explains == "stop" and len(infos) > 1:
        raise InvalidOption(f"{method.name} stops at one layer, got {len(infos)}: {', '.join(names)}")
    if method.fusible and method.options.fuse and len(infos) == 1:
        raise InvalidOption(
            f"{method.name}: fuse={method.options.fuse!r} puts the maps of several layers together, and there is one, "
            f"{names[0]!r}; give layer=('…', '…')"
        )
    if method.fusible and method.options.budget and len(infos) > 1:
        raise InvalidOption(f"{method.name}: a budget is for one layer, got {len(infos)}: {', '.join(names)}")
    return infos


def _stop_of(method: Spec, classifier: Classifier, x: Images) -> list[LayerInfo]:
    """Return the layer where the relevance of a method that begins at a layer is to stop; none for the image."""
    stop = (method.base or method).own_options.get("stop")
    with prefix_errors([method]):
        return classifier.layers((stop,), x) if isinstance(stop, str) else []
