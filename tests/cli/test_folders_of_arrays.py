"""Folders of arrays and scans, for networks that take values."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import limelight as ll
from limelight import cli
from limelight.errors import InvalidImage


class First(nn.Module):
    """Likes the first channel, by the mean of which it tells two classes apart."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 2, 1, bias=False)
        with torch.no_grad():
            self.conv.weight.zero_()[:, 0, 0, 0] = torch.tensor([1.0, -1.0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).relu().mean((2, 3))


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int | str | None, str, str]:
    with pytest.raises(SystemExit) as end:
        cli.main([str(one) for one in arguments])
    out, err = capsys.readouterr()
    return end.value.code, out, err


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return ll.save(ll.Classifier(First(4), size=8), tmp_path / "first.pt2")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Three arrays, each bright at another place of its first channel."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for i in range(3):
        values = np.zeros((8, 8, 4), np.float32)
        values[2 * i, 2 * i, 0] = 1
        np.save(folder / f"{i}.npy", values)
    return folder


def test_each_is_explained(model: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "maps"
    code, said, _ = run(capsys, "explain", scans, "--model", model, "--trust", "--target", "0", "--out", out, "--json")
    assert code == 0
    assert [Path(one["image"]).name for one in json.loads(said)] == ["0.npy", "1.npy", "2.npy"]
    for i in range(3):
        (explanation,) = ll.explain(ll.load(model, trust=True), [scans / f"{i}.npy"], "grad-cam", 0)
        assert int(explanation.map.argmax()) == 2 * i * 8 + 2 * i
        assert (out / f"{i}.grad-cam.png").exists()


def test_each_is_judged(model: Path, scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--methods", "grad-cam", "--metrics", "complexity", "--json", "--strict")
    code, said, _ = run(capsys, "evaluate", scans, "--model", model, "--trust", *options)
    assert code == 0
    assert json.loads(said)["figures"][0]["images"] == 3
    assert len(ll.evaluate(ll.load(model, trust=True), scans, ["grad-cam"], ["complexity"]).rows) == 3


def test_beside_pictures_they_must_be_named(model: Path, scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ll.example_image().save(scans / "preview.png")
    for command in ("explain", "evaluate", "sanity"):
        code, _, said = run(capsys, command, scans, "--model", model, "--trust")
        assert (code, said.count("\n")) == (2, 1)
        assert f"{scans} holds pictures (preview.png) and arrays or scans (0.npy); name the files" in said
    with pytest.raises(InvalidImage, match="holds pictures"):
        ll.evaluate(ll.load(model, trust=True), scans, ["grad-cam"], ["complexity"])


def test_networks_of_colour_take_pictures(scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = run(capsys, "explain", scans, "--model", "demo/resnet", "--out", tmp_path / "maps")
    assert code == 2
    assert "none of 3 pictures can be read" in said
    ll.example_image().save(scans / "a.png")
    assert run(capsys, "explain", scans, "--model", "demo/resnet", "--out", tmp_path / "b.png")[0] == 0
