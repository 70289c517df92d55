"""ViT-CX."""

import pytest
import torch
from torch.nn import functional as F

import limelight as ll
from architectures import exact, images
from limelight.engine.rng import Draws
from limelight.maps.region.vit_cx import group
from methods.goldens import golden, vit


def test_authors_code() -> None:
    """Without noise, at the default layer."""
    c, x, target = vit()
    _, arrays = golden("vit-vitcx-tinyvit")
    theirs, labels = torch.from_numpy(arrays["maps"]), torch.from_numpy(arrays["labels"])
    ours = ll.method("vit-cx", noise=0.0).run(c, x, target)
    assert ours.provenance["layers"] == ["blocks.3.norm1"]
    torch.testing.assert_close(ours.raw / theirs.amax(), theirs / theirs.amax(), rtol=0, atol=1e-5)
    for mine, other in zip(ours.details["groups"], labels, strict=True):
        assert torch.equal(mine[:, None] == mine, other[:, None] == other)


def test_step_by_step_with_noise() -> None:
    """One picture, the masks added up one by one as they are, each with two passes of its own."""
    c, x = exact("tokens"), images(1).double()
    saliency = ll.method("vit-cx", seed=3).run(c, x, 2)
    (layer,) = saliency.provenance["layers"]
    kept: list[torch.Tensor] = []
    handle = c.module.get_submodule(layer).register_forward_hook(lambda _m, _i, out: kept.append(out[0, 1:]))
    prob = lambda image: c.module(image).softmax(1)[0, 2].detach()  # noqa: E731
    clean = prob(x)
    handle.remove()
    shown = F.interpolate(kept[0].detach().T.reshape(1, 16, 5, 7), x.shape[2:], mode="bilinear")[0]
    scaled = lambda m: (m - m.min()) / (m.max() - m.min())  # noqa: E731
    e = 0.1 * Draws(3).normal((3, *x.shape[2:]), like=x)
    labels = saliency.details["groups"][0]
    masks = [scaled(sum(scaled(shown[j]) for j in (labels == k).nonzero()[:, 0])) for k in labels.unique()]
    p = [prob(x * m + e * (1 - m)) - prob(x + e * (1 - m)) + clean for m in masks]
    expected = sum(one * m for one, m in zip(p, masks, strict=True)) / sum(masks) / len(masks)
    torch.testing.assert_close(saliency.raw[0], expected, rtol=1e-9, atol=1e-12)
    assert str(saliency.cost) == f"{1 + 2 * len(masks)} F"


def test_channels_of_one_shape_are_one_mask() -> None:
    """Whatever their scale and offset; what varies nowhere is in no group."""
    a, b = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(0))
    labels, sums = group(torch.stack([a, torch.ones(4, 5), b, 3 * a - 7, b, 0 * a]), (8, 10), 0.01)
    assert labels.tolist() == [0, -1, 1, 0, 1, -1]
    assert not sums[2:].any()


@pytest.mark.parametrize("threshold", [0.0, 2.0])
def test_threshold(threshold: float) -> None:
    """Nothing is similar enough at 0, and everything at 2, where the one mask is the whole map."""
    saliency = ll.method("vit-cx", threshold=threshold, noise=0.0).run(exact("tokens"), images(1).double())
    assert saliency.details["groups"].unique().tolist() == ([0] if threshold else list(range(16)))
    assert str(saliency.cost) == ("2 F" if threshold else "17 F")


def test_channels_of_one_shape_have_no_distance_below_zero() -> None:
    """Where rounding makes cosines larger than 1."""
    shapes = torch.rand(16, 5, 5, generator=torch.Generator().manual_seed(0))
    labels, _ = group(shapes.repeat(2, 1, 1), (5, 5), 1e-4)
    assert labels.tolist() == 2 * list(range(16))
