"""Small pictures of an inspection: some that follow a strategy, with their maps, and the mean of all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from limelight import draw
from limelight.draw.paint import GREEN
from limelight.draw.plane import to_rgb
from limelight.errors import LimelightError
from limelight.inspection.beside import free_cells, free_of
from limelight.inspection.findings import Strategy
from limelight.inspection.frame import Frame, Region, find_frame
from limelight.inspection.worker import Worker
from limelight.ops.scale import resize
from limelight.pages.page import Figure

SIDE = 96
"""Longer side of a picture, pixels."""

MOST = 150
"""Pictures on one page."""

ALPHA = 0.5
"""Strength of a map's colours: what lies under them is to be seen."""


@dataclass
class Thumbnails:
    """Makes small pictures until a page has enough.

    Attributes:
        worker: with the model and the pictures.
        names: of the pictures.
        left: how many more are made.
        keys: of those that are made.
    """

    worker: Worker
    names: Sequence[str]
    left: int = MOST
    keys: set[str] = field(default_factory=set[str])

    def show(self, strategy: Strategy, most: int) -> list[Figure]:
        """Return the mean map of a strategy and some of its pictures with their maps; the region is outlined in each.

        Args:
            strategy: which.
            most: pictures.
        """
        frame = strategy.proofs[0].frame if strategy.proofs else None
        figures = [_mean(strategy, frame)]
        for figure in self._examples(strategy, frame):
            if len(figures) > most or not self.left:
                break
            self.left -= 1
            self.keys.add(figure.key)
            figures.append(figure)
        return figures

    def read(self, place: int) -> Image.Image | None:
        """Return a picture as the network sees it; None if it is gone since: a page without it is better than none."""
        try:
            x, _ = self.worker.read(place)
        except LimelightError:
            return None
        return Image.fromarray(to_rgb(self.worker.model.inputs.display(x).cpu().numpy()))

    def _examples(self, strategy: Strategy, frame: Frame | None) -> Iterator[Figure]:
        for place, relevance in zip(map(int, strategy.examples), strategy.example_maps, strict=True):
            ground = self.read(place)
            if ground is None:
                continue
            size = (ground.height, ground.width)
            shown = shrink(draw.overlay(np.asarray(ground), _enlarge(relevance, size), alpha=ALPHA))
            if frame is not None and frame.bound != "whole":
                there = self._beside(place, relevance) if frame.bound == "beside" else relevance
                own = replace(find_frame(there[None], size, frame.bound), region=frame.region).own()[0]
                shown = _outline(shown, own)
            name = self.names[place]
            yield Figure(shown, f"{name} with its map.", name, photo=True, key=str(place))

    def _beside(self, place: int, relevance: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the relevance that lies beside a picture's object, or all where there is none."""
        _, mask = self.worker.read(place)
        apart = relevance * free_cells(free_of([mask]), len(relevance))[0].numpy() if mask is not None else relevance
        return apart if apart.any() else relevance


def _mean(strategy: Strategy, frame: Frame | None) -> Figure:
    """Return the mean map, with the region where it stays at one place."""
    height, width = frame.region.shape if frame is not None else (1, 1)
    mean = Image.fromarray(draw.colorize(strategy.mean_map / max(float(strategy.mean_map.max()), 1e-30)))
    scale = SIDE / max(height, width)
    shown = mean.resize((round(width * scale), round(height * scale)), Image.Resampling.NEAREST)
    outlined = frame is not None and frame.bound in ("place", "agreement")
    if frame is not None and outlined:
        shown = _outline(shown, frame.region)
    what = ", the patch outlined" if outlined else ""
    return Figure(shown, f"Mean map of {len(strategy.members)} pictures{what}.", "mean map")


def _enlarge(relevance: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return a map as large as its picture, in [0, 1]."""
    positive = torch.as_tensor(relevance).clamp_min(0)[None]
    return (resize(positive, size)[0] / positive.max().clamp_min(1e-30)).clamp(0, 1).numpy()


def _outline(shown: Image.Image, region: Region) -> Image.Image:
    """Outline a region of a picture that has been made small."""
    small = Image.fromarray(region.numpy()).resize(shown.size, Image.Resampling.NEAREST)
    return draw.outline_mask(shown, np.asarray(small), color=GREEN, width=1)


def shrink(shown: Image.Image) -> Image.Image:
    """Return a picture whose longer side has ``SIDE`` pixels."""
    scale = SIDE / max(shown.size)
    return shown.resize((max(1, round(shown.width * scale)), max(1, round(shown.height * scale))))
