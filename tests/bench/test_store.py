"""Rows on disk: whole or not at all, once, and of one kind."""

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from limelight.bench.cell import COLUMNS, Cell
from limelight.bench.store import Store, find_keys, merge
from limelight.errors import CorruptStore, InvalidOption

RECIPE = {"models": {"names": ["m"]}, "methods": [{"name": "grad-cam"}], "metrics": [{"name": "deletion"}]}
SETTINGS = {"recipe": {"name": "a", "data": {"n": 3}, **RECIPE}}


def cells(*keys: int, error: str = "") -> list[Cell]:
    return [
        Cell(
            image=f"image-{k}",
            method="grad-cam",
            key=k,
            model="m",
            metric="deletion",
            error=error,
            values={"deletion": k / 10},
            curves={"deletion": (1.0, 0.5)},
        )
        for k in keys
    ]


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    store = Store(tmp_path / "run", SETTINGS)
    assert len(store.keys()) == 0
    store.add(cells(3, 1))
    store.add(cells(2))
    store.add([])
    again = Store(tmp_path / "run", SETTINGS)
    assert again.keys().tolist() == [1, 2, 3]
    rows = sorted(again.table().to_pylist(), key=lambda row: row["key"])
    assert [row["value"] for row in rows] == [0.1, 0.2, 0.3]
    assert rows[0]["image"] == "image-1"
    assert rows[0]["curve"] == [1.0, 0.5]
    assert Store(tmp_path / "run").settings == SETTINGS


def test_files_from_before_calls_were_counted_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their calls are unknown, those of rows that were added later are there."""
    store = Store(tmp_path / "run", SETTINGS)
    with monkeypatch.context() as before:
        before.delitem(COLUMNS, "calls")  # type: ignore[arg-type]
        store.add(cells(1))
    store.add([replace(cells(2)[0], calls=7.0)])
    found = dict(zip(store.table()["key"].to_pylist(), store.table(["calls"])["calls"].to_pylist(), strict=True))
    assert found[2] == 7
    assert np.isnan(found[1])


def test_keys_among_others() -> None:
    wanted = np.array([[1, 2], [5, 9]])
    assert find_keys(np.array([2, 5]), wanted).tolist() == [[False, True], [True, False]]
    assert not find_keys(np.array([], dtype=np.int64), wanted).any()


def test_a_cell_that_stands_twice_counts_once_and_without_its_error(tmp_path: Path) -> None:
    store = Store(tmp_path, SETTINGS)
    store.add([replace(cell, values={}) for cell in cells(1, 2, error="boom")])
    store.add(cells(1))
    rows = {row["key"]: row for row in store.table().to_pylist()}
    assert len(rows) == store.table().num_rows == 2
    assert rows[1]["error"] == ""
    assert rows[1]["value"] == 0.1
    assert rows[2]["error"] == "boom"


@pytest.mark.parametrize("spoil", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"not parquet at all"])
def test_a_damaged_file_is_named(tmp_path: Path, spoil) -> None:
    store = Store(tmp_path, SETTINGS)
    store.add(cells(1))
    store.add(cells(2))
    victim = store.files[0]
    victim.write_bytes(spoil(victim.read_bytes()))
    with pytest.raises(CorruptStore, match=victim.name):
        store.keys()
    victim.unlink()
    assert len(store.keys()) == 1


@pytest.mark.parametrize(
    "wrong", [{"probability": -0.5}, {"seconds": -1.0}, {"spent": {"deletion": float("nan")}}, {"target": -2}]
)
def test_numbers_that_no_cell_has_are_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    store = Store(tmp_path / "run", SETTINGS)
    store.add([replace(cells(1)[0], **wrong)])
    with pytest.raises(CorruptStore, match=f"is damaged; .*{next(iter(wrong))} = "):
        store.table()


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    Store(tmp_path, SETTINGS).add(cells(1))
    with pytest.raises(CorruptStore, match=r"recipe\.data\.n is 3 there and 4 here"):
        Store(tmp_path, {"recipe": {"name": "a", "data": {"n": 4}}})
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(CorruptStore, match=r"settings\.json"):
        Store(tmp_path, SETTINGS)
    with pytest.raises(InvalidOption, match="no run"):
        Store(tmp_path / "elsewhere")


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path, SETTINGS)
    store.add(cells(1))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InvalidOption, match="the disk is full; rows that were finished are safe"):
        store.add(cells(2))
    monkeypatch.undo()
    assert store.keys().tolist() == [1]
    assert [p.name for p in (tmp_path / "rows").iterdir()] == [store.files[0].name]  # no draft is left


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to a read-only folder")
def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InvalidOption, match="can't write to"):
            Store(tmp_path / "run", SETTINGS)
    finally:
        tmp_path.chmod(0o700)


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(InvalidOption, match="can't write to"):
        Store(tmp_path / "run", SETTINGS)


def test_merge(tmp_path: Path) -> None:
    Store(tmp_path / "a", SETTINGS).add(cells(1, 2))
    Store(tmp_path / "b", SETTINGS).add(cells(2, 3))
    merged = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all")
    assert merged.table().num_rows == 3
    assert merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all").files == merged.files
    Store(tmp_path / "c", {"recipe": {"name": "b", **RECIPE}})
    with pytest.raises(CorruptStore, match=r"recipe\.name"):
        merge([tmp_path / "a", tmp_path / "c"], tmp_path / "none")
    with pytest.raises(InvalidOption, match="nothing to merge"):
        merge([], tmp_path / "none")
