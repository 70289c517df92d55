"""Caltech-UCSD Birds 200 (2011)."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from limelight.data.images import load_image
from limelight.data.reading import Contents, Drawn, find, folder_with, numbers, rows_of
from limelight.data.samples import Box, Sample
from limelight.errors import InvalidOption


@dataclass(frozen=True)
class Agreed:
    """Where most of the people who outlined a bird agree; called, it reads the file."""

    path: Path

    def __call__(self) -> npt.NDArray[np.bool_]:
        """Return the mask (H, W)."""
        return np.asarray(load_image(self.path).convert("L")) > 127


def read_cub(root: Path, split: str, truth: str) -> Contents:
    """Read the tables of CUB-200-2011; the masks are a separate download.

    Raises:
        Absent: a table is not there.
        InvalidOption: it is damaged, or the tables don't agree.
    """
    base = folder_with(root, ("CUB_200_2011",), "images.txt")
    classes = dict(rows_of(base / "classes.txt", 2))
    labels = dict(rows_of(base / "image_class_labels.txt", 2))
    training = dict(rows_of(base / "train_test_split.txt", 2))
    boxes: dict[str, Box] = {}
    for key, *texts in rows_of(base / "bounding_boxes.txt", 5):
        x, y, width, height = numbers(texts, f"{base / 'bounding_boxes.txt'}, picture {key}")
        boxes[key] = (x, y, x + width, y + height)
    masks = find(base, ("segmentations", "../segmentations")) or base / "segmentations"
    samples: list[Sample] = []
    for key, file in rows_of(base / "images.txt", 2):
        for table, known in (("image_class_labels", labels), ("train_test_split", training), ("bounding_boxes", boxes)):
            if key not in known:
                raise InvalidOption(f"{base / table}.txt says nothing of picture {key}, {file}")
        if labels[key] not in classes:
            raise InvalidOption(
                f"{base / 'image_class_labels.txt'}: picture {key} has class {labels[key]}, "
                f"but classes.txt has {len(classes)} classes"
            )
        if split != "all" and (training[key] == "1") != (split == "train"):
            continue
        sample = Sample(base / "images" / file, file, classes[labels[key]], (boxes[key],))
        if truth == "masks":
            mask = masks / Path(file).with_suffix(".png")
            sample = Drawn.of(replace(sample, mask=mask), Agreed(mask))
        samples.append(sample)
    return samples, tuple(classes.values())
