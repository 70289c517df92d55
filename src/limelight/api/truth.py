"""Carry the truth about pictures, masks and boxes, to where the network sees them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from limelight.api.targets import true_classes
from limelight.data.samples import Sample
from limelight.errors import InvalidImage, InvalidOption, UnknownTarget
from limelight.model.classifier import Classifier
from limelight.ops.arrays import from_numpy
from limelight.scoring.metric import Metric
from limelight.scoring.truth import Truth


def truth_of(
    model: Classifier,
    samples: Sequence[Sample],
    x: Tensor,
    judges: Iterable[Metric] = (),
    masks: Sequence[Tensor | None] | None = None,
) -> Truth | None:
    """Carry masks and boxes of the original pictures to where the preprocessing puts them.

    Args:
        model: its preprocessing.
        samples: the pictures.
        x: as the network's input.
        judges: metrics, of which some may need the true classes.
        masks: what ``true_mask`` gave for them; None to ask it now.

    Raises:
        UnknownTarget: one of the metrics needs the true classes, and they can't be told.
    """
    masks = [true_mask(model, s) for s in samples] if masks is None else masks
    if all(m is None for m in masks) and all(s.label is None for s in samples):
        return None
    size = x.shape[2:]
    placed = [torch.zeros(size, dtype=torch.bool) if m is None else m for m in masks]
    labels = [s.label for s in samples]
    known = None
    if all(label is not None for label in labels):
        model.trace(x)
        try:
            known = true_classes(model, samples)
        except UnknownTarget:
            if any("labels" in judge.card.needs for judge in judges):
                raise
    others = None if any(s.others is None for s in samples) else torch.tensor([bool(s.others) for s in samples])
    difficult = torch.tensor([s.difficult for s in samples])
    asked = any(getattr(judge.options, "at", "") == "original" for judge in judges)
    truth = Truth(torch.stack(placed), difficult, others, known, _originals(model, samples) if asked else None)
    return Truth.of(truth, len(x), tuple(size), x.device)


def _originals(model: Classifier, samples: Sequence[Sample]) -> tuple[Tensor, ...]:
    """Return where the class is in the original pictures, (h, w) each.

    Raises:
        InvalidOption: the network does not see the whole of them.
    """
    pictures = any(not isinstance(s.image, Tensor) for s in samples)
    if pictures and not model.inputs.whole:
        raise InvalidOption(
            f"at='original' needs the whole picture as the input of {model.name}, whose preprocessing crops it, or is "
            "not known not to; give one without (a recipe's center_crop = 0), or leave at= out"
        )
    masks = [s.truth_mask() for s in samples]
    return tuple(from_numpy(np.array(m if m is not None else [[0]])) != 0 for m in masks)


def true_mask(model: Classifier, sample: Sample) -> Tensor | None:
    """Preprocess a mask as if it were a picture: whatever resizes and crops the one moves the other along."""
    if isinstance(sample.image, Tensor) and sample.image.ndim != 3:
        return _mask_of(sample, tuple(sample.image.shape[1:]))
    mask = sample.truth_mask()
    if mask is None:
        return None
    if isinstance(sample.image, Tensor):  # is the network's input, and the mask is of its pixels
        return from_numpy(np.array(mask)) != 0
    white = model.preprocess(mask.convert("RGB"))
    return model.display(white).mean(0) > 0.5


def _mask_of(sample: Sample, size: tuple[int, ...]) -> Tensor | None:
    """Return where the class is in a signal or a volume, which is as large as its mask.

    Raises:
        InvalidOption: there are boxes and no mask.
        InvalidImage: the mask is of another size.
    """
    if sample.mask is None:
        if sample.boxes:
            raise InvalidOption(f"{sample.name}: boxes are of pictures alone; give a mask of shape {size}")
        return None
    values = np.asarray(sample.mask)
    if values.shape != size:
        raise InvalidImage(f"{sample.name}: the mask has shape {values.shape}, but the input {size}; they must agree")
    return from_numpy(values != 0 if sample.mask_value is None else values == sample.mask_value)


def true_objects(model: Classifier, *samples: Sample) -> Tensor | None:
    """Return where each object of samples is on the network's input, (objects, H, W); a mask is taken for one."""
    alone = [
        one
        for sample in samples
        for one in ([sample] if sample.mask is not None else [replace(sample, boxes=(box,)) for box in sample.boxes])
    ]
    masks = [mask for one in alone if (mask := true_mask(model, one)) is not None]
    return torch.stack(masks) if masks else None
