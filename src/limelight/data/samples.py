"""Pictures with whatever is known of them: class, boxes, mask.

:func:`read_samples` reads folders and csv files, and checks all that can be checked without decoding a picture;
:meth:`Sample.truth_mask` does the rest.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from limelight import files
from limelight.data.images import ARRAYS, FORMATS, list_images, load_image
from limelight.errors import InvalidImage, InvalidOption, nearest, show
from limelight.files import name_in_text
from limelight.quiet import any_size, quiet
from limelight.text import whole_number

__all__ = ["Box", "Label", "Sample", "read_samples"]

Box = tuple[float, float, float, float]
Label = int | str

_FILES = ("file", "image", "filename", "path")
_NAMES = ("label", "class", "target", "class_index", "index")
_INDICES = ("class_index", "target", "class", "label", "index")  # "index" last: it may just count the rows
_CORNERS = ("x1", "y1", "x2", "y2")
_COLUMNS = {*_FILES, *_NAMES, *_CORNERS, "mask", "mask_value", "difficult"}


@dataclass(frozen=True)
class Sample:
    """A picture and what is known of one class on it.

    Attributes:
        image: what ``load_image`` takes, or a tensor that is the network's input already; masks and boxes are then
            in its pixels.
        name: short and unique among the samples that were read together; bytes of a file's name that are no UTF-8
            are written out.
        label: the true class, by name or index; None if unknown.
        boxes: x1, y1, x2, y2 in pixels of the original, upright picture, ends exclusive; empty if unknown.
        mask: a file or an array (H, W) of the original, upright picture's size, where what is not 0 belongs
            to the class; of a file with a palette the indices count. It overrules the boxes. None if unknown.
        mask_value: the only value of the mask that belongs to the class; None for all but 0.
        difficult: whether every object of the class carries the "difficult" flag.
        others: whether the picture holds other classes too; None if unknown.
        classes: the names of all folders of classes that were read together, sorted; empty if there are none. A model
            without names of classes, but with as many, has them in this order (as torchvision's ``ImageFolder``).
    """

    image: Any
    name: str
    label: Label | None = None
    boxes: tuple[Box, ...] = ()
    mask: Path | npt.NDArray[Any] | None = None
    mask_value: int | None = None
    difficult: bool = False
    others: bool | None = None
    classes: tuple[str, ...] = ()

    def truth_mask(self) -> Image.Image | None:
        """Return where the class is: 255 there and 0 elsewhere, mode ``"L"``, as large as the upright picture.

        A pixel is inside a box if its centre is; what sticks out of the picture is cut off.

        Returns:
            The mask, or None where neither a mask nor boxes are known.

        Raises:
            InvalidImage: the picture or the mask can't be read, or they differ in size.
            InvalidOption: a box covers nothing of the picture, or ``mask_value`` is not in the mask.
        """
        if self.mask is None and not self.boxes:
            return None
        given = self.image  # an input of the network is as large as it is
        size = given.shape[:-3:-1] if hasattr(given, "is_floating_point") else load_image(given).size
        inside = self._inside_boxes(size) if self.mask is None else self._inside_mask(self.mask, size)
        return Image.fromarray(inside * np.uint8(255))

    def _inside_boxes(self, size: tuple[int, ...]) -> npt.NDArray[np.bool_]:
        width, height = size
        column, row = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
        inside = np.zeros((height, width), dtype=np.bool_)
        for box in self.boxes:
            x1, y1, x2, y2 = box
            if not (max(x1, 0) < min(x2, width) and max(y1, 0) < min(y2, height)):
                raise InvalidOption(f"{self.name}: the box {box} covers nothing of the picture of {width} x {height}")
            own = (x1 <= column) & (column < x2) & (y1 <= row) & (row < y2)
            if not own.any():
                raise InvalidOption(
                    f"{self.name}: the box {box} holds the centre of no pixel; boxes are x1, y1, x2, y2 in pixels of "
                    f"the picture of {width} x {height}, and no shares of it"
                )
            inside |= own
        return inside

    def _inside_mask(self, mask: Any, size: tuple[int, ...]) -> npt.NDArray[np.bool_]:
        file = isinstance(mask, str | Path)
        which = f"{self.name}: the mask" + (f" {mask}" if file else "")
        values = _mask_values(Path(mask), which) if file else np.asarray(mask)
        if values.shape[1::-1] != tuple(size):
            given, right = (" x ".join(map(str, side)) for side in (values.shape[1::-1], size))
            raise InvalidImage(f"{which} is {given}, but the upright picture is {right}; they must agree")
        if values.ndim == 3 and (values == values[..., :1]).all():  # grey that was saved as colour
            values = values[..., 0]
        if self.mask_value is None:
            return (values if values.ndim == 2 else values.any(-1)) != 0
        if values.ndim != 2:
            raise InvalidImage(f"{which} is in colours; mask_value needs one channel (grey or a palette)")
        inside = values == self.mask_value
        if not inside.any():
            held = ", ".join(map(str, np.unique(values)[:10]))
            raise InvalidOption(f"{which} holds no {self.mask_value}, the mask_value; its values: {held}")
        return inside


def read_samples(source: str | Path) -> list[Sample]:
    """Read samples from a folder, a csv or a single picture.

    * A folder of pictures, or else of arrays and scans: nothing is known of them.
    * A folder of folders: the first folder below ``source`` names the class, however deep the picture lies.
    * A folder with a ``labels.csv``, or any ``.csv`` file: one row per picture, or per object.

    A csv is UTF-8 with commas; its first line names the columns, in any order and case:

    * ``file`` (or ``image``, ``filename``, ``path``), relative to the csv's folder. The only one required.
    * ``label`` (or ``class``, ``target``, ``class_index``, ``index``): the class. A column with a whole number
      in every row is taken for the class index and goes before names.
    * ``mask``: a file, relative too; ``mask_value``: the value in it, if not all but 0.
    * ``x1``, ``y1``, ``x2``, ``y2``: a box in pixels, ends exclusive.
    * ``difficult``: 0 or 1. A sample is difficult if all its rows are.

    Rows of one file and one label are boxes of one sample. Rows of one file and several labels are several
    samples, named ``file#label``, of a picture that holds ``others``. Other columns are ignored, as are hidden
    files and files that are no pictures in folders.

    Raises:
        InvalidImage: there is no such source, no picture in it, or a picture or mask of the csv is absent.
        InvalidOption: a folder mixes pictures and class folders, or the csv can't be read or understood.
    """
    path = Path(source)
    if path.is_dir():
        table = path / "labels.csv"
        return _from_csv(table) if table.exists() else _from_folder(path)
    if not path.exists():
        raise InvalidImage(f"there is no file or folder {path}{_neighbours(path)}")
    if path.suffix.lower() == ".csv":
        return _from_csv(path)
    if not path.name.lower().endswith(ARRAYS):
        load_image(path)  # the suffix may be anything: better to complain now
    return [Sample(path, name_in_text(path.name))]


def _from_folder(root: Path) -> list[Sample]:
    linked = [path for path in sorted(root.iterdir()) if path.is_symlink() and path.is_dir() and path.name[0] != "."]
    if linked:  # list_images would pass over them without a word
        raise InvalidOption(f"{linked[0]} is a link to a folder, which is not followed; give a csv or copy it")
    paths = [path.relative_to(root) for path in list_images(root, recursive=True)]
    loose = [path for path in paths if len(path.parts) == 1]
    if loose and len(loose) < len(paths):
        folder = next(path.parts[0] for path in paths if len(path.parts) > 1)
        raise InvalidOption(
            f"{root} holds both pictures ({loose[0]}) and a folder of pictures ({folder}); "
            "give a folder of pictures, a folder per class, or a labels.csv"
        )
    if loose:
        return [Sample(root / path, name_in_text(path.as_posix())) for path in paths]
    classes = tuple(sorted(name_in_text(p.name) for p in root.iterdir() if p.is_dir() and p.name[0] != "."))
    return [
        Sample(root / path, name_in_text(path.as_posix()), name_in_text(path.parts[0]), classes=classes)
        for path in paths
    ]


# -- csv -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Row:
    where: str  # csv and line, for messages
    file: str
    path: Path
    label: Label | None
    mask: Path | None
    mask_value: int | None
    box: Box | None
    difficult: bool


def _from_csv(table: Path) -> list[Sample]:
    return _group(_rows(str(table), "line", table.parent, *_cells(table)))


def read_frame(frame: Any) -> list[Sample]:
    """Return samples for the rows of a pandas ``DataFrame``, whose columns are those of a csv; see ``read_samples``.

    The column of pictures may hold pictures of any kind in place of files, which are relative to the folder we are in.

    Raises:
        InvalidImage: a picture or mask is absent.
        InvalidOption: the table can't be understood.
    """
    names = [str(name).strip().lower() for name in frame.columns]
    records: list[list[Any]] = [list(row) for row in frame.itertuples(index=False, name=None)]
    column = next((name for name in (*_FILES, "img", "picture") if name in names), None)
    at = names.index(column) if column else 0
    if column is None or all(isinstance(row[at], str | Path) or row[at] is None for row in records):
        rows = [(i, dict(zip(names, map(_text, row), strict=True))) for i, row in enumerate(records)]
        return _group(_rows("the table", "row", Path(), names, rows))
    if "mask" in names:
        raise InvalidOption(f"the table's column {column!r} holds pictures and no files; masks are for files alone")
    cells = [{name: _text(cell) for name, cell in zip(names, row, strict=True) if name != column} for row in records]
    return [
        Sample(row[at], f"row-{i:05d}", label, boxes=(box,) if (box := _box_of(own, f"the table, row {i}")) else ())
        for i, (row, own, label) in enumerate(zip(records, cells, _labels([*names], cells), strict=True))
    ]


def _text(cell: Any) -> str:
    """Return a cell of a table as it would stand in a csv."""
    if cell is None or cell != cell:
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _group(rows: Sequence["_Row"]) -> list[Sample]:
    """Group the rows by picture, then by label, both in the order in which they first come."""
    pictures: dict[Path, dict[Label | None, list[_Row]]] = {}
    for row in rows:
        pictures.setdefault(row.path, {}).setdefault(row.label, []).append(row)
    samples: list[Sample] = []
    for labels in pictures.values():
        has_others = len(labels) > 1
        if has_others and None in labels:
            row = labels[None][0]
            raise InvalidOption(f"{row.where}: {row.file} has a label in another row; give one in each")
        samples += [_sample(rows, has_others) for rows in labels.values()]
    return samples


def _sample(rows: list[_Row], has_others: bool) -> Sample:
    """Make one sample of the rows of one picture and label."""
    first = rows[0]
    bare = next((row for row in rows if row.box is None), None)
    if len(rows) > 1 and bare is not None:
        raise InvalidOption(
            f"{bare.where}: {bare.file} comes {len(rows)} times with the label {bare.label!r}; each row needs a box"
        )
    masked = [row for row in rows if row.mask is not None]
    for row in masked:
        if (row.mask, row.mask_value) != (masked[0].mask, masked[0].mask_value):
            raise InvalidOption(
                f"{row.where}: another mask or mask_value of {row.file} than in an earlier row; give one per label"
            )
    return Sample(
        first.path,
        f"{first.file}#{first.label}" if has_others else first.file,
        first.label,
        boxes=tuple(row.box for row in rows if row.box is not None),
        mask=masked[0].mask if masked else None,
        mask_value=masked[0].mask_value if masked else None,
        difficult=all(row.difficult for row in rows),
        others=True if has_others else None,
    )


def _rows(
    table: str, word: str, folder: Path, header: list[str], lines: list[tuple[int, dict[str, str]]]
) -> list[_Row]:
    """Read the rows of a table.

    Args:
        table: what messages call it.
        word: what they call its rows, which have numbers.
        folder: that its files are relative to.
        header: names of the columns.
        lines: number and cells of every row.
    """
    files = next((name for name in _FILES if name in header), None)
    if files is None:
        hint = "; separate them with commas" if any(mark in name for name in header for mark in ";\t") else ""
        raise InvalidOption(
            f"{table}, line 1: there is no column {_FILES[0]!r} (or {', '.join(_FILES[1:])}); "
            f"the first line must name the columns, it is: {', '.join(header)[:300]}{hint}"
        )
    for name in sorted(_COLUMNS):
        if header.count(name) > 1:
            raise InvalidOption(f"{table}, line 1: there are {header.count(name)} columns {name!r}; keep one")
    corners = [name for name in _CORNERS if name in header]
    if 0 < len(corners) < 4:
        raise InvalidOption(f"{table}, line 1: a box needs the columns x1, y1, x2, y2; there is only {corners}")
    if not lines:
        raise InvalidOption(f"{table} has no rows below its header; give one per picture")
    labels = _labels(header, [cells for _, cells in lines])
    return [
        _row(f"{table}, {word} {line}", folder, cells, files, label)
        for (line, cells), label in zip(lines, labels, strict=True)
    ]


def _cells(table: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Return the names of the columns, and every row with the number of its (last) line."""
    with files.refusing(InvalidOption, f"can't read {table} as csv"):
        try:
            text = files.text_of(table)
        except UnicodeDecodeError as error:
            raise InvalidOption(f"can't read {table}: it is not UTF-8 ({error}); save it as that") from error
        # Strict, as a quote that is never closed would swallow the rest of the file.
        reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
        header = [name.strip().lower() for name in next(reader, ())]
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if cells]
    for line, cells in lines:
        if len(cells) != len(header):
            raise InvalidOption(
                f"{table}, line {line}: {len(cells)} cells, but the header has {len(header)}; "
                'put quotes around text with a comma: "crane, bird"'
            )
    return header, [(line, dict(zip(header, cells, strict=True))) for line, cells in lines]


def _labels(header: Sequence[str], rows: list[dict[str, str]]) -> list[Label | None]:
    """Take the classes from one column: indices if there is a complete column of them, else names."""
    indices = (name for name in _INDICES if name in header and all(whole_number(row[name]) is not None for row in rows))
    names = (name for name in _NAMES if name in header and any(row[name] for row in rows))
    column = next(indices, None) or next(names, None)
    if column is None:
        return [None] * len(rows)
    given = [row[column] for row in rows]
    numbers = [whole_number(text) for text in given]
    if all(number is not None for number, text in zip(numbers, given, strict=True) if text):
        return list(numbers)
    return [text or None for text in given]


def _row(where: str, folder: Path, cells: dict[str, str], files: str, label: Label | None) -> _Row:
    mask, value, difficult = (cells.get(name, "") for name in ("mask", "mask_value", "difficult"))
    if not cells[files]:
        raise InvalidOption(f"{where}: the column {files!r} is empty; give a picture")
    number = whole_number(value)
    if value and (not mask or number is None):
        raise InvalidOption(f"{where}: mask_value {show(value)} must be a whole number, next to a mask")
    if difficult not in ("", "0", "1"):
        raise InvalidOption(f"{where}: difficult is {difficult!r}; it must be 0 or 1")
    return _Row(
        where,
        cells[files],
        _existing(folder / cells[files], where),
        label,
        _existing(folder / mask, where) if mask else None,
        number,
        _box_of(cells, where),
        difficult == "1",
    )


def _box_of(cells: Mapping[str, str], where: str) -> Box | None:
    texts = [cells.get(name, "") for name in _CORNERS]
    if not any(texts):
        return None
    try:
        x1, y1, x2, y2 = map(float, texts)
    except ValueError:
        x1 = y1 = x2 = y2 = math.nan
    if not all(map(math.isfinite, (x1, y1, x2, y2))):
        raise InvalidOption(f"{where}: the box x1, y1, x2, y2 = {', '.join(texts)} must be four numbers, or empty")
    if x1 >= x2 or y1 >= y2:
        raise InvalidOption(f"{where}: the box x1, y1, x2, y2 = {', '.join(texts)} needs x1 < x2 and y1 < y2")
    return x1, y1, x2, y2


def _existing(path: Path, where: str) -> Path:
    try:
        files.check_regular(path)
        return path
    except IsADirectoryError:
        reason = f"{path} is a folder; give a picture"
    except (FileNotFoundError, NotADirectoryError):
        reason = f"there is no file {path}{_neighbours(path)}"
    except OSError as error:  # a text too long for a name, a folder that is locked
        reason = f"can't read {str(path)[:200]!r}: {error.strerror}"
    raise InvalidImage(f"{where}: {reason}")


def _neighbours(path: Path) -> str:
    """Names close to a missing one in its folder, as an ending for a message."""
    if not path.parent.is_dir():
        return f"; nor is there a folder {path.parent}"
    return nearest(path.name, [p.name for p in path.parent.iterdir()])


def _mask_values(path: Path, which: str) -> npt.NDArray[Any]:
    """Return what is stored in a mask file: palette indices and 16-bit values as they are, (H, W) or (H, W, 3)."""
    load_image(path)  # says what is wrong with the file, if anything; its colours are of no use here
    with quiet(), any_size(), Image.open(path, formats=FORMATS) as image:
        if image.format == "JPEG":
            raise InvalidImage(f"{which} is a JPEG, which blurs values near edges; save it as PNG")
        upright = ImageOps.exif_transpose(image)
    values = np.asarray(upright)
    if upright.getbands()[-1] != "A":
        return values
    if values[..., -1].min() < 255:
        raise InvalidImage(f"{which} has transparent pixels; save it without transparency, 0 outside of the object")
    return values[..., :-1]
