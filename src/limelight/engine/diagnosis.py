"""Say why a map is empty, and what its reader should know."""

from collections.abc import Sequence

import torch

from limelight.engine.effects import Effects
from limelight.engine.request import GRADIENT_NEEDS, INPUT_GRADIENT_NEEDS
from limelight.engine.saliency import Raw
from limelight.engine.spec import Spec
from limelight.model.layers import LayerInfo
from limelight.model.one_pass import Pass
from limelight.ops.arrays import integers, truths
from limelight.relevance.recorded_pass import RecordedPass
from limelight.shapes import Flags

SAME_ON_POOLED_HEADS = frozenset({"grad-cam", "xgrad-cam", "hires-cam"})

AMBIGUOUS = "Two eigenvalues are equal, so that other vectors would do as well: the map is one of several right ones."
"""What is said of a map for which there are others as right."""


def reasons(
    raw: Raw, empty: Flags, clean: Pass, layers: Sequence[LayerInfo], method: Spec, effects: Effects
) -> tuple[str, ...]:
    """Say for every empty map why it is empty."""
    return tuple(
        _reason_of(i, raw, clean, layers, method, effects) if is_empty else ""
        for i, is_empty in enumerate(truths(empty))
    )


def _reason_of(i: int, raw: Raw, clean: Pass, layers: Sequence[LayerInfo], method: Spec, effects: Effects) -> str:
    if not raw.layers:
        return _reason(i, raw.values[i], clean, layers, method, effects)
    if any(bool(m.any()) for m in raw.details["masks"][i]):
        return "constant map: the layers' maps cancel"
    each = [_reason(i, one.values[i], clean, [at], method, effects) for one, at in zip(raw.layers, layers, strict=True)]
    return "; ".join(dict.fromkeys(each))


def _reason(i: int, raw: torch.Tensor, clean: Pass, layers: Sequence[LayerInfo], method: Spec, effects: Effects) -> str:
    stages = [clean.stages[info.name] for info in layers]
    where = ", ".join(info.name for info in layers)
    if stages and all(not s.acts[i].any() for s in stages):
        return f"dead layer: every activation of {where} is 0"
    if GRADIENT_NEEDS & set(method.card.needs) and all(s.grads is None or not s.grads[i].any() for s in stages):
        if clean.classifier.dtype in (torch.float16, torch.bfloat16):
            return f"the gradient at {where} underflows in half precision; try the model in float32"
        if clean.targets.kind in ("prob", "logprob") and float(clean.probability[i]) > 1 - 1e-6:
            return f"saturated score: the {clean.targets.kind} is at its limit and has no gradient; try score='logit'"
        if not any(info.candidate for info in layers):
            return f"not on the path: the score does not depend on {where} at any position of its map"
        return f"dead gradient: the score does not change with {where}"
    if (
        clean.input_gradient is not None
        and INPUT_GRADIENT_NEEDS & set(method.card.needs)
        and not clean.input_gradient[i].any()
    ):
        if clean.targets.kind in ("prob", "logprob") and float(clean.probability[i]) > 1 - 1e-6:
            return f"saturated score: the {clean.targets.kind} is at its limit and has no gradient; try score='logit'"
        return "dead gradient: the score does not change with the image"
    if stages and all(not s.acts[i].any() or (s.grads is not None and not s.grads[i].any()) for s in stages):
        return f"dead layer: in each of {where} the activations or the gradient are all 0"
    if not raw.any():
        return _nothing(i, clean, method, effects)
    if method.options.relu and float(raw.max()) <= 0:
        return "no positive evidence: the map is nowhere above 0 (relu=False shows the negative part)"
    return "constant map: every position has the same value"


def _nothing(i: int, clean: Pass, method: Spec, effects: Effects) -> str:
    """Say why a map is 0 everywhere whose layers and gradients, as far as they were looked at, are not."""
    recording = clean.recording if isinstance(clean, RecordedPass) else None
    if recording is not None and len(recording.flows) and not bool(recording.flows[0].size[i]):
        return "no relevance: the score that is passed back is 0"
    if recording is not None:
        what = "relevance" if recording.flows else "gradient"
        return f"dead {what}: nothing of what was passed back arrived"
    limit = method.options.score in ("prob", "logprob") and float(clean.probability[i]) > 1 - 1e-6
    for what, seen in (("gradient", effects.gradients), ("score", effects.scores)):
        if seen is not None and not bool(seen[i]):
            if limit:
                return f"saturated score: the {method.options.score} is at its limit; try score='logit'"
            if what == "gradient" and clean.classifier.dtype in (torch.float16, torch.bfloat16):
                return "the gradient underflows in half precision; try the model in float32"
            if what == "gradient":
                return "dead gradient: the score does not change with any of the pictures that were tried"
            return "constant score: it is the same for all of the changed pictures"
    return "constant map: it is 0 at every position"


def notes(raw: Raw, clean: Pass, layers: Sequence[LayerInfo], method: Spec, effects: Effects) -> tuple[str, ...]:
    """Return remarks on a batch's maps."""
    remarks: list[str] = []
    if why := clean.classifier.alone:
        remarks.append(f"The model is given one image at a time, which takes longer: {why}.")
    if method.name in SAME_ON_POOLED_HEADS and len(layers) == 1:
        grads = clean.stages[layers[0].name].grads
        if grads is not None and bool(grads.any()):
            spread = grads.amax((-2, -1)) - grads.amin((-2, -1))
            if bool((spread <= 1e-5 * grads.abs().amax((-2, -1))).all()):
                remarks.append(
                    "The gradient is the same at every position (a pooling + linear head), where "
                    "Grad-CAM, XGrad-CAM and HiRes-CAM are the same map by theorem."
                )
    for number, (one, at) in enumerate(zip(raw.layers, layers, strict=False)):
        blank = ~raw.details["masks"][:, number].flatten(1).any(1)
        some = raw.values.flatten(1).any(1)
        for i in integers((blank & some).nonzero()[:, 0]):
            reason = _reason(i, one.values[i], clean, [at], method, effects)
            remarks.append(f"Layer {at.name} adds nothing to the map where its own is empty ({reason}).")
    return tuple(dict.fromkeys(remarks))
