"""Every method over one, two and three axes of space: it works, or refuses in a line.

The oracle is a picture as a volume of depth 1: a network of pictures, lifted by kernels of depth 1, gives the same map.
"""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision import models

import limelight as ll
import spaces
from conftest import script
from spaces import SIZES, classifier

REFUSED = {"extremal-perturbation"}
"""Methods of pictures alone."""
HEADS = {"cam": {"plain", "tokens"}}
"""Networks that a method refuses whatever their images are."""
EMPTY = {"emp"}
"""The first disk's edge is wider than these signals, so that a few steps leave a mask constant."""
FEWER: dict[str, dict[str, object]] = {
    "ss-cam": {"n": 2},
    "is-cam": {"n": 3},
    "occlusion": {"window": 4, "stride": 3},
    "rise": {"n_masks": 30},
    "tis": {"n_masks": 4},
    "d-rise": {"n_masks": 30, "cells": 5},
    "xrai": {"steps": 4, "segmentation": "slic", "min_new_pixels": 2, "dilation": 1},
    "integrated-gradients": {"n": 6},
    "smooth-grad": {"n": 4},
    "var-grad": {"n": 4},
    "gradient-shap": {"n": 4},
    "emp": {"n": 4, "size": 6},
    "i-gos": {"n": 2, "points": 3, "size": 6, "l1": 0.01, "tv": 0.2},
    "aop": {"size": 6, "warmup": 1, "optimiser_options": {"n": 2, "points": 3}},
    "sigcam": {"size": 6, "warmup": 1, "n": 2, "optimiser_options": {"points": 3}},
    "lime": {"n_samples": 40, "scale": 27, "baseline": "black"},
}
NETWORKS = [
    pytest.param(network, marks=[] if network == "residual" else [pytest.mark.slow]) for network in spaces.NETWORKS
]


def refused(name: str, network: str) -> bool:
    return network in HEADS.get(name, ()) or (ll.methods()[name].tokens_only and network != "tokens")


def same(a: Tensor, b: Tensor) -> None:
    """Two ways to a map in float64 differ by rounding."""
    torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8 * float(b.abs().max()))


def make(name: str, **options: object) -> ll.Method:
    return ll.method(name, **{**FEWER.get(name, {}), **options})


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("sides", [1, 3])
@pytest.mark.parametrize("name", ll.methods())
def test_signals_and_volumes(name: str, sides: int, network: str) -> None:
    c, x = classifier(network, sides), spaces.images(sides)
    if name in REFUSED:
        with pytest.raises(ll.errors.UnsupportedModel, match="explains pictures"):
            make(name).run(c, x)
        return
    if refused(name, network):
        return
    together = make(name).run(c, x)
    assert together.map.shape == (2, *SIZES[sides])
    assert torch.isfinite(together.raw).all()
    assert network != "residual" or name in EMPTY or not any(together.reasons)
    same(torch.cat([make(name).raw(c, one[None]) for one in x]), together.raw)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", [name for name in ll.methods() if name not in REFUSED])
def test_a_picture_is_a_volume_of_depth_1(name: str, network: str) -> None:
    if refused(name, network):
        return
    x = spaces.images(2)
    flat = make(name).run(classifier(network, 2), x)
    lifted = make(name).run(classifier(network, 3, lifted=True), x[:, :, None])
    same(lifted.raw.view(flat.raw.shape), flat.raw)
    torch.testing.assert_close(lifted.map[:, 0], flat.map, rtol=0, atol=1e-5)
    assert lifted.reasons == flat.reasons
    assert str(lifted.cost) == str(flat.cost)


def test_views_of_pictures_are_refused() -> None:
    for name, options, what in (
        ("grad-cam", {"augment": "flip"}, "views of"),
        ("xrai", {}, "felzenszwalb cuts pictures"),
    ):
        with pytest.raises(ll.errors.InvalidOption, match=what):
            ll.method(name, **options).run(classifier("residual", 3), spaces.images(3))


def test_an_optimiser_of_pictures_is_refused() -> None:
    with pytest.raises(ll.errors.UnsupportedModel, match="aop explains pictures"):
        ll.method("aop", optimiser="extremal-perturbation").run(classifier("residual", 1), spaces.images(1))


@pytest.mark.slow
@pytest.mark.parametrize("network", ["densenet", "r3d_18"])
def test_known_networks(network: str) -> None:
    """A DenseNet as medical imaging has it, and torchvision's network of clips."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if network == "densenet":
            net, size = (
                script(Path(__file__).parents[2] / "benchmarks" / "volumes.py").densenet((2, 2), 8, 8),
                (1, 32, 32, 32),
            )
        else:
            net, size = models.video.r3d_18(weights=None).eval(), (3, 4, 32, 32)
        x = torch.randn(1, *size)
    c = ll.Classifier(net, size=size[1:])
    for name in ("grad-cam", "layer-cam", "score-cam", "gradient", "lrp", "rise", "i-gos"):
        options = {"score-cam": {"top": 2}, "rise": {"n_masks": 4}, "i-gos": {"n": 1, "points": 2}}.get(name, {})
        saliency = ll.method(name, **options).run(c, x)
        assert saliency.map.shape == (1, *size[1:])
        assert torch.isfinite(saliency.map).all()
        assert not any(saliency.reasons) or name == "i-gos"
