"""The page of which method explains which transformer says what the code does."""

from pathlib import Path
from types import ModuleType

import pytest

from conftest import script

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "transformers-sweep.md").read_text(encoding="utf-8")
AGAIN = "run: python tools/sweep_transformers.py"


@pytest.fixture(scope="module")
def sweep() -> ModuleType:
    return script(ROOT / "tools" / "sweep_transformers.py")


def test_the_page_has_every_model_and_no_fault(sweep: ModuleType) -> None:
    lines = PAGE.splitlines()
    assert f"| model | {' | '.join(sweep.METHODS)} |" in lines, AGAIN
    for name in sweep.MODELS:
        (row,) = (line for line in lines if line.startswith(f"| {name} | "))
        for cell in row.split(" | ")[1:]:
            assert cell.split()[0] in ("ok", "warns", "empty", "refuses", "not"), f"{row}; {AGAIN}"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["timm/test_vit", "timm/test_coatnet"])
def test_the_page_is_up_to_date(name: str, sweep: ModuleType) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| {name} | "))
    cells = dict(zip(sweep.METHODS, row.strip("| ").split(" | ")[1:], strict=True))
    for tried in sweep.try_model(name):
        came, _, number = cells[tried["method"]].partition(" ")
        assert came == tried["came"], AGAIN
        assert f"{number}. {sweep.markdown(tried['why'])}".strip(" .") in PAGE, AGAIN


def test_words_of_one_model_become_words_of_all(sweep: ModuleType) -> None:
    said = "legrad: 5 of 12 in 'a.b' of Net (keys: 4 x 4, 2 x 4)"
    assert sweep.general(said, "Net", "legrad") == "…: … of … in … of … (keys: … x …)"
    took = " biases, softmaxes and other places took or gave most of the relevance"
    assert sweep.general("lrp: 12% went into biases, 8% came from biases: 29% is left", "Net", "lrp") == f"…:{took}"
