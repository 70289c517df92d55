"""The commands as a user types them: what they write, print and refuse."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import shared
from limelight import cli, draw
from limelight.data.synthetic import test_split


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "scene.png"
    Image.fromarray(test_split(1)[0].image).save(path)
    return path


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as done:
        cli.main([str(a) for a in arguments])
    code = done.value.code
    return code if isinstance(code, int) else 0


def test_explain_writes_a_picture(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.png"
    assert run("explain", scene, "--model", "demo/resnet", "--method", "layer-cam", "-p", "gamma=3", "--out", out) == 0
    settings = json.loads(draw.read_png_metadata(out)["limelight"])
    assert settings["options"]["gamma"] == 3
    assert settings["model"] == "demo/resnet"
    printed = capsys.readouterr().out
    assert "layer-cam" in printed
    assert "1 F + 1 R_t" in printed


def test_explain_several_as_json(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a", "b"):
        Image.open(scene).save(folder / f"{name}.jpg")
    common = ("--model", "demo/resnet", "--target", "star", "--json", "--view", "signed", "--plain")
    assert run("explain", folder, *common, "--out", tmp_path / "maps") == 0
    results = json.loads(capsys.readouterr().out)
    assert [r["label"] for r in results] == ["star", "star"]
    for r in results:
        with Image.open(r["file"]) as picture:
            assert picture.size == (128, 128)


def test_layers_on_the_command_line(scene: Path, tmp_path: Path) -> None:
    for suffix in ("npz", "json"):
        out = tmp_path / f"x.{suffix}"
        layers = "layer1,layer4"
        assert run("explain", scene, "-m", "demo/resnet", "--method", "layer-cam", "--layer", layers, "--out", out) == 0
    assert json.loads(out.read_text())["layers"] == ["layer1", "layer4"]
    assert np.load(tmp_path / "x.npz")["map"].shape == (128, 128)


def test_compare(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "c.png"
    assert run("compare", scene, "--model", "demo/vgg", "--out", out) == 0
    printed = capsys.readouterr().out
    assert "smooth-grad-cam++" in printed
    assert "left out: cam needs" in printed  # the network has no pooled linear head
    (row,) = json.loads(draw.read_png_metadata(out)["limelight"])
    assert "cam" not in [e["method"] for e in row]
    assert run("compare", scene, "-m", "demo/vit", "--methods", "grad-cam, layer-cam", "--json", "--out", out) == 0
    data = json.loads(capsys.readouterr().out)
    assert [m["method"] for m in data["methods"]] == ["grad-cam", "layer-cam"]


def test_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("methods") == 0
    assert "grad-cam++" in capsys.readouterr().out
    assert run("methods", "grad-cam++", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["options"] == {"variant": "'paper'", "eps": "0.0"}
    assert run("models", "demo/", "--json") == 0
    assert {"demo/hans", "demo/resnet", "demo/vgg", "demo/vit"} == set(json.loads(capsys.readouterr().out))
    assert run("models", "demo/resnet", "--layers", "--json") == 0
    layers = json.loads(capsys.readouterr().out)
    assert [layer["layer"] for layer in layers if layer["default"]] == ["layer4"]
    assert layers[-1]["map"] == "16x16"
    assert run("models", "demo/resnet", "--layers") == 0
    assert "layer4" in capsys.readouterr().out
    assert run("--version") == 0


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


def test_weights_that_are_not_numbers(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch
    import torchvision

    net = torchvision.models.squeezenet1_1(weights=None)
    net.features[3].squeeze.weight.data.fill_(torch.nan)
    torch.save(net.state_dict(), tmp_path / "nan.pt")
    out = tmp_path / "x.png"
    model = ("--model", "torchvision/squeezenet1_1", "--weights", tmp_path / "nan.pt")
    assert run("explain", scene, *model, "--out", out) == 2
    assert "its weights are not finite: features.3.squeeze.weight" in capsys.readouterr().err
    assert not out.exists()


def test_help_is_quick() -> None:
    """Under a second also on a slow machine: nothing heavy is imported (see test_house)."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "limelight", "--help"], capture_output=True, check=True, text=True)
        times.append(time.perf_counter() - start)
    assert "explain" in done.stdout
    assert min(times) < 1


@pytest.mark.parametrize("command", ["demo", "explain", "compare", "methods", "models"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    assert f"limelight {command}" in capsys.readouterr().out


def test_real_network_and_real_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The animal is lit: most of the map's energy lies on the half of the picture where it is."""
    weights = shared("data", "squeezenet1_0_imagenet.pt")
    photo = shared("data", "imagenet-samples", "n02085620_chihuahua.jpg")
    out = tmp_path / "x.npz"
    model = ("--model", "torchvision/squeezenet1_0", "--weights", weights)
    assert run("explain", photo, *model, "--method", "layer-cam", "--out", out, "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["label"] == "Chihuahua"
    values = np.load(out)["map"]
    head = values[:112, 112:].sum() / values.sum()  # the dog's head is in the upper right quarter
    assert head > 0.5


def test_vision_transformer_without_reshape(scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.npz"
    model = ("--model", "torchvision/vit_b_32", "--weights", "none")
    assert run("explain", scene, *model, "--method", "hires-cam", "--out", out) == 0
    assert np.load(out)["evidence"].shape == (7, 7)
