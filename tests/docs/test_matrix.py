"""The page of what works with which model says what the code does."""

from pathlib import Path
from types import ModuleType

import pytest

import limelight as ll
from conftest import script
from limelight.errors import InvalidOption, ModelFailed, UnsupportedModel

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "matrix.md").read_text(encoding="utf-8")
AGAIN = "run: python tools/make_matrix.py"


@pytest.fixture(scope="module")
def matrix() -> ModuleType:
    return script(ROOT / "tools" / "make_matrix.py")


def test_the_page_has_every_kind_method_and_metric(matrix: ModuleType) -> None:
    for cards in (ll.methods(), ll.metrics()):
        families: dict[str, list[str]] = {}
        for card in cards.values():
            families.setdefault(card.family, []).append(f"`{card.name}`")
        assert f"\n| model | {' | '.join(families)} |\n" in PAGE, AGAIN
        assert all(f"\n- {family}: {', '.join(names)}\n" in PAGE for family, names in families.items()), AGAIN
    lines = PAGE.splitlines()
    for kind, (what, _) in matrix.KINDS.items():
        assert f"- **{kind}**: {what}" in lines, AGAIN
        assert sum(line.startswith(f"| {kind} | ") and " of " in line for line in lines) >= 2, AGAIN


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["segmenter", "black box"])
def test_the_page_is_up_to_date(kind: str, matrix: ModuleType) -> None:
    lines = PAGE.splitlines()
    for tried in matrix.try_all(kind):
        assert not [t.failed for t in tried if t.failed]
        assert matrix.line(kind, tried) in lines, AGAIN
        for t in tried:
            for what in ("refused", "alone", "warned", "empty"):
                assert matrix.markdown(matrix.reason(t, what)) in PAGE, AGAIN


def test_only_a_refusal_is_one(matrix: ModuleType) -> None:
    def use(error: Exception | None, most: int = 0) -> object:
        def run(name: str, n: int) -> str:
            if error is not None and n > most:
                raise error
            return ""

        return matrix.try_one("family", "name", run)

    assert use(None).works
    refused = use(UnsupportedModel("name needs\n a layer"))
    assert (refused.refused, refused.works, matrix.reason(refused, "refused")) == (
        "name needs a layer",
        False,
        "… needs a layer",
    )
    alone = use(InvalidOption("one at a time"), most=1)
    assert (alone.works, alone.refused, alone.alone) == (True, "", "one at a time")
    for error in (ValueError("a fault"), ModelFailed("a fault"), UserWarning("a fault")):
        failed = use(error)
        assert "a fault" in failed.failed
        assert not failed.works
        assert not failed.refused


def test_a_fault_ends_with_1_and_leaves_the_page(
    matrix: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    works, fails = matrix.Tried("f", "a"), matrix.Tried("f", "b", failed="ValueError: a fault")
    monkeypatch.setattr(matrix, "PAGE", tmp_path / "matrix.md")
    monkeypatch.setattr(matrix, "try_all", lambda name: ([works], [fails]))
    assert matrix.main() == 1
    assert "segmenter, b: ValueError: a fault" in capsys.readouterr().err
    assert not matrix.PAGE.exists()
    monkeypatch.setattr(matrix, "try_all", lambda name: ([works], [works]))
    assert matrix.main() == 0
    assert "| segmenter | 1 of 1 |" in matrix.PAGE.read_text(encoding="utf-8")


def test_reasons_are_put_together(matrix: ModuleType) -> None:
    def of(name: str, family: str, why: str = "") -> object:
        return matrix.Tried(family, name, refused=why)

    tried = {
        kind: [of("a", "one", "a | no"), of("b", "one", "b | no"), of("c", "two", "c | no"), of("d", "two")]
        for kind in ("x", "y")
    }
    assert matrix.reasons(tried, "refused") == [r"| x, y | every one, `c` | … \| no |"]
    assert matrix.line("x", tried["x"]) == "| x | 0 of 2 | 1 of 2 |"
