"""limelight sanity, as a user types it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from cli.commands import run


def test_sanity(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "strip.png"
    common = ("sanity", pictures, "--model", "demo/resnet", "--methods", "grad-cam,fake-cam", "--out", out)
    assert run(*common, "--limit", 2) == 0
    printed = capsys.readouterr().out
    assert "pass  grad-cam" in printed
    assert "FAIL  fake-cam  the map stays: similarity 1.00" in printed
    with Image.open(out) as strip:
        assert strip.width > 4 * strip.height / 2
    assert run(*common, "--mode", "independent", "--layers", "conv", "--reset", "ae", "--limit", 1, "--json") == 0
    verdicts = json.loads(capsys.readouterr().out)["verdicts"]
    assert [v["method"] for v in verdicts if not v["passed"]][-1] == "fake-cam"
