"""limelight explain --concepts: a sheet for each picture, its numbers, and what does not go with it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from cli.commands import run
from limelight import draw


def test_a_sheet_and_its_numbers(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "others").mkdir()
    Image.open(scene).save(tmp_path / "others" / "a.png")
    (tmp_path / "others" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    out = tmp_path / "x.png"
    common = ("explain", scene, "-m", "demo/vgg", "--concepts", 2, "--out", out, "-p", "crops=1")
    assert run(*common, "--reference", tmp_path / "others", "--json") == 1
    (row, broken) = json.loads(capsys.readouterr().out)
    assert row["file"] == str(out)
    assert broken["image"].startswith("broken.png")
    assert json.loads(draw.read_png_metadata(out)["limelight"])["concepts"] == row["concepts"]
    first, second = row["concepts"]
    assert abs(first["share"]) >= abs(second["share"]) > 0
    assert [crop["picture"] for crop in first["crops"]] == ["a.png"]
    assert run(*common) == 0
    assert f"{first['share']:+.1%} {first['concept']}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--concepts", 2, "--method", "lrp", "--plain"), "leave --method, --plain out"),
        (("--concepts", 2, "-p", "crop=2"), "-p crop: concepts have no such option; did you mean crops"),
        (("--concepts", 200), "layer 'features' has 96 channels"),
        (("--reference", "x"), "--reference goes with --concepts N"),
    ],
)
def test_refused(scene: Path, more: tuple[object, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("explain", scene, "-m", "demo/vgg", *more) == 2
    assert message in capsys.readouterr().err
