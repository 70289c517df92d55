"""Which attentions of a transformer run beside each other, not one behind the other."""

from itertools import pairwise

import torch

from limelight.model.attention import watch_attention
from limelight.model.boundary import behind
from limelight.model.classifier import Classifier
from limelight.model.preserve import preserve_state
from limelight.shapes import Images


def find_beside(classifier: Classifier, x: Images) -> tuple[str, str] | None:
    """Return the owners of two attentions that follow each other though none makes anything of the other's output.

    Done once per size of the input.
    """
    key = ("beside", *x.shape[1:])
    if key not in classifier.memo:
        classifier.memo[key] = _find(classifier, x[:1])
    return classifier.memo[key]


def _find(classifier: Classifier, x: Images) -> tuple[str, str] | None:
    module, image = classifier.module, x.detach().clone().requires_grad_()
    with preserve_state(module), torch.enable_grad(), watch_attention(module, 1) as watch:
        classifier.forward(image.clone())
    seen = list(watch.seen.items())
    for (name, first), (_, second) in pairwise(seen):
        if watch.outputs[name].grad_fn not in set(behind([second.values])):
            return first.owner, second.owner
    return None
