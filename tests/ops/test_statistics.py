"""Figures, intervals and tests: against SciPy, against numbers worked out on paper, and by simulation."""

import itertools
import tracemalloc
from collections.abc import Callable
from inspect import signature
from typing import Any

import numpy as np
import pytest
from scipy import stats

from limelight.errors import InvalidOption
from limelight.ops import statistics
from limelight.ops.statistics import (
    estimate,
    groups_not_distinguishable,
    holm,
    interval,
    paired_p,
    paired_ps,
    pool,
    ranks,
)

NAN = float("nan")
KINDS = ("mean", "class-mean", "adcc")


def plain(kind: str, columns: Any, groups: Any) -> float:
    """The figure, written out once more; all values are defined."""
    columns, groups = np.asarray(columns, dtype=float).reshape(len(columns), -1), np.asarray(groups)
    if kind == "adcc":
        coherency, complexity, drop = columns.mean(0)
        return 3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - drop))
    if kind == "class-mean":
        return float(np.mean([columns[groups == c].mean() for c in set(groups.tolist())]))
    return float(columns.mean())


def sample(kind: str, n: int, seed: int = 0, centre: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Skewed values in [0, 1] and uneven classes."""
    rng = np.random.default_rng(seed)
    columns = rng.beta(2 * centre, 2 * (1 - centre), (n, 3 if kind == "adcc" else 1))
    return columns, np.minimum(rng.geometric(0.3, n), 6) * 10


# -- figures --------------------------------------------------------------------------------------------------


def test_mean() -> None:
    assert estimate("mean", [1, 0, 0, NAN, 1, 1]) == 0.6
    assert estimate("mean", np.array([[2.0], [4.0]])) == 3.0


def test_class_mean() -> None:
    hits = [1, 0, 0, 0]
    assert estimate("class-mean", hits, [7, 3, 3, 3]) == 0.5  # 1/1 and 0/3
    assert estimate("mean", hits, [7, 3, 3, 3]) == 0.25
    # class 5 has no value and is left out; class 3 has three
    assert estimate("class-mean", [1, 0, 1, NAN, 0, NAN], [7, 3, 3, 5, 3, 7]) == pytest.approx((1 + 1 / 3) / 2)


@pytest.mark.parametrize(
    ("averages", "figure"),
    [((1, 0, 0), 1.0), ((0.9383, 0.2027, 0.2613), 0.8166), ((0.6920, 0.1565, 0.6642), 0.5349)],
)
def test_adcc(averages: tuple[float, float, float], figure: float) -> None:
    spread = np.array([[-0.1, 0.1, 0.05]])
    images = np.concatenate([averages + spread, averages - spread, [[NAN, 0.3, 0.3]]])
    assert estimate("adcc", images) == pytest.approx(figure, abs=5e-5)


@pytest.mark.parametrize("averages", [(0, 0, 0), (0.5, 1, 0.2), (0.5, 0.2, 1), (-0.1, 0.5, 0.5), (0.5, 0.5, 1.5)])
def test_adcc_is_0_where_a_term_is(averages: tuple[float, float, float]) -> None:
    assert estimate("adcc", [averages]) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_many_weightings_at_once_are_images_repeated(kind: Any) -> None:
    columns, groups = sample(kind, 12)
    weights = np.random.default_rng(1).integers(0, 4, (20, 12))
    figures = pool(kind, columns, weights.astype(float), groups if kind == "class-mean" else None)
    for figure, w in zip(figures, weights, strict=True):
        assert figure == pytest.approx(plain(kind, columns.repeat(w, 0), groups.repeat(w)), rel=1e-12)


def test_ratio_is_of_means_and_not_a_mean_of_ratios() -> None:
    columns = np.array([[0.5, 1], [0.25, 0], [0, 1], [NAN, 1]])
    assert estimate("ratio", columns) == pytest.approx(0.75 / 2)
    low, high = interval("ratio", np.tile(columns[:3], (50, 1)))
    assert low < 0.375 < high
    assert np.isnan(estimate("ratio", columns[:, [0]].repeat(2, 1) * [1, 0]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [0, 1, 5])
def test_nothing_defined(kind: Any, n: int) -> None:
    columns, groups = np.full((n, 3 if kind == "adcc" else 1), NAN), np.arange(n)
    assert np.isnan(estimate(kind, columns, groups))
    assert np.isnan(interval(kind, columns, groups)).all()
    assert np.isnan(paired_p(kind, columns, np.zeros_like(columns), groups))


def test_wrong_input() -> None:
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: estimate("median", [1.0]), "no pooling 'median'"),
        (lambda: estimate("adcc", [1.0, 0.5]), "takes 3 columns"),
        (lambda: estimate("mean", np.ones((2, 3))), "takes 1 columns"),
        (lambda: estimate("class-mean", [1.0, 0.5]), "class of each of 2 images"),
        (lambda: estimate("class-mean", [1.0, 0.5], [1]), "class of each of 2 images"),
        (lambda: estimate("mean", [1.0, np.inf]), "infinite"),
        (lambda: interval("mean", [1.0, 0.5], confidence=95), "confidence = 95"),
        (lambda: interval("mean", [1.0, 0.5], resamples=0), "resamples = 0"),
        (lambda: paired_p("mean", [1.0, 0.5], [1.0]), r"\[2, 1\] images"),
    ]
    for call, message in cases:
        with pytest.raises(InvalidOption, match=message):
            call()


# -- intervals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("confidence", [0.8, 0.95])
@pytest.mark.parametrize("kind", KINDS)
def test_interval_is_scipys(kind: Any, confidence: float) -> None:
    columns, groups = sample(kind, 80)
    resamples = 1500 if kind == "class-mean" else 9999

    def statistic(*data: np.ndarray, axis: int = -1) -> Any:
        if kind == "class-mean":
            return plain(kind, *data)
        means = np.stack([d.mean(axis) for d in data], -1)
        if kind == "mean":
            return means[..., 0]
        return 3 / (1 / means[..., 0] + 1 / (1 - means[..., 1]) + 1 / (1 - means[..., 2]))

    theirs = stats.bootstrap(
        (*columns.T, groups) if kind == "class-mean" else tuple(columns.T),
        statistic,
        method="percentile",
        paired=True,
        vectorized=kind != "class-mean",
        confidence_level=confidence,
        n_resamples=resamples,
        **{"rng" if "rng" in signature(stats.bootstrap).parameters else "random_state": 3},  # before SciPy 1.15
    )
    # the standard error of a quantile's Monte Carlo estimate is 0.085 sd with 1000 draws in the 2.5% tail
    slack = 4 * 0.085 * (1000 / resamples) ** 0.5 * theirs.standard_error
    ours = interval(kind, columns, groups, confidence=confidence)
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=slack)


@pytest.mark.parametrize("kind", KINDS)
def test_interval_resamples_images_that_have_a_value(kind: Any) -> None:
    columns, groups = sample(kind, 30)
    more = np.concatenate([np.full((5, columns.shape[1]), NAN), columns])
    assert interval(kind, more, [*range(5), *groups]) == interval(kind, columns, groups)


def test_one_image_has_no_interval() -> None:
    assert np.isnan(interval("mean", [0.3, NAN])).all()
    assert interval("mean", [0.3, 0.3]) == pytest.approx((0.3, 0.3))


def test_interval_covers_the_true_mean() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(300):
        low, high = interval("mean", rng.beta(1, 3, 40), resamples=1000, seed=seed)
        covered += low <= 0.25 <= high
    assert 0.90 <= covered / 300 <= 0.98


# -- pairs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_exact_p_is_scipys(kind: Any) -> None:
    for seed in range(4):
        a, groups = sample(kind, 7, seed)
        b, _ = sample(kind, 7, seed + 100, centre=0.3)
        rows = np.concatenate([a, b])

        def difference(i: np.ndarray, j: np.ndarray, rows: np.ndarray = rows, groups: np.ndarray = groups) -> float:
            return plain(kind, rows[i], groups) - plain(kind, rows[j], groups)

        theirs = stats.permutation_test(
            (np.arange(7), np.arange(7, 14)), difference, permutation_type="samples", vectorized=False, n_resamples=128
        )
        assert paired_p(kind, a, b, groups) == pytest.approx(theirs.pvalue, abs=1e-12)


def test_exact_p_by_hand() -> None:
    assert paired_p("mean", [1, 1, 1], [0, 0, 0]) == 2 / 8
    assert paired_p("mean", [1, 1, 0], [0, 0, 1]) == 1.0
    assert paired_p("mean", [0, 0, 0], [0, 0, 0]) == 1.0
    assert paired_p("mean", [3, 1, 1], [0, 0, 0]) == 2 / 8
    assert paired_p("mean", [3, 0, 0, NAN, 7], [0, 2, 1, 5, NAN]) == 1.0  # 3 - 2 - 1: every swap is as far apart
    assert paired_p("mean", [0.1 + 0.2, 0.3, 0.1], [0, 0, 0.4]) == paired_p("mean", [0.3, 0.3, 0.1], [0, 0, 0.4])


@pytest.mark.parametrize("kind", KINDS)
def test_images_on_which_both_agree_need_no_swap(kind: Any) -> None:
    a, groups = sample(kind, 60)
    b = a.copy()
    b[:5] *= 0.5
    swapped = []
    for swaps in itertools.product([False, True], repeat=5):
        s = np.array([*swaps, *[False] * 55])[:, None]
        swapped.append(plain(kind, np.where(s, b, a), groups) - plain(kind, np.where(s, a, b), groups))
    hits = np.abs(swapped) >= abs(swapped[0]) - 1e-12
    assert paired_p(kind, a, b, groups, resamples=32) == hits.mean()
    assert paired_p(kind, a, a, groups) == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_random_p_is_near_the_exact_one(kind: Any) -> None:
    for seed in range(3):
        a, groups = sample(kind, 12, seed)
        b, _ = sample(kind, 12, seed + 50, centre=0.4)
        exact = paired_p(kind, a, b, groups)
        drawn = paired_p(kind, a, b, groups, resamples=4000)  # 2^12 = 4096 is more
        assert drawn != exact
        assert drawn * 4001 == pytest.approx(round(drawn * 4001))  # (hits + 1) / (m + 1)
        assert drawn == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 4000) ** 0.5 + 1 / 4001)


def test_random_p_is_never_0() -> None:
    assert paired_p("mean", np.arange(1, 101), np.zeros(100), resamples=99) == 0.01


@pytest.mark.parametrize("resamples", [50, 10_000])
@pytest.mark.parametrize("kind", KINDS)
def test_all_pairs_are_each_pair(kind: Any, resamples: int) -> None:
    """Also where methods have values for different images, some for few."""
    n, m = 40, 5
    rng = np.random.default_rng(2)
    groups = rng.integers(0, 4, n)
    methods = [sample(kind, n, seed, centre=0.4 + 0.04 * seed)[0] for seed in range(m)]
    for columns, holes in zip(methods[1:], (1, 10, 33, 40), strict=True):
        columns[rng.choice(n, holes, replace=False), 0] = NAN
    table = paired_ps(kind, methods, groups, resamples=resamples)
    assert np.array_equal(table, table.T, equal_nan=True)
    assert (np.diag(table) == 1).all()
    assert np.isnan(table[4, :4]).all()
    assert len(set(table[:4, :4].ravel())) > 4  # so that a mix-up of pairs would show
    for i, j in itertools.permutations(range(m), 2):
        assert table[i, j] == pytest.approx(
            paired_p(kind, *(methods[x] for x in (i, j)), groups, resamples=resamples), nan_ok=True
        )
    # images without a value from both don't matter at all where every swap is tried
    both = ~np.isnan(methods[1] + methods[3]).any(1)
    kept = paired_p(kind, methods[1][both], methods[3][both], groups[both])
    assert both.sum() < 8
    assert paired_p(kind, methods[1], methods[3], groups) == pytest.approx(kept)


@pytest.mark.parametrize("kind", KINDS)
def test_false_positives_are_as_rare_as_promised(kind: Any) -> None:
    rng = np.random.default_rng(4)
    runs, positives, found = 500, 0, 0
    for seed in range(runs):
        a, groups = sample(kind, 30, seed)
        b = np.clip(a + rng.normal(0, 0.1, a.shape), 0.01, 0.99)
        a = np.clip(a + rng.normal(0, 0.1, a.shape), 0.01, 0.99)
        positives += paired_p(kind, a, b, groups, resamples=199, seed=seed) <= 0.1
        found += paired_p(kind, a, b * [0.7, 1, 1][: b.shape[1]], groups, resamples=199, seed=seed) <= 0.1
    assert 0.06 <= positives / runs <= 0.14  # three standard errors of 0.0134
    assert found / runs > 0.7


# -- both -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_fixes_all_and_the_chunks_nothing(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (a, groups), (b, _) = sample(kind, 33, 1), sample(kind, 33, 2)

    def both(seed: int) -> list[float]:
        return [
            *interval(kind, a, groups, resamples=301, seed=seed),
            paired_p(kind, a, b, groups, resamples=301, seed=seed),
        ]

    np.random.seed(1)  # noqa: NPY002  # the global generator must not matter
    first = both(5)
    assert both(5) == first
    assert all(x != y for x, y in zip(both(6), first, strict=True))
    for chunk in (1, 33 * 7, 33 * 301):
        monkeypatch.setattr(statistics, "CHUNK", chunk)
        assert both(5) == pytest.approx(first, rel=1e-12)


def test_memory_is_bounded() -> None:
    (a, groups), (b, _) = sample("class-mean", 1000, 1), sample("class-mean", 1000, 2)
    tracemalloc.start()
    interval("class-mean", a, groups)
    paired_p("class-mean", a, b, groups)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 8 * statistics.CHUNK  # all 10,000 draws at once take ten chunks for every array


# -- many methods ---------------------------------------------------------------------------------------------


def test_holm() -> None:
    # sorted .005 .01 .03 .04 times 4 3 2 1: .02 .03 .06 .04, and the last may not fall below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, NAN, 0.04, 0.03, NAN, 0.005]) == pytest.approx([0.03, NAN, 0.06, 0.06, NAN, 0.02], nan_ok=True)
    assert holm([0.9, 0.5, 0.6]) == pytest.approx([1, 1, 1])
    assert holm([0.02, 0.02]) == pytest.approx([0.04, 0.04])
    assert holm([[0.01, NAN], [0.03, 0.2]]) == pytest.approx(np.array([[0.03, NAN], [0.06, 0.2]]), nan_ok=True)
    assert holm([]).shape == (0,)
    assert np.isnan(holm([NAN])).all()


def test_ranks() -> None:
    assert ranks([0.5, NAN, 0.9, 0.5, 0.1], "higher").tolist() == [2, 0, 1, 2, 4]
    assert ranks([0.5, NAN, 0.9, 0.5, 0.1], "lower").tolist() == [2, 0, 4, 2, 1]
    assert ranks([0.1 + 0.2, 0.3, 0.3 + 1e-9], "higher").tolist() == [2, 2, 1]
    assert ranks([-1e-9, -2e-9], "lower").tolist() == [2, 1]
    assert ranks([NAN, NAN], "higher").tolist() == [0, 0]
    assert ranks([], "higher").tolist() == []


def test_groups_not_distinguishable() -> None:
    def groups(order: list[int], *different: tuple[int, int]) -> list[list[int]]:
        significant = np.zeros((5, 5), dtype=bool)
        for i, j in different:
            significant[i, j] = True
        return groups_not_distinguishable(order, significant)

    assert groups([2, 0, 1, 4, 3]) == [[2, 0, 1, 4, 3]]
    assert groups([2, 0, 1, 4, 3], (2, 3)) == groups([2, 0, 1, 4, 3], (3, 2)) == [[2, 0, 1, 4], [0, 1, 4, 3]]
    assert groups([0, 1, 2, 3], (0, 1), (1, 2)) == [[2, 3]]  # runs of one are no bars
    assert groups([0, 1, 2, 3, 4], (0, 3), (0, 4), (1, 4)) == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert groups([0, 1, 2, 3, 4], (1, 2)) == [[0, 1], [2, 3, 4]]  # 0 and 2 alike, but 1 and 2 lie between
    assert groups([0, 1], (0, 1)) == groups([0]) == groups([]) == []


def test_many_methods_can_still_be_told_apart():
    """With 40 methods there are 780 pairs; the least p-value of their swaps survives the correction for these."""
    rng = np.random.default_rng(0)
    columns = [rng.normal(size=(60, 1)) + 5 * (m == 0) for m in range(40)]
    p = statistics.paired_ps("mean", columns, resamples=statistics.swaps_for(40))
    adjusted = statistics.holm(p[np.triu_indices(40, 1)])
    assert (adjusted[:39] < 0.05).all()
    assert (adjusted[39:] > 0.05).mean() > 0.99
    assert statistics.swaps_for(8) == 10_000
