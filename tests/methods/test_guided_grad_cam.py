"""Guided Grad-CAM is the product of guided backprop and Grad-CAM."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

import architectures
import limelight as ll
from methods.goldens import TINY, classifier, golden, inputs
from methods.known_scores import assert_same


@pytest.mark.parametrize("model", TINY)
def test_captum_guided_grad_cam(model: str) -> None:
    about, arrays = golden(f"captum-guidedgradcam-{model}")
    attribution, target = torch.from_numpy(arrays["attr"]), torch.from_numpy(arrays["target"])
    x, layer = inputs(model)[: len(attribution)], about["hyper_parameters"]["layer"]
    method = ll.method("guided-grad-cam", profile="captum", layer=layer)
    assert_same(method.raw(classifier(model), x, target[: len(x)]), attribution.abs().amax(1))


@pytest.mark.parametrize("reduce", ["abs-max", "sum"])
def test_guided_grad_cam_is_the_product_of_both(reduce: Any) -> None:
    c, x = ll.Classifier(architectures.build("residual").double()), architectures.images(2).double()
    edges = ll.method("guided-backprop", reduce=reduce).raw(c, x, 3)
    cam = ll.method("grad-cam", layer="layer1").raw(c, x, 3).relu()[:, None]
    for interpolation, more in (("bilinear", {"align_corners": False}), ("nearest", {})):
        up = F.interpolate(cam, x.shape[-2:], mode=interpolation, **more)[:, 0]
        method = ll.method("guided-grad-cam", layer="layer1", interpolation=interpolation, reduce=reduce)
        assert_same(method.raw(c, x, 3), edges * up, 1e-12)
