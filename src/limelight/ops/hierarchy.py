"""Hierarchies of vectors, their partitions, and how well a partition separates them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int
from scipy.cluster import hierarchy
from scipy.spatial.distance import cdist, squareform

Vectors = Float[np.ndarray, "k features"]
Floats = Float[np.ndarray, " k"]
Labels = Int[np.ndarray, " k"]
"""The group of each vector, numbered from 0."""


@dataclass(frozen=True)
class Tree:
    """The hierarchy that Ward's criterion makes of vectors, from singletons to a single group.

    The two groups with the smallest Delta S(P, Q) = |P| |Q| / (|P| + |Q|) ||m_P - m_Q||^2 are merged first; what that
    is for two vectors may be doubled, see ``ward_doubled``.

    Attributes:
        merged: the groups of each merge, (k - 1, 2): below k a vector, else k plus the number of a merge.
        costs: Delta S of each merge, ascending unless it was doubled.
    """

    merged: Int[np.ndarray, "merges two"]
    costs: Float[np.ndarray, " merges"]

    @property
    def distinct(self) -> int:
        """Number of distinct vectors: equal ones merge for nothing."""
        return 1 + int(np.count_nonzero(self.costs))

    def cut(self, groups: int) -> Labels:
        """Return the partition into so many groups."""
        k = len(self.merged) + 1
        merges = k - groups
        nodes = np.arange(k + merges)
        root = nodes.copy()
        root[self.merged[:merges]] = nodes[k:, None]
        top = nodes[root == nodes]
        for _ in range(k.bit_length()):  # every step doubles how far up the tree one sees
            root = root.take(root)
        return np.searchsorted(top, root[:k])


def ward(vectors: Vectors) -> Tree:
    """Merge vectors by Ward's criterion."""
    if len(vectors) == 1:
        return Tree(np.empty((0, 2), int), np.empty(0))
    links = hierarchy.linkage(vectors, "ward")
    return Tree(links[:, :2].astype(int), links[:, 2] ** 2 / 2)  # the heights are sqrt(2 Delta S)


def ward_doubled(vectors: Vectors) -> Tree:
    """Merge vectors by Ward's criterion, but with the whole ||p - q||^2, twice Delta S, between two single vectors.

    Groups of one are so the last to be merged with each other: no metric has this hierarchy, so that the fast
    algorithms for Ward's don't find it, and every step looks at all pairs.
    """
    k = len(vectors)
    size, node = np.ones(k), np.arange(k)
    apart = cdist(vectors, vectors, "sqeuclidean")
    np.fill_diagonal(apart, np.inf)
    merged, costs = np.empty((k - 1, 2), int), np.empty(k - 1)
    nearest, least = apart.argmin(1), apart.min(1)

    def delta_s(i: int) -> Floats:
        single: npt.NDArray[np.bool_] = (size == 1) & (size[i] == 1)
        row: Floats = apart[i]
        return np.where(single, row / 2, row)

    for step in range(k - 1):
        a = int(least.argmin())
        b = int(nearest[a])
        merged[step], costs[step] = sorted((node[a], node[b])), least[a]
        together = size[a] + size[b]
        between = delta_s(a)[b]  # what follows is that of the union, from those of its parts
        union = ((size[a] + size) * delta_s(a) + (size[b] + size) * delta_s(b) - size * between) / (together + size)
        size[a], node[a] = together, k + step
        apart[b] = apart[:, b] = least[b] = union[b] = np.inf
        apart[a] = apart[:, a] = union
        stale = np.flatnonzero((nearest == a) | (nearest == b) | (np.arange(k) == a))
        nearest[stale], least[stale] = apart[stale].argmin(1), apart[stale].min(1)
        closer = union < least
        nearest[closer], least[closer] = a, union[closer]
    return Tree(merged, costs)


def complete_linkage(apart: Float[np.ndarray, "k k"], threshold: float) -> Labels:
    """Return the groups that merging makes as long as no two members of a union are farther apart than the threshold.

    Args:
        apart: distances, symmetric.
        threshold: the largest distance within a group.
    """
    if len(apart) == 1:
        return np.zeros(1, int)
    tree = hierarchy.linkage(squareform(apart, checks=False), "complete")
    labels = hierarchy.fcluster(tree, threshold, "distance")
    _, first, group = np.unique(labels, return_index=True, return_inverse=True)
    return first.argsort().argsort()[group]  # in the order of their first members


def dsra(vectors: Vectors, labels: Labels) -> float:
    """Return how well groups are separated: the mean of their (SIC - DIC) / (SIC + DIC), in [-1, 1].

    DIC is the mean squared distance of a group's vectors to their mean, SIC the smallest squared distance of
    that mean to another group's (0 if there is none), and 0 / 0 is 0.
    """
    count = np.bincount(labels)
    means = (labels == np.arange(len(count))[:, None]).astype(float) @ vectors / count[:, None]
    off = vectors - means.take(labels, 0)
    dic = np.bincount(labels, np.einsum("kf,kf->k", off, off)) / count
    apart = cdist(means, means, "sqeuclidean")
    np.fill_diagonal(apart, np.inf)
    sic = apart.min(1) if len(count) > 1 else np.zeros(1)
    total = sic + dic
    return float(((sic - dic) / np.where(total > 0, total, 1)).mean())
