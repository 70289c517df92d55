"""The tree of dense groups, against groups worked out on paper and connected components."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from inspection.planted import bumps, noise
from limelight.inspection.density import density_tree, reachability
from limelight.inspection.likeness import distances, resolutions, shares, signatures, usable


def test_isolation_on_paper() -> None:
    """Six points a step of 1 apart, and 14 beyond a gap of 10, two apart: at distance 10 both groups join."""
    at = np.concatenate([np.arange(6.0), 15 + 2 * np.arange(14.0)])
    apart = np.abs(at[:, None] - at)
    tree = density_tree(apart)
    groups = list(tree.isolated())
    assert [(round(t, 6), len(members)) for t, members in groups] == [
        (round(np.log(10 / 1), 6), 6),
        (round(np.log(10 / 2), 6), 14),
    ]
    assert groups[0][1].tolist() == list(range(6))
    assert tree.same_as(np.arange(20) < 5).size  # five of the six
    assert not tree.isolation[tree.same_as(np.arange(20) % 3 == 0)].any()


def test_core_distances_on_paper() -> None:
    at = np.arange(8.0)
    mutual = reachability(np.abs(at[:, None] - at), np.full(8, 2.5))
    assert mutual[0, 1] == 4  # the fourth neighbour of the first point
    assert mutual[3, 4] == 2.5  # that of inner ones is 2 away, below the resolution
    assert mutual[3, 7] == 4
    assert not mutual.diagonal().any()


def test_nodes_are_connected_components() -> None:
    points = np.random.default_rng(0).normal(size=(60, 2))
    mutual = reachability(np.linalg.norm(points[:, None] - points, axis=2), np.zeros(60))
    tree = density_tree(mutual)
    for node in range(60, 119):
        _, labels = connected_components(csr_array((mutual <= tree.heights[node]) & (mutual > 0)))
        members = tree.members(node)
        assert set(members) <= set(np.flatnonzero(labels == labels[members[0]]))
        if tree.heights[tree.parents[node]] > tree.heights[node]:
            assert len(members) == (labels == labels[members[0]]).sum()


def test_signatures_tell_where() -> None:
    maps = bumps([4, 4, 5, 11], [4, 4, 4, 11], [1, 1, 1, 1], 16)
    maps[1] *= 7
    p = shares(maps)
    x = signatures(p)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, rtol=1e-5)
    d = distances(x)
    assert d[0, 1] < 1e-3
    assert d[0, 2] == pytest.approx(resolutions(p, x)[0], abs=5e-3)  # a cell further down
    assert d[0, 3] > 1.3
    blank = signatures(shares(noise(30, np.random.default_rng(0))))
    assert np.median(distances(blank)) > 1.3  # relevance that is anywhere is not alike
    assert usable(
        np.array([[[0, 0], [0, 0]], [[1, 1], [1, 1]], [[-1, -2], [0, -1]], [[0, 0], [0, 1e-30]]])
    ).tolist() == [*(False, False, False, True)]


def test_a_mark_at_the_edge_has_no_other_resolution() -> None:
    p = shares(bumps([0, 15, 8], [0, 15, 8], [1, 1, 1], 16))
    middle = resolutions(p, signatures(p))
    assert middle.max() < 1.5 * middle.min()
