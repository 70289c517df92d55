"""Everything needed to make a map again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor

from limelight.engine.content import describe
from limelight.engine.saliency import Finish
from limelight.engine.spec import Spec
from limelight.model.classifier import Classifier
from limelight.model.layers import LayerInfo
from limelight.model.one_pass import Pass
from limelight.model.targets import Aimed


def provenance(method: Spec, clean: Pass, layers: Sequence[LayerInfo], finish: Finish, sharing: int) -> dict[str, Any]:
    """Return the settings of one run, ready for JSON but for the weights' stamp."""
    classifier, function = clean.classifier, clean.targets.function
    asked: dict[str, Any] = {}
    if isinstance(function, Aimed):
        asked = {"function": repr(function), "label": str(function)}
    elif function is not None:
        asked = {"function": getattr(function, "__qualname__", type(function).__name__)}
    return {
        **asked,
        "method": method.name,
        "cites": method.card.cites,
        "options": method.options.model_dump(mode="json", fallback=as_text),
        "model": classifier.name,
        "weights": WeightsStamp(classifier, classifier.weights_version()),
        "layers": [info.name for info in layers],
        "input_size": list(finish.size),
        "dtype": str(clean.image.dtype).removeprefix("torch."),
        "device": str(clean.image.device),
        "protocol": finish.protocol,
        "shares_passes_with": sharing - 1,
        "versions": versions(),
    }


def as_text(value: Any) -> str:
    """Return words for an option that JSON can't hold: a rule of the user's own, or a tensor."""
    if isinstance(value, Tensor):
        return f"tensor {tuple(value.shape)}"
    return describe(value) if callable(value) else repr(value)


@dataclass(frozen=True)
class WeightsStamp:
    """The weights' hash, worked out only if somebody asks, and refused if they have changed since."""

    classifier: Classifier
    version: Mapping[str, int]

    def __str__(self) -> str:
        if self.classifier.weights_version() != self.version:
            return "unknown: the weights have changed since this explanation was made"
        return f"sha256:{self.classifier.weights_hash()}"


def versions() -> dict[str, str]:
    """Return the versions that numbers may depend on."""
    return {"torch": str(torch.__version__), "limelight": _own_version()}


@cache  # the metadata of a package is a text to parse, longer than some maps take
def _own_version() -> str:
    try:
        return version("limelight")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "source"
