"""What is written into a picture's file beside its pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from draw.small_pictures import PICTURE
from limelight.draw import read_png_metadata, to_png_bytes
from limelight.errors import InvalidImage, InvalidOption


def test_png_metadata(tmp_path):
    notes = {"method": "grad-cam", "class": "日本 tabby", "Title": "café\nau lait"}
    data = to_png_bytes(Image.fromarray(PICTURE), notes)
    assert read_png_metadata(data) == notes
    assert b"tEXtmethod\0grad-cam" in data
    assert b"iTXtclass\0" in data
    np.testing.assert_array_equal(Image.open(io.BytesIO(data)), PICTURE)
    assert to_png_bytes(Image.fromarray(PICTURE), notes) == data
    path = tmp_path / "a.png"
    path.write_bytes(data)
    assert read_png_metadata(path) == read_png_metadata(str(path)) == notes
    assert read_png_metadata(to_png_bytes(Image.fromarray(PICTURE))) == {}


@pytest.mark.parametrize("key", ["", "x" * 80, "日本", " a", "a\0b"])
def test_unusable_png_keywords(key):
    with pytest.raises(InvalidOption, match="PNG"):
        to_png_bytes(Image.fromarray(PICTURE), {key: "text"})


def test_unusable_png_texts(tmp_path):
    with pytest.raises(InvalidOption, match="NUL"):
        to_png_bytes(Image.fromarray(PICTURE), {"a": "b\0c"})
    jpeg = io.BytesIO()
    Image.fromarray(PICTURE).save(jpeg, "JPEG")
    for source in (b"", b"text", jpeg.getvalue(), tmp_path / "missing.png", tmp_path):
        with pytest.raises(InvalidImage, match="as a PNG file"):
            read_png_metadata(source)
