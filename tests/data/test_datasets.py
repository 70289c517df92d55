"""Small data sets in the formats in which the real ones are published."""

import io
import json
import os
import pickle
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from limelight.api.inputs import truth_of
from limelight.data.datasets import DATASETS, missing, names, open_dataset
from limelight.data.images import load_image
from limelight.errors import InvalidImage, InvalidOption, MissingExtra
from limelight.model.classifier import Classifier
from limelight.model.preprocess import Preprocess

WNIDS = ("n02119789", "n01440764", "n02100735")  # in the devkit's order, which is not sorted
SORTED = sorted(WNIDS)


def picture(path, size=(40, 30), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (10, 200, 30)).save(path, **options)
    return path


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def note(path, *objects, size=(40, 30)):
    """Write an annotation in VOC's xml; an object is its class, four ends, and its difficult flag."""
    inner = "".join(
        f"<object><name>{name}</name><pose>Left</pose><truncated>0</truncated><difficult>{difficult}</difficult>"
        f"<bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox>"
        "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part></object>"
        for name, (x1, y1, x2, y2), difficult in objects
    )
    size = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    return text(path, f"<annotation><folder>VOC2007</folder>{size}<segmented>0</segmented>{inner}</annotation>\n")


def inside(sample):
    return np.asarray(sample.truth_mask()) == 255


def region(x1, y1, x2, y2, size=(40, 30)):
    expected = np.zeros(size[::-1], dtype=bool)
    expected[y1:y2, x1:x2] = True
    return expected


def refuse(monkeypatch):
    """Let every attempt to open a picture fail."""

    def opened(*_, **__):
        raise AssertionError("a picture was opened")

    monkeypatch.setattr(Image, "open", opened)


# -- what there is ---------------------------------------------------------------------------------------


def test_the_list_is_complete_and_importing_it_is_light():
    assert set(names()) >= {"imagenet", "imagenet-seg", "voc2007", "coco2014", "coco2017", "cub200", "ucm", "folder"}
    assert all(card.title and card.files and card.source for card in DATASETS.values())
    code = "import sys, limelight.data.datasets as d; d.names(); print({'numpy', 'PIL', 'torch'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("coco2071", "."), "no data set 'coco2071'; did you mean .*coco2017"),
        (("hf:NAME", "."), "no data set"),
        (("hf:", "."), "no data set"),
        (("voc2007", ".", "tset"), "voc2007 has no split 'tset'; it has test, val, train, trainval"),
        (("folder", ".", "test"), "folder has no split 'test'; give none"),
        (("ucm",), "where is ucm"),
    ],
)
def test_a_wrong_name_or_split_is_refused(arguments, message):
    with pytest.raises(InvalidOption, match=message):
        open_dataset(*arguments)


def test_a_wrong_truth_or_per_is_refused(tmp_path):
    with pytest.raises(InvalidOption, match="ucm has no truth 'boxes'; it has labels"):
        open_dataset("ucm", tmp_path, truth="boxes")
    with pytest.raises(InvalidOption, match="per='image'"):
        open_dataset("ucm", tmp_path, per="image")


@pytest.mark.parametrize("name", [name for name in names() if name not in ("hf:NAME", "wds:PATTERN", "folder")])
def test_a_wrong_folder_is_one_line_that_says_what_and_where_from(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InvalidImage) as refused:
            open_dataset(name, place)
        said = str(refused.value)
        assert "\n" not in said
        assert str(place) in said
        assert said.endswith(f"get it from {DATASETS[name].source}")
        assert missing(name, place)


@pytest.mark.parametrize("name", ["voc2007", "imagenet", "folder", "wds:a.tar"])
def test_a_folder_that_cannot_be_looked_into_is_one_line(name):
    with pytest.raises(InvalidImage, match=r"can't read x+: File name too long"):
        open_dataset(name, "x" * 5000)
    assert "too long" in missing(name, "x" * 5000)[0]


# -- PASCAL VOC ------------------------------------------------------------------------------------------


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
    model = Classifier(network).seeing(Preprocess(60, 60), 60)
    x = torch.zeros(1, 3, 60, 60)
    for truth, boxes in (("boxes", [(0, 0, 4, 4), (10, 10, 20, 20)]), ("masks", [(10, 10, 20, 20)])):
        (car,) = (one for one in open_dataset("voc2007", voc, truth=truth, indices=True) if one.label == 6)
        known = truth_of(model, [car], x)
        expected = torch.zeros(60, 60, dtype=torch.bool)
        for x1, y1, x2, y2 in boxes:
            expected[2 * y1 : 2 * y2, max(2 * x1 - 10, 0) : max(2 * x2 - 10, 0)] = True
        assert torch.equal(known.masks[0], expected)
        assert known.labels.tolist() == [6]


# -- COCO ------------------------------------------------------------------------------------------------

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


# -- ImageNet --------------------------------------------------------------------------------------------


def synsets(path, wnids=WNIDS):
    """Write the devkit's table: the classes, then their ancestors."""
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O")]
    rows = [(number, wnid, "a, b", "text", 0) for number, wnid in enumerate(wnids, 1)]
    rows.append((len(rows) + 1, "n00001740", "entity", "all", 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"synsets": np.array(rows, dtype=kinds)[:, None]})


@pytest.fixture
def imagenet(tmp_path):
    """Three pictures as they are downloaded: flat, with the devkit and boxes."""
    kit = tmp_path / "ILSVRC2012_devkit_t12/data"
    synsets(kit / "meta.mat")
    text(kit / "ILSVRC2012_validation_ground_truth.txt", "3\n1\n2\n")
    for number, wnid in enumerate(("n02100735", "n02119789", "n01440764"), 1):
        stem = f"ILSVRC2012_val_{number:08d}"
        picture(tmp_path / "val" / f"{stem}.JPEG")
        note(tmp_path / "ILSVRC2012_bbox_val_v3/val" / f"{stem}.xml", (wnid, (0, 0, 39, 9), 0), (wnid, (4, 4, 5, 5), 0))
    return tmp_path


def test_imagenet_flat_with_the_devkit(imagenet, monkeypatch):
    with monkeypatch.context() as patched:
        refuse(patched)
        samples = open_dataset("imagenet", imagenet)
    assert [one.name for one in samples] == [f"ILSVRC2012_val_0000000{n}" for n in (1, 2, 3)]
    assert [SORTED[one.label] for one in samples] == ["n02100735", "n02119789", "n01440764"]
    assert samples[0].boxes == ((0, 0, 40, 10), (4, 4, 6, 6))
    assert open_dataset("imagenet", imagenet, truth="labels")[0].boxes == ()
    assert missing("imagenet", imagenet) == []


def test_imagenet_in_folders_is_the_same(imagenet):
    flat = open_dataset("imagenet", imagenet)
    for one in flat:
        picture(imagenet / "val" / SORTED[one.label] / one.image.name)
        one.image.unlink()
    folders = open_dataset("imagenet", imagenet)
    assert [(one.name, one.label, one.boxes) for one in folders] == [(one.name, one.label, one.boxes) for one in flat]
    (imagenet / "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt").unlink()
    assert open_dataset("imagenet", imagenet) == folders  # by the folders' names


def test_imagenet_in_a_thousand_folders_needs_no_devkit(tmp_path):
    for number in range(1000):
        picture(tmp_path / f"n{number + 1440764:08d}" / f"ILSVRC2012_val_{1000 - number:08d}.JPEG", (2, 2))
    samples = open_dataset("imagenet", tmp_path)
    assert [one.label for one in samples] == list(range(999, -1, -1))  # in the order of the numbers
    next((tmp_path / "n01440764").iterdir()).unlink()
    with pytest.raises(InvalidImage, match="has pictures of 999 of 1000 classes, and without"):
        open_dataset("imagenet", tmp_path)


def test_imagenet_as_kaggle_packs_it(tmp_path):
    picture(tmp_path / "ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000002.JPEG")
    picture(tmp_path / "ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000001.JPEG")
    text(tmp_path / "LOC_synset_mapping.txt", "".join(f"{wnid} tench, Tinca tinca\n" for wnid in SORTED))
    rows = (
        "ILSVRC2012_val_00000002,n02119789 25 14 39 29 n02119789 4 2 3 9 \nILSVRC2012_val_00000001,n01440764 0 0 1 1 \n"
    )
    solution = text(tmp_path / "LOC_val_solution.csv", "ImageId,PredictionString\n" + rows)
    first, second = open_dataset("imagenet", tmp_path)
    assert (first.label, first.boxes) == (0, ((0, 0, 2, 2),))
    assert (second.label, second.boxes) == (2, ((25, 14, 40, 30), (4, 2, 4, 10)))
    text(solution, "ImageId,PredictionString\nILSVRC2012_val_00000002,n02119789 25 14 39\n")
    with pytest.raises(InvalidOption, match=r"LOC_val_solution.csv, line 2: expected a picture and five words"):
        open_dataset("imagenet", tmp_path)


def test_what_imagenet_lacks(imagenet):
    kit = imagenet / "ILSVRC2012_devkit_t12/data"
    (imagenet / "val/ILSVRC2012_val_00000002.JPEG").unlink()
    assert missing("imagenet", imagenet) == [
        f"1 of 3 files are missing in {imagenet / 'val'}, such as ILSVRC2012_val_00000002.JPEG"
    ]
    assert [one.name[-1] for one in open_dataset("imagenet", imagenet, partial=True)] == ["1", "3"]
    (imagenet / "ILSVRC2012_bbox_val_v3/val/ILSVRC2012_val_00000003.xml").unlink()
    assert "1 of 3 files" in missing("imagenet", imagenet)[0]
    for path in (imagenet / "ILSVRC2012_bbox_val_v3/val").iterdir():
        path.unlink()
    with pytest.raises(InvalidImage, match="there are no boxes"):
        open_dataset("imagenet", imagenet, truth="boxes")
    (kit / "ILSVRC2012_validation_ground_truth.txt").unlink()
    with pytest.raises(InvalidImage, match=r"what the pictures in .* show is not known"):
        open_dataset("imagenet", imagenet)


def test_a_damaged_devkit_is_one_line(imagenet):
    kit = imagenet / "ILSVRC2012_devkit_t12/data"
    for given in ("4", "0", "-1", "n01440764"):
        text(kit / "ILSVRC2012_validation_ground_truth.txt", f"3\n{given}\n2\n")
        with pytest.raises(InvalidOption, match=f"line 2: '{given}' is no class; meta.mat has 1 to 3"):
            open_dataset("imagenet", imagenet)
    (kit / "meta.mat").write_bytes(b"MATLAB 5.0 MAT-file, cut off")
    with pytest.raises(InvalidOption, match=r"meta.mat is not the devkit's table of classes, or damaged"):
        open_dataset("imagenet", imagenet)


def test_many_pictures_open_without_a_look_at_each(imagenet, monkeypatch):
    """Each is known by the listing of its folder."""
    count = 3000
    text(
        imagenet / "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt",
        "".join(f"{number % 3 + 1}\n" for number in range(count)),
    )
    for number in range(1, count + 1):
        (imagenet / f"val/ILSVRC2012_val_{number:08d}.JPEG").touch()
    refuse(monkeypatch)
    assert len(open_dataset("imagenet", imagenet, truth="labels")) == count


def test_imagenet_segmentation(tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py", exc_type=ImportError, reason="needs the package h5py")
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    mask = region(3, 4, 20, 25).astype(np.uint8)
    path = tmp_path / "gtsegs_ijcv.mat"
    with h5py.File(path, "w") as file:  # as MATLAB writes a struct of cells, all transposed
        value = file.create_group("value")
        for field in ("img", "gt"):
            value.create_dataset(field, (2, 1), h5py.ref_dtype)
        for number in range(2):
            image = file.create_dataset(f"#refs#/image{number}", data=pixels.T)
            inner = file.create_dataset(f"#refs#/mask{number}", data=mask.T)
            cell = file.create_dataset(f"#refs#/cell{number}", (1, 1), h5py.ref_dtype)
            cell[0, 0] = inner.ref
            value["img"][number, 0], value["gt"][number, 0] = image.ref, cell.ref
    samples = open_dataset("imagenet-seg", tmp_path)
    assert [one.name for one in samples] == ["0000", "0001"]
    assert (np.asarray(load_image(samples[1].image)) == pixels).all()
    assert (inside(samples[1]) == mask.astype(bool)).all()
    path.write_bytes(b"cut off")
    with pytest.raises(InvalidOption, match=r"gtsegs_ijcv.mat is not the file of pictures and masks, or damaged"):
        open_dataset("imagenet-seg", tmp_path)


def test_an_extra_that_is_not_installed_is_named(tmp_path, monkeypatch):
    (tmp_path / "gtsegs_ijcv.mat").touch()
    for package, name in (("h5py", "imagenet-seg"), ("datasets", "hf:beans")):
        monkeypatch.setitem(sys.modules, package, None)
        for call in (open_dataset, missing):
            with pytest.raises(MissingExtra, match=rf"{package} is not installed; .*limelight\[data\]"):
                call(name, tmp_path)


# -- CUB and UC Merced -----------------------------------------------------------------------------------


@pytest.fixture
def cub(tmp_path):
    base = tmp_path / "CUB_200_2011"
    files = [
        "001.Black_footed_Albatross/A_0046_18.jpg",
        "002.Laysan_Albatross/B_0001_2.jpg",
        "002.Laysan_Albatross/C.jpg",
    ]
    text(base / "images.txt", "".join(f"{number} {file}\n" for number, file in enumerate(files, 1)))
    text(base / "classes.txt", "1 001.Black_footed_Albatross\n2 002.Laysan_Albatross\n")
    text(base / "image_class_labels.txt", "1 1\n2 2\n3 2\n")
    text(base / "train_test_split.txt", "1 0\n2 1\n3 0\n")
    text(base / "bounding_boxes.txt", "1 6.0 2.0 10.0 20.0\n2 0.0 0.0 5.0 5.0\n3 1.0 2.0 3.0 4.0\n")
    votes = np.zeros((30, 40), np.uint8)  # 0 to 5 of 5 people
    votes[5:20, 5:20], votes[8:15, 8:15] = 102, 153
    for file in files:
        picture(base / "images" / file)
        mask = (tmp_path / "segmentations" / file).with_suffix(".png")
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(votes).save(mask)
    return tmp_path


def test_cub_has_boxes_masks_and_splits(cub, monkeypatch):
    with monkeypatch.context() as patched:
        refuse(patched)
        first, second = open_dataset("cub200", cub)
    assert (first.name, first.label) == ("001.Black_footed_Albatross/A_0046_18.jpg", "001.Black_footed_Albatross")
    assert (first.boxes, second.boxes) == (((6, 2, 16, 22),), ((1, 2, 4, 6),))
    assert [one.label for one in open_dataset("cub200", cub, "all", indices=True)] == [0, 1, 1]
    assert [one.name[-5] for one in open_dataset("cub200", cub / "CUB_200_2011", "train")] == ["2"]
    masked = open_dataset("cub200", cub, truth="masks")[0]
    assert (inside(masked) == region(8, 8, 15, 15)).all()
    masked.mask.unlink()
    assert missing("cub200", cub) == []
    (problem,) = missing("cub200", cub, truth="masks")
    assert "1 of 1 files are missing" in problem
    assert "A_0046_18.png" in problem


@pytest.mark.parametrize(
    ("table", "content", "message"),
    [
        ("image_class_labels", "1 1\n2 3\n3 2\n", "image_class_labels.txt: picture 2 has class 3, but .* 2 classes"),
        ("image_class_labels", "1 1\n2\n", "image_class_labels.txt, line 2: expected 2 columns, got '2'"),
        ("train_test_split", "1 0\n2 1\n", "train_test_split.txt says nothing of picture 3"),
        ("bounding_boxes", "1 6.0 2.0 10.0 wide\n", "bounding_boxes.txt, picture 1: a box must be four numbers"),
    ],
)
def test_damaged_tables_of_cub_are_one_line(cub, table, content, message):
    text(cub / f"CUB_200_2011/{table}.txt", content)
    with pytest.raises(InvalidOption, match=message):
        open_dataset("cub200", cub)


def test_ucm_has_a_stratified_split(tmp_path):
    for name in ("agricultural", "beach"):
        for number in range(10):
            picture(tmp_path / f"UCMerced_LandUse/Images/{name}/{name}{number:02d}.tif", (8, 8))
    whole, test, train = (open_dataset("ucm", tmp_path, split) for split in ("all", "test", "train"))
    assert [one.label for one in test] == ["agricultural"] * 2 + ["beach"] * 2
    assert (len(whole), len(train)) == (20, 16)
    assert {one.name for one in test} | {one.name for one in train} == {one.name for one in whole}
    assert test == open_dataset("ucm", tmp_path, "test")
    assert load_image(test[0].image).size == (8, 8)
    assert {one.label for one in open_dataset("ucm", tmp_path, indices=True)} == {0, 1}
    (tmp_path / "UCMerced_LandUse/Images/airplane").mkdir()
    with pytest.raises(InvalidImage, match=r"there is no .tif in .*airplane"):
        open_dataset("ucm", tmp_path)


# -- any pictures ----------------------------------------------------------------------------------------


def test_any_folder(tmp_path):
    picture(tmp_path / "dog/1.png")
    picture(tmp_path / "cat/1.png")
    assert [(one.name, one.label) for one in open_dataset("folder", tmp_path)] == [
        ("cat/1.png", "cat"),
        ("dog/1.png", "dog"),
    ]
    assert [one.label for one in open_dataset("folder", tmp_path, indices=True)] == [0, 1]


def shard(path, *files):
    with tarfile.open(path, "w") as tar:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def encoded(colour, size=(6, 4)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def test_shards_are_read_where_they_lie(tmp_path, monkeypatch):
    shard(
        tmp_path / "val-000.tar",
        ("a.jpg", encoded("red")),
        ("a.cls", b"3\n"),
        ("b.png", encoded("lime")),
        ("b.cls", b"0"),
    )
    shard(tmp_path / "val-001.tar", ("x/a.png", encoded("blue")), ("x/a.seg.png", encoded("red")), ("x/a.json", b"{}"))
    with monkeypatch.context() as patched:
        refuse(patched)
        samples = open_dataset("wds:val-{000..001}.tar", tmp_path)
    assert [(one.name, one.label) for one in samples] == [("val-000/a", 3), ("val-000/b", 0), ("val-001/x/a", None)]
    colours = [load_image(pickle.loads(pickle.dumps(one.image))).getpixel((5, 3)) for one in samples]
    assert colours == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    assert open_dataset("wds:val-*.tar", tmp_path) == samples
    assert open_dataset(f"wds:{tmp_path}/val-001.tar") == samples[2:]


def test_what_is_wrong_with_shards_is_one_line(tmp_path):
    whole = shard(tmp_path / "0.tar", ("a.png", encoded("red", (600, 400)) * 9), ("a.cls", b"cat"))
    assert open_dataset("wds:0.tar", tmp_path)[0].label == "cat"
    with pytest.raises(InvalidImage, match=r"there is no shard .*1.tar; there is no shard .*2.tar"):
        open_dataset("wds:{0..2}.tar", tmp_path)
    assert len(missing("wds:{0..2}.tar", tmp_path)) == 2
    with pytest.raises(InvalidImage, match="there is no shard"):
        open_dataset("wds:val-*.tar", tmp_path)
    for address, done in (("pipe:cat a.tar", "no command is run"), ("https://a.org/{0..9}.tar", "nothing is fetched")):
        with pytest.raises(InvalidOption, match=f"is no pattern of files: {done}"):
            open_dataset(f"wds:{address}", tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.tar")
        with pytest.raises(InvalidImage, match=r"can't read shard .*pipe.tar: it is a pipe"):
            open_dataset("wds:pip*.tar", tmp_path)
    (tmp_path / "folder.tar").mkdir()
    with pytest.raises(InvalidImage, match=r"can't read shard .*folder.tar: it is a folder"):
        open_dataset("wds:folder.tar", tmp_path)
    (tmp_path / "cut.tar").write_bytes(whole.read_bytes()[:1000])
    (tmp_path / "text.tar").write_text("no tar" * 200)
    with tarfile.open(tmp_path / "packed.tar", "w:gz") as tar:
        tar.add(whole, "a.png")
    for name, message in (("cut", "is cut off inside of a.png"), ("text", "no tar"), ("packed", "is compressed")):
        with pytest.raises(InvalidOption, match=rf"{name}.tar .*{message}"):
            open_dataset(f"wds:{name}.tar", tmp_path)
    for files, message in (
        ([("a.txt", b"")], "holds no pictures"),
        ([("a.png", b"x"), ("a.jpg", b"x")], "two pictures /?a: a.png and a.jpg"),
        ([("a.png", b"x"), ("a.cls", b"")], "a.cls is empty"),
        ([("a.png", b"x"), ("a.cls", b"\xff")], "a.cls: a class must be a text"),
    ):
        shard(tmp_path / "odd.tar", *files)
        with pytest.raises(InvalidOption, match=message):
            open_dataset("wds:odd.tar", tmp_path)
    shard(tmp_path / "odd.tar", ("a.png", b"no picture"))
    with pytest.raises(InvalidImage, match=r"odd.tar, a.png is not a picture"):
        load_image(open_dataset("wds:odd.tar", tmp_path)[0].image)


def test_a_table_of_hugging_face(tmp_path):
    datasets = pytest.importorskip("datasets", exc_type=ImportError, reason="needs the package datasets")
    kinds = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    cells = [{"bytes": encoded(colour), "path": None} for colour in ("red", "lime")]
    table = datasets.Dataset.from_dict({"img": cells, "label": [1, -1]}, features=kinds)
    table.save_to_disk(str(tmp_path / "one"))
    first, second = open_dataset(f"hf:{tmp_path / 'one'}")
    assert (first.label, second.label) == ("dog", None)
    assert load_image(second.image).getpixel((0, 0)) == (0, 255, 0)
    assert open_dataset(f"hf:{tmp_path / 'one'}", indices=True)[0].label == 1
    with pytest.raises(InvalidOption, match=r"can't open hf:.*two"):
        open_dataset(f"hf:{tmp_path / 'two'}")
