"""PASCAL VOC: boxes, masks and flags of a small copy, and what is said of a damaged one."""

import numpy as np
import pytest
import torch
from PIL import Image

from data.small_files import inside, note, picture, refuse, region, text
from limelight.api.truth import truth_of
from limelight.data.datasets import missing, open_dataset
from limelight.errors import InvalidImage, InvalidOption
from limelight.model.classifier import Classifier
from limelight.model.preprocess import Preprocess


@pytest.fixture
def voc(tmp_path):
    base = tmp_path / "VOCdevkit" / "VOC2007"
    text(base / "ImageSets/Main/test.txt", "000001\n000002\n000004\n")
    text(base / "ImageSets/Segmentation/test.txt", "000002\n")
    for name in ("000001", "000002", "000004"):
        picture(base / f"JPEGImages/{name}.jpg")
    note(base / "Annotations/000001.xml", ("dog", (1, 1, 10, 10), 0), ("person", (5, 6, 40, 30), 1))
    note(
        base / "Annotations/000002.xml",
        ("car", (1, 1, 4, 4), 1),
        ("car", (11, 11, 20, 20), 0),
        ("boat", (30, 20, 33, 22), 1),
    )
    note(base / "Annotations/000004.xml", ("tvmonitor", (2, 3, 2, 3), 0))
    palette = np.zeros((30, 40), np.uint8)
    palette[9:21, 9:21], palette[10:20, 10:20], palette[19:23, 29:34] = 255, 7, 255  # void around, and on the boat
    mask = Image.fromarray(palette)
    mask.putpalette([value for index in range(256) for value in (index, 255 - index, 7)])
    (base / "SegmentationClass").mkdir()
    mask.save(base / "SegmentationClass/000002.png")
    return tmp_path


def test_voc_has_a_sample_per_class_with_boxes_from_zero_and_difficult_flags(voc, monkeypatch):
    with monkeypatch.context() as patched:
        refuse(patched)
        samples = {one.name: one for one in open_dataset("voc2007", voc)}
    assert list(samples) == ["000001#dog", "000001#person", "000002#car", "000002#boat", "000004"]
    assert [one.difficult for one in samples.values()] == [False, True, False, True, False]
    assert [one.others for one in samples.values()] == [True, True, True, True, False]
    assert samples["000001#dog"].boxes == ((0, 0, 10, 10),)
    assert samples["000001#person"].boxes == ((4, 5, 40, 30),)
    assert (inside(samples["000002#car"]) == region(0, 0, 4, 4) | region(10, 10, 20, 20)).all()
    assert (inside(samples["000004"]) == region(1, 2, 2, 3)).all()
    assert samples["000004"].image == voc / "VOCdevkit/VOC2007/JPEGImages/000004.jpg"
    assert open_dataset("voc2007", voc / "VOCdevkit/VOC2007") == list(samples.values())
    assert [one.label for one in open_dataset("voc2007", voc, indices=True)] == [11, 14, 6, 3, 19]


def test_voc_masks_leave_void_and_difficult_objects_out(voc):
    (car,) = open_dataset("voc2007", voc, truth="masks")
    assert (car.label, car.others) == ("car", True)
    assert (inside(car) == region(10, 10, 20, 20)).all()


def test_voc_per_picture(voc):
    samples = open_dataset("voc2007", voc, per="picture")
    assert [(one.name, one.label, len(one.boxes)) for one in samples] == [
        ("000001", None, 0),
        ("000002", None, 0),
        ("000004", "tvmonitor", 1),
    ]


def test_what_voc_lacks_is_listed_and_partial_takes_the_rest(voc):
    base = voc / "VOCdevkit/VOC2007"
    assert missing("voc2007", voc) == missing("voc2007", voc, truth="masks") == []
    (base / "JPEGImages/000001.jpg").unlink()
    (problem,) = missing("voc2007", voc)
    assert problem == f"1 of 3 files are missing in {base / 'JPEGImages'}, such as 000001.jpg"
    with pytest.raises(InvalidImage, match=r"voc2007 is not complete: 1 of 3 .*000001.jpg; get it from http"):
        open_dataset("voc2007", voc)
    assert [one.name[:6] for one in open_dataset("voc2007", voc, partial=True)] == ["000002", "000002", "000004"]
    (base / "SegmentationClass/000002.png").unlink()
    assert any("000002.png" in line for line in missing("voc2007", voc, truth="masks"))
    (base / "Annotations/000004.xml").unlink()
    (problem,) = missing("voc2007", voc)
    assert "000004.xml" in problem


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<annotation><object><name>dog</name>", r"000004\.xml is no xml, or damaged: .*line 1"),
        ("", "000004.xml is no xml, or damaged"),
        ("<annotation><object><bndbox/></object></annotation>", "000004.xml, object 1: it has no <name>"),
        ("<annotation><object><name>dog</name></object></annotation>", "object 1: a box must be four numbers"),
    ],
)
def test_a_damaged_annotation_is_one_line(voc, content, message):
    text(voc / "VOCdevkit/VOC2007/Annotations/000004.xml", content)
    with pytest.raises(InvalidOption, match=message) as refused:
        open_dataset("voc2007", voc)
    assert missing("voc2007", voc) == [str(refused.value)]
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (("dgo", (1, 1, 2, 2), 0), "'dgo' is none of the 20 classes; did you mean dog"),
        (("dog", (9, 1, 2, 2), 0), "the box 9, 1, 2, 2 needs xmin <= xmax"),
        (("dog", ("nan", 1, 2, 2), 0), "a box must be four numbers, got nan, 1, 2, 2"),
    ],
)
def test_a_wrong_object_is_one_line(voc, thing, message):
    note(voc / "VOCdevkit/VOC2007/Annotations/000004.xml", thing)
    with pytest.raises(InvalidOption, match=message):
        open_dataset("voc2007", voc)


def test_boxes_and_masks_move_with_the_preprocessing(voc):
    """Resize 40 x 30 to 80 x 60, crop the central 60 x 60: a box doubles and moves 10 to the left."""
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 20))
    model = Classifier(network).with_preprocess(Preprocess(60, 60), 60)
    x = torch.zeros(1, 3, 60, 60)
    for truth, boxes in (("boxes", [(0, 0, 4, 4), (10, 10, 20, 20)]), ("masks", [(10, 10, 20, 20)])):
        (car,) = (one for one in open_dataset("voc2007", voc, truth=truth, indices=True) if one.label == 6)
        known = truth_of(model, [car], x)
        expected = torch.zeros(60, 60, dtype=torch.bool)
        for x1, y1, x2, y2 in boxes:
            expected[2 * y1 : 2 * y2, max(2 * x1 - 10, 0) : max(2 * x2 - 10, 0)] = True
        assert torch.equal(known.masks[0], expected)
        assert known.labels.tolist() == [6]
