"""limelight choose, as a user types it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from cli.commands import run
from limelight.data.synthetic import test_split
from pages import check

QUICK = ("--model", "demo/resnet", "--methods", "grad-cam,hires-cam,lrp-epsilon-plus", "--metrics", "complexity")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for i, scene in enumerate(test_split(10)):
        Image.fromarray(scene.image).save(folder / f"{i}.png")
    return folder


def test_choose_tells_and_writes(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "new" / "choice.html"
    assert run("choose", photos, *QUICK[:-1], "complexity,average-drop", "--out", page) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "10 of 10 pictures, 1 round;" in said
    for word in ("complexity ↓", "average-drop ↓", "✓", "saved", "centre-map", str(page.name)):
        assert word in said
    assert "complexity decides" in said
    assert "What the maps look like" in check(page, script=True).text


def test_choose_as_json(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "choice.json"
    files = sorted(photos.iterdir())[:3]
    assert run("choose", *files, *QUICK, "--json", "--out", out, "--seed", 3) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["recommended"] in ("grad-cam", "hires-cam", "lrp-epsilon-plus")
    assert printed["given"] == 3
    assert printed["cautions"]
    written = json.loads(out.read_text())
    assert written["standings"] == printed["standings"]


def test_mistakes_are_one_line(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    cases: list[tuple[tuple[object, ...], str]] = [
        ((photos, *QUICK[:-1], "complexety"), "did you mean complexity"),
        ((photos, *QUICK[:3], "grad-cam,layercam"), "did you mean layer-cam"),
        ((photos, *QUICK[:3], "grad-cam"), "at least two methods"),
        ((tmp_path / "empty", *QUICK), "no picture"),
        ((photos, *QUICK, "--budget", "9"), '"5000 forwards" or "60 s"'),
        ((photos, *QUICK, "--budget", "9 forwards"), "does not pay for the first round"),
        ((photos, *QUICK, "--out", tmp_path / "x.pdf"), "must be .html or .json"),
    ]
    for arguments, message in cases:
        assert run("choose", *arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_what_is_finished_is_told_and_kept(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from limelight import api

    evaluate = api.evaluate

    def impatient(classifier, images, *rest, **options):  # type: ignore[no-untyped-def]
        """The key is pressed when the last pictures come."""
        if len(images) > 1:
            raise KeyboardInterrupt
        return evaluate(classifier, images, *rest, **options)

    monkeypatch.setattr(api, "evaluate", impatient)
    page = tmp_path / "choice.html"
    assert run("choose", photos, *QUICK, "--budget", "900 forwards", "--out", page) == 130
    printed = capsys.readouterr()
    assert "this is what was finished" in printed.err
    assert "1 of 10 pictures" in printed.out
    assert "interrupted" in check(page, script=True).text
