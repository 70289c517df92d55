"""limelight evaluate, as a user types it: a folder, a table of labels and boxes, and what survives trouble."""

import importlib
import json
from pathlib import Path

import pytest
from PIL import Image

import limelight as ll
from cli.commands import run
from limelight.data.synthetic import test_split
from limelight.errors import InvalidOption


def test_evaluate_a_folder(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ("evaluate", pictures, "--model", "demo/resnet", "--methods", "grad-cam,fake-cam")
    out = tmp_path / "numbers.csv"
    assert run(*common, "--metrics", "adcc,complexity", "--out", out) == 0
    printed = capsys.readouterr()
    assert printed.err == ""  # no progress bar where nobody sees it
    assert "3 images, explained class: predicted" in printed.out
    assert "adcc/dataset/normalised" in printed.out
    assert "adcc of" in printed.out
    assert "adcc is pooled: the harmonic mean of these means" in " ".join(printed.out.split())
    assert "to judge" in printed.out
    assert len(out.read_text().splitlines()) == 1 + 3 * 2
    assert run(*common, "--metrics", "insertion", "--protocol", "aop", "--limit", 2, "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert [f["method"] for f in data["figures"]] == ["grad-cam", "fake-cam"]
    assert data["figures"][0]["images"] == 2
    assert "gauss-51-50" in data["protocols"]["insertion"]


def test_options_of_one_method(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = (
        "evaluate",
        pictures,
        "--model",
        "demo/resnet",
        "--methods",
        "grad-cam,grad-cam++",
        "--metrics",
        "complexity",
    )
    assert run(*common, "-p", "grad-cam++.layer=layer2", "--json") == 0
    methods = json.loads(capsys.readouterr().out)["settings"]["methods"]
    assert (methods["grad-cam"]["layer"], methods["grad-cam++"]["layer"]) == (None, "layer2")
    assert run(*common, "-p", "grad-cam.n=2") == 2
    assert "grad-cam has no option 'n'" in capsys.readouterr().err


def test_parts_of_a_pooled_metric_make_its_figure(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ("evaluate", pictures, "--model", "demo/resnet", "--methods", "grad-cam,eigen-cam", "--metrics", "adcc")
    assert run(*common, "--json") == 0
    data = json.loads(capsys.readouterr().out)
    for figure in data["figures"]:
        parts = data["parts"]["adcc"][figure["method"]]
        terms = (parts["coherency"], 1 - parts["complexity"], 1 - parts["average-drop"])
        assert figure["mean"] == pytest.approx(3 / sum(1 / t for t in terms))


def test_evaluate_takes_labels_and_boxes_from_a_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a truth the true class is explained, and boxes move with the picture."""
    lines = ["file,label,x1,y1,x2,y2"]
    some = [s for s in test_split(12) if len(s.objects) == 1][:4]
    for i, s in enumerate(some):
        Image.fromarray(s.image).resize((256, 256)).save(tmp_path / f"{i}.png")
        lines.append(",".join(map(str, (f"{i}.png", s.objects[0].name, *(2 * v for v in s.objects[0].box)))))
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    metrics = "pointing-game,proportion"
    arguments = ("--model", "demo/resnet", "--methods", "grad-cam,random-map", "--metrics", metrics, "--json")
    assert run("evaluate", tmp_path, *arguments) == 0
    figures = {(f["method"], f["metric"]): f["mean"] for f in json.loads(capsys.readouterr().out)["figures"]}
    assert figures["grad-cam", "pointing-game"] == 1
    assert figures["grad-cam", "proportion"] > figures["random-map", "proportion"]


def test_a_broken_picture_costs_no_finished_row(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limelight.api.rounds.IMAGES_AT_ONCE", 2)
    monkeypatch.setattr(importlib.import_module("limelight.cli.evaluate"), "check_readable", list)  # it breaks later
    (pictures / "2.png").write_bytes(b"no picture")
    out = tmp_path / "numbers.csv"
    common = ("--model", "demo/resnet", "--methods", "cam,grad-cam", "--metrics", "complexity")
    assert run("evaluate", pictures, *common, "--out", out, "--strict") == 2
    err = capsys.readouterr().err
    assert "the 4 rows that were finished are in" in " ".join(err.split())
    assert "2.png" in err.splitlines()[-1]
    assert len(out.read_text().splitlines()) == 1 + 4


def test_a_disk_that_is_full_takes_no_number_from_the_screen(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise InvalidOption("the disk is full")

    monkeypatch.setattr(ll.Results, "save", full)
    common = ("--model", "demo/resnet", "--methods", "cam", "--metrics", "complexity")
    assert run("evaluate", pictures, *common, "--out", tmp_path / "numbers.csv") == 2
    told = capsys.readouterr()
    assert "complexity/renormalize" in told.out
    assert "full" in told.err
