"""Where pictures come from: files, arrays, folders."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.encoded_images import NOISE, encode, pixels
from limelight.data.images import list_images, load_image
from limelight.errors import InvalidImage


def test_every_kind_of_source_gives_the_same_pixels(tmp_path):
    data = encode(Image.fromarray(NOISE), "PNG")
    path = tmp_path / "noise.png"
    path.write_bytes(data)
    for source in (path, str(path), data, io.BytesIO(data), Image.open(io.BytesIO(data)), NOISE):
        np.testing.assert_array_equal(pixels(source), NOISE)
    with path.open("rb") as file:
        np.testing.assert_array_equal(pixels(file), NOISE)
        assert not file.closed


def test_paths(tmp_path):
    Image.fromarray(NOISE).save(tmp_path / "tabby_cat.png")
    with pytest.raises(InvalidImage, match=r"tabby_cta\.png; did you mean tabby_cat\.png"):
        load_image(tmp_path / "tabby_cta.png")
    with pytest.raises(InvalidImage, match="nor is there a folder"):
        load_image(tmp_path / "nowhere" / "a.png")
    with pytest.raises(InvalidImage, match="is a folder"):
        load_image(tmp_path)
    with pytest.raises(InvalidImage, match="can't read"):
        load_image("x" * 5000)
    with pytest.raises(InvalidImage, match="no file can have this name"):
        load_image("a\0b.png")


def test_no_file_stays_open(tmp_path):
    fds = Path("/proc/self/fd")
    if not fds.exists():
        pytest.skip("needs /proc")
    good, bad = tmp_path / "good.gif", tmp_path / "bad.gif"
    good.write_bytes(encode(Image.fromarray(NOISE), "GIF"))
    bad.write_bytes(good.read_bytes()[:900])
    before = len(list(fds.iterdir()))
    image = load_image(good)
    with pytest.raises(InvalidImage):
        load_image(bad)
    assert len(list(fds.iterdir())) == before
    assert image.size == (64, 48)


def test_text_mode_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("hello")
    with path.open() as file, pytest.raises(InvalidImage, match="binary mode"):
        load_image(file)


def test_arrays():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for values in (ramp, ramp.astype(np.uint16) * 257, ramp / 255, (ramp / 255).astype(np.float32)):
        np.testing.assert_array_equal(pixels(values), np.repeat(ramp[..., None], 3, 2))
    np.testing.assert_array_equal(pixels(NOISE[::-1, ::-1]), NOISE[::-1, ::-1])
    clear = np.zeros((2, 2, 4), np.uint8)
    assert (pixels(clear) == 255).all()
    assert pixels(np.float16([[0.5]]))[0, 0, 0] == 128


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((3, 5, 6)), "move the channels to the end"),
        (np.zeros((4, 4, 2)), r"give \(H, W\)"),
        (np.zeros(4), r"shape \(4,\)"),
        (np.zeros(()), r"shape \(\)"),
        (np.zeros((0, 4)), "no pixels"),
        (np.full((2, 2), np.nan), "values from nan"),
        (np.array([[0.0, np.nan]]), "values from nan"),
        (np.array([[0.0, np.inf]]), "to inf"),
        (np.array([[0.0, 255.0]]), "values from 0 to 255"),
        (np.array([[-0.1, 1.0]]), "values from -0.1"),
        (np.zeros((2, 2), np.int64), "type int64"),
        (np.zeros((2, 2), bool), "type bool"),
        (np.zeros((2, 2), object), "type object"),
    ],
)
def test_unusable_arrays(values, message):
    with pytest.raises(InvalidImage, match=message):
        load_image(values)


def test_other_types():
    with pytest.raises(InvalidImage, match="a list is not a picture; give a path"):
        load_image([[1, 2], [3, 4]])


def test_result_is_independent():
    source = Image.fromarray(NOISE)
    load_image(source).putpixel((0, 0), (1, 2, 3))
    assert source.getpixel((0, 0)) == tuple(NOISE[0, 0])


def test_list_images(tmp_path):
    for name in ("b.PNG", "a.jpg", ".hidden.png", "notes.txt", "sub/c.webp", ".cache/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    names = [p.name for p in list_images(tmp_path)]
    assert names == ["a.jpg", "b.PNG"]
    assert [p.name for p in list_images(str(tmp_path), recursive=True)] == ["a.jpg", "b.PNG", "c.webp"]
    with pytest.raises(InvalidImage, match=r"no pictures in .*subfolders were not searched.*\.png"):
        list_images(tmp_path / "folder.png")
    with pytest.raises(InvalidImage, match=r"is not a folder; did you mean sub"):
        list_images(tmp_path / "subb")


def test_imports_no_torch():
    code = (
        "import sys, limelight.data.images, limelight.draw; print([m for m in ('torch', 'matplotlib') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
