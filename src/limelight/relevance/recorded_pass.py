"""One look at a network of which every operation is recorded, so that relevance can go back along it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from limelight.model.classifier import Classifier
from limelight.model.cost import Meter
from limelight.model.layers import LayerInfo
from limelight.model.one_pass import Pass, read_layers
from limelight.model.targets import Targets
from limelight.relevance.tape import Tape
from limelight.shapes import Images


@dataclass(frozen=True, kw_only=True)
class RecordedPass(Pass):
    """What a network gave for a batch of images, and the recording of how it came about.

    Attributes:
        tape: the recording.
    """

    tape: Tape = field(repr=False)


def record_images(
    classifier: Classifier,
    x: Images,
    targets: Targets,
    layers: Mapping[str, LayerInfo],
    *,
    gradients: bool,
    meter: Meter,
) -> RecordedPass:
    """Run the model once and record its operations; see ``pass_images`` for the arguments."""
    tape = Tape(classifier, x, layers)
    meter.add(forward=len(x))
    with torch.enable_grad():
        tape.score, logits = targets.read(classifier, tape.output, x)
        settled = targets.settle(logits)
        if logits is not None and logits.shape == tape.logits.shape:
            # Those before a softmax at the end.
            tape.score, logits = settled.score(classifier.outputs, tape.logits), tape.logits
    found: dict[str, Tensor] = {}
    if gradients and layers:
        found = dict(zip(layers, tape.gradients(tape.score, [tape.outputs[n] for n in layers]), strict=True))
        meter.add(backward=len(x) * tape.backwards)
        tape.spent.backward = 0.0
    return RecordedPass(
        classifier=classifier,
        image=x,
        targets=settled,
        score=tape.score.detach(),
        logits=None if logits is None else logits.detach(),
        stages=read_layers(classifier, layers, tape.outputs, found),
        tape=tape,
    )
