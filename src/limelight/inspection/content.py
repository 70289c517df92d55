"""Whether what lies under the maxima of some maps looks alike, and rarely so in pictures of other classes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch.nn import functional as F

from limelight.inspection.record import GRID
from limelight.inspection.worker import Worker
from limelight.model.cost import Meter
from limelight.model.one_pass import pass_images
from limelight.model.preserve import preserve_state
from limelight.model.targets import Targets

AT_ONCE = 16
"""Pictures that are passed together."""
MOST = 64
"""Pictures of each side, at most."""
WINDOW = 4
"""Cells along a side of what lies under a maximum."""

Places = Int[np.ndarray, " n"]


@dataclass
class Looks:
    """Describes what lies under maxima by the network's own early layers; what was described once is remembered.

    Args:
        worker: with the model and the pictures.
        peaks: the cell of each map's maximum, by picture.
    """

    worker: Worker
    peaks: Places
    _known: dict[int, Float[np.ndarray, " d"]] = field(default_factory=dict[int, Any])

    @cached_property
    def layer(self) -> str | None:
        """The last layer of the finest resolution; None if no layer has a map."""
        return next(iter(self.worker.model.stages), None)

    def describe(self, places: Places) -> Float[np.ndarray, "n d"]:
        """Return unit vectors, (n, d): activations around each map's maximum, averaged over cells.

        There has to be such a layer.

        Args:
            places: of pictures.
        """
        lacking = [int(place) for place in places if int(place) not in self._known]
        for start in range(0, len(lacking), AT_ONCE):
            self._look(lacking[start : start + AT_ONCE])
        vectors = np.stack([self._known[int(place)] for place in places])
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def _look(self, places: Sequence[int]) -> None:
        model = self.worker.model
        x = torch.stack([self.worker.remember(int(place))[0] for place in places])
        assert self.layer is not None
        info = model.layers((self.layer,), x)[0]
        with preserve_state(model.module):
            asked = Targets.parse(None, model, x)
            seen = pass_images(model, x, asked, {info.name: info}, layer_gradients=False, meter=Meter())
        acts = seen.stages[info.name].acts
        cells = F.adaptive_avg_pool2d(acts, GRID).cpu()
        cells = cells - cells.mean((2, 3), keepdim=True)  # what is everywhere in a picture is not under its maximum
        for one, place in zip(cells, places, strict=True):
            row, column = (min(max(0, at - WINDOW // 2), GRID - WINDOW) for at in divmod(int(self.peaks[place]), GRID))
            self._known[place] = one[:, row : row + WINDOW, column : column + WINDOW].flatten().numpy()


def likeness(members: Float[np.ndarray, "n d"], others: Float[np.ndarray, "m d"]) -> float:
    """Return how far members are told from others by how alike they are: 2 AUC - 1, at least 0.

    Of each half of the members the mean is taken; the AUC is the probability that a member of the other half is nearer
    to it than a picture of another class is.

    Args:
        members: unit vectors.
        others: unit vectors.
    """
    from scipy.stats import rankdata

    halves = members[::2], members[1::2]
    areas: list[float] = []
    for mean, asked in ((halves[0].mean(0), halves[1]), (halves[1].mean(0), halves[0])):
        ranks = rankdata(np.concatenate([asked @ mean, others @ mean]))[: len(asked)].sum()
        areas.append((ranks - len(asked) * (len(asked) + 1) / 2) / (len(asked) * len(others)))
    return max(0.0, 2 * float(np.mean(areas)) - 1)
