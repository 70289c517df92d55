"""A picture, and classifiers that give the same map."""

import torch
from PIL import Image

from limelight.engine.method import build
from limelight.model.classifier import Classifier

PICTURE = Image.effect_noise((300, 260), 80).convert("RGB")


def same_map(a: Classifier, b: Classifier, x: torch.Tensor) -> None:
    first, second = (build("grad-cam").run(c, x) for c in (a, b))
    assert first.provenance["layers"] == second.provenance["layers"]
    torch.testing.assert_close(first.raw, second.raw)
    assert first.raw.any()
