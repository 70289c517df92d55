"""The figures of a data set."""

import math

import pytest

from limelight.errors import InvalidOption
from limelight.results.row import Column, Row
from limelight.results.tables import Results
from results.drawn_results import HIGHER, HITS, draw_values, make_results, make_row


def test_summary_by_hand() -> None:
    found = make_results({"a": [0.1, 0.2, 0.6], "b": [0.5, math.nan, 0.7]}).summary()
    assert found["a", "insertion"].mean == pytest.approx(0.3)
    assert found["b", "insertion"].mean == pytest.approx(0.6)
    assert (found["a", "insertion"].images, found["a", "insertion"].undefined) == (3, 0)
    assert (found["b", "insertion"].images, found["b", "insertion"].undefined) == (2, 1)
    assert (found["a", "insertion"].rank, found["b", "insertion"].rank) == (2, 1)
    shown = '<th scope="row">b</th><td><b>0.600 [0.500, 0.700]</b></td><td>0 of 3</td>'
    assert shown in found._repr_html_()
    assert found["a", "insertion"].low < 0.3 < found["a", "insertion"].high
    with pytest.raises(InvalidOption, match=r"no figure of \('c', 'insertion'\)"):
        _ = found["c", "insertion"]


def test_lower_is_better_turns_the_ranks_round() -> None:
    lower = Column("insertion", "x", "lower")
    found = make_results({"a": draw_values(0.2), "b": draw_values(0.8)}, lower)
    assert found.summary()["a", "insertion"].rank == 1
    assert found.compare("insertion")[0].verdict == "a"


def test_class_mean_is_not_the_mean() -> None:
    """Accuracies of 1/1 and 0/3 are 50 %, not 25 %."""
    rows = [make_row(str(i), "a", target=int(i > 0), **{"pointing-game": float(i == 0)}) for i in range(4)]
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
    rows = [make_row("1", "a", reason="no positive evidence", insertion=0.1), make_row("2", "a", insertion=0.3)]
    assert Results(rows, {"insertion": HIGHER}).summary()[0].degenerate == 1
