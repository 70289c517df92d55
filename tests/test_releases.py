"""What a release promises: its public names, the oldest versions it bears, its changelog."""

import difflib
import re
from pathlib import Path

import pytest
from packaging.version import Version

import limelight as ll
from conftest import script

ROOT = Path(__file__).parents[1]
TOOLS = {name: ROOT / "tools" / f"{name}.py" for name in ("public_names", "lowest")}


def test_public_names_are_those_of_the_list() -> None:
    tool = script(TOOLS["public_names"])
    before, now = tool.PAGE.read_text(encoding="utf-8"), tool.inventory()
    changes = difflib.unified_diff(before.splitlines(), now.splitlines(), "as promised", "now", lineterm="", n=0)
    told = "\n".join(changes)
    assert not told, f"{told}\nIf this is meant (RELEASING.md says what it costs): python tools/public_names.py"


def test_public_names_are_written_with_what_a_caller_sees() -> None:
    tool = script(TOOLS["public_names"])

    nameless = object()

    def made(a, /, b: "int" = 1, *, c=print, d=ll.Method, e=nameless):  # type: ignore[no-untyped-def]
        """Have defaults of every kind."""

    assert tool.signature(made) == "(a, /, b=1, *, c=print, d=Method, e=object)"
    lines = tool.inventory().splitlines()
    assert lines[0] == "[limelight]"
    assert "class UnknownMethod(LimelightError, LookupError)" in lines
    assert next(line for line in lines if line.startswith("layer-cam(")).startswith("layer-cam(gamma=2.0, fuse='max'")
    assert any(line.startswith("limelight explain ") for line in lines)


def test_lowest_versions_are_the_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = script(TOOLS["lowest"])
    assert tool.PAGE.read_text(encoding="utf-8") == tool.constraints(), "python tools/lowest.py"
    extras = '[project.optional-dependencies]\nb = ["x[c]", "B_b>=3"]\n'
    project = '[project]\nname = "x"\ndependencies = ["a>=1.2", "{}"]\n' + extras
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    (tmp_path / "pyproject.toml").write_text(project.format("c>=0.1"))
    assert tool.constraints().splitlines()[1:] == ["a==1.2", "B_b==3", "c==0.1"]
    for no_bound in ("c", "c==1", "c>=1,<2"):
        (tmp_path / "pyproject.toml").write_text(project.format(no_bound))
        with pytest.raises(ValueError, match=re.escape(f'"{no_bound}"')):
            tool.constraints()


def test_changelog_is_by_release() -> None:
    heads = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert heads[0] == "Unreleased"
    released = [re.fullmatch(r"(\d+\.\d+\.\d+) \((\d{4}-\d\d-\d\d)\)", head) for head in heads[1:]]
    assert None not in released, heads
    versions = [(Version(one[1]), one[2]) for one in released if one]
    assert versions == sorted(versions, reverse=True)
    assert not versions or Version(ll.__version__) >= versions[0][0]
    assert f"version: {ll.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
