"""Clusters of explanation maps whose number and members are known."""

import dataclasses

import numpy as np
import pytest
from scipy.sparse import csr_array

from inspection.planted import Floats, bumps, marks, noise, objects, planted, with_noise
from limelight.errors import InvalidMap, InvalidOption
from limelight.inspection import clusters as module
from limelight.inspection.clusters import Clusters, cluster, count_clusters, eigenmap, similarity_graph


def best(clusters: Clusters, group: np.ndarray) -> tuple[float, float]:
    """Return precision and recall of the candidate that has most in common with a group."""
    marked = set(np.flatnonzero(group))
    members = [set(c.members) for c in clusters.candidates]
    closest = max(members, key=lambda m: len(m & marked) / len(m | marked))
    return len(closest & marked) / len(closest), len(closest & marked) / len(marked)


@pytest.mark.parametrize(
    ("n", "shares", "others"),
    [(100, [0.1], "objects"), (100, [0.2, 0.2], "noise"), (250, [0.1, 0.1], "objects"), (250, [0.5], "noise")],
)
def test_marks_are_candidates(n: int, shares: list[float], others: str) -> None:
    maps, truth = planted(n, shares, seed=1, others=others)
    clusters = cluster(maps)
    for mark in range(1, len(shares) + 1):
        assert min(best(clusters, truth == mark)) >= 0.95
    if others == "objects" and n == 250:
        assert clusters.n_clusters == 3
        assert clusters.agreement == 1
        assert (clusters.labels == np.array([0, *(clusters.labels[truth == m][0] for m in (1, 2))])[truth]).all()
        assert clusters.silhouettes.shape == (3,)


@pytest.mark.slow
@pytest.mark.parametrize("others", ["objects", "noise"])
@pytest.mark.parametrize("shares", [[0.1], [0.2], [0.5], [0.1, 0.1], [0.2, 0.2]])
@pytest.mark.parametrize("n", [100, 250, 1000])
def test_marks_of_every_share_are_candidates(n: int, shares: list[float], others: str) -> None:
    scores = []
    for seed in range(4 if n < 1000 else 1):
        maps, truth = planted(n, shares, seed, others=others)
        clusters = cluster(maps)
        scores += [best(clusters, truth == mark) for mark in range(1, len(shares) + 1)]
    assert np.mean(scores, 0).min() >= 0.95, scores


@pytest.mark.slow
@pytest.mark.parametrize(("n", "others"), [(250, "objects"), (250, "noise"), (1000, "objects"), (1000, "noise")])
def test_marks_of_a_twentieth_are_candidates(n: int, others: str) -> None:
    maps, truth = planted(n, [0.05, 0.05], seed=1, others=others)
    clusters = cluster(maps)
    assert min(*best(clusters, truth == 1), *best(clusters, truth == 2)) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("n", [250, 1000])
def test_marks_stand_out_where_others_are_too(n: int) -> None:
    """The others' places are anywhere, that of the marks among them."""
    rng = np.random.default_rng(1)
    y, x = rng.uniform(0, 15, (2, n))
    y[: n // 10], x[: n // 10] = 1 + rng.integers(-1, 2, (2, n // 10))
    clusters = cluster(with_noise(bumps(y, x, np.full(n, 1.3), 16), rng))
    assert min(best(clusters, (y < 2.5) & (x < 2.5))) >= 0.85


def along_a_line(n: int, rng: np.random.Generator) -> Floats:
    return bumps(np.full(n, 10.0), rng.uniform(0, 15, n), np.full(n, 1.6), 16)


@pytest.mark.parametrize("n", [100, pytest.param(500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("make", [marks, objects, along_a_line, noise], ids=lambda make: make.__name__)
def test_what_has_no_parts_is_one_cluster(make: object, n: int) -> None:
    rng = np.random.default_rng(3)
    clusters = cluster(with_noise(make(n, rng), rng))  # type: ignore[operator]
    assert clusters.n_clusters == 1
    assert clusters.gaps.max() < 4
    assert np.isnan(clusters.silhouettes).tolist() == [True]


def test_maps_that_say_nothing_are_set_aside() -> None:
    maps, _ = planted(40, [0.5], seed=0)
    says_nothing = np.stack([np.zeros((16, 16)), np.full((16, 16), 3.0), -objects(1, np.random.default_rng(0))[0]])
    clusters = cluster(np.concatenate([says_nothing, maps]))
    assert clusters.set_aside.tolist() == [0, 1, 2]
    assert (clusters.density_labels[:3] == -1).all()
    assert all(c.members.min() > 2 for c in clusters.candidates)
    assert (clusters.labels[3:] == cluster(maps).labels).all()
    for few in (maps[:0], says_nothing, maps[:9]):
        assert cluster(few).n_clusters == (len(few) == 9)
        assert cluster(few).candidates == ()


def test_scale_and_negative_relevance_do_not_matter() -> None:
    maps, _ = planted(60, [0.2], seed=0)
    plain = cluster(maps)
    scaled = np.where(maps > 0, maps, 5 * maps) * np.float32(1e30) ** np.linspace(-1, 1, 60)[:, None, None]
    other = cluster(scaled)
    assert (other.labels == plain.labels).all()
    np.testing.assert_allclose(other.eigenvalues, plain.eigenvalues, atol=1e-5)


def test_landmarks_stand_for_all() -> None:
    maps, truth = planted(300, [0.2], seed=0)
    some, same = cluster(maps, landmarks=150, seed=1), cluster(maps, landmarks=150, seed=1)
    assert len(some.landmarks) == 150
    assert (some.labels == (truth == 1)).all()
    assert min(best(some, truth == 1)) == 1
    for one, other in zip(dataclasses.astuple(some)[:6], dataclasses.astuple(same)[:6], strict=True):
        np.testing.assert_array_equal(one, other)


def test_candidates_differ() -> None:
    maps, _ = planted(100, [0.2, 0.2], seed=2)
    candidates = cluster(maps, most=4).candidates
    isolation = [c.isolation for c in candidates]
    assert isolation == sorted(isolation, reverse=True)
    assert sum(c.source == "density" for c in candidates) <= 4
    groups = [set(c.members) for c in candidates]
    assert all(len(a & b) <= 0.8 * len(a | b) for i, a in enumerate(groups) for b in groups[:i])


def test_silhouette_of_a_group() -> None:
    from sklearn.metrics import silhouette_samples

    points = np.random.default_rng(0).normal(size=(20, 3))
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    members = np.array([2, 5, 7, 11])
    expected = silhouette_samples(points, np.isin(np.arange(20), members))[members].mean()
    assert module._silhouette(apart, members) == pytest.approx(expected)


def test_number_of_clusters() -> None:
    interval = 0.001 * np.arange(9.0) ** 2
    assert count_clusters(interval, floor=0)[0] == 1
    np.testing.assert_allclose(count_clusters(interval, floor=0)[1], 1)
    square = 0.001 * np.sort(np.add.outer(np.arange(5.0) ** 2, np.arange(5.0) ** 2).ravel())[:9]
    assert count_clusters(square)[0] == 1
    for m in range(2, 8):
        parts = np.concatenate([np.zeros(m), 0.3 + interval])[:9]
        assert count_clusters(parts)[0] == m
    assert count_clusters(np.zeros(9))[0] == 8  # more parts than asked for
    assert count_clusters(np.zeros(1))[0] == 1


def test_similarity_graph_is_its_equation() -> None:
    rng = np.random.default_rng(0)
    points, resolution = rng.normal(size=(30, 2)), rng.uniform(0, 1.5, 30)
    d = np.linalg.norm(points[:, None] - points, axis=2)
    w = similarity_graph(d, resolution).toarray()
    scale = [max(sorted(d[i])[7], resolution[i]) for i in range(30)]
    for i in range(30):
        for j in range(30):
            near = i != j and (d[i, j] <= scale[i] or d[i, j] <= scale[j])
            assert w[i, j] == pytest.approx(np.exp(-(d[i, j] ** 2) / scale[i] / scale[j]) if near else 0)


@pytest.mark.parametrize("dense", [0, 100])
def test_eigenvalues_of_complete_graphs(dense: int) -> None:
    """A complete graph of k vertices has eigenvalue 0 once, and k / (k - 1) for all others."""
    sizes = [30, 20, 10]
    w = np.zeros((60, 60))
    for size, start in zip(sizes, [0, 30, 50], strict=True):
        w[start : start + size, start : start + size] = 1 - np.eye(size)
    values, rows = eigenmap(csr_array(w), 5, dense=dense)
    np.testing.assert_allclose(values, [0, 0, 0, 30 / 29, 30 / 29], atol=1e-9)
    assert len(np.unique(rows[:, :3].round(9), axis=0)) == 3
    partition = module.spectral_partition(csr_array(w), 5)
    assert partition.labels.tolist() == [0] * 30 + [1] * 20 + [2] * 10


def test_lanczos_is_the_dense_decomposition() -> None:
    rng = np.random.default_rng(0)
    d = np.linalg.norm((points := rng.normal(size=(120, 2)))[:, None] - points, axis=2)
    w = similarity_graph(d, np.zeros(120))
    (dense, a), (sparse, b) = eigenmap(w, 6), eigenmap(w, 6, dense=0)
    np.testing.assert_allclose(dense, sparse, atol=1e-9)
    np.testing.assert_allclose(np.abs(a), np.abs(b), atol=1e-6)


def test_what_are_no_maps_is_refused() -> None:
    maps = np.ones((20, 4, 4), np.float32)
    with pytest.raises(InvalidMap, match=r"not of shape \(20, 16\)"):
        cluster(maps.reshape(20, 16))
    with pytest.raises(InvalidMap, match="finite"):
        cluster(np.where(np.eye(4) > 0, np.nan, maps))
    with pytest.raises(InvalidOption, match="most = 0"):
        cluster(maps, most=0)
    with pytest.raises(InvalidOption, match="landmarks = 5"):
        cluster(maps, landmarks=5)
