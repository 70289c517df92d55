"""The picture as it was taken, and maps laid on it, at its own size."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from limelight.model.inputs import Inputs
from limelight.model.window import Window, find_window, place_on_picture

Array = npt.NDArray[Any]

On = Literal["input", "original"]
"""What a map is laid on: the network's input, or the whole picture at its own size."""

UNSEEN = 0.35
"""Brightness of what the network did not see, of which nothing is known."""


@dataclass(frozen=True, eq=False)
class Ground:
    """What a map is laid on.

    Attributes:
        pixels: (rows, columns, 3).
        map: lays a map or mask of the network's input, (*space), on it: (rows, columns).
        seen: what the network saw, (rows, columns); None for all.
    """

    pixels: npt.NDArray[np.uint8]
    map: Callable[[Array], Array]
    seen: npt.NDArray[np.bool_] | None = None

    @property
    def whole(self) -> bool:
        """Whether the network saw all of it."""
        return self.seen is None or bool(self.seen.all())

    def region(self, mask: Array) -> npt.NDArray[np.bool_]:
        """Lay a mask of the network's input on it."""
        return self.map(mask.astype(np.float32)) > 0.5

    def shade(self, picture: Image.Image) -> Image.Image:
        """Darken what the network did not see."""
        if self.seen is None or self.whole:
            return picture
        light = np.where(self.seen, 1, UNSEEN)[..., None]
        return Image.fromarray((np.asarray(picture) * light).astype(np.uint8))


@dataclass(frozen=True, eq=False)
class Original:
    """The picture as it was taken, upright, of which the network saw a part, resized.

    Attributes:
        read: gives its colours, (H, W, 3).
        inputs: how it became the network's input.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image().resize((300, 200)), "grad-cam")
        >>> original = explanation.original
        >>> original.pixels.shape, [round(end) for end in original.window], round(original.cut, 2)
        ((200, 300, 3), [50, 0, 250, 200], 0.33)
        >>> original.place(explanation.map.numpy()).shape
        (200, 300)
    """

    read: Callable[[], npt.NDArray[np.uint8]]
    inputs: Inputs

    @cached_property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """Its colours, (H, W, 3)."""
        return self.read()

    @cached_property
    def window(self) -> Window:
        """Where in it the network's input lies: x0, y0, x1, y1 in pixels, beyond its edges where that is padded.

        Raises:
            InvalidOption: the preprocessing turns, mirrors or bends the picture.
        """
        height, width = self.pixels.shape[:2]
        return find_window(self.inputs, width, height)

    @property
    def cut(self) -> float:
        """Share of the picture that the network did not see."""
        return 1 - float(self.seen.mean())

    @cached_property
    def seen(self) -> npt.NDArray[np.bool_]:
        """Which pixels the network saw: those whose centres lie in the window, (H, W)."""
        x0, y0, x1, y1 = self.window
        height, width = self.pixels.shape[:2]
        row, column = np.mgrid[:height, :width] + 0.5
        return (row >= y0) & (row < y1) & (column >= x0) & (column < x1)

    def place(self, values: Array) -> npt.NDArray[np.float32]:
        """Lay a map of the network's input, (h, w), on the picture: (H, W), 0 where the network did not look."""
        height, width = self.pixels.shape[:2]
        return place_on_picture(values, self.window, width, height)

    @property
    def ground(self) -> Ground:
        """The picture to draw maps on."""
        return Ground(self.pixels, self.place, self.seen)
