"""Run a model once on a batch, and once back, and collect what its layers gave."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limelight.errors import InvalidOption, NonFinite
from limelight.model.boundary import expect_way_back
from limelight.model.classifier import Classifier
from limelight.model.cost import Meter
from limelight.model.layer_hooks import tapped
from limelight.model.layers import LayerInfo
from limelight.model.preserve import borrowed
from limelight.model.targets import ScoreKind, Target, TargetLike, class_scores, resolve, understood
from limelight.relevance.tape import Tape
from limelight.shapes import Acts, Images, Index, Logits, Scores

IMAGE = "the image"


@dataclass(frozen=True)
class Stage:
    """One layer's evidence.

    Attributes:
        info: the layer.
        acts: activations, (n, k, h, w), at least float32.
        output: what the layer gave, in its own layout and dtype.
        grads: gradient of the score with respect to them, or None if no method asked for it.
    """

    info: LayerInfo
    acts: Acts
    output: Tensor
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
        slope: gradient of the score with respect to the images, (n, 3, H, W), if a method asked for it.
        tape: the recorded pass, if a method asked for it.
    """

    classifier: Classifier
    image: Images
    logits: Logits | None
    target: Target
    score: Scores
    kind: ScoreKind
    stages: Mapping[str, Stage]
    slope: Images | None = None
    tape: Tape | None = None

    @property
    def probability(self) -> Scores:
        """Probability of the explained class, (n,); NaN where a function is explained."""
        if self.logits is None:
            return torch.full_like(self.score, torch.nan)
        logits = self.logits.to(torch.promote_types(self.logits.dtype, torch.float32))
        return class_scores(logits, self.target.index, "prob", self.classifier.multilabel)

    def score_as(self, kind: ScoreKind) -> Scores:
        """Return the score of the images, (n,), as this scalar."""
        if self.logits is None or kind == self.kind:
            return self.score
        return class_scores(self.logits.to(self.score), self.target.index, kind, self.classifier.multilabel)

    def scores_of(self, x: Images, images: Index, kind: ScoreKind | None = None) -> Scores:
        """Pass changed copies of the images and return the score of each, (m,).

        Args:
            x: the copies, (m, 3, H, W); the graph is recorded if they require a gradient.
            images: which image each is a copy of, (m,).
            kind: which scalar; None for the one that is explained.
        """
        with borrowed(self.classifier.module), torch.set_grad_enabled(x.requires_grad):
            output = self.classifier.forward(x.to(self.image.dtype), watched=False)
        return self.scores_from(output, images, kind, x)

    def scores_from(
        self, output: Any, images: Index, kind: ScoreKind | None = None, copies: Images | None = None
    ) -> Scores:
        """Return the score of each of the module's outputs for m changed copies, (m,); see ``scores_of``."""
        target = Target(self.target.index[images], self.target.function)
        logits = None
        if target.function is None:
            logits = self.classifier.finite(self.classifier.logits(output, len(images)), self.image, images, copies)
        score = _score(self.classifier, output, logits, target, kind or self.kind)
        _expect_way_back(self.classifier, target, output, score)
        return score


def gather(
    classifier: Classifier,
    x: Images,
    target: TargetLike | Target,
    kind: ScoreKind,
    layers: Mapping[str, LayerInfo],
    *,
    gradients: bool,
    slope: bool = False,
    whole: bool = False,
    meter: Meter,
) -> Evidence:
    """Run the model once, and once back if gradients are wanted, and collect what the layers gave.

    Args:
        classifier: the model.
        x: normalised images, (n, 3, H, W).
        target: class, or function of the outputs.
        kind: which scalar is explained.
        layers: those whose outputs are wanted, by name.
        gradients: whether the score's gradients with respect to them are.
        slope: whether that with respect to the images is.
        whole: whether the graph is to begin at the images in any case, and not at the first layer.
        meter: counts the passes.
    """
    taken = tapped(classifier.modules(list(layers)), gradients=gradients or slope, whole=slope or whole)
    with borrowed(classifier.module):
        with taken as taps:
            image = x.detach().clone().requires_grad_(slope)  # a module may overwrite what it is given
            output = classifier.forward(image.clone() if slope else image)
        meter.add(forward=len(x))
        with torch.set_grad_enabled(gradients or slope):  # what a target function calls is no part of the pass
            resolved, logits = _target(classifier, output, x, target)
            score = _score(classifier, output, logits, resolved, kind)
            total = score.sum()
        found: dict[str, Tensor] = {}
        if gradients and layers and not (slope or whole or score.requires_grad):
            # The model puts the mode back that it began with, behind a part without gradients.
            return gather(classifier, x, target, kind, layers, gradients=True, whole=True, meter=meter)
        with torch.set_grad_enabled(gradients or slope):
            _expect_way_back(classifier, resolved, output, score)
        if slope or (gradients and layers):
            found = taps.gradients(classifier.module, x, total, {IMAGE: image} if slope else None)
            meter.add(backward=len(x) * slope, backward_tail=len(x) * (not slope))
    stages = _stages(classifier, layers, taps.outputs, found)
    logits = None if logits is None else logits.detach()
    return Evidence(classifier, x, logits, resolved, score.detach(), kind, stages, found.get(IMAGE))


def record(
    classifier: Classifier,
    x: Images,
    target: TargetLike | Target,
    kind: ScoreKind,
    layers: Mapping[str, LayerInfo],
    *,
    gradients: bool,
    meter: Meter,
) -> Evidence:
    """Do the same, and keep the recorded pass; see ``gather``."""
    tape = Tape(classifier, x, layers)
    meter.add(forward=len(x))
    with torch.enable_grad():
        resolved, logits = _target(classifier, tape.output, x, target)
        if logits is not None and logits.shape == tape.logits.shape:
            logits = tape.logits  # those before a softmax at the end
        tape.score = _score(classifier, tape.output, logits, resolved, kind)
        _expect_way_back(classifier, resolved, tape.output, tape.score)
    found: dict[str, Tensor] = {}
    if gradients and layers:
        found = dict(zip(layers, tape.gradients(tape.score, [tape.outputs[n] for n in layers]), strict=True))
        meter.add(backward=len(x) * tape.backwards)
        tape.spent.backward = 0.0
    stages = _stages(classifier, layers, tape.outputs, found)
    logits = None if logits is None else logits.detach()
    return Evidence(classifier, x, logits, resolved, tape.score.detach(), kind, stages, tape=tape)


def _stages(
    classifier: Classifier, layers: Mapping[str, LayerInfo], outputs: Mapping[str, Tensor], found: Mapping[str, Tensor]
) -> dict[str, Stage]:
    stages = {
        name: Stage(
            info,
            _maps(info, outputs[name]),
            outputs[name].detach(),
            _maps(info, found[name]) if name in found else None,
        )
        for name, info in layers.items()
    }
    for name, stage in stages.items():
        _check_finite(classifier, name, stage)
    return stages


def _target(classifier: Classifier, output: Any, x: Images, target: Any) -> tuple[Target, Logits | None]:
    if isinstance(target, Target):
        return target, classifier.logits(output, len(x)) if target.function is None else None
    asked = understood(target, len(x))
    if asked is not None and not isinstance(asked, list):
        return Target(torch.full((len(x),), -1, device=x.device), asked), None
    logits = classifier.finite(classifier.logits(output, len(x)), x)
    index = resolve(asked, len(x), logits.shape[1], classifier.labels)
    return Target(logits.argmax(1) if index is None else index.to(x.device)), logits


def _score(classifier: Classifier, output: Any, logits: Logits | None, target: Target, kind: ScoreKind) -> Scores:
    if target.function is None:
        assert logits is not None
        logits = logits if logits.dtype == torch.float64 else logits.float()  # a softmax in half precision is coarse
        return class_scores(logits, target.index, kind, classifier.multilabel)
    score = target.function(output)
    if not isinstance(score, Tensor) or score.shape != target.index.shape:  # pyright: ignore[reportUnnecessaryIsInstance]
        what = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__  # pyright: ignore
        raise InvalidOption(f"the target function must return one score per image, ({len(target.index)},), got {what}")
    if not bool(torch.isfinite(score).all()):
        raise NonFinite("the target function returned a NaN or infinite score")
    return score


def _expect_way_back(classifier: Classifier, target: Target, output: Any, score: Scores) -> None:
    if target.function is not None:
        expect_way_back(classifier.module, output, score)


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
