"""Tables as files, and read again."""

import csv
import math
import re
from pathlib import Path
from typing import Any

import pytest

from hostile import TEXTS
from limelight.errors import CorruptStore, InvalidOption
from limelight.results.row import Column, Row
from limelight.results.tables import Results


def test_files(tmp_path: Path) -> None:
    parts = {"adcc.coherency": 0.5, "adcc.complexity": 0.2, "adcc.average-drop": 0.1}
    rows = [
        Row("1", "a", 3, "x", 0.9, "", 0.1, 2.0, 1.0, {"adcc": 0.7}, parts, {"adcc": 2.5}, {"adcc": [0.1, 0.2]}),
        Row("2", "a", 3, "x", 0.9, "empty", 0.1, 2.0, 1.0, {"adcc": math.nan}, parts),
    ]
    before = Results(rows, {"adcc": Column("adcc", "adcc/dataset", "higher", "adcc")}, {"model": "m"})
    after = Results.from_parquet(before.save(tmp_path / "r.parquet"))
    assert after.columns == before.columns
    assert after.settings == before.settings
    assert after.rows[0] == before.rows[0]
    assert math.isnan(after.rows[1].values["adcc"])
    assert str(after.summary()) == str(before.summary())

    frame = before.to_pandas()
    assert list(frame["method"]) == ["a", "a"]
    assert frame.attrs["protocols"] == {"adcc": "adcc/dataset"}
    assert before.summary().to_pandas()["protocol"][0] == "adcc/dataset"
    text = before.save(tmp_path / "r.csv").read_text()
    assert text.splitlines()[0].startswith("image,method,target,label,probability,degenerate,reason")
    assert '"adcc": null' in before.save(tmp_path / "r.json").read_text()
    assert before.save(tmp_path / "r.md").read_text().startswith("| method | adcc ↑")
    with pytest.raises(InvalidOption, match=r"suffix must be .csv, .parquet, .json or .md$"):
        before.save(tmp_path / "r.xls")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(CorruptStore, match=r"broken.parquet can't be read as results"):
        Results.from_parquet(tmp_path / "broken.parquet")


@pytest.mark.parametrize(
    "wrong",
    [
        {"probability": 2.0},
        {"seconds": -1.0},
        {"forwards": math.nan},
        {"target": -7},
        {"drop": "0.5"},
        {"seconds": "1"},
    ],
    ids=str,
)
def test_numbers_that_no_row_has_are_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet", reason="the package pyarrow is not installed")
    row = Row("1", "a", -1, "x", math.nan, "", 0.1, 2.0, 1.0, {"drop": math.nan})
    path = Results([row], {"drop": Column("drop", "drop/1", "lower")}).save(tmp_path / "r.parquet")
    assert Results.from_parquet(path).rows[0].target == -1
    table = pq.read_table(path)
    arrow = type(table)
    spoilt = arrow.from_pylist([table.to_pylist()[0] | wrong]).replace_schema_metadata(table.schema.metadata)
    pq.write_table(spoilt, path)
    with pytest.raises(CorruptStore, match=f"r.parquet can't be read as results.*{next(iter(wrong))}"):
        Results.from_parquet(path)


@pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
def test_names_of_strangers_leave_tables_whole(text: str, tmp_path: Path) -> None:
    """A name is one cell of a Markdown table, and of a csv, where no spreadsheet takes it for a formula."""
    text = text.encode(errors="replace").decode()
    column = Column("m", "m/1", "higher")
    values = {text: -0.5}
    found = Results(
        [Row(text, name, -1, text, 0.5, text, 0.1, 1.0, 0.0, values) for name in (text, "other")], {text: column}
    )
    lines = found.to_markdown().splitlines()
    assert len(lines) == 4
    assert all(len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 4 for line in lines)
    with found.save(tmp_path / "rows.csv").open(newline="", encoding="utf-8") as file:
        head, first, second = csv.reader(file)
    assert len(head) == len(first) == len(second)
    named = dict(zip(head, first, strict=True))
    for key in ("image", "method", "label", "reason"):
        assert named[key].removeprefix("'") == text.removeprefix("'")
        assert not re.match(r"\s*[=+@]|-[^0-9]|[\t\r]", named[key])
    assert named["target"] == "-1"
    assert first[-1] == "-0.5"
