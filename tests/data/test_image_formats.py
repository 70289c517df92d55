"""Pictures of every format, orientation, depth and mode."""

import struct

import numpy as np
import pytest
from PIL import Image

from data.encoded_images import NOISE, chunk, encode, pixels, png
from limelight.data.images import load_image
from limelight.errors import InvalidImage


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
    plain = b"P5 256 256 65535\n" + ramp.astype(">u2").tobytes()  # which older versions of Pillow read, and don't write
    got = pixels(plain if kind == "PPM" else encode(Image.fromarray(ramp), kind))
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
