"""Note whether what a method tried had any effect, for the diagnosis of an empty map."""

from dataclasses import dataclass

import torch
from torch import Tensor

from limelight.shapes import Flags, Index


@dataclass
class Effects:
    """Whether what was tried on the way to a map had any effect, for each image; None if nothing was tried.

    Attributes:
        gradients: whether any gradient at changed copies was not 0, (n,).
        scores: whether any changed copy had another score than the image, (n,).
    """

    gradients: Flags | None = None
    scores: Flags | None = None

    def gradient(self, n: int, images: Index, gradients: Tensor) -> None:
        """Take in gradients at copies of n images."""
        times = torch.zeros(n, dtype=torch.int32, device=gradients.device)
        some = times.index_add(0, images, gradients.flatten(1).any(1).int()) > 0  # without waiting for the card
        self.gradients = some if self.gradients is None else self.gradients | some

    def score(self, changed: Flags) -> None:
        """Take in which images had a copy with another score."""
        self.scores = changed if self.scores is None else self.scores | changed
