"""The commands as a user types them: what they write, print and refuse."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import limelight as ll
from conftest import shared
from limelight import cli, draw
from limelight.data.synthetic import test_split
from limelight.errors import InvalidOption


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


def test_dry_run_lists_operations_without_a_rule(scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("explain", scene, "--model", "demo/vit", "--method", "lrp", "--dry-run") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "without a rule: scaled_dot_product_attention in blocks.0.attn" in said
    assert run("explain", scene, "--model", "demo/resnet", "--method", "lrp", "--dry-run", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["operations"]["conv"] == plan["operations"]["batch_norm"] == 13
    assert plan["unruled"] == {}
    assert run("explain", scene, "--model", "demo/vit", "--method", "lrp", "-p", "strict=true") == 2
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


@pytest.mark.slow
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


@pytest.mark.parametrize("command", sorted(c.name or "" for c in cli.app.registered_commands))
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


@pytest.mark.slow
def test_vision_transformer_without_reshape(scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.npz"
    model = ("--model", "torchvision/vit_b_32", "--weights", "none")
    assert run("explain", scene, *model, "--method", "hires-cam", "--out", out) == 0
    assert np.load(out)["evidence"].shape == (7, 7)


# -- judging ---------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, scene in enumerate(test_split(3)):
        Image.fromarray(scene.image).save(folder / f"{i}.png")
    return folder


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


def test_compare_judges_and_draws_curves(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "c.png"
    common = (scene, "-m", "demo/resnet", "--methods", "grad-cam,fake-cam", "--out", out)
    assert run("compare", *common, "--metrics", "adcc,insertion") == 0
    assert "adcc ↑" in capsys.readouterr().out
    with Image.open(out) as drawn:
        height = drawn.height
    assert run("compare", *common, "--metrics", "none", "--json") == 0
    with Image.open(out) as drawn:
        assert drawn.height < height - 300  # no curves
    assert json.loads(capsys.readouterr().out)["methods"][0]["metrics"] == {}
    assert run("compare", *common, "--metrics", "complexity,average-drop", "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["methods"][1]["metrics"]["complexity"] > 0.99
    assert data["protocols"]["complexity"].startswith("complexity/")
    (row,) = json.loads(draw.read_png_metadata(out)["limelight"])
    assert row[1]["metrics"] == data["methods"][1]["metrics"]


def test_evaluate_a_folder(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ("evaluate", pictures, "--model", "demo/resnet", "--methods", "grad-cam,fake-cam")
    out = tmp_path / "numbers.csv"
    assert run(*common, "--metrics", "adcc,complexity", "--out", out) == 0
    printed = capsys.readouterr()
    assert printed.err == ""  # no progress bar where nobody sees it
    assert "3 images, explained class: predicted" in printed.out
    assert "adcc/dataset/normalised" in printed.out
    assert len(out.read_text().splitlines()) == 1 + 3 * 2
    assert run(*common, "--metrics", "insertion", "--protocol", "aop", "--limit", 2, "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert [f["method"] for f in data["figures"]] == ["grad-cam", "fake-cam"]
    assert data["figures"][0]["images"] == 2
    assert "gauss-51-50" in data["protocols"]["insertion"]


def test_evaluate_takes_labels_and_boxes_from_a_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a truth the true class is explained, and boxes move with the picture."""
    lines = ["file,label,x1,y1,x2,y2"]
    some = [s for s in test_split(12) if len(s.objects) == 1][:4]
    for i, s in enumerate(some):
        Image.fromarray(s.image).resize((256, 256)).save(tmp_path / f"{i}.png")
        lines.append(",".join(map(str, (f"{i}.png", s.objects[0].name, *(2 * v for v in s.objects[0].box)))))
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    metrics = "pointing-game,proportion"
    arguments = ("--model", "demo/resnet", "--methods", "grad-cam,random-map", "--metrics", metrics, "--json")
    assert run("evaluate", tmp_path, *arguments) == 0
    figures = {(f["method"], f["metric"]): f["mean"] for f in json.loads(capsys.readouterr().out)["figures"]}
    assert figures["grad-cam", "pointing-game"] == 1
    assert figures["grad-cam", "proportion"] > figures["random-map", "proportion"]


def test_sanity(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "strip.png"
    common = ("sanity", pictures, "--model", "demo/resnet", "--methods", "grad-cam,fake-cam", "--out", out)
    assert run(*common, "--limit", 2) == 0
    printed = capsys.readouterr().out
    assert "pass  grad-cam" in printed
    assert "FAIL  fake-cam  the map stays: similarity 1.00" in printed
    with Image.open(out) as strip:
        assert strip.width > 4 * strip.height / 2
    assert run(*common, "--mode", "independent", "--layers", "conv", "--limit", 1, "--json") == 0
    verdicts = json.loads(capsys.readouterr().out)["verdicts"]
    assert [v["method"] for v in verdicts if not v["passed"]][-1] == "fake-cam"


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


def test_a_broken_picture_costs_no_finished_row(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limelight.api.evaluating.IMAGES_AT_ONCE", 2)
    monkeypatch.setattr(importlib.import_module("limelight.cli.evaluate"), "all_read", list)  # it breaks later
    (pictures / "2.png").write_bytes(b"no picture")
    out = tmp_path / "numbers.csv"
    common = ("--model", "demo/resnet", "--methods", "cam,grad-cam", "--metrics", "complexity")
    assert run("evaluate", pictures, *common, "--out", out, "--strict") == 2
    err = capsys.readouterr().err
    assert "the 4 rows that were finished are in" in " ".join(err.split())
    assert "2.png" in err.splitlines()[-1]
    assert len(out.read_text().splitlines()) == 1 + 4


def test_a_disk_that_is_full_takes_no_number_from_the_screen(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise InvalidOption("the disk is full")

    monkeypatch.setattr(ll.Results, "save", full)
    common = ("--model", "demo/resnet", "--methods", "cam", "--metrics", "complexity")
    assert run("evaluate", pictures, *common, "--out", tmp_path / "numbers.csv") == 2
    told = capsys.readouterr()
    assert "complexity/renormalize" in told.out
    assert "full" in told.err


def test_compare_takes_the_quick_methods(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless asked for by name or as 'all', methods of many passes are left out, with the reason."""
    monkeypatch.setattr("limelight.cli.output.QUICK", 3)
    out = tmp_path / "c.png"
    assert run("compare", scene, "-m", "demo/resnet", "--metrics", "none", "--json", "--out", out) == 0
    found = json.loads(capsys.readouterr().out)
    assert "grad-cam" in {row["method"] for row in found["methods"]}
    assert "more than 3 passes" in found["left_out"]["score-cam"]
    # What relevance propagation takes depends on the signs of what it meets; its card says what is usual.
    assert all(row["cost"]["forwards"] + row["cost"]["backwards"] <= 6 for row in found["methods"])
