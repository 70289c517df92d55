"""Read pictures and their masks some at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from limelight.api.pictures import as_input
from limelight.api.truth import true_mask
from limelight.api.unreadable import Unreadable
from limelight.data.collect import open_sample
from limelight.data.samples import Sample
from limelight.errors import InvalidOption, show
from limelight.model.classifier import Classifier

IMAGES_AT_ONCE = 16
"""Pictures per round of an evaluation: enough to share passes, few enough to report progress."""

MOST_AT_ONCE = 1024
"""Pictures that are read at once, however many may go together."""


def images_at_once(batch_size: int | None) -> int:
    """Return how many pictures to read at once.

    Raises:
        InvalidOption: a batch of none.
    """
    if batch_size is not None and batch_size < 1:
        raise InvalidOption(f"batch_size = {show(batch_size)}: expected at least 1, or None to fit the memory")
    return IMAGES_AT_ONCE if batch_size is None else min(batch_size, MOST_AT_ONCE)


def read_in_rounds(
    model: Classifier, samples: Sequence[Sample], size: int, unreadable: Unreadable
) -> Iterator[tuple[list[int], list[Sample], Tensor, list[Tensor | None]]]:
    """Load some pictures and their masks at a time; those of one size go together.

    Yields:
        Their places, what is known of them now that they are read, the inputs and the masks.

    Raises:
        InvalidImage: none of them can be read.
    """

    def read(sample: Sample) -> tuple[Sample, Tensor, Tensor | None]:
        there = open_sample(sample)
        x, mask = read_sample(model, there)
        return replace(there, image=x if there.image is not sample.image else sample.image), x, mask

    for start in range(0, len(samples), size):
        numbers = range(start, min(len(samples), start + size))
        tried = {i: unreadable.try_read(samples[i].name, lambda i=i: read(samples[i])) for i in numbers}
        inputs = {i: one for i, one in tried.items() if one is not None}
        for shape in dict.fromkeys(tuple(x.shape) for _, x, _ in inputs.values()):
            where = [i for i, (_, x, _) in inputs.items() if tuple(x.shape) == shape]
            there, xs, masks = zip(*(inputs[i] for i in where), strict=True)
            yield where, [*there], torch.stack(xs), [*masks]
    unreadable.tell(len(samples))


def read_sample(model: Classifier, sample: Sample) -> tuple[Tensor, Tensor | None]:
    """Return the network's input for a sample, (3, H, W), and its mask there, (H, W), if there is one.

    Raises:
        InvalidImage: one of them can't be read.
    """
    return as_input(model, sample.image), true_mask(model, sample)
