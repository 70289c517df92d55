"""Which methods the demonstration shows."""

import pytest

import limelight as ll
from limelight.data.synthetic import test_split as split
from limelight.pages.demo import methods


def test_dear_methods_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "MAX_PASSES", 5)
    scene = split(1)[0]
    usable, left_out = methods.select_methods(ll.load("demo/resnet"), scene)
    assert "grad-cam" in usable
    assert "more than 5 passes" in left_out["smooth-grad-cam++"]
