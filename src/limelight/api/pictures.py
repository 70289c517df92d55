"""Make the network's input of whatever is a picture."""

from collections.abc import Iterable
from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from limelight.api.unreadable import Unreadable
from limelight.data.bands import load_values, read_affine
from limelight.data.collect import as_picture
from limelight.data.images import ImageSource, load_image
from limelight.data.items import Item
from limelight.draw.plane import to_rgb
from limelight.errors import InvalidImage
from limelight.model.batch_check import SIDES
from limelight.model.classifier import Classifier
from limelight.model.inputs import Inputs
from limelight.model.window import Window, find_window
from limelight.ops.arrays import from_numpy
from limelight.results.original import Original


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


def origin_of(classifier: Classifier, image: Any) -> dict[str, Any]:
    """Return the fields of an explanation that say where its image comes from."""
    return {"original": original_of(classifier, image), "affine": read_affine(image)}


def original_of(classifier: Classifier, image: Any) -> Original | None:
    """Return a picture as it was taken, to draw maps on; None for tensors, signals, volumes and what is read but once.

    Files are read again when it is drawn; pictures in memory are copied, as their owner may fill them again.
    """
    if isinstance(image, Item | Tensor) or hasattr(image, "read") or len(classifier.input_size) != 2:
        return None
    kept = cast(Any, image.copy() if isinstance(image, np.ndarray | Image.Image) else image)
    return Original(partial(_read_colours, kept, classifier.inputs), classifier.inputs)


def _read_colours(picture: ImageSource, inputs: Inputs) -> npt.NDArray[np.uint8]:
    """Return the colours of a whole picture, (H, W, 3), of bands those that are drawn."""
    if not inputs.of_values:
        return np.asarray(load_image(picture))
    values = from_numpy(load_values(picture, len(inputs.mean)))
    return to_rgb(inputs.to_unit(values.movedim(-1, 0)).numpy(), inputs.bands)


def read_picture(model: Classifier, image: Any) -> tuple[npt.NDArray[np.uint8], Tensor, Window]:
    """Return the original picture (H, W, 3), the network's input (3, h, w), and where in the picture that lies."""
    image = as_picture(image)
    if isinstance(image, Tensor):
        x = as_input(model, image)
        rows, columns = size_of(x)
        shown = model.display(x).permute(1, 2, 0).detach().float().cpu().numpy()
        return np.rint(shown * 255).astype(np.uint8), x, (0.0, 0.0, float(columns), float(rows))
    picture = load_image(image)
    return np.asarray(picture), as_input(model, picture), find_window(model.inputs, *picture.size)
