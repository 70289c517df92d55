"""limelight compare, as a user types it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import limelight as ll
from cli.commands import run
from limelight import draw
from limelight.data.synthetic import test_split


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


def test_compare_judges_and_draws_curves(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "c.png"
    common = (scene, "-m", "demo/resnet", "--methods", "grad-cam,fake-cam", "--out", out)
    assert run("compare", *common, "--metrics", "adcc,insertion") == 0
    printed = capsys.readouterr().out
    assert "adcc ↑" in printed
    assert "adcc of   coherency  complexity  average-drop" in printed
    assert "to judge" in printed
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


def test_compare_watches_another_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The curve of B while A's pixels leave, beside that of A; its numbers are those of Python."""
    scene = test_split(4, objects=2)[3]  # a circle and a triangle, both seen
    picture, out = tmp_path / "two.png", tmp_path / "c.png"
    Image.fromarray(scene.image).save(picture)
    common = (picture, "-m", "demo/resnet", "--methods", "grad-cam,eigen-cam", "--metrics", "deletion", "--out", out)
    assert run("compare", *common, "--target", "circle", "--watch", "triangle", "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["protocols"]["cross-deletion"].startswith("cross-deletion/triangle/")
    watching = ll.metric("cross-deletion", watch="triangle")
    _, results = ll.compare("demo/resnet", picture, ["grad-cam", "eigen-cam"], ["deletion", watching], "circle")
    for method, row in zip(data["methods"], results.rows, strict=True):
        assert method["metrics"] == pytest.approx(row.values)
    # Grad-CAM takes the circle away and leaves the triangle; Eigen-CAM, which asks for no class, takes the triangle.
    circle, none = results.values("cross-deletion")[:, 0]
    assert circle > 2 * none
    assert run("compare", *common, "--target", "circle", "--watch", "tringle") == 2
    assert "did you mean triangle" in capsys.readouterr().err


def test_compare_by_a_protocol_and_with_options_of_one_method(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = (scene, "-m", "demo/resnet", "--methods", "grad-cam,layer-cam", "--out", tmp_path / "c.png", "--json")
    options = ("-p", "layer=layer3", "-p", "layer-cam.layer=layer2")
    assert run("compare", *common, "--metrics", "deletion", "--protocol", "aop", *options) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["protocols"]["deletion"].startswith("deletion/gauss-51-50/")
    assert [m["options"]["layer"] for m in data["methods"]] == ["layer3", "layer2"]
    _, same = ll.compare("demo/resnet", scene, "grad-cam", "deletion", protocol="aop")
    assert same.columns["deletion"].protocol == data["protocols"]["deletion"]
    assert run("compare", *common, "--metrics", "deletion", "--protocol", "apo") == 2
    assert "none of these metrics has a protocol 'apo'" in capsys.readouterr().err
    assert run("compare", *common, "--metrics", "none", "--protocol", "apo") == 2
    assert "none of these methods has a protocol 'apo'" in capsys.readouterr().err
    assert run("compare", *common, "-p", "layr-cam.layer=layer2") == 2
    assert "is none of the methods here; did you mean layer-cam" in " ".join(capsys.readouterr().err.split())


def test_compare_of_two_models(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One under the other, each with its name and its own numbers."""
    out = tmp_path / "c.png"
    common = ("compare", scene, "--methods", "grad-cam,eigen-cam", "--metrics", "complexity", "--out", out)
    assert run(*common, "-m", "demo/resnet", "-m", "demo/vgg", "--json") == 0
    both = json.loads(capsys.readouterr().out)
    assert [one["model"] for one in both["models"]] == ["demo/resnet", "demo/vgg"]
    rows = json.loads(draw.read_png_metadata(out)["limelight"])
    with Image.open(out) as drawn:
        height = drawn.height
    for one, row, name in zip(both["models"], rows, ("demo/resnet", "demo/vgg"), strict=True):
        assert run(*common, "-m", name, "--json") == 0
        alone = json.loads(capsys.readouterr().out)
        assert [m["metrics"] for m in one["methods"]] == [m["metrics"] for m in alone["methods"]]
        assert [e["metrics"] for e in row] == [m["metrics"] for m in alone["methods"]]
    with Image.open(out) as drawn:
        assert height > 2 * drawn.height
    assert run(*common, "-m", "demo/resnet", "-m", "demo/vgg") == 0
    printed = capsys.readouterr().out
    assert printed.index(", demo/resnet") < printed.index(", demo/vgg")
    assert run(*common, "-m", "demo/resnet", "-m", "demo/vgg", "--weights", out) == 2
    assert "can't be the weights of 2 models" in " ".join(capsys.readouterr().err.split())


def test_compare_outlines_the_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mask as large as the picture is drawn, and judged by; one of another size is refused."""
    (scene,) = test_split(1)
    picture, mask, out = tmp_path / "star.png", tmp_path / "mask.png", tmp_path / "c.png"
    Image.fromarray(scene.image).save(picture)
    Image.fromarray(scene.mask_of(scene.label)).save(mask)
    common = (picture, "-m", "demo/resnet", "--methods", "grad-cam", "--out", out)
    assert run("compare", *common, "--metrics", "none") == 0
    plain = np.asarray(Image.open(out)).astype(int)
    assert run("compare", *common, "--metrics", "none", "--truth", mask) == 0
    changed = (np.asarray(Image.open(out)) != plain).any(-1)
    assert 0 < changed.mean() < 0.1
    capsys.readouterr()
    assert run("compare", *common, "--metrics", "proportion,pointing-game", "--truth", mask, "--json") == 0
    numbers = json.loads(capsys.readouterr().out)["methods"][0]["metrics"]
    assert numbers["pointing-game"] == 1
    assert numbers["proportion"] > 0.2
    # Two objects of a class: each has its own line, and both are judged by.
    other, second = np.zeros((128, 128), np.uint8), tmp_path / "other.png"
    other[4:20, 4:30] = 255
    Image.fromarray(other).save(second)
    both = ("--truth", mask, "--truth", second)
    assert run("compare", *common, "--metrics", "proportion", *both, "--json") == 0
    assert json.loads(capsys.readouterr().out)["methods"][0]["metrics"]["proportion"] >= numbers["proportion"]
    assert (np.asarray(Image.open(out)) != plain).any(-1).sum() > changed.sum()
    Image.new("L", (5, 5), 255).save(mask)
    assert run("compare", *common, "--metrics", "none", "--truth", mask) == 2
    assert "must agree" in capsys.readouterr().err


@pytest.mark.slow
def test_compare_takes_the_quick_methods(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless asked for by name or as 'all', methods of many passes are left out, with the reason."""
    monkeypatch.setattr("limelight.cli.arguments.QUICK", 3)
    out = tmp_path / "c.png"
    assert run("compare", scene, "-m", "demo/resnet", "--metrics", "none", "--json", "--out", out) == 0
    found = json.loads(capsys.readouterr().out)
    assert "grad-cam" in {row["method"] for row in found["methods"]}
    assert "more than 3 passes" in found["left_out"]["score-cam"]
    # What relevance propagation takes depends on the signs of what it meets; its card says what is usual.
    assert all(row["cost"]["forwards"] + row["cost"]["backwards"] <= 6 for row in found["methods"])
