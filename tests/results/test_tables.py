"""Numbers per image, and what is said of them."""

import csv
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import limelight as ll
from hostile import TEXTS
from limelight.errors import CorruptStore, InvalidOption, ProtocolMismatch
from limelight.results.row import Column, Row
from limelight.results.tables import Results

HIGHER = Column("insertion", "insertion/8W", "higher")
HITS = Column("pointing-game", "pointing-game/0", "higher", "class-mean")


def row(image: str, method: str, *, target: int = 0, reason: str = "", **values: float) -> Row:
    return Row(image, method, target, f"class {target}", 0.9, reason, 0.01, 1.0, 0.0, values)


def results(values: dict[str, list[float]], column: Column = HIGHER) -> Results:
    rows = [
        row(f"{i:03d}", method, **{"insertion": v}) for method, numbers in values.items() for i, v in enumerate(numbers)
    ]
    return Results(rows, {"insertion": column})


def noisy(mean: float, n: int = 60, seed: int = 0) -> list[float]:
    return (mean + 0.1 * np.random.default_rng(seed).standard_normal(n)).tolist()


def test_summary_by_hand() -> None:
    found = results({"a": [0.1, 0.2, 0.6], "b": [0.5, math.nan, 0.7]}).summary()
    assert found["a", "insertion"].mean == pytest.approx(0.3)
    assert found["b", "insertion"].mean == pytest.approx(0.6)
    assert (found["a", "insertion"].images, found["a", "insertion"].undefined) == (3, 0)
    assert (found["b", "insertion"].images, found["b", "insertion"].undefined) == (2, 1)
    assert (found["a", "insertion"].rank, found["b", "insertion"].rank) == (2, 1)
    assert found["a", "insertion"].low < 0.3 < found["a", "insertion"].high
    with pytest.raises(InvalidOption, match=r"no figure of \('c', 'insertion'\)"):
        _ = found["c", "insertion"]


def test_lower_is_better_turns_the_ranks_round() -> None:
    lower = Column("insertion", "x", "lower")
    found = results({"a": noisy(0.2), "b": noisy(0.8)}, lower)
    assert found.summary()["a", "insertion"].rank == 1
    assert found.compare("insertion")[0].verdict == "a"


def test_verdicts() -> None:
    """A clear difference has a winner; noise is not distinguishable, and both are marked as like the best."""
    same = noisy(0.5)
    found = results(
        {"bad": noisy(0.2, seed=1), "good": same, "twin": (np.array(same) + 1e-4 * np.tile([1, -1], 30)).tolist()}
    )
    verdicts = {(c.first, c.second): c.verdict for c in found.compare("insertion")}
    assert verdicts == {("bad", "good"): "good", ("bad", "twin"): "twin", ("good", "twin"): "not distinguishable"}
    like = {f.method: f.like_best for f in found.summary()}
    assert like == {"bad": False, "good": True, "twin": True}
    table = found.to_markdown()
    assert table.splitlines()[0] == "| method | insertion ↑ | empty maps |"
    assert sum(line.count("**") == 2 for line in table.splitlines()) == 2


def test_many_comparisons_are_corrected() -> None:
    """Of 20 methods that don't differ, hardly ever two are told apart."""
    found = results({f"m{i}": noisy(0.5, n=30, seed=i) for i in range(20)})
    told_apart = [c for c in found.compare("insertion") if c.verdict != "not distinguishable"]
    assert not told_apart
    assert min(c.p for c in found.compare("insertion")) <= 1


def test_class_mean_is_not_the_mean() -> None:
    """Accuracies of 1/1 and 0/3 are 50 %, not 25 %."""
    rows = [row(str(i), "a", target=int(i > 0), **{"pointing-game": float(i == 0)}) for i in range(4)]
    assert Results(rows, {"pointing-game": HITS}).summary()[0].mean == 0.5


def test_adcc_is_combined_once() -> None:
    """The figure of a data set combines the averages, which is not the average of the combined."""
    column = Column("adcc", "adcc/dataset", "higher", "adcc")
    parts = (
        {"coherency": 1.0, "complexity": 0.0, "average-drop": 0.0},
        {"coherency": 0.5, "complexity": 0.5, "average-drop": 0.5},
    )
    rows = [
        Row(str(i), "a", 0, "x", 1.0, "", 0, 1, 0, {"adcc": v}, {f"adcc.{k}": p for k, p in part.items()})
        for i, (v, part) in enumerate(zip((1.0, 0.5), parts, strict=True))
    ]
    assert Results(rows, {"adcc": column}).summary()[0].mean == pytest.approx(0.75)  # all three averages are .75


def test_degenerate_maps_are_counted() -> None:
    rows = [row("1", "a", reason="no positive evidence", insertion=0.1), row("2", "a", insertion=0.3)]
    assert Results(rows, {"insertion": HIGHER}).summary()[0].degenerate == 1


def test_numbers_of_two_protocols_never_meet() -> None:
    one, other = results({"a": [0.1]}), results({"b": [0.2]}, Column("insertion", "insertion/2W", "higher"))
    with pytest.raises(ProtocolMismatch, match=r"insertion/8W and insertion/2W"):
        _ = one + other
    with pytest.raises(ProtocolMismatch, match="only one of the two results has deletion"):
        _ = one + Results([row("1", "a", deletion=0.1)], {"deletion": Column("deletion", "x", "lower")})
    with pytest.raises(ProtocolMismatch, match="two models"):
        _ = one + Results([row("9", "a", insertion=0.1)], {"insertion": HIGHER}, {"model": "another"})
    both = one + results({"b": [0.2]})
    assert both.methods == ["a", "b"]


def test_the_same_pair_twice_is_an_error() -> None:
    with pytest.raises(InvalidOption, match="1 pairs of image and method appear more than once"):
        _ = results({"a": [0.1]}) + results({"a": [0.1]})
    with pytest.raises(InvalidOption, match=r"'insertio' was not measured; did you mean insertion"):
        results({"a": [0.1]}).values("insertio")


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
    with pytest.raises(InvalidOption, match=r"suffix must be one of .parquet, .csv, .json, .md"):
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


def test_public_name() -> None:
    assert ll.Results is Results


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
