"""Clusters of explanation maps: spectral relevance analysis, and dense groups beside it.

Explanation maps of a class's pictures are put in clusters, so that a strategy that the network has for some of them,
such as a mark in a corner, stands out (Lapuschkin et al. 2019). A partition of all maps is not enough where a few look
at one place and the others anywhere; so there are candidates too: groups that are dense and isolated at some level.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, eigsh

from limelight.errors import InvalidOption
from limelight.inspection.density import SAME, SMALLEST, DensityTree, density_tree, reachability, smallest
from limelight.inspection.likeness import check_maps, distances, resolutions, shares, signatures, usable
from limelight.ops.clusters import kmeans, spectrum

Floats = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Graph: TypeAlias = "csr_array[Any]"
Booleans = npt.NDArray[np.bool_]

LANDMARKS = 2000
"""Maps among which clusters are looked for; of more, so many are drawn at random, and the rest follows the nearest."""
NEIGHBOURS = 7
"""Maps that each one is joined to in the graph, the last of which gives its scale (Zelnik-Manor and Perona 2004)."""
GAP = 4.0
"""How many times larger than an interval's the step between two eigenvalues is where clusters end."""
DENSE = 500
"""Maps whose eigenvectors are worked out by a dense decomposition; of more, by Lanczos' method."""
CHUNK = 2048
"""Maps at a time that are assigned to landmarks. It changes memory, not results."""


@dataclass(frozen=True)
class Candidate:
    """A group of maps that may be a strategy.

    Attributes:
        members: sorted indices of its maps, (s,).
        source: the partition or the density that it is a group of.
        isolation: T = log(D / d), 0 or more: at distance d it is connected, and up to D nothing joins it
            (``density.DensityTree``); 0 if it is a group at no level of density, or too small for one.
        silhouette: mean silhouette of its maps against all others, in [-1, 1].
    """

    members: Integers
    source: Literal["spectral", "density"]
    isolation: float
    silhouette: float


@dataclass(frozen=True)
class Clusters:
    """Clusters of n maps.

    Attributes:
        labels: the spectral cluster of each map, (n,): 0 is the largest. -1: the map is set aside, as it has no
            positive relevance, or the same everywhere.
        eigenvalues: the smallest of the graph's normalised Laplacian, ascending, (at most ``most`` + 1,).
        gaps: for 2, 3, … clusters the step that the eigenvalues make after them, see ``count_clusters``.
        silhouettes: mean silhouette of each cluster, (clusters,); NaN for a single one.
        density_labels: HDBSCAN's clusters of the same maps, (n,): -1 where it has none.
        agreement: the adjusted Rand index of both, over the maps in HDBSCAN's clusters; NaN if there are none. It says
            nothing about a single cluster, of which HDBSCAN makes some of any size, or none.
        candidates: groups that may be a strategy, the most isolated first, no two the same (Jaccard above 0.8).
        landmarks: indices of the maps among which the clusters were looked for: all that are not set aside, or
            ``LANDMARKS`` of them. Everything but labels and members is of these alone.
    """

    labels: Integers
    eigenvalues: Floats
    gaps: Floats
    silhouettes: Floats
    density_labels: Integers
    agreement: float
    candidates: tuple[Candidate, ...]
    landmarks: Integers

    @property
    def n_clusters(self) -> int:
        """How many spectral clusters there are."""
        return int(self.labels.max(initial=-1)) + 1

    @property
    def set_aside(self) -> Integers:
        """Indices of the maps without positive relevance, or with the same everywhere."""
        return np.flatnonzero(self.labels < 0)


def cluster(maps: npt.ArrayLike, *, most: int = 8, seed: int = 0, landmarks: int = LANDMARKS) -> Clusters:
    """Cluster explanation maps of a class's pictures by where they look.

    Each map becomes its positive part of unit sum, then a vector (``likeness.signatures``). The maps' graph
    (``similarity_graph``) has the normalised Laplacian L = 1 - D^-1/2 W D^-1/2; its eigenvalues choose the number of
    clusters (``count_clusters``), and K-means on the rows of D^-1/2 times its eigenvectors is the partition. Dense
    groups of the same maps are candidates beside the partition's, and HDBSCAN is a second opinion about it.

    Args:
        maps: (n, h, w), of any scale and sign.
        most: clusters at most, and candidates from each source.
        seed: fixes which maps are landmarks, and K-means' starts.
        landmarks: as many maps at most span the graph; a dense group has a fortieth of them at least.

    Raises:
        InvalidMap: not maps, or not finite.
        InvalidOption: ``most`` below 1, or fewer than 100 landmarks.

    Source: Lapuschkin et al. 2019, methods; von Luxburg 2007, section 4.
    """
    if most < 1 or landmarks < 100:
        raise InvalidOption(f"most = {most} and landmarks = {landmarks}; they are at least 1 and 100")
    given = check_maps(maps)
    valid = np.flatnonzero(usable(given))
    chosen, rng = valid, np.random.default_rng(seed)
    if len(valid) > landmarks:
        chosen = np.sort(rng.choice(valid, landmarks, replace=False))
    if len(chosen) < 2 * SMALLEST:  # no two groups
        return _single(len(given), valid)
    p = shares(given[chosen])
    x = signatures(p)
    resolution, apart = resolutions(p, x), distances(x)
    weights = similarity_graph(apart, resolution)
    partition = spectral_partition(weights, most, seed)
    mutual = reachability(apart, resolution)
    dense = _hdbscan(mutual)
    tree = density_tree(mutual)
    candidates = list(_candidates(partition.labels, tree, apart, most))
    nearest = _nearest(given, valid, chosen, x)
    return Clusters(
        labels=_spread(len(given), valid, partition.labels[nearest]),
        eigenvalues=partition.eigenvalues,
        gaps=partition.gaps,
        silhouettes=_silhouettes(apart, partition.labels),
        density_labels=_spread(len(given), valid, dense[nearest]),
        agreement=_agreement(partition.labels, dense),
        candidates=tuple(_of_all(candidate, nearest, valid) for candidate in candidates),
        landmarks=chosen,
    )


def _single(n: int, valid: Integers) -> Clusters:
    labels, none = _spread(n, valid, np.zeros(len(valid), np.int64)), np.empty(0)
    one = np.full(min(1, len(valid)), np.nan)
    return Clusters(labels, none, none, one, np.full(n, -1), float("nan"), (), valid)


def _spread(n: int, valid: Integers, labels: Integers) -> Integers:
    everyone = np.full(n, -1)
    everyone[valid] = labels
    return everyone


def similarity_graph(apart: Floats, resolution: Floats) -> Graph:
    """Return the weights of the graph of maps: w_ij = exp(-d_ij^2 / (s_i s_j)) between neighbours, otherwise 0.

    The scale s_i is the distance to the seventh neighbour (Zelnik-Manor and Perona 2004, section 2.1), at least i's
    resolution; i's neighbours are all within s_i, and i is a neighbour of theirs.

    Args:
        apart: d, (n, n), symmetric with an empty diagonal; n > 7.
        resolution: (n,).

    Returns:
        (n, n), symmetric with an empty diagonal.
    """
    scale = np.maximum(np.partition(apart, NEIGHBOURS, axis=1)[:, NEIGHBOURS], resolution)
    near = np.triu(apart <= np.maximum(scale[:, None], scale), 1).nonzero()
    weights = np.exp(-(apart[near].astype(np.float64) ** 2) / (scale[near[0]] * scale[near[1]]))
    rows, columns = (at.astype(np.int32) for at in near)  # SciPy 1.11 counts components of no other
    half = coo_array((weights, (rows, columns)), shape=apart.shape)
    return cast("Graph", (half + half.T).tocsr())


class Spectral(NamedTuple):
    """The partition of a graph of n maps: labels (n,), numbered by size; eigenvalues; gaps of ``count_clusters``."""

    labels: Integers
    eigenvalues: Floats
    gaps: Floats


def spectral_partition(weights: Graph, most: int, seed: int = 0) -> Spectral:
    """Return the clusters of a graph, as many as its eigenvalues say.

    Args:
        weights: (n, n), symmetric with an empty diagonal; each vertex has an edge.
        most: clusters at most.
        seed: fixes K-means' starts, and where the search for eigenvectors starts.
    """
    eigenvalues, rows = eigenmap(weights, most + 1, seed)
    n_clusters, gaps = count_clusters(eigenvalues)
    if n_clusters == 1:
        return Spectral(np.zeros(len(rows), np.int64), eigenvalues, gaps)
    return Spectral(_by_size(kmeans(rows[:, :n_clusters], n_clusters, seed=seed).labels), eigenvalues, gaps)


def eigenmap(weights: Graph, n_vectors: int, seed: int = 0, *, dense: int = DENSE) -> tuple[Doubles, Doubles]:
    """Return the smallest eigenvalues l of L = 1 - D^-1/2 W D^-1/2, ascending, and D^-1/2 times their eigenvectors.

    The eigenvectors of 0 are known: D^1/2 on each component of the graph, and 0 elsewhere. Lanczos' method, which may
    overlook some of equal eigenvalues, looks for the others alone: these are moved to 2, the other end of the spectrum.

    Args:
        weights: W, (n, n), symmetric with an empty diagonal; each vertex has an edge.
        n_vectors: p; at most n.
        seed: where the search starts.
        dense: up to so many vertices all is worked out by a dense decomposition.

    Returns:
        Eigenvalues (p,) and rows (n, p).
    """
    root = np.sqrt(np.asarray(weights.sum(1)).ravel())
    n, p = len(root), min(n_vectors, len(root))
    if n <= max(dense, p + 1):
        eigen = spectrum(weights.toarray(), p - 1)
        values, vectors = np.append(0, eigen.values), np.column_stack([root / np.linalg.norm(root), eigen.vectors])
        return np.maximum(values, 0), vectors / root[:, None]
    parts, part = cast(tuple[int, Integers], connected_components(weights))
    known = root[:, None] * (part[:, None] == np.arange(parts))
    known /= np.linalg.norm(known, axis=0)
    if parts >= p:
        return np.zeros(p), known[:, :p] / root[:, None]

    def product(v: Doubles) -> Doubles:
        return weights @ (v / root) / root - 2 * known @ (known.T @ v)

    others = LinearOperator((n, n), matvec=product, dtype=np.float64)
    start = np.random.default_rng(seed).normal(size=n)
    values, vectors = cast(tuple[Doubles, Doubles], eigsh(others, p - parts, which="LA", v0=start))
    order = np.argsort(-values)
    every = np.concatenate([np.zeros(parts), np.maximum(1 - values[order], 0)])
    return every, np.concatenate([known, vectors[:, order]], 1) / root[:, None]


def count_clusters(eigenvalues: Floats, *, gap: float = GAP, floor: float = 1e-4) -> tuple[int, Floats]:
    """Return the number of clusters, and the gaps behind 2, 3, … clusters: g_m = (l_m / l_{m-1}) / (m / (m - 1))^2.

    m clusters have m eigenvalues near 0, l_0 to l_{m-1}, and l_m is far larger. But so are those of one interval, along
    which an object moves: l_m is proportional to m^2 there, and nearer together for what moves in two directions or
    more. So the step is told in units of an interval's, and there is one cluster where none is ``gap`` times as large.

    Args:
        eigenvalues: l_0, l_1, …, ascending from 0, (k,).
        gap: the step that ends clusters.
        floor: added to all, so that rounding is no gap.

    Returns:
        1, or the m with the largest gap, or the largest m if all eigenvalues are 0; and the gaps, (max(k - 2, 0),).
    """
    m = np.arange(2, len(eigenvalues))
    raised = eigenvalues + floor
    gaps = raised[2:] / raised[1:-1] / (m / (m - 1)) ** 2
    if len(m) and eigenvalues[-1] < 1e-9:  # more parts than clusters at most
        return int(m[-1]), gaps
    return (int(m[gaps.argmax()]) if len(gaps) and gaps.max() > gap else 1), gaps


def _by_size(labels: Integers) -> Integers:
    """Number clusters by size, the largest first."""
    order = np.argsort(-np.bincount(labels), kind="stable")
    return order.argsort()[labels]


def _hdbscan(mutual: Floats) -> Integers:
    from sklearn.cluster import HDBSCAN  # takes a second to be imported

    settings: dict[str, Any] = {"metric": "precomputed", "min_samples": 1, "copy": False}
    model = cast(Any, HDBSCAN(min_cluster_size=smallest(len(mutual)), **settings))
    return model.fit_predict(mutual.astype(np.float64)).astype(np.int64)


def _agreement(labels: Integers, dense: Integers) -> float:
    from sklearn import metrics

    inside = dense >= 0
    return (
        float(cast(Any, metrics).adjusted_rand_score(labels[inside], dense[inside])) if inside.any() else float("nan")
    )


def _silhouettes(apart: Floats, labels: Integers) -> Floats:
    """Return each cluster's mean silhouette, NaN for a single one."""
    from sklearn import metrics

    if labels.max() == 0:
        return np.full(1, np.nan)
    each = cast(Any, metrics).silhouette_samples(apart, labels, metric="precomputed")
    return np.bincount(labels, each) / np.bincount(labels)


def _candidates(labels: Integers, tree: DensityTree, apart: Floats, most: int) -> Iterator[Candidate]:
    """Yield distinct groups, of landmarks, the most isolated first; of two that are the same, the partition's."""
    groups: list[tuple[float, Integers, Literal["spectral", "density"]]] = []
    for label in range(int(labels.max()) + 1 if labels.max() else 0):
        same = tree.same_as(labels == label)
        groups.append((float(tree.isolation[same].max(initial=0)), np.flatnonzero(labels == label), "spectral"))
    masks = [labels == label for label in range(len(groups))]
    n_dense = 0
    for isolation, members in tree.isolated():
        if n_dense == most:
            break
        mask = np.zeros(len(labels), np.bool_)
        mask[members] = True
        if all((mask & other).sum() <= SAME * (mask | other).sum() for other in masks):
            groups.append((isolation, members, "density"))
            masks.append(mask)
            n_dense += 1
    for isolation, members, source in sorted(groups, key=lambda group: -group[0]):
        yield Candidate(members, source, isolation, _silhouette(apart, members))


def _silhouette(apart: Floats, members: Integers) -> float:
    """Return the mean silhouette of a group's members against all others together."""
    own, everyone = apart[np.ix_(members, members)].sum(1), apart[members].sum(1)
    inside = own / max(1, len(members) - 1)
    outside = (everyone - own) / (len(apart) - len(members))
    return float(((outside - inside) / np.maximum(inside, outside)).mean())


def _nearest(given: Floats, valid: Integers, chosen: Integers, x: Floats) -> Integers:
    """Return which landmark is the nearest to each map in ``valid``."""
    if len(chosen) == len(valid):
        return np.arange(len(valid))
    chunks = (valid[start : start + CHUNK] for start in range(0, len(valid), CHUNK))
    return np.concatenate([(signatures(shares(given[chunk])) @ x.T).argmax(1) for chunk in chunks])


def _of_all(candidate: Candidate, nearest: Integers, valid: Integers) -> Candidate:
    members = valid[np.isin(nearest, candidate.members)]
    return Candidate(members, candidate.source, candidate.isolation, candidate.silhouette)
