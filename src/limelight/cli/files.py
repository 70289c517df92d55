"""The files that commands read and write."""

import atexit
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from limelight.cli.output import say
from limelight.errors import InvalidImage, InvalidOption
from limelight.text import numbered

if TYPE_CHECKING:
    from limelight.data.samples import Sample
    from limelight.model.classifier import Classifier

MOST_GIVEN = 1 << 30
"""Bytes of a picture that is read from standard input, at most."""


def resolve_input(path: Path) -> Path:
    """Return a picture's path; for ``-`` that of a file, kept until the command ends, of what standard input gives.

    Raises:
        InvalidOption: standard input gives nothing, or without end.
    """
    if str(path) != "-":
        return path
    content = sys.stdin.buffer.read(MOST_GIVEN + 1) if sys.stdin else b""
    if not content or len(content) > MOST_GIVEN:
        amount = f"more than {MOST_GIVEN:,} bytes" if content else "nothing"
        raise InvalidOption(f"standard input (-) gave {amount}, not a picture")
    folder = tempfile.TemporaryDirectory(prefix="limelight-")
    atexit.register(folder.cleanup)
    file = Path(folder.name) / "stdin"
    file.write_bytes(content)
    return file


def expand(images: Sequence[Path]) -> list[Path]:
    """Return files for files and folders of pictures; pictures in folders that Limelight made are named and left out.

    Raises:
        InvalidImage: a folder holds no pictures, or none that Limelight did not make.
    """
    from limelight.data.images import list_images

    files: list[Path] = []
    ours: list[Path] = []
    for one in images:
        if str(one) == "-" or not one.is_dir():
            files.append(resolve_input(one))
            continue
        pictures = list_images(one)
        made = {file for file in pictures if _is_ours(file)}
        if len(made) == len(pictures):
            raise InvalidImage(f"all pictures in {one} are explanations that Limelight made; name those that are meant")
        files += [file for file in pictures if file not in made]
        ours += sorted(made)
    if ours:
        named = ", ".join(map(str, ours[:5])) + (f" and {len(ours) - 5} more" if len(ours) > 5 else "")
        say("[dim]left out, as Limelight made them: {}[/]", named, error=True, wrap=False)
    return files


def check_kinds(classifier: "Classifier", sources: Sequence[Path]) -> None:
    """Refuse folders with both pictures and scans for a network that takes values; others take the pictures.

    Raises:
        InvalidImage: there is one.
    """
    from limelight.data.images import refuse_mixed

    if classifier.inputs.of_values:
        for source in sources:
            refuse_mixed(source)


def _is_ours(file: Path) -> bool:
    """Tell whether a picture holds the settings of an explanation."""
    from limelight.draw import read_png_metadata

    if file.suffix.lower() != ".png":
        return False
    try:
        return "limelight" in read_png_metadata(file)
    except InvalidImage:  # is named when it is to be explained
        return False


def file_names(pictures: Sequence[Path]) -> list[str]:
    """Return a name for the output of each picture, all of them different.

    It is the picture's without the suffix, which stays where it alone tells two apart (x.png, x.jpg); pictures of one
    name have as many of their folders in front as tell them apart (a-x, b-x), and what is left is numbered.
    """
    beside = Counter((path.parent, path.stem.lower()) for path in set(pictures))
    plain = [path.stem if beside[path.parent, path.stem.lower()] == 1 else path.name for path in pictures]
    names = list(plain)
    for depth in range(1, max((len(path.parts) for path in pictures), default=0)):
        counts = Counter(name.lower() for name in names)
        for i, path in enumerate(pictures):
            if counts[names[i].lower()] > 1:
                folders = [part for part in path.parent.parts if part not in (path.anchor, "..")]
                names[i] = "-".join([*folders[-depth:], plain[i]])
    return number_duplicates(names)


def number_duplicates(names: Iterable[str]) -> list[str]:
    """Number the names of files that occur again; those that differ in capitals only are one on some machines."""
    return numbered(names, same=str.lower)


def refuse_overwriting(option: str, written: Iterable[Path | None], read: Iterable[Path | str | None]) -> None:
    """Refuse to write over what is read.

    Args:
        option: that says where to write.
        written: files that will be; None is none.
        read: files that are, in whatever way they are called; of a folder its list of labels.

    Raises:
        InvalidOption: one of them is both.
    """
    there = {(s.st_dev, s.st_ino): file for file in written if file is not None and (s := _status(file))}
    if not there:
        return
    for one in filter(None, read):
        for file in (Path(one), Path(one) / "labels.csv"):
            status = _status(file)
            if status and (status.st_dev, status.st_ino) in there:
                own = there[status.st_dev, status.st_ino]
                raise InvalidOption(f"{option} {own} is a file that is read, {file}; give another name")


def _status(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except (OSError, ValueError):
        return None


def files_of(samples: "Iterable[Sample]") -> Iterator[Path | str]:
    """Yield the files of pictures and masks."""
    for sample in samples:
        yield from (file for file in (sample.image, sample.mask) if isinstance(file, str | Path))


def check_readable(samples: "Iterable[Sample]") -> None:
    """Read every picture and mask, as ``--strict`` asks before there is any work that could be lost.

    Arrays and scans, which only a network tells how to read, are read in their turn.

    Raises:
        InvalidImage: one of them can't be read.
    """
    from limelight.data.images import ARRAYS, load_image

    for sample in samples:
        if not str(sample.image).lower().endswith(ARRAYS):
            load_image(sample.image)
        if sample.mask is not None:
            sample.truth_mask()
