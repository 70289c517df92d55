"""Candidate boxes: what a user may give, and the network's confidence in each."""

import numpy as np
import pytest
from PIL import Image

from api.red_pictures import picture_of, redness
from limelight.api.proposing import propose
from limelight.errors import InvalidOption


def test_confidence_is_the_probability_of_the_stretched_box() -> None:
    picture, model = picture_of((10, 10, 30, 30)), redness((64, 64))
    boxes = [(5, 5, 45, 25), (0, 0, 160, 120)]
    p = propose(model, picture, "grad-cam", "red", boxes=boxes)
    for box, confidence in zip(boxes, p.confidences, strict=True):
        crop = Image.fromarray(picture).crop(box)
        expected = model(model.preprocess(crop)[None]).double().softmax(1)[0, 0]
        assert confidence == pytest.approx(float(expected), abs=1e-6)


def test_bad_boxes_and_targets() -> None:
    picture = picture_of((10, 10, 30, 30))
    for boxes, message in (
        ([(0, 0, 5)], "finite numbers"),
        ([(0, 0, float("nan"), 5)], "finite numbers"),
        ([(5, 5, 5, 9)], "covers nothing"),
        ([(200, 0, 260, 50)], "covers nothing of the picture of 160 x 120"),
    ):
        with pytest.raises(InvalidOption, match=message):
            propose(redness(), picture, "grad-cam", "red", boxes=boxes)
    with pytest.raises(InvalidOption, match="class as target"):
        propose(redness(), picture, target=lambda out: out[:, 0])
    empty = propose(redness(), picture, "grad-cam", "red", boxes=np.zeros((0, 4)))
    assert empty.choices == (None,)


def test_given_boxes_are_cut_at_the_edge_and_taken_once() -> None:
    boxes = [(100, 0, 200, 50), (-5, -5, 30, 30), (0, 0, 30.2, 29.8)]
    p = propose(redness(), picture_of((10, 10, 20, 20)), "grad-cam", "red", boxes=boxes)
    assert p.candidates.tolist() == [[100, 0, 160, 50], [0, 0, 30, 30]]
