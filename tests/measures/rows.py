"""A row for every metric: a model, a map and the number that is worked out by hand."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import architectures
import limelight as ll
from measures.known_models import (
    CENTRE_FIRST_CORNER_LAST,
    FALLING,
    GAINS,
    TOP,
    TOP_LEFT,
    always,
    dot,
    mean_pixel,
    ones,
    says,
    small_net,
    tensor,
    weighted_sum,
)


@dataclass
class Case:
    """A model, a map and the number that a metric gives them."""

    model: Callable[[], ll.Classifier]
    maps: Any
    expected: float
    options: dict[str, Any] = field(default_factory=dict)
    truth: Any = None
    method: str = "fake-cam"
    method_options: dict[str, Any] = field(default_factory=dict)
    image: Tensor | None = None
    tolerance: float = 1e-9


BY_HAND = {
    # Y = 0.6, O = 0.3
    "average-drop": Case(lambda: says(GAINS), [[0, 0], [1, 0]], 0.5),
    # Y = 0.6, O = 0.8
    "average-increase": Case(lambda: says(GAINS), TOP_LEFT, 1),
    "confidence-drop": Case(lambda: says(GAINS), TOP_LEFT, -1 / 3),
    # 1, .6, .3, .1, 0: (2 - .5) / 4
    "deletion": Case(lambda: says(FALLING), [[4, 3], [2, 1]], 0.375, {"step": 1}),
    # 0, .4, .7, .9, 1: (3 - .5) / 4
    "insertion": Case(lambda: says(FALLING), [[4, 3], [2, 1]], 0.625, {"step": 1, "fill": "zero"}),
    "overall": Case(lambda: says(FALLING), [[4, 3], [2, 1]], 0.25, {"step": 1, "insert_into": "zero"}),
    # the other class, 1 - q: 0, .4, .7, .9, 1: (3 - .5) / 4
    "cross-deletion": Case(lambda: says(FALLING), [[4, 3], [2, 1]], 0.625, {"step": 1}),
    # columns against rows: r = 0
    "coherency": Case(
        lambda: says(GAINS), TOP, 0.5, method="test-fixed", method_options={"rows": ((1, 0), (1, 0))}, tolerance=1e-6
    ),
    "complexity": Case(lambda: says(GAINS), [[1, 0.5], [0.25, 0]], 1.75 / 4),
    # coherency 1, complexity 3/4, drop 0: 3 / (1 + 4 + 1)
    "adcc": Case(lambda: says(always(0.3)), [[0, 1], [1, 1]], 0.5, tolerance=1e-6),
    "proportion": Case(lambda: says(GAINS), [[3, -1], [1, 0]], 0.75, truth=tensor([TOP_LEFT])),
    "pointing-game": Case(lambda: says(GAINS), [[3, -1], [1, 0]], 1, truth=tensor([TOP_LEFT])),
    "positive-ratio": Case(lambda: says(GAINS), [[3, -1], [1, 0]], 0.5),
    "grid-pg": Case(lambda: says(GAINS), [[3, -1], [1, 0]], 0.75, truth=tensor([TOP_LEFT])),
    # n = 1 .5 / 0 .5
    "outside-inside-ratio": Case(lambda: says(GAINS), [[4, 0], [-4, 0]], 1 / 3, truth=tensor([TOP_LEFT])),
    "segmentation-ap": Case(lambda: says(GAINS), [[1, -1], [1, -1]], 0.5, truth=tensor([TOP])),
    # f = .9, .6, .3: (0 + .3 + .6) / 3
    "morf": Case(
        lambda: says(weighted_sum([[0.3, 0.3]], 0.3), logits=True),
        [[2, 1]],
        0.3,
        {"cell": 1, "replace_by": "zero"},
        image=ones(1, 2),
    ),
    # the least valuable first: drops 0, .1, .3, .6, 1 of 5
    "lerf": Case(lambda: says(FALLING, logits=True), [[4, 3], [2, 1]], 0.4, {"cell": 1, "replace_by": "zero"}),
    # 100 pixels; right from 8 visible ones on, at 8 %, …, 20 %
    "morf-insertion": Case(
        lambda: says(lambda x: (mean_pixel(x) > 0.075).double()),
        torch.arange(100, 0, -1).view(10, 10).tolist(),
        13 / 20,
        {"canvas": "plain"},
        image=ones(10, 10),
    ),
    # 100 pixels, of which it takes more than 49 to say class 0: at 51 erased it says class 1
    "erasure": Case(
        lambda: says(lambda x: (mean_pixel(x) > 0.495).double()),
        torch.arange(100, 0, -1).view(10, 10).tolist(),
        1,
        {"pixels": 51},
        image=ones(10, 10),
    ),
    "sanity-cascading": Case(small_net, torch.zeros(40, 56).tolist(), 1, image=architectures.images(1), tolerance=1e-6),
    "sanity-independent": Case(
        small_net, torch.zeros(40, 56).tolist(), 1, image=architectures.images(1), tolerance=1e-6
    ),
    # p = .5 + .4 centre + .1 corner. The centre alone goes: its neighbours are 0, p falls by .4. The corner alone
    # goes: it has two direct neighbours (weight 1/6, value 0) and a diagonal one (1/12, value 1): 1/5, p gains .02.
    "road": Case(
        lambda: says(weighted_sum([[0.1, 0, 0], [0, 0.4, 0], [0, 0, 0]], 0.5)),
        CENTRE_FIRST_CORNER_LAST,
        0.21,
        {"percentiles": (99,)},
        image=dot(3, 3),
        tolerance=1e-5,
    ),
}
