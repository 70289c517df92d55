"""limelight explain, as a user types it: pictures, plans, layers, weights, and a real network."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cli.commands import run
from conftest import shared
from limelight import draw


def test_explain_writes_a_picture(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.png"
    assert run("explain", scene, "--model", "demo/resnet", "--method", "layer-cam", "-p", "gamma=3", "--out", out) == 0
    settings = json.loads(draw.read_png_metadata(out)["limelight"])
    assert settings["options"]["gamma"] == 3
    assert settings["model"] == "demo/resnet"
    printed = capsys.readouterr().out
    assert "layer-cam" in printed
    assert "1 F + 1 R_t" in printed


def test_dry_run_lists_operations_without_a_rule(scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("explain", scene, "--model", "demo/vit", "--method", "lrp-comp", "--dry-run") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "without a rule: scaled_dot_product_attention in blocks.0.attn" in said
    assert run("explain", scene, "--model", "demo/resnet", "--method", "lrp", "--dry-run", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["operations"]["conv"] == plan["operations"]["batch_norm"] == 13
    assert plan["unruled"] == {}
    assert run("explain", scene, "--model", "demo/vit", "--method", "lrp-comp", "-p", "strict=true") == 2
    assert "no rule for scaled_dot_product_attention" in capsys.readouterr().err


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


def test_weights_that_are_not_numbers(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torchvision
    from safetensors.torch import save_file

    net = torchvision.models.squeezenet1_1(weights=None)
    net.features[3].squeeze.weight.data.fill_(torch.nan)
    save_file(net.state_dict(), tmp_path / "nan.safetensors")
    out = tmp_path / "x.png"
    model = ("--model", "torchvision/squeezenet1_1", "--weights", tmp_path / "nan.safetensors")
    assert run("explain", scene, *model, "--out", out) == 2
    assert "its weights are not finite: features.3.squeeze.weight" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.skipif(torch.__version__ < "2.6", reason="its pickled weights are refused")
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


@pytest.mark.slow
def test_vision_transformer_without_reshape(scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.npz"
    model = ("--model", "torchvision/vit_b_32", "--weights", "none")
    assert run("explain", scene, *model, "--method", "hires-cam", "--out", out) == 0
    assert np.load(out)["raw"].shape == (7, 7)


def test_a_class_against_another(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import limelight as ll

    asked = ["explain", str(scene), "-m", "demo/resnet", "--target", "star", "--against", "0"]
    wanted = {"": ll.targets.margin("star", "circle"), "--finer": ll.targets.finer("star", others="circle")}
    for more, target in wanted.items():
        assert run(*asked, *more.split(), "--out", str(tmp_path / "a.npz")) == 0
        raw = ll.Explanation.load(tmp_path / "a.npz").raw
        assert raw.equal(ll.explain("demo/resnet", scene, "grad-cam", target).raw)
    capsys.readouterr()
    for wrong, said in ((asked[:4] + asked[6:], "Name it with --target"), ([*asked[:6], "--finer"], "--against")):
        assert run(*wrong) == 2
        assert said in capsys.readouterr().err
