"""Write the map of a volume as NIfTI, the format of medical scans."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from limelight import files
from limelight.errors import InvalidOption, MissingExtra


def write_volume(path: Path, values: npt.NDArray[Any], affine: npt.NDArray[np.float64] | None) -> None:
    """Write a map, (D, H, W), as ``.nii`` or ``.nii.gz``.

    Args:
        path: of the file.
        values: the map.
        affine: where its voxels are in space, (4, 4); None for a millimetre each.

    Raises:
        InvalidOption: the map is that of no volume, or another suffix.
        MissingExtra: nibabel is not installed.
    """
    if values.ndim != 3 or not path.name.lower().endswith((".nii", ".nii.gz")):
        raise InvalidOption(f"cannot write {path.name!r}: maps of volumes are saved as .nii or .nii.gz")
    try:
        nibabel: Any = importlib.import_module("nibabel")
    except ImportError:
        raise MissingExtra("nibabel", "medical") from None
    image = nibabel.Nifti1Image(values.astype(np.float32), np.eye(4) if affine is None else affine)
    with files.whole(path) as draft:
        named = draft.with_name(f"{draft.name}.nii.gz" if path.suffix.lower() == ".gz" else f"{draft.name}.nii")
        image.to_filename(named)
        named.replace(draft)
