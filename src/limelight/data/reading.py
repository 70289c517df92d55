"""What the readers of data sets share: files that may be absent, annotations, samples whose mask is drawn late."""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
from PIL import Image

from limelight import files
from limelight.data.samples import Box, Label, Sample
from limelight.errors import InvalidImage, InvalidOption, nearest, show

Per = Literal["class", "picture"]
Contents = tuple[list[Sample], Sequence[str]]
"""The samples, and the names of the classes in the data set's own order (none if the labels are indices)."""


class Absent(InvalidImage):
    """Files that a data set needs are not there.

    Attributes:
        problems: a line for each.
    """

    def __init__(self, *problems: str):
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        super().__init__("; ".join(problems[:3]) + more)
        self.problems = problems


@dataclass(frozen=True)
class Drawn(Sample):
    """A sample whose mask is made when it is asked for, as it is in no file that shows it as it is.

    Attributes:
        draw: returns the mask, (H, W), True where the class is.
    """

    draw: Callable[[], npt.NDArray[np.bool_]] | None = None

    @classmethod
    def of(cls, sample: Sample, draw: Callable[[], npt.NDArray[np.bool_]]) -> "Drawn":
        """Return a sample with the mask that a function returns."""
        return cls(**{field.name: getattr(sample, field.name) for field in fields(sample)}, draw=draw)

    def truth_mask(self) -> Image.Image | None:
        """Draw the mask; see ``Sample.truth_mask``."""
        if self.draw is None:
            return super().truth_mask()
        return replace(self, mask=self.draw(), draw=None).truth_mask()


@dataclass(frozen=True)
class Thing:
    """An object on a picture.

    Attributes:
        label: its class.
        box: as in ``Sample``; None if unknown.
        difficult: whether it is flagged so.
        outline: its shape in the data set's own terms.
    """

    label: str
    box: Box | None
    difficult: bool
    outline: Any = None


def samples_of(image: Path, name: str, things: Iterable[Thing], per: Per) -> list[tuple[Sample, list[Thing]]]:
    """Return a sample per class on a picture, or one for the picture, and the things each is about.

    Of a picture with several classes or none, the one sample knows no class and no truth.
    """
    classes: dict[Label, list[Thing]] = {}
    for thing in things:
        classes.setdefault(thing.label, []).append(thing)
    if per == "picture" and len(classes) != 1:
        return [(Sample(image, name), [])]
    has_others = len(classes) > 1
    return [
        (
            Sample(
                image,
                f"{name}#{label}" if has_others else name,
                label,
                boxes=tuple(one.box for one in ones if one.box is not None),
                difficult=all(one.difficult for one in ones),
                others=has_others,
            ),
            ones,
        )
        for label, ones in classes.items()
    ]


# -- files -----------------------------------------------------------------------------------------------


def folder_with(root: Path, inside: Sequence[str], marker: str) -> Path:
    """Return the first of some folders, ``root`` itself being the last, in which there is a file or folder.

    Raises:
        Absent: there is none.
    """
    folder = find(root, (*inside, ""), marker)
    if folder is None:
        raise Absent(f"there is no {marker} in {root}, nor in its {' or '.join(inside)}")
    return folder


def find(root: Path, inside: Sequence[str], marker: str = "") -> Path | None:
    """Return the first of some folders in ``root`` in which there is a file or folder; None if there is none."""
    return next((root / one for one in inside if (root / one / marker).exists()), None)


def absent_files(paths: Iterable[Path]) -> tuple[set[Path], list[str]]:
    """Return the files that are not there, and a line per folder that says how many and which is the first.

    A folder is listed once, which is much faster than a look at each file.
    """
    folders: dict[Path, dict[str, None]] = {}
    for path in paths:
        folders.setdefault(path.parent, {})[path.name] = None
    absent: set[Path] = set()
    problems: list[str] = []
    for folder, wanted in folders.items():
        there, reason = _listing(folder)
        gone = [name for name in wanted if name not in there]
        absent |= {folder / name for name in gone}
        if gone:
            problems.append(f"{len(gone)} of {len(wanted)} files are missing in {folder}{reason}, such as {gone[0]}")
    return absent, problems


def _listing(folder: Path) -> tuple[set[str], str]:
    try:
        return {path.name for path in folder.iterdir()}, ""
    except FileNotFoundError:
        return set(), " (there is no such folder)"
    except OSError as error:
        return set(), f" ({error.strerror})"


def text_of(path: Path) -> str:
    """Return a text file's text.

    Raises:
        Absent: it is not there.
        InvalidOption: it can't be read.
    """
    try:
        with files.refusing(InvalidOption, f"can't read {path}"):
            return files.text_of(path)
    except InvalidOption as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise Absent(f"there is no {path}") from None
        raise


def rows_of(path: Path, columns: int) -> list[list[str]]:
    """Return the words of each line of a table; the last of ``columns`` may hold spaces.

    Raises:
        Absent: it is not there.
        InvalidOption: a line is short of words.
    """
    rows: list[list[str]] = []
    for number, line in enumerate(text_of(path).splitlines(), 1):
        if line.strip():
            words = line.strip().split(maxsplit=columns - 1)
            if len(words) < columns:
                raise InvalidOption(f"{path}, line {number}: expected {columns} columns, got {show(line.strip())}")
            rows.append(words)
    return rows


def json_of(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        Absent: it is not there.
        InvalidOption: it is damaged.
    """
    text = text_of(path)
    with files.refusing(InvalidOption, f"{path} is no JSON, or damaged", "; unpack it once more"):
        return json.loads(text)


def things_of(path: Path, *, first: int) -> list[Thing]:
    """Return the objects of an annotation in the xml of PASCAL VOC, which ImageNet uses too.

    Args:
        path: the file.
        first: the number of the first pixel, 1 for VOC and 0 for ImageNet; the file's ends are inclusive.

    Raises:
        Absent: it is not there.
        InvalidOption: it is damaged, or an object has no class or no right box.
    """
    text = text_of(path)
    with files.refusing(InvalidOption, f"{path} is no xml, or damaged", "; unpack it once more"):
        objects = ElementTree.fromstring(text).findall("object")
    return [_thing(one, f"{path}, object {number}", first) for number, one in enumerate(objects, 1)]


def _thing(one: ElementTree.Element, where: str, first: int) -> Thing:
    label = one.findtext("name", "").strip()
    if not label:
        raise InvalidOption(f"{where}: it has no <name>, which should be its class")
    texts = [one.findtext(f"bndbox/{end}", "") for end in ("xmin", "ymin", "xmax", "ymax")]
    x1, y1, x2, y2 = numbers(texts, where)
    box = (x1 - first, y1 - first, x2 - first + 1, y2 - first + 1)
    if not (box[0] < box[2] and box[1] < box[3]):
        raise InvalidOption(f"{where}: the box {', '.join(texts)} needs xmin <= xmax and ymin <= ymax")
    return Thing(label, box, one.findtext("difficult", "0").strip() == "1")


def numbers(texts: Sequence[Any], where: str) -> tuple[float, float, float, float]:
    """Return the four finite numbers of a box.

    Raises:
        InvalidOption: they are not.
    """
    try:
        a, b, c, d = map(float, texts)
    except (TypeError, ValueError, OverflowError):
        a = b = c = d = math.nan
    if not all(map(math.isfinite, (a, b, c, d))):
        raise InvalidOption(f"{where}: a box must be four numbers, got {', '.join(map(str, texts))[:120]}")
    return a, b, c, d


def check_class(label: str, classes: Sequence[str], where: object) -> None:
    """Raise if a label is none of the data set's.

    Raises:
        InvalidOption: it is not.
    """
    if label not in classes:
        raise InvalidOption(f"{where}: {label!r} is none of the {len(classes)} classes{nearest(label, classes)}")
