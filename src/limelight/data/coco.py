"""Microsoft COCO: boxes and outlines of the objects of 80 classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from limelight import files
from limelight.data.reading import Contents, Drawn, Per, Thing, find, folder_with, json_of, numbers, samples_of
from limelight.data.samples import Sample
from limelight.errors import InvalidOption, show

BoolMap = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Outlines:
    """The shapes of a class on a picture; called, it draws them.

    Attributes:
        size: rows and columns of the picture.
        shapes: as COCO writes them: lists of polygons x1, y1, x2, y2, …, or run lengths.
        where: file and picture, for messages.
    """

    size: tuple[int, int]
    shapes: tuple[Any, ...]
    where: str

    def __call__(self) -> BoolMap:
        """Return the mask (H, W): True where the centre of a pixel lies in a shape.

        Raises:
            InvalidOption: a shape is damaged.
        """
        inside = np.zeros(self.size, dtype=np.bool_)
        for shape in self.shapes:
            try:
                inside |= _drawn(shape, self.size)
            except (KeyError, TypeError, ValueError, IndexError, OverflowError, MemoryError) as error:
                raise InvalidOption(f"{self.where}: the outline of an object is damaged ({error})") from error
        return inside


def read_coco(root: Path, split: str, truth: str, per: Per, *, year: int) -> Contents:
    """Read ``annotations/instances_*.json``; a class is difficult where all its objects are a crowd.

    Pictures without objects give no sample, unless there is one ``per`` picture.

    Raises:
        Absent: the annotations are not there.
        InvalidOption: they are damaged.
    """
    inside = (f"coco{year}", "coco", "COCO")
    listing = folder_with(root, inside, f"annotations/instances_{split}{year}.json")
    path = listing / "annotations" / f"instances_{split}{year}.json"
    folder = find(listing, (f"{split}{year}", f"images/{split}{year}")) or listing / f"{split}{year}"
    whole = json_of(path)
    with files.refusing(InvalidOption, f"{path} is no file of COCO's instances"):
        names = {one["id"]: str(one["name"]) for one in sorted(whole["categories"], key=lambda one: one["id"])}
        pictures = {one["id"]: one for one in whole["images"]}
        things: dict[Any, list[Thing]] = {key: [] for key in pictures}
        for one in whole["annotations"]:
            where = f"{path}, annotation {show(one['id'])}"
            for known, what in ((names, "category"), (pictures, "image")):
                if one[f"{what}_id"] not in known:
                    raise InvalidOption(f"{where}: there is no {what} with the id {show(one[f'{what}_id'])}")
            things[one["image_id"]].append(_thing(one, names[one["category_id"]], where))
        samples = [
            _sample(sample, ones, (int(picture["height"]), int(picture["width"])), truth, str(path))
            for key, picture in pictures.items()
            for sample, ones in samples_of(
                folder / picture["file_name"], Path(picture["file_name"]).stem, things[key], per
            )
        ]
    return samples, tuple(names.values())


def _thing(one: dict[str, Any], label: str, where: str) -> Thing:
    x, y, width, height = numbers(one["bbox"], where)
    box = (x, y, x + width, y + height) if width > 0 and height > 0 else None  # a few are flat
    return Thing(label, box, bool(one.get("iscrowd", 0)), one.get("segmentation"))


def _sample(sample: Sample, things: Sequence[Thing], size: tuple[int, int], truth: str, path: str) -> Sample:
    shapes = tuple(one.outline for one in things if one.outline)
    if truth != "masks" or not shapes:
        return sample
    return Drawn.of(sample, Outlines(size, shapes, f"{path}, {sample.name}"))


def _drawn(shape: Any, size: tuple[int, int]) -> BoolMap:
    if isinstance(shape, dict):
        return _from_runs(cast(dict[str, Any], shape), size)
    return _from_polygons(shape, size)


def _from_polygons(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> BoolMap:
    inside = np.zeros(size, dtype=np.bool_)
    for points in polygons:
        x, y = np.asarray(points, dtype=np.float64).reshape(-1, 2).T
        inside[_within(y - 0.5, x - 0.5, size)] = True  # COCO counts from a pixel's corner, the library from its centre
    return inside


def _within(
    rows: npt.NDArray[np.float64], columns: npt.NDArray[np.float64], size: tuple[int, int]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the rows and columns of the pixels in a polygon with these corners; the library says no types."""
    from skimage.draw import polygon  # pyright: ignore[reportUnknownVariableType]

    return cast(tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]], polygon(rows, columns, size))


def _from_runs(shape: dict[str, Any], size: tuple[int, int]) -> BoolMap:
    """Lay out run lengths, which go down the columns and begin outside."""
    counts = shape["counts"]
    runs = _decompress(counts) if isinstance(counts, str) else counts
    if tuple(shape["size"]) != size or sum(runs) != size[0] * size[1]:
        raise ValueError(f"{sum(runs)} pixels of {shape['size']} for a picture of {size[0]} rows, {size[1]} columns")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(size[1], size[0]).T


def _decompress(text: str) -> list[int]:
    """Read run lengths written as text.

    Each character holds 5 bits of a number, the lowest first, and a sixth that says that more follow; the last
    one's highest bit is the sign. From the fourth on, the numbers are differences from the last but one.
    """
    runs: list[int] = []
    value = shift = 0
    for code in text.encode("ascii"):
        bits = code - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    return runs
