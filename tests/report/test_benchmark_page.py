"""The page of a benchmark run: its numbers, and what it says of trouble."""

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limelight.bench.cell import Cell
from limelight.bench.recipe import Recipe
from limelight.bench.store import Store
from limelight.draw import chart
from limelight.pages.benchmark import open_run, write_report
from limelight.pages.benchmark.extremes import SHOWN
from limelight.scoring.evaluate import columns
from pages import Page, check
from report.small_run import METHODS, METRICS, draw_cells, make_run, settings_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    run = open_run(folder, paper=folder / "paper.csv")
    return check(write_report(run, folder / "report.html"), script=True)


def test_it_tells_the_figures(folder: Path, page: Page) -> None:
    run = open_run(folder)
    for _, summary in run.by_model:
        for figure in summary:
            assert f"#{figure.rank} {figure.mean:.3f} [{figure.low:.3f}, {figure.high:.3f}]" in page.text
    bold = re.findall(r"<strong>([\d.]+)</strong>", page.html)
    like = [f"{f.mean:.3f}" for _, summary in run.by_model for f in summary if f.like_best]
    assert sorted(bold[: len(like)]) == sorted(like)


def test_it_begins_with_how_sure_one_may_be(folder: Path, page: Page) -> None:
    run = open_run(folder)
    tops = [[m for m in METHODS if s[m, metric].like_best] for _, s in run.by_model for metric in METRICS]
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
    for protocol in (c.protocol for c in columns(Recipe(**settings_of()["recipe"]).metrics_by_label).values()):
        assert protocol in page.text


def test_trouble_is_told(page: Page) -> None:
    assert "demo/vgg rise broken-0.png, broken-1.png, broken-2.png InvalidImage: <no> JPEG" in page.text
    assert "12 cells failed" in page.text
    assert "demo/resnet layer-cam 1 of 40" in page.text
    assert "x/net no file" in page.text
    assert "insertion 6" in page.text  # of 40 pictures, every seventh from the fourth on


def test_the_papers_numbers_stand_beside_ours(folder: Path, page: Page) -> None:
    run = open_run(folder, paper=folder / "paper.csv")
    ours = run.summaries[0]["grad-cam", "average-drop"].mean
    assert "2 of the paper’s 4 numbers" in page.text
    gap = f"{ours - 0.345:+.3f}".replace("-", "−")
    assert re.search(rf"grad-cam average-drop 0.345 {ours:.3f} \[[^]]+\] {re.escape(gap)} A 2021, 1", page.text)
    assert "rise seconds 0.012 0.04 +0.028" in page.text


def test_best_and_worst_are_named(folder: Path, page: Page) -> None:
    run = open_run(folder)
    scores = run.models[0]
    order = np.argsort(scores.values[0, 0])
    text = f"grad-cam {scores.images[order[0]]} ({scores.values[0, 0, order[0]]:.3f})"
    assert text in page.text


@pytest.mark.slow
def test_scenes_are_shown_with_their_maps(tmp_path: Path) -> None:
    from limelight import zoo
    from limelight.api import as_samples
    from limelight.data.synthetic import TEST_SEEDS, scenes

    settings = settings_of(["demo/resnet"], data={"dataset": "scenes", "n": 6})
    store = Store(tmp_path, settings)
    names = [s.name for s in as_samples(scenes(6, seed=TEST_SEEDS))]
    made = [c for c in draw_cells("demo/resnet", 6, 0) if c.method in METHODS[:2]]
    store.add([replace(c, image=names[int(c.image[8:11])]) for c in made])
    store.note({"weights": {"demo/resnet": f"sha256:{zoo.load('demo/resnet').weights_hash()}"}})
    page = Page(write_report(open_run(tmp_path), tmp_path / "a.html"))
    alts = [image["alt"] or "" for image in page.all("img")]
    assert sum("the map of grad-cam" in alt for alt in alts) == 2 * SHOWN
    store.note({"weights": {"demo/resnet": "sha256:other"}})  # their maps would be others
    page = Page(write_report(open_run(tmp_path), tmp_path / "b.html"))
    assert "the picture alone" in page.html
    assert "the map of" not in page.html


def test_every_object_is_outlined_on_the_page(tmp_path: Path) -> None:
    """The pictures of the page have a white line around each box of the class, also where boxes overlap."""
    from limelight import zoo
    from limelight.data.synthetic import CLASSES, test_split

    (scene,) = test_split(1)
    boxes = [(10, 20, 60, 70), (40, 50, 100, 110)]
    (tmp_path / "photos").mkdir()
    Image.fromarray(scene.image).save(tmp_path / "photos/star.png")
    rows = [f"star.png,{CLASSES[scene.label]},{','.join(map(str, box))}" for box in boxes]
    (tmp_path / "photos/labels.csv").write_text("\n".join(["file,label,x1,y1,x2,y2", *rows]))
    settings = settings_of(["demo/resnet"], data={"dataset": "folder"})
    store = Store(tmp_path / "run", settings)
    made = [c for c in draw_cells("demo/resnet", 1, 0) if c.method == "grad-cam"]
    store.add([replace(c, image="star.png") for c in made])
    store.note({"weights": {"demo/resnet": f"sha256:{zoo.load('demo/resnet').weights_hash()}"}})
    page = Page(write_report(open_run(tmp_path / "run", data=tmp_path / "photos"), tmp_path / "a.html"))
    shown = [image["src"] or "" for image in page.all("img") if "the map of grad-cam" in (image["alt"] or "")]
    assert shown
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown[0].partition("base64,")[2]))).convert("RGB"))
    assert pixels.shape == (128, 128, 3)
    for x1, y1, x2, y2 in boxes:
        for edge in (pixels[y1 - 1, x1:x2], pixels[y2, x1:x2], pixels[y1:y2, x1 - 1], pixels[y1:y2, x2]):
            assert edge.min() > 200  # white, but for what the page's file format rounds
    assert pixels[30:40, 20:30].min() < 200
    assert pixels[5, 5].max() < 250


def test_one_method_on_one_picture_makes_a_page(tmp_path: Path) -> None:
    store = Store(tmp_path, settings_of(["demo/resnet"]))
    store.add(draw_cells("demo/resnet", 1, 0, METHODS[:1]))
    page = check(write_report(open_run(tmp_path), tmp_path / "report.html"), script=True)
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


def test_a_run_of_failures_alone_still_tells_them(tmp_path: Path) -> None:
    failed = Cell(key=1, image="a.png", model="demo/vgg", method="rise", metric="adcc", error="MemoryError: too large")
    Store(tmp_path, settings_of()).add([failed])
    page = check(write_report(open_run(tmp_path), tmp_path / "report.html"), script=True)
    assert "demo/vgg rise a.png MemoryError: too large" in page.text
