"""Samples of folders, lists and scenes, and their labels."""

import pytest

from conftest import shared
from data.sample_files import inside, picture, write
from limelight.data.collect import from_scenes
from limelight.data.images import load_image
from limelight.data.samples import Sample, read_samples
from limelight.data.synthetic import scene
from limelight.errors import InvalidImage, InvalidOption


def test_folder_of_pictures(tmp_path):
    for name in ("b.png", "a.JPG", ".hidden.png"):
        picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    samples = read_samples(str(tmp_path))
    assert samples == [Sample(tmp_path / "a.JPG", "a.JPG"), Sample(tmp_path / "b.png", "b.png")]
    assert samples[0].truth_mask() is None


def test_folder_per_class(tmp_path):
    for name in ("dog/1.png", "cat/1.png", "cat/left/old/2.png", ".cache/x.png"):
        picture(tmp_path / name)
    assert [(s.name, s.label) for s in read_samples(tmp_path)] == [
        ("cat/1.png", "cat"),
        ("cat/left/old/2.png", "cat"),
        ("dog/1.png", "dog"),
    ]


def test_labels_csv_goes_before_folders(tmp_path):
    write(tmp_path, "file,label\ncat/1.png,tiger\n", pictures=["cat/1.png", "dog/1.png"])
    assert [(s.name, s.label) for s in read_samples(tmp_path)] == [("cat/1.png", "tiger")]


def test_single_picture(tmp_path):
    path = picture(tmp_path / "photo", format="PNG")
    assert read_samples(path) == [Sample(path, "photo")]


def test_pictures_next_to_class_folders(tmp_path):
    for name in ("cat/1.png", "overview.png"):
        picture(tmp_path / name)
    with pytest.raises(InvalidOption, match=r"both pictures \(overview.png\) and a folder of pictures \(cat\)"):
        read_samples(tmp_path)


def test_linked_folders_are_not_passed_over(tmp_path):
    picture(tmp_path / "elsewhere" / "1.png")
    picture(tmp_path / "root" / "dog" / "1.png")
    (tmp_path / "root" / "cat").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidOption, match="cat is a link to a folder"):
        read_samples(tmp_path / "root")


def test_sources_without_pictures(tmp_path):
    with pytest.raises(InvalidImage, match="no pictures in"):
        read_samples(tmp_path)
    (tmp_path / "photos").mkdir()
    with pytest.raises(InvalidImage, match=r"no file or folder .*photo; did you mean photos\?"):
        read_samples(tmp_path / "photo")
    with pytest.raises(InvalidImage, match="nor is there a folder"):
        read_samples(tmp_path / "nowhere" / "x.csv")
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(InvalidImage, match=r"notes\.txt is not a picture"):
        read_samples(tmp_path / "notes.txt")


@pytest.mark.parametrize("column", ["file", "image", "filename", "path", " File "])
def test_file_columns(tmp_path, column):
    path = write(tmp_path, f"{column}\nsub/a.png\n\nb.png\n", "list.CSV", ["sub/a.png", "b.png"])
    assert read_samples(path) == [Sample(tmp_path / "sub/a.png", "sub/a.png"), Sample(tmp_path / "b.png", "b.png")]


def test_absolute_files_and_bytes_before_the_header(tmp_path):
    other = picture(tmp_path / "elsewhere" / "x.png")
    (sample,) = read_samples(write(tmp_path / "here", f"file,label\n{other},Käfer\n", encoding="utf-8-sig"))
    assert (sample.image, sample.name, sample.label) == (other, str(other), "Käfer")


@pytest.mark.parametrize(
    ("header", "rows", "labels"),
    [
        ("label", ["cat", "dog"], ["cat", "dog"]),
        ("class", ["cat", ""], ["cat", None]),
        ("target", ["3", "12"], [3, 12]),
        ("label", ["3", ""], [3, None]),
        ("index", ["0", "7"], [0, 7]),
        ("label,class_index", ["cat,3", "dog,12"], [3, 12]),
        ("index,label,target", ["0,cat,3", "1,dog,12"], [3, 12]),  # the index counts the rows
        ("label,class_index", ["cat,3", "dog,"], ["cat", "dog"]),  # not every picture has an index
        ("label,class", [",cat", ",dog"], ["cat", "dog"]),
        ("label", ['"crane, bird"', "dog"], ["crane, bird", "dog"]),
        ("label", [' "crane, bird"', " dog "], ["crane, bird", "dog"]),
        ("label", ["", ""], [None, None]),
        ("wnid", ["n01", "n02"], [None, None]),
    ],
)
def test_labels(tmp_path, header, rows, labels):
    path = write(tmp_path, f"file,{header}\na.png,{rows[0]}\nb.png,{rows[1]}\n")
    found = [s.label for s in read_samples(path)]
    assert found == labels
    assert [type(label) for label in found] == [type(label) for label in labels]


def test_real_csv():
    folder = shared("data", "imagenet-samples")
    samples = read_samples(folder)
    assert samples == read_samples(folder / "labels.csv")
    assert len(samples) == len({s.name for s in samples}) == 64
    assert (samples[0].name, samples[0].label) == ("n01532829_house_finch.jpg", 12)
    assert all(isinstance(s.label, int) and s.truth_mask() is None and s.others is None for s in samples)


def test_scenes():
    scenes = [scene(1, labels=["star", "ring"]), scene(2, labels=["heart", "heart"]), scene(3, objects=1)]
    samples = from_scenes(scenes)
    assert [s.name for s in samples] == ["scene-0001", "scene-0002", "scene-0003"]
    assert [s.others for s in samples] == [True, False, False]
    for sample, one in zip(samples, scenes, strict=True):
        assert sample.label == one.label
        assert (inside(sample) == one.mask_of(one.label)).all()
        assert load_image(sample.image).size == sample.truth_mask().size
    assert from_scenes([]) == []
