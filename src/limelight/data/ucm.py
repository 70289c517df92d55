"""UC Merced Land Use: pictures in a folder per class."""

from pathlib import Path

import numpy as np

from limelight.data.reading import Absent, Contents, folder_with
from limelight.data.samples import Sample
from limelight.files import name_in_text

_TEST = 20  # of a hundred


def read_ucm(root: Path, split: str) -> Contents:
    """Read a folder per class. The test split, which nobody published, is 20 of a class's 100, drawn by seed 0.

    Raises:
        Absent: there are no classes.
    """
    base = folder_with(root, ("UCMerced_LandUse",), "Images") / "Images"
    classes = sorted(path.name for path in base.iterdir() if path.is_dir() and path.name[0] != ".")
    if not classes:
        raise Absent(f"there are no folders of classes in {base}")
    samples: list[Sample] = []
    problems: list[str] = []
    for number, name in enumerate(classes):
        paths = sorted(path for path in (base / name).iterdir() if path.suffix.lower() in (".tif", ".tiff"))
        if not paths:
            problems.append(f"there is no .tif in {base / name}")
        tested = np.random.default_rng([0, number]).permutation(len(paths)) < len(paths) * _TEST // 100
        samples += [
            Sample(path, name_in_text(path.name), name_in_text(name))
            for path, test in zip(paths, tested, strict=True)
            if split == "all" or test == (split == "test")
        ]
    if problems:
        raise Absent(*problems)
    return samples, [name_in_text(name) for name in classes]
