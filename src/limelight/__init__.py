"""See why an image classifier decided what it did, and measure how far that explanation can be trusted.

>>> import limelight as ll
>>> classifier = ll.load("demo/resnet")
>>> explanation = ll.explain(classifier, ll.example_image(), method="grad-cam")
>>> explanation.map.shape
torch.Size([128, 128])
"""

import importlib
from typing import TYPE_CHECKING, Any

from limelight import errors

__version__ = "0.1.0"

if TYPE_CHECKING:
    from limelight.api import example_image, explain, load, method, methods, save
    from limelight.card import register_method
    from limelight.core.classifier import Classifier
    from limelight.core.explanation import Explanation, Gallery
    from limelight.core.method import Method
    from limelight.core.saliency import Raw, Saliency

# Names are looked up on first use, so that importing the package costs nothing, not even PyTorch.
_HOME = {
    "Classifier": "limelight.core.classifier",
    "Explanation": "limelight.core.explanation",
    "Gallery": "limelight.core.explanation",
    "Method": "limelight.core.method",
    "Raw": "limelight.core.saliency",
    "Saliency": "limelight.core.saliency",
    "example_image": "limelight.api",
    "explain": "limelight.api",
    "load": "limelight.api",
    "method": "limelight.api",
    "methods": "limelight.api",
    "register_method": "limelight.card",
    "save": "limelight.api",
}

__all__ = [
    "Classifier",
    "Explanation",
    "Gallery",
    "Method",
    "Raw",
    "Saliency",
    "errors",
    "example_image",
    "explain",
    "load",
    "method",
    "methods",
    "register_method",
    "save",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'limelight' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
