"""Blurs by loops over pixels, slower and plainer than the package's own."""

import math
from collections.abc import Callable

import numpy as np

from measures.known_models import Doubles


def folded_kernel(size: int = 11, sigma: float = 5.0) -> Doubles:
    """A Gaussian cut at 4 sigma, its tails folded back at the borders of the kernel."""
    radius = int(4 * sigma + 0.5)
    weights = {k: math.exp(-0.5 * (k / sigma) ** 2) for k in range(-radius, radius + 1)}
    line = np.zeros(size)
    for k, weight in weights.items():
        at = (size // 2 + k) % (2 * size)
        line[at if at < size else 2 * size - 1 - at] += weight / sum(weights.values())
    return np.outer(line, line)


def convolve(x: Doubles, kernel: Doubles, border: Callable[[int, int], int | None]) -> Doubles:
    """Weighted sums over neighbours; ``border`` says where to look instead, or None for a 0."""
    out, reach = np.zeros_like(x), len(kernel) // 2
    _, height, width = x.shape
    for y, u in np.ndindex(height, width):
        for dy, du in np.ndindex(kernel.shape):
            v, t = border(y + dy - reach, height), border(u + du - reach, width)
            if v is not None and t is not None:
                out[:, y, u] += kernel[dy, du] * x[:, v, t]
    return out


def blur_by_folded_kernel(x: Doubles) -> Doubles:
    """Blur with the folded kernel; there is 0 outside of the picture."""
    return convolve(x, folded_kernel(), lambda i, n: i if 0 <= i < n else None)


def blur_by_gauss(x: Doubles) -> Doubles:
    """Blur with 51 x 51 pixels of a Gaussian of 50 pixels; the picture is mirrored at its border."""
    line = np.array([math.exp(-0.5 * (k / 50) ** 2) for k in range(-25, 26)])
    line /= line.sum()

    def mirror(i: int, n: int) -> int:
        while not 0 <= i < n:
            i = -i if i < 0 else 2 * (n - 1) - i
        return i

    return convolve(x, np.outer(line, line), mirror)
