"""Numbers worked out by hand or by a slower, plainer program: at least one for every metric."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

import architectures
import limelight as ll
from conftest import shared
from limelight.card import METHODS
from limelight.errors import (
    InvalidImage,
    InvalidMap,
    InvalidOption,
    LimelightError,
    MissingTruth,
    UnknownMetric,
    UnknownTarget,
)
from limelight.measures.agreement.adcc import harmonic_mean
from limelight.ops.statistics import estimate

NAN = math.nan
Doubles = npt.NDArray[np.float64]

# -- models whose answer is known ----------------------------------------------------------------------------


class Answer(nn.Module):
    """Says what a function of the images says: two probabilities, or two logits."""

    def __init__(self, function: Callable[[Tensor], Tensor], logits: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.function, self.logits = function, logits
        self.register_buffer("unit", torch.ones((), dtype=dtype))
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().clone())
        value = self.function(x)
        if self.logits:
            return torch.stack([value, 0 * value], 1)
        value = value.clamp(0, 1)  # the library shows noise to a model it meets for the first time
        return torch.stack([value, 1 - value], 1)


def says(
    function: Callable[[Tensor], Tensor],
    *,
    logits: bool = False,
    mean: float = 0.0,
    std: float = 1.0,
    dtype: torch.dtype = torch.double,
    multilabel: bool = False,
) -> ll.Classifier:
    """A model with p(class 0) = function(x), or with logits (function(x), 0)."""
    outputs = "logits" if logits or multilabel else "probabilities"
    module = Answer(function, logits or multilabel, dtype)
    return ll.Classifier(module, mean=(mean,) * 3, std=(std,) * 3, outputs=outputs, multilabel=multilabel)


def weighted(weights: Sequence[Sequence[float]], offset: float = 0.0) -> Callable[[Tensor], Tensor]:
    """offset + sum of weights times the first colour."""
    w = torch.tensor(weights, dtype=torch.double)
    return lambda x: offset + (x[:, 0] * w.to(x)).sum((1, 2))


def mean_pixel(x: Tensor) -> Tensor:
    return x.mean((1, 2, 3))


def always(value: float) -> Callable[[Tensor], Tensor]:
    return lambda x: value + 0 * x.mean((1, 2, 3))


GAINS = weighted([[0.3, 0.1], [-0.2, -0.1]], 0.5)
"""0.6 on ones; 0.8 with the first pixel alone, 0.3 with the third alone, 0.5 with nothing."""
FALLING = weighted([[0.4, 0.3], [0.2, 0.1]])
"""1 on ones; each pixel is worth less than the one before."""


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.double)


def ones(*size: int, n: int = 1) -> Tensor:
    return torch.ones(n, 3, *size, dtype=torch.double)


def close(ours: Tensor, expected: Any, tolerance: float = 1e-9) -> None:
    expected = torch.as_tensor(expected, dtype=torch.double).expand(ours.shape)
    torch.testing.assert_close(ours.double(), expected, rtol=0, atol=tolerance, equal_nan=True)


# -- methods whose map is known ------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def methods_for_tests() -> Iterator[None]:
    """``test-fixed`` always gives the same map, ``test-mean`` the mean colour, ``test-grads`` the gradient."""

    def fixed(image: Tensor, *, rows: tuple[tuple[float, ...], ...]) -> Tensor:
        return torch.tensor(rows).to(image).expand(len(image), -1, -1)

    def mean_colour(image: Tensor) -> Tensor:
        return image.mean(1)

    def gradient(grads: Tensor) -> Tensor:
        return grads.sum(1)

    known = {"test-fixed": fixed, "test-mean": mean_colour, "test-grads": gradient}
    for name, function in known.items():
        layers = "one" if function is gradient else "none"
        ll.register_method(name, family="test", cites="none", cost="1 F", layers=layers)(function)
    yield
    for name in known:
        METHODS.own.pop(name)


# -- one of each, by hand ------------------------------------------------------------------------------------


@dataclass
class Case:
    model: Callable[[], ll.Classifier]
    maps: Any
    expected: float
    options: dict[str, Any] = field(default_factory=dict)
    truth: Any = None
    method: str = "fake-cam"
    method_options: dict[str, Any] = field(default_factory=dict)
    image: Tensor | None = None
    tolerance: float = 1e-9


TOP_LEFT, TOP = [[1, 0], [0, 0]], [[1, 1], [0, 0]]
CENTRE_FIRST_CORNER_LAST = [[0, 1, 2], [3, 8, 4], [5, 6, 7]]


def dot(*size: int) -> Tensor:
    """A bright pixel in the middle of a picture."""
    x = torch.zeros(1, 3, *size, dtype=torch.double)
    x[..., size[0] // 2, size[1] // 2] = 1
    return x


def small_net() -> ll.Classifier:
    return ll.Classifier(architectures.build("plain"))


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
        lambda: says(weighted([[0.3, 0.3]], 0.3), logits=True),
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
    "sanity-cascading": Case(small_net, torch.zeros(40, 56).tolist(), 1, image=architectures.images(1), tolerance=1e-6),
    "sanity-independent": Case(
        small_net, torch.zeros(40, 56).tolist(), 1, image=architectures.images(1), tolerance=1e-6
    ),
    # p = .5 + .4 centre + .1 corner. The centre alone goes: its neighbours are 0, p falls by .4. The corner alone
    # goes: it has two direct neighbours (weight 1/6, value 0) and a diagonal one (1/12, value 1): 1/5, p gains .02.
    "road": Case(
        lambda: says(weighted([[0.1, 0, 0], [0, 0.4, 0], [0, 0, 0]], 0.5)),
        CENTRE_FIRST_CORNER_LAST,
        0.21,
        {"percentiles": (99,)},
        image=dot(3, 3),
        tolerance=1e-5,
    ),
}


def test_every_metric_has_a_number_worked_out_by_hand() -> None:
    assert set(BY_HAND) == set(ll.metrics())


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name: str) -> None:
    case = BY_HAND[name]
    maps = tensor([case.maps])
    x = ones(*maps.shape[1:]) if case.image is None else case.image
    method = ll.method(case.method, **case.method_options)
    values = ll.metric(name, **case.options)(case.model(), x, 0, maps, method=method, truth=case.truth)
    assert values.shape == (1,)
    close(values, [case.expected], case.tolerance)


# -- what the explained part alone is worth ------------------------------------------------------------------

MASKS = tensor([TOP_LEFT, [[0, 0], [1, 0]], [[1, 1], [1, 1]], [[0, 0], [0, 0]]])
DROPS = ("average-drop", "average-increase", "confidence-drop")


@pytest.mark.parametrize(
    ("name", "expected"),
    # O = .8, .3, .6, .5 against Y = .6
    [
        ("average-drop", [0, 1 / 2, 0, 1 / 6]),
        ("average-increase", [1, 0, 0, 0]),
        ("confidence-drop", [-1 / 3, 1 / 2, 0, 1 / 6]),
    ],
)
def test_drops(name: str, expected: list[float]) -> None:
    close(ll.metric(name)(says(GAINS), ones(2, 2, n=4), 0, MASKS), expected)


def test_drop_of_another_class_than_the_predicted() -> None:
    """Y is the probability of the explained class, not the largest: 0.4 here, and O = .2, .7, .4, .5."""
    c, x = says(GAINS), ones(2, 2, n=4)
    close(ll.metric("average-drop")(c, x, 1, MASKS), [0.5, 0, 0, 0])
    close(ll.metric("average-increase")(c, x, 1, MASKS), [0, 1, 0, 1])


def test_class_is_the_one_of_the_whole_picture() -> None:
    """Without a target: class 0 (0.6), although class 1 wins once the picture is masked (O = 0.3)."""
    close(ll.metric("average-drop")(says(GAINS), ones(2, 2), None, tensor([[[0, 0], [1, 0]]])), 0.5)


def test_unclipped_drop_is_at_most_the_clipped_one() -> None:
    """Equal if and only if there is no increase; with clip= always."""
    rng = torch.Generator().manual_seed(0)
    maps = torch.rand(64, 2, 2, generator=rng, dtype=torch.double)
    args = (says(GAINS), ones(2, 2, n=64), 0, maps)
    drop, increase, signed = (ll.metric(name)(*args) for name in DROPS)
    assert 0 < increase.sum() < 64
    assert (signed <= drop).all()
    assert torch.equal(signed == drop, increase == 0)
    assert not ((drop > 0) & (increase > 0)).any()
    close(ll.metric("confidence-drop", clip=True)(*args), drop)


@pytest.mark.parametrize("name", DROPS)
def test_constant_model_loses_nothing(name: str) -> None:
    close(ll.metric(name)(says(always(0.3)), ones(2, 2, n=4), 0, MASKS), 0)


def test_drop_where_there_is_nothing_to_lose() -> None:
    """exp(-400) is 0 in float32; without the picture the logits change places, and O = 1."""
    c = says(lambda x: 400 * (0.5 - mean_pixel(x)), logits=True, dtype=torch.float32)
    for name, expected in (("average-drop", 0), ("average-increase", 1), ("confidence-drop", 0)):
        values = ll.metric(name)(c, torch.ones(1, 3, 2, 2), 0, torch.zeros(1, 2, 2))
        assert values.tolist() == [expected]


def test_maps_are_scaled_first_unless_told_otherwise() -> None:
    """Half of the first pixel: O = 0.5 + 0.3 * 1 or 0.5 + 0.3 / 2."""
    args = (says(GAINS), ones(2, 2), 0, tensor([[[0.5, 0], [0, 0]]]))
    close(ll.metric("confidence-drop")(*args), (0.6 - 0.8) / 0.6)
    close(ll.metric("confidence-drop", renormalize=False)(*args), (0.6 - 0.65) / 0.6)
    close(ll.metric("complexity")(*args), 1 / 4)
    close(ll.metric("complexity", renormalize=False)(*args), 1 / 8)
    with pytest.raises(InvalidMap, match=r"maps reach 2.*\[0, 1\]"):
        ll.metric("average-drop", renormalize=False)(says(GAINS), ones(2, 2), 0, tensor([[[2, 0], [0, 0]]]))


def test_negative_values_of_a_mask_are_none() -> None:
    """[[1, -1], [.5, -7]] shows all of the first pixel and half of the third: O = .5 + .3 - .1."""
    args = (says(GAINS), ones(2, 2), 0, tensor([[[1, -1], [0.5, -7]]]))
    close(ll.metric("confidence-drop")(*args), (0.6 - 0.7) / 0.6)
    close(ll.metric("complexity")(*args), 1.5 / 4)


def test_fading_to_black_or_to_the_mean_colour() -> None:
    """Values in [0, 1] are (x + 1) / 2. White upper half: p = 1/2 on black, 3/4 on the mean colour."""
    c = says(lambda x: (mean_pixel(x) + 1) / 2, mean=0.5, std=0.5)
    args = (c, ones(2, 2), 0, tensor([TOP]))
    close(ll.metric("average-drop", space="pixel")(*args), 0.5)
    close(ll.metric("average-drop")(*args), 0.25)


def test_independent_classes_have_sigmoids() -> None:
    """sigmoid(log 4) = .8, sigmoid(0) = .5; a softmax over (z, 0) would say the same of z, not of 2 classes."""
    c = ll.Classifier(ThreeLabels(), mean=(0.0,) * 3, std=(1.0,) * 3, multilabel=True)
    close(ll.metric("average-drop")(c, ones(2, 2), 0, tensor([[[0, 0], [0, 0]]])), 1 - 0.5 / 0.8)


class ThreeLabels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("unit", torch.ones((), dtype=torch.double))

    def forward(self, x: Tensor) -> Tensor:
        z = math.log(4) * mean_pixel(x)
        return torch.stack([z, 0 * z + 3, 0 * z - 1], 1)


@pytest.mark.parametrize(("name", "passes"), [("average-drop", 2), ("average-increase", 2), ("complexity", 0)])
def test_cost_of_drops(name: str, passes: int) -> None:
    cost = ll.metric(name).measure(says(GAINS), ones(2, 2, n=4), 0, MASKS).cost
    assert (cost.forwards, cost.backwards) == (passes, 0)


# -- insertion and deletion ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ties", ["raster", "reverse", "random"])
@pytest.mark.parametrize(
    "maps", [torch.zeros(2, 4, 4), torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(1))]
)
def test_every_map_is_worth_a_half_to_the_mean_pixel(maps: Tensor, ties: str) -> None:
    """1, .75, .5, .25, 0: 0.5."""
    args = (says(mean_pixel), ones(4, 4, n=2), 0, maps)
    gone = ll.metric("deletion", step=4, ties=ties).measure(*args)
    come = ll.metric("insertion", step=4, ties=ties, fill="zero").measure(*args)
    for one, points in ((gone, [1, 0.75, 0.5, 0.25, 0]), (come, [0, 0.25, 0.5, 0.75, 1])):
        assert one.curve is not None
        close(one.curve, points)
        close(one.values, 0.5)


def test_constant_model_has_a_flat_curve() -> None:
    args = (says(always(0.3)), ones(4, 4), 0, torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(1)))
    for fill in ("zero", "black", "rise-blur", "gauss-51-50"):
        close(ll.metric("deletion", step=3, fill=fill)(*args), 0.3)
        close(ll.metric("insertion", step=3, fill=fill)(*args), 0.3)
        close(ll.metric("overall", step=3, delete_to=fill)(*args), 0)


@pytest.mark.parametrize(
    ("ties", "maps", "curve"),
    [
        ("raster", [[0, 0], [0, 0]], [1, 0.6, 0.3, 0.1, 0]),
        ("reverse", [[0, 0], [0, 0]], [1, 0.9, 0.7, 0.4, 0]),
        # pixels 1 and 3 are ahead of 0 and 2
        ("raster", [[0, 1], [0, 1]], [1, 0.7, 0.6, 0.2, 0]),
        ("reverse", [[0, 1], [0, 1]], [1, 0.9, 0.6, 0.4, 0]),
        # without ties there is one order: 2, 0, 3, 1
        *((ties, [[0.5, -3], [7, 0]], [1, 0.8, 0.4, 0.3, 0]) for ties in ("raster", "reverse", "random")),
    ],
)
def test_order_of_pixels(ties: str, maps: list[list[float]], curve: list[float]) -> None:
    args = (says(FALLING), ones(2, 2), 0, tensor([maps]))
    gone = ll.metric("deletion", step=1, ties=ties).measure(*args)
    come = ll.metric("insertion", step=1, ties=ties, fill="zero").measure(*args)
    assert gone.curve is not None
    assert come.curve is not None
    close(gone.curve, curve)
    close(come.curve, [1 - q for q in curve])
    close(gone.values, (sum(curve) - 0.5) / 4)


def test_random_ties_are_fixed_by_the_seed() -> None:
    """24 orders of 4 equal pixels: a seed gives one of them, several seeds give several; never into unequal ones."""
    args = (says(FALLING), ones(2, 2), 0, torch.zeros(1, 2, 2))

    def curve(seed: int, maps: Tensor) -> tuple[float, ...]:
        measured = ll.metric("deletion", step=1, ties="random", seed=seed).measure(*args[:3], maps)
        assert measured.curve is not None
        return tuple(round(q, 9) for q in measured.curve[0].tolist())

    flat = [curve(seed, args[3]) for seed in range(8)]
    assert flat == [curve(seed, args[3]) for seed in range(8)]
    for q in flat:
        assert sorted(round(a - b, 9) for a, b in itertools.pairwise(q)) == [0.1, 0.2, 0.3, 0.4]
    for seed in range(8):
        assert round(curve(seed, tensor([[[0, 1], [0, 1]]]))[2], 9) == 0.6  # pixels 1 and 3 are gone by then
    assert len(set(flat)) > 1, "the seed makes no difference"
    protocols = {ll.metric("deletion", ties="random", seed=seed).protocol for seed in range(8)}
    assert len(protocols) == 8, "numbers of other orders are not comparable"


def test_last_step_may_be_shorter() -> None:
    """3 of 4 pixels, then 1: 1, .1, 0. Equal steps: (1.1 - .5) / 2. True widths: .55 * 3/4 + .05 * 1/4."""
    args = (says(FALLING), ones(2, 2), 0, tensor([[[4, 3], [2, 1]]]))
    close(ll.metric("deletion", step=3)(*args), 0.3)
    close(ll.metric("deletion", step=3, x_axis="fraction")(*args), 0.425)
    # 0, .9, 1
    close(ll.metric("insertion", step=3, fill="zero")(*args), 0.7)
    close(ll.metric("insertion", step=3, fill="zero", x_axis="fraction")(*args), 0.45 * 0.75 + 0.95 * 0.25)
    close(ll.metric("overall", step=3, insert_into="zero", x_axis="fraction")(*args), 0.575 - 0.425)
    # one step for all
    close(ll.metric("deletion", step=9)(*args), 0.5)
    close(ll.metric("deletion", step=9, x_axis="fraction")(*args), 0.5)


def test_deletion_is_insertion_the_other_way_round() -> None:
    """From black to the mean colour, whether the one is the picture and the other the fill or vice versa."""
    rng = torch.Generator().manual_seed(2)
    w = torch.rand(5, 7, generator=rng, dtype=torch.double)
    c = says(lambda x: torch.sigmoid((x[:, 1] * w).sum((1, 2)) ** 3 / 50), mean=0.5, std=0.5)
    maps = torch.rand(1, 5, 7, generator=rng, dtype=torch.double)
    gone = ll.metric("deletion", step=4).measure(c, -ones(5, 7), 0, maps)
    come = ll.metric("insertion", step=4, fill="black").measure(c, 0 * ones(5, 7), 0, maps)
    assert gone.curve is not None
    assert come.curve is not None
    assert gone.curve.std() > 0.01
    close(gone.curve, come.curve)
    close(gone.values, come.values)


def test_parts_of_overall() -> None:
    args = (says(FALLING), ones(2, 2), 0, tensor([[[4, 3], [2, 1]]]))
    parts = ll.metric("overall", step=1, insert_into="zero").measure(*args).parts
    close(parts["insertion"], 0.625)
    close(parts["deletion"], 0.375)


def test_score_of_the_curve_may_be_the_logit() -> None:
    c = says(weighted([[3, 1], [0, -2]]), logits=True)
    maps = tensor([[[4, 3], [2, 1]]])
    close(ll.metric("deletion", step=1, score="logit")(c, ones(2, 2), 0, maps), (2 - 1 - 2 - 2 + 0 - 1) / 4)
    p = [1 / (1 + math.exp(-z)) for z in (2, -1, -2, -2, 0)]
    close(ll.metric("deletion", step=1)(c, ones(2, 2), 0, maps), (sum(p) - (p[0] + p[-1]) / 2) / 4)


PRESETS = {
    # name: rows per step, deletion fills with, insertion starts from
    "rise": (8, "zero", "rise-blur"),
    "collection-cam": (8, "zero", "zero"),
    "aop": (8, "gauss-51-50", "gauss-51-50"),
    "group-cam": (2, "zero", "gauss-51-50"),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_presets(preset: str) -> None:
    """The whole curve by a loop over steps, with blurs by loops over pixels."""
    rows, delete_to, insert_into = PRESETS[preset]
    rng = np.random.default_rng(5)
    height, width = 13, 6
    x, w, e = rng.normal(size=(3, height, width)), rng.normal(size=(height, width)), rng.random((height, width))
    fills = {"zero": 0 * x, "rise-blur": box(x), "gauss-51-50": gauss(x)}
    c = says(weighted((w / 3).tolist()), logits=True)

    def curve(start: Doubles, end: Doubles) -> list[float]:
        order = sorted(range(height * width), key=lambda i: -e.flat[i])
        points = []
        for step in range(math.ceil(height / rows) + 1):
            now = start.copy()
            for i in order[: step * rows * width]:
                now[:, i // width, i % width] = end[:, i // width, i % width]
            points.append(1 / (1 + math.exp(-float((now[0] * w / 3).sum()))))
        return points

    for name, expected in (
        ("deletion", curve(x, fills[delete_to])),
        ("insertion", curve(fills[insert_into], x)),
    ):
        metric = ll.metric(name, protocol=preset)
        measured = metric.measure(c, torch.from_numpy(x)[None], 0, torch.from_numpy(e)[None])
        assert measured.curve is not None
        close(measured.curve, [expected], 1e-7)
        n = len(expected) - 1
        close(measured.values, (sum(expected) - (expected[0] + expected[-1]) / 2) / n, 1e-7)
    together = ll.metric("overall", protocol=preset)(c, torch.from_numpy(x)[None], 0, torch.from_numpy(e)[None])
    inserted, deleted = curve(fills[insert_into], x), curve(x, fills[delete_to])
    areas = [(sum(q) - (q[0] + q[-1]) / 2) / (len(q) - 1) for q in (inserted, deleted)]
    close(together, areas[0] - areas[1], 1e-7)


def folded_kernel(size: int = 11, sigma: float = 5.0) -> Doubles:
    """A Gaussian cut at 4 sigma, its tails folded back at the borders of the kernel."""
    radius = int(4 * sigma + 0.5)
    weights = {k: math.exp(-0.5 * (k / sigma) ** 2) for k in range(-radius, radius + 1)}
    line = np.zeros(size)
    for k, weight in weights.items():
        at = (size // 2 + k) % (2 * size)
        line[at if at < size else 2 * size - 1 - at] += weight / sum(weights.values())
    return np.outer(line, line)


def convolved(x: Doubles, kernel: Doubles, border: Callable[[int, int], int | None]) -> Doubles:
    """Weighted sums over neighbours; ``border`` says where to look instead, or None for a 0."""
    out, reach = np.zeros_like(x), len(kernel) // 2
    _, height, width = x.shape
    for y, u in np.ndindex(height, width):
        for dy, du in np.ndindex(kernel.shape):
            v, t = border(y + dy - reach, height), border(u + du - reach, width)
            if v is not None and t is not None:
                out[:, y, u] += kernel[dy, du] * x[:, v, t]
    return out


def box(x: Doubles) -> Doubles:
    return convolved(x, folded_kernel(), lambda i, n: i if 0 <= i < n else None)


def gauss(x: Doubles) -> Doubles:
    line = np.array([math.exp(-0.5 * (k / 50) ** 2) for k in range(-25, 26)])
    line /= line.sum()

    def mirror(i: int, n: int) -> int:
        while not 0 <= i < n:
            i = -i if i < 0 else 2 * (n - 1) - i
        return i

    return convolved(x, np.outer(line, line), mirror)


def test_folded_kernel_is_nearly_flat() -> None:
    """The specification's own figures."""
    kernel = folded_kernel()
    assert kernel.sum() == pytest.approx(1)
    assert kernel.min() == pytest.approx(0.00774, abs=5e-6)
    assert kernel.max() == pytest.approx(0.00883, abs=5e-6)


def test_cost_of_curves() -> None:
    """n + 1 each; together 2n with one fill, 2n + 1 with two."""
    args = (says(FALLING), ones(2, 2), 0, tensor([[[4, 3], [2, 1]]]))
    for name, options, passes in (
        ("deletion", {}, 5),
        ("insertion", {}, 5),
        ("overall", {}, 9),
        ("overall", {"insert_into": "zero"}, 8),
    ):
        assert ll.metric(name, step=1, **options).measure(*args).cost.forwards == passes


# -- coherency, complexity, ADCC -----------------------------------------------------------------------------

COLUMN = tensor([[[1, 0], [1, 0]]])


@pytest.mark.parametrize(
    ("maps", "expected"),
    [
        (COLUMN, 1),
        (1 - COLUMN, 0),  # r = -1
        (tensor([[[1, 1], [0, 0]]]), 0.5),  # r = 0
        (0 * COLUMN, 0),
        (0 * COLUMN + 1, 0),
        (0 * COLUMN + 0.3, 0),
        # (1, 0, .5, 0) against (1, 0, 1, 0): deviations (5, -3, 1, -3)/8 and (1, -1, 1, -1)/2, sums .75, .6875, 1
        (tensor([[[1, 0], [0.5, 0]]]), (1 + 0.75 / math.sqrt(0.6875)) / 2),
    ],
)
def test_coherency(maps: Tensor, expected: float) -> None:
    method = ll.method("test-fixed", rows=((1, 0), (1, 0)))
    close(ll.metric("coherency")(says(GAINS), ones(2, 2), 0, maps, method=method), expected, 1e-6)


def test_coherency_of_a_second_map_that_is_constant() -> None:
    for rows in (((0, 0), (0, 0)), ((2, 2), (2, 2)), ((-1, -1), (-1, -2))):
        method = ll.method("test-fixed", rows=rows)
        for maps in (COLUMN, torch.ones(1, 2, 2)):
            close(ll.metric("coherency")(says(GAINS), ones(2, 2), 0, maps, method=method), 0)


def test_coherency_explains_the_masked_picture() -> None:
    """Picture 1 2 / 3 4 under the mask 1 0 / 0 1 is 1 0 / 0 4, its own map 1/4 0 / 0 1.

    Deviations (1, -1, -1, 1) / 2 and (-1, -5, -5, 11) / 16; their products sum to (-1 + 5 + 5 + 11) / 32, their
    squares to 1 and 172 / 256.
    """
    x = tensor([[1, 2], [3, 4]]).expand(1, 3, 2, 2)
    eye = tensor([[[1, 0], [0, 1]]])
    r = (20 / 32) / math.sqrt(172 / 256)
    c = says(always(0.5), mean=0.5, std=0.5)
    close(ll.metric("coherency")(c, x, 0, eye, method=ll.method("test-mean")), (1 + r) / 2, 1e-6)
    # Fading to black (-1): 1 -1 / -1 4, positive part 1 0 / 0 4. The same map, of another picture.
    close(ll.metric("coherency", space="pixel")(c, x, 0, eye, method=ll.method("test-mean")), (1 + r) / 2, 1e-6)
    # Halves: of 2 and 3 they are 1 and 1.5; half-way to black they are 0.5 and 1, and black has no positive part.
    soft = tensor([[[1, 0.5], [0.5, 0]]])
    for space, second in (("normalised", [1, 1, 1.5, 0]), ("pixel", [1, 0.5, 1, 0])):
        r = np.corrcoef([1, 0.5, 0.5, 0], second)[0, 1]
        close(ll.metric("coherency", space=space)(c, x, 0, soft, method=ll.method("test-mean")), (1 + r) / 2, 1e-6)


class TwoSpots(nn.Module):
    """Logits (a1 + a2 / 2, a4 + 2.2) of a copy a of the first colour."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 1, 1, bias=False).double()
        self.stem.weight.data = tensor([1, 0, 0]).view(1, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.stem(x)[:, 0]
        return torch.stack([a[:, 0, 0] + a[:, 0, 1] / 2, a[:, 1, 1] + 2.2], 1)


def test_second_explanation_is_for_the_class_of_the_first() -> None:
    """Logits 3 and 2.7 on the picture, 2 and 2.2 on its masked half: the class stays the first one.

    The gradient of class 0 is 1 .5 / 0 0, and so is the map; that of class 1 is 0 0 / 0 1.
    """
    c = ll.Classifier(TwoSpots(), mean=(0.0,) * 3, std=(1.0,) * 3)
    x = tensor([[1, 4], [0, 0.5]]).expand(1, 3, 2, 2)
    maps = tensor([[[1, 0.5], [0, 0]]])
    assert c(x).argmax() == 0
    assert c(x * maps[:, None]).argmax() == 1
    method = ll.method("test-grads")
    close(ll.metric("coherency")(c, x, None, maps, method=method), 1, 1e-6)
    other = np.corrcoef([1, 0.5, 0, 0], [0, 0, 0, 1])[0, 1]
    close(ll.metric("coherency")(c, x, 1, maps, method=method), (1 + other) / 2, 1e-6)
    p = [1 / (1 + math.exp(-z)) for z in (0.3, -0.2)]
    parts = ll.metric("adcc").measure(c, x, None, maps, method=method).parts
    close(parts["average-drop"], 1 - p[1] / p[0], 1e-6)
    close(parts["coherency"], 1, 1e-6)
    close(parts["complexity"], 1.5 / 4, 1e-6)


def test_random_methods_are_repeated_with_their_seed() -> None:
    """On a picture that the mask leaves alone (ones but where the picture is 0) the second map is the first."""
    c, x = small_net(), architectures.images(1)
    x[..., 0, 0] = 0
    mask = torch.ones(1, 40, 56)
    mask[..., 0, 0] = 0
    for seed in (0, 3):
        method = ll.method("random-map", seed=seed)
        second = ll.metric("coherency")(c, x, 0, mask, method=method)
        r = np.corrcoef(mask.flatten(), method(c, x, 0).flatten())[0, 1]
        close(second, (1 + r) / 2, 1e-5)


def test_complexity() -> None:
    indicator = torch.zeros(5, 8)
    indicator[1:4, 2:6] = 1
    maps = torch.stack([torch.ones(5, 8), torch.zeros(5, 8), indicator])
    close(localised("complexity", maps, None), [1, 0, 12 / 40])


def test_adcc_of_fake_cam_at_full_size() -> None:
    """1 - complexity = 1 / 224^2: printed as 0.01 %, 0.006 % to be exact."""
    c, x = says(always(0.7)), torch.zeros(1, 3, 224, 224, dtype=torch.double)
    method = ll.method("fake-cam")
    value = ll.metric("adcc")(c, x, 0, method(c, x, 0).double(), method=method)
    close(value, 3 / (2 + 224**2), 1e-10)
    assert f"{100 * value.item():.3f}" == "0.006"


def test_adcc_is_0_where_a_term_is() -> None:
    c, method = says(GAINS), ll.method("test-fixed", rows=((1, 0), (0, 0)))
    for maps in (torch.zeros(1, 2, 2), torch.ones(1, 2, 2)):
        close(ll.metric("adcc")(c, ones(2, 2), 0, maps, method=method), 0)
    nothing_left = says(weighted([[0, 1], [0, 0]]))  # O = 0: the drop is 1
    close(ll.metric("adcc")(nothing_left, ones(2, 2), 0, tensor([TOP_LEFT]), method=method), 0)


PRINTED = [((1, 0, 0), 1), ((0.9383, 0.2027, 0.2613), 0.8166), ((0.6920, 0.1565, 0.6642), 0.5349)]


@pytest.mark.parametrize(("terms", "expected"), PRINTED)
def test_adcc_of_printed_terms(terms: tuple[float, float, float], expected: float) -> None:
    coh, com, drop = (tensor([t]) for t in terms)
    close(harmonic_mean(coh, 1 - com, 1 - drop), expected, 5e-5)
    assert estimate("adcc", [terms]) == pytest.approx(expected, abs=5e-5)


def test_adcc_of_a_data_set_is_the_one_of_its_averages() -> None:
    """(1, 0, 0) and (.5, .5, .5): averages .75, .25, .25 give .75, the images' own 1 and .5 average .75 too;
    (1, 0, 0) and (.2, .5, .8): .6, .25, .4 give 3 / (1/.6 + 1/.75 + 1/.6) = 9/14, but 1 and 3 / 12 average .625.
    """
    assert estimate("adcc", [(1, 0, 0), (0.5, 0.5, 0.5)]) == pytest.approx(0.75)
    rows = [(1, 0, 0), (0.2, 0.5, 0.8)]
    assert estimate("adcc", rows) == pytest.approx(9 / 14)
    each = [estimate("adcc", [row]) for row in rows]
    assert each == pytest.approx([1, 0.25])
    assert ll.metric("adcc").pooling == "adcc"
    assert ll.metric("adcc", level="image").pooling == "mean"
    assert estimate("mean", each) == pytest.approx(0.625)
    assert estimate("adcc", [(1, 1, 0), (0, 1, 1)]) == 0


def test_adcc_of_images_is_never_above_the_data_sets() -> None:
    rows = np.random.default_rng(0).random((50, 7, 3))
    for sample in rows:
        assert estimate("mean", [estimate("adcc", [r]) for r in sample]) <= estimate("adcc", sample) + 1e-12


def test_published_adcc_is_the_harmonic_mean_of_published_averages() -> None:
    """25 rows of Poppi et al. 2021, table 2, in per cent."""
    path = shared("spec", "paper-results", "poppi2021-adcc_table2.csv")
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for line in path.read_text().splitlines()[1:]:
        _, _, model, method, metric, value = line.split(",")
        if method != "Fake-CAM":
            rows.setdefault((model, method), {})[metric] = float(value)
    assert len(rows) == 25
    for row in rows.values():
        terms = [row[f"{name}_pct"] / 100 for name in ("coherency", "complexity", "average_drop")]
        assert 100 * estimate("adcc", [terms]) == pytest.approx(row["adcc_pct"], abs=0.05)


# -- localisation --------------------------------------------------------------------------------------------


def localised(name: str, maps: Any, truth: Any, **options: Any) -> Tensor:
    """A metric that looks at maps and truth alone."""
    maps = torch.as_tensor(maps, dtype=torch.double)
    x = torch.zeros(len(maps), 3, *maps.shape[1:], dtype=torch.double)
    return ll.metric(name, **options)(says(always(0.5)), x, 0, maps, truth=truth)


def points(size: tuple[int, int], *at: tuple[int, int]) -> Tensor:
    """One map per point (row, column), highest there."""
    maps = torch.zeros(len(at), *size)
    for one, (row, column) in zip(maps, at, strict=True):
        one[row, column] = 1
    return maps


def test_proportion() -> None:
    rows = [[1.0, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]]
    # Columns 0 and 1 (centres 0.5 and 1.5 are within [0.4, 2.4)), rows 1 and 2 (1.5 and 2.5 within [0.6, 2.7)).
    box = [[0.4, 0.6, 2.4, 2.7]]
    close(localised("proportion", [rows], [tensor(box)]), (5 + 6 + 9 + 10) / 136)
    # Two boxes that overlap in the pixel 6: columns 0 and 1 of row 1, column 1 of rows 0 and 1.
    two = [[0, 1, 2, 2], [1, 0, 2, 2]]
    close(localised("proportion", [rows], [tensor(two)]), (5 + 6 + 2) / 136)
    close(localised("proportion", [rows], [np.array(two)]), (5 + 6 + 2) / 136)


def test_proportion_of_nothing() -> None:
    boxes = [tensor([[1, 0, 4, 2]])]  # 3 columns x 2 rows of 5 x 4 = 20
    close(localised("proportion", torch.full((1, 4, 5), 0.3), boxes), 6 / 20)
    close(localised("proportion", torch.zeros(1, 4, 5), boxes), 0)
    close(localised("proportion", -torch.ones(1, 4, 5), boxes), 0)
    close(localised("proportion", torch.ones(1, 4, 5), [None]), NAN)
    assert torch.isnan(localised("proportion", torch.ones(2, 4, 5), [None, boxes[0]])).tolist() == [True, False]


def test_proportion_of_negative_values() -> None:
    """They count as nothing, inside and outside: 2 / (2 + 1)."""
    close(localised("proportion", [[[2, -5], [1, -9]]], tensor([TOP])), 2 / 3)


POINTS = {(0, 14): 1, (14, 0): 1, (0, 15): 0, (15, 0): 0, (10, 11): 1, (11, 11): 0, (9, 12): 0, (0, 0): 1}


@pytest.mark.parametrize("protocol", [{"tolerance": 15}, {"protocol": "excitation-backprop"}, {"protocol": "ae"}])
def test_pointing_game_with_tolerance(protocol: dict[str, Any]) -> None:
    """The object is pixel (0, 0): hit if its square of the distance is below 225 (9^2 + 12^2 is not)."""
    truth = points((40, 40), *[(0, 0)] * len(POINTS))
    close(localised("pointing-game", points((40, 40), *POINTS), truth, **protocol), list(POINTS.values()))


def test_pointing_game_without_tolerance() -> None:
    mask = torch.zeros(3, 6, 9)
    mask[:, 2:4, 5:8] = 1
    close(localised("pointing-game", mask * torch.rand(3, 6, 9).add(1), mask), 1)
    close(localised("pointing-game", 1 - mask, mask), 0)
    edge = [(2, 5), (3, 7), (4, 7)]
    close(localised("pointing-game", points((6, 9), *edge), mask), [1, 1, 0])


def test_pointing_game_of_ties_and_constants() -> None:
    """The first maximum in reading order counts; a constant map points nowhere."""
    mask = points((3, 4), (1, 2), (1, 3))
    twice = points((3, 4), (1, 2), (1, 2)) + points((3, 4), (1, 3), (1, 3))
    close(localised("pointing-game", twice, mask), [1, 0])
    everywhere = torch.ones(2, 3, 4)
    close(localised("pointing-game", everywhere, everywhere), 0)
    close(localised("pointing-game", 0 * everywhere, everywhere), 0)


def test_pointing_game_without_an_object() -> None:
    maps, none = points((3, 4), (1, 2), (0, 0)), torch.zeros(2, 3, 4)
    close(localised("pointing-game", maps, none), NAN)
    close(localised("pointing-game", maps, none, absent="miss"), 0)
    close(localised("pointing-game", maps, [None, None], tolerance=15), NAN)


def test_pointing_game_of_difficult_objects() -> None:
    """Images whose objects are all flagged are not counted, in either subset."""
    maps = points((3, 4), (1, 2), (1, 2))
    truth = ll.Truth(maps > 0, difficult=torch.tensor([True, False]), others=torch.tensor([True, True]))
    close(localised("pointing-game", maps, truth), [NAN, 1])
    close(localised("pointing-game", maps, truth, absent="miss"), [NAN, 1])
    close(localised("pointing-game", maps, truth, subset="difficult"), [NAN, 1])


def test_difficult_subset() -> None:
    """Under a quarter of 4 x 4 is 3 pixels at most, and another class is there."""
    masks = torch.zeros(4, 4, 4, dtype=torch.bool)
    for mask, area in zip(masks, (3, 4, 3, 3), strict=True):
        mask.view(-1)[:area] = True
    maps = points((4, 4), (0, 0), (0, 0), (0, 0), (3, 3))
    others = torch.tensor([True, True, False, True])
    values = localised("pointing-game", maps, ll.Truth(masks, others=others), subset="difficult")
    close(values, [1, NAN, NAN, 0])
    with pytest.raises(MissingTruth, match="others"):
        localised("pointing-game", maps, masks, subset="difficult")


def test_pointing_game_of_a_data_set() -> None:
    """1 of 1 and 0 of 3: a half, not a quarter. A class without a trial has no say."""
    maps = points((3, 3), (0, 0), (1, 1), (1, 1), (2, 2), (0, 0))
    masks = points((3, 3), *[(0, 0)] * 5)
    masks[4] = 0
    values = localised("pointing-game", maps, masks)
    metric = ll.metric("pointing-game")
    assert metric.pooling == "class-mean"
    assert estimate(metric.pooling, values.numpy(), [7, 2, 2, 2, 5]) == 0.5
    assert estimate("mean", values.numpy()) == 0.25


def test_positive_ratio() -> None:
    maps = [[[3, -1], [0, 0.1]], [[-1, -1], [0, -2]], [[1, 1], [1, 1]]]
    close(localised("positive-ratio", maps, None), [0.5, 0, 1])


def test_grid_pg() -> None:
    cell = tensor([TOP_LEFT])
    close(localised("grid-pg", [[[3, -1], [1, 0]]], cell), 0.75)
    for empty in (0.0, -1.0, 2e-8):  # 4 * 2e-8 is still nothing
        close(localised("grid-pg", torch.full((1, 2, 2), empty, dtype=torch.double), cell), 0)
    close(localised("grid-pg", torch.full((1, 2, 2), 1e-7, dtype=torch.double), cell), 0.25)


def test_grid_pg_of_the_largest_values() -> None:
    maps, bottom = [[[3, -1], [1, 0.5]]], tensor([[[0, 0], [1, 1]]])
    for keep, share in ((0.25, 0), (0.5, 1 / 4), (0.75, 1.5 / 4.5), (1.0, 1.5 / 4.5)):
        close(localised("grid-pg", maps, bottom, keep=keep), share)
    # Of equal values the first stay.
    close(localised("grid-pg", [[[1, 1], [1, 1]]], bottom, keep=0.75), 1 / 3)


def test_grid_pg_of_as_many_values_as_another_method_has() -> None:
    """The grey picture is the other method's map: 1, 2, 3, 0 positive pixels."""
    c = says(always(0.5))
    other = tensor([[[5, -1], [0, -1]], [[5, 1], [-1, 0]], [[1, 1], [-2, 9]], [[-1, -1], [0, 0]]])
    x = other[:, None].expand(4, 3, 2, 2)
    maps = tensor([[[3, -1], [1, 0.5]]]).expand(4, 2, 2)
    bottom = tensor([[[0, 0], [1, 1]]]).expand(4, 2, 2)
    metric = ll.metric("grid-pg", keep_as="test-mean")
    close(metric(c, x, 0, maps, truth=bottom), [0, 1 / 4, 1.5 / 4.5, 0])


def test_grid_pg_counts_the_other_map_at_the_size_of_the_picture() -> None:
    """1 -1 / 1 -1 becomes 1 .5 -.5 -1 in each of four rows: 8 positive pixels of 16, not 2 of 4."""

    def half(image: Tensor) -> Tensor:
        return tensor([[1, -1], [1, -1]]).expand(len(image), 2, 2)

    ll.register_method("test-half", family="test", cites="none", cost="1 F", layers="none")(half)
    maps = torch.arange(16, 0, -1, dtype=torch.double).view(1, 4, 4)
    cell = torch.zeros(1, 4, 4)
    cell[:, 0] = 1
    try:
        close(localised("grid-pg", maps, cell, keep_as="test-half"), (16 + 15 + 14 + 13) / sum(range(9, 17)))
    finally:
        METHODS.own.pop("test-half")


def test_outside_inside_ratio() -> None:
    cell = tensor([TOP_LEFT])
    close(localised("outside-inside-ratio", [[[4, 0], [-4, 0]]], cell), 1 / 3)
    # The positive part as it is: 0, then (1 + 0 + .5) / 3 over 4.
    close(localised("outside-inside-ratio", [[[4, 0], [-4, 0]]], cell, normalise="none"), 0)
    close(localised("outside-inside-ratio", [[[4, 1], [-4, 0.5]]], cell, normalise="none"), 1 / 8)
    # Scaled: 1 5/8 / 0 9/16
    close(localised("outside-inside-ratio", [[[4, 1], [-4, 0.5]]], cell), (10 / 16 + 9 / 16) / 3)


def test_outside_inside_ratio_that_is_not_defined() -> None:
    cell, maps = tensor([TOP_LEFT]), tensor([[[4, 0], [-4, 0]]])
    for value in (0.0, 0.1, -2.0):
        close(localised("outside-inside-ratio", torch.full((1, 2, 2), value), cell), 1)
    close(localised("outside-inside-ratio", maps, torch.zeros(1, 2, 2)), NAN)
    close(localised("outside-inside-ratio", maps, torch.ones(1, 2, 2)), NAN)
    close(localised("outside-inside-ratio", torch.ones(1, 2, 2), torch.ones(1, 2, 2)), NAN)
    close(localised("outside-inside-ratio", -maps, cell), NAN)  # the inside is the minimum: 0
    close(localised("outside-inside-ratio", -maps, cell, normalise="none"), NAN)


def average_precision(scores: Doubles, truth: npt.NDArray[np.bool_]) -> float:
    """Precision times the gain in recall at every threshold, from the highest down."""
    area, recall = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        found = scores >= threshold
        hits = int((found & truth).sum())
        area += hits / int(found.sum()) * (hits / int(truth.sum()) - recall)
        recall = hits / int(truth.sum())
    return area


@pytest.mark.parametrize("signed", [True, False])
def test_segmentation_ap_by_threshold(signed: bool) -> None:
    """Values on a coarse scale, so that there are ties."""
    rng = np.random.default_rng(8)
    maps = rng.integers(-3 if signed else 0, 4, size=(5, 6, 7)) / 2
    masks = rng.random((5, 6, 7)) < 0.3
    expected, accuracy = [], []
    for s, mask in zip(maps, masks, strict=True):
        above = s > (0 if signed else s.mean())
        scores = np.stack([~above, above]).astype(float).ravel()
        expected.append(average_precision(scores, np.stack([~mask, mask]).ravel()))
        accuracy.append((above == mask).mean())
    close(localised("segmentation-ap", maps, masks), expected, 1e-6)
    # Half of the labels are true, so a share a of right pixels is a precision of a at a recall of a, then of 1/2.
    close(localised("segmentation-ap", maps, masks), [a * a + (1 - a) / 2 for a in accuracy], 1e-6)
    x = torch.zeros(5, 3, 6, 7, dtype=torch.double)
    measured = ll.metric("segmentation-ap").measure(says(always(0.5)), x, 0, torch.from_numpy(maps), truth=masks)
    close(measured.parts["pixel-accuracy"], accuracy, 1e-6)
    values = [average_precision(s.ravel(), m.ravel()) for s, m in zip(maps, masks, strict=True)]
    close(localised("segmentation-ap", maps, masks, binarise=False), values, 1e-6)


def test_segmentation_ap_of_maps_without_negative_values() -> None:
    """4 0 / 1 0 less its mean 1.25: one pixel, three of four right. 4 -1 / 1 0 keeps two: two of four."""
    maps = tensor([[[4, 0], [1, 0]], [[4, -1], [1, 0]]])
    close(localised("segmentation-ap", maps, tensor([TOP, TOP])), [0.75**2 + 0.125, 0.5**2 + 0.25])


@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("side", [7, 9, 63])
def test_segmentation_ap_of_a_constant_map(value: float, side: int) -> None:
    """S less its mean is 0 everywhere: no foreground, right where there is no object."""
    mask = torch.zeros(1, side, side, dtype=torch.bool)
    mask[:, 0] = True
    a = 1 - 1 / side
    c, x = says(always(0.5), dtype=torch.float32), torch.zeros(1, 3, side, side)
    values = ll.metric("segmentation-ap")(c, x, 0, torch.full((1, side, side), value), truth=mask)
    close(values, a * a + (1 - a) / 2, 1e-6)


# -- region perturbation -------------------------------------------------------------------------------------

AREAS = [[4.0, 4, 3, 3], [4, 4, 3, 3], [2, 2, 1, 1], [2, 2, 1, 1]]
"""Four cells of 2 x 2, worth .4, .3, .2, .1."""
CELLS = weighted((tensor(AREAS) / 40).tolist(), 1)


def perturbed(name: str, c: ll.Classifier, maps: Any, x: Tensor | None = None, **options: Any) -> ll.Measured:
    maps = tensor([maps])
    return ll.metric(name, **options).measure(c, ones(*maps.shape[1:]) if x is None else x, 0, maps)


def test_region_perturbation_of_a_linear_model() -> None:
    """Drops 0 .4 .7 .9 1 in the right order, 0 .1 .3 .6 1 in the other; two steps: 0 .4 .7 and 0 .1 .3."""
    c = says(CELLS, logits=True)
    settings = {"cell": 2, "replace_by": "zero"}
    close(perturbed("morf", c, AREAS, **settings).values, 3.0 / 5)
    close(perturbed("lerf", c, AREAS, **settings).values, 2.0 / 5)
    close(perturbed("morf", c, AREAS, steps=2, **settings).values, 1.1 / 3)
    close(perturbed("lerf", c, AREAS, steps=2, **settings).values, 0.4 / 3)
    opposite = (-tensor(AREAS)).tolist()
    close(perturbed("morf", c, opposite, **settings).values, 2.0 / 5)
    close(perturbed("lerf", c, opposite, **settings).values, 3.0 / 5)
    curve = perturbed("morf", c, AREAS, **settings).curve
    assert curve is not None
    close(curve, [[2, 1.6, 1.3, 1.1, 1]])


def test_relevance_of_a_cell_is_its_sum() -> None:
    """The last cell has the largest pixel but a sum of 9 - 3; the first has 4 * 2."""
    maps = [[2.0, 2, 1, 1], [2, 2, 1, 1], [0, 0, 9, -1], [0, 0, -1, -1]]
    curve = perturbed("morf", says(CELLS, logits=True), maps, cell=2, replace_by="zero").curve
    assert curve is not None
    close(curve, [[2, 1.6, 1.5, 1.2, 1]])  # cells 0 (8), 3 (6), 1 (4), 2 (0)


def test_border_that_holds_no_cell_is_left_alone() -> None:
    """5 x 7 with cells of 2: the last row and column stay, however relevant; they are worth 2."""
    w, maps = torch.full((5, 7), 0.01), torch.zeros(5, 7)
    w[4, 6], maps[4], maps[:, 6] = 1.9, 99, 99
    maps[:4, :6] = torch.arange(24.0).view(4, 6)
    c = says(weighted(w.tolist()), logits=True)
    curve = perturbed("morf", c, maps.tolist(), cell=2, replace_by="zero").curve
    assert curve is not None
    start = 1.9 + 34 * 0.01
    close(curve, [[start - 0.04 * k for k in range(7)]], 1e-7)


def test_cells_turn_black_or_into_the_mean_colour() -> None:
    """From 1 to 0, or to -1 if (x + 1) / 2 is the brightness."""
    c = says(CELLS, logits=True, mean=0.5, std=0.5)
    close(perturbed("morf", c, AREAS, cell=2, replace_by="zero").values, 0.6)
    close(perturbed("morf", c, AREAS, cell=2, replace_by="black").values, 1.2)


def test_region_perturbation_of_a_probability() -> None:
    z = [2, 1.6, 1.3, 1.1, 1]
    p = [1 / (1 + math.exp(-v)) for v in z]
    c = says(CELLS, logits=True)
    close(perturbed("morf", c, AREAS, cell=2, replace_by="zero", score="prob").values, p[0] - sum(p) / 5)


def test_noise_of_region_perturbation() -> None:
    """Uniform between black (-1) and white (3) if brightness is (x + 1) / 4, the same for all maps, over draws."""
    rng = torch.Generator().manual_seed(3)
    maps = [torch.randn(8, 8, generator=rng, dtype=torch.double).tolist() for _ in range(2)]
    c = says(lambda x: x[:, 0].mean((1, 2)), logits=True, mean=0.25, std=0.25)
    curves = [perturbed(name, c, m, cell=2, seed=4).curve for m in maps for name in ("morf", "lerf")]
    ends = [q[0, -1].item() for q in curves if q is not None]
    assert ends == pytest.approx([ends[0]] * 4)
    assert 0.5 < ends[0] < 1.5  # mean of 64 pixels x 10 draws: 1, give or take .05
    other = perturbed("morf", c, maps[0], cell=2, seed=5).curve
    assert other is not None
    assert abs(other[0, -1].item() - ends[0]) > 1e-6


def test_noise_is_drawn_pixel_by_pixel_within_bounds() -> None:
    c = says(mean_pixel, logits=True, mean=0.25, std=0.25)
    x = 7 * ones(8, 8)
    maps = torch.arange(64.0).view(8, 8).tolist()
    perturbed("morf", c, maps, x, cell=2, repeats=3, steps=16)
    module = c.module
    assert isinstance(module, Answer)
    frames = torch.cat(module.seen[2:])  # behind the noise of two trial passes
    all_gone = [f for f in frames if not (f == 7).any()]
    assert len(all_gone) == 3
    assert len(frames) == 1 + 3 * 16
    for one in all_gone:
        assert len(one.unique()) == one.numel()
        assert -1 <= one.min() < -0.8
        assert 2.8 < one.max() <= 3
    assert not torch.equal(all_gone[0], all_gone[1])
    # A step of the same draw keeps the noise of the step before.
    first = frames[1:17]
    for before, after in itertools.pairwise(first):
        changed = before != 7
        assert torch.equal(before[changed], after[changed])
        assert int((after != 7).sum() - changed.sum()) == 3 * 4


class Waves(nn.Module):
    """A linear network of 3 classes, and two pictures of 20 x 22 with their maps, the same on every machine."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.08 * torch.arange(3 * 1320, dtype=torch.double).mul(0.7).sin().view(3, -1).float())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) @ self.weight.T

    @staticmethod
    def pictures() -> tuple[torch.Tensor, torch.Tensor]:
        k = torch.arange(2 * 1320, dtype=torch.double)
        x = (1.5 * (0.37 * k).cos() + (0.011 * k).sin()).view(2, 3, 20, 22)
        maps = ((0.13 * k).sin() + 0.3 * (0.019 * k).cos())[:880].view(2, 20, 22)
        return x.float(), maps.float()


QUANTUS = {
    "morf": [
        [-0.0035844, 0.0049636, -0.0109119, -0.0131782, -0.0045626, -0.0242895, -0.0130183, -0.0304967, 0.0041403],
        [0.1707331, 0.1645644, 0.1016009, 0.0234812, -0.0219816, -0.0962118, -0.0502115, 0.0581143, -0.0229354],
    ],
    "lerf": [
        [0.0338294, 0.0165585, 0.0334372, 0.0430077, 0.031961, 0.0154324, 0.0076319, 0.0251874, 0.0041403],
        [-0.0868937, 0.0251971, 0.065748, -0.000919, -0.0480379, -0.142591, -0.2422255, -0.2540684, -0.0229354],
    ],
}
"""What quantus 0.6.0 says of these two pictures, ``RegionPerturbation(order=name)`` with its own defaults."""


@pytest.mark.parametrize("name", ["morf", "lerf"])
def test_quantus_preset(name: str) -> None:
    """Cells that the border cuts on all sides, and a black that is the picture's smallest value."""
    x, maps = Waves.pictures()
    c, target = ll.Classifier(Waves()), torch.tensor([1, 2])
    curve = ll.metric(name, protocol="quantus").measure(c, x, target, maps).curve
    assert curve is not None
    close(curve[:, :1] - curve[:, 1:], QUANTUS[name], 1e-6)
    one = ll.metric(name, protocol="quantus").measure(c, x[1:], target[1:], maps[1:]).curve
    assert one is not None
    close(one, curve[1:], 1e-6)
    for option in ({"replace_by": "black"}, {"border": "kept"}):
        other = ll.metric(name, protocol="quantus", **option).measure(c, x, target, maps).curve
        assert other is not None
        assert other.shape != curve.shape or (other - curve).abs().max() > 0.01


@pytest.mark.parametrize("name", ["morf", "lerf"])
def test_quantus_itself(name: str) -> None:
    quantus = pytest.importorskip("quantus", reason="needs the package quantus, of the extra peers")
    x, maps = Waves.pictures()
    metric = quantus.RegionPerturbation(order=name, disable_warnings=True)
    curves = metric(Waves().eval(), x.numpy(), np.array([1, 2]), a_batch=maps[:, None].numpy(), device="cpu")
    close(torch.tensor(np.array(curves)), QUANTUS[name], 1e-6)


def test_cell_larger_than_the_picture() -> None:
    with pytest.raises(InvalidOption, match=r"cell = 9.*8 x 8"):
        perturbed("morf", says(mean_pixel, logits=True), torch.zeros(8, 8).tolist())


# -- insertion onto a blank canvas ---------------------------------------------------------------------------


@pytest.mark.parametrize("canvas", ["halo", "composite", "blurred", "plain"])
def test_blank_canvas(canvas: str) -> None:
    """What the model is shown, pixel by pixel: 11, 22 and 32 of 108 pixels."""
    rng = np.random.default_rng(11)
    x, e = rng.normal(size=(3, 12, 9)), rng.random((12, 9))
    c = says(always(0.7))
    metric = ll.metric("morf-insertion", points=3, largest=0.3, canvas=canvas)
    metric(c, torch.from_numpy(x)[None], 0, torch.from_numpy(e)[None])
    module = c.module
    assert isinstance(module, Answer)
    frames = torch.cat(module.seen)[-3:].numpy()
    order = sorted(range(108), key=lambda i: -e.flat[i])
    for frame, count in zip(frames, (11, 22, 32), strict=True):
        shown = np.isin(np.arange(108), order[:count]).reshape(12, 9)
        q = x * shown
        expected = {
            "halo": np.where(shown, x, box(q)),
            "composite": box(q),
            "blurred": np.where(shown, x, box(x)),
            "plain": q,
        }[canvas]
        np.testing.assert_allclose(frame, expected, atol=1e-12)


@pytest.mark.parametrize(("label", "expected"), [(None, 1), (0, 1), (1, 0)])
def test_model_that_never_changes_its_mind(label: int | None, expected: int) -> None:
    """It says class 0. The explained class is the right one unless the truth knows better."""
    masks = torch.zeros(1, 10, 10, dtype=torch.bool)
    truth = None if label is None else ll.Truth(masks, labels=torch.tensor([label]))
    measured = ll.metric("morf-insertion").measure(
        says(always(0.7)), ones(10, 10), 0, torch.rand(1, 10, 10), truth=truth
    )
    close(measured.values, expected)
    assert measured.curve is not None
    assert measured.curve.tolist() == [[expected] * 20]
    assert measured.cost.forwards == 20
    if label is None:
        close(ll.metric("morf-insertion")(says(always(0.7)), ones(10, 10), 1, torch.rand(1, 10, 10)), 0)


def test_most_relevant_pixels_come_first_and_equal_ones_in_reading_order() -> None:
    """Right as soon as pixel 5 of 100 is shown: at 1 % if it is the highest, at 6 % among equals."""
    w = torch.zeros(10, 10)
    w[0, 5] = 1
    c = says(weighted(w.tolist()))
    for maps, right in ((w, 20), (torch.zeros(10, 10), 15), (-w, 0)):
        close(ll.metric("morf-insertion", canvas="plain")(c, ones(10, 10), 0, maps[None]), right / 20)


# -- remove and debias ---------------------------------------------------------------------------------------


def test_filling_in_a_flat_picture_changes_nothing() -> None:
    rng = torch.Generator().manual_seed(0)
    c = says(weighted(torch.rand(6, 7, generator=rng).div(42).tolist()))
    maps = torch.rand(2, 6, 7, generator=rng, dtype=torch.double)
    measured = ll.metric("road").measure(c, ones(6, 7, n=2), 0, maps)
    close(measured.values, 0, 1e-5)
    close(measured.parts["morf"], 0, 1e-5)
    close(measured.parts["lerf"], 0, 1e-5)


def test_road_by_hand() -> None:
    """The case of the table, one percentile and its parts; reversed, the sign turns."""
    c = says(weighted([[0.1, 0, 0], [0, 0.4, 0], [0, 0, 0]], 0.5))
    maps = tensor([CENTRE_FIRST_CORNER_LAST])
    measured = ll.metric("road", percentiles=(99,)).measure(c, dot(3, 3), 0, maps)
    close(measured.parts["morf"], -0.4, 1e-5)
    close(measured.parts["lerf"], 0.02, 1e-5)
    close(ll.metric("road", percentiles=(99,))(c, dot(3, 3), 0, -maps), -0.21, 1e-5)
    assert measured.cost.forwards == 3


def filled(x: Doubles, gone: npt.NDArray[np.bool_]) -> Doubles:
    """Solve sum_j w_ij (x_j - x_i) = 0 at the pixels that are gone."""
    height, width = gone.shape
    equations, known = np.eye(height * width), np.where(gone, 0.0, x)
    right = known.reshape(len(x), -1).T.copy()
    for y, u in zip(*np.nonzero(gone), strict=True):
        row = y * width + u
        equations[row], right[row] = 0, 0
        for dy, du in np.ndindex(3, 3):
            v, t = y + dy - 1, u + du - 1
            if (dy, du) != (1, 1) and 0 <= v < height and 0 <= t < width:
                weight = 1 / 6 if 1 in (dy, du) else 1 / 12
                equations[row, v * width + t] += weight
                equations[row, row] -= weight
    return np.linalg.solve(equations, right).T.reshape(x.shape)


def test_road_by_a_dense_solver() -> None:
    """30 pixels; at percentile p the ceil(29 p / 100) lowest stay: 6, 12, 18, 24."""
    rng = np.random.default_rng(2)
    x, w, e = rng.random((3, 5, 6)), rng.normal(size=(5, 6)), rng.random((5, 6))
    c = says(weighted(w.tolist()), logits=True)

    def p(image: Doubles) -> float:
        return 1 / (1 + math.exp(-float((image[0] * w).sum())))

    order = sorted(range(30), key=lambda i: e.flat[i])
    change: dict[str, list[float]] = {"morf": [], "lerf": []}
    for stay in (6, 12, 18, 24):
        for name, kept in (("morf", order[:stay]), ("lerf", order[-stay:])):
            gone = ~np.isin(np.arange(30), kept).reshape(5, 6)
            change[name].append(p(filled(x, gone)) - p(x))
    measured = ll.metric("road").measure(c, torch.from_numpy(x)[None], 0, torch.from_numpy(e)[None])
    for name, values in change.items():
        close(measured.parts[name], np.mean(values), 1e-4)
    close(measured.values, (np.mean(change["lerf"]) - np.mean(change["morf"])) / 2, 1e-4)
    assert abs(measured.values.item()) > 1e-3
    assert measured.cost.forwards == 9


def test_road_of_a_constant_map() -> None:
    """A given share of equal pixels goes in reading order, whether they are called relevant or irrelevant."""
    c = says(weighted(torch.rand(4, 5, generator=torch.Generator().manual_seed(0)).div(20).tolist()))
    x = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    measured = ll.metric("road").measure(c, x, 0, torch.zeros(1, 4, 5))
    close(measured.values, 0)
    assert measured.parts["morf"].abs() > 1e-4


def test_noise_of_road_is_added_to_what_is_filled_in() -> None:
    c = says(mean_pixel)
    x, maps = 0.5 * ones(6, 6), torch.rand(1, 6, 6, generator=torch.Generator().manual_seed(1))
    a, b, again = (ll.metric("road", noise=0.1, seed=s)(c, x, 0, maps) for s in (0, 1, 0))
    assert torch.equal(a, again)
    assert not torch.equal(a, b)
    assert 0 < a.abs() < 0.1


# -- sanity checks -------------------------------------------------------------------------------------------


class Witness(nn.Module):
    """A small network that remembers every set of weights it ever ran with."""

    states: list[dict[str, Tensor]] = []  # noqa: RUF012

    def __init__(self, last: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1, self.bn = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv2 = last or nn.Conv2d(6, 8, 3, padding=1)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        now = {k: v.detach().clone() for k, v in self.state_dict().items()}
        if not self.states or any(not torch.equal(v, self.states[-1][k]) for k, v in now.items()):
            self.states.append(now)
        x = self.bn(self.conv1(x)).relu()
        return self.fc(self.conv2(x).relu().mean((2, 3)))


@pytest.fixture
def witness() -> ll.Classifier:
    Witness.states.clear()
    with torch.random.fork_rng():
        torch.manual_seed(5)
        net = Witness().eval()
        for v in (net.bn.weight, net.bn.bias, net.bn.running_mean, net.bn.running_var):
            nn.init.uniform_(v, 0.5, 1.5)
    return ll.Classifier(net)


def picture(n: int = 2) -> Tensor:
    return architectures.images(n, (16, 20))


LAYERS = {"affine": ("fc", "conv2", "conv1"), "conv": ("conv2", "conv1"), "all": ("fc", "conv2", "bn", "conv1")}
SANITY = ("sanity-cascading", "sanity-independent")


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {k.partition(".")[0] for k, v in before.items() if not torch.equal(v, after[k])}


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("name", SANITY)
def test_which_layers_are_randomised(name: str, layers: str, witness: ll.Classifier) -> None:
    """From the output down; cumulatively, or one at a time with the others as they were."""
    x, method = picture(), ll.method("grad-cam", layer="conv1")
    measured = ll.metric(name, layers=layers).measure(witness, x, 0, torch.zeros(2, 16, 20), method=method)
    first, *others = Witness.states
    order = LAYERS[layers]
    assert measured.curve is not None
    assert measured.curve.shape == (2, len(order))
    expected = [set(order[: j + 1]) if name == "sanity-cascading" else {order[j]} for j in range(len(order))]
    assert [changed(first, state) for state in others] == expected
    if name == "sanity-cascading":  # what is random stays as it is
        assert [changed(a, b) for a, b in itertools.pairwise(others)] == [{n} for n in order[1:]]
    assert not changed(first, dict(witness.module.state_dict()))
    close(measured.values, measured.curve.mean(1), 1e-6)
    assert measured.cost.n_forward == pytest.approx(len(order) + 1)


@pytest.mark.parametrize("preset", ["collection-cam", "ae"])
def test_sanity_presets(preset: str, witness: ll.Classifier) -> None:
    """Convolutions alone; Xavier-uniform weights and biases in [0, 1)."""
    ll.metric("sanity-cascading", protocol=preset)(
        witness, picture(), 0, torch.zeros(2, 16, 20), method=ll.method("grad-cam")
    )
    assert changed(Witness.states[0], Witness.states[-1]) == set(
        LAYERS["conv" if preset == "collection-cam" else "affine"]
    )


@pytest.mark.parametrize("reset", ["default", "ae"])
def test_new_weights(reset: str, witness: ll.Classifier) -> None:
    """PyTorch draws within 1 / sqrt(fan in); Xavier within sqrt(6 / (fan in + fan out))."""
    metric = ll.metric("sanity-cascading", reset=reset)
    metric(witness, picture(), 0, torch.zeros(2, 16, 20), method=ll.method("grad-cam"))
    state = Witness.states[-1]
    for layer, ins, outs in (("conv1", 27, 54), ("conv2", 54, 72), ("fc", 8, 4)):
        weight, bias = state[f"{layer}.weight"], state[f"{layer}.bias"]
        bound = 1 / math.sqrt(ins) if reset == "default" else math.sqrt(6 / (ins + outs))
        assert 0.8 * bound < weight.abs().max() <= bound
        assert weight.min() < 0 < weight.max()
        if reset == "ae":
            assert 0 <= bias.min() < bias.max() < 1
        else:
            assert bias.abs().max() <= bound


@pytest.mark.parametrize("name", SANITY)
def test_similarity_by_another_road(name: str, witness: ll.Classifier) -> None:
    """The networks that ran are built again, explained one by one, and compared by scipy."""
    x, target = picture(), torch.tensor([3, 1])
    method = ll.method("grad-cam", layer="conv2")
    metric = ll.metric(name)
    measured = metric.measure(witness, x, target, torch.zeros(2, 16, 20), method=method)
    maps = []
    for state in Witness.states[:]:
        net = Witness().eval()
        net.load_state_dict(state)
        raw = method.evidence(ll.Classifier(net), x, target)
        maps.append(nn.functional.interpolate(raw[:, None], (16, 20), mode="bilinear")[:, 0].flatten(1).numpy())
    first, *others = maps
    assert len(others) == 3
    assert measured.curve is not None
    expected = [[stats.spearmanr(abs(first[i]), abs(o[i])).statistic for o in others] for i in range(2)]
    close(measured.curve, expected, 1e-4)
    close(measured.values, np.mean(expected, 1), 1e-4)
    signed = [np.mean([stats.spearmanr(first[i], o[i]).statistic for o in others]) for i in range(2)]
    close(measured.parts["spearman-signed"], signed, 1e-4)
    close(
        ll.metric(name, similarity="spearman-signed")(witness, x, target, torch.zeros(2, 16, 20), method=method),
        signed,
        1e-4,
    )
    close(measured.parts["degenerate"], 0)


@pytest.mark.parametrize("similarity", ["spearman", "spearman-signed", "ssim", "pearson"])
@pytest.mark.parametrize("name", SANITY)
def test_maps_that_ignore_the_weights_stay_the_same(name: str, similarity: str, witness: ll.Classifier) -> None:
    for method in (ll.method("fake-cam"), ll.method("test-mean")):
        metric = ll.metric(name, similarity=similarity)
        measured = metric.measure(witness, picture(), 0, torch.zeros(2, 16, 20), method=method)
        assert measured.curve is not None
        close(measured.curve, 1, 1e-6)
        close(measured.values, 1, 1e-6)


@pytest.mark.parametrize("name", SANITY)
def test_maps_that_depend_on_the_weights_change(name: str) -> None:
    method = ll.method("grad-cam")
    maps = torch.zeros(3, 40, 56)
    for similarity in ("spearman", "spearman-signed", "ssim", "pearson"):
        values = ll.metric(name, similarity=similarity)(small_net(), architectures.images(3), 0, maps, method=method)
        assert values.mean() < 0.8
        assert (values > -1).all()


@pytest.mark.parametrize("name", SANITY)
def test_sanity_check_leaves_no_trace(name: str, witness: ll.Classifier) -> None:
    net = witness.module.train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    identity, rng = [id(p) for p in net.parameters()], torch.get_rng_state()
    method = ll.method("grad-cam")
    runs = [
        ll.metric(name, seed=seed)(witness, picture(), 0, torch.zeros(2, 16, 20), method=method) for seed in (0, 0, 1)
    ]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    assert torch.equal(torch.get_rng_state(), rng)
    assert not changed(before, dict(net.state_dict()))
    assert [id(p) for p in net.parameters()] == identity
    assert all(m.training for m in net.modules())


@pytest.mark.parametrize("name", SANITY)
def test_sanity_check_is_about_the_class_of_the_original_model(name: str, witness: ll.Classifier) -> None:
    x, maps, method = picture(4), torch.zeros(4, 16, 20), ll.method("grad-cam", layer="conv2")
    target = witness(x).argmax(1)
    metric = ll.metric(name)
    assert torch.equal(metric(witness, x, None, maps, method=method), metric(witness, x, target, maps, method=method))
    moved = []
    for state in Witness.states[1:]:
        net = Witness().eval()
        net.load_state_dict(state)
        moved.append(ll.Classifier(net)(x).argmax(1))
    assert any(not torch.equal(m, target) for m in moved), "some random network must think otherwise"


class Breaks(nn.Conv2d):
    """Its own initialisation, once it is finished, fills it with one value."""

    value = 0.0

    def reset_parameters(self) -> None:
        if hasattr(self, "finished"):
            nn.init.constant_(self.weight, self.value)
            assert self.bias is not None
            nn.init.constant_(self.bias, self.value)
        else:
            super().reset_parameters()


@pytest.mark.parametrize("value", [0.0, math.inf, NAN])
def test_a_randomised_model_that_says_nothing_counts_with_0(value: float) -> None:
    """Dead or not finite: similarity 0, reported and not dropped."""
    Witness.states.clear()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        last = Breaks(6, 8, 3, padding=1)
        last.finished, last.value = True, value  # type: ignore[assignment]
        c = ll.Classifier(Witness(last).eval())
    method = ll.method("grad-cam", layer="conv2")
    measured = ll.metric("sanity-independent", layers="conv").measure(
        c, picture(), 0, torch.zeros(2, 16, 20), method=method
    )
    assert measured.curve is not None
    close(measured.curve[:, 0], 0)
    assert (measured.curve[:, 1].abs() > 0).all()
    close(measured.values, measured.curve[:, 1] / 2, 1e-6)
    close(measured.parts["degenerate"], 0.5)


# -- what is refused -----------------------------------------------------------------------------------------


def refused(error: type[LimelightError], match: str, name: str = "average-drop", **changes: Any) -> None:
    given: dict[str, Any] = {"x": ones(2, 2, n=2), "target": 0, "maps": tensor([TOP, TOP_LEFT])}
    given |= {k: v for k, v in changes.items() if k in given}
    extra = {k: v for k, v in changes.items() if k in ("method", "truth")}
    with pytest.raises(error, match=match):
        ll.metric(name)(says(GAINS), given["x"], given["target"], given["maps"], **extra)


@pytest.mark.parametrize("name", BY_HAND)
def test_refused_maps(name: str) -> None:
    extra = {"truth": tensor([TOP, TOP]), "method": ll.method("fake-cam")}
    for value in (NAN, math.inf):
        bad = tensor([TOP, TOP])
        bad[1, 0, 1] = value
        refused(InvalidMap, "map 1 .*NaN or infinite", name, maps=bad, **extra)
    refused(InvalidMap, r"\(2, 2, 2\), got \(2, 3, 2\)", name, maps=torch.zeros(2, 3, 2), **extra)
    refused(InvalidMap, r"\(2, 2, 2\), got \(1, 2, 2\)", name, maps=torch.zeros(1, 2, 2), **extra)
    refused(InvalidMap, r"\(2, 2, 2\), got \(2, 2, 2, 2\)", name, maps=torch.zeros(2, 2, 2, 2), **extra)
    refused(InvalidMap, "tensor.*got list", name, maps=[TOP, TOP], **extra)


TRUTHS = ("proportion", "pointing-game", "grid-pg", "outside-inside-ratio", "segmentation-ap")


@pytest.mark.parametrize("name", TRUTHS)
def test_refused_truths(name: str) -> None:
    refused(MissingTruth, f"^{name} needs truth=: a mask or boxes", name)
    masks = r"expected masks \(2, 2, 2\)"
    refused(MissingTruth, masks + r".*got masks \(2, 3, 2\)", name, truth=torch.ones(2, 3, 2))
    refused(MissingTruth, masks + r".*got masks \(1, 2, 2\)", name, truth=torch.ones(1, 2, 2))
    refused(MissingTruth, masks + r".*shape \(2, 2\)", name, truth=torch.ones(2, 2))
    refused(MissingTruth, masks + r".*got masks \(1, 2, 2\)", name, truth=[tensor([[0, 0, 1, 1]])])
    refused(MissingTruth, r"boxes \(k, 4\).*got an entry of shape \(1, 3\)", name, truth=[tensor([[0, 0, 1]]), None])
    refused(MissingTruth, "got str", name, truth="box")
    refused(MissingTruth, "x1 <= x2", name, truth=[tensor([[1, 0, 0, 1]]), None])
    refused(MissingTruth, "no pixel.*no shares", name, truth=[tensor([[0.1, 0.1, 0.4, 0.4]]), None])
    labels = ll.Truth(torch.ones(2, 2, 2, dtype=torch.bool), labels=torch.tensor([0]))
    refused(MissingTruth, "1 entries of 'labels' for 2 images", name, truth=labels)


@pytest.mark.parametrize("name", ["coherency", "adcc", *SANITY])
def test_refused_without_a_method(name: str) -> None:
    refused(InvalidOption, f"^{name} explains again: give it method=", name)


@pytest.mark.parametrize("name", BY_HAND)
def test_refused_targets(name: str) -> None:
    extra = {"truth": tensor([TOP, TOP]), "method": ll.method("fake-cam")}
    refused(InvalidOption, "about a class; a function", name, target=lambda out: out[:, 0], **extra)
    refused(UnknownTarget, "target 2 .*classes 0 to 1", name, target=2, **extra)
    refused(InvalidOption, "3 targets for 2 images", name, target=[0, 1, 0], **extra)


def test_refused_images() -> None:
    refused(InvalidImage, "NaN or infinite", x=ones(2, 2, n=2) * NAN)
    refused(InvalidImage, r"\(n, 3, H, W\)", x=torch.ones(3, 2, 2))
    refused(InvalidImage, "1 channels", x=torch.ones(2, 1, 2, 2))


@pytest.mark.parametrize("name", BY_HAND)
def test_refused_options(name: str) -> None:
    with pytest.raises(InvalidOption, match=f"{name} has no option 'degenerated'; did you mean degenerate"):
        ll.metric(name, degenerated="skip")
    with pytest.raises(InvalidOption, match=f"{name} has no protocol 'no-such-paper'"):
        ll.metric(name, protocol="no-such-paper")
    with pytest.raises(InvalidOption, match=f"{name}: option degenerate = 'drop'.*'include' or 'skip'"):
        ll.metric(name, degenerate="drop")
    with pytest.raises(InvalidOption, match=f"{name}: option seed = -1"):
        ll.metric(name, seed=-1)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("deletion", "step", 0),
        ("deletion", "step", "W8"),
        ("insertion", "ties", "sorted"),
        ("insertion", "fill", "pink"),
        ("overall", "x_axis", "log"),
        ("average-drop", "space", "lab"),
        ("adcc", "level", "class"),
        ("pointing-game", "tolerance", -1),
        ("grid-pg", "keep", 0),
        ("grid-pg", "keep", 1.5),
        ("morf", "cell", 0),
        ("lerf", "steps", 0),
        ("morf-insertion", "largest", 1.5),
        ("morf-insertion", "canvas", "red"),
        ("road", "percentiles", (0,)),
        ("road", "percentiles", (100,)),
        ("road", "noise", -1),
        ("sanity-cascading", "layers", "some"),
        ("sanity-independent", "similarity", "hog"),
        ("outside-inside-ratio", "normalise", "max"),
    ],
)
def test_refused_values(name: str, option: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match=f"{name}: option {option} = "):
        ll.metric(name, **{option: value})


@pytest.mark.parametrize(
    ("given", "near"), [("deletoin", "deletion"), ("ADCC", "adcc"), ("pointing", "pointing-game"), ("drop", "-drop")]
)
def test_unknown_metrics(given: str, near: str) -> None:
    with pytest.raises(UnknownMetric, match=f"there is no metric '{given}'; did you mean .*{near}"):
        ll.metric(given)
    with pytest.raises(UnknownMetric, match=r"there is no metric 'xyzzy'.*limelight metrics"):
        ll.metric("xyzzy")
