"""What is kept of each picture of an inspection: its small map, in files that a stopped run goes on from."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from limelight import files
from limelight.bench.store import Store

GRID = 16
"""Cells along a side of a map that is kept."""

FEATURES = 64
"""Numbers to which features are drawn: random projections keep distances (Johnson and Lindenstrauss 1984)."""

AT_ONCE = 100_000
"""Maps that are read together, so that memory does not grow with the data set."""


@dataclass(frozen=True, kw_only=True)
class MapRow:
    """The map of one picture, for the class that it was explained for.

    Attributes:
        key: of all that fixes it.
        image: name of the picture.
        target: the class; -1 if the picture failed.
        probability: of the class.
        outside: share of the relevance that lies outside the object; NaN where it is not known where that is.
        peak: the cell of the largest value, row by row; -1 if the map is empty.
        error: why there is no map, or "".
        features: what the last layer is given, drawn to ``FEATURES`` numbers; empty where no linear layer is the last.
        beside: what the last maps hold at the largest relevance beside the object, drawn likewise; NaN where unknown.
        map: finished and averaged over ``GRID`` x ``GRID`` cells, row by row; zeros if it is empty.
    """

    key: int
    image: str
    target: int = -1
    probability: float = float("nan")
    outside: float = float("nan")
    peak: int = -1
    error: str = ""
    features: tuple[float, ...] = ()
    beside: tuple[float, ...] = (float("nan"),) * FEATURES
    map: tuple[float, ...] = ()

    def to_record(self) -> dict[str, Any]:
        """Return the line of a file."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class ClassMaps:
    """The maps of one class, in the order of the data set.

    Attributes:
        target: the class.
        places: of the pictures in the data set, (n,).
        probability: of the class, (n,).
        outside: share of relevance outside the object, NaN where unknown, (n,).
        maps: (n, GRID, GRID).
        features: (n, FEATURES); (n, 0) where there are none.
        beside: of the last maps at the largest relevance beside the object, (n, FEATURES); NaN where unknown.
    """

    target: int
    places: npt.NDArray[np.int64]
    probability: npt.NDArray[np.float64]
    outside: npt.NDArray[np.float64]
    maps: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]
    beside: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.places)


class MapStore(Store):
    """A folder with the maps of an inspection."""

    columns: ClassVar[Mapping[str, Any]] = {
        "key": int,
        "image": str,
        "target": int,
        "probability": float,
        "outside": float,
        "peak": int,
        "error": str,
        "features": tuple[float, ...],
        "beside": tuple[float, ...],
        "map": tuple[float, ...],
    }
    repeated: ClassVar[Set[str]] = {"error"}
    later: ClassVar[Sequence[str]] = ()

    def check(self, numbers: Mapping[str, npt.NDArray[Any]]) -> None:
        """Refuse shares that are none.

        Raises:
            ValueError: there is one.
        """
        for name in {"probability", "outside"} & {*numbers}:
            values = numbers[name]
            if not ((values > -1e-6) & (values < 1 + 1e-6) | np.isnan(values)).all():
                raise ValueError(f"{name} holds what is no share")

    def columns_of(self, keys: npt.NDArray[np.int64], *names: str) -> tuple[npt.NDArray[np.int64], ...]:
        """Return columns of whole numbers in the order of the pictures' keys; -1 where a picture has no map."""
        rows = self.table(["key", *names])
        there, order = rows["key"].to_numpy(), np.argsort(keys)
        places = order[np.searchsorted(keys, there, sorter=order) % len(keys)]
        here = keys[places] == there
        columns: list[npt.NDArray[np.int64]] = []
        for name in names:
            column = np.full(len(keys), -1)
            column[places[here]] = rows[name].to_numpy()[here]
            columns.append(column)
        return tuple(columns)

    def by_class(self, keys: npt.NDArray[np.int64], targets: npt.NDArray[np.int64]) -> Iterator[ClassMaps]:
        """Yield the maps of each class, those with most pictures first; as many are read together as fit.

        Args:
            keys: of the pictures of the data set, in its order; rows of others may stand there too.
            targets: the classes that are wanted, by picture; -1 for none.
        """
        wanted, counts = np.unique(targets[targets >= 0], return_counts=True)
        for together in _gather(wanted[np.argsort(-counts, kind="stable")], np.sort(counts)[::-1]):
            yield from self._read(together, keys)

    def _read(self, targets: Sequence[int], keys: npt.NDArray[np.int64]) -> Iterator[ClassMaps]:
        order = np.argsort(keys)
        arrow, _ = files.arrow()

        def keep(table: Any) -> Any:
            return table.filter(arrow.array(np.isin(table["target"].to_numpy(), targets)))

        rows = self.table([name for name in self.columns if name not in ("image", "error")], keep)
        numbers = {name: rows[name].to_numpy() for name in ("key", "target", "probability", "outside")}
        maps = _lists(rows["map"]).reshape(-1, GRID, GRID)
        features, beside = (_lists(rows[name]).reshape(len(maps), -1) for name in ("features", "beside"))
        places = order[np.searchsorted(keys, numbers["key"], sorter=order) % len(keys)]
        here = keys[places] == numbers["key"]
        for target in targets:
            own = np.flatnonzero(here & (numbers["target"] == target))
            own = own[np.argsort(places[own])]
            shares = {name: numbers[name][own] for name in ("probability", "outside")}
            yield ClassMaps(
                int(target), places[own], **shares, maps=maps[own], features=features[own], beside=beside[own]
            )


def _lists(column: Any) -> npt.NDArray[np.float32]:
    return column.combine_chunks().flatten().to_numpy()


def _gather(targets: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> Iterator[list[int]]:
    """Yield classes that are read together."""
    together: list[int] = []
    total = 0
    for target, count in zip(targets.tolist(), counts.tolist(), strict=True):
        if together and total + count > AT_ONCE:
            yield together
            together, total = [], 0
        together.append(target)
        total += count
    if together:
        yield together
