"""Which method explains a network if nobody says."""

from contextlib import suppress
from typing import Any

from limelight.engine.method import Method, as_method
from limelight.errors import InvalidOption, UnsupportedModel
from limelight.model.classifier import Classifier
from limelight.model.targets import TargetLike
from limelight.shapes import Images

USUAL, OF_TRANSFORMERS = "grad-cam", "generic-attention"
"""Of networks in general, and of those whose tokens all see each other."""

SAID = f"method: {OF_TRANSFORMERS} (the default for transformers)"
"""What is said where the network decided."""


def default_method(classifier: Classifier, x: Images, target: TargetLike = None, **options: Any) -> Method:
    """Return generic attention where it is defined, takes the options, and no layer is named; else Grad-CAM.

    What speaks for it is in docs/transformers.md.

    Args:
        classifier: the model.
        x: an input for which it is asked, a batch of one.
        target: what is explained of it.
        options: of the method.

    Raises:
        InvalidImage: the input is none of this network.
        InvalidOption: neither of the two takes the options.
    """
    x = classifier.to_batch(x)
    layered = classifier.layer is not None or options.get("layer") is not None
    if not layered and _all_see_each_other(classifier, x, target):
        with suppress(InvalidOption):  # such as derivatives that it can't have
            return as_method(OF_TRANSFORMERS, **options)
    return as_method(USUAL, **options)


def _all_see_each_other(classifier: Classifier, x: Images, target: TargetLike) -> bool:
    """Whether all tokens see each other in all blocks, which a pass shows; done once per size of the input."""
    key = ("all tokens see each other", *x.shape[1:])
    if key not in classifier.memo:
        try:
            layouts = [layer.layout for layer in classifier.trace(x).layers]
            tokens = any(layout is not None and layout.kind == "tokens" for layout in layouts)
            if tokens:
                as_method("attention-rollout").raw(classifier, x, target)
            classifier.memo[key] = tokens
        except UnsupportedModel:
            classifier.memo[key] = False
    return classifier.memo[key]
