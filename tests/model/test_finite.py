"""Logits that are not finite are refused, and their cause is named."""

import pytest
import torch

import architectures
import limelight as ll
from limelight import errors


def test_bad_weights_are_named() -> None:
    net = architectures.build("residual")
    net.layer1.conv1.weight.data[0] = torch.nan
    with pytest.raises(errors.NonFinite, match=r"image 0: its weights are not finite: layer1\.conv1\.weight"):
        ll.Classifier(net)(architectures.images(2))
    with pytest.raises(errors.NonFinite, match="layer1"):
        ll.method("grad-cam")(ll.Classifier(net), architectures.images(2))


def test_overflow_is_explained() -> None:
    net = architectures.build("residual")
    with pytest.raises(errors.NonFinite, match="are they normalised"):
        ll.Classifier(net)(architectures.images(1) * 1e38)
    net.fc.weight.data.mul_(1e5)  # a number that float16 holds, but not the sums it leads to
    with pytest.raises(errors.NonFinite, match="float16 overflows"):
        ll.Classifier(net.half())(architectures.images(1).half() * 10)
