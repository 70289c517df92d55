"""limelight train-head, as a user types it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.commands import run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, grey in (("dark", 40), ("light", 210)):
        for i in range(5):
            (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
            pixels = np.full((32, 32, 3), grey + 4 * i, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path / "photos"


def test_train_head(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "light.safetensors"
    common = ("train-head", folder, "--model", "demo/resnet", "--resize", "32x32", "--epochs", 20, "--rate", 0.1)
    assert run(*common, "--out", out) == 0
    printed = capsys.readouterr().out
    assert "2 classes: trained on 8 pictures, tested with 2" in printed
    assert "accuracy" in printed
    assert "precision" not in printed
    assert run(*common, "--out", out, "--test", folder, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["classes"] == ["dark", "light"]
    assert (told["trained_on"], told["tested_with"], told["kept"]) == (10, 10, 20)
    assert told["epochs"][-1]["accuracy"] == 1
    assert told["epochs"][-1]["precision"] is None
    assert run("explain", folder / "light/0.png", "--model", out, "--out", tmp_path / "map.png") == 0
    assert "light" in capsys.readouterr().out


def test_train_head_refuses(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ("train-head", folder, "--model", "demo/resnet", "--out", tmp_path / "light.safetensors")
    assert run(*common, "--resize", "32") == 2
    assert "expected ROWSxCOLUMNS" in capsys.readouterr().err
    assert run(*common, "--dataset", "cub200") == 2
    assert "images.txt" in capsys.readouterr().err
