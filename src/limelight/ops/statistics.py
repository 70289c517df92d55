"""From numbers per image to figures of a data set, how sure they are, and which methods differ.

A figure is a function of weighted means over images (``pool``), and it is worked out for many weightings in
one matrix product. Resampling images is then a matter of drawing weights.

The columns of a method are what a metric says of each image: (n,) or (n, k), NaN where it says nothing. An
image counts if all of its columns are defined. ``kind`` says how the images become a figure:

- ``"mean"``: the mean; one column.
- ``"class-mean"``: the mean over classes of their means, over the classes that have a defined value; one
  column, and ``groups``, the class of each image.
- ``"adcc"``: 3 / (1 / Coherency + 1 / (1 - Complexity) + 1 / (1 - Average drop)) of the means of three columns
  in this order, each in [0, 1]; 0 where one of the three terms is not above 0 (Poppi et al. 2021).
- ``"ratio"``: the mean of the first column over that of the second; NaN where the second is 0.

``groups`` may be given with any kind; only ``"class-mean"`` looks at it.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from limelight.errors import InvalidOption

Pooling = Literal["mean", "class-mean", "adcc", "ratio"]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.integer]
Booleans = npt.NDArray[np.bool_]

CHUNK = 1 << 20
"""Numbers held at once for the draws of a resampling: 8 MiB. It changes speed and memory, not results."""

_COLUMNS = {"mean": 1, "class-mean": 1, "adcc": 3, "ratio": 2}


def estimate(kind: Pooling, columns: npt.ArrayLike, groups: npt.ArrayLike | None = None) -> float:
    """Return the figure of a data set, in the metric's unit; NaN if no image has a value.

    Args:
        kind: how images become a figure.
        columns: values of each image, (n,) or (n, k).
        groups: class of each image, (n,).
    """
    values, defined, classes = _check(kind, columns, groups)
    return float(pool(kind, values, defined[None].astype(float), classes)[0])


def interval(
    kind: Pooling,
    columns: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the figure, resampling the images that have a value.

    A class of which no image is drawn is left out of that resample.

    Args:
        kind: how images become a figure.
        columns: values of each image, (n,) or (n, k).
        groups: class of each image, (n,).
        confidence: share of data sets whose interval should hold the true figure.
        resamples: number of data sets drawn.
        seed: fixes the draws.

    Returns:
        Low and high end in the metric's unit; NaN with fewer than two images, for one has no spread.

    Source: Efron and Tibshirani 1993, ch. 13.
    """
    if not 0 < confidence < 1:
        raise InvalidOption(f"confidence = {confidence}; it lies between 0 and 1")
    values, defined, classes = _check(kind, columns, groups)
    values, n = values[defined], int(defined.sum())
    if n < 2:
        return float("nan"), float("nan")
    classes = None if classes is None else classes[defined]
    rng = np.random.default_rng(seed)
    figures = [pool(kind, values, _counts(rng, rows, n), classes) for rows in _chunks(resamples, n)]
    low, high = np.quantile(np.concatenate(figures), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def paired_p(
    kind: Pooling,
    columns_a: npt.ArrayLike,
    columns_b: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> float:
    """Return the p-value of "both methods have the same figure" on the same images; see ``paired_ps``."""
    return float(paired_ps(kind, [columns_a, columns_b], groups, resamples=resamples, seed=seed)[0, 1])


def paired_ps(
    kind: Pooling,
    methods: Sequence[npt.ArrayLike],
    groups: npt.ArrayLike | None = None,
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> Floats:
    """Test every pair of methods for a difference in their figures, by swapping their values image by image.

    If it made no difference which of two methods explained an image, swapping their values would change
    nothing but chance. A p-value is the share of swaps in which the two figures are at least as far apart as
    they are, in either direction. Only images with a value from both count. All swaps are tried if they are no
    more than ``resamples`` (images on which both agree need none); else random ones, which are the same for
    all pairs, and p = (hits + 1) / (resamples + 1).

    Args:
        kind: how images become a figure.
        methods: m times the values of each image, (n,) or (n, k).
        groups: class of each image, (n,).
        resamples: number of random swaps.
        seed: fixes the swaps.

    Returns:
        (m, m), symmetric, not corrected for the number of pairs; NaN where no image has a value from both;
        1 on the diagonal.

    Source: Phipson and Smyth 2010, for the random swaps.
    """
    checked = [_check(kind, columns, groups) for columns in methods]
    if len({len(v) for v, _, _ in checked}) != 1:
        raise InvalidOption(f"methods of {[len(v) for v, _, _ in checked]} images can't be paired; each takes the same")
    values = np.stack([v for v, _, _ in checked], 1)  # n, m, k
    defined = np.stack([d for _, d, _ in checked])  # m, n
    one, other = np.triu_indices(len(checked), 1)

    # Swaps leave the weight of an image alone, so a swapped image moves the mean by a fixed step.
    both = defined[one] & defined[other]
    weights, total = level(both.astype(float), checked[0][2])
    weights = (weights / np.maximum(total, 1.0)).T
    a = np.einsum("np,npk->pk", weights, values[:, one])
    b = np.einsum("np,npk->pk", weights, values[:, other])
    steps = weights[..., None] * (values[:, one] - values[:, other])  # n, pairs, k
    # The same difference may come out of two swaps with other roundings.
    size = np.abs(values).max((0, 2), initial=0.0)
    least = np.abs(figure(kind, a) - figure(kind, b)) - 1e-10 * np.maximum(size[one], size[other])

    def hits(swaps: Floats, some: Integers, by: Floats) -> Integers:
        moved = (swaps @ by.reshape(len(by), a[some].size)).reshape(-1, *a[some].shape)
        apart = figure(kind, a[some] - moved) - figure(kind, b[some] + moved)
        return (np.abs(apart) >= least[some]).sum(0)

    p = np.full(len(one), np.nan)
    differ = np.asarray((steps != 0).any(2))
    few = np.array([1 << int(d) <= resamples for d in differ.sum(0)], dtype=bool)
    for i in np.flatnonzero(few & both.any(1)):
        own = steps[differ[:, i], i : i + 1]
        swaps = np.arange(1 << len(own))[:, None] >> np.arange(len(own)) & 1
        p[i] = hits(swaps.astype(float), np.array([i]), own)[0] / len(swaps)
    many = np.flatnonzero(~few)
    if len(many):
        steps, rng = np.ascontiguousarray(steps[:, many]), np.random.default_rng(seed)
        chunks = _chunks(resamples, max(len(steps), steps[0].size))
        total_hits = sum(hits((rng.random((rows, len(steps))) < 0.5).astype(float), many, steps) for rows in chunks)
        p[many] = (total_hits + 1) / (resamples + 1)

    table = np.ones((len(checked), len(checked)))
    table[one, other] = table[other, one] = p
    return table


def swaps_for(methods: int) -> int:
    """Return how many random swaps a comparison of every pair of so many methods takes.

    No p-value of R swaps is below 1 / (R + 1): R grows with the pairs, or none would be left after the correction
    for their number (``holm``).
    """
    return max(10_000, 40 * methods * (methods - 1) // 2)


def holm(p: npt.ArrayLike) -> Floats:
    """Return p-values adjusted for their number by Holm's step-down method.

    Args:
        p: one p-value per test, any shape; each test once, so not both triangles of a table.

    Returns:
        Adjusted values in the same places, at most 1. NaN stays NaN and doesn't count as a test.

    Source: Holm 1979.
    """
    given = np.asarray(p, dtype=float)
    flat, adjusted = given.ravel(), np.full(given.size, np.nan)
    order = np.argsort(flat)[: np.count_nonzero(~np.isnan(flat))]  # NaN sorts last
    adjusted[order] = np.minimum(np.maximum.accumulate(flat[order] * np.arange(len(order), 0, -1)), 1.0)
    return adjusted.reshape(given.shape)


def ranks(estimates: npt.ArrayLike, better: Literal["higher", "lower"]) -> npt.NDArray[np.int64]:
    """Return the rank of each method: 1 is the best, ties share the smallest rank, NaN has rank 0.

    Args:
        estimates: one figure per method, (m,).
        better: which figures are good.
    """
    figures = np.asarray(estimates, dtype=float) * (1 if better == "higher" else -1)
    known = ~np.isnan(figures)
    slack = 1e-12 * np.abs(figures[known]).max(initial=0.0)  # sums in another order are the same figure
    ahead = figures[None] - figures[:, None] > slack
    return np.where(known, 1 + ahead.sum(1), 0)


def groups_not_distinguishable(order: Sequence[int], significant: npt.ArrayLike) -> list[list[int]]:
    """Return the bars of a critical-difference diagram.

    Args:
        order: methods that have a figure, best first.
        significant: (m, m), whether two methods differ; one triangle is enough.

    Returns:
        The longest runs of neighbours in ``order`` of which no two differ, best first. Runs may overlap; a
        method that differs from its neighbours is in none.

    Source: Demšar 2006.
    """
    differ = np.asarray(significant, dtype=bool)
    ranked = (differ | differ.T)[np.ix_(order, order)]
    runs: list[list[int]] = []
    end = 0
    for start in range(len(order)):
        before, end = end, max(end, start + 1)
        while end < len(order) and not ranked[start:end, end].any():
            end += 1
        if end > before and end - start > 1:
            runs.append([int(i) for i in order[start:end]])
    return runs


def pool(kind: Pooling, columns: Floats, weights: Floats, groups: Integers | None = None) -> Floats:
    """Return the figure of a data set under many weightings of its images.

    Args:
        kind: how images become a figure.
        columns: values of each image, (n, k), without NaN.
        weights: how often each image counts, (r, n), not negative; 0 where the metric says nothing.
        groups: class of each image, (n,), for ``"class-mean"`` alone.

    Returns:
        (r,), NaN where all weights are 0.
    """
    weights, total = level(weights, groups)
    return figure(kind, weights @ columns / np.where(total > 0, total, np.nan))


def level(weights: Floats, groups: Integers | None) -> tuple[Floats, Floats]:
    """Scale weights, (r, n), so that every class that has any weighs 1; return them and their sums, (r, 1).

    Without classes the weights stay whole numbers, and the mean is as exact as can be.
    """
    if groups is None or not len(groups):
        return weights, weights.sum(1, keepdims=True)
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    by_class = np.take(weights, np.argsort(member), 1)
    totals = np.add.reduceat(by_class, np.cumsum(sizes) - sizes, axis=1)
    share = np.take(1 / np.where(totals > 0, totals, 1.0), member, 1)
    return weights * share, (totals > 0).sum(1, keepdims=True, dtype=float)


def figure(kind: Pooling, means: Floats) -> Floats:
    """Turn means of columns, (..., k), into figures, (...)."""
    if kind == "ratio":
        none = means[..., 1] == 0
        return np.where(none, np.nan, means[..., 0] / np.where(none, 1.0, means[..., 1]))
    if kind != "adcc":
        return means[..., 0]
    terms = np.array([0.0, 1.0, 1.0]) + np.array([1.0, -1.0, -1.0]) * means
    above = (terms > 0) | np.isnan(terms)
    return np.where(above.all(-1), 3 / (1 / np.where(above, terms, 1.0)).sum(-1), 0.0)


def _check(
    kind: Pooling, columns: npt.ArrayLike, groups: npt.ArrayLike | None
) -> tuple[Floats, Booleans, Integers | None]:
    """Return the values, (n, k), with 0 for what is not defined; which images are; the classes, if they matter."""
    if kind not in _COLUMNS:
        raise InvalidOption(f"there is no pooling {kind!r}; there are {', '.join(_COLUMNS)}")
    values = np.asarray(columns, dtype=float)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or values.shape[1] != _COLUMNS[kind]:
        raise InvalidOption(f"{kind!r} takes {_COLUMNS[kind]} columns, not an array of shape {np.shape(columns)}")
    if np.isinf(values).any():
        raise InvalidOption("infinite values have no mean; give NaN where the metric is not defined")
    defined = np.asarray(~np.isnan(values).any(1))
    values = np.where(defined[:, None], values, 0.0)
    if kind != "class-mean":
        return values, defined, None
    classes = np.asarray(groups)
    if classes.shape != defined.shape:
        raise InvalidOption(f"'class-mean' takes the class of each of {len(values)} images as groups")
    return values, defined, classes


def _counts(rng: np.random.Generator, rows: int, n: int) -> Floats:
    """Draw n of n images with replacement, ``rows`` times; return how often each was drawn, (rows, n)."""
    drawn = rng.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
    return np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(float)


def _chunks(rows: int, width: int) -> Iterator[int]:
    """Yield how many of so many rows to hold at a time."""
    if rows < 1:
        raise InvalidOption(f"resamples = {rows}; at least 1")
    step = max(1, CHUNK // max(1, width))
    for start in range(0, rows, step):
        yield min(step, rows - start)
