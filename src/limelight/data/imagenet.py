"""ImageNet: the validation pictures of ILSVRC 2012, and the pictures with masks."""

import csv
import importlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from limelight.data.images import SUFFIXES
from limelight.data.reading import Absent, Contents, Drawn, absent_files, find, numbers, rows_of, text_of, things_of
from limelight.data.samples import Box, Sample
from limelight.errors import InvalidImage, InvalidOption, MissingExtra, show
from limelight.files import open_file, problem_of, refusing
from limelight.text import whole_number

_PICTURES = ("val", "ILSVRC2012_img_val", "ILSVRC/Data/CLS-LOC/val", "Data/CLS-LOC/val", "")
_DEVKIT = ("ILSVRC2012_devkit_t12/data", "devkit/data", "data", "")
_NOTES = (
    *("ILSVRC2012_bbox_val_v3/val", "ILSVRC2012_bbox_val_v3", "bbox/val", "bbox"),
    *("ILSVRC/Annotations/CLS-LOC/val", "Annotations/CLS-LOC/val", "val"),
)
_ANSWERS, _META = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"
_CLASSES = 1000
_FILE = re.compile(r"ILSVRC2012_val_\d{8}\.JPEG")
_WNID = re.compile(r"n\d{8}")
_SEGMENTED = "gtsegs_ijcv.mat"


def read_imagenet(root: Path, truth: str | None) -> Contents:
    """Read the validation pictures, flat or in a folder per class, in the order of their numbers.

    The labels are indices in the order of the sorted WordNet ids, as torchvision's models have them: two pairs
    of classes share a name. What a picture shows comes from the devkit's ground truth, from Kaggle's
    ``LOC_val_solution.csv``, or from its folder; the boxes from the xml files or from that csv.

    Args:
        root: the folder with all of it.
        truth: ``boxes``, ``labels``, or None for boxes if they are there.

    Raises:
        Absent: pictures, classes or boxes are not there.
        InvalidOption: a file is damaged, or a class is out of range.
    """
    folder, flat = _pictures(root)
    order, answers, boxes = _read_known(root)
    if answers:
        paths = {stem: (folder if flat else folder / wnid) / f"{stem}.JPEG" for stem, wnid in answers.items()}
    elif flat:
        raise Absent(
            f"what the pictures in {folder} show is not known: there is neither {_DEVKIT[0]}/{_ANSWERS} with "
            f"{_META} nor LOC_val_solution.csv with LOC_synset_mapping.txt in {root}, nor a folder per class"
        )
    else:
        paths = _in_folders(folder)
        answers = {stem: path.parent.name for stem, path in paths.items()}
    index = {wnid: number for number, wnid in enumerate(order or _order_of(answers, folder, root))}
    stranger = next((stem for stem, wnid in answers.items() if wnid not in index), None)
    if stranger is not None:
        raise InvalidOption(f"{folder}: {stranger} is of class {answers[stranger]}, which is none of the {len(index)}")
    if truth == "labels":
        boxes = {}
    elif not boxes:
        boxes = _note(root, answers, needed=truth == "boxes")
    return [Sample(paths[stem], stem, index[answers[stem]], tuple(boxes.get(stem, ()))) for stem in sorted(answers)], ()


def _pictures(root: Path) -> tuple[Path, bool]:
    """Return the folder of pictures, and whether they lie in it rather than in folders per class."""
    for folder in map(root.joinpath, _PICTURES):
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        if any(map(_FILE.fullmatch, names)):
            return folder, True
        if any(map(_WNID.fullmatch, names)):
            return folder, False
    raise Absent(
        f"there are no ILSVRC2012_val_*.JPEG or folders such as n01440764 in {root} or its {', '.join(_PICTURES[:-1])}"
    )


def _in_folders(folder: Path) -> dict[str, Path]:
    """Return the pictures in the folders of classes by their names without the suffix."""
    wnids = (path for path in folder.iterdir() if _WNID.fullmatch(path.name))
    return {path.stem: path for wnid in wnids for path in wnid.iterdir() if path.suffix.lower() in SUFFIXES}


def _order_of(answers: Mapping[str, str], folder: Path, root: Path) -> list[str]:
    """Return the sorted classes of folders, which tell their indices only if none is missing."""
    order = sorted(set(answers.values()))
    if len(order) != _CLASSES:
        raise Absent(
            f"{folder} has pictures of {len(order)} of {_CLASSES} classes, and without {_DEVKIT[0]}/{_META} or "
            f"LOC_synset_mapping.txt in {root} their indices can't be known"
        )
    return order


def _note(root: Path, answers: Mapping[str, str], *, needed: bool) -> dict[str, list[Box]]:
    """Return the boxes that the xml files have of each picture's class; nothing if there are no files."""
    folder = next((root / one for one in _NOTES if any((root / one).glob("ILSVRC2012_val_*.xml"))), None)
    if folder is None:
        if needed:
            raise Absent(f"there are no boxes (ILSVRC2012_val_*.xml) in {root} or its {', '.join(_NOTES)}")
        return {}
    files = {stem: folder / f"{stem}.xml" for stem in answers}
    problems = absent_files(files.values())[1]
    if problems:
        raise Absent(*problems)
    return {
        stem: [one.box for one in things_of(file, first=0) if one.label == answers[stem] and one.box is not None]
        for stem, file in files.items()
    }


def _read_known(root: Path) -> tuple[list[str], Mapping[str, str], Mapping[str, Sequence[Box]]]:
    """Return what is on disk of: the sorted classes, the class of each picture, the boxes of each picture."""
    kit = find(root, _DEVKIT, _META)
    mapping, solution = root / "LOC_synset_mapping.txt", root / "LOC_val_solution.csv"
    if kit is not None:
        by_number = _synsets(kit / _META)
        return sorted(by_number.values()), _answers(kit / _ANSWERS, by_number), {}
    if not mapping.exists():
        return [], {}, {}
    order = sorted(wnid for wnid, _ in rows_of(mapping, 2))
    return (order, *_solution(solution)) if solution.exists() else (order, {}, {})


def _synsets(path: Path) -> dict[int, str]:
    """Return the WordNet ids of the classes, which are the synsets without children, by the devkit's numbers."""
    from scipy.io import loadmat

    with refusing(InvalidOption, f"{path} is not the devkit's table of classes, or damaged"), open_file(path) as file:
        contents = loadmat(cast(Any, file), squeeze_me=True)  # its types know of paths only
        table = np.atleast_1d(contents["synsets"])
        columns = (table["ILSVRC2012_ID"], table["WNID"], table["num_children"])
        return {int(number): str(wnid) for number, wnid, children in zip(*columns, strict=True) if children == 0}


def _answers(path: Path, by_number: Mapping[int, str]) -> dict[str, str]:
    if not path.exists():
        return {}
    answers: dict[str, str] = {}
    for line, text in enumerate(text_of(path).split(), 1):
        number = whole_number(text)
        wnid = None if number is None else by_number.get(number)
        if wnid is None:
            raise InvalidOption(f"{path}, line {line}: {show(text)} is no class; {_META} has 1 to {len(by_number)}")
        answers[f"ILSVRC2012_val_{line:08d}"] = wnid
    return answers


def _solution(path: Path) -> tuple[dict[str, str], dict[str, list[Box]]]:
    """Read Kaggle's csv: after each picture, its class and four ends, inclusive and from 0, per object."""
    answers: dict[str, str] = {}
    boxes: dict[str, list[Box]] = {}
    with refusing(InvalidOption, f"{path} is no csv, or damaged"):
        rows = list(csv.reader(io.StringIO(text_of(path))))
    for line, row in enumerate(rows, 1):
        if not row or row[0] == "ImageId":
            continue
        words = row[1].split() if len(row) == 2 else []
        if not words or len(words) % 5:
            raise InvalidOption(f"{path}, line {line}: expected a picture and five words per object, got {show(row)}")
        answers[row[0]] = words[0]
        boxes[row[0]] = [
            (x1, y1, x2 + 1, y2 + 1)
            for start in range(0, len(words), 5)
            for x1, y1, x2, y2 in [numbers(words[start + 1 : start + 5], f"{path}, line {line}")]
        ]
    return answers, boxes


# -- pictures with masks ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Segmented:
    """A picture and its mask inside of the one file; read from it when asked for.

    The file is HDF5 as MATLAB writes it: arrays are transposed, and a cell is a reference to another array.
    """

    path: Path
    number: int

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.path}, picture {self.number}"

    def read(self) -> bytes:
        """Return the picture as an encoded file."""
        file = io.BytesIO()
        Image.fromarray(self._array("img", 1).T.copy()).save(file, "PPM")
        return file.getvalue()

    def __call__(self) -> npt.NDArray[np.bool_]:
        """Return the mask (H, W)."""
        return self._array("gt", 2).T != 0

    def _array(self, field: str, depth: int) -> npt.NDArray[Any]:
        try:
            with _h5py().File(self.path, "r") as file:
                reference = file["value"][field][self.number, 0]
                for _ in range(depth - 1):
                    reference = file[reference][0, 0]
                array = file[reference]
                if array.nbytes > 4 * self.path.stat().st_size + (64 << 20):
                    raise ValueError(f"it claims {array.nbytes:,} bytes, in a file of {self.path.stat().st_size:,}")
                return np.asarray(array)
        except (KeyError, ValueError, IndexError, TypeError, OSError, RuntimeError, AttributeError) as error:
            raise InvalidImage(f"{self.name}: its {field!r} can't be read ({error})") from error


def read_imagenet_seg(root: Path) -> Contents:
    """Read ImageNet-Segmentation, of which only the masks are known, not the classes.

    Raises:
        Absent: the file is not there.
        InvalidOption: it is another or damaged.
        MissingExtra: h5py is not installed.
    """
    path = root / _SEGMENTED if root.is_dir() else root
    problem = problem_of(path, "file")
    if problem:
        raise Absent(problem)
    what = f"{path} is not the file of pictures and masks, or damaged"
    with refusing(InvalidOption, what), _h5py().File(path, "r") as file:
        images, masks = len(file["value"]["img"]), len(file["value"]["gt"])
    if images != masks:
        raise InvalidOption(f"{path} is damaged: it has {images} pictures and {masks} masks")
    cells = [Segmented(path, number) for number in range(images)]
    return [Drawn(cell, f"{cell.number:04d}", draw=cell) for cell in cells], ()


def _h5py() -> Any:
    try:
        return importlib.import_module("h5py")
    except ImportError:
        raise MissingExtra("h5py", "data") from None
