"""Keep the cells of a run on disk: each file appears whole or not at all, and can be read while others are written."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast

import numpy as np
import numpy.typing as npt
import pydantic

from limelight import files
from limelight.bench.cell import COLUMNS, Cell, key_in_part, name_of_part
from limelight.bench.recipe import Recipe
from limelight.bench.recipe_parse import parse_recipe
from limelight.bench.recipe_pool import pool_recipes
from limelight.errors import CorruptStore, InvalidOption
from limelight.model.cost import check_recorded

SETTINGS, NOTES, ROWS = "settings.json", "notes.json", "rows"
SAFE = "; rows that were finished are safe there"
_AGAIN = "is damaged; remove it, and what it held is measured again"


POOLED = 50_000
"""Rows that are renamed at a time where runs are pooled."""


def _digest(content: bytes) -> str:
    """Return the name of a file of this content."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


class Notes(pydantic.BaseModel):
    """What is known of a run beside its settings; other things may stand there too.

    Attributes:
        about: what the recipe says of itself.
        paper: ``note`` and ``table``, the numbers to compare with.
        versions: of the libraries.
        weights: a digest for each model.
        left_out: models without weights, and why.
        source: folder of the pictures.
    """

    model_config = pydantic.ConfigDict(extra="allow")

    about: str = ""
    paper: dict[str, str] = {}
    versions: dict[str, str] = {}
    weights: dict[str, str] = {}
    left_out: dict[str, str] = {}
    source: str | None = None


class Record(Protocol):
    """One row of a store."""

    def to_record(self) -> dict[str, Any]:
        """Return a value for each column."""
        ...


class Store:
    """A folder with the settings of a run and its rows.

    ``columns`` are those of its rows, with their types; a row has a ``key`` that is its own, and an ``error``, or "".

    Args:
        folder: made if it is not there.
        settings: that fix the numbers; those of an earlier run must be the same. None to read only.

    Raises:
        CorruptStore: the folder holds rows of other settings, or damaged files.
        InvalidOption: it can't be written to, or there is no run in it.
        MissingExtra: it is to be written to, and pyarrow is not installed.
    """

    columns: ClassVar[Mapping[str, Any]] = COLUMNS
    repeated: ClassVar[Set[str]] = {"image", "model", "method", "metric", "error", "label", "reason"}
    later: ClassVar[Sequence[str]] = ("calls",)
    """Columns of numbers that older files lack."""

    def __init__(self, folder: str | Path, settings: Mapping[str, Any] | None = None) -> None:
        self.folder = Path(folder)
        path = self.folder / SETTINGS
        if settings is None:
            if not files.exists(path):
                raise InvalidOption(f"there is no run in {self.folder}: no {SETTINGS}")
            self.settings = _read_json(path)
            return
        files.arrow()  # or the extra would be missed when the first rows are there
        wanted = json.loads(json.dumps(settings))
        if not path.exists():
            files.write(path, json.dumps(wanted, indent=1), new=True, kept=SAFE)
        _check_same(path, _read_json(path), wanted)  # of two that begin at once, one finds the other's
        self.settings: Mapping[str, Any] = wanted

    def note(self, notes: Mapping[str, Any]) -> None:
        """Keep what readers want to know, and no number depends on."""
        files.write(self.folder / NOTES, json.dumps(notes, indent=1, default=str), kept=SAFE)

    @property
    def notes(self) -> dict[str, Any]:
        """The notes that were kept last, see ``Notes``; empty if there are none.

        Raises:
            CorruptStore: the file is damaged.
        """
        path = self.folder / NOTES
        if not path.exists():
            return {}
        notes = _read_json(path)
        with files.refusing(CorruptStore, f"{path} can't be read as the notes of a run"):
            return Notes.model_validate(notes, strict=True).model_dump(exclude_unset=True)

    @property
    def files(self) -> list[Path]:
        """The files with rows."""
        return sorted((self.folder / ROWS).glob("*.parquet"))

    @property
    def all_files(self) -> list[Path]:
        """All files of the run."""
        return [self.folder / SETTINGS, self.folder / NOTES, *self.files]

    def add(self, cells: Iterable[Record]) -> None:
        """Write finished cells; after a crash either all of them are there or none.

        Raises:
            InvalidOption: the disk is full, or the folder can't be written to any more; earlier rows are safe.
        """
        arrow, parquet = files.arrow()
        records = (cell.to_record() for cell in cells)
        rows = [{k: files.storable(v) if isinstance(v, str) else v for k, v in r.items()} for r in records]
        if not rows:
            return
        table = arrow.Table.from_pylist(rows, schema=self._schema(arrow))
        sink = arrow.BufferOutputStream()
        parquet.write_table(table, sink, compression="zstd")
        content = sink.getvalue().to_pybytes()
        files.write(self.folder / ROWS / f"{_digest(content)}.parquet", content, kept=SAFE)

    def table(self, columns: list[str] | None = None, keep: Callable[[Any], Any] | None = None) -> Any:
        """Return all rows, a ``pyarrow.Table``; of cells that stand twice the first without an error.

        Args:
            columns: which; None for all.
            keep: returns the rows of a file's table that are wanted; None for all of them.

        Raises:
            CorruptStore: a file is damaged; the message names it.
        """
        arrow, _ = files.arrow()
        wanted = None if columns is None else list(dict.fromkeys([*columns, "key", "error"]))
        read = (self._read_rows(file, wanted) for file in self.files)
        tables = [*(read if keep is None else map(keep, read))]
        if not tables:
            return self._schema(arrow).empty_table().select(wanted or self._schema(arrow).names)
        table = arrow.concat_tables(tables).unify_dictionaries()
        order = np.lexsort((_has_error(table), table["key"].to_numpy()))
        keys = table["key"].to_numpy()[order]
        first = np.ones(len(keys), dtype=bool)
        first[1:] = keys[1:] != keys[:-1]
        return table if first.all() else table.take(np.sort(order[first]))

    def keys(self) -> npt.NDArray[np.int64]:
        """Return the keys of all finished cells, sorted."""
        return self.outcome()[0]

    def outcome(self) -> tuple[npt.NDArray[np.int64], dict[int, tuple[str, str]]]:
        """Return the keys of all finished cells, sorted, and of those that failed the image and the error."""
        arrow, _ = files.arrow()
        table = self.table(["key", "image"])
        failed = table.filter(arrow.array(_has_error(table))).to_pylist()
        return np.sort(table["key"].to_numpy()), {row["key"]: (row["image"], row["error"]) for row in failed}

    def check(self, numbers: Mapping[str, npt.NDArray[Any]]) -> None:
        """Refuse columns of numbers that can't be, which were read.

        Raises:
            ValueError: one can't.
        """
        check_recorded(numbers)

    def _schema(self, arrow: Any) -> Any:
        kinds: dict[Any, Any] = {
            int: arrow.int64(),
            float: arrow.float64(),
            str: arrow.string(),
            tuple[float, ...]: arrow.list_(arrow.float32()),
        }
        words = arrow.dictionary(arrow.int32(), arrow.string())
        return arrow.schema(
            [(name, words if name in self.repeated else kinds[kind]) for name, kind in self.columns.items()]
        )

    def _read_rows(self, path: Path, columns: list[str] | None) -> Any:
        """Return the rows of a file, whose digest says that they are those that were written, but not by whom."""
        content = _read_content(path)
        arrow, _ = files.arrow()
        schema = self._schema(arrow)
        with files.refusing(CorruptStore, f"{path} {_AGAIN}"):
            names = columns or schema.names
            given = files.rows_in(content, names, later=self.later)
            table = given.cast(arrow.schema([schema.field(name) for name in names]))
            if any(column.null_count for column in table.columns):
                raise ValueError("it has empty cells")
            self.check({n: given[n].to_numpy() for n in names if self.columns[n] in (int, float)})
        return table


def _has_error(table: Any) -> npt.NDArray[np.bool_]:
    return np.asarray(table["error"].combine_chunks().cast("string").to_numpy(zero_copy_only=False)) != ""


def find_keys(keys: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return which of the wanted keys are among the sorted ones."""
    at = np.searchsorted(keys, wanted)
    there = np.zeros(wanted.shape, dtype=bool)
    inside = at < len(keys)
    there[inside] = keys[at[inside]] == wanted[inside]
    return there


def merge(folders: Iterable[str | Path], into: str | Path) -> Store:
    """Put the rows of several runs of one recipe together; what they have in common stands there once.

    Raises:
        CorruptStore: their settings differ or are not those of runs, or a file is damaged.
    """
    stores = [Store(folder) for folder in folders]
    if not stores:
        raise InvalidOption("nothing to merge: give the folders of runs")
    for store in stores:
        recipe_of(store)  # or the folder would be claimed by what is no run
    merged = Store(into, stores[0].settings)
    for store in stores:
        _check_same(store.folder / SETTINGS, store.settings, merged.settings)
        store.table(["key"])  # a damaged file is found before anything is copied
    merged.note(stores[0].notes)
    there = {file.name for file in merged.files}
    for store in stores:
        for file in store.files:
            if file.name not in there:
                files.write(merged.folder / ROWS / file.name, _read_content(file), kept=SAFE)
                there.add(file.name)
    return merged


def pool(folders: Iterable[str | Path], into: str | Path) -> Store:
    """Put runs of different data sets together, as a run of a recipe that has them all.

    The recipes may differ in their data, in how pictures become inputs, and in the weights of models; all else has to
    be the same. The names of pictures get those of their data sets in front.

    Raises:
        ProtocolMismatch: the recipes differ in something else.
        CorruptStore: what is there is no run, or a file is damaged.
    """
    stores = [Store(folder) for folder in folders]
    if not stores:
        raise InvalidOption("nothing to merge: give the folders of runs")
    recipes = [recipe_of(store) for store in stores]
    whole, names = pool_recipes(recipes)
    for store in stores:
        store.table(["key"])  # a damaged file is found before anything is copied
    merged = Store(into, {**stores[0].settings, "recipe": whole.model_dump(mode="json", exclude={"about", "paper"})})
    weights: dict[str, Any] = {}
    for store, own in zip(stores, names, strict=True):
        for batch in store.table().to_batches(POOLED):
            merged.add(_name_part(Cell.from_record(record), own) for record in batch.to_pylist())
        noted = store.notes.get("weights", {})
        weights |= {name_of_part(model, own): digest for model, digest in noted.items()}
    merged.note(stores[0].notes | {"weights": weights, "source": None})
    return merged


def _name_part(cell: Cell, part: str) -> Cell:
    """Return the cell that a run of several data sets has; one of such a run is itself."""
    return replace(cell, image=f"{part}/{cell.image}", key=key_in_part(part, cell.key)) if part else cell


def recipe_of(store: Store) -> Recipe:
    """Return the recipe that a run was made by.

    Raises:
        CorruptStore: the settings are not those of a run.
    """
    with files.refusing(CorruptStore, f"{store.folder} is no run of `limelight benchmark`"):
        if not isinstance(store.settings.get("recipe"), dict):
            raise ValueError(f"its {SETTINGS} holds no table called recipe")
        try:
            return parse_recipe(store.settings["recipe"], f"its {SETTINGS}, recipe")
        except InvalidOption as error:
            raise ValueError(error) from error


def _read_content(path: Path) -> bytes:
    """Return the bytes of a file of rows, if they are those that were written."""
    with files.refusing(CorruptStore, f"{path} can't be read"):
        content = files.content_of(path)
    if _digest(content) != path.stem:  # Parquet by itself would give other numbers without a word
        raise CorruptStore(f"{path} {_AGAIN}")
    return content


def _read_json(path: Path) -> dict[str, Any]:
    with files.refusing(CorruptStore, f"{path} can't be read as the settings of a run"):
        table = json.loads(files.text_of(path), parse_constant=_refuse)
        if not isinstance(table, dict):
            raise ValueError("it holds no table")
        return cast(dict[str, Any], table)


def _refuse(constant: str) -> None:
    raise ValueError(f"it holds {constant}, which is no number of JSON")


def _check_same(path: Path, there: Mapping[str, Any], wanted: Mapping[str, Any], at: str = "") -> None:
    """Refuse settings that differ, by the name of the first that does."""
    for name in dict.fromkeys([*there, *wanted]):
        a, b = there.get(name), wanted.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            _check_same(path, cast(dict[str, Any], a), cast(dict[str, Any], b), f"{at}{name}.")
        elif a != b:
            raise CorruptStore(
                f"{path.parent} holds rows of other settings: {at}{name} is {_shorten(a)} there and {_shorten(b)} "
                "here; give another folder, or the recipe it was made with"
            )


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]} …"
