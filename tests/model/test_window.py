"""Where in the picture the network looks."""

from typing import Any

import numpy as np
import pytest

from api.red_pictures import Redness, picture_of, redness
from limelight.api.proposing import propose
from limelight.errors import InvalidOption
from limelight.model.classifier import Classifier
from limelight.model.preprocess import Preprocess
from limelight.model.window import find_window


@pytest.mark.parametrize(
    ("resize", "crop", "size", "window"),
    [
        (None, None, (100, 140), (0, 0, 140, 100)),
        ((64, 64), None, (300, 500), (0, 0, 500, 300)),
        (64, 64, (300, 600), (150, 0, 450, 300)),
        (72, 64, (288, 288), (16, 16, 272, 272)),
        (64, 96, (128, 128), (-32, -32, 160, 160)),  # padded
        (None, 64, (900, 700), (318, 418, 382, 482)),
    ],
)
def test_where_the_network_looked(resize: Any, crop: Any, size: tuple[int, int], window: Any) -> None:
    placed = find_window(redness(resize, crop).inputs, size[1], size[0])
    np.testing.assert_allclose(placed, window, atol=0.2)


def test_preprocessing_that_turns_the_picture_is_refused() -> None:
    model = Classifier(Redness(), preprocess=lambda image: Preprocess(None, None)(image.rotate(180)), labels=["a", "b"])
    with pytest.raises(InvalidOption, match="resize and to crop"):
        propose(model, picture_of((10, 10, 30, 30)), "grad-cam", 0)


def test_boxes_and_peaks_are_in_pixels_of_the_original() -> None:
    """Four times smaller and cropped for the network, the spot is found where it is in the picture."""
    picture = picture_of((200, 120, 280, 200), size=(256, 512))
    spot, loose = (200, 120, 280, 200), (180, 60, 330, 256)
    p = propose(redness(64, 64), picture, "grad-cam", "red", boxes=[loose, spot, (0, 0, 64, 64)])
    assert p.map.shape == (64, 64)
    x, y = p.peaks[0]
    assert abs(x - 240) < 4
    assert abs(y - 160) < 4
    assert p.boxes.tolist() == [list(spot)]
    assert p.map_on_picture.shape == (256, 512)
    assert p.map_on_picture[130:190, 210:270].min() > 0.9
    assert p.map_on_picture[:, :120].max() == 0  # the network did not see that
    row, column = np.unravel_index(p.map_on_picture.argmax(), p.map_on_picture.shape)
    assert 196 <= column <= 284
    assert 116 <= row <= 204
