"""Outlines of boxes on a picture."""

import numpy as np
from PIL import Image

from limelight.draw.boxes import Outline, outline


def test_outlines() -> None:
    black = Image.new("RGB", (50, 40))
    drawn = np.asarray(outline(black, [Outline((10, 10, 30, 30), "#00ff00")], [(40, 20)], size=200))
    assert drawn.shape == (160, 200, 3)
    green = (drawn == (0, 255, 0)).all(-1)
    y, x = np.nonzero(green)
    np.testing.assert_allclose((x.min(), y.min(), x.max(), y.max()), (40, 40, 120, 120), atol=2)
    assert not green[50:110, 50:110].any()
    assert (drawn[80, 160] == 255).all()  # the cross
    dashed = np.asarray(outline(black, [Outline((10, 10, 30, 30), "#00ff00", dashed=True)], size=200))
    assert 0 < (dashed == (0, 255, 0)).all(-1).sum() < 0.8 * green.sum()
    edge = np.asarray(outline(black, [Outline((0, 0, 50, 40), "#00ff00")], size=200))
    assert (edge == (0, 255, 0)).all(-1).sum() > 1000  # seen although it lies on the picture's edge
