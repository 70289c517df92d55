"""A few pictures in the form of each data set, as it lies on disk once it is unpacked, all in one folder."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat
from torchvision.models import detection

from data.small_files import note, text
from limelight.data.synthetic import Scene, test_split
from limelight.data.voc import CLASSES as VOC_CLASSES

SIDE = 112
"""Of a picture, pixels."""


def write_data_sets(root: Path) -> Path:
    """Write drawn scenes of one or two objects as every data set of the recipes, and return the folder."""
    scenes = [*test_split(6), *test_split(6, objects=2)]
    for write in (_imagenet, _imagenet_seg, _voc, _coco, _cub, _ucm):
        write(root, scenes)
    return root


def _picture(path: Path, scene: Scene, side: int = SIDE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene.image).resize((side, side)).save(path)


def _mask(scene: Scene, side: int = SIDE) -> np.ndarray:
    return np.asarray(Image.fromarray(scene.objects[0].mask).resize((side, side)), dtype=bool)


def _ends(scene: Scene, side: int = SIDE) -> tuple[int, int, int, int]:
    """Return the first and last column and row of the scene's first object, from 0."""
    rows, columns = np.nonzero(_mask(scene, side))
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def _imagenet(root: Path, scenes: list[Scene]) -> None:
    """Validation pictures with the devkit of all thousand classes, and boxes."""
    wnids = [f"n{1_440_764 + 10 * number:08d}" for number in range(1000)]
    rows = [(number, wnid, "a, b", "text", 0) for number, wnid in enumerate(wnids, 1)]
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O")]
    answers = [83 * number % 1000 + 1 for number in range(len(scenes))]
    kit = root / "ILSVRC2012_devkit_t12/data"
    text(kit / "ILSVRC2012_validation_ground_truth.txt", "".join(f"{answer}\n" for answer in answers))
    savemat(kit / "meta.mat", {"synsets": np.array(rows, dtype=kinds)[:, None]})
    for number, (scene, answer) in enumerate(zip(scenes, answers, strict=True), 1):
        stem = f"ILSVRC2012_val_{number:08d}"
        _picture(root / f"val/{stem}.JPEG", scene)
        note(root / f"ILSVRC2012_bbox_val_v3/val/{stem}.xml", (wnids[answer - 1], _ends(scene), 0))


def _imagenet_seg(root: Path, scenes: list[Scene]) -> None:
    """The one file of pictures and masks: a struct of cells as MATLAB writes it, all transposed."""
    import h5py

    with h5py.File(root / "gtsegs_ijcv.mat", "w") as file:
        value = file.create_group("value")
        for field in ("img", "gt"):
            value.create_dataset(field, (len(scenes), 1), h5py.ref_dtype)
        for number, scene in enumerate(scenes):
            image = file.create_dataset(f"#refs#/image{number}", data=scene.image.T)
            inner = file.create_dataset(f"#refs#/mask{number}", data=scene.objects[0].mask.astype(np.uint8).T)
            cell = file.create_dataset(f"#refs#/cell{number}", (1, 1), h5py.ref_dtype)
            cell[0, 0] = inner.ref
            value["img"][number, 0], value["gt"][number, 0] = image.ref, cell.ref


def _voc(root: Path, scenes: list[Scene]) -> None:
    base = root / "VOCdevkit/VOC2007"
    names = [f"{number:06d}" for number in range(1, len(scenes) + 1)]
    text(base / "ImageSets/Main/test.txt", "".join(f"{name}\n" for name in names))
    for number, (name, scene) in enumerate(zip(names, scenes, strict=True)):
        _picture(base / f"JPEGImages/{name}.jpg", scene)
        x1, y1, x2, y2 = (end + 1 for end in _ends(scene))  # from 1, as in the files
        objects = [(VOC_CLASSES[number % 20], (x1, y1, x2, y2), 0), (VOC_CLASSES[14 - number], (1, 1, 20, 20), 0)]
        note(base / f"Annotations/{name}.xml", *objects[: 1 + number % 2])


def _coco(root: Path, scenes: list[Scene]) -> None:
    """The validation pictures of both years; all eighty classes have their own numbers, some of 1 to 90."""
    named = detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    classes = {i: name for i, name in enumerate(named) if name not in ("__background__", "N/A")}
    for year, prefix in ((2014, "COCO_val2014_"), (2017, "")):
        images, objects = list[dict[str, object]](), list[dict[str, object]]()
        for number, scene in enumerate(scenes, 1):
            file = f"{prefix}{number:012d}.jpg"
            _picture(root / f"val{year}/{file}", scene)
            images.append({"id": number, "file_name": file, "width": SIDE, "height": SIDE})
            x1, y1, x2, y2 = _ends(scene)
            shown = {number % 11 + 1: (x1, y1, x2 + 1, y2 + 1), 90: (0, 0, 20, 20)}
            for category, (a, b, c, d) in shown.items():
                shape = {"bbox": [a, b, c - a, d - b], "iscrowd": 0, "segmentation": [[a, b, c, b, c, d, a, d]]}
                objects.append({"id": len(objects) + 1, "image_id": number, "category_id": category} | shape)
        categories = [{"id": i, "name": name} for i, name in classes.items()]
        whole = {"images": images, "annotations": objects, "categories": categories}
        text(root / f"annotations/instances_val{year}.json", json.dumps(whole))


def _cub(root: Path, scenes: list[Scene]) -> None:
    base = root / "CUB_200_2011"
    classes = [f"{number:03d}.Bird_{number}" for number in range(1, 201)]
    files = {n: f"{classes[16 * n - 1]}/Bird_{n:04d}.jpg" for n in range(1, len(scenes) + 1)}
    text(base / "classes.txt", "".join(f"{n} {name}\n" for n, name in enumerate(classes, 1)))
    text(base / "images.txt", "".join(f"{n} {file}\n" for n, file in files.items()))
    text(base / "image_class_labels.txt", "".join(f"{n} {16 * n}\n" for n in files))
    text(base / "train_test_split.txt", "".join(f"{n} 0\n" for n in files))
    boxes = {n: _ends(scene) for n, scene in enumerate(scenes, 1)}
    lines = [f"{n} {x1:.1f} {y1:.1f} {x2 - x1 + 1:.1f} {y2 - y1 + 1:.1f}\n" for n, (x1, y1, x2, y2) in boxes.items()]
    text(base / "bounding_boxes.txt", "".join(lines))
    for (_, file), scene in zip(files.items(), scenes, strict=True):
        _picture(base / f"images/{file}", scene)


def _ucm(root: Path, scenes: list[Scene]) -> None:
    """Of each of the 21 classes five pictures, of which one belongs to the test split."""
    for number in range(21):
        for i in range(5):
            name = f"land{number:02d}"
            _picture(root / f"UCMerced_LandUse/Images/{name}/{name}{i:02d}.tif", scenes[(number + i) % len(scenes)], 64)
