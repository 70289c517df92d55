"""Dense groups of vectors at every level of density, and how isolated each is."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

Floats = npt.NDArray[np.floating]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

SMALLEST = 5
"""Members that a group has at least; of more than 200 vectors, a fortieth of them."""
SAME = 0.8
"""Jaccard's index, members in common by members of either, above which two groups are the same."""


def smallest(n: int) -> int:
    """Return how many of n vectors make a group."""
    return max(SMALLEST, n // 40)


def reachability(apart: Floats, resolution: Floats) -> Floats:
    """Return the mutual reachability distance m_ij = max(d_ij, c_i, c_j).

    The core distance c_i is that within which there are ``smallest`` vectors, i itself among them, and at least i's
    resolution, below which there is no structure. As many as a group has, so that it tells a group from vectors that
    are everywhere, however many there are.

    Args:
        apart: d, (n, n), symmetric with an empty diagonal; n >= 5.
        resolution: (n,).

    Returns:
        (n, n), symmetric with an empty diagonal.

    Source: Campello, Moulavi and Sander 2013, definitions 1 to 3.
    """
    within = np.partition(apart, smallest(len(apart)) - 1, axis=1)[:, smallest(len(apart)) - 1]
    core = np.maximum(within, np.maximum(resolution, 1e-6))
    mutual = np.maximum(np.maximum(apart, core[:, None]), core)
    np.fill_diagonal(mutual, 0)
    return mutual


@dataclass(frozen=True)
class DensityTree:
    """The groups that are connected at some distance: the single linkage of n vectors, of which each node is a group.

    Attributes:
        order: the vectors, (n,), such that each node's stand together.
        starts: where in ``order`` a node's vectors begin, (2 n - 1,); nodes 0 to n - 1 are single vectors.
        sizes: how many they are, (2 n - 1,).
        parents: the node into which a node merges, (2 n - 1,); the root's is itself.
        isolation: T = log(D / d) of each node, (2 n - 1,): it is connected at distance d, and up to D it remains the
            same group, which gains at most a quarter of its members, or of the others if these are fewer. 0 where fewer
            than ``smallest`` are in it, or out of it.
        heights: d, (2 n - 1,); 0 for single vectors.
    """

    order: Integers
    starts: Integers
    sizes: Integers
    parents: Integers
    isolation: Floats
    heights: Floats

    def members(self, node: int) -> Integers:
        """Return the sorted vectors of a node."""
        return np.sort(self.order[self.starts[node] : self.starts[node] + self.sizes[node]])

    def same_as(self, member: Booleans) -> Integers:
        """Return the nodes that are the same as a group, of which ``member``, (n,), tells the members."""
        total = np.concatenate([[0], np.cumsum(member[self.order])])
        common = total[self.starts + self.sizes] - total[self.starts]
        return np.flatnonzero(common > SAME * (self.sizes + member.sum() - common))

    def isolated(self) -> Iterator[tuple[float, Integers]]:
        """Yield isolation and sorted members of the groups with an isolation above 0, the most isolated first.

        The members are those at the distance sqrt(d D), halfway from d to D.
        """
        seen = set[int]()
        for node in np.argsort(-self.isolation, kind="stable"):
            if self.isolation[node] <= 0:
                return
            halfway, grown = self.heights[node] * np.exp(self.isolation[node] / 2), int(node)
            while self.parents[grown] != grown and self.heights[self.parents[grown]] <= halfway:
                grown = int(self.parents[grown])
            if grown not in seen:
                yield float(self.isolation[node]), self.members(grown)
            seen.add(grown)


def density_tree(mutual: Floats) -> DensityTree:
    """Return the tree of groups that a mutual reachability distance (n, n) spans; n >= 2."""
    n = len(mutual)
    merges = linkage(squareform(mutual, checks=False), "single")
    children = merges[:, :2].astype(np.int64)
    sizes = np.concatenate([np.ones(n, np.int64), merges[:, 3].astype(np.int64)])
    heights = np.concatenate([np.zeros(n), merges[:, 2]])
    starts, parents = np.zeros(2 * n - 1, np.int64), np.full(2 * n - 1, 2 * n - 2)
    parents[children] = np.arange(n, 2 * n - 1)[:, None]
    first_sizes = sizes[children[:, 0]]
    for merge in range(n - 2, -1, -1):
        first, second = children[merge]
        starts[first] = starts[merge + n]
        starts[second] = starts[merge + n] + first_sizes[merge]
    order = np.empty(n, np.int64)
    order[starts[:n]] = np.arange(n)
    return DensityTree(order, starts, sizes, parents, _isolation(sizes, heights, parents), heights)


def _isolation(sizes: Integers, heights: Floats, parents: Integers) -> Floats:
    n, isolation = int(sizes[-1]), np.zeros(len(sizes))
    nodes = np.flatnonzero(np.minimum(sizes, n - sizes) >= smallest(n))
    largest = sizes[nodes] + (1 / SAME - 1) * np.minimum(sizes[nodes], n - sizes[nodes])
    grown = nodes
    while (same := sizes[grown] <= largest).any():  # the root is never the same
        grown = np.where(same, parents[grown], grown)
    isolation[nodes] = np.log(heights[grown] / heights[nodes])
    return isolation
