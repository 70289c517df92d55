"""COCO: outlines and run lengths of a small copy, and what is said of a damaged one."""

import json
import pickle

import numpy as np
import pytest

from data.small_files import inside, picture, refuse, region, text
from limelight.data.datasets import open_dataset
from limelight.errors import InvalidOption

RUNS = [5, 1, 6, 1, 2, 3, 1, 1, 2, 3, 1, 1, 2, 2, 2, 1, 2, 3, 1, 1, 6, 1, 6, 1, 8]

PACKED = "5160L2ON12ON110O02ON50002"  # the same, as COCO's own code writes it


def packed_mask():
    mask = np.zeros((7, 9), bool)
    mask[1:4, 2:6] = mask[5, :8] = True
    mask[3, 4] = False
    return mask


def instances(**changes):
    objects = [
        (1, 9, 18, [10, 10, 20, 5], 0, [[10, 10, 30, 10, 30, 15, 10, 15]]),
        (2, 9, 18, [0, 20, 4, 10], 0, [[0, 20, 4, 20, 4, 25, 0, 25], [0, 26, 4, 26, 4, 30, 0, 30]]),
        (3, 9, 1, [0, 0, 40, 30], 1, {"size": [30, 40], "counts": [0, 60, 1140]}),
        (4, 7, 90, [0, 0, 8, 6], 1, {"size": [7, 9], "counts": PACKED}),
        (5, 7, 90, [2, 2, 0, 3], 1, {"size": [7, 9], "counts": PACKED}),
    ]
    keys = ("id", "image_id", "category_id", "bbox", "iscrowd", "segmentation")
    categories = [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}, {"id": 90, "name": "toothbrush"}]
    images = [(9, "000000000009.jpg", 40, 30), (7, "000000000007.jpg", 9, 7), (8, "000000000008.jpg", 40, 30)]
    whole = {
        "info": {"year": 2017},
        "images": [dict(zip(("id", "file_name", "width", "height"), one, strict=True)) for one in images],
        "annotations": [dict(zip(keys, one, strict=True)) for one in objects],
        "categories": categories,
    }
    return whole | changes


@pytest.fixture
def coco(tmp_path):
    text(tmp_path / "annotations/instances_val2017.json", json.dumps(instances()))
    picture(tmp_path / "val2017/000000000009.jpg")
    picture(tmp_path / "val2017/000000000008.jpg")
    picture(tmp_path / "val2017/000000000007.jpg", (9, 7))
    return tmp_path


def test_coco_draws_polygons_and_run_lengths(coco, monkeypatch):
    with monkeypatch.context() as patched:
        refuse(patched)
        samples = {one.name: one for one in open_dataset("coco2017", coco)}
    dog, person, brush = samples.values()
    assert list(samples) == ["000000000009#dog", "000000000009#person", "000000000007"]
    assert dog.boxes == ((10, 10, 30, 15), (0, 20, 4, 30))
    assert brush.boxes == ((0, 0, 8, 6),)  # a flat box is left out
    assert (inside(dog) == region(10, 10, 30, 15) | region(0, 20, 4, 25) | region(0, 26, 4, 30)).all()
    assert (inside(person) == region(0, 0, 2, 30)).all()  # runs go down the columns
    assert (inside(brush) == packed_mask()).all()
    assert [one.difficult for one in samples.values()] == [False, True, True]
    assert [one.others for one in samples.values()] == [True, True, False]
    assert (inside(pickle.loads(pickle.dumps(dog))) == inside(dog)).all()


def test_coco_boxes_indices_and_one_sample_per_picture(coco):
    boxed = open_dataset("coco2017", coco, truth="boxes", indices=True)
    assert [one.label for one in boxed] == [1, 0, 2]  # by the categories' ids
    assert (inside(boxed[1]) == region(0, 0, 40, 30)).all()
    each = open_dataset("coco2017", coco, per="picture")
    assert [(one.name[-1], one.label) for one in each] == [("9", None), ("7", "toothbrush"), ("8", None)]
    assert each[0].truth_mask() is None
    assert (inside(each[1]) == packed_mask()).all()


def test_coco_2014_and_plain_run_lengths(tmp_path):
    one = {"id": 1, "image_id": 7, "category_id": 90, "bbox": [0, 0, 9, 7], "iscrowd": 1}
    one["segmentation"] = {"size": [7, 9], "counts": RUNS}
    images = [{"id": 7, "file_name": "COCO_val2014_000000000007.jpg", "width": 9, "height": 7}]
    text(tmp_path / "annotations/instances_val2014.json", json.dumps(instances(images=images, annotations=[one])))
    picture(tmp_path / "images/val2014/COCO_val2014_000000000007.jpg", (9, 7))
    (brush,) = open_dataset("coco2014", tmp_path)
    assert (inside(brush) == packed_mask()).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"images": [', "instances_val2017.json is no JSON, or damaged: .*line 1"),
        ("[]", "is no file of COCO's instances"),
        ('{"images": []}', "is no file of COCO's instances: 'categories' is missing"),
        (json.dumps(instances(categories=[])), "annotation 1: there is no category with the id 18"),
        (json.dumps(instances(images=[])), "annotation 1: there is no image with the id 9"),
    ],
)
def test_damaged_coco_annotations_are_one_line(coco, content, message):
    text(coco / "annotations/instances_val2017.json", content)
    with pytest.raises(InvalidOption, match=message):
        open_dataset("coco2017", coco)


@pytest.mark.parametrize(
    "shape",
    [{"size": [30, 40], "counts": [5]}, {"size": [30, 40]}, {"size": [30, 40], "counts": "é"}, [[1, 2, 3]], ["x"]],
)
def test_a_damaged_outline_is_said_when_it_is_drawn(coco, shape):
    whole = instances()
    whole["annotations"][0]["segmentation"] = shape
    text(coco / "annotations/instances_val2017.json", json.dumps(whole))
    dog = open_dataset("coco2017", coco)[0]
    with pytest.raises(InvalidOption, match="000000000009#dog: the outline of an object is damaged"):
        dog.truth_mask()
