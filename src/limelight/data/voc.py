"""PASCAL VOC 2007."""

from dataclasses import replace
from pathlib import Path

from limelight.data.reading import (
    Absent,
    Contents,
    Per,
    absent_files,
    check_class,
    folder_with,
    rows_of,
    samples_of,
    things_of,
)
from limelight.data.samples import Sample

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""In the order of the palettes, which count from 1."""


def read_voc(root: Path, split: str, truth: str, per: Per) -> Contents:
    """Read boxes of the pictures listed in ``ImageSets/Main``, or masks of those in ``ImageSets/Segmentation``.

    Void pixels (255) belong to no class. They hide difficult objects, so a class of which all objects are
    difficult has no mask and gives no sample there.

    Raises:
        Absent: lists or annotations are not there.
        InvalidOption: an annotation is damaged, or names an unknown class.
    """
    listing = f"ImageSets/{'Segmentation' if truth == 'masks' else 'Main'}/{split}.txt"
    base = folder_with(root, ("VOCdevkit/VOC2007", "VOC2007"), listing)
    notes_of = {name: base / "Annotations" / f"{name}.xml" for (name,) in rows_of(base / listing, 1)}
    problems = absent_files(notes_of.values())[1]
    if problems:
        raise Absent(*problems)
    samples: list[Sample] = []
    for name, notes in notes_of.items():
        things = things_of(notes, first=1)
        for thing in things:
            check_class(thing.label, CLASSES, notes)
        for sample, _ in samples_of(base / "JPEGImages" / f"{name}.jpg", name, things, per):
            if truth != "masks" or sample.label is None:
                samples.append(sample)
            elif not sample.difficult:
                value = CLASSES.index(str(sample.label)) + 1
                samples.append(replace(sample, mask=base / "SegmentationClass" / f"{name}.png", mask_value=value))
            elif per == "picture":
                samples.append(replace(sample, boxes=()))
    return samples, CLASSES
