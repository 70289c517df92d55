"""Pictures with their classes, to train on: from a folder, a csv, a list, or a data set on disk."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from limelight.data.collect import as_samples, label_samples
from limelight.data.datasets import DATASETS, open_with_classes
from limelight.data.samples import Sample
from limelight.errors import InvalidOption, nearest, show


@dataclass(frozen=True)
class Picture:
    """A picture to train on.

    Attributes:
        image: what ``load_image`` takes.
        name: of the picture, for messages.
        classes: which classes are on it, by index.
    """

    image: Any
    name: str
    classes: tuple[int, ...]


def open_labelled(images: Any, dataset: str, split: str | None) -> tuple[list[Picture], list[str]]:
    """Return pictures with the indices of their classes, and the classes' names.

    Args:
        images: a folder of classes, a csv or a list of samples; or the folder of a data set.
        dataset: one of ``DATASETS``; ``folder`` for pictures of one's own.
        split: of the data set.

    Raises:
        InvalidOption: a picture has no class, or there is only one class.
    """
    if dataset == "folder":
        samples = label_samples(as_samples(images))
        classes = _names_of(samples)
    else:
        truths = DATASETS[dataset].truths if dataset in DATASETS else ()
        light = next((truth for truth in truths if truth != "masks"), None)  # no mask is looked at
        samples, names = open_with_classes(dataset, images, split, truth=light)
        classes = list(names) or [
            str(i) for i in range(1 + max((s.label for s in samples if isinstance(s.label, int)), default=-1))
        ]
    if len(classes) < 2:
        raise InvalidOption(f"there must be two classes at least to tell apart, but there is {len(classes)}")
    return index_classes(samples, classes), classes


def _names_of(samples: Sequence[Sample]) -> list[str]:
    """Return the names of the classes of pictures of one's own: in a data set's order, else sorted, else numbers."""
    numbers = {sample.label for sample in samples if isinstance(sample.label, int)}
    ordered = {sample.classes for sample in samples}
    if numbers and len(ordered) == 1 and (names := ordered.pop()):
        return [*names]
    named = {label for sample in samples for label in (sample.label, *sample.classes) if isinstance(label, str)}
    if named and numbers:
        raise InvalidOption(f"some classes are names, such as {min(named)}, and some numbers; give all alike")
    return sorted(named) if named else [str(i) for i in range(max(numbers, default=-1) + 1)]


def index_classes(samples: Sequence[Sample], classes: Sequence[str]) -> list[Picture]:
    """Return one picture for all samples of it, with the indices of their classes.

    Raises:
        InvalidOption: a picture has no class, or one that is none of those.
    """
    index = {name: number for number, name in enumerate(classes)}
    pictures: dict[Any, Picture] = {}
    for sample in samples:
        if sample.label is None:
            raise InvalidOption(f"{sample.name} has no class; give a folder per class, or a csv with a label per row")
        number = index.get(sample.label) if isinstance(sample.label, str) else sample.label
        if number is None or not 0 <= number < len(classes):
            label = show(sample.label)
            raise InvalidOption(
                f"{sample.name}: {label} is none of the {len(classes)} classes{nearest(label, classes)}"
            )
        key = id(sample.image) if hasattr(sample.image, "shape") else str(sample.image)
        picture = pictures.setdefault(key, Picture(sample.image, sample.name, ()))
        pictures[key] = replace(picture, classes=tuple(sorted({*picture.classes, number})))
    return list(pictures.values())


def hold_out(pictures: Sequence[Picture], share: float, seed: int) -> tuple[list[Picture], list[Picture]]:
    """Part pictures into those to train on and those to test with: this share of every class, drawn by a seed.

    A picture of several classes counts for its first. Of each class one at least is left to train on.
    """
    test: set[int] = set()
    for number in {picture.classes[0] for picture in pictures}:
        own = [i for i, picture in enumerate(pictures) if picture.classes[0] == number]
        count = min(int(share * len(own) + 0.5), len(own) - 1)
        drawn = np.random.default_rng([seed, number]).permutation(len(own))[:count]
        test |= {own[i] for i in drawn}
    return (
        [picture for i, picture in enumerate(pictures) if i not in test],
        [picture for i, picture in enumerate(pictures) if i in test],
    )
