"""A network without what wraps it."""

from torch import nn

import architectures
import limelight as ll


def test_wrappers_are_looked_through() -> None:
    net = architectures.build("residual")
    assert ll.Classifier(nn.DataParallel(net)).module is net
