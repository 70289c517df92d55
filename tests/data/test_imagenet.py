"""ImageNet in each of the forms in which it is handed on, and its segmented part."""

import numpy as np
import pytest
from scipy.io import savemat

from data.small_files import inside, note, picture, refuse, region, text
from limelight.data.datasets import missing, open_dataset
from limelight.data.images import load_image
from limelight.errors import InvalidImage, InvalidOption

WNIDS = ("n02119789", "n01440764", "n02100735")  # in the devkit's order, which is not sorted

SORTED = sorted(WNIDS)


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
