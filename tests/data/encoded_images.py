"""Pictures as files of any kind, and a PNG of any content."""

import io
import struct
import zlib

import numpy as np

from limelight.data.images import load_image

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


ROW = b"\0" + bytes([200] * 30)
