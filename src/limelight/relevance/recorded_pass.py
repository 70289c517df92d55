"""One look at a network of which every operation is recorded, so that relevance can go back along it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from limelight.model.classifier import Classifier
from limelight.model.cost import Meter
from limelight.model.layers import LayerInfo
from limelight.model.one_pass import IMAGE, Pass, read_layers
from limelight.model.targets import Targets
from limelight.relevance.recording import Recording
from limelight.relevance.rules import GRADIENT, Rules
from limelight.shapes import Images


@dataclass(frozen=True, kw_only=True)
class RecordedPass(Pass):
    """What a network gave for a batch of images, and the recording of how it came about.

    Attributes:
        recording: the recording.
    """

    recording: Recording = field(repr=False)


def record_images(
    classifier: Classifier,
    x: Images,
    targets: Targets,
    layers: Mapping[str, LayerInfo],
    *,
    layer_gradients: bool,
    image_gradient: bool = False,
    rules: Rules = GRADIENT,
    meter: Meter,
    stops: Mapping[str, LayerInfo] | None = None,
) -> RecordedPass:
    """Run the model once and record its operations; see ``pass_images`` for the arguments.

    Gradients pass by ``rules``, unless they are those of calculus. Of ``stops``, layers where relevance may stop, the
    recording keeps the outputs; they need no gradients.
    """
    recording = Recording(classifier, x, {**(stops or {}), **layers})
    meter.add(forward=len(x))
    with torch.enable_grad():
        recording.score, logits = targets.read(classifier, recording.output, x)
        settled = targets.settle(logits)
        if logits is not None and logits.shape == recording.logits.shape:
            # Those before a softmax at the end.
            recording.score, logits = settled.score(classifier.outputs, recording.logits), recording.logits
        recording.targets = settled
        if logits is not None:
            recording.scores = logits.detach()
    ends = {name: recording.outputs[name] for name in layers if layer_gradients}
    ends |= {IMAGE: recording.image} if image_gradient else {}
    grads: dict[str, Tensor] = {}
    if ends:
        one = torch.ones_like(recording.score)
        arrived = recording.relevance(rules, recording.score, one, list(ends.values()), audit=False)
        grads = dict(zip(ends, arrived, strict=True))
        if rules is GRADIENT:
            meter.add(backward=len(x) * recording.backwards)
        else:  # as without a recording
            meter.add(backward=len(x) * image_gradient, backward_tail=len(x) * (not image_gradient))
        recording.spent.forward = recording.spent.backward = 0.0
    return RecordedPass(
        classifier=classifier,
        image=x,
        targets=settled,
        score=recording.score.detach(),
        logits=None if logits is None else logits.detach(),
        stages=read_layers(classifier, layers, recording.outputs, grads),
        input_gradient=grads.get(IMAGE),
        recording=recording,
    )
