"""From a picture to a network's input, and back."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocess:
    """Resize the shorter side, crop the centre, scale to [0, 1], normalise.

    Attributes:
        resize: length of the shorter side in pixels, or (rows, columns) whatever the proportions; None keeps the size.
        crop: side of the central square in pixels, or (rows, columns); None keeps all.
        mean: per channel, for values in [0, 1].
        std: per channel.
    """

    resize: int | tuple[int, int] | None = 256
    crop: int | tuple[int, int] | None = 224
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def __call__(self, image: Image.Image) -> Tensor:
        """Return the normalised picture, float32 of shape (3, H, W)."""
        image = image.convert("RGB")
        if isinstance(self.resize, tuple):
            image = image.resize((self.resize[1], self.resize[0]), Image.Resampling.BILINEAR)
        elif self.resize is not None and min(image.size) != self.resize:
            scale = self.resize / min(image.size)
            width, height = (max(self.resize, int(side * scale)) for side in image.size)
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        if self.crop is not None:
            rows, columns = (self.crop, self.crop) if isinstance(self.crop, int) else self.crop
            left, top = round((image.width - columns) / 2), round((image.height - rows) / 2)
            image = image.crop((left, top, left + columns, top + rows))  # pads with black where smaller
        values = torch.from_numpy(np.asarray(image, dtype=np.float32) / 255).permute(2, 0, 1)
        mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (self.mean, self.std))
        return ((values - mean) / std).contiguous()
