"""The page of a benchmark run: its numbers, and what it says of trouble."""

import contextlib
import io
import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hostile import TEXTS
from limelight.bench.recipe import Recipe
from limelight.bench.store import Cell, Store, key_of, merge, recipe_of
from limelight.cli.report import report as command
from limelight.draw import chart
from limelight.errors import CorruptStore, InvalidOption
from limelight.report import benchmark as story
from limelight.report import numbers
from limelight.results.tables import Results, Row, Summary
from limelight.scoring.evaluate import columns
from pages import Page, check

METHODS = ("grad-cam", "layer-cam", "eigen-cam", "rise")
METRICS = ("average-drop", "insertion", "adcc", "pointing-game")


def recipe(models: Sequence[str] = ("demo/resnet", "demo/vgg"), **more: Any) -> dict[str, Any]:
    made = Recipe(
        name="small",
        models={"names": models},
        methods=[{"name": m} for m in METHODS],
        metrics=[{"name": m} for m in METRICS],
        **more,
    )
    return {"limelight": 1, "recipe": made.model_dump(mode="json", exclude={"about", "paper"})}


def cells(model: str, images: int, seed: int, methods: Sequence[str] = METHODS) -> list[Cell]:
    """Draw numbers that differ by method, some of which are not defined or of empty maps."""
    rng, found = np.random.default_rng(seed), list[Cell]()
    for i in range(images):
        hard, target = rng.random(), int(rng.integers(4))
        for m, method in enumerate(methods):
            parts = {"coherency": 0.9 - 0.1 * m, "complexity": 0.3 * rng.random(), "average-drop": 0.5 * hard}
            values = {
                "average-drop": 0.6 * hard + 0.04 * m + 0.1 * rng.random(),
                "insertion": float("nan") if i % 7 == 3 else 1 - 0.5 * hard - 0.01 * rng.random(),
                "adcc": 0.5,
                "pointing-game": float("nan") if (i + m) % 11 == 5 else float(rng.random() > 0.3 + 0.1 * m),
            }
            for metric, value in values.items():
                found.append(
                    Cell(
                        key_of(model, str(i), method, metric),
                        f"picture-{i:03d}.png",
                        model,
                        method,
                        metric,
                        value,
                        target=target,
                        reason="all zero" if i == 2 and m == 1 else "",
                        seconds=0.01 * (m + 1),
                        forwards=1.0 + 100 * (method == "rise"),
                        backwards=float(m < 3),
                        spent=float(m),
                        parts=json.dumps(parts) if metric == "adcc" else "",
                        curve=tuple(np.linspace(0, value, 9)) if metric == "insertion" and value == value else (),
                    )
                )
    return found


def summary_of(found: Sequence[Cell], settings: dict[str, Any], model: str) -> Summary:
    """Say by ``Results`` what the report says by arrays."""
    rows: dict[tuple[str, str], list[Cell]] = {}
    for cell in sorted((c for c in found if c.model == model and not c.error), key=lambda c: c.image):
        rows.setdefault((cell.image, cell.method), []).append(cell)
    made = [
        Row(
            image,
            method,
            some[0].target,
            "",
            1.0,
            some[0].reason,
            some[0].seconds,
            some[0].forwards,
            some[0].backwards,
            {c.metric: c.value for c in some},
            {f"{c.metric}.{k}": v for c in some if c.parts for k, v in json.loads(c.parts).items()},
            {c.metric: c.spent for c in some},
        )
        for (image, method), some in rows.items()
    ]
    return Results(made, columns(Recipe(**settings["recipe"]).judges)).summary()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    store = Store(folder, recipe(data={"dataset": "folder"}))
    made = [*cells("demo/resnet", 40, 0), *cells("demo/vgg", 24, 1)]
    store.add(made[::2])
    store.add(made[1::2])
    for i in range(3):
        store.add(
            [
                Cell(
                    key_of("failed", str(i), m),
                    f"broken-{i}.png",
                    "demo/vgg",
                    "rise",
                    m,
                    error="InvalidImage: <no> JPEG",
                )
                for m in METRICS
            ]
        )
    store.note(
        {
            "about": "A small run & its tale.",
            "versions": {"torch": "9.9"},
            "weights": {"demo/resnet": "sha256:1"},
            "left_out": {"x/net": "no file"},
        }
    )
    return folder


PAPER = """paper,table,model,method,metric,value
A 2021,1,ResNet,Grad-CAM,average_drop_pct,34.5
A 2021,1,ResNet,RISE,running_time_ms,12
A 2021,1,ResNet,Grad-CAM++,average_drop_pct,1.0
A 2021,1,AlexNet,Grad-CAM,average_drop_pct,1.0
"""


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    (folder / "paper.csv").write_text(PAPER, encoding="utf-8")
    run = story.open_run(folder, paper=folder / "paper.csv")
    return check(story.write(run, folder / "report.html"), script=True)


# -- numbers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("images", [8, 40])  # all swaps, and random ones
def test_figures_are_those_of_results(tmp_path: Path, images: int) -> None:
    settings = recipe()
    made = [*cells("demo/resnet", images, 0), *cells("demo/vgg", images, 1, METHODS[:3])]
    store = Store(tmp_path, settings)
    store.add(made)
    boards, failures = numbers.read(store, recipe_of(store))
    assert [board.model for board in boards] == ["demo/resnet", "demo/vgg"]
    assert not failures
    for board, summary in zip(boards, numbers.summaries(boards), strict=True):
        expected = summary_of(made, settings, board.model)
        assert [(f.method, f.metric) for f in summary] == [(f.method, f.metric) for f in expected]
        for ours, theirs in zip(summary, expected, strict=True):
            for name in ("mean", "low", "high", "spent"):
                assert getattr(ours, name) == pytest.approx(getattr(theirs, name), abs=1e-9, nan_ok=True), (
                    ours,
                    theirs,
                )
            for name in ("images", "undefined", "degenerate", "rank", "like_best"):
                assert getattr(ours, name) == getattr(theirs, name), (ours, theirs)


def test_many_images_have_the_figures_that_draws_give(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    n = 900
    hard = rng.random((n, 1, 1))
    values = 0.4 * hard + 0.3 * rng.random((n, 4, 3)) + 0.01 * np.arange(4)[:, None]
    groups = rng.integers(9, size=n)
    families = [
        numbers.Family("mean", values[..., :1], None),
        numbers.Family("class-mean", values[..., :1], groups),
        numbers.Family("adcc", values, None),
    ]
    drawn = numbers._intervals(families, 0), numbers._pair_ps(families, 0)
    monkeypatch.setattr(numbers, "MANY", 500)
    normal = numbers._intervals(families, 0), numbers._pair_ps(families, 0)
    for a, b in zip(drawn[0], normal[0], strict=True):
        width = a[:, 1] - a[:, 0]
        assert (np.abs(a - b) < 0.05 * width[:, None]).all()
    for a, b in zip(drawn[1], normal[1], strict=True):
        assert np.abs(a - b).max() < 0.02
    p = np.concatenate(normal[1])
    assert p.min() < 0.01 < 0.05 < p.max()  # some differ, some do not


# -- the page ---------------------------------------------------------------------------------------------


def test_it_tells_the_figures(folder: Path, page: Page) -> None:
    run = story.open_run(folder)
    for _, summary in run.told:
        for figure in summary:
            assert f"#{figure.rank} {figure.mean:.3f} [{figure.low:.3f}, {figure.high:.3f}]" in page.text
    bold = re.findall(r"<strong>([\d.]+)</strong>", page.html)
    like = [f"{f.mean:.3f}" for _, summary in run.told for f in summary if f.like_best]
    assert sorted(bold[: len(like)]) == sorted(like)


def test_it_begins_with_how_sure_one_may_be(folder: Path, page: Page) -> None:
    run = story.open_run(folder)
    tops = [[m for m in METHODS if s[m, metric].like_best] for _, s in run.told for metric in METRICS]
    often = {m: sum(m in top for top in tops) for m in METHODS}
    most = max(often.values())
    count = len(tops)
    said = page.text[: page.text.index("Leaderboard ")]
    assert "40 pictures, each explained for its predicted class on 2 models by 4 methods, judged by 4 metrics" in said
    assert f"{most} of {count} comparisons" in said
    assert all((f" {name} " in said.partition("clear leader")[0]) == (often[name] == most) for name in METHODS)
    assert f"{sum(len(top) == 1 for top in tops)} of {count} have" in said
    assert "can’t tell even" not in said  # of methods that know nothing of the model there are none here


def test_it_has_all_parts_in_order(page: Page) -> None:
    titles = re.findall(r"<h2[^>]*>([^<]+)<", page.html)
    assert titles == [
        *("Leaderboard", "Quality and cost", "Curves", "Picture by picture", "Best and worst", "Beside the paper"),
        *("Empty maps and failures", "How it was measured"),
    ]
    assert "A small run & its tale." in page.text
    assert "mean-of-class" not in page.text
    assert "9.9" in page.text  # the version that was noted
    for protocol in (c.protocol for c in columns(Recipe(**recipe()["recipe"]).judges).values()):
        assert protocol in page.text


def test_trouble_is_told(page: Page) -> None:
    assert "demo/vgg rise broken-0.png, broken-1.png, broken-2.png InvalidImage: <no> JPEG" in page.text
    assert "12 cells failed" in page.text
    assert "demo/resnet layer-cam 1 of 40" in page.text
    assert "x/net no file" in page.text
    assert "insertion 6" in page.text  # of 40 pictures, every seventh from the fourth on


def test_the_papers_numbers_stand_beside_ours(folder: Path, page: Page) -> None:
    run = story.open_run(folder, paper=folder / "paper.csv")
    ours = run.summaries[0]["grad-cam", "average-drop"].mean
    assert "2 of the paper’s 4 numbers" in page.text
    gap = f"{ours - 0.345:+.3f}".replace("-", "−")
    assert re.search(rf"grad-cam average-drop 0.345 {ours:.3f} \[[^]]+\] {re.escape(gap)} A 2021, 1", page.text)
    assert "rise seconds 0.012 0.04 +0.028" in page.text


def test_best_and_worst_are_named(folder: Path, page: Page) -> None:
    run = story.open_run(folder)
    board = run.boards[0]
    order = np.argsort(board.values[0, 0])
    text = f"grad-cam {board.images[order[0]]} ({board.values[0, 0, order[0]]:.3f})"
    assert text in page.text


def test_scenes_are_shown_with_their_maps(tmp_path: Path) -> None:
    from limelight import zoo
    from limelight.api import as_samples
    from limelight.data.synthetic import TEST_SEEDS, scenes

    settings = recipe(["demo/resnet"], data={"dataset": "scenes", "n": 6})
    store = Store(tmp_path, settings)
    names = [s.name for s in as_samples(scenes(6, seed=TEST_SEEDS))]
    made = [c for c in cells("demo/resnet", 6, 0) if c.method in METHODS[:2]]
    store.add([Cell(**vars(c) | {"image": names[int(c.image[8:11])]}) for c in made])
    store.note({"weights": {"demo/resnet": f"sha256:{zoo.load('demo/resnet').weights_hash()}"}})
    page = Page(story.write(story.open_run(tmp_path), tmp_path / "a.html"))
    alts = [image["alt"] or "" for image in page.all("img")]
    assert sum("the map of grad-cam" in alt for alt in alts) == 2 * story.SHOWN
    store.note({"weights": {"demo/resnet": "sha256:other"}})  # their maps would be others
    page = Page(story.write(story.open_run(tmp_path), tmp_path / "b.html"))
    assert "the picture alone" in page.html
    assert "the map of" not in page.html


def test_one_method_on_one_picture_makes_a_page(tmp_path: Path) -> None:
    store = Store(tmp_path, recipe(["demo/resnet"]))
    store.add(cells("demo/resnet", 1, 0, METHODS[:1]))
    page = check(story.write(story.open_run(tmp_path), tmp_path / "report.html"), script=True)
    assert "nan" not in page.text.lower().split()
    assert not page.all("dl")  # there is nothing to compare


def test_the_same_run_gives_the_same_drawings() -> None:
    points = {"a": (1.0, 0.5, 0.4, 0.6), "b": (1.001, 0.6, float("nan"), float("nan")), "c": (90.0, 0.7, 0.6, 0.8)}
    first, second = (chart.tradeoff(points, x_label="x", y_label="y", front=["b", "c"]) for _ in range(2))
    assert first == second
    svg, (width, height) = first
    assert "prefers-color-scheme:dark" in svg
    assert not set(re.findall(r"#[0-9a-f]{6}", svg.partition("</style>")[2])) - {"#000000"}  # all follow the page
    assert width == chart.WIDE
    assert height > 100


# -- tables for papers ------------------------------------------------------------------------------------


def test_markdown_has_the_summary_and_the_costs(folder: Path) -> None:
    run = story.open_run(folder, paper=folder / "paper.csv")
    text = story.to_markdown(run)
    for line in run.summaries[0].to_markdown().splitlines()[2:]:
        assert line in text
    assert "| rise |" in text
    assert " 101 | 0.04 |" in text
    assert "| demo/resnet | rise | seconds | 0.012 | 0.040 | +0.028 |" in text
    assert "InvalidImage" in text


def test_latex_is_booktabs_and_escaped(folder: Path) -> None:
    run = story.open_run(folder)
    text = story.to_latex(run)
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == text.count(r"\bottomrule") == 2
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count(" & ") for line in rows} == {len(METRICS) + 2}
    best = next(f for f in run.summaries[0] if f.metric == "average-drop" and f.rank == 1)
    assert rf"\textbf{{{best.mean:.3f}}} {{\scriptsize [{best.low:.3f}, {best.high:.3f}]}}" in text


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
    keys = (key_of(str(number)) for number in itertools.count())
    store.add(
        [
            Cell(next(keys), image, "demo/resnet", method, metric, 0.1 * i, seconds=0.1, forwards=1.0)
            for i, image in enumerate(texts[:4])
            for method in texts
            for metric in texts[:3]
        ]
    )
    store.add([Cell(next(keys), text, "demo/resnet", text, texts[0], error=text) for text in texts])
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


# -- what is refused --------------------------------------------------------------------------------------


def test_a_run_without_rows_is_refused_in_one_line(tmp_path: Path) -> None:
    Store(tmp_path, recipe())
    with pytest.raises(InvalidOption, match="has no rows yet; `limelight benchmark`"):
        story.open_run(tmp_path)
    with pytest.raises(InvalidOption, match="there is no run in"):
        story.open_run(tmp_path / "nowhere")


def test_a_run_of_failures_alone_still_tells_them(tmp_path: Path) -> None:
    Store(tmp_path, recipe()).add([Cell(1, "a.png", "demo/vgg", "rise", "adcc", error="MemoryError: too large")])
    page = check(story.write(story.open_run(tmp_path), tmp_path / "report.html"), script=True)
    assert "demo/vgg rise a.png MemoryError: too large" in page.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,method,value\na,b,1\n", "metric"),
        ("model,method,metric,value\na,b,c,much\n", "line 2: the value 'much'"),
        ("model,method,metric,value\na,b,c,1\n\na,b\n", "line 4: it has fewer cells"),
        ("value,model,method,metric\n1,a,b\n", "line 2: it has fewer cells"),
        ("model,method,metric,value\na,b,c,1,2\n", "line 2: it has more cells"),
    ],
)
def test_a_table_of_a_paper_that_is_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        story.published(text)


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
    right = recipe()["recipe"]
    text = wrong if isinstance(wrong, str) else json.dumps({"recipe": right | wrong})
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(CorruptStore, match=re.escape(said)):
        story.open_run(tmp_path)
    with pytest.raises(CorruptStore, match=re.escape(said)):
        merge([tmp_path], tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_the_command_writes_what_it_says(folder: Path) -> None:
    out, said = folder / "deep" / "page.html", io.StringIO()
    with contextlib.redirect_stdout(said):
        command(folder, out=out, markdown=True, latex=True, as_json=True)
    told = json.loads(said.getvalue())
    assert told["files"] == [str(out.with_suffix(suffix)) for suffix in (".html", ".md", ".tex")]
    assert all(Path(file).stat().st_size for file in told["files"])
    assert len(told["figures"]) == 2 * len(METHODS) * len(METRICS)
