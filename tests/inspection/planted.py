"""Maps of objects that are anywhere, of marks that stay, and of nothing."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def bumps(y: npt.ArrayLike, x: npt.ArrayLike, width: npt.ArrayLike, cells: int) -> Floats:
    """Gaussians of such widths at such places: three of (n,) -> (n, cells, cells)."""
    grid = np.arange(cells)
    rows, columns = (np.exp(-((grid - np.c_[at]) ** 2) / (2 * np.c_[width] ** 2)) for at in (y, x))
    return (rows[:, :, None] * columns[:, None, :]).astype(np.float32)


def objects(n: int, rng: np.random.Generator, cells: int = 16) -> Floats:
    """Objects of different sizes, anywhere, and wholly in the picture."""
    width = rng.uniform(0.1, 0.15, n) * cells
    y, x = 2 * width + rng.uniform(size=(2, n)) * (cells - 1 - 4 * width)
    return bumps(y, x, width, cells)


def marks(n: int, rng: np.random.Generator, cells: int = 16, at: tuple[int, int] = (1, 1)) -> Floats:
    """Small marks at one place, but for a cell."""
    y, x = np.array(at)[:, None] + rng.integers(-1, 2, (2, n))
    return bumps(y, x, np.full(n, 0.07 * cells), cells)


def noise(n: int, rng: np.random.Generator, cells: int = 16) -> Floats:
    return rng.uniform(size=(n, cells, cells)).astype(np.float32)


def with_noise(maps: Floats, rng: np.random.Generator) -> Floats:
    return maps + np.float32(0.1) * rng.standard_normal(maps.shape, dtype=np.float32)


def planted(n: int, shares: list[float], seed: int, *, others: str = "objects") -> tuple[Floats, npt.NDArray[np.int64]]:
    """Marks at up to three corners in such shares of n maps, and others; 0 in the truth (n,) is no mark."""
    rng = np.random.default_rng(seed)
    counts = [round(share * n) for share in shares]
    groups = [marks(k, rng, at=at) for k, at in zip(counts, [(1, 1), (14, 14), (1, 14)], strict=False)]
    rest = n - sum(counts)
    groups.append(objects(rest, rng) if others == "objects" else noise(rest, rng) / 2)
    truth = np.repeat([*range(1, len(counts) + 1), 0], [*counts, rest])
    order = rng.permutation(n)
    return with_noise(np.concatenate(groups), rng)[order], truth[order]
