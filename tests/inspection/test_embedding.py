"""Maps in a plane."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from inspection.planted import planted
from limelight.errors import InvalidOption, MissingExtra
from limelight.inspection import embedding
from limelight.inspection.embedding import embed, embedding_method


def test_like_maps_are_neighbours() -> None:
    maps, truth = planted(40, [0.5], seed=0)
    maps = np.concatenate([np.zeros((1, 16, 16), np.float32), maps])
    points = embed(maps, 3, method="t-sne")
    assert points.shape == (41, 2)
    assert np.isnan(points[0]).all()
    mark, other = (points[1:][truth == k].mean(0) for k in (1, 0))
    nearer = np.linalg.norm(points[1:] - mark, axis=1) < np.linalg.norm(points[1:] - other, axis=1)
    assert (nearer == (truth == 1)).all()
    np.testing.assert_array_equal(points, embed(maps, 3, method="t-sne"))


def test_others_follow_landmarks() -> None:
    maps, truth = planted(60, [0.5], seed=0)
    points = embed(maps, method="t-sne", landmarks=30)
    mark, other = (points[truth == k].mean(0) for k in (1, 0))
    nearer = np.linalg.norm(points - mark, axis=1) < np.linalg.norm(points - other, axis=1)
    assert (nearer == (truth == 1)).mean() > 0.9


def test_few_maps_have_places_too() -> None:
    maps, _ = planted(4, [0.5], seed=0)
    for n in range(5):
        points = embed(maps[:n], method="t-sne")
        assert points.shape == (n, 2)
        assert np.isfinite(points).all()
    assert not embed(maps[:1], method="t-sne").any()
    assert not embed(np.repeat(maps[:1], 8, 0), method="t-sne").any()  # all at one place


def test_umap_is_used_if_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    maps, _ = planted(12, [0.5], seed=0)
    given = {}

    class Umap:
        def __init__(self, **options: int) -> None:
            given.update(options)

        def fit_transform(self, x: np.ndarray) -> np.ndarray:
            return x[:, :2]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Umap))
    monkeypatch.setattr(embedding.importlib.util, "find_spec", lambda name: name)
    assert embedding_method() == "umap"
    assert embed(maps, 5).shape == (12, 2)
    assert given == {"n_neighbors": 11, "random_state": 5, "n_jobs": 1}
    monkeypatch.setattr(embedding.importlib.util, "find_spec", lambda name: None)
    assert embedding_method() == "t-sne"
    with pytest.raises(MissingExtra, match=r"limelight\[inspect\]"):
        embed(maps, method="umap")
    with pytest.raises(InvalidOption, match="'umap' or 't-sne'"):
        embed(maps, method="pca")  # type: ignore[arg-type]
