"""The statistics of a race, on simulated numbers."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from limelight.bench.comparison import compare_with_best, schedule

ALPHA = 0.2
RACES = 200


def raced(
    values: np.ndarray, *, better: Any = "higher", alpha: float = ALPHA, kind: Any = "mean", tests: int | None = None
) -> dict[int, int]:
    """Race methods, (m, n) or (m, n, k), and return who was dropped in which round."""
    ends = schedule(values.shape[1])
    tests = tests or len(ends) * (len(values) - 1)
    left, dropped = list(range(len(values))), dict[int, int]()
    for number, end in enumerate(ends, 1):
        _, _, p = compare_with_best(kind, [values[m, :end] for m in left], better, tests, alpha=alpha)
        dropped |= {m: number for m, value in zip(left, p, strict=True) if value < alpha}
        left = [m for m in left if m not in dropped]
    return dropped


def test_schedule() -> None:
    assert schedule(64) == [8, 16, 32, 64]
    assert schedule(100) == [12, 25, 50, 100]
    assert schedule(5) == [5]
    assert schedule(1000, first=300) == [500, 1000]
    for n in range(1, 300):
        ends = schedule(n)
        assert ends[-1] == n
        assert all(a < b for a, b in pairwise(ends))
        assert len(ends) == 1 or 8 <= ends[0] < 16


@pytest.mark.slow
@pytest.mark.parametrize("gap", [0.0, 0.2])
def test_the_best_is_dropped_in_fewer_races_than_alpha(gap: float) -> None:
    rng = np.random.default_rng(1)
    lost, careless = np.zeros(4), 0
    for _ in range(RACES):
        values = 2 * rng.normal(size=24) + rng.normal(size=(4, 24))  # pictures differ more than methods do
        values[0] += gap
        dropped = raced(values)
        lost[list(dropped)] += 1
        careless += 0 in raced(values, tests=1)
    assert lost[0] < ALPHA * RACES
    if not gap:
        assert (lost < ALPHA * RACES).all()  # each of several equals is the best
        assert careless > ALPHA * RACES  # uncorrected tests lose it too often


def test_what_makes_no_difference_is_kept() -> None:
    same = np.random.default_rng(2).normal(size=32)
    assert raced(np.stack([same, same, same]), alpha=0.5) == {}


def test_a_clearly_worse_one_is_dropped_early() -> None:
    rng = np.random.default_rng(3)
    for better, sign in (("higher", -1), ("lower", 1)):
        values = rng.normal(size=64) + 0.3 * rng.normal(size=(4, 64))
        values[2] += sign * 1.0
        dropped = raced(values, better=better, alpha=0.05)
        assert dropped.keys() == {2}
        assert dropped[2] <= 2


def test_pooled_figures_race_too() -> None:
    rng = np.random.default_rng(4)
    parts = np.stack([np.full(32, 0.9), np.full(32, 0.2), np.full(32, 0.2)], -1) + 0.02 * rng.normal(size=(3, 32, 3))
    parts[1, :, 2] += 0.3  # a larger drop
    assert set(raced(parts.clip(0, 1), kind="adcc", alpha=0.05)) == {1}


def test_p_is_that_of_all_sign_flips_times_the_tests() -> None:
    one, other = np.array([1.0, 2, 3, 4, 5]), np.zeros(5)
    best, figures, p = compare_with_best("mean", [other, one], "higher", 3)
    assert best == 1
    assert figures.tolist() == [0, 3]
    assert p.tolist() == [pytest.approx(3 / 2**5), 1]
    best, _, p = compare_with_best("mean", [other, one], "higher", 3, eligible=[True, False])
    assert (best, p.tolist()) == (0, [1, 1])  # who leads without being allowed to drops nobody
    undefined = np.full(5, np.nan)
    assert compare_with_best("mean", [undefined, one], "higher", 3)[2].tolist() == [1, 1]
    assert compare_with_best("mean", [undefined, undefined], "higher", 3)[0] == -1
