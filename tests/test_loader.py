"""Models that are given by their names, in rooms that can't import the zoo."""

from pathlib import Path

import pytest
from torch import nn

from limelight import loader
from limelight.model.classifier import Classifier, as_classifier


def test_a_name_goes_to_the_loader_that_was_registered_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "_registered", loader._registered.copy())
    names: list[str] = []

    def load(name: str) -> Classifier:
        names.append(name)
        return Classifier(nn.Flatten(), name=f"my {name}")

    loader.register_loader(load)
    assert as_classifier("own/net").name == "my own/net"
    assert as_classifier(Path("net.pt2")).name == "my net.pt2"
    assert names == ["own/net", "net.pt2"]
    other = Classifier(nn.Flatten())
    assert as_classifier(other) is other
    assert len(names) == 2


def test_the_package_registers_the_zoo() -> None:
    assert as_classifier("demo/vgg").name == "demo/vgg"
