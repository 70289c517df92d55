"""CUB: boxes, masks and splits of a small copy."""

import numpy as np
import pytest
from PIL import Image

from data.small_files import inside, picture, refuse, region, text
from limelight.data.datasets import missing, open_dataset
from limelight.errors import InvalidOption


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
