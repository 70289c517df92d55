"""A network that likes red, and dark pictures with red spots, for tests of boxes."""

from typing import Any

import numpy as np
import torch
from torch import nn

from limelight.model.classifier import Classifier
from limelight.model.preprocess import Preprocess


class Redness(nn.Module):
    """Two classes, of which one likes red; its own map is the redness, so peaks are known."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1, bias=False)
        with torch.no_grad():
            self.conv.weight[:] = torch.tensor([[2.0, -1.0, -1.0], [-2.0, 1.0, 1.0]])[..., None, None]
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 4 * self.relu(self.conv(x)).mean((2, 3))


def redness(resize: Any = None, crop: Any = None) -> Classifier:
    still = Preprocess(resize, crop, (0.0,) * 3, (1.0,) * 3)
    return Classifier(Redness(), layer="relu", preprocess=still, labels=["red", "other"])


def picture_of(*spots: tuple[int, int, int, int], size: tuple[int, int] = (120, 160), level: int = 255) -> Any:
    """A dark picture (H, W) with red rectangles."""
    picture = np.full((*size, 3), 20, np.uint8)
    for x0, y0, x1, y1 in spots:
        picture[y0:y1, x0:x1] = (level, 20, 20)
    return picture
