"""An inspection on the page: which one is shown, what it says of a picture, and its own page and tables, no more."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from PIL import Image

from limelight.bench.store import Store
from limelight.errors import CorruptStore, InvalidOption
from limelight.pages.inspection import write_exports, write_inspection
from limelight.web.guard import POLICY
from limelight.web.inspection import EXPORTS, as_served, refuse_beside
from limelight.web.serve import serve
from limelight.web.studio import of_inspection
from limelight.web.studio.inspection import FUNCTIONS, Studio
from limelight.zoo import load
from report.inspections import NAMES, inspection

from .conftest import Here

SETTINGS = {"limelight inspect": 1, "model": "demo/x", "weights": "sha256:0"}


Copy = Callable[..., Path]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    Store(folder, SETTINGS)
    one = inspection()
    write_exports(one, folder)
    write_inspection(one, folder / "page.html")
    return folder


@pytest.fixture
def copy(written: Path, tmp_path: Path) -> Copy:
    """Copy the inspection, with what is noted of where its pictures are."""

    def make(name: str = "out", **notes: Any) -> Path:
        folder = shutil.copytree(written, tmp_path / name)
        Store(folder).note({"model": "demo/x", "options": {"layer": "layer2"}, **notes})
        return folder

    return make


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All pictures of the first class but one."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "cats").mkdir()
    for name in NAMES[1:30]:
        Image.new("RGB", (4, 4)).save(folder / name)
    return folder


def open_(folder: Path, source: Path | None = None) -> Studio:
    settings = {"inspection": str(folder), "source": source and str(source), "made": "nowhere"}
    return Studio([], cast(Any, None), settings)


def ask(studio: Studio, function: str, **request: Any) -> Any:
    *_, (kind, said) = FUNCTIONS[function](cast(Any, studio), {"model": "demo/x"} | request)
    json.dumps(said, allow_nan=False)
    assert kind == "result"
    return said


def test_a_picture_has_its_class_and_strategies(copy: Copy, photos: Path) -> None:
    """Strategies by hand: cats 0 to 19, 15 to 29, all, and 20 to 24; their first six are examples."""
    studio = open_(copy(source=str(photos)))
    about = ask(studio, "opened")["about"]
    assert (about["method"], about["options"]) == ("grad-cam", {"layer": "layer2"})
    assert [(one["name"], one["proven"], one["pictures"]) for one in about["strategies"]] == [
        *(("cat 1", True, 20), ("cat 2", False, 15), ("cat (all)", False, 30), ("cat 3", False, 5))
    ]
    said = ask(studio, "inspection-picture", picture="15")
    assert (said["name"], said["target"], said["strategies"]) == ("cats/15.png", 0, [0, 1, 2])
    assert said["probability"] == pytest.approx(0.5 + 0.5 * 15 / 29)
    assert ask(studio, "inspection-picture", picture="33")["error"] == "it is damaged"
    assert ask(studio, "inspection-picture", picture="one that was dropped")["inspected"] is False
    strip = ask(studio, "inspection-strip", strategy=1, first=1, count=3)
    assert (strip["total"], [one["name"] for one in strip["pictures"]]) == (15, NAMES[16:19])
    assert ask(studio, "inspection-strip", strategy=None, first=0, count=500)["total"] == 34
    with pytest.raises(InvalidOption, match="no strategy 4; there are 4"):
        ask(studio, "inspection-strip", strategy=4, first=0, count=1)


def test_a_picture_that_is_gone_has_a_path_in_the_folder(copy: Copy, photos: Path) -> None:
    folder = copy(source=str(photos))
    findings = json.loads((folder / "findings.json").read_text())
    findings["pictures"][30:32] = ["../../etc/passwd", "/etc/passwd"]
    (folder / "findings.json").write_text(json.dumps(findings))
    paths = [Path(path) for *_, path, _ in ask(open_(folder), "opened")["pictures"]]
    assert paths[0] == photos / "cats" / "00.png"
    assert not paths[0].exists()
    assert all(path.parent in (photos, photos / "cats") for path in (*paths[:32], paths[1]))


def test_pictures_that_are_not_there_are_a_line(copy: Copy, tmp_path: Path, photos: Path) -> None:
    silent, moved = copy("silent"), copy("moved", source=str(tmp_path / "gone"))
    for folder, source, line in (
        (silent, None, "does not say where its pictures are; say it with --folder"),
        (moved, None, "the inspection's pictures are not in .*gone; say with --folder where they are now"),
        (silent, photos / "cats", r"none of the inspection's pictures \(cats/00.png, …\) is in .*; is --folder right"),
    ):
        with pytest.raises(InvalidOption, match=line):
            open_(folder, source)


def test_findings_that_are_damaged_are_a_line(copy: Copy) -> None:
    folder = copy()
    path = folder / "findings.json"
    beyond = json.loads(path.read_text())
    beyond["strategies"][0]["members"][0] = 34
    for text in ("{", '{"method": 1}', json.dumps(beyond)):
        path.write_text(text)
        with pytest.raises(CorruptStore, match=r"can't be read as the findings .*; run `limelight inspect` again"):
            open_(folder)


@pytest.mark.parametrize(
    ("settings", "lacks", "given", "line"),
    [
        (None, "", {}, "there is no inspection in .*; give the --out of `limelight inspect`"),
        ({"recipe": {}}, "", {}, "is a run of `limelight benchmark` and no inspection; say --run"),
        (SETTINGS, "findings.json", {}, "is not finished: no findings.json; run `limelight inspect` again"),
        (SETTINGS, "page.html", {}, "is not finished: no page.html; run `limelight inspect` again"),
        (SETTINGS, "", {"loading": {"size": 64}}, "--inspection has its models loaded .*; leave --size out"),
        (SETTINGS, "", {"run": Path("runs")}, "--run and --inspection have a page each; leave one out"),
    ],
)
def test_what_is_no_finished_inspection_is_a_line(
    settings: Any, lacks: str, given: Any, line: str, tmp_path: Path
) -> None:
    for name in {"settings.json", "findings.json", "page.html"} - {lacks}:
        (tmp_path / name).write_text(json.dumps(settings))
    with pytest.raises(InvalidOption, match=line):
        serve(inspection=tmp_path, **given)


def test_an_inspection_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps(SETTINGS))
    with pytest.raises(InvalidOption, match=r"is an inspection and no run .* say --inspection"):
        serve(run=tmp_path)


# -- the network -----------------------------------------------------------------------------------------


def test_the_network_is_told_by_its_weights(copy: Copy) -> None:
    folder = copy(load={"size": [64, 64], "trust": True})
    how = refuse_beside(folder, [], {"weights": "DEFAULT", "device": None, "trust": False})
    assert how == {"size": [64, 64], "trust": False, "noted": True}  # a stranger's word is no trust

    def studio(*models: str, **loading: Any) -> of_inspection.Studio:
        return of_inspection.Studio(models, cast(Any, None), {"inspection": str(folder), "noted": True, **loading})

    for one, line in (
        (studio("demo/vgg"), "the weights of demo/x are other than those that were inspected; inspect it again"),
        (studio("demo/vgg", noted=False), "none of the models has the weights .*; name demo/x with --model, too"),
        (studio("mine.pt2"), "the inspection names files for mine.pt2, which are opened with `--trust` only"),
        (
            studio("mine.pt2", trust=True),
            "the inspection's model: there is no file .*; say with --model what it is now",
        ),
    ):
        with pytest.raises(InvalidOption, match=line):
            one.inspected()
    Store(folder).note({"model": None})
    with pytest.raises(InvalidOption, match="Net, which was inspected, was given as a module; say with --model"):
        studio("Net").inspected()
    weights = f"sha256:{load('demo/resnet').weights_hash()}"
    (folder / "settings.json").write_text(json.dumps(SETTINGS | {"weights": weights}))
    assert studio("demo/vgg", "demo/resnet", noted=False).inspected() == "demo/resnet"


# -- over HTTP -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, written: Path) -> Iterator[Here]:
    folder = tmp_path_factory.mktemp("own")
    shutil.copytree(written, folder / "inspection")
    one = Here(folder, reader="web.pretend_run", kind="inspection")
    try:
        yield one.open()
    finally:
        one.close()


def test_the_page_and_the_tables_over_http(served: Here) -> None:
    folder = served.folder / "inspection"
    start = served.get("api/start").json
    assert (start["run"], start["inspection"]["model"]) == (False, "b")
    page = served.get("inspection.html")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["content-security-policy"] == POLICY
    for name, kind in (("page.css", "text/css"), ("page.js", "text/javascript"), ("scatter.js", "text/javascript")):
        part = served.get(f"inspection/{name}")
        assert (part.status, part.headers["content-type"]) == (200, f"{kind}; charset=utf-8")
        assert part.body.decode().strip() in (folder / "page.html").read_text()  # nothing of it is lost
        assert f'"inspection/{name}"' in page.body.decode()
    for name, kind in EXPORTS.items():
        got = served.get(f"inspection/{name}")
        assert (got.status, got.body) == (200, (folder / name).read_bytes())
        assert got.headers["content-disposition"] == f'attachment; filename="{name}"'
        assert got.headers["content-type"].startswith(kind)
    assert served.post("api/inspection-picture", {"picture": "1", "model": "b"}).json["picture"] == "1"


@pytest.mark.parametrize(
    ("status", "path"),
    [
        *((404, f"inspection/{name}") for name in ("settings.json", "notes.json", "rows", "page.html", "%2e%2e/own")),
        *((404, f"inspection/{name}") for name in ("rows/0.parquet", "../inspection/notes.json", "..%2fnotes.json")),
        (404, "api/inspection-picture"),
    ],
)
def test_nothing_else_of_the_folder_is_given_away(status: int, path: str, served: Here) -> None:
    (served.folder / "inspection" / "rows").mkdir(exist_ok=True)
    (served.folder / "inspection" / "rows" / "0.parquet").touch()
    answer = served.get(path)
    assert (answer.status, bool(answer.error)) == (status, True)


def test_who_may_ask_and_where_there_is_none(served: Here, here: Here) -> None:
    for name in ("inspection.html", "inspection/pictures.csv"):
        assert served.get(name, headers={"origin": "http://evil.example"}).status == 403
        assert served.get(name, token="guessed").status == 404
        nothing = here.get(name)
        assert (nothing.status, "limelight serve --inspection DIR shows one" in nothing.error) == (404, True)
    asked = here.post("api/inspection-picture", {"picture": "scene-1", "model": "a"})
    assert (asked.status, "--inspection DIR" in asked.error) == (404, True)
    assert served.post("api/run-picture", {"picture": "1", "model": "a"}).status == 404
    kept = served.folder / "inspection" / "fiftyone.json"
    shutil.move(kept, kept.with_suffix(".kept"))
    gone = served.get("inspection/fiftyone.json")
    shutil.move(kept.with_suffix(".kept"), kept)
    assert (gone.status, "fiftyone.json: No such file" in gone.error) == (404, True)


def test_no_script_of_a_page_is_left() -> None:
    page, style = as_served(
        '<head><meta http-equiv="x" content="y"><style>a {}</style></head><body><script>alert("<style>")</script>'
        "<header></header><style>b {}</style></body>"
    )
    assert style == "a {}\nb {}"
    assert "alert" not in page
    assert "<meta" not in page
    assert page.count("<script") == page.count('<script src="') == 3
