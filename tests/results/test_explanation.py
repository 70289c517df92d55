"""What a user holds: the map, and what is known of it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import architectures
import limelight as ll
from limelight import errors
from results.one_explanation import explain_once


@pytest.fixture(scope="module")
def explanation() -> ll.Explanation:
    return explain_once()


def test_says_what_it_is(explanation: ll.Explanation) -> None:
    assert explanation.label == "cat"
    assert explanation.target == 2
    assert explanation.map.shape == architectures.SIZE
    assert explanation.raw.shape == (10, 14)
    assert explanation.image.shape == (3, *architectures.SIZE)
    assert str(explanation.cost) == "3 F + 2 R_t"
    assert explanation.cost.forwards == 3
    assert 0 < explanation.cost.backwards < 2  # the way from the layer on is shorter than from the input
    assert explanation.seconds > 0
    assert repr(explanation).startswith("Explanation(smooth-grad-cam++ of cat")


def test_provenance_is_complete(explanation: ll.Explanation) -> None:
    settings = explanation.settings()
    assert settings["options"] | {"n": 2, "seed": 3, "sigma": 0.3, "layer": None} == settings["options"]
    assert settings["layers"] == ["features"]
    assert settings["weights"].startswith("sha256:")
    assert settings["versions"]["torch"] == str(torch.__version__)
    assert settings["protocol"] == "relu/minmax@input/bilinear"
    assert json.loads(json.dumps(settings)) == settings


def test_pictures_of_every_kind(tmp_path: Path) -> None:
    c = ll.Classifier(architectures.build("residual"), size=48)
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    picture.save(tmp_path / "p.png")
    expected = ll.explain(c, picture).raw
    for same in (pixels, tmp_path / "p.png", str(tmp_path / "p.png"), torch.from_numpy(pixels).permute(2, 0, 1)):
        torch.testing.assert_close(ll.explain(c, same).raw, expected)
    with pytest.raises(errors.InvalidImage, match="channels last"):
        ll.explain(c, pixels.transpose(2, 0, 1))
