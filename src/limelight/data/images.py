"""Open any picture safely: from a path, bytes, a file object, a Pillow image or an array.

:func:`load_image` returns an upright 8-bit RGB picture or raises
:class:`~limelight.errors.InvalidImage`; nothing is decoded before its header was found acceptable, and
no half-decoded picture is returned. Formats that run other programs (EPS) or are not made of pixels
(SVG, PDF) are never handed to a decoder.
"""

import io
import os
import struct
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from limelight.errors import InvalidImage, InvalidOption, is_out_of_memory, nearest
from limelight.files import open_file
from limelight.quiet import any_size, quiet
from limelight.text import whole_number

__all__ = ["FORMATS", "MAX_PIXELS", "SUFFIXES", "ImageSource", "list_images", "load_image"]

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
"""The formats that are read, by Pillow's names: rasters only."""

# fmt: off
SUFFIXES = (
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".tif", ".tiff", ".webp",
    ".ppm", ".pgm", ".pbm", ".pnm",
)
# fmt: on
"""The file name endings (lower case) that :func:`list_images` takes for pictures."""

DICOM, NIFTI = (".dcm", ".dicom"), (".nii", ".nii.gz")
ARRAYS = (".npy", *DICOM, *NIFTI)
"""Of arrays and scans, which networks take that take values and no pictures in colour."""

MAX_PIXELS = 64_000_000
"""Limit on width times height, 8000 x 8000, unless the caller or the environment says otherwise."""

MAX_PIXELS_VARIABLE = "LIMELIGHT_MAX_PIXELS"
"""Environment variable with another limit; ``limelight --max-pixels N`` sets it."""

ImageSource = str | os.PathLike[str] | bytes | IO[bytes] | Image.Image | npt.NDArray[Any]
"""What :func:`load_image` accepts."""

_BLOCK = 1 << 16
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def load_image(source: ImageSource, *, max_pixels: int | None = None, alpha: bool = False) -> Image.Image:
    """Return the picture in ``source`` as 8-bit RGB, the right way up.

    * The EXIF orientation is applied and all metadata is dropped.
    * Transparent pixels are composited over **white**.
    * 16-bit grey is scaled (65535 becomes 255), not clipped; of 16-bit colour files the high byte is kept.
    * Of an animation or a multi-page file, the first frame is taken.
    * Colour profiles are ignored, as in the pipelines that classifiers were trained with.

    A truncated file is an error. (Two cases can't be seen: a JPEG that was cut and then closed with a
    new end marker, and a program that sets Pillow's global ``ImageFile.LOAD_TRUNCATED_IMAGES``.)

    Args:
        source: a path; the bytes of a file; a file object open for binary reading (read from where it
            stands, left open); a Pillow image (its current frame; never modified); or an array of shape
            (H, W), (H, W, 3) or (H, W, 4): uint8, uint16 or float in [0, 1].
        max_pixels: largest accepted width times height, checked by the header, before anything is decoded; a picture
            takes about 8 bytes of memory per pixel. None for the environment variable ``LIMELIGHT_MAX_PIXELS``, or
            64 million.
        alpha: keep transparency, where there is any, as a fourth channel, instead of the white behind it.

    Returns:
        A new image of mode ``"RGB"``, or ``"RGBA"``, independent of ``source``.

    Raises:
        InvalidImage: there is no such file, it is not a picture in one of :data:`FORMATS`, it is damaged
            or too large, or the array has another shape, type or range.
        InvalidOption: the environment variable is no number.
    """
    if max_pixels is None:
        max_pixels = most_pixels()
    if isinstance(source, Image.Image):
        with _explain_errors("the image"):
            _check_size(source.size, "the image", max_pixels)
            return _upright(source, "the image", alpha)
    if isinstance(source, np.ndarray):
        _check_size(source.shape[1::-1], "the array", max_pixels)
        return _flat(_from_array(source, "the array"), "the array", alpha)
    if isinstance(source, bytes):
        return _read(io.BytesIO(source), f"a file of {len(source)} bytes", max_pixels, alpha)
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        with _open(path) as file:
            return _read(file, str(path), max_pixels, alpha)
    if hasattr(source, "read"):
        name = str(getattr(source, "name", "the file object"))
        data = cast(object, source.read())
        if not isinstance(data, bytes):
            raise InvalidImage(f"{name}: reading gave {type(data).__name__}; open the file in binary mode")
        return _read(io.BytesIO(data), name, max_pixels, alpha)
    raise InvalidImage(
        f"a {type(source).__name__} is not a picture; "
        "give a path, bytes, a binary file, a Pillow image or a NumPy array"
    )


def most_pixels() -> int:
    given = os.environ.get(MAX_PIXELS_VARIABLE, "")
    if not given:
        return MAX_PIXELS
    most = whole_number(given)
    if most is None:
        raise InvalidOption(f"{MAX_PIXELS_VARIABLE}={given[:40]!r}: expected a number of pixels, such as 100000000")
    return most


def list_images(folder: str | os.PathLike[str], *, recursive: bool = False) -> list[Path]:
    """Return the pictures in a folder, sorted by path, or else its arrays and scans.

    Hidden files and folders are skipped. Files are chosen by their suffix (:data:`SUFFIXES`, or where there is none,
    :data:`ARRAYS`, in any case) and not opened.

    Raises:
        InvalidImage: there is no such folder, or no picture in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InvalidImage(f"{root} is not a folder{_neighbours(root)}")
    paths = _list(root, SUFFIXES, recursive) or _list(root, ARRAYS, recursive)
    if not paths:
        hint = "" if recursive else " (subfolders were not searched)"
        raise InvalidImage(f"no pictures in {root}{hint}; these are read: {' '.join((*SUFFIXES, *ARRAYS))}")
    return paths


def refuse_mixed(folder: Path) -> None:
    """Refuse a folder with both pictures and arrays or scans, of which a network that takes values may mean either.

    Raises:
        InvalidImage: it holds both.
    """
    kinds = [_list(folder, suffixes, True) for suffixes in (SUFFIXES, ARRAYS)] if folder.is_dir() else []
    if kinds and all(kinds):
        one, other = (paths[0].name for paths in kinds)
        raise InvalidImage(
            f"{folder} holds pictures ({one}) and arrays or scans ({other}); name the files that are meant"
        )


def _list(root: Path, suffixes: tuple[str, ...], recursive: bool) -> list[Path]:
    return sorted(
        path
        for path in root.glob("**/*" if recursive else "*")
        if path.name.lower().endswith(suffixes)
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and not path.is_dir()  # what is no file either (a pipe, a broken link) is named when it is opened
    )


def _open(path: Path) -> BinaryIO:
    """Open a file for reading, or say what is in the way."""
    try:
        return open_file(path)
    except FileNotFoundError as error:
        if path.is_symlink():
            raise InvalidImage(f"{path} is a link to {path.readlink()}, which is not there") from error
        raise InvalidImage(f"there is no file {path}{_neighbours(path)}") from error
    except IsADirectoryError as error:
        raise InvalidImage(
            f"{path} is a folder; give a list of its pictures, such as sorted(Path({str(path)!r}).glob('*.jpg'))"
        ) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidImage(f"can't read {str(path)[:200]!r}: {reason}") from error


def _neighbours(path: Path) -> str:
    """Names close to a missing one in its folder, as an ending for a message."""
    try:
        return nearest(path.name, [p.name for p in path.parent.iterdir()])
    except OSError:
        return f"; nor is there a folder {path.parent}"


@contextmanager
def _explain_errors(name: str) -> Generator[None, None, None]:
    """Turn whatever Pillow raises into one error, and keep its warnings from the user."""
    try:
        with quiet(), any_size():  # odd metadata, large pictures: judged here
            yield
    except InvalidImage:
        raise
    except UnidentifiedImageError as error:
        raise InvalidImage(f"{name} is not a picture; these are read: {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        limit = f"twice PIL.Image.MAX_IMAGE_PIXELS = {Image.MAX_IMAGE_PIXELS:,}, which this program has set"
        raise InvalidImage(f"{name} has more pixels than {limit}") from error
    except Exception as error:  # on damaged data Pillow's decoders raise nearly every type
        if is_out_of_memory(error):
            raise InvalidImage(f"{name} takes more memory than there is, or is damaged") from error
        raise InvalidImage(f"{name} is a damaged or unsupported picture ({type(error).__name__}: {error})") from error


def _read(file: BinaryIO, name: str, max_pixels: int, alpha: bool) -> Image.Image:
    """Decode an encoded picture."""
    if not file.seekable():  # a pipe
        file = io.BytesIO(file.read())
    with _explain_errors(name), Image.open(file, formats=FORMATS) as image:
        _check_size(image.size, name, max_pixels)  # the header's word, before any decoding
        _check_complete(image, file)
        return _upright(image, name, alpha)


def _check_size(size: tuple[int, ...], name: str, max_pixels: int) -> None:
    pixels = int(np.prod(size, dtype=np.int64))
    if pixels > max_pixels:
        raise InvalidImage(
            f"{name}: {' x '.join(map(str, size))} is {pixels:,} pixels, more than max_pixels={max_pixels:,}; if it is "
            f"to be read, say limelight --max-pixels N, or set {MAX_PIXELS_VARIABLE}"
        )
    if pixels == 0:
        raise InvalidImage(f"{name}: {' x '.join(map(str, size))} has no pixels")


def _check_complete(image: Image.Image, file: BinaryIO) -> None:
    """Find missing rows that Pillow would leave black without a word (PNG and uncompressed TIFF)."""
    if image.format == "TIFF":
        tiles = cast("list[tuple[Any, ...]]", getattr(image, "tile", []))
        boxes = {tile[1] for tile in tiles}  # by area: the size may already be that of the turned picture
        if sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes) < image.width * image.height:
            raise ValueError("rows are missing")
    elif image.format == "PNG":
        position = file.tell()
        _check_png_rows(file)
        file.seek(position)


def _check_png_rows(file: BinaryIO) -> None:
    """Inflate a PNG's data in small blocks, at most as much as the header announces, and count it."""
    file.seek(16)
    width, height, depth, colour, interlaced = struct.unpack(">IIBBxxB", file.read(13))
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    missing = 0
    for x, y, dx, dy in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        if columns := (width - x + dx - 1) // dx:
            missing += (height - y + dy - 1) // dy * (1 + (columns * bits + 7) // 8)
    inflater = zlib.decompressobj()
    file.seek(8)
    while missing > 0 and not inflater.eof and len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        end = file.tell() + length + 4
        while kind == b"IDAT" and length > 0 and missing > 0 and (data := file.read(min(length, _BLOCK))):
            length -= len(data)
            while missing > 0 and (out := inflater.decompress(data, _BLOCK)):
                missing -= len(out)
                data = inflater.unconsumed_tail
        file.seek(end)
    if missing > 0:
        raise ValueError("the pixel data ends before the last row")


def _upright(image: Image.Image, name: str, alpha: bool) -> Image.Image:
    """Turn any Pillow image into a new RGB one, or RGBA, the right way up and without metadata."""
    image.load()
    flat = _flat(image, name, alpha)
    # Read after load(), in which Pillow turns a TIFF by itself and removes the tag.
    turn = _UPRIGHT.get(_orientation(image))
    upright = flat if turn is None else flat.transpose(turn)
    upright.info = {}  # an orientation left in here would turn the picture once more
    return upright


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 (upright) where the metadata is absent or can't be read."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a damaged tag says nothing about the pixels
        return 1


def _flat(image: Image.Image, name: str, alpha: bool) -> Image.Image:
    """Return a new RGB image of 8 bits: deep greys scaled, transparency over white or, if it is to be kept, RGBA."""
    if image.mode[0] in "IF":
        deep = np.asarray(image)
        if image.mode == "I" and deep.min() >= 0 and deep.max() <= 65535:  # 16 bits in a wider type
            deep = deep.astype(np.uint16)
        flat = _from_array(deep, name).convert("RGB")
        clear = image.info.get("transparency")
        if clear is not None:  # Pillow compares it with 8-bit values
            flat.paste("white", mask=Image.fromarray(deep == clear))
        return flat
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        if alpha:
            return rgba
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _from_array(values: npt.NDArray[Any], name: str) -> Image.Image:
    """Scale an array to 8 bits and make an image of it."""
    if not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (3, 4))):
        hint = "; move the channels to the end" if values.ndim == 3 and values.shape[0] in (1, 3, 4) else ""
        raise InvalidImage(f"{name} has shape {values.shape}; give (H, W), (H, W, 3) or (H, W, 4){hint}")
    if np.issubdtype(values.dtype, np.floating):
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= 1):  # also false for NaN
            raise InvalidImage(f"{name} has values from {low:g} to {high:g}; floats must be in [0, 1]")
        values = np.rint(values * np.float64(255))
    elif values.dtype.kind == "u" and values.dtype.itemsize == 2:
        values = (values.astype(np.uint32) + 128) // 257
    elif values.dtype != np.uint8:
        raise InvalidImage(f"{name} has type {values.dtype}; give uint8, uint16 or float in [0, 1]")
    return Image.fromarray(np.ascontiguousarray(values, dtype=np.uint8))
