"""A row of a run: as it stands in a file, and put together again."""

import math
from dataclasses import fields

from limelight.bench.cell import COLUMNS, Cell, join_cells, key_of
from limelight.results.row import Row

ROW = Row(
    image="a.png",
    method="rise",
    target=3,
    label="bee",
    probability=0.9,
    reason="no positive evidence",
    seconds=0.5,
    forwards=8.0,
    backwards=1.0,
    calls=9.0,
    values={"adcc": 0.5, "deletion": 0.25},
    parts={"adcc.coherency": 0.5, "adcc.complexity": 0.25},
    spent={"adcc": 2.0, "deletion": 9.0},
    curves={"deletion": (1.0, 0.5)},
)


def cells() -> list[Cell]:
    return [
        Cell(**vars(ROW.only(metric)), key=key, model="demo/vgg", metric=metric)
        for key, metric in enumerate(("adcc", "deletion"))
    ]


def test_keys_are_those_of_their_words_only() -> None:
    assert key_of("a", "b") == key_of("a", "b")
    assert len({key_of("a", "b"), key_of("ab"), key_of("a", "b", ""), key_of("b", "a")}) == 4
    assert 0 <= key_of("a") < 2**63


def test_a_cell_is_its_row_with_one_metric() -> None:
    cell = cells()[0]
    assert cell.value == 0.5
    assert (cell.values, cell.spent, cell.curves) == ({"adcc": 0.5}, {"adcc": 2.0}, {})
    shared = [field.name for field in fields(Row) if field.name not in ("values", "parts", "spent", "curves")]
    assert all(getattr(cell, name) == getattr(ROW, name) for name in shared)


def test_a_line_of_a_file_has_one_value_per_column() -> None:
    first, second = (cell.to_record() for cell in cells())
    assert set(first) == set(COLUMNS)
    assert (first["value"], first["spent"], first["curve"]) == (0.5, 2.0, ())
    assert first["parts"] == '{"coherency": 0.5, "complexity": 0.25}'
    assert (second["value"], second["parts"], second["curve"]) == (0.25, "", (1.0, 0.5))


def test_a_line_of_a_file_gives_its_cell_again() -> None:
    for cell in cells():
        assert Cell.from_record(cell.to_record()) == cell


def test_a_cell_that_failed_has_an_error_and_no_number() -> None:
    failed = Cell("a.png", "rise", key=7, model="demo/vgg", metric="adcc", error="MemoryError: too large")
    assert math.isnan(failed.value)
    again = Cell.from_record(failed.to_record())
    assert (again.error, again.key, again.values, again.target) == (failed.error, 7, {}, -1)
    assert not join_cells([again])


def test_the_cells_of_a_row_give_the_row_again() -> None:
    assert join_cells(cells()) == [ROW]
