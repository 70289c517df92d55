"""Shards of pictures, and tables of Hugging Face."""

import io
import os
import pickle
import tarfile

import pytest
from PIL import Image

from data.small_files import refuse
from limelight.data.datasets import missing, open_dataset
from limelight.data.images import load_image
from limelight.errors import InvalidImage, InvalidOption


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
