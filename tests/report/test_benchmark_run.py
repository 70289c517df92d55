"""Opening a run: what is refused, and how that is said."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from limelight.bench.store import Store, merge
from limelight.errors import CorruptStore, InvalidOption
from limelight.pages.benchmark import open_run
from report.small_run import settings_of


def test_a_run_without_rows_is_refused_in_one_line(tmp_path: Path) -> None:
    Store(tmp_path, settings_of())
    with pytest.raises(InvalidOption, match="has no rows yet; `limelight benchmark`"):
        open_run(tmp_path)
    with pytest.raises(InvalidOption, match="there is no run in"):
        open_run(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("{}", "holds no table called recipe"),
        ('{"recipe": []}', "holds no table called recipe"),
        ('{"recipe": {"name": "x"}}', "recipe: models is missing"),
        ({"name": 3}, "recipe: name = 3: Input should be a valid string"),
        (
            {"data": {"n": -1}},
            "recipe: data.n = -1: Input should be greater than or equal to 1 or Input should be 'all'",
        ),
        (
            {"data": {"dataset": "scenes", "n": 10**11}},
            "data.n = 100000000000: of scenes, which are drawn, there may be",
        ),
        ({"preprocess": {"resize": [10**9, 8]}}, "preprocess.resize.0 = 1000000000: Input should be less than"),
        ({"data": {"confidence": float("nan")}}, "it holds NaN, which is no number of JSON"),
        ('{"recipe": ' + "9" * 5000 + "}", "it holds a number of thousands of digits"),
    ],
)
def test_settings_of_something_else_are_refused(tmp_path: Path, wrong: str | dict[str, Any], said: str) -> None:
    """By reports, and by merges before they claim a folder."""
    right = settings_of()["recipe"]
    text = wrong if isinstance(wrong, str) else json.dumps({"recipe": right | wrong})
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(CorruptStore, match=re.escape(said)):
        open_run(tmp_path)
    with pytest.raises(CorruptStore, match=re.escape(said)):
        merge([tmp_path], tmp_path / "all")
    assert not (tmp_path / "all").exists()
