"""The list of data sets, and what is said of a wrong name, split, truth or folder."""

import subprocess
import sys

import pytest

from data.small_files import picture
from limelight.data.datasets import DATASETS, missing, names, open_dataset
from limelight.errors import InvalidImage, InvalidOption, MissingExtra


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


def test_an_extra_that_is_not_installed_is_named(tmp_path, monkeypatch):
    (tmp_path / "gtsegs_ijcv.mat").touch()
    for package, name in (("h5py", "imagenet-seg"), ("datasets", "hf:beans")):
        monkeypatch.setitem(sys.modules, package, None)
        for call in (open_dataset, missing):
            with pytest.raises(MissingExtra, match=rf"{package} is not installed; .*limelight\[data\]"):
                call(name, tmp_path)


def test_any_folder(tmp_path):
    picture(tmp_path / "dog/1.png")
    picture(tmp_path / "cat/1.png")
    assert [(one.name, one.label) for one in open_dataset("folder", tmp_path)] == [
        ("cat/1.png", "cat"),
        ("dog/1.png", "dog"),
    ]
    assert [one.label for one in open_dataset("folder", tmp_path, indices=True)] == [0, 1]
