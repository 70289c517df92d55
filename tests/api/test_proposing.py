"""Boxes at the peaks of a map: which box each peak gets."""

import numpy as np
from PIL import Image

import limelight as ll
from api.red_pictures import picture_of, redness
from limelight.api.proposing import propose
from limelight.data.synthetic import TEST_SEEDS, scenes


def test_one_box_around_everything_is_every_peaks_box() -> None:
    picture = picture_of((10, 10, 30, 30), (100, 70, 120, 90))
    p = propose(redness(), picture, "grad-cam", "red", boxes=[(0, 0, 160, 120)])
    assert len(p.peaks) == 2
    assert p.choices == (0, 0)
    assert p.boxes.tolist() == [[0, 0, 160, 120]] == p.plain.tolist()  # proposed once


def test_a_box_without_a_peak_is_never_chosen() -> None:
    picture = picture_of((10, 10, 30, 30))
    away, around = (40, 40, 80, 80), (0, 0, 60, 60)
    p = propose(redness(), picture, "grad-cam", "red", boxes=[away, around])
    assert p.choices == (1,)
    alone = propose(redness(), picture, "grad-cam", "red", boxes=[away])
    assert alone.choices == (None,)
    assert alone.boxes.shape == alone.plain.shape == (0, 4)


def test_of_the_boxes_at_a_peak_the_surest_is_chosen() -> None:
    picture = picture_of((10, 10, 30, 30), (100, 70, 120, 90))
    boxes = [(0, 0, 60, 60), (10, 10, 30, 30), (0, 0, 160, 120), (95, 65, 125, 95), (60, 5, 90, 40)]
    p = propose(redness(), picture, "grad-cam", "red", boxes=boxes)
    assert p.boxes.tolist() == [[10, 10, 30, 30], [95, 65, 125, 95]]
    assert p.confidences[1] == max(p.confidences)
    for peak, choice in zip(p.peaks, p.choices, strict=True):
        holding = [i for i, (x0, y0, x1, y1) in enumerate(boxes) if x0 <= peak[0] < x1 and y0 <= peak[1] < y1]
        assert choice == max(holding, key=lambda i: p.confidences[i])


def test_without_the_map_it_is_the_surest_boxes() -> None:
    picture = picture_of((10, 10, 30, 30), (100, 70, 130, 100))
    boxes = [(0, 0, 60, 60), (12, 12, 28, 28), (12, 12, 28, 32), (95, 60, 145, 110)]
    p = propose(redness(), picture, "grad-cam", "red", boxes=boxes)
    assert sorted(p.chosen) == [1, 3]
    assert p.plain.tolist() == [[12, 12, 28, 28], [12, 12, 28, 32]]  # both on one object


def test_a_map_without_evidence_has_no_peaks() -> None:
    p = propose(redness(), picture_of(), "grad-cam", "red")
    assert p.explanation.degenerate
    assert p.choices == ()
    assert len(p.candidates)
    assert "no evidence" in p.panels()[0].caption


def test_a_tensor_is_its_own_original() -> None:
    demo = ll.load("demo/resnet")
    scene = scenes(1, seed=TEST_SEEDS)[0]
    x = demo.preprocess(Image.fromarray(scene.image))
    one, other = (propose(demo, image, "grad-cam", scene.label) for image in (x, scene.image))
    assert one.window == (0, 0, 128, 128)
    np.testing.assert_array_equal(one.candidates, other.candidates)
    np.testing.assert_allclose(one.confidences, other.confidences, atol=1e-6)
