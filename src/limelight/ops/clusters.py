"""Clusters of vectors: K-means and spectral.

Clusters are numbered in the order of their first members, so that equal partitions have equal labels.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from scipy.spatial.distance import pdist, squareform

from limelight.quiet import quiet

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Start = Callable[[Floats, int, np.random.RandomState], Floats]
"""Gives the means (clusters, z) from which K-means starts."""
Init = Literal["kmeans++", "random_partition"]
Similarity = Literal["distance", "ssim"]
Laplacian = Literal["normalized", "unnormalized"]


class Partition(NamedTuple):
    """Clusters of vectors.

    Attributes:
        labels: the cluster of each vector, (k,).
        ambiguous: whether there are others that are equally right.
    """

    labels: Labels
    ambiguous: bool = False


class Spectrum(NamedTuple):
    """The smallest eigenvalues of a graph, and the positions that they give its vertices.

    Attributes:
        values: the trivial 0 left out, ascending, (p,).
        vectors: a row per vertex, (k, p).
        ambiguous: whether the next eigenvalue equals the last of these, so that other vectors would do as well.
    """

    values: Floats
    vectors: Floats
    ambiguous: bool


def distinct(vectors: Floats) -> int:
    """Count the vectors (k, z) that differ by more than rounding."""
    scale = np.abs(vectors).max() or 1.0
    return len(np.unique(np.round(vectors / scale, 9) + 0.0, axis=0))  # + 0 turns -0 into 0


def kmeans(vectors: Floats, n_clusters: int, *, init: Init = "kmeans++", seed: int = 0, n_init: int = 10) -> Partition:
    """Assign vectors to the nearest of the clusters' means, until no assignment changes.

    Args:
        vectors: (k, z).
        n_clusters: at most so many; never more than there are distinct vectors.
        init: ``kmeans++``, the best of ``n_init`` starts; ``random_partition``, one start from the means of clusters
            to which the vectors are assigned at random.
        seed: fixes the starts.
        n_init: how many starts, of which the tightest partition is kept.
    """
    n_clusters = min(n_clusters, distinct(vectors))
    start, starts = (_spread_means, n_init) if init == "kmeans++" else (_random_means, 1)
    with quiet():  # nearly equal vectors may leave a cluster empty
        return Partition(_in_order(fit_kmeans(vectors, n_clusters, start, starts=starts, tol=0.0, seed=seed)))


def fit_kmeans(
    vectors: Floats,
    n_clusters: int,
    start: Start | Literal["k-means++"] = "k-means++",
    *,
    starts: int = 10,
    tol: float = 1e-4,
    seed: int = 0,
) -> Labels:
    """Return the clusters of vectors (k, z) as scikit-learn's K-means numbers them.

    Args:
        vectors: (k, z).
        n_clusters: no more than distinct vectors.
        start: gives the means to start from; ``k-means++`` is scikit-learn's own.
        starts: of so many the best is taken.
        tol: how little the means move at the end, relative to the vectors' variance.
        seed: fixes the starts.
    """
    settings: dict[str, Any] = {"init": start, "n_init": starts, "max_iter": 300, "tol": tol, "random_state": seed}
    from sklearn.cluster import KMeans  # takes a second to be imported

    model = cast(Any, KMeans(n_clusters, **settings))
    return model.fit_predict(vectors).astype(np.int64)


def _spread_means(vectors: Floats, n_clusters: int, random_state: np.random.RandomState) -> Floats:
    """Return means to start from: vectors drawn one by one, with odds of the squared distance from those before.

    One trial each: the best of several, which scikit-learn takes otherwise, is often a draw that rounding decides.
    """
    from sklearn.cluster import kmeans_plusplus  # pyright: ignore[reportUnknownVariableType]

    means, _ = kmeans_plusplus(vectors, n_clusters, random_state=random_state, n_local_trials=1)
    return means


def _random_means(vectors: Floats, n_clusters: int, random_state: np.random.RandomState) -> Floats:
    """Return the means of clusters to which the vectors are assigned at random."""
    labels = random_state.randint(n_clusters, size=len(vectors))
    for nobody in np.setdiff1d(np.arange(n_clusters), labels):
        apart = ((vectors - _means(vectors, labels, n_clusters)[labels]) ** 2).sum(1)
        labels[apart.argmax()] = nobody
    return _means(vectors, labels, n_clusters)


def _means(vectors: Floats, labels: Labels, n_clusters: int) -> Floats:
    member = np.arange(n_clusters)[:, None] == labels
    return member @ vectors / np.maximum(member.sum(1, keepdims=True), 1)


def _in_order(labels: npt.NDArray[Any]) -> Labels:
    _, first, label = np.unique(labels, return_index=True, return_inverse=True)
    return first.argsort().argsort()[label].astype(np.int64)


def most_clusters(k: int) -> int:
    """Return the largest number of clusters that ``elbow`` considers for k vectors: ceil(log2 k) + 1."""
    return (k - 1).bit_length() + 1


def elbow(vectors: Floats, *, init: Init = "kmeans++", seed: int = 0, n_init: int = 10) -> int:
    """Choose the number of clusters, 3 to ceil(log2 k) + 1, at the knee of K-means' inertia.

    The knee is where the curve lies farthest below the straight line between its ends.
    """
    numbers = range(3, most_clusters(len(vectors)) + 1)
    if len(numbers) < 3:
        return min(3, most_clusters(len(vectors)))
    curve: Floats = np.array(
        [inertia(vectors, kmeans(vectors, m, init=init, seed=seed, n_init=n_init).labels) for m in numbers]
    )
    line = np.linspace(float(curve[0]), float(curve[-1]), len(curve))
    return numbers[int((line - curve).argmax())]


def inertia(vectors: Floats, labels: Labels) -> float:
    """Return the summed squared distance of the vectors from their clusters' means."""
    return float(((vectors - _means(vectors, labels, int(labels.max()) + 1)[labels]) ** 2).sum())


def adjacency(
    vectors: Floats, *, similarity: Similarity = "distance", tau: float | None = None, alpha: float | None = None
) -> Floats:
    """Return the weights W of the graph whose vertices are the vectors.

    ``distance``: W = exp(-r^2 / alpha) where r = |v_m - v_n| <= tau. ``ssim``: W = exp(-(1 - s)^2 / alpha) where
    s >= tau. Otherwise, and on the diagonal, 0.

    Args:
        vectors: (k, z).
        similarity: which of the two.
        tau: None keeps all edges.
        alpha: None for the mean of r^2, or of (1 - s)^2, over all pairs.

    Returns:
        (k, k), symmetric.
    """
    if similarity == "distance":
        apart = squareform(pdist(vectors, "sqeuclidean"))
        kept = np.full(apart.shape, True) if tau is None else apart <= tau**2
    else:
        s = ssim(vectors)
        apart = (1 - s) ** 2
        kept = np.full(apart.shape, True) if tau is None else s >= tau
    k = len(vectors)
    scale = alpha if alpha is not None else apart.sum() / max(1, k * (k - 1))
    return np.exp(-apart / (scale or 1.0)) * (kept & ~np.eye(k, dtype=np.bool_))


def ssim(vectors: Floats) -> Floats:
    """Return the structural similarity of maps, seen as one window each, clipped to [0, 1]: (k, z) -> (k, k).

    Population moments; C1 = (0.01 R)^2 and C2 = (0.03 R)^2, where R is the range of all maps together.
    """
    extent = np.ptp(vectors) or 1.0
    c1, c2 = (0.01 * extent) ** 2, (0.03 * extent) ** 2
    mean = vectors.mean(1)
    centred = vectors - mean[:, None]
    covariance = centred @ centred.T / vectors.shape[1]
    variance = covariance.diagonal()
    luminance = (2 * np.outer(mean, mean) + c1) / (np.add.outer(mean**2, mean**2) + c1)
    structure = (2 * covariance + c2) / (np.add.outer(variance, variance) + c2)
    return np.clip(luminance * structure, 0, 1)


def spectrum(w: Floats, n_vectors: int, *, laplacian: Laplacian = "normalized") -> Spectrum:
    """Return the eigenvectors of a graph's Laplacian with the smallest eigenvalues, without the trivial one.

    L = D - W with D = diag(W 1); normalised, D^-1/2 L D^-1/2, where an isolated vertex has D^-1/2 = 0 and
    is a component of its own with eigenvalue 0. The trivial vector t, 1 or D^1/2 1, is moved to the other end
    of the spectrum by adding a multiple of t t^T, also where the graph falls apart and 0 is repeated.

    Args:
        w: weights, (k, k), symmetric with an empty diagonal.
        n_vectors: p; at most k - 1.
        laplacian: which of the two.
    """
    k, degree = len(w), w.sum(1)
    lap, trivial = np.diag(degree) - w, np.ones(k)
    if laplacian == "normalized" and degree.any():
        root = np.sqrt(degree)
        inverse = np.divide(1, root, where=root > 0, out=np.zeros(k))
        lap, trivial = inverse[:, None] * lap * inverse, root
    trivial = trivial / np.linalg.norm(trivial)
    beyond = float(np.abs(lap).sum(1).max()) + 1  # no eigenvalue is larger than a row's absolute sum
    p = min(n_vectors, k - 1)
    values, vectors = eigh(lap + beyond * np.outer(trivial, trivial), subset_by_index=[0, p])
    return Spectrum(values[:p], vectors[:, :p], bool(values[p] - values[p - 1] <= 1e-10 * beyond))


def spectral(
    vectors: Floats,
    n_clusters: int,
    *,
    n_vectors: int | None = None,
    similarity: Similarity = "distance",
    tau: float | None = None,
    alpha: float | None = None,
    laplacian: Laplacian = "normalized",
    init: Init = "kmeans++",
    seed: int = 0,
    n_init: int = 10,
) -> Partition:
    """Assign vectors to the clusters of the graph that they span: K-means on its eigenvectors.

    Two clusters from one eigenvector, the Fiedler vector, are its signs; 0 counts as positive. Ambiguous where
    the next eigenvector has the same eigenvalue as the last that is used.

    Args:
        vectors: (k, z).
        n_clusters: at most so many; never more than there are distinct vectors.
        n_vectors: eigenvectors; None for one less than clusters.
        similarity: see ``adjacency``.
        tau: see ``adjacency``.
        alpha: see ``adjacency``.
        laplacian: see ``spectrum``.
        init: see ``kmeans``.
        seed: see ``kmeans``.
        n_init: see ``kmeans``.
    """
    n_clusters = min(n_clusters, distinct(vectors))
    if n_clusters == 1:
        return Partition(np.zeros(len(vectors), np.int64))
    w = adjacency(vectors, similarity=similarity, tau=tau, alpha=alpha)
    eigen = spectrum(w, n_vectors or n_clusters - 1, laplacian=laplacian)
    if n_clusters == 2 and eigen.vectors.shape[1] == 1:
        u = np.round(eigen.vectors[:, 0], 9)
        return Partition(_in_order(u * u[u != 0][0] >= 0), eigen.ambiguous)
    return kmeans(eigen.vectors, n_clusters, init=init, seed=seed, n_init=n_init)._replace(ambiguous=eigen.ambiguous)
