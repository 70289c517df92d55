"""Every command and every snippet of the documents is run, and what is generated is up to date."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import limelight as ll
from conftest import script
from limelight import cli
from limelight.bench.recipe_parse import make_recipe
from limelight.card import METHODS, METRICS
from limelight.data.synthetic import test_split
from limelight.errors import UnknownModel
from limelight.zoo.families import FAMILIES, available
from zoo.exported_networks import build, export

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
PAGES = {path.stem: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}
BENCHMARK = PAGES["benchmark"]


def blocks(text: str, language: str) -> list[str]:
    """Return the code blocks of a language, without the indentation of the list they stand in."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return ["\n".join(line[len(indent) :] for line in body.splitlines()) for indent, body in found]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, scene in zip(("photo.jpg", "other.jpg"), test_split(2), strict=True):
        Image.fromarray(scene.image).save(tmp_path / name)
    (tmp_path / "photos").mkdir()
    for name in ("photo.jpg", "other.jpg"):
        shutil.copy(tmp_path / name, tmp_path / "photos" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_snippets_of_the_readme(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    for snippet in blocks(README, "python"):
        exec(compile(snippet, "README.md", "exec"), names)
    assert (folder / "explained.png").stat().st_size > 1000
    assert (folder / "gallery.png").stat().st_size > 1000
    printed = capsys.readouterr().out
    for promised in re.findall(r"print\(.*\)  # (.+)", README):
        assert promised in printed


WRITTEN = {
    "propagation": ["rules.png", "layers.png"],
    "concepts": ["concepts.png", "parts.png"],
    "perturbation": ["mixed.png", "steps.gif"],
    "proposals": ["proposals.png"],
    "collection-cam": ["groups.png", "layers.png"],
    "clustering": ["masked.png", "parts.png"],
    "models": ["bands.png"],
    "several-inputs": ["pairs.png"],
    "volumes": ["planes.png", "signal.png", "slices.png", "film.gif", "page.html", "map.nii.gz"],
    "onnx": ["explained.png"],
    "your-data": ["cat.png", "wide.png"],
    "segmentation": ["region.png"],
    "detection": ["box.png"],
    "text": ["text.png"],
    "inspecting": ["inspected/page.html", "honest/page.html"],
    "tour": ["explained.png", "gallery.png", "clusters.png", "relevance.png", "steps.gif"],
    "training": ["maps/epoch-0004.png", "lightning-maps/epoch-0001.png", "trainer-maps/epoch-0001.png"],
    "index": ["explained.png"],
    "start": ["explained.png", "gallery.png"],
}
"""What the snippets of a page leave in the folder."""
NEEDED = {"training": ("lightning", "accelerate")}
"""Packages, not installed for all tests, that the snippets of a page import."""


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if blocks(text, "python")])
def test_snippets_of_a_page(page: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for package in NEEDED.get(page, ()):
        pytest.importorskip(package, reason=f"{package} is not installed")
        warnings.simplefilter("ignore")  # of trainings of milliseconds, and of few processors
    names: dict[str, object] = {}
    for snippet in blocks(PAGES[page], "python"):
        exec(compile(snippet, f"{page}.md", "exec"), names)
    for name in WRITTEN.get(page, []):
        assert (folder / name).stat().st_size > 1000
    printed = capsys.readouterr().out
    promising = ("segmentation", "detection", "volumes", "your-data", "text", "tour", "training", "start", "inspecting")
    if page in promising:
        assert all(promised in printed for promised in re.findall(r"print\(.*\)  # (.+)", PAGES[page]))
    if page == "troubleshooting":
        assert all(said in printed for said in blocks(PAGES[page], "text"))
    if page == "inspecting":
        quoted = " ".join(re.findall("^> (.+)", PAGES[page], re.MULTILINE))
        assert re.sub(r"\d+", "0", quoted) in re.sub(r"\d+", "0", printed)  # rates are those of one processor
    if page == "choosing":
        assert re.search(r"^(grad|layer|eigen)-cam:", printed, re.MULTILINE)
    if page == "collection-cam":
        with Image.open(folder / "layers.png") as new, Image.open(ROOT / "docs/pictures/layers.png") as shown:
            assert new.size == shown.size
            assert np.abs(np.asarray(new.convert("RGB"), int) - np.asarray(shown.convert("RGB"), int)).mean() < 2


def test_the_recipe_of_the_guide_is_one() -> None:
    text, models = blocks(BENCHMARK, "toml")
    recipe = tomllib.loads(text)
    assert make_recipe(recipe, "mine").name == "mine"
    other = make_recipe(recipe | tomllib.loads(models) | {"preprocess": None}, "mine")
    assert other.loading("timm/resnet18.a1_in1k").size == 160


def commands() -> list[list[str]]:
    """The commands of each block, which follow one another."""
    shown = [block.replace("\\\n", "") for page in (README, *PAGES.values()) for block in blocks(page, "sh")]
    found = [[line for line in block.splitlines() if line.startswith("limelight ")] for block in shown]
    return [block for block in found if block not in ([], ["limelight demo"])]  # which tests/cli/test_demo.py runs


def test_the_readme_has_commands() -> None:
    assert sum(map(len, commands())) >= 20
    assert "pip install -e . && limelight demo" in README  # run by tests/cli/test_demo.py
    run_by_ci = (ROOT / ".ci/run").read_text().splitlines()
    assert blocks(README, "sh")[-1] == 'pip install -e ".[test]" && pytest'
    assert {blocks(README, "sh")[-1], "pytest -m slow"} <= {*run_by_ci}
    assert "pytest -m slow" in CONTRIBUTING


@pytest.mark.slow
@pytest.mark.parametrize("block", commands(), ids=lambda block: block[0])
def test_commands_of_the_documents(block: list[str], folder: Path) -> None:
    if any("model.onnx" in command for command in block):
        pytest.importorskip("onnx2torch", reason="the extra onnx is not installed")
        export(build("plain"), folder / "model.onnx")
    for command in block:
        with pytest.raises(SystemExit) as done:
            cli.main(shlex.split(command)[1:])
        assert not done.value.code, command
        assert "--out explained.png" not in command or (folder / "explained.png").exists()


def tool(name: str) -> ModuleType:
    return script(ROOT / "tools" / f"{name}.py")


def test_the_tables_are_up_to_date() -> None:
    made = tool("make_readme")
    for page in made.PAGES:
        text = page.read_text(encoding="utf-8")
        assert "<!-- /" in text
        assert made.with_tables(text) == text, "run: python tools/make_readme.py --table"


@pytest.mark.slow
def test_the_pictures_are_made_by_the_code(tmp_path: Path) -> None:
    tool("make_readme").pictures(tmp_path)
    for made in tmp_path.iterdir():
        with Image.open(made) as new, Image.open(ROOT / "docs" / "pictures" / made.name) as shown:
            assert new.size == shown.size
            difference = np.abs(np.asarray(new.convert("RGB"), int) - np.asarray(shown.convert("RGB"), int))
            assert difference.mean() < 2, "run: python tools/make_readme.py"
    # The photograph of many methods takes minutes, and weights that do not ship with the code; the report and the
    # page take a browser.
    made = {made.name for made in tmp_path.iterdir()} | {"photo.png", "report.png", "serve.png"}
    shown = set(re.findall(r"docs/pictures/([\w.-]+)", README))
    pages = "".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    assert shown <= made <= shown | set(re.findall(r"\(pictures/([\w.-]+)", pages))


def test_the_readme_counts_right() -> None:
    assert f"by {len(METHODS.cards())} methods" in README
    assert f"by {len(METRICS.cards())} metrics" in README


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert link.startswith("http") or (page.parent / link).exists(), f"{page.name}: {link}"


def project(folder: Path) -> Path:
    """Copy what a contributor works on."""
    copy = folder / "project"
    for part in ("src", "tests"):
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for part in ("pyproject.toml", "README.md", "references.bib"):
        shutil.copy(ROOT / part, copy / part)
    return copy


def run_pytest(copy: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run tests of the copy, whose own source goes before the installed package."""
    run = "import sys, pytest; sys.path.insert(0, 'src'); sys.exit(pytest.main(sys.argv[1:]))"
    environment = {"PYTHONPATH": str(copy / "src"), "PATH": "/usr/bin:/bin", "HOME": str(copy)}
    return subprocess.run(
        [sys.executable, "-c", run, *arguments, "-n", "0", "-p", "no:cacheprovider"],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_method_in_ten_minutes(tmp_path: Path) -> None:
    """Do exactly what CONTRIBUTING.md says in a copy of the project."""
    copy = project(tmp_path)
    path = re.search(r"one file, `(src/[\w/]+\.py)`", CONTRIBUTING)
    assert path is not None
    code = blocks(CONTRIBUTING, "python")[0]
    (copy / path[1]).write_text(code)
    test = re.search(r"Run `pytest ([^`]+)`", CONTRIBUTING)
    assert test is not None
    done = run_pytest(copy, shlex.split(test[1]))
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"\b72 passed", done.stdout), done.stdout[-300:]
    listed = subprocess.run(
        [sys.executable, "-m", "limelight", "methods", "mean-cam", "--json"],
        env={"PYTHONPATH": str(copy / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert '"power": "1.0"' in listed.stdout


def test_the_rule_and_the_target_of_the_contributing_guide(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for snippet in blocks(CONTRIBUTING, "python")[2:4]:
        exec(compile(snippet, "CONTRIBUTING.md", "exec"), names)
    assert "torch.Size([64, 64])" in capsys.readouterr().out


def test_the_model_source_of_the_contributing_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "house.py").write_text(blocks(CONTRIBUTING, "python")[4])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(FAMILIES, "house", "house")
    assert available("house") == {"house": ["tiny"]}
    assert ll.explain("house/tiny", ll.example_image(), "grad-cam").label in ("no", "yes")
    with pytest.raises(UnknownModel, match="tiny"):
        ll.load("house/tin")


@pytest.mark.slow
def test_the_metric_of_the_contributing_guide_passes_the_battery(tmp_path: Path) -> None:
    copy = project(tmp_path)
    (copy / "src/limelight/measures/localisation/peak.py").write_text(blocks(CONTRIBUTING, "python")[1])
    done = run_pytest(copy, ["tests/measures/test_metric_battery.py", "-k", "peak"])
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"\b38 passed", done.stdout), done.stdout[-300:]
