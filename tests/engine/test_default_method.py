"""Which method explains a network if nobody says."""

from pathlib import Path

import pytest
from torch import nn
from torchvision.models.swin_transformer import SwinTransformer

import limelight as ll
from cli.commands import run

NOTE = "method: generic-attention (the default for transformers)"


def windows() -> nn.Module:
    return SwinTransformer([4, 4], 8, [1, 1], [2, 2], [4, 4], num_classes=3).eval()


def test_a_transformer_is_explained_by_its_attention_and_it_is_said() -> None:
    classifier, picture = ll.load("demo/vit"), ll.example_image()
    found, named = ll.explain(classifier, picture), ll.explain(classifier, picture, "generic-attention")
    assert found.method == "generic-attention"
    assert found.map.equal(named.map)
    assert NOTE in found.notes
    assert NOTE not in named.notes


@pytest.mark.parametrize("name", ["a convolutional network", "windows", "a layer", "a classifier's layer"])
def test_others_are_explained_by_grad_cam(name: str) -> None:
    classifier = {
        "a convolutional network": lambda: ll.load("demo/resnet"),
        "windows": lambda: ll.Classifier(windows(), size=64),
        "a layer": lambda: ll.load("demo/vit"),
        "a classifier's layer": lambda: ll.load("demo/vit", layer="blocks.1"),
    }[name]()
    options = {"layer": "blocks.1"} if name == "a layer" else {}
    found = ll.explain(classifier, ll.example_image(), **options)
    assert found.method == "grad-cam"
    assert NOTE not in found.notes


def test_the_command_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ll.example_image().save(tmp_path / "a.png")
    assert run("explain", tmp_path / "a.png", "--model", "demo/vit", "--out", tmp_path / "b.png") == 0
    assert NOTE in capsys.readouterr().out
