"""Pictures of 8 x 6 and lists of them, and what a sample says of its object."""

import numpy as np
from PIL import Image


def picture(path, size=(8, 6), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (10, 200, 30)).save(path, **options)
    return path


def write(folder, text, name="labels.csv", pictures=("a.png", "b.png"), encoding="utf-8"):
    """Write a csv, and pictures of 8 x 6 next to it."""
    for file in pictures:
        picture(folder / file)
    path = folder / name
    path.write_text(text, encoding=encoding)
    return path


def saved(values, path):
    Image.fromarray(np.asarray(values)).save(path)


def inside(sample):
    mask = sample.truth_mask()
    assert mask.mode == "L"
    values = np.asarray(mask)
    assert set(np.unique(values)) <= {0, 255}
    return values == 255


def region(x1, y1, x2, y2, size=(8, 6)):
    expected = np.zeros(size[::-1], dtype=bool)
    expected[y1:y2, x1:x2] = True
    return expected
