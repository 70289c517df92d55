"""What the conformance battery makes of a method: which networks and options, and what it is compared with.

``refuses`` tells which networks a method refuses by definition.
"""

from functools import lru_cache

import torch
from torch import Tensor

import architectures
import limelight as ll
from architectures import ARCHITECTURES, exact, images
from limelight.engine.saliency import Saliency

REFUSES = {
    # Its weights are those of a linear layer behind global average pooling. "dense" has a ReLU in between
    # that is no module, so that its last layer's activations are not what is pooled.
    "cam": {"plain", "dense", "tokens"},
}


def refuses(name: str, architecture: str) -> bool:
    """Tell whether a method refuses a network by definition."""
    return architecture in REFUSES.get(name, ()) or (ll.methods()[name].tokens_only and architecture != "tokens")


NOISE_HAS_NO_EFFECT = {
    # The layer feeds a linear head: its gradient is the same for every noisy copy.
    "smooth-grad-cam++": {"residual", "inception", "depthwise"},
}
TARGET = [1, 4, 2]


CHEAPER_WHERE_DEAD = {
    # Constant channels and empty masks, of which every picture has its own, are not passed.
    *("ablation-cam", "score-cam", "ss-cam", "is-cam", "group-cam", "sc-sm-cam", "cluster-cam", "collection-cam"),
    # Channels of similar shape share a mask.
    "vit-cx",
    # The search for a first mask, or for the length of a step, ends before its last candidate.
    *("emp", "i-gos", "aop", "sigcam"),
}
TIES: dict[str, set[str]] = {
    # The path begins at a constant picture, where all pixels of a max-pooling window are equal and rounding picks
    # the one through which the gradient goes.
    "xrai": {"plain"},
}
COARSE: dict[str, set[str]] = {
    # Its mean over channels is nearly 0 there, of either sign.
    "agf": {"dense"},
}
WEIGHED_BY_PROBABILITY = {
    # Whatever score is explained; a function has no probability, so that its own values stand for it.
    "group-cam",
}
FORKS = {
    # The length of a step is decided by whether the score has fallen, by less than float32 can tell at first.
    *("i-gos", "aop", "sigcam"),
}
FEWER: dict[str, dict[str, object]] = {  # options that make a method quick enough for hundreds of runs
    "ss-cam": {"n": 2},
    "is-cam": {"n": 3},
    "occlusion": {"window": 12, "stride": 8},
    "rise": {"n_masks": 40},
    "d-rise": {"n_masks": 40, "cells": 6},
    "tis": {"n_masks": 8},
    "xrai": {"steps": 4},
    # Coefficients of 1e-4 from scores that are rounded at 3e-8 would not do to compare by.
    "integrated-gradients": {"n": 8},
    "smooth-grad": {"n": 4},
    "var-grad": {"n": 4},
    "gradient-shap": {"n": 6},
    "emp": {"n": 6, "size": 12},
    "extremal-perturbation": {"n": 4, "sigma": 9},
    "i-gos": {"n": 3, "points": 4, "size": 12, "l1": 0.01, "tv": 0.2},
    "aop": {"size": 12, "warmup": 1, "optimiser_options": {"n": 3, "points": 4}},
    "sigcam": {"size": 12, "warmup": 1, "n": 3, "optimiser_options": {"points": 4}},
    "lime": {"n_samples": 60, "scale": 12, "baseline": "black"},
}


def make(name: str, **options: object) -> ll.Method:
    return ll.method(name, **{**FEWER.get(name, {}), **options})


def classifier(architecture: str, *, inplace: bool = False) -> ll.Classifier:
    return ll.Classifier(architectures.build(architecture, inplace=inplace))


# Two ways to the same map round differently, on every processor in its own way, and float32 leaves some methods few
# digits or none: small differences of scores, relevance divided by what is nearly 0, steps that depend on whether a
# score has fallen. Such laws are checked in float64; what float32 makes of a map is for "double" to say.


@lru_cache(maxsize=len(ARCHITECTURES))
def _reference(name: str, function: object, architecture: str) -> Saliency:
    return make(name).run(exact(architecture), images().double(), TARGET)


def reference(method: ll.Method, architecture: str) -> Saliency:
    """Return what a method says in float64; worked out once for all checks."""
    return _reference(method.name, method.function, architecture)  # by name alone, one twin would pass for another


def close(a: Tensor, b: Tensor, message: str) -> None:
    """Compare raw maps in float64, on the scale of the largest value."""
    assert a.dtype == b.dtype == torch.float64
    scale = b.abs().amax()
    torch.testing.assert_close(a / scale, b / scale, rtol=1e-6, atol=1e-8, msg=lambda m: f"{message}: {m}")
