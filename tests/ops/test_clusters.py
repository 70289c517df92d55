"""Clusters: what they must be by hand, by brute force, and by other people's code."""

import itertools

import numpy as np
import pytest
from scipy.sparse import csgraph
from skimage.metrics import structural_similarity

from limelight.ops.clusters import (
    adjacency,
    distinct,
    elbow,
    inertia,
    kmeans,
    most_clusters,
    spectral,
    spectrum,
    ssim,
)

PAIRS = np.array([[0.0, 0, 1], [0, 0, 1], [3, 4, 1], [3, 4, 1]])  # two equal, two equal, 5 apart


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def blobs(
    rng: np.random.Generator, counts: tuple[int, ...], dimensions: int = 5, spread: float = 0.01
) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors around as many centres, shuffled, and where each belongs, numbered as the labels are."""
    centres = rng.normal(size=(len(counts), dimensions))
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    order = list(dict.fromkeys(labels.tolist()))
    vectors = centres[labels] + spread * rng.normal(size=(len(labels), dimensions))
    return vectors, np.array([order.index(label) for label in labels])


def apart(*components: np.ndarray) -> np.ndarray:
    """Return one graph that falls apart into these."""
    w, at = np.zeros((sum(map(len, components)),) * 2), 0
    for c in components:
        w[at : at + len(c), at : at + len(c)] = c
        at += len(c)
    return w


TRIANGLE = 1.0 - np.eye(3)

# -- K-means ---------------------------------------------------------------------------------------------------


def test_kmeans_finds_the_best_of_all_partitions(rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(8, 3))
    everyone = (np.array(labels) for labels in itertools.product(range(3), repeat=8))
    best = min(inertia(vectors, labels) for labels in everyone if len(set(labels)) == 3)
    found = kmeans(vectors, 3).labels
    assert inertia(vectors, found) == pytest.approx(best, rel=1e-12)
    assert found[0] == 0
    assert set(found) == {0, 1, 2}


@pytest.mark.parametrize("init", ["kmeans++", "random_partition"])
def test_kmeans_of_blobs(rng: np.random.Generator, init: str) -> None:
    vectors, truth = blobs(rng, (4, 9), spread=0.1)
    assert np.array_equal(kmeans(vectors, 2, init=init).labels, truth)
    assert np.array_equal(kmeans(1e-3 * vectors, 2, init=init).labels, truth)


def test_inertia_by_hand() -> None:
    vectors = np.array([[0.0, 0], [2, 0], [5, 5]])
    assert inertia(vectors, np.array([0, 0, 1])) == 2
    assert inertia(vectors, np.array([0, 1, 2])) == 0


def test_no_more_clusters_than_distinct_vectors(rng: np.random.Generator) -> None:
    assert distinct(PAIRS) == 2
    assert distinct(PAIRS * (1 + 1e-14 * rng.normal(size=PAIRS.shape))) == 2
    assert distinct(np.zeros((3, 2))) == 1
    assert distinct(-np.zeros((3, 2)) * [[1], [-1], [1]]) == 1
    for labels in (kmeans(PAIRS, 4).labels, spectral(PAIRS, 4).labels):
        assert labels.tolist() == [0, 0, 1, 1]
    for labels in (kmeans(np.ones((3, 2)), 4).labels, spectral(np.ones((3, 2)), 4).labels):
        assert labels.tolist() == [0, 0, 0]


def test_a_random_partition_leaves_no_cluster_empty(rng: np.random.Generator) -> None:
    """With as many clusters as vectors some are empty at first in nearly every draw."""
    vectors = rng.normal(size=(6, 4))
    for seed in range(10):
        assert kmeans(vectors, 6, init="random_partition", seed=seed).labels.tolist() == [0, 1, 2, 3, 4, 5]


def by_the_book(vectors: np.ndarray, n_clusters: int, seed: int) -> np.ndarray:
    """Lloyd's iterations from a random partition; an empty cluster takes the vector farthest from its own mean."""
    labels = np.random.RandomState(seed).randint(n_clusters, size=len(vectors))
    while True:
        for empty in set(range(n_clusters)) - set(labels):
            own = np.array([vectors[labels == label].mean(0) for label in labels])
            labels[((vectors - own) ** 2).sum(1).argmax()] = empty
        means = np.array([vectors[labels == m].mean(0) for m in range(n_clusters)])
        nearest = ((vectors[:, None] - means) ** 2).sum(-1).argmin(1)
        if np.array_equal(nearest, labels):
            return labels
        labels = nearest


def test_random_partition_by_the_book(rng: np.random.Generator) -> None:
    for seed in range(40):
        vectors = rng.normal(size=(7, 2))
        found = kmeans(vectors, 4, init="random_partition", seed=seed).labels
        expected = by_the_book(vectors, 4, seed)
        assert np.array_equal(found[:, None] == found, expected[:, None] == expected)


def test_the_seed_decides(rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(40, 10))
    state = np.random.get_state()[1].copy()  # noqa: NPY002  # the global generator must not be touched
    for init in ("kmeans++", "random_partition"):
        runs = [kmeans(vectors, 6, init=init, seed=seed).labels for seed in (0, 0, 1)]
        assert np.array_equal(runs[0], runs[1])
        assert not np.array_equal(runs[0], runs[2])
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_rounding_does_not_decide(rng: np.random.Generator) -> None:
    """A pair of vectors that are nearest to each other ties in the greedy k-means++ of scikit-learn."""
    for _ in range(60):
        vectors = np.repeat(rng.uniform(size=(16, 8)), 4, 1) * rng.uniform(0.1, 1, size=(16, 1))
        noisy = vectors * (1 + 1e-7 * rng.normal(size=vectors.shape))
        assert np.array_equal(kmeans(vectors, 4).labels, kmeans(noisy, 4).labels)


def test_elbow(rng: np.random.Generator) -> None:
    assert [most_clusters(k) for k in (1, 2, 3, 4, 5, 16, 17, 512)] == [1, 2, 3, 3, 4, 5, 6, 10]
    for many in (4, 5, 6):
        vectors, _ = blobs(rng, (16,) * many, dimensions=20)
        assert elbow(vectors) == many
    assert [elbow(rng.normal(size=(k, 3))) for k in (1, 2, 3, 4)] == [1, 2, 3, 3]
    assert elbow(np.ones((64, 3))) == 3  # a flat curve has no knee


# -- graphs ----------------------------------------------------------------------------------------------------


def test_adjacency_by_hand() -> None:
    vectors = np.array([[0.0, 0], [3, 4], [0, 1]])
    squares = np.array([[0.0, 25, 1], [25, 0, 18], [1, 18, 0]])
    off = 1 - np.eye(3)
    np.testing.assert_allclose(adjacency(vectors, alpha=10.0), np.exp(-squares / 10) * off, rtol=1e-14)
    np.testing.assert_allclose(adjacency(vectors), np.exp(-squares / (44 / 3)) * off, rtol=1e-14)
    cut = off * (squares < 20)
    np.testing.assert_allclose(adjacency(vectors, alpha=10.0, tau=4.9), np.exp(-squares / 10) * cut, rtol=1e-14)
    assert adjacency(vectors, tau=5.0)[0, 1] > 0  # as far as tau is near enough


def test_adjacency_from_ssim_keeps_what_is_alike() -> None:
    vectors = np.array([[0.0, 1, 2, 3], [0, 1, 2, 3.3], [3, 0, 2, 0.5], [0, 0, 1, 1]])
    s = ssim(vectors)
    w = adjacency(vectors, similarity="ssim", alpha=0.2, tau=0.5)
    kept = (s >= 0.5) & ~np.eye(4, dtype=bool)
    assert kept.any()
    assert not kept[~np.eye(4, dtype=bool)].all()
    np.testing.assert_allclose(w, np.exp(-((1 - s) ** 2) / 0.2) * kept, rtol=1e-14)
    mean = ((1 - s) ** 2).sum() / 12
    np.testing.assert_allclose(adjacency(vectors, similarity="ssim")[0, 3], np.exp(-((1 - s[0, 3]) ** 2) / mean))


def test_ssim_is_that_of_scikit_image(rng: np.random.Generator) -> None:
    """There, with one window as large as the map."""
    maps = np.maximum(rng.normal(size=(4, 7, 7)), 0) + rng.uniform(size=(4, 1, 1))
    ours = ssim(maps.reshape(4, -1))
    extent = maps.max() - maps.min()
    for m, n in itertools.product(range(4), repeat=2):
        theirs = structural_similarity(
            maps[m], maps[n], win_size=7, data_range=extent, use_sample_covariance=False, K1=0.01, K2=0.03
        )
        assert ours[m, n] == pytest.approx(np.clip(theirs, 0, 1), abs=1e-12)
    assert np.array_equal(ssim(np.array([[0.0, 1], [1, 0]])), np.eye(2))  # opposite: negative, clipped
    assert np.array_equal(ssim(np.zeros((2, 3))), np.ones((2, 2)))


# -- spectral --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("e", [1e-6, 0.1, 0.5, 0.9, 0.999])
def test_two_pairs(e: float) -> None:
    """L has 0, 4e, 2 + 2e twice; L_N has 0, 4e / (1 + 2e), (2 + 2e) / (1 + 2e) twice; Fiedler (1, 1, -1, -1)."""
    alpha = -25 / np.log(e)
    w = adjacency(PAIRS, alpha=alpha)
    plain, normalized = (spectrum(w, 3, laplacian=kind) for kind in ("unnormalized", "normalized"))
    np.testing.assert_allclose(plain.values, [4 * e, 2 + 2 * e, 2 + 2 * e], atol=1e-12)
    np.testing.assert_allclose(normalized.values, np.array([4 * e, 2 + 2 * e, 2 + 2 * e]) / (1 + 2 * e), atol=1e-12)
    for found in (plain, normalized):
        u = found.vectors[:, 0]
        np.testing.assert_allclose(u / u[0], [1, 1, -1, -1], atol=1e-6)
    for kind in ("unnormalized", "normalized"):
        assert spectrum(w, 2, laplacian=kind).ambiguous  # the second of two equal ones is left out
        assert not spectrum(w, 1, laplacian=kind).ambiguous
        assert not spectrum(w, 3, laplacian=kind).ambiguous
        found = spectral(PAIRS, 2, alpha=alpha, laplacian=kind)
        assert found.labels.tolist() == [0, 0, 1, 1]
        assert not found.ambiguous


def test_the_printed_example() -> None:
    w = adjacency(PAIRS, alpha=-25 / np.log(0.1))
    assert spectrum(w, 1, laplacian="unnormalized").values[0] == pytest.approx(0.4, abs=1e-12)
    assert spectrum(w, 1).values[0] == pytest.approx(1 / 3, abs=1e-12)


def test_eigenvalues_are_those_of_scipys_laplacian(rng: np.random.Generator) -> None:
    w = adjacency(rng.normal(size=(12, 4)))
    for kind in ("unnormalized", "normalized"):
        lap = csgraph.laplacian(w, normed=kind == "normalized")
        values, vectors, _ = spectrum(w, 11, laplacian=kind)
        np.testing.assert_allclose(values, np.linalg.eigvalsh(lap)[1:], atol=1e-12)
        np.testing.assert_allclose(lap @ vectors, vectors * values, atol=1e-12)
        assert len(spectrum(w, 50, laplacian=kind).values) == 11


@pytest.mark.parametrize("kind", ["unnormalized", "normalized"])
def test_a_graph_that_falls_apart(kind: str) -> None:
    """The trivial vector goes, and one that tells the components apart stays."""
    two = apart(TRIANGLE, 0.5 * TRIANGLE)
    found = spectrum(two, 1, laplacian=kind)
    assert found.values == pytest.approx(0, abs=1e-12)
    assert not found.ambiguous
    signs = np.sign(found.vectors[:, 0])
    assert abs(signs[:3].sum()) == 3
    assert np.array_equal(signs[3:], -signs[:3])

    three = apart(TRIANGLE, TRIANGLE, 0.5 * TRIANGLE)
    assert spectrum(three, 1, laplacian=kind).ambiguous  # any cut between components is as good
    found = spectrum(three, 2, laplacian=kind)
    assert not found.ambiguous
    assert kmeans(found.vectors, 3).labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]

    alone = apart(TRIANGLE, np.zeros((1, 1)))
    found = spectrum(alone, 1, laplacian=kind)
    assert found.values == pytest.approx(0, abs=1e-12)
    assert kmeans(found.vectors, 2).labels.tolist() == [0, 0, 0, 1]


def test_disconnected_blobs(rng: np.random.Generator) -> None:
    vectors, truth = blobs(rng, (5, 7, 4), spread=1e-3)
    for kind in ("unnormalized", "normalized"):
        for options in ({"tau": 0.1}, {"alpha": 0.1}):
            found = spectral(vectors, 3, laplacian=kind, **options)
            assert np.array_equal(found.labels, truth)
            assert not found.ambiguous


def test_a_graph_without_edges_is_ambiguous(rng: np.random.Generator) -> None:
    for kind in ("unnormalized", "normalized"):
        found = spectral(rng.normal(size=(6, 3)), 3, tau=0.0, laplacian=kind)
        assert found.ambiguous
        assert len(found.labels) == 6


def test_zero_in_the_fiedler_vector_counts_as_positive() -> None:
    """A path of three: (1, 0, -1)."""
    found = spectral(np.array([[0.0], [1], [2]]), 2, tau=1.5, alpha=1.0, laplacian="unnormalized")
    assert found.labels.tolist() == [0, 0, 1]


def test_eigenvectors_and_clusters_are_chosen_apart(rng: np.random.Generator) -> None:
    for _ in range(5):
        vectors = rng.normal(size=(9, 2))
        signs, several, many = (spectral(vectors, m, n_vectors=p).labels for m, p in ((2, 1), (2, 4), (4, 1)))
        found = spectrum(adjacency(vectors), 4).vectors
        u = found[:, 0] * np.sign(found[0, 0])
        assert np.array_equal(signs, u < 0)
        assert np.array_equal(several, kmeans(found, 2).labels)
        assert not np.array_equal(several, signs)
        along = many[u.argsort()]
        assert len(set(many)) == 1 + np.count_nonzero(np.diff(along)) == 4  # intervals of the line


@pytest.mark.parametrize("similarity", ["distance", "ssim"])
def test_scale_does_not_matter(rng: np.random.Generator, similarity: str) -> None:
    vectors = np.maximum(rng.normal(size=(20, 16)), 0)
    for factor in (1e-6, 0.3, 7e5):
        a, b = (spectral(v, 4, similarity=similarity) for v in (vectors, factor * vectors))
        assert np.array_equal(a.labels, b.labels)
