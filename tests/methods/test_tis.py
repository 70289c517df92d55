"""Transformer Input Sampling."""

import pytest
import torch

import limelight as ll
from architectures import exact, images
from limelight.maps.region import tis
from methods.goldens import golden, vit


def test_authors_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the centroids that they had, which are some of the channels."""
    c, x, target = vit()
    _, arrays = golden("vit-tis-tinyvit")
    theirs = iter(torch.from_numpy(arrays["raw_masks"]))
    monkeypatch.setattr(tis, "centroids", lambda _channels, _n, _seed: next(theirs))
    saliency = ll.method("tis").run(c, x, target)
    torch.testing.assert_close(saliency.details["scores"], torch.from_numpy(arrays["scores"]), rtol=0, atol=1e-5)
    torch.testing.assert_close(saliency.raw, torch.from_numpy(arrays["maps"]), rtol=0, atol=1e-5)
    assert str(saliency.cost) == "33 F"


def test_tokens_that_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three samples by hand: a token has the mean score of its samples; without one it is 0, which is said."""
    c, x = exact("tokens"), images(2).double()
    means = torch.zeros(2, 4, 35).double()
    for m, first in enumerate((0, 1, 20)):
        means[0, m, first : first + 3] = 1.0
    means[1] = torch.eye(35)[[0, 5, 10, 15]] + torch.linspace(0, 0.1, 35)
    ours = iter(means)
    monkeypatch.setattr(tis, "centroids", lambda _channels, _n, _seed: next(ours))
    saliency = ll.method("tis", keep=3 / 35).run(c, x, 1)
    p, first = saliency.details["scores"], saliency.raw[0].flatten()
    assert p[0, 3] == 0  # the constant one has no sample
    expected = torch.zeros(35).double()
    expected[[0, 1, 2, 3, 20, 21, 22]] = torch.stack(
        [p[0, 0], p[0, :2].mean(), p[0, :2].mean(), p[0, 1], *[p[0, 2]] * 3]
    )
    torch.testing.assert_close(first, expected)
    (flags,) = saliency.flagged.values()
    assert flags.tolist() == [True, True]
    assert saliency.cost.n_forward == 1 + 7 / 2


def test_samples_of_all_tokens_are_the_picture() -> None:
    """Every sample has its score, and so has every token: the map says nothing."""
    saliency = ll.method("tis", keep=1.0, n_masks=4).run(exact("tokens"), images(2).double())
    torch.testing.assert_close(saliency.raw, saliency.score[:, None, None].expand(2, 5, 7))
    assert saliency.degenerate.all()


def test_centroids() -> None:
    """The means of channels that are alike; no more than differ, the rest empty."""
    a, b = torch.rand(2, 6, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    found = tis.centroids(torch.stack([a, b + 0.01, a, b - 0.01]), 2, 0)
    torch.testing.assert_close(found[found[:, 0].argsort()], torch.stack([a, b])[torch.stack([a, b])[:, 0].argsort()])
    few = tis.centroids(torch.stack([a, b, a, a]), 3, 0)
    assert few.any(1).sum() == 2
    assert few.shape == (3, 6)
