"""The lists of recipes and data sets, and the check of what lies on disk."""

import json
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from limelight import cli


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        cli.main([str(a) for a in arguments])
    return int(left.value.code or 0)


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
