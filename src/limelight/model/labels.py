"""Names of classes, in whatever form they are kept."""

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard, cast

from limelight.errors import InvalidOption
from limelight.files import text_of
from limelight.text import whole_number

LabelsLike = Sequence[str] | Mapping[Any, Any] | str | Path
MOST_BYTES = 1 << 25
"""Of a file of names: 300 000 classes with a hundred letters each."""
FORMS = (
    "a list of names, a dict {index: name} or {name: index}, or a file: .json with one of these, .csv with index,name, "
    "or text with a name per line"
)


def read_labels(given: Any) -> list[str]:
    """Return the names of classes by index, whatever form they were given in.

    Args:
        given: a list, tuple, array, pandas Series or Index of names; a dict ``{index: name}`` (Hugging Face's
            ``id2label``, whose keys may be text) or ``{name: index}`` (torchvision's ``class_to_idx``); or the path of
            a file: ``.json`` with a list or such a dict (names may be ``[wnid, name]``, as in Keras' list of ImageNet's
            classes; a ``config.json`` has it under ``id2label``), ``.csv`` with the columns index and name, in either
            order, or any other as text with one name per line, each maybe behind its index.

    Raises:
        InvalidOption: none of these, an index without a name or given twice, a name that is none, or a file that can't
            be read.
    """
    if isinstance(given, str | Path):
        return _read(Path(given))
    if isinstance(given, Mapping):
        return _by_index(cast(Mapping[Any, Any], given))
    kind = type(given).__name__
    if isinstance(given, bytes | set | frozenset) or not isinstance(given, Iterable):
        raise InvalidOption(f"labels are a {kind}; give {FORMS}")
    return [_name(one, i) for i, one in enumerate(cast(Iterable[Any], given))]


def check_count(labels: Sequence[str] | None, outputs: int, model: str) -> None:
    """Refuse labels that are not one for each class.

    Args:
        labels: the names, if there are any.
        outputs: class scores that the network gives; a single one is read as two.
        model: how messages call it.

    Raises:
        InvalidOption: there are more or fewer.
    """
    classes = max(2, outputs)
    if labels is not None and len(labels) != classes:
        read = " (a single output is read as two: no and yes)" if outputs == 1 else ""
        raise InvalidOption(f"{len(labels)} labels for the {classes} classes of {model}{read}; give one for each class")


def _by_index(given: Mapping[Any, Any]) -> list[str]:
    indices = {key: _index(key) for key in given}
    if None in indices.values() and all(_index(value) is not None for value in given.values()):
        given = {value: key for key, value in given.items()} if len(set(given.values())) == len(given) else {}
        if not given:
            raise InvalidOption("labels {name: index} give an index twice; every class has one name")
        indices = {key: _index(key) for key in given}
    wrong = next((key for key, index in indices.items() if index is None), None)
    if wrong is not None:
        raise InvalidOption(f"labels have the key {wrong!r}, which is no index of a class; give {FORMS}")
    named = {index: given[key] for key, index in indices.items() if index is not None}
    if len(named) < len(given):
        raise InvalidOption("labels give an index twice, as a number and as text; every class has one name")
    missing = [i for i in range(len(named)) if i not in named]
    if missing:
        last = max(named)
        raise InvalidOption(
            f"labels name {len(named)} classes up to {last}, but class {missing[0]} has no name; "
            f"give one for each of 0 to {last}"
        )
    return [_name(named[i], i) for i in range(len(named))]


def _index(key: Any) -> int | None:
    """Return the index that a key is or spells, None if it is none."""
    if isinstance(key, str):
        return whole_number(key)
    if isinstance(key, bool) or not hasattr(key, "__index__"):
        return None
    return key.__index__() if key.__index__() >= 0 else None


def _name(one: Any, index: int) -> str:
    name: Any = one[1] if _is_pair(one) else one
    if isinstance(name, str):
        return str(name)
    if not isinstance(name, bool) and hasattr(name, "__index__"):  # classes that are called by numbers, such as digits
        return str(name.__index__())
    raise InvalidOption(f"the name of class {index} is {name!r}, not text; labels are {FORMS}")


def _is_pair(one: Any) -> TypeGuard[list[Any]]:
    """Whether the name of a class comes with another before it: [wnid, name]."""
    return isinstance(one, list) and len(cast(list[Any], one)) == 2


def _read(path: Path) -> list[str]:
    try:
        if not path.exists():
            raise InvalidOption(f"there is no file {str(path)[:200]!r} of labels; give {FORMS}")
        if path.stat().st_size > MOST_BYTES:
            raise InvalidOption(f"{path} has {path.stat().st_size:,} bytes; that is no list of names of classes")
        text = text_of(path)
        if path.suffix.lower() == ".json":
            content = json.loads(text)
            if not isinstance(content, list | dict):
                raise InvalidOption(f"{path} holds a {type(content).__name__}, not a list or a dict of names")
            held = cast(dict[str, Any], content).get("id2label") if isinstance(content, dict) else None
            return read_labels(held if isinstance(held, dict) else content)
        lines = [line.strip() for line in text.rstrip().splitlines()]
        if "" in lines:
            raise InvalidOption(f"{path}, line {lines.index('') + 1} is empty; give one name per line, in order")
        return _of_table(path, lines) if path.suffix.lower() == ".csv" else _of_lines(lines)
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        if isinstance(error, InvalidOption):
            raise
        raise InvalidOption(f"can't read the labels in {str(path)[:200]!r}: {error}") from error


def _of_table(path: Path, lines: list[str]) -> list[str]:
    """Return the names in a csv: the first or the last column is the index, or there is but one."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, skipinitialspace=True)]
    headed = bool(rows) and all(_index(cell) is None for cell in rows[0])
    body = rows[1:] if headed else rows
    if all(len(row) == 1 for row in rows):
        return [row[0] for row in rows]
    for at, rest in ((0, slice(1, None)), (-1, slice(-1))):
        named = {_index(row[at]): ", ".join(row[rest]) for row in body if len(row) > 1}
        if None not in named and all(named.values()) and len(named) == len(body) > 0:
            return _by_index(named)
    if len({len(row) for row in rows}) > 1 and headed:  # names with commas in them
        return lines
    raise InvalidOption(f"{path} has several columns, but not an index and a name for each class; give {FORMS}")


def _of_lines(lines: list[str]) -> list[str]:
    """Return the names in lines, without the index of the class where every line begins with its own."""
    matches = [re.fullmatch(r"([0-9]{1,9})[,;:\s]\s*(\S.*)", line) for line in lines]
    named = {int(one[1]): one[2] for one in matches if one}
    return _by_index(named) if named and sorted(named) == list(range(len(lines))) else lines
