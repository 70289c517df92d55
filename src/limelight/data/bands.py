"""Read images of any number of bands, volumes and signals: arrays, ``.npy``, TIFF, DICOM, NIfTI."""

import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from limelight import files
from limelight.data.images import ARRAYS, DICOM, NIFTI, ImageSource, load_image
from limelight.errors import InvalidImage, MissingExtra

Values = npt.NDArray[np.float32]

TIFF = (".tif", ".tiff")


def load_values(source: ImageSource, channels: int, space: int = 2) -> Values:
    """Return an image with its channels last: (*space, channels), float32.

    Bytes are divided by 255 and words of 16 bits by 65535; all other numbers are taken as they are. Of one channel the
    last axis may be missing. Pictures in colour files become grey where there is one channel; where there are four, the
    fourth is their transparency, which else is laid over white.

    * ``.npy`` is an array; ``.tif`` has its bands on the last axis, the first or as pages.
    * ``.dcm`` is shown through the window of the file.
    * ``.nii`` and ``.nii.gz`` are volumes, (D, H, W) with a fourth axis of channels.

    Args:
        source: a path, an array or a Pillow image.
        channels: that the network takes.
        space: axes of space that it takes.

    Raises:
        InvalidImage: it can't be read, or has another shape.
        MissingExtra: the package that reads it is not installed.
    """
    name = str(source) if isinstance(source, str | os.PathLike) else "the array"
    suffix = "".join(Path(name).suffixes[-2:]).lower() if isinstance(source, str | os.PathLike) else ""
    own = suffix.endswith((*ARRAYS, *TIFF))
    if isinstance(source, np.ndarray):
        values = source
    elif own:
        with files.refusing(InvalidImage, f"{name} can't be read as an image"):
            if not files.exists(name):
                raise InvalidImage(f"there is no file {name}")
            values = _read(Path(name), suffix)
    elif isinstance(source, Image.Image) and channels == len(source.getbands()) and channels > 1:
        values = np.asarray(source)
    elif space != 2:
        kind = "signals (c, T)" if space == 1 else "volumes (c, D, H, W)"
        raise InvalidImage(f"the network takes {kind}, and no pictures; give a tensor, an array or the file of one")
    else:
        picture = load_image(source, alpha=channels == 4)
        values = np.asarray(picture.convert("L") if channels == 1 else picture)
    return _with_channels_last(_scale(values, name), channels, space, name, pages=suffix.endswith(TIFF))


def _read(path: Path, suffix: str) -> npt.NDArray[Any]:
    if suffix.endswith(".npy"):
        return np.load(path, allow_pickle=False)
    if suffix.endswith(TIFF):
        pages = np.asarray(_package("tifffile", "bands").imread(path))
        if not pages.size:
            raise InvalidImage(f"{path} can't be read as an image: it has no pages")
        return pages
    if suffix.endswith(DICOM):
        pixels: Any = _package("pydicom.pixels", "medical")
        scan: Any = _package("pydicom", "medical").dcmread(path)
        seen = np.asarray(pixels.apply_voi_lut(pixels.apply_rescale(scan.pixel_array, scan), scan), dtype=np.float32)
        seen = (seen - seen.min()) / max(float(seen.max() - seen.min()), 1e-12)
        return 1 - seen if getattr(scan, "PhotometricInterpretation", "") == "MONOCHROME1" else seen
    return np.asarray(_package("nibabel", "medical").load(path).dataobj)


def read_affine(source: Any) -> npt.NDArray[np.float64] | None:
    """Return where the voxels of a NIfTI file are in space, (4, 4); None for all else."""
    if not isinstance(source, str | Path) or not str(source).lower().endswith(NIFTI):
        return None
    with files.refusing(InvalidImage, f"{source} can't be read as an image"):
        return np.asarray(_package("nibabel", "medical").load(source).affine, dtype=np.float64)


def _package(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingExtra(name.partition(".")[0], extra) from None


def _scale(values: npt.NDArray[Any], name: str) -> Values:
    if values.dtype.kind not in "fiub":
        raise InvalidImage(f"{name} holds {values.dtype}, no numbers of an image")
    most = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}.get(values.dtype, 1)
    scaled = values.astype(np.float32)
    scaled /= most
    if not np.isfinite(scaled).all():
        raise InvalidImage(f"{name} has values that are NaN or infinite")
    return scaled


def _with_channels_last(values: Values, channels: int, space: int, name: str, *, pages: bool) -> Values:
    if channels == 1 and values.ndim == space:
        values = values[..., None]
    if pages and values.ndim == space + 1 and values.shape[-1] != channels == values.shape[0]:
        values = np.moveaxis(values, 0, -1)
    if values.ndim != space + 1 or values.shape[-1] != channels:
        sides = ", ".join({1: "T", 2: "HW", 3: "DHW"}[space])
        raise InvalidImage(
            f"{name} has shape {values.shape}; the network takes images ({sides}, {channels}), channels last"
        )
    return values
