"""Files that claim to be pictures, and pictures that few programs expect."""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image


def written(image: Image.Image, kind: str, **given: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **given)
    return file.getvalue()


def noise(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    draw = np.random.default_rng(0)
    channels = {"RGB": 3, "RGBA": 4, "CMYK": 4, "L": 1}[mode]
    values = draw.integers(0, 256, (size[1], size[0], channels), np.uint8)
    return Image.frombytes(mode, size, values.tobytes())


def png(width: int, height: int, depth: int = 8, colour: int = 2, data: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")


def damaged() -> Iterator[tuple[str, bytes]]:
    """Yield what must be refused."""
    yield "nothing", b""
    yield "zeros", bytes(1000)
    yield "text", b"hello\n" * 100
    yield "html", b"<html><script>alert(1)</script></html>"
    yield "svg", b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    yield "eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage"
    yield "pdf", b"%PDF-1.4\n%\xe2\xe3\n1 0 obj<</Type/Catalog>>endobj"
    yield "pickle", b"cos\nsystem\n(S'touch /tmp/pwned'\ntR."
    yield "zip", b"PK\x03\x04" + bytes(100)
    for kind, given in (("PNG", {}), ("JPEG", {}), ("GIF", {}), ("BMP", {}), ("TIFF", {}), ("WEBP", {}), ("PPM", {})):
        whole = written(noise(), kind, **given)
        yield f"half a {kind}", whole[: len(whole) // 2]
        yield f"the head of a {kind}", whole[:24]
    yield "a PNG of 65535 x 65535", png(65535, 65535)
    yield "a PNG of 2^31 - 1 x 2^31 - 1", png(2**31 - 1, 2**31 - 1)
    yield "a PNG of 0 x 0", png(0, 0)
    yield "a PNG that unpacks to more", png(20000, 20000, data=bytes(10_000_000))
    yield "a PNG without its rows", png(4000, 4000, data=b"\0\1\2\3")
    yield "a PNG of depth 3", png(9, 9, depth=3)
    whole = written(noise(), "JPEG")
    at = whole.index(b"\xff\xc0") + 5
    yield "a JPEG of 65535 x 65535", whole[:at] + b"\xff\xff\xff\xff" + whole[at + 4 :]
    whole = written(noise(), "GIF")
    yield "a GIF of 65535 x 65535", whole[:6] + b"\xff\xff\xff\xff" + whole[10:]
    whole = written(noise(), "BMP")
    yield "a BMP of 2^31 - 1 x 2^31 - 1", whole[:18] + b"\xff\xff\xff\x7f" * 2 + whole[26:]
    yield "a PPM of a billion pixels", b"P6 100000 10000 255\n" + bytes(100)
    yield "a PPM of thousands of digits", b"P6 " + b"9" * 5000 + b" 1 255\n"
    yield "a TIFF whose pages go round", b"II*\0" + struct.pack("<IH", 8, 0) + struct.pack("<I", 8)


def unusual() -> Iterator[tuple[str, bytes, tuple[int, int]]]:
    """Yield what must be read, and its width and height."""
    size = (40, 30)
    grey = np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50
    palette = noise().quantize(16)
    frames = [noise(), noise().rotate(180)]
    turned = Image.Exif()
    turned[0x0112] = 6
    yield "16 bits", written(Image.fromarray(grey), "PNG"), size
    yield "16 bits in a TIFF", written(Image.fromarray(grey), "TIFF"), size
    yield "CMYK", written(noise("CMYK"), "JPEG"), size
    yield "CMYK in a TIFF", written(noise("CMYK"), "TIFF"), size
    yield "transparent", written(noise("RGBA"), "PNG"), size
    yield "a palette with transparency", written(palette, "PNG", transparency=3), size
    yield "a palette in a GIF", written(palette, "GIF", transparency=3), size
    yield "one bit", written(noise("L").convert("1"), "PNG"), size
    yield "animated GIF", written(frames[0], "GIF", save_all=True, append_images=frames[1:]), size
    yield "animated PNG", written(frames[0], "PNG", save_all=True, append_images=frames[1:]), size
    yield "animated WEBP", written(frames[0], "WEBP", save_all=True, append_images=frames[1:]), size
    yield "many pages", written(frames[0], "TIFF", save_all=True, append_images=frames[1:]), size
    yield "turned", written(noise(), "JPEG", exif=turned), size[::-1]
    yield "progressive", written(noise(), "JPEG", progressive=True), size
    yield "a GIF that is HTML too", written(noise(), "GIF") + b"<script>alert(1)</script>", size
    yield "a JPEG that is a ZIP too", written(noise(), "JPEG") + b"PK\x05\x06" + bytes(18), size
    yield "one pixel", written(noise(size=(1, 1)), "PNG"), (1, 1)
    yield "a long line", written(noise("L", (60000, 1)), "PNG"), (60000, 1)
    yield "ten megabytes of comment", written(noise(), "PNG") + bytes(10_000_000), size
