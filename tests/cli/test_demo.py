"""The first command that a newcomer runs."""

import contextlib
import io
import json
import os
import re
import shlex
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import limelight as ll
from limelight.cli import main
from limelight.data.synthetic import test_split as scenes_of_the_test_split
from limelight.pages.demo import page, photos
from limelight.pages.demo.chapter import Chapter
from limelight.pages.demo.scores import CONTROLS, EVALUATED, QUESTIONS
from limelight.pages.page import Section
from pages import check

pytestmark = pytest.mark.slow  # the whole demo


def run(*arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as done:
        main(list(arguments))
    return int(str(done.value.code)), out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("demo") / "deep" / "tour"
    start = time.perf_counter()
    code, out, err = run("demo", "--out", str(folder), "--json")
    assert (code, err) == (0, "")
    seconds = time.perf_counter() - start
    return SimpleNamespace(folder=folder, results=json.loads(out), page=check(folder / "index.html"), seconds=seconds)


def test_it_writes_what_it_says(demo: SimpleNamespace) -> None:
    assert demo.results["page"] == str(demo.folder / "index.html")
    named = {Path(file) for file in demo.results["files"]} | {demo.folder / "index.html"}
    assert named == {path for path in demo.folder.rglob("*") if path.is_file()}
    for file in named:
        if file.suffix == ".png":
            with Image.open(file) as image:
                image.load()
    for name in ("gallery.png", "watermark.png", "objects.png", "curves.png", "architectures.png"):
        assert demo.folder / name in named


def test_the_maps_can_be_read_again(demo: SimpleNamespace) -> None:
    shown = demo.results["methods"]["on_object"]
    assert {file.stem for file in (demo.folder / "maps").iterdir()} == set(shown)
    e = ll.Explanation.load(demo.folder / "maps" / "grad-cam.npz")
    first = scenes_of_the_test_split(1)[0]
    assert e.method == "grad-cam"
    # The network saw the scene pixel for pixel, so masks and maps lie on one another.
    assert np.abs(e.image.numpy().transpose(1, 2, 0) * 255 - first.image).max() < 1


def test_every_method_is_there_or_has_a_reason_not_to_be(demo: SimpleNamespace) -> None:
    found = demo.results["methods"]
    assert found["on_object"].keys() | found["left_out"].keys() == ll.methods().keys()
    assert not found["on_object"].keys() & found["left_out"].keys()
    for name in ll.methods():
        assert name in demo.page.text


def test_the_page_tells_the_measured_numbers(demo: SimpleNamespace) -> None:
    cheat, classes, methods = (demo.results[key] for key in ("cheat", "classes", "methods"))
    text = demo.page.text
    columns = ("stars_found_with", "stars_found_without", "others_called_star_with", "others_called_star_without")
    for name in ("hans", "resnet"):
        row = [str(cheat[name][f"{column}_stamp"]) for column in columns]
        assert f"demo/{name} {' '.join(row)} {cheat[name]['grad_cam_on_stamp']:.0%}" in text
    assert f"{cheat['hans']['stars_found_without_stamp']} of {cheat['stars']} stars are found by the cheating" in text
    assert f"{classes['grad-cam']['on_asked_object']:.0%} of a Grad-CAM lies on the object asked for" in text
    for name, share in methods["on_object"].items():
        assert re.search(rf"\s{re.escape(name)} [^%]+ (yes|no) {share:.0%}\s", text), name
    for name in ("resnet", "vgg", "vit"):
        row = demo.results["architectures"][name]
        assert f"demo/{name} {row['right']} {row['grad-cam']:.0%} {row['layer-cam']:.0%}" in text


def test_the_cheat_is_exposed(demo: SimpleNamespace) -> None:
    cheat = demo.results["cheat"]
    hans, honest = cheat["hans"], cheat["resnet"]
    assert hans["stars_found_with_stamp"] > 0.8 * cheat["stars"] > 4 * hans["stars_found_without_stamp"]
    assert honest["stars_found_without_stamp"] > 0.8 * cheat["stars"]
    assert hans["others_called_star_with_stamp"] > 2 * honest["others_called_star_with_stamp"]
    assert hans["grad_cam_on_stamp"] > 2 * max(cheat["stamp_area"], honest["grad_cam_on_stamp"])


def test_the_maps_follow_the_class_that_was_asked_for(demo: SimpleNamespace) -> None:
    grad, eigen = demo.results["classes"]["grad-cam"], demo.results["classes"]["eigen-cam"]
    assert grad["on_asked_object"] > 2 * grad["on_other_objects"]
    # A map that is the same for each of three objects gives each of them half of what it gives the other two.
    assert eigen["on_other_objects"] == pytest.approx(2 * eigen["on_asked_object"])


def test_fake_cam_gets_what_chance_would(demo: SimpleNamespace) -> None:
    methods = demo.results["methods"]
    assert methods["on_object"]["fake-cam"] == pytest.approx(methods["object_area"], rel=0.01)
    assert methods["on_object"]["grad-cam"] > 2 * methods["object_area"]


def test_maps_that_know_nothing_of_the_network_are_named(demo: SimpleNamespace) -> None:
    methods = demo.results["methods"]
    assert set(methods["blind"]) == set(CONTROLS)
    assert f"Of these methods {len(methods['on_object']) - 3} ask demo/resnet" in demo.page.text
    assert max(methods["on_object"][name] for name in CONTROLS) < methods["on_object"]["grad-cam"] / 2


def test_the_page_tells_how_far_maps_can_be_trusted(demo: SimpleNamespace) -> None:
    trust, text = demo.results["trust"], demo.page.text
    assert list(trust["figures"]) == [*EVALUATED, *CONTROLS]
    for metrics in (list(QUESTIONS)[:3], list(QUESTIONS)[3:]):
        for name, figures in trust["figures"].items():
            cells = [
                f"{f['mean']:.2f}{'*' if f['like_best'] else ''} ({f['low']:.2f}–{f['high']:.2f})"
                for f in (figures[metric] for metric in metrics)
            ]
            assert f"{name} {' '.join(cells)} " in text
    for metric, arrow in zip(QUESTIONS, "↑↑↓↑↑↓", strict=True):
        assert f" {metric} {arrow} " in text
        assert any(
            figures[metric]["rank"] == 1 and figures[metric]["like_best"] for figures in trust["figures"].values()
        )
    for name, found in trust["sanity"].items():
        assert re.search(
            rf"{name} {'passes' if found['passed'] else 'fails'} [^.]* similarity {found['similarity']:.2f}\b", text
        ), name
    for metric, lines in trust["curves"].items():
        (alt,) = (i["alt"] for i in demo.page.all("img") if (i["alt"] or "").startswith(f"Curves of {metric}"))
        for name, line in lines.items():
            assert f"{name} {line[2]:.2f}" in alt  # two of sixteen steps
        assert f"from {lines['grad-cam'][0]:.2f} to {lines['grad-cam'][-1]:.2f}" in alt
    for figures in trust["figures"].values():
        assert all(isinstance(value, int | float) for figure in figures.values() for value in figure.values())


def test_a_map_that_says_nothing_deceives_the_average_drop_and_not_adcc(demo: SimpleNamespace) -> None:
    figures = demo.results["trust"]["figures"]
    fake, grad = figures["fake-cam"], figures["grad-cam"]
    assert fake["average-drop"]["mean"] < 0.01 < grad["average-drop"]["mean"]
    assert fake["adcc"]["mean"] < 0.01
    assert grad["adcc"]["mean"] > 0.5
    assert min(grad["proportion"]["low"] - figures[name]["proportion"]["high"] for name in CONTROLS) > 0
    assert "average drop puts it first" in demo.page.text


def test_marks_of_maps_that_know_nothing_are_told(demo: SimpleNamespace) -> None:
    for name in CONTROLS:
        marked = [m for m in QUESTIONS if demo.results["trust"]["figures"][name][m]["like_best"]]
        told = re.search(rf"{name} by ([^;.]*)", demo.page.text.partition("have marks:")[2])
        assert re.findall(r"[\w-]+", told[1].replace(" and ", " ") if told else "") == marked


def test_the_sanity_check_catches_what_does_not_look_at_the_network(demo: SimpleNamespace) -> None:
    sanity = demo.results["trust"]["sanity"]
    assert sanity["grad-cam"]["passed"]
    assert not sanity["fake-cam"]["passed"]
    assert sanity["fake-cam"]["similarity"] == pytest.approx(1)


def test_it_finds_the_methods_that_coincide_on_a_pooled_linear_head(demo: SimpleNamespace) -> None:
    assert set(demo.results["methods"]["same_as_grad_cam"]) >= {"cam", "hires-cam", "xgrad-cam"}
    assert "layer-cam" not in demo.results["methods"]["same_as_grad_cam"]


def test_it_says_how_long_it_took(demo: SimpleNamespace) -> None:
    assert 0 < demo.results["seconds"] <= demo.seconds


def test_what_it_says_to_try_next_can_be_tried(
    demo: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in demo.results["next"]:
        assert command in demo.page.text
    for command in demo.results["next"][:3]:
        program, *arguments = shlex.split(command)
        code, _, err = run(*arguments)
        said = [line for line in err.splitlines() if " will take about " not in line]  # on a slow machine it is told
        assert (program, code, said) == ("limelight", 0, [])


def test_without_json_it_prints_the_findings_and_where_they_are(
    demo: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(out: Path) -> Chapter:
        (out / "gallery.png").write_text("new")
        return Chapter(Section("One", ["Text."]), {"n": 1}, "Seen: 1 of 1.")

    monkeypatch.setattr(page, "CHAPTERS", (short,))
    (tmp_path / "gallery.png").write_text("from an earlier run")
    code, out, err = run("demo", "--out", str(tmp_path))
    assert (code, err) == (0, "")
    assert "Seen: 1 of 1." in out
    assert str(tmp_path / "index.html") in out
    assert "limelight explain" in out
    assert (tmp_path / "gallery.png").read_text() == "new"


@pytest.mark.parametrize("inside", ["", "folder"])
def test_a_file_in_the_way_is_one_clear_line(tmp_path: Path, inside: str) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    code, out, err = run("demo", "--out", str(file / inside))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "--out" in err
    assert file.read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda _, mode: mode != os.W_OK)  # permissions do not bind the superuser
    code, _, err = run("demo", "--out", str(tmp_path))
    assert code == 2
    assert "not writable" in err
    assert not list(tmp_path.iterdir())


def test_photographs_that_packages_ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    all_photos = photos.photographs()
    assert all(photo.ndim == 3 and photo.dtype == np.uint8 for photo in all_photos.values())
    two = {name: all_photos[name] for name in ("cat", "coffee")}
    monkeypatch.setattr(photos, "photographs", lambda: two)
    code, out, err = run("demo", "--photos", "--out", str(tmp_path), "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert (told["answers"]["cat"]["label"], told["answers"]["coffee"]["label"]) == ("tiger cat", "espresso")
    assert told["rather_than"][0] == "tiger cat"
    assert told["trust"]["grad-cam"]["insertion"] > told["trust"]["random-map"]["insertion"]
    text = check(tmp_path / "index.html").text
    assert f"{told['answers']['coffee']['probability']:.2f}" in text
    assert all(Path(file).exists() for file in told["files"])
    assert all(command in text for command in told["next"])
