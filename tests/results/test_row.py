"""A row by itself."""

from limelight.results.row import Column, Row


def test_a_row_of_one_metric_keeps_what_is_known_of_the_image() -> None:
    numbers = {"adcc": 0.5, "deletion": 0.25}
    parts = {"adcc.coherency": 0.9, "adccx.coherency": 0.1}
    row = Row("a", "rise", 3, "bee", 0.9, "", 0.5, 8.0, 1.0, numbers, parts, {"adcc": 2.0}, {"deletion": (1.0, 0.5)})
    assert row.only("adcc") == Row(
        *("a", "rise", 3, "bee", 0.9, "", 0.5, 8.0, 1.0), {"adcc": 0.5}, {"adcc.coherency": 0.9}, {"adcc": 2.0}
    )
    assert row.only("deletion").curves == {"deletion": (1.0, 0.5)}
    assert row.only("deletion").spent == {}


def test_what_is_empty_and_which_numbers_are_better() -> None:
    assert not Row("a", "rise").degenerate
    assert Row("a", "rise", reason="no positive evidence").degenerate
    assert (Column("adcc", "", "higher").arrow, Column("drop", "", "lower").arrow) == ("↑", "↓")
