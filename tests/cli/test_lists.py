"""The lists of methods, metrics, models, recipes and data sets, and the check of what lies on disk."""

import json
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from cli.commands import run


def test_recipes_are_listed_and_run_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("recipes", "--json") == 0
    known = json.loads(capsys.readouterr().out)
    assert {"demo", "adcc-table2", "collection-cam-table1"} <= known.keys()
    assert run("recipes") == 0
    told = capsys.readouterr().out
    assert all(name in told for name in known)
    assert run("recipes", "demo") == 0
    assert tomllib.loads(capsys.readouterr().out)["name"] == "demo"
    assert run("recipes", "dmo") == 2
    assert "did you mean demo" in capsys.readouterr().err
    assert run("benchmark", "dmo", "--out", tmp_path / "run") == 2
    assert "did you mean demo" in capsys.readouterr().err
    assert run("benchmark", tmp_path, "--out", tmp_path / "run") == 2
    assert "folder" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_what_a_data_set_lacks_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("datasets") == 0
    told = capsys.readouterr().out
    assert "coco2014" in told
    assert max(map(len, told.splitlines())) <= 120  # also where the terminal's width is not known
    assert run("datasets", "ucm") == 0
    assert "UC Merced" in capsys.readouterr().out
    assert run("datasets", "cub") == 2
    assert "did you mean cub200" in capsys.readouterr().err
    assert run("datasets", "--data", tmp_path) == 2
    assert "NAME" in capsys.readouterr().err
    folder = tmp_path / "UCMerced_LandUse" / "Images" / "beach"
    folder.mkdir(parents=True)
    Image.new("RGB", (256, 256)).save(folder / "beach00.tif")
    assert run("datasets", "ucm", "--data", tmp_path) == 1
    assert "0 of 420 pictures" in capsys.readouterr().out
    assert run("datasets", "ucm", "--data", tmp_path, "--split", "train") == 1
    assert "1 of 1680 pictures" in capsys.readouterr().out
    (tmp_path / "mine" / "star").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(tmp_path / "mine" / "star" / "1.png")
    assert run("datasets", "folder", "--data", tmp_path / "mine") == 0
    assert "complete" in capsys.readouterr().out
    assert run("datasets", "folder", "--data", tmp_path / "nothing", "--json") == 1
    assert "nothing" in json.loads(capsys.readouterr().out)["missing"][0]


def test_methods_say_which_take_a_budget(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("methods", "--json") == 0
    able = {c["name"] for c in json.loads(capsys.readouterr().out) if c["anytime"]}
    assert {"rise", "smooth-grad", "score-cam", "emp", "i-gos", "aop", "sigcam"} <= able
    assert not {"grad-cam", "lrp", "integrated-gradients"} & able
    assert run("methods", "sigcam") == 0
    assert "takes a budget" in capsys.readouterr().out
    assert run("methods", "grad-cam") == 0
    assert "takes a budget" not in capsys.readouterr().out


def test_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("methods") == 0
    assert "grad-cam++" in capsys.readouterr().out
    assert run("methods", "grad-cam++", "--json") == 0
    found = json.loads(capsys.readouterr().out)["options"]
    assert [(o["name"], o["default"]) for o in found] == [("variant", "'paper'"), ("eps", "0.0")]
    assert run("methods", "grad-cam++") == 0
    told = " ".join(capsys.readouterr().out.split())
    for part in (
        "Grad-CAM++: Generalized",
        "https://arxiv.org/abs/1710.11063",
        "a number, at least 0",
        "1 pass back to",
    ):
        assert part in told
    assert run("models", "demo/", "--json") == 0
    assert {"demo/hans", "demo/resnet", "demo/vgg", "demo/vit"} == set(json.loads(capsys.readouterr().out))
    assert run("models", "demo/resnet", "--layers", "--json") == 0
    layers = json.loads(capsys.readouterr().out)
    assert [layer["layer"] for layer in layers if layer["default"]] == ["layer4"]
    assert layers[-1]["map"] == "16x16"
    assert run("models", "demo/resnet", "--layers") == 0
    assert "layer4" in capsys.readouterr().out
    assert run("--version") == 0


def test_metrics_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("metrics") == 0
    printed = capsys.readouterr().out
    for name in ("insertion", "pointing-game", "sanity-cascading", "adcc"):
        assert name in printed
    assert run("metrics", "insertion") == 0
    printed = capsys.readouterr().out
    assert "higher is better; from 0 to 1" in printed
    assert "protocol aop: fill=gauss-51-50" in printed
    assert run("metrics", "--json") == 0
    assert {c["name"] for c in json.loads(capsys.readouterr().out)} >= {"road", "grid-pg"}
    assert run("metrics", "insertio") == 2
    assert "did you mean insertion" in capsys.readouterr().err
