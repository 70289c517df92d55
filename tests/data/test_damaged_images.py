"""Files that are damaged, no pictures, or too large."""

import contextlib
import io
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.encoded_images import NOISE, RNG, ROW, chunk, encode, pixels, png
from limelight.data.images import load_image
from limelight.draw import read_png_metadata
from limelight.errors import InvalidImage


def test_png_with_rows_missing():
    whole = png(10, 10, ROW * 10)
    assert (pixels(whole) == 200).all()
    short = png(10, 10, ROW * 9)
    assert np.asarray(Image.open(io.BytesIO(short)))[9].max() == 0  # Pillow leaves them black
    for rows in (0, 1, 9):
        with pytest.raises(InvalidImage, match="damaged"):
            load_image(png(10, 10, ROW * rows))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 2), (5, 5), (33, 17)])
@pytest.mark.parametrize(("colour", "depth"), [(0, 1), (0, 16), (2, 8), (3, 2), (4, 8), (6, 16)])
@pytest.mark.parametrize("interlaced", [0, 1])
def test_png_row_count_is_exact(width, height, colour, depth, interlaced):
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    grid = np.indices((height, width))
    # Adam7 by its definition: in which pass is each pixel of the 8 x 8 tile?
    table = np.array([list(map(int, row)) for row in ADAM7.split()])
    passes = table[grid[0] % 8, grid[1] % 8] if interlaced else np.ones((height, width), int)
    size = 0
    for number in range(1, 8):
        per_row = (passes == number).sum(1)
        size += sum(1 + -(-count * bits // 8) for count in per_row.tolist() if count)
    palette = chunk(b"PLTE", bytes(12)) if colour == 3 else b""
    data = dict(depth=depth, colour=colour, interlaced=interlaced, extra=palette)
    assert load_image(png(width, height, bytes(size), idats=3, **data)).size == (width, height)
    with pytest.raises(InvalidImage):
        load_image(png(width, height, bytes(size - 1), **data))


ADAM7 = "16462646 77777777 56565656 77777777 36463646 77777777 56565656 77777777"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_truncated_file(kind, part):
    data = encode(Image.fromarray(NOISE), kind)
    with pytest.raises(InvalidImage, match=r"a file of \d+ bytes is"):
        load_image(data[: int(len(data) * part)])


def test_tiff_with_rows_missing():
    data = bytearray(encode(Image.fromarray(NOISE[:20]), "TIFF"))
    at = data.index(struct.pack("<HHI", 257, 3, 1)) if struct.pack("<HHI", 257, 3, 1) in data else -1
    at = at if at >= 0 else data.index(struct.pack("<HHI", 257, 4, 1))
    data[at + 8 : at + 12] = struct.pack("<I", 48)
    with pytest.raises(InvalidImage, match="rows are missing"):
        load_image(bytes(data))


def test_too_many_pixels_are_refused_by_the_header(tmp_path):
    bomb = png(60_000, 60_000, b"")
    with pytest.raises(InvalidImage, match=r"3,600,000,000 pixels, more than max_pixels=64,000,000"):
        load_image(bomb)
    big = png(10_000, 10_000, b"")
    with pytest.raises(InvalidImage, match=r"10000 x 10000 is 100,000,000 pixels, .* max_pixels=64,000,000"):
        load_image(big)
    for source in (NOISE, Image.fromarray(NOISE), encode(Image.fromarray(NOISE), "PNG")):
        with pytest.raises(InvalidImage, match="max_pixels=3,071"):
            load_image(source, max_pixels=64 * 48 - 1)
        load_image(source, max_pixels=64 * 48)


def test_the_option_decides_and_not_pillows_limit(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(png(60_000, 60_000, b""))
    for source in (tmp_path / "a.png", (tmp_path / "a.png").read_bytes()):
        with pytest.raises(InvalidImage, match="the pixel data ends before the last row"):  # so it went on to the data
            load_image(source, max_pixels=4_000_000_000)
    assert read_png_metadata(tmp_path / "a.png") == {}
    assert Image.MAX_IMAGE_PIXELS == 1024**3 // 4 // 3
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(
        InvalidImage, match=r"more pixels than twice PIL.Image.MAX_IMAGE_PIXELS = 1,000, which this program"
    ):
        load_image(encode(Image.fromarray(NOISE), "PNG"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    load_image(encode(Image.fromarray(NOISE), "PNG"))
    assert Image.MAX_IMAGE_PIXELS is None


@pytest.mark.slow  # half a gigabyte
def test_a_picture_above_pillows_limit_is_decoded(tmp_path: Path) -> None:
    Image.new("L", (18_000, 10_000), 7).save(tmp_path / "large.png")
    with pytest.raises(InvalidImage, match="180,000,000 pixels, more than max_pixels=64,000,000"):
        load_image(tmp_path / "large.png")
    image = load_image(tmp_path / "large.png", max_pixels=180_000_000)
    assert image.size == (18_000, 10_000)
    assert image.getpixel((17_999, 9_999)) == (7, 7, 7)


def test_zip_bomb_in_a_small_png():
    bomb = png(10, 10, ROW * 10 + bytes(200_000_000))
    tracemalloc.start()
    load_image(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello, this is no picture\n" * 9,
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        b"%PDF-1.4\n",
        png(0, 10, b""),
    ],
)
def test_not_a_picture(data):
    with pytest.raises(InvalidImage, match=r"is not a picture; these are read: PNG, JPEG"):
        load_image(data)


def test_damaged_data_never_raises_anything_else():
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
        data = np.frombuffer(encode(Image.fromarray(NOISE), kind), np.uint8)
        for _ in range(60):
            broken = data.copy()
            broken[RNG.integers(0, min(len(data), 400), 4)] = RNG.integers(0, 256, 4)
            with contextlib.suppress(InvalidImage):
                assert load_image(broken.tobytes(), max_pixels=10**6).mode == "RGB"


def test_lack_of_memory_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> Image.Image:
        raise MemoryError

    monkeypatch.setattr("limelight.data.images._flat", full)
    with pytest.raises(InvalidImage, match="the image takes more memory than there is"):
        load_image(Image.new("RGB", (3, 3)))
