"""Ward's hierarchy against the plain algorithm, and the separation of partitions by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray

from limelight.ops.hierarchy import dsra, ward, ward_doubled

Groups = set[frozenset[int]]


def groups(labels: NDArray[np.int_]) -> Groups:
    assert sorted(set(labels.tolist())) == list(range(labels.max() + 1))
    return {frozenset(np.flatnonzero(labels == g).tolist()) for g in range(labels.max() + 1)}


def merged_naively(vectors: NDArray[np.float64], between_singles: float = 1) -> dict[int, Groups]:
    """Merge the two groups with the smallest cost until one is left; return the partition of every size.

    The cost of two single vectors is multiplied by a factor.
    """
    members = [frozenset([i]) for i in range(len(vectors))]
    means, sizes = vectors.copy(), np.ones(len(vectors))

    def costs(g: int) -> NDArray[np.float64]:
        found = sizes[g] * sizes / (sizes[g] + sizes) * ((means - means[g]) ** 2).sum(1)
        found[g] = np.inf
        return found * np.where((sizes == 1) & (sizes[g] == 1), between_singles, 1)

    cost = np.stack([costs(g) for g in range(len(vectors))])
    partitions = {len(members): set(members)}
    while len(members) > 1:
        p, q = sorted(int(at) for at in np.unravel_index(cost.argmin(), cost.shape))
        means[p] = (sizes[p] * means[p] + sizes[q] * means[q]) / (sizes[p] + sizes[q])
        sizes[p] += sizes[q]
        members[p] |= members.pop(q)
        means, sizes = np.delete(means, q, 0), np.delete(sizes, q)
        cost = np.delete(np.delete(cost, q, 0), q, 1)
        cost[p] = cost[:, p] = costs(p)
        partitions[len(members)] = set(members)
    return partitions


@pytest.mark.parametrize("seed", range(5))
def test_every_partition_of_a_few_vectors(seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(40, 4))
    tree, expected = ward(vectors), merged_naively(vectors)
    for k in range(1, 41):
        assert groups(tree.cut(k)) == expected[k]


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_coarse_partitions_of_many_vectors(scale: float) -> None:
    """Also where two entries are a thousand times smaller than the others."""
    vectors = np.random.default_rng(1).gamma(0.5, size=(512, 4)) * [1, 1, scale, scale]
    tree, expected = ward(vectors), merged_naively(vectors)
    for k in range(2, 11):
        assert groups(tree.cut(k)) == expected[k]


def on_a_line(*values: float) -> NDArray[np.float64]:
    return np.pad(np.array(values, float)[:, None], ((0, 0), (0, 3)))


@pytest.mark.parametrize("seed", range(3))
def test_twice_the_cost_of_two_single_vectors(seed: int) -> None:
    """Line 3 of the paper's Algorithm 1 to the letter: another hierarchy than Ward's."""
    vectors = np.random.default_rng(seed).normal(size=(40, 4))
    plain = merged_naively(vectors, 2)
    tree = ward_doubled(vectors)
    assert all(groups(tree.cut(size)) == plain[size] for size in range(1, 41))
    assert any(groups(ward(vectors).cut(size)) != plain[size] for size in range(2, 11))


def test_equal_vectors_are_together_at_once_also_at_twice_the_cost() -> None:
    vectors = np.repeat(np.random.default_rng(0).normal(size=(5, 4)), 7, 0)
    tree = ward_doubled(vectors)
    assert tree.distinct == 5
    assert groups(tree.cut(5)) == {frozenset(range(i, i + 7)) for i in range(0, 35, 7)}
    assert ward_doubled(vectors[:1]).cut(1).tolist() == [0]


def test_by_hand() -> None:
    vectors = on_a_line(0, 1, 10, 12)
    tree = ward(vectors)
    np.testing.assert_allclose(tree.costs[:2], [0.5, 2], rtol=1e-12)
    assert groups(tree.cut(3)) == {frozenset([0, 1]), frozenset([2]), frozenset([3])}
    assert groups(tree.cut(2)) == {frozenset([0, 1]), frozenset([2, 3])}
    # Two groups: means 1/2 and 11, 110.25 apart, mean squared distances 1/4 and 1.
    assert dsra(vectors, tree.cut(2)) == pytest.approx((110 / 110.5 + 109.25 / 111.25) / 2, rel=1e-12)
    assert dsra(vectors, tree.cut(2)) == pytest.approx(0.98875, abs=5e-6)
    assert dsra(vectors, tree.cut(3)) == pytest.approx(0.99816, abs=5e-6)
    assert dsra(vectors, tree.cut(4)) == 1


def test_single_vectors_are_separated_perfectly() -> None:
    vectors = np.random.default_rng(2).normal(size=(40, 4))
    assert dsra(vectors, ward(vectors).cut(40)) == 1


def test_groups_nearer_to_each_other_than_to_themselves() -> None:
    """Means 5 and 6, mean squared distances 25 and 36: ((1 - 25) / 26 + (1 - 36) / 37) / 2."""
    vectors, labels = on_a_line(0, 10, 0, 12), np.array([0, 0, 1, 1])
    assert dsra(vectors, labels) == pytest.approx((-24 / 26 - 35 / 37) / 2, rel=1e-12)


def test_nothing_to_separate() -> None:
    assert dsra(on_a_line(3, 3, 3), np.zeros(3, int)) == 0  # 0 / 0
    assert dsra(on_a_line(3, 4), np.zeros(2, int)) == -1  # there is no other group
    assert dsra(on_a_line(3, 3, 3, 3), np.array([0, 0, 1, 1])) == 0


def test_equal_vectors() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(6, 4))[rng.permutation(np.repeat(np.arange(6), 5))]
    tree = ward(vectors)
    assert tree.distinct == 6
    expected = {frozenset(np.flatnonzero((vectors == v).all(1)).tolist()) for v in vectors}
    assert groups(tree.cut(6)) == expected
    assert dsra(vectors, tree.cut(6)) == pytest.approx(1, abs=1e-15)
    assert ward(np.zeros((7, 4))).distinct == 1


def test_one_vector() -> None:
    tree = ward(np.ones((1, 4)))
    assert tree.distinct == 1
    assert tree.cut(1).tolist() == [0]
