import contextlib
import io
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limelight.data.images import list_images, load_image
from limelight.draw import read_png_metadata
from limelight.errors import InvalidImage

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8)


def encode(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, raw, depth=8, colour=2, interlaced=0, extra=b"", idats=1):
    """A PNG whose chunks are all valid, whatever its pixel data."""
    data = zlib.compress(raw)
    step = -(-len(data) // idats)
    body = b"".join(chunk(b"IDAT", data[i : i + step]) for i in range(0, len(data), step))
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + body + chunk(b"IEND", b"")


def pixels(source):
    image = load_image(source)
    assert image.mode == "RGB"
    return np.asarray(image)


def test_every_kind_of_source_gives_the_same_pixels(tmp_path):
    data = encode(Image.fromarray(NOISE), "PNG")
    path = tmp_path / "noise.png"
    path.write_bytes(data)
    for source in (path, str(path), data, io.BytesIO(data), Image.open(io.BytesIO(data)), NOISE):
        np.testing.assert_array_equal(pixels(source), NOISE)
    with path.open("rb") as file:
        np.testing.assert_array_equal(pixels(file), NOISE)
        assert not file.closed


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG"])
def test_formats(kind):
    image = Image.new("RGB", (9, 7), (255, 0, 0))
    tolerance = 2 if kind == "JPEG" else 0
    options = {"lossless": True} if kind == "WEBP" else {}
    got = pixels(encode(image, kind, **options)).astype(int)
    assert got.shape == (7, 9, 3)
    assert np.abs(got - [255, 0, 0]).max() <= tolerance


# Where the stored top left corner has to appear for each EXIF orientation.
CORNERS = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(kind, orientation):
    stored = np.zeros((32, 48, 3), np.uint8)
    stored[:8, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    got = load_image(encode(Image.fromarray(stored), kind, exif=exif))
    assert got.size == ((48, 32) if orientation < 5 else (32, 48))
    assert np.asarray(got)[CORNERS[orientation]].min() > 200
    assert (np.asarray(got).mean(2) > 128).sum() == 64
    assert np.array_equal(np.asarray(load_image(got)), np.asarray(got))  # not turned twice
    assert not got.getexif()


def test_orientation_distinguishes_mirrored_from_turned():
    stored = np.zeros((2, 3), np.uint8)
    stored[0] = 10, 20, 30
    for orientation, expected in {5: stored.T, 6: np.rot90(stored, -1), 8: np.rot90(stored)}.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        got = pixels(encode(Image.fromarray(stored), "PNG", exif=exif))
        np.testing.assert_array_equal(got[..., 0], expected)


def test_damaged_exif_keeps_the_picture():
    data = encode(Image.fromarray(NOISE), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    np.testing.assert_array_equal(pixels(data), NOISE)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_is_scaled(kind):
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    got = pixels(encode(Image.fromarray(ramp), kind))
    np.testing.assert_array_equal(got[..., 0], np.rint(ramp / 257))
    assert (got == got[..., :1]).all()


def test_big_endian_tiff():
    ramp = np.linspace(0, 65535, 256).astype(">u2").reshape(16, 16)
    image = Image.frombytes("I;16B", (16, 16), ramp.tobytes())
    np.testing.assert_array_equal(pixels(image)[..., 0], np.rint(ramp / 257))


def test_sixteen_bit_grey_with_a_transparent_value():
    row = struct.pack(">4H", 0, 1000, 2000, 65535)
    got = pixels(png(4, 1, b"\0" + row, depth=16, colour=0, extra=chunk(b"tRNS", row[2:4])))
    assert got[0, :, 0].tolist() == [0, 255, 8, 255]


def test_float_tiff():
    ramp = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    np.testing.assert_array_equal(pixels(encode(Image.fromarray(ramp), "TIFF"))[..., 0].ravel(), range(256))
    with pytest.raises(InvalidImage, match=r"values from 0 to 7; floats must be in \[0, 1\]"):
        load_image(encode(Image.fromarray(ramp * 7), "TIFF"))


def test_cmyk_jpeg():
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert np.abs(pixels(encode(red, "JPEG")).astype(int) - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("RGBA", (1, 1), (0, 0, 255, 0)), (255, 255, 255)),
        (Image.new("RGBA", (1, 1), (0, 0, 255, 51)), (204, 204, 255)),
        (Image.new("LA", (1, 1), (0, 51)), (204, 204, 204)),
        (Image.new("L", (1, 1), 77), (77, 77, 77)),
        (Image.new("1", (1, 1), 1), (255, 255, 255)),
        (Image.new("RGB", (1, 1), (1, 2, 3)).convert("P", palette=Image.Palette.ADAPTIVE), (1, 2, 3)),
    ],
)
def test_modes_over_white(image, expected):
    assert pixels(encode(image, "PNG"))[0, 0].tolist() == list(expected)


@pytest.mark.parametrize("transparency", [0, bytes([0, 255])])
def test_transparent_palette(transparency):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    got = pixels(encode(image, "PNG", transparency=transparency))
    assert got[0].tolist() == [[255, 255, 255], [40, 50, 60]]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animation_gives_its_first_frame(kind):
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 255, 0)))
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(first, kind, save_all=True, append_images=[second], **options)
    assert (pixels(data) == [255, 0, 0]).all()


ROW = b"\0" + bytes([200] * 30)


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


def test_lack_of_memory_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> Image.Image:
        raise MemoryError

    monkeypatch.setattr("limelight.data.images._flat", full)
    with pytest.raises(InvalidImage, match="the image takes more memory than there is"):
        load_image(Image.new("RGB", (3, 3)))
