"""The methods of a race where none are named."""

from typing import Any

import pytest

import limelight as ll
from limelight.bench.candidates import FLOOR, USUAL
from limelight.bench.choose import choose
from limelight.data.synthetic import scenes


@pytest.fixture(scope="module")
def model() -> Any:
    return ll.load("demo/resnet")


def test_usual_methods_that_the_model_can_have(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limelight.bench.candidates.MOST_PASSES", 4)
    found = choose(model, scenes(2), None, "complexity")
    names = {s.method for s in found.standings}
    assert {"grad-cam", "layer-cam", *FLOOR} <= names
    assert "more than 4 passes" in found.left_out["collection-cam"]
    assert not names & set(found.left_out)
    assert names | set(found.left_out) == {*USUAL, *FLOOR}
