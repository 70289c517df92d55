"""A run of the benchmark on the page: what its numbers are, and that its maps are those that were measured."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("pyarrow", reason="the extra bench is not installed")

from limelight.bench.recipe_file import read_recipe
from limelight.bench.run import benchmark
from limelight.bench.store import Store
from limelight.data.synthetic import CLASSES
from limelight.errors import CorruptStore, InvalidOption
from limelight.scoring.metric import build_metric
from limelight.web.serve import serve
from limelight.web.studio import of_run, pictured
from limelight.web.studio import run as module
from limelight.web.studio.run import FUNCTIONS, Studio
from report.small_run import METHODS, METRICS, draw_cells, make_run, settings_of, summary_of
from small_recipe import small

from .conftest import Here

RESNET, VGG = "demo/resnet", "demo/vgg"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files for the names in ``make_run``, and one that is not measured."""
    folder = tmp_path_factory.mktemp("pictures")
    for name in [*(f"picture-{i:03d}" for i in range(40)), *(f"broken-{i}" for i in range(3)), "zebra"]:
        Image.new("RGB", (4, 4)).save(folder / f"{name}.png")
    return folder


def open_(run: Path, pictures: Path | None, made: Path = Path("nowhere")) -> Studio:
    settings: dict[str, Any] = {
        "run": str(run),
        "source": pictures and str(pictures),
        "made": str(made),
        "networks": [],
    }
    return Studio([], cast(Any, None), settings)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Studio:
    return open_(make_run(tmp_path_factory.mktemp("run")), pictures)


def ask(studio: Any, function: str, functions: Any = FUNCTIONS, **request: Any) -> Any:
    *_, (kind, said) = functions[function](studio, {"model": RESNET} | request)
    json.dumps(said, allow_nan=False)
    assert kind == "result"
    return said


def strip(studio: Studio, **request: Any) -> list[tuple[str, float | None]]:
    usual = {"order": "run", "method": None, "metric": None, "wrong": False, "first": 0, "count": 500}
    said = ask(studio, "run-strip", **(usual | request))
    return [(one["name"], one["value"]) for one in said["pictures"]]


def table(model: str, seed: int, images: int, metric: str) -> dict[str, dict[str, float]]:
    """The numbers that were drawn, picture by picture."""
    found: dict[str, dict[str, float]] = {}
    for cell in draw_cells(model, images, seed):
        if cell.metric == metric:
            found.setdefault(cell.image, {})[cell.method] = cell.value
    return found


def test_a_picture_has_its_numbers_with_their_ranks_and_medians(studio: Studio) -> None:
    said = ask(studio, "run-picture", picture=studio.ids[studio.places["picture-010.png"]])
    assert [row["method"] for row in said["rows"]] == list(METHODS)
    assert (said["pictures"], said["all"]) == (40, 44)
    for metric, better in (("average-drop", -1), ("insertion", 1)):
        drawn = table(RESNET, 0, 40, metric)
        for row in said["rows"]:
            cell, all_ = row["cells"][METRICS.index(metric)], [one[row["method"]] for one in drawn.values()]
            known = sorted((v for v in all_ if v == v), reverse=better > 0)
            if metric == "insertion":  # the tenth is not defined: 10 % 7 == 3
                assert cell == {"value": None, "rank": None, "of": len(known), "median": float(np.median(known))}
            else:
                mine = drawn["picture-010.png"][row["method"]]
                assert (cell["value"], cell["rank"], cell["of"]) == (mine, known.index(mine) + 1, 40)
                assert cell["median"] == pytest.approx(np.median(known), abs=1e-12)


def test_errors_and_empty_maps_are_said_in_words(studio: Studio) -> None:
    broken = ask(studio, "run-picture", picture=studio.ids[studio.places["broken-1.png"]], model=VGG)
    assert broken["target"] is None
    assert broken["rows"][3]["cells"] == [{"error": "InvalidImage: <no> JPEG"}] * len(METRICS)
    assert broken["rows"][0]["cells"] == [None] * len(METRICS)
    empty = ask(studio, "run-picture", picture=studio.ids[studio.places["picture-002.png"]])
    assert [row["reason"] for row in empty["rows"]] == ["", "all zero", "", ""]
    assert ask(studio, "run-picture", picture="one that was dropped")["measured"] is False


def test_pictures_stand_in_the_order_that_is_asked_for(studio: Studio) -> None:
    in_run = strip(studio)
    assert in_run == [(sample.name, None) for sample in studio.samples]
    drawn = table(RESNET, 0, 40, "insertion")
    for order, sign in (("best", -1), ("worst", 1)):
        shown = strip(studio, order=order, method="eigen-cam", metric="insertion")
        known = [(name, one["eigen-cam"]) for name, one in drawn.items() if one["eigen-cam"] == one["eigen-cam"]]
        assert shown[: len(known)] == sorted(known, key=lambda pair: sign * pair[1])
        assert {value for _, value in shown[len(known) :]} == {None}
        assert len(shown) == 44
    apart = strip(studio, order="apart", metric="average-drop", first=5, count=7)
    spread = {name: max(one.values()) - min(one.values()) for name, one in table(RESNET, 0, 40, "average-drop").items()}
    assert apart == [(n, pytest.approx(v)) for n, v in sorted(spread.items(), key=lambda pair: -pair[1])][5:12]
    with pytest.raises(InvalidOption, match="'nonsense' has no numbers"):
        strip(studio, order="best", method="eigen-cam", metric="nonsense")


def test_the_leaders_are_those_of_the_report(studio: Studio) -> None:
    summary = summary_of([*draw_cells(VGG, 24, 1)], settings_of(), VGG)
    for metric in METRICS:
        said = ask(studio, "run-leaders", model=VGG, metric=metric)["leaders"]
        assert sorted(one["method"] for one in said) == sorted(METHODS)
        for one in said:
            figure = summary[one["method"], metric]
            assert (one["rank"], one["like_best"], one["images"]) == (figure.rank, figure.like_best, figure.images)
            assert [one["mean"], one["low"], one["high"]] == pytest.approx([figure.mean, figure.low, figure.high])
        assert [one["rank"] for one in said] == sorted(one["rank"] for one in said)
    assert ask(studio, "run-leaders", model="demo/vit", metric="adcc")["leaders"] == []


def test_a_run_goes_on_and_is_damaged_while_it_is_looked_at(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REST", 0)
    store = Store(tmp_path, settings_of([RESNET], data={"dataset": "folder"}))
    store.note({"source": str(pictures), "weights": {}})
    with pytest.raises(InvalidOption, match="has no rows yet"):
        open_(tmp_path, None)
    cells = draw_cells(RESNET, 40, 0)
    store.add(cells[:160])
    studio = open_(tmp_path, None)
    picture = studio.ids[0]
    assert ask(studio, "run-picture", picture=picture)["pictures"] == 10
    store.add(cells[160:])
    assert ask(studio, "run-picture", picture=picture)["pictures"] == 40
    reading = studio.read()
    assert studio.read() is reading  # nothing is read twice
    whole = store.files[0].read_bytes()
    store.files[0].write_bytes(whole[:-9] + bytes(9))
    for _ in range(2):
        with pytest.raises(CorruptStore, match=r"parquet is damaged; remove it"):
            ask(studio, "run-picture", picture=picture)
    store.files[0].unlink()
    assert ask(studio, "run-picture", picture=picture)["pictures"] in (10, 30)
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(CorruptStore, match="can't be read as the settings"):
        ask(studio, "run-picture", picture=picture)


@pytest.mark.parametrize(
    ("data", "source", "line"),
    [
        ({"dataset": "folder"}, None, "does not say where its pictures are; say it with --folder"),
        ({"dataset": "folder"}, "gone", "the run's pictures are not in gone"),
        ({"dataset": "folder", "mosaics": {}}, None, "are mosaics.*limelight report"),
        ([{"dataset": "scenes"}, {"dataset": "folder"}], None, r"several data sets \(scenes, folder\)"),
        ({"dataset": "scenes", "n": 2}, None, "has a picture 'picture-000.png' that is not there"),
        ({"dataset": "scenes", "n": 2}, "gone", "are drawn; leave --folder out"),
    ],
)
def test_pictures_that_can_not_be_shown_are_a_line(tmp_path: Path, data: Any, source: str | None, line: str) -> None:
    Store(tmp_path, settings_of([RESNET], data=data)).add(draw_cells(RESNET, 1, 0))
    with pytest.raises(InvalidOption, match=line):
        open_(tmp_path, Path(source) if source else None)


# -- maps ------------------------------------------------------------------------------------------------

PREPROCESS = "[preprocess]\nresize_shorter = 110\ncenter_crop = 96\nmean = [0.4, 0.5, 0.6]\n"
IG = '[[methods]]\nname = "integrated-gradients"\nlabel = "ig"\nn = 3\n'


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Studio, of_run.Studio]:
    """A run of scenes, with a preprocessing and options of its own, the run as it is read, and its networks."""
    folder = tmp_path_factory.mktemp("measured")
    recipe = small(
        folder,
        data='[data]\ndataset = "scenes"\nn = 3\nseed = 40\n' + PREPROCESS,
        methods='[[methods]]\nname = "grad-cam"\nlayer = "layer2"\n' + IG,
        metrics='[[metrics]]\nname = "average-drop"\n[[metrics]]\nname = "deletion"\nstep = 960\n',
    )
    benchmark(read_recipe(recipe), folder / "run")
    studio = open_(folder / "run", None, folder / "made")
    ask(studio, "know", models=[{"name": RESNET, "labels": list(CLASSES), "classes": len(CLASSES)}])
    paths = {one: Path(studio.path(i)[0]) for i, one in enumerate(studio.ids)}
    loading = {"run": str(folder / "run"), "device": None, "trust": False, "weights": None}
    return folder, studio, of_run.Studio([RESNET], paths.__getitem__, loading)


def test_a_map_is_that_which_was_measured(run: tuple[Path, Studio, of_run.Studio]) -> None:
    _, studio, networks = run
    about = ask(studio, "opened")["about"]
    methods = {one["label"]: one for one in about["models"][RESNET]}
    assert {one["name"]: one["options"] for one in methods.values()} == {
        "grad-cam": {"layer": "layer2"},
        "integrated-gradients": {"n": 3},
    }
    for picture in studio.ids[:2]:
        ask(studio, "make", pictures=[picture])
        said = ask(studio, "run-picture", picture=picture)
        for row in said["rows"]:
            method = methods[row["method"]]
            request = {"picture": picture, "target": {"class": said["target"]}, "method": method["name"]}
            shown = ask(networks, "explain", of_run.FUNCTIONS, options=method["options"], **request)
            assert shown["probability"] == pytest.approx(said["probability"], abs=1e-5)
            assert shown["label"] == said["label"]
            told = networks.kept[shown["key"]]
            for metric, cell in zip(("average-drop", "deletion"), row["cells"], strict=True):
                options = {"step": 960} if metric == "deletion" else {}
                anew = build_metric(metric, **options).measure(
                    told.look.classifier, told.look.x, said["target"], told.saliency.map
                )
                assert float(anew.values) == pytest.approx(cell["value"], abs=1e-4)


def test_code_of_a_run_makes_the_map_again(run: tuple[Path, Studio, of_run.Studio]) -> None:
    _, studio, networks = run
    picture = studio.ids[0]
    ask(studio, "make", pictures=[picture])
    request = {"picture": picture, "target": {"class": 0}, "method": "grad-cam", "options": {"layer": "layer2"}}
    shown = ask(networks, "explain", of_run.FUNCTIONS, **request)
    assert shown["command"] is None
    space: dict[str, Any] = {}
    exec(shown["python"], space)
    told = networks.kept[shown["key"]]
    assert np.abs(space["explanation"].raw.numpy() - told.explanation.raw.numpy()).max() < 1e-6


def test_other_weights_are_refused(run: tuple[Path, Studio, of_run.Studio], tmp_path: Path) -> None:
    folder, _, _ = run
    store = Store(tmp_path, Store(folder / "run").settings)
    store.note({"weights": {RESNET: "sha256:other"}})
    networks = of_run.Studio([RESNET], cast(Any, None), {"run": str(tmp_path), "device": None, "trust": False})
    with pytest.raises(InvalidOption, match="demo/resnet: its weights are other than those that were measured"):
        networks.classifier(RESNET)


def test_what_the_network_has_wrong(run: tuple[Path, Studio, of_run.Studio]) -> None:
    _, studio, _ = run
    rights = [ask(studio, "run-picture", picture=one) for one in studio.ids]
    assert [one["truth"] for one in rights] == [CLASSES[cast(int, sample.label)] for sample in studio.samples]
    assert all(one["right"] == (one["truth"] == one["label"]) for one in rights)
    wrong = [name for (name, _), one in zip(strip(studio), rights, strict=True) if not one["right"]]
    assert [name for name, _ in strip(studio, wrong=True)] == wrong
    unsure = strip(studio, order="unsure")
    assert [value for _, value in unsure] == sorted(one["probability"] for one in rights)


def test_made_pictures_are_kept_for_a_while(
    run: tuple[Path, Studio, of_run.Studio], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, studio, _ = run
    monkeypatch.setattr(pictured, "MADE", 2)
    for picture in (0, 1, 0, 2):
        ask(studio, "make", pictures=[studio.ids[picture]])
    assert [Path(studio.path(i)[0]).exists() for i in range(3)] == [True, False, True]
    with pytest.raises(InvalidOption, match="none of the run's"):
        ask(studio, "make", pictures=["../../etc/passwd"])


# -- over HTTP -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def here_with_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    one = Here(tmp_path_factory.mktemp("own"), reader="web.pretend_run")
    try:
        yield one.open()
    finally:
        one.close()


def test_the_run_over_http(here: Here, here_with_run: Here) -> None:
    served = here_with_run
    assert served.get("api/start").json["run"] == {"models": {"a": [], "b": []}, "metrics": [], "judged": ["a", "b"]}
    shown = served.get("api/pictures").json["pictures"]
    assert [one["id"] for one in shown] == ["0", "1"]
    assert "\n" not in shown[0]["name"]
    assert served.post("api/run-picture", {"picture": "1", "model": "a"}).json["picture"] == "1"
    assert served.get("api/pictures/1/thumb").status == 200  # the file is there by now
    assert served.post("api/classify", {"picture": "1", "model": "a"}).json["size"] > 0
    for body, status, line in (
        ({"picture": "2", "model": "a"}, 404, "no picture"),
        ({"picture": "1", "model": "c"}, 404, "no model c"),
        ({"picture": "1", "model": "a", "path": "/etc"}, 400, "path"),
    ):
        refused = served.post("api/run-picture", body)
        assert (refused.status, line in refused.error) == (status, True)
    damaged = served.post("api/run-leaders", {"model": "a", "metric": "m"})
    assert (damaged.status, damaged.error) == (400, "the run is damaged")
    assert served.post("api/run-strip", {"model": "a", "count": 501}).status == 400
    nothing = here.post("api/run-picture", {"picture": "scene-1", "model": "a"})
    assert (nothing.status, "limelight serve --run DIR" in nothing.error) == (404, True)


def test_beside_a_run_nothing_else_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match=r"there is no run in .*: no settings.json"):
        serve(run=tmp_path)
    (tmp_path / "settings.json").touch()
    with pytest.raises(InvalidOption, match=r"--run brings the models .* leave --model out"):
        serve(["a"], run=tmp_path)
    with pytest.raises(InvalidOption, match="--run has its models loaded as they were measured; leave --size out"):
        serve(loading={"weights": "DEFAULT", "size": 96}, run=tmp_path)
