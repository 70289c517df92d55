"""A picture of noise, empty and full maps, and a map that is highest in its middle."""

import numpy as np

RNG = np.random.default_rng(0)

PICTURE = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)

ZEROS, ONES = np.zeros((40, 60)), np.ones((40, 60))


def bump(height=40, width=60):
    y, x = np.mgrid[:height, :width]
    return np.exp(-(((y - height / 2) / height) ** 2 + ((x - width / 2) / width) ** 2) * 8)
