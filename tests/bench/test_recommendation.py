"""What is said beside a recommendation, and what is never recommended."""

from typing import Any

import pytest

import limelight as ll
from limelight.bench.candidates import FLOOR
from limelight.bench.choose import choose
from limelight.data.synthetic import scenes
from limelight.errors import InvalidOption


@pytest.fixture(scope="module")
def model() -> Any:
    return ll.load("demo/resnet")


def test_too_few_pictures_are_said_to_be(model: Any) -> None:
    found = choose(model, scenes(3), ["grad-cam", "lrp-epsilon-plus"], "complexity")
    # 1 round, 3 tests: 3 / 2**n is below 0.05 from 6 pictures on.
    assert any("3 pictures are too few" in c and "takes 6" in c for c in found.cautions)
    assert not any(s.dropped for s in found.standings)


def test_what_is_no_better_than_the_floor_is_said_to_be(model: Any) -> None:
    found = choose(model, scenes(12), ["gradient", "input-x-gradient"], "adcc")
    assert found.recommended not in FLOOR
    said = " ".join(found.cautions)
    assert f"{found.recommended} is not clearly better than random-map" in said
    assert "fake-cam" not in said


def test_baselines_are_never_recommended(model: Any) -> None:
    found = choose(model, scenes(8), ["gradient", "input-x-gradient", "fake-cam"], "average-drop")
    assert found["fake-cam"].figures["average-drop"][0] < found[found.recommended].figures["average-drop"][0]
    assert found["fake-cam"].floor
    assert found.recommended in ("gradient", "input-x-gradient")
    with pytest.raises(InvalidOption, match="at least two methods"):
        choose(model, scenes(8), ["grad-cam", "fake-cam", "centre-map"], "complexity")
