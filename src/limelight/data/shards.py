"""Pictures inside of other files: WebDataset's tars, and tables of Hugging Face's datasets."""

import importlib
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, cast

from limelight.data.images import SUFFIXES
from limelight.data.items import cells_of, column_of, known_column
from limelight.data.reading import Absent, Contents
from limelight.data.samples import Label, Sample
from limelight.errors import InvalidOption, MissingExtra
from limelight.files import name_in_text, open_file, problem_of, refusing
from limelight.text import whole_number

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True)
class Member:
    """A file inside of an uncompressed tar, read when asked for.

    Attributes:
        path: the tar.
        key: the file's name in it.
        start: where its bytes begin.
        size: how many they are.
    """

    path: Path
    key: str
    start: int
    size: int

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.path}, {self.key}"

    def read(self) -> bytes:
        """Return the file's bytes."""
        with open_file(self.path) as file:
            file.seek(self.start)
            return file.read(self.size)


def read_shards(root: Path, pattern: str) -> Contents:
    """Read tars of which each picture ``KEY.jpg`` may have its class, an index or a name, in ``KEY.cls``.

    Args:
        root: where the pattern begins.
        pattern: may hold ``*`` and ranges such as ``{000..012}``.

    Raises:
        Absent: a shard is not there.
        InvalidOption: it is no tar, is compressed or damaged, or a class can't be read.
    """
    samples: list[Sample] = []
    for shard in _shards(root, pattern):
        pictures: dict[str, Member] = {}
        classes: dict[str, Label] = {}
        for member in _members(shard):
            key, _, ending = member.key.rpartition("/")[2].partition(".")
            key = f"{member.key.rpartition('/')[0]}/{key}".lstrip("/")
            if f".{ending.lower()}" in SUFFIXES:
                if key in pictures:
                    raise InvalidOption(f"{shard}: there are two pictures {key}: {pictures[key].key} and {member.key}")
                pictures[key] = member
            elif ending == "cls":
                classes[key] = _label(member)
        if not pictures:
            raise InvalidOption(f"{shard} holds no pictures; their names must be KEY.jpg, KEY.png, …")
        samples += [Sample(one, name_in_text(f"{shard.stem}/{key}"), classes.get(key)) for key, one in pictures.items()]
    return samples, sorted({sample.label for sample in samples if isinstance(sample.label, str)})


def _shards(root: Path, pattern: str) -> list[Path]:
    scheme = re.match(r"(pipe|[a-z][a-z0-9+]+(?=:/)):", pattern)
    if scheme:  # WebDataset's own readers would run a command, or fetch
        done = "no command is run" if scheme[1] == "pipe" else "nothing is fetched"
        raise InvalidOption(f"wds:{pattern} is no pattern of files: {done}; give the names of tars on this machine")
    parts = _RANGE.split(pattern)  # text, first, last, text, …
    ranges = [
        [f"{n:0{len(a)}d}" for n in range(int(a), int(b) + 1)] for a, b in zip(parts[1::3], parts[2::3], strict=True)
    ]
    shards: list[Path] = []
    problems: list[str] = []
    for chosen in product(*ranges):
        one = parts[0] + "".join(a + b for a, b in zip(chosen, parts[3::3], strict=True))
        whole = root / one
        paths = sorted(whole.parent.glob(whole.name)) if "*" in whole.name or "?" in whole.name else [whole]
        problems += filter(None, (problem_of(path, "shard") for path in paths or [whole]))
        shards += paths
    if problems or not shards:
        raise Absent(*(problems or [f"the pattern {pattern!r} names no shards"]))
    return shards


def _members(shard: Path) -> Iterator[Member]:
    size = shard.stat().st_size
    what = f"{shard} is no tar, is compressed (unpack it) or damaged"
    with refusing(InvalidOption, what), open_file(shard) as file, tarfile.open(fileobj=file, mode="r:") as tar:
        for one in tar:
            if one.offset_data + one.size > size:
                raise InvalidOption(f"{shard} is cut off inside of {one.name}; copy it once more")
            if one.isreg():
                yield Member(shard, one.name, one.offset_data, one.size)


def _label(member: Member) -> Label:
    try:
        text = member.read().decode().strip()
    except UnicodeDecodeError as error:
        raise InvalidOption(f"{member.name}: a class must be a text, an index or a name: {error}") from error
    if not text:
        raise InvalidOption(f"{member.name} is empty; it must hold an index or a name")
    number = whole_number(text)
    return text if number is None else number


# -- Hugging Face ----------------------------------------------------------------------------------------


def read_hub(root: Path | None, name: str, split: str | None) -> Contents:
    """Read a data set of the Hugging Face Hub, or one that ``save_to_disk`` wrote.

    Args:
        root: the folder in which downloads are kept; None for the library's own.
        name: on the hub, or a folder.
        split: ``validation`` unless given; of a folder that holds one only, none.

    Raises:
        MissingExtra: datasets is not installed.
        InvalidOption: it can't be opened, or it has no column of pictures.
    """
    try:
        datasets: Any = importlib.import_module("datasets")
    except ImportError:
        raise MissingExtra("datasets", "data") from None
    split = split or "validation"
    try:
        if any((Path(name) / file).is_file() for file in ("state.json", "dataset_dict.json")):
            table: Any = datasets.load_from_disk(name)
            table = cast(dict[str, Any], table)[split] if isinstance(table, dict) else table
        else:
            table = datasets.load_dataset(name, split=split, cache_dir=None if root is None else os.fspath(root))
    except Exception as error:  # the library raises nearly every type, some in many lines
        said = (str(error).strip().splitlines() or [""])[0]
        raise InvalidOption(f"can't open hf:{name}, split {split!r}: {type(error).__name__}: {said}") from error
    if column_of(table, "Image") is None:
        raise InvalidOption(f"hf:{name} has no column of pictures; its columns: {', '.join(table.features)}")
    said, names = known_column(table) if column_of(table, "ClassLabel") else (None, ())
    numbers: Sequence[int] = [-1] * len(table) if said is None else said
    return [
        Sample(cell, f"{split}-{cell.row:06d}", names[number] if number >= 0 else None)
        for cell, number in zip(cells_of(table), numbers, strict=True)
    ], list(names)
