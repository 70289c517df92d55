"""Insertion, deletion and the two together: curves worked out by hand, or by loops over steps and pixels."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

import architectures
import limelight as ll
from limelight.errors import InvalidOption, UnknownTarget
from measures.known_models import FALLING, Doubles, always, close, mean_pixel, ones, says, tensor, weighted_sum
from measures.plain_blurs import blur_by_folded_kernel, blur_by_gauss, folded_kernel


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
    c = says(weighted_sum([[3, 1], [0, -2]]), logits=True)
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
    fills = {"zero": 0 * x, "rise-blur": blur_by_folded_kernel(x), "gauss-51-50": blur_by_gauss(x)}
    c = says(weighted_sum((w / 3).tolist()), logits=True)

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


@pytest.mark.parametrize("fill", ["zero", "gauss-51-50"])
def test_another_class_is_watched(fill: str) -> None:
    """The curve is that of a deletion of the other class by the same maps, whatever they explain."""
    c = ll.Classifier(architectures.build("plain"))
    x, maps = architectures.images(4), torch.rand(4, 40, 56, generator=torch.Generator().manual_seed(2))
    explained = [0, 1, 2, 0]
    of_one = ll.metric("deletion", fill=fill).measure(c, x, 1, maps)
    watched = ll.metric("cross-deletion", fill=fill, watch=1).measure(c, x, explained, maps)
    assert of_one.curve is not None
    assert watched.curve is not None
    close(watched.curve, of_one.curve, 1e-6)
    assert watched.values.isnan().tolist() == [False, True, False, False]  # where it is the explained class itself
    close(watched.values[[0, 2, 3]], of_one.values[[0, 2, 3]], 1e-6)
    close(watched.parts["before"], c(x).softmax(1)[:, 1], 1e-6)
    assert len(watched.curve[0]) - 1 <= watched.cost.n_forward <= len(watched.curve[0])

    # Without a name it is the most probable of the others.
    next_best = c(x).scatter(1, torch.tensor(explained)[:, None], -torch.inf).argmax(1)
    unnamed = ll.metric("cross-deletion", fill=fill)(c, x, explained, maps)
    close(unnamed, ll.metric("deletion", fill=fill)(c, x, next_best, maps), 1e-6)


def test_a_watched_class_must_be_there() -> None:
    args = (says(always(0.3)), ones(4, 4), 0, torch.rand(1, 4, 4))
    with pytest.raises(UnknownTarget, match="no label names"):
        ll.metric("cross-deletion", watch="cat")(*args)
    with pytest.raises(UnknownTarget, match="out of range"):
        ll.metric("cross-deletion", watch=2)(*args)
    with pytest.raises(InvalidOption, match="about classes"):
        ll.metric("cross-deletion")(args[0], args[1], lambda out: out[:, 0], args[3])
