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
from limelight.loader import register_loader as _register_loader

__version__ = "0.1.0"

if TYPE_CHECKING:
    from limelight import targets
    from limelight.api import (
        check,
        compare,
        evaluate,
        example_image,
        explain,
        load,
        method,
        methods,
        metric,
        metrics,
        mosaics,
        propose,
        sanity,
        sanity_strip,
        save,
        train_head,
    )
    from limelight.api.proposals import Proposals
    from limelight.api.training import TrainedHead
    from limelight.bench.choose import choose
    from limelight.bench.run import benchmark
    from limelight.card import register_method, register_metric
    from limelight.concept.concepts import concepts
    from limelight.concept.record import Concept, Concepts
    from limelight.engine.method import Method
    from limelight.engine.saliency import Raw, Saliency
    from limelight.inspection.findings import Inspection
    from limelight.model.black_box import BlackBox
    from limelight.model.classifier import Classifier
    from limelight.model.text_classifier import TextClassifier
    from limelight.pages.benchmark import report
    from limelight.pages.inspection.inspect import inspect
    from limelight.results.explanation import Explanation
    from limelight.results.gallery import Gallery
    from limelight.results.tables import Results
    from limelight.scoring.measured import Measured
    from limelight.scoring.metric import Metric
    from limelight.scoring.truth import Truth

# Names are looked up on first use, so that importing the package costs nothing, not even PyTorch.
_HOME = {
    "BlackBox": "limelight.model.black_box",
    "Classifier": "limelight.model.classifier",
    "Concept": "limelight.concept.record",
    "Concepts": "limelight.concept.record",
    "Explanation": "limelight.results.explanation",
    "Gallery": "limelight.results.gallery",
    "Inspection": "limelight.inspection.findings",
    "Measured": "limelight.scoring.measured",
    "Method": "limelight.engine.method",
    "Metric": "limelight.scoring.metric",
    "Proposals": "limelight.api.proposals",
    "Raw": "limelight.engine.saliency",
    "Results": "limelight.results.tables",
    "Saliency": "limelight.engine.saliency",
    "TextClassifier": "limelight.model.text_classifier",
    "TrainedHead": "limelight.api.training",
    "Truth": "limelight.scoring.truth",
    "benchmark": "limelight.bench.run",
    "check": "limelight.api",
    "choose": "limelight.bench.choose",
    "compare": "limelight.api",
    "concepts": "limelight.concept.concepts",
    "evaluate": "limelight.api",
    "example_image": "limelight.api",
    "explain": "limelight.api",
    "inspect": "limelight.pages.inspection.inspect",
    "load": "limelight.api",
    "method": "limelight.api",
    "methods": "limelight.api",
    "metric": "limelight.api",
    "metrics": "limelight.api",
    "mosaics": "limelight.api",
    "propose": "limelight.api",
    "register_method": "limelight.card",
    "register_metric": "limelight.card",
    "report": "limelight.pages.benchmark",
    "sanity": "limelight.api",
    "sanity_strip": "limelight.api",
    "save": "limelight.api",
    "targets": "limelight.targets",
    "train_head": "limelight.api",
}

__all__ = [
    "BlackBox",
    "Classifier",
    "Concept",
    "Concepts",
    "Explanation",
    "Gallery",
    "Inspection",
    "Measured",
    "Method",
    "Metric",
    "Proposals",
    "Raw",
    "Results",
    "Saliency",
    "TextClassifier",
    "TrainedHead",
    "Truth",
    "benchmark",
    "check",
    "choose",
    "compare",
    "concepts",
    "errors",
    "evaluate",
    "example_image",
    "explain",
    "inspect",
    "load",
    "method",
    "methods",
    "metric",
    "metrics",
    "mosaics",
    "propose",
    "register_method",
    "register_metric",
    "report",
    "sanity",
    "sanity_strip",
    "save",
    "targets",
    "train_head",
]


def _load(name: str) -> Any:
    from limelight.zoo import load

    return load(name)


_register_loader(_load)  # for the rooms below the zoo, in every process that has any of them


if not TYPE_CHECKING:  # to a type checker, a name that is not imported above is an error

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module 'limelight' has no attribute {name!r}{errors.nearest(name, _HOME)}")
        home = importlib.import_module(_HOME[name])
        return home if home.__name__ == f"{__name__}.{name}" else getattr(home, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
