"""How maps, pictures and numbers are told to the page."""

import base64
import io
import math
from typing import Any

from PIL import Image
from torch import Tensor

from limelight.draw.plane import to_rgb
from limelight.model.classifier import Classifier
from limelight.ops.arrays import integers
from limelight.results.explanation import label_of
from limelight.results.pictures import to_array
from limelight.shapes import Logits


def number(value: Any) -> float | None:
    """Return a number, or None for one that is NaN or infinite, which JSON lacks."""
    plain = float(value)
    return plain if math.isfinite(plain) else None


def tell_classes(classifier: Classifier, logits: Logits, wanted: list[int]) -> list[dict[str, Any]]:
    """Return index, label, probability and score (the logit) of some classes, for logits (1, classes)."""
    probabilities = probabilities_of(classifier, logits)[0]
    return [
        {
            "index": i,
            "label": label_of(classifier, i),
            "probability": float(probabilities[i]),
            "score": float(logits[0, i]),
        }
        for i in wanted
    ]


def probabilities_of(classifier: Classifier, logits: Logits) -> Tensor:
    """Return the probability of every class, (n, classes): softmax, or sigmoid where classes are independent."""
    return logits.sigmoid() if classifier.outputs.multilabel else logits.softmax(1)


def likeliest(logits: Logits) -> list[int]:
    """Return all classes, the most probable first, for logits (1, classes)."""
    return integers(logits[0].argsort(descending=True, stable=True))


def png(image: Image.Image) -> bytes:
    """Return a picture as PNG, packed fast: it goes no further than this machine."""
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()


def file(name: str, kind: str, data: bytes) -> dict[str, Any]:
    """Return a file: what it is called, its type and its bytes."""
    return {"name": name, "type": kind, "data": base64.b64encode(data).decode()}


def address(data: bytes, kind: str = "image/png") -> str:
    """Return an address that holds the data itself."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def seen(classifier: Classifier, x: Tensor) -> Image.Image:
    """Return an input, (c, H, W), as a picture."""
    return Image.fromarray(to_rgb(to_array(classifier.display(x).float()), classifier.inputs.bands))
