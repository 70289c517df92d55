"""P-values of isolated groups: small for marks, and as often below 5 % as they may be where places mean nothing."""

import dataclasses

import numpy as np
import pytest

from inspection.planted import noise, objects, planted, with_noise
from limelight.errors import InvalidOption
from limelight.inspection.clusters import cluster
from limelight.inspection.isolation import isolation_p


def test_marks_are_no_chance() -> None:
    maps, truth = planted(120, [0.2], seed=0, others="noise")
    clusters = cluster(maps)
    p = isolation_p(maps, clusters, permutations=19, seed=1)
    assert p.shape == (len(clusters.candidates),)
    assert set(clusters.candidates[0].members) == set(np.flatnonzero(truth))
    assert p[0] == 1 / 20
    np.testing.assert_array_equal(p, isolation_p(maps, clusters, permutations=19, seed=1))


def test_some_maps_are_enough() -> None:
    maps, _ = planted(200, [0.3], seed=0, others="noise")
    clusters = cluster(maps)
    assert isolation_p(maps, clusters, permutations=9, tested=100)[0] == 1 / 10
    assert isolation_p(maps[:5], cluster(maps[:5])).shape == (0,)
    with pytest.raises(InvalidOption, match="permutations = 0"):
        isolation_p(maps, clusters, permutations=0)


def test_a_group_too_small_is_not_tested() -> None:
    maps, _ = planted(100, [0.2], seed=0)
    clusters = cluster(maps)
    few = dataclasses.replace(clusters.candidates[0], members=np.arange(4))
    any_ten = dataclasses.replace(few, members=np.arange(10))
    p = isolation_p(maps, dataclasses.replace(clusters, candidates=(few, any_ten)), permutations=1)
    np.testing.assert_array_equal(p, [np.nan, 1])


def on_a_torus(n: int, rng: np.random.Generator) -> np.ndarray:
    steps = rng.integers(10, size=(n, 2))
    maps = with_noise(objects(n, rng, cells=10), rng)
    return np.stack([np.roll(m, tuple(step), (0, 1)) for m, step in zip(maps, steps, strict=True)])


@pytest.mark.slow
@pytest.mark.parametrize("make", [on_a_torus, lambda n, rng: noise(n, rng, cells=10)], ids=["objects", "noise"])
def test_where_places_mean_nothing_p_is_small_as_often_as_chance_has_it(make: object) -> None:
    least = []
    for seed in range(100):
        maps = make(50, np.random.default_rng(seed))  # type: ignore[operator]
        p = isolation_p(maps, cluster(maps), permutations=19, seed=1000 + seed)
        least.append(np.nanmin(p, initial=1))
    for level in (0.05, 0.2, 0.5):
        share, deviation = np.mean(np.array(least) <= level + 1e-9), np.sqrt(level * (1 - level) / 100)
        assert share <= level + 3 * deviation
    assert np.mean(least) < 0.75  # and no rarer by far


@pytest.mark.slow
@pytest.mark.parametrize(("n", "share"), [(100, 0.2), (300, 0.1), (300, 0.5)])
def test_marks_among_objects_are_no_chance(n: int, share: float) -> None:
    maps, truth = planted(n, [share], seed=1)
    clusters = cluster(maps)
    p = isolation_p(maps, clusters, permutations=49)
    mark = next(i for i, c in enumerate(clusters.candidates) if set(c.members) == set(np.flatnonzero(truth)))
    assert p[mark] <= 0.05
