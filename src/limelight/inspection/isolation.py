"""Whether groups of maps are more isolated than chance has them."""

import numpy as np
import numpy.typing as npt

from limelight.errors import InvalidOption
from limelight.inspection.clusters import Clusters
from limelight.inspection.density import SAME, DensityTree, density_tree, reachability, smallest
from limelight.inspection.likeness import Floats, check_maps, distances, resolutions, shares, signatures

Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

TESTED = 800
"""Maps among which isolation is tested; of more, so many are drawn at random."""


def isolation_p(
    maps: npt.ArrayLike, clusters: Clusters, *, permutations: int = 199, seed: int = 0, tested: int = TESTED
) -> npt.NDArray[np.float64]:
    """Return how probable a group as isolated as each candidate is where places mean nothing.

    Where they mean nothing, each map might as well be shifted across the picture by any step; what leaves one side
    comes in at the other. Each of ``permutations`` such sets of all maps is searched for its own most isolated group,
    as the maps themselves were: of every size, the largest T of the groups of that size is told in standard deviations
    from its mean over all sets, and p is the share of sets with a larger one, of any size, than the candidate's. So p
    holds for all candidates at once, and needs no further correction (Westfall and Young 1993, section 2.5).

    Args:
        maps: those that were clustered, (n, h, w).
        clusters: of these.
        permutations: sets of shifted maps; p is never smaller than 1 / (permutations + 1).
        seed: fixes the shifts, and which maps are tested.
        tested: of more maps, so many are drawn at random.

    Returns:
        (candidates,); 1 for a group that is none at any level of density; NaN for one too small to be tested, or that
        leaves too few others: below ``density.smallest`` of the maps tested.

    Raises:
        InvalidOption: fewer than one permutation, or than 100 maps tested.
    """
    if permutations < 1 or tested < 100:
        raise InvalidOption(f"permutations = {permutations} and tested = {tested}; they are at least 1 and 100")
    if not clusters.candidates:
        return np.empty(0)
    given, rng = check_maps(maps), np.random.default_rng(seed)
    sample = np.flatnonzero(clusters.labels >= 0)
    if len(sample) > tested:
        sample = np.sort(rng.choice(sample, tested, replace=False))
    p = shares(given[sample])
    tree = _tree(p)
    nulls = np.stack([_largest(_tree(_shifted(p, rng)), len(sample)) for _ in range(permutations)])
    everyone = np.concatenate([_largest(tree, len(sample))[None], nulls])
    mean, deviation = everyone.mean(0), np.maximum(everyone.std(0), 0.01)  # a hundredth of a distance is no isolation
    by_chance = ((nulls - mean) / deviation).max(1)
    scores = (tree.isolation - mean[_size_classes(tree)]) / deviation[_size_classes(tree)]
    return np.array([_tail(by_chance, scores, tree, np.isin(sample, c.members)) for c in clusters.candidates])


def _tree(p: Floats) -> DensityTree:
    x = signatures(p)
    return density_tree(reachability(distances(x), resolutions(p, x)))


def _shifted(p: Floats, rng: np.random.Generator) -> Floats:
    """Return maps (n, h, w), each shifted on a torus by a step of its own."""
    n, h, w = p.shape
    down, right = _steps(rng, n, h), _steps(rng, n, w)
    return p[np.arange(n)[:, None, None], down[:, :, None], right[:, None, :]]


def _steps(rng: np.random.Generator, n: int, cells: int) -> Integers:
    return np.asarray((np.arange(cells) + rng.integers(cells, size=(n, 1))) % cells, dtype=np.int64)


def _size_classes(tree: DensityTree) -> Integers:
    """Return the class of each node's size; those of one class are the same but for a quarter of the members."""
    return np.floor(np.log(tree.sizes) / np.log(1 / SAME)).astype(np.int64)


def _largest(tree: DensityTree, n: int) -> npt.NDArray[np.float64]:
    """Return the largest isolation of each class of sizes."""
    largest = np.zeros(int(np.log(n) / np.log(1 / SAME)) + 2)
    np.maximum.at(largest, _size_classes(tree), tree.isolation)
    return largest


def _tail(by_chance: Floats, scores: Floats, tree: DensityTree, member: Booleans) -> float:
    same = tree.same_as(member)
    same = same[tree.isolation[same] > 0]
    if not len(same):
        return 1.0 if min(member.sum(), (~member).sum()) >= smallest(len(member)) else float("nan")
    return float((1 + (by_chance >= scores[same].max()).sum()) / (1 + len(by_chance)))
