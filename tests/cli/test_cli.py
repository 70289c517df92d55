"""Help, and what is said of mistakes, whatever the command."""

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from cli.commands import run
from limelight import cli
from limelight.errors import LimelightDeprecationWarning


@pytest.fixture
def mistakes(scene: Path, tmp_path: Path) -> dict[str, tuple[list[object], str]]:
    text = tmp_path / "note.jpg"
    text.write_text("This is no picture.")
    empty = tmp_path / "empty"
    empty.mkdir()
    resnet = ["--model", "demo/resnet"]
    return {
        "a text file as picture": (["explain", text, *resnet], "note.jpg"),
        "a missing picture": (["explain", tmp_path / "scen.png", *resnet], "scen.png"),
        "an empty folder": (["explain", empty, *resnet], "empty"),
        "an unknown method": (["explain", scene, *resnet, "--method", "gradcam"], "did you mean grad-cam"),
        "an unknown option": (["explain", scene, *resnet, "-p", "gamma=2"], "no option 'gamma'"),
        "an option without value": (["explain", scene, *resnet, "-p", "gamma"], "expected option=value"),
        "an option of absurd size": (
            ["explain", scene, *resnet, "--method", "rise", "-p", f"n_masks={10**9}"],
            "n_masks",
        ),
        "an option out of range": (["explain", scene, *resnet, "-p", "batch_size=0"], "batch_size"),
        "an unknown label": (["explain", scene, *resnet, "--target", "stra"], "did you mean star"),
        "an unknown layer": (["explain", scene, *resnet, "--layer", "layer9"], "no layer 'layer9'"),
        "an unknown model": (["explain", scene, "--model", "demo/resnett"], "demo/resnet"),
        "an unknown zoo": (["explain", scene, "--model", "zoo/resnet"], "torchvision"),
        "an unknown view": (["explain", scene, *resnet, "--view", "pretty"], "no view 'pretty'"),
        "a suffix that is no picture": (["explain", scene, *resnet, "--out", tmp_path / "x.tif"], "suffix"),
        "no model": (["explain", scene], "--model"),
        "an unknown flag": (["explain", scene, "--modle", "x"], "--modle"),
        "an unknown command": (["explian", scene], "explian"),
        "layers of nothing": (["models", "--layers"], "NAME"),
        "one file for two pictures": (["explain", scene, scene, *resnet, "--out", tmp_path / "x.png"], "folder"),
        "compare with an unknown method": (["compare", scene, *resnet, "--methods", "cam,cma"], "cma"),
    }


def test_mistakes_get_one_clear_line(
    mistakes: dict[str, tuple[list[object], str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for what, (arguments, expected) in mistakes.items():
        assert run(*arguments) == 2, what
        captured = capsys.readouterr()
        assert captured.out == "", what
        assert captured.err.count("\n") == 1, f"{what}: {captured.err}"
        assert captured.err.startswith("limelight: "), what
        assert expected in captured.err, f"{what}: {captured.err}"
        assert sorted(tmp_path.rglob("*")) == before, f"{what} left something behind"


def test_what_packages_tell_programmers_is_not_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an old open_clip does while it is imported; our own news of what will go away is for everybody."""

    def available() -> dict[str, list[str]]:
        warnings.warn("import it from elsewhere", FutureWarning, stacklevel=2)
        warnings.warn("--x goes away", LimelightDeprecationWarning, stacklevel=2)
        return {}

    monkeypatch.setattr("limelight.zoo.available", available)
    assert run("models", "demo/nothing") == 2
    err = capsys.readouterr().err
    assert "elsewhere" not in err
    assert "--x goes away" in err


@pytest.mark.parametrize("command", sorted(c.name or "" for c in cli.app.registered_commands))
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    assert f"limelight {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "{photos}", "-m", "demo/resnet", "--metrics", "adc"), "did you mean adcc"),
        (("evaluate", "{photos}", "-m", "demo/resnet", "--methods", "gradcam"), "did you mean grad-cam"),
        (("evaluate", "{photos}", "-m", "demo/resnet", "--metrics", "proportion"), "proportion needs truth="),
        (("evaluate", "{photos}", "-m", "demo/resnet", "--protocol", "nonsense"), "has a protocol 'nonsense'"),
        (("evaluate", "{photos}", "-m", "demo/resnet", "--out", "x.xls"), "suffix must be"),
        (("evaluate", "nowhere", "-m", "demo/resnet"), "nowhere"),
        (("evaluate", "{photos}", "-m", "demo/resnet", "--target", "label"), "the true class of 0.png is not known"),
        (("sanity", "{photos}", "-m", "demo/resnet", "--mode", "sideways"), "there are cascading and independent"),
        (("compare", "{photos}/0.png", "-m", "demo/resnet", "--metrics", "proportion"), "proportion needs truth="),
        (("compare", "{photos}/0.png", "-m", "demo/resnet", "--out", "x.jpg"), "the picture is a .png"),
    ],
)
def test_mistakes_in_judging_are_one_line(
    arguments: tuple[str, ...], message: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*(a.replace("{photos}", str(pictures)) for a in arguments)) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert message in err


def test_threads_wait_in_their_sleep_unless_somebody_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    code = "import os, sys, limelight.__main__ as m; sys.argv = ['limelight', '--version']\n"
    code += "try: m.main()\nfinally: print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"

    def say() -> str:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert "1000 False" in say()  # before PyTorch is loaded
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert "7 False" in say()
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert "None False" in say()
