"""The tables of a run for papers, and the command that writes them beside the page."""

import contextlib
import io
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from hostile import TEXTS
from limelight.bench.cell import Cell, key_of
from limelight.bench.recipe import Recipe
from limelight.bench.store import Store
from limelight.cli.report import report as command
from limelight.pages.benchmark import open_run, to_latex, to_markdown
from pages import Page
from report.small_run import METHODS, METRICS, make_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run"))


def test_markdown_has_the_summary_and_the_costs(folder: Path) -> None:
    run = open_run(folder, paper=folder / "paper.csv")
    text = to_markdown(run)
    headings = [line.split()[0] for line in text.splitlines() if line.startswith("#")]
    assert (headings[0], *{*headings[1:]}) == ("##", "###")  # to stand in a page; a file of its own begins with one
    for line in run.summaries[0].to_markdown().splitlines()[2:]:
        assert line in text
    assert "| rise |" in text
    assert " 101 | 0.04 |" in text
    assert "| demo/resnet | rise | seconds | 0.012 | 0.040 | +0.028 |" in text
    assert "InvalidImage" in text


def test_latex_is_booktabs_and_escaped(folder: Path) -> None:
    run = open_run(folder)
    text = to_latex(run)
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == text.count(r"\bottomrule") == 2
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count(" & ") for line in rows} == {len(METRICS) + 2}
    best = next(f for f in run.summaries[0] if f.metric == "average-drop" and f.rank == 1)
    assert rf"\textbf{{{best.mean:.3f}}} {{\scriptsize [{best.low:.3f}, {best.high:.3f}]}}" in text


@pytest.mark.slow
def test_names_of_strangers_are_names_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Labels of methods and metrics, pictures and errors that are markup: in the page, Markdown, LaTeX, terminal."""
    texts = [t.encode(errors="replace").decode() for t in TEXTS.values() if t.strip()]
    made = Recipe(
        name="[/x] <b>| $ \n\x1b[31m",
        about="\n# <i>a</i> | [/y]\u202e",
        data={"dataset": "folder"},
        models={"names": ["demo/resnet"]},
        methods=[{"name": "grad-cam", "label": text} for text in texts],
        metrics=[{"name": "complexity", "label": text} for text in texts[:3]],
    )
    settings = {"limelight": 1, "recipe": made.model_dump(mode="json", exclude={"about", "paper"})}
    store = Store(tmp_path, settings)
    store.note({"about": made.about, "left_out": {texts[0]: texts[1]}})
    numbers = itertools.count()

    def ids(metric: str) -> dict[str, Any]:
        return {"key": key_of(str(next(numbers))), "model": "demo/resnet", "metric": metric}

    store.add(
        [
            Cell(image, method, **ids(metric), values={metric: 0.1 * i}, seconds=0.1, forwards=1.0)
            for i, image in enumerate(texts[:4])
            for method in texts
            for metric in texts[:3]
        ]
    )
    store.add([Cell(text, text, **ids(texts[0]), error=text) for text in texts])
    command(tmp_path, markdown=True, latex=True)
    said = capsys.readouterr().out
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", said)
    page = Page(tmp_path / "report.html")
    assert len(page.all("script")) == 1
    assert not page.all("b", "i", "a") or {a["href"][0] for a in page.all("a") if a["href"]} == {"#"}
    marked = (tmp_path / "report.md").read_text(encoding="utf-8")
    table = [line for line in marked.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(texts)
    assert {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in table} == {8}
    rows = [line for line in (tmp_path / "report.tex").read_text(encoding="utf-8").splitlines() if line.endswith(r"\\")]
    assert len(rows) == 1 + len(texts)
    assert {len(re.findall(r"(?<!\\)&", line)) for line in rows} == {5}


@pytest.mark.slow
def test_the_command_writes_what_it_says(folder: Path) -> None:
    out, said = folder / "deep" / "page.html", io.StringIO()
    with contextlib.redirect_stdout(said):
        command(folder, out=out, markdown=True, latex=True, as_json=True)
    told = json.loads(said.getvalue())
    assert told["files"] == [str(out.with_suffix(suffix)) for suffix in (".html", ".md", ".tex")]
    assert all(Path(file).stat().st_size for file in told["files"])
    assert len(told["figures"]) == 2 * len(METHODS) * len(METRICS)
