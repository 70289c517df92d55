"""Make the network's input of whatever is a picture."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limelight.api.unreadable import Unreadable
from limelight.data.bands import load_values
from limelight.data.collect import as_picture
from limelight.data.images import ImageSource, load_image
from limelight.errors import InvalidImage
from limelight.model.batch_check import SIDES
from limelight.model.classifier import Classifier


def as_input(classifier: Classifier, image: Any) -> Tensor:
    """Return the network's input for anything that is a picture, or a tensor: (c, *space), on the model's device."""
    picture: Tensor | ImageSource = as_picture(image)
    if isinstance(picture, Tensor):
        space = len(classifier.input_size)
        if picture.ndim != space + 1:
            shape = f"({len(classifier.mean)}, {', '.join(SIDES[space])})"
            raise InvalidImage(f"a tensor must be a normalised image {shape}, got shape {tuple(picture.shape)}")
        if not bool(torch.isfinite(picture).all()):
            raise InvalidImage("an image has values that are NaN or infinite")
        return classifier.to_weights(picture)
    if classifier.inputs.of_values:
        channels, space = len(classifier.mean), len(classifier.input_size)
        return classifier.to_weights(classifier.inputs.normalise(load_values(picture, channels, space)))
    if isinstance(picture, np.ndarray) and picture.ndim == 3 and picture.shape[0] in (3, 4) and picture.shape[2] > 4:
        raise InvalidImage(f"an array must have channels last (H, W, 3), got shape {picture.shape}")
    return classifier.to_weights(classifier.preprocess(load_image(picture)))


def first_input(classifier: Classifier, images: Iterable[Any]) -> Tensor:
    """Return the first picture that can be read as the network's input, (3, H, W).

    Raises:
        InvalidImage: none can.
    """
    unreadable, count = Unreadable(), 0
    for image in images:
        count += 1
        x = unreadable.try_read(f"picture {count}", lambda image=image: as_input(classifier, image))
        if x is not None:
            return x
    unreadable.tell(count)
    raise InvalidImage("the list of images is empty")


def size_of(x: Tensor) -> tuple[int, int]:
    """Return (H, W)."""
    return int(x.shape[-2]), int(x.shape[-1])
