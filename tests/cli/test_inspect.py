"""The command that inspects a data set: what it says where nothing can be proven, and what it refuses."""

import json
from pathlib import Path

import pytest
from PIL import Image

from cli.commands import run
from limelight.data.synthetic import test_split

FILES = {"page.html", "pictures.csv", "strategies.csv", "fiftyone.json", "findings.json"}
MODEL = ("--model", "demo/hans")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures of a class."""
    (tmp_path / "photos" / "star").mkdir(parents=True)
    for i, scene in enumerate(test_split(2)):
        Image.fromarray(scene.image).save(tmp_path / "photos" / "star" / f"{i}.png")
    return tmp_path / "photos"


def test_too_few_pictures_prove_nothing_and_one_that_cannot_be_read_is_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "star" / "bad.png").write_bytes(b"no picture")
    before: dict[str, bytes] = {}
    for again in (False, True):
        assert run("inspect", folder, *MODEL, "--out", tmp_path / "out") == 1
        said = capsys.readouterr()
        assert "No strategy is proven" in said.out
        assert "strategies take 5" in " ".join(said.out.split())
        assert ("0 explained, 3 were there" if again else "3 explained, 0 were there") in said.out
        assert said.err.count("bad.png is not a picture") == 1
        files = {name: (tmp_path / "out" / name).read_bytes() for name in FILES}
        assert files == (before or files)
        before = files
    notes = json.loads((tmp_path / "out" / "notes.json").read_text())
    assert {**notes, "source": str(folder), "model": "demo/hans", "load": {"weights": "DEFAULT"}} == notes
    assert run("inspect", folder, "--model", "demo/resnet", "--out", tmp_path / "out") == 2
    assert "holds rows of other settings: model is 'demo/hans' there" in capsys.readouterr().err


def test_what_is_printed_for_programs(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", folder, *MODEL, "--out", tmp_path / "out", "--limit", 1, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["verdicts"], printed["strategies"], printed["progress"]["pictures"]) == ([], [], 1)
    assert printed["page"] == str(tmp_path / "out" / "page.html")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--class", "house"), "there is no class 'house'"),
        (("--class", "9"), "no picture is explained for the class '9'"),
        (("-p", "gamm=2"), "grad-cam has no option 'gamm'"),
        (("--dataset", "imagenett"), "there is no data set 'imagenett'"),
        (("--of", "labels"), "of = 'labels'; there are label, prediction"),
        (("--out", "photos"), "is a file that is read"),
    ],
)
def test_mistakes_on_the_command_line(
    more: tuple[str, ...],
    message: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder.parent)
    assert run("inspect", folder, *MODEL, "--out", "out", *more) == 2
    complaint = capsys.readouterr().err
    assert message in complaint
    assert complaint.count("\n") == 1
