"""EMP: meaningful perturbation."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from limelight.card import register_method
from limelight.engine.baselines import Fill
from limelight.engine.needs import Descent, FillOf, Rounds, ScoresWhere
from limelight.engine.rng import Draws
from limelight.engine.saliency import Raw
from limelight.maps.perturbation.masks import (
    Game,
    Penalty,
    Play,
    Rendering,
    Size,
    Trace,
    Watch,
    baseline_at,
    descend,
    find_moving,
    noisy,
    ones,
    render_like,
)
from limelight.ops.arrays import integers
from limelight.ops.blur import gaussian_blur
from limelight.ops.scale import divide
from limelight.shapes import Images, Index, Scores

RADII = tuple(range(0, 175, 5))
"""Of the disks that a search for the first mask tries, pixels."""
EDGE = 10.0
"""Deviation of the blur of their edges, pixels."""
GONE = 0.01
"""Share of the score, between the blurred picture's and the picture's, at which a disk is large enough."""


@register_method(
    "emp",
    family="perturbation",
    cites="fong2017",
    cost="(1 + n * (1 + (game == 'both')) + 36 * (init == 'disk')) F + n * (1 + (game == 'both')) R",
    in_short="at most (n + 37) F + n R",
    layers="none",
    random=True,
    defaults={"score": "prob"},
    profiles={
        "pytorch": {
            "n": 500,
            "init": "ones",
            "rendering": "bilinear",
            "l1": 0.01,
            "tv": 0.2,
            "per": "mean",
            "baseline": "median-11",
            "jitter": 0,
            "noise": 0.2,
        },
        "paper-loc": {"l1": 1e-3, "beta": 2.0},
        "aop": {
            "n": 500,
            "init": "ones",
            "rendering": "bilinear",
            "l1": 0.01,
            "tv": 0.2,
            "per": "mean",
            "baseline": "gauss-51-50",
            "jitter": 0,
            "noise": 0.2,
        },
    },
)
def emp(
    image: Images,
    score: Scores,
    start: Tensor | None,
    fill: FillOf,
    scores_where: ScoresWhere,
    descent: Descent,
    own_draws: list[Draws],
    rounds: Rounds,
    *,
    n: Annotated[int, Field(ge=0)] = 300,
    size: Size = 28,
    init: Literal["disk", "ones", "random"] = "disk",
    rendering: Rendering = "nearest-gauss",
    l1: Annotated[float, Field(ge=0)] = 1e-4,
    tv: Annotated[float, Field(ge=0)] = 1e-2,
    beta: Annotated[float, Field(gt=0)] = 3.0,
    per: Literal["mean", "sum"] = "sum",
    baseline: Fill = "gauss-81-10",
    jitter: Annotated[int, Field(ge=0)] = 4,
    noise: Annotated[float, Field(ge=0)] = 0.0,
    rate: Annotated[float, Field(gt=0)] = 0.1,
    game: Game = "deletion",
    tol: Annotated[float, Field(ge=0)] | None = None,
    warmup: Annotated[int, Field(ge=0)] = 0,
    weak: Fill = "gauss-11-5",
    watch: Watch = None,
) -> Raw:
    """The smallest smooth mask that takes the score away, found by Adam.

    min_m p_c(x U(m) + b (1 - U(m))) + l1 |1 - m| + tv TV_beta(m), m kept in [0, 1]. The map is 1 - m.

    Args:
        image: normalised x, (n, 3, H, W).
        score: of the images, (n,).
        start: masks to begin with, (n, s, s); None for ``init``.
        fill: makes the baselines.
        scores_where: scores of those changed copies of the images that are wanted.
        descent: gradients of scores with respect to masks.
        own_draws: random numbers of each image.
        rounds: steps that the budget pays.
        n: steps.
        size: s.
        init: the smallest ``disk`` in the middle that takes the score away, ``ones``, or ``random`` numbers.
        rendering: U.
        l1: weight of the area that is taken away.
        tv: weight of the mask's total variation.
        beta: its exponent.
        per: whether these are sums or means over the mask; see ``Penalty``.
        baseline: b.
        jitter: pixels by which the picture is moved at random, so that no mask relies on single ones.
        noise: deviation of the noise on the changed picture, normalised units.
        rate: Adam's.
        game: ``insertion`` lets the score of what the mask takes away rise, ``both`` the difference fall.
        tol: an image whose mask has changed by no more leaves; None lets all go on.
        warmup: first steps, in which ``weak`` stands for the baseline.
        weak: baseline of these.
        watch: called with every ``Step``.

    Returns:
        1 - m at the size of the images, (n, H, W). In ``details`` the mask m, and the trace; the last state has no
        score, as it is not passed again.

    Raises:
        InvalidOption: a mask larger than the images.
        NonFinite: a gradient that is not finite.

    Source: Fong and Vedaldi 2017, eq. 6; ``pytorch`` are the settings of a widely used port.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "emp", n=3, init="ones")
        >>> explanation.details["trace_masks"].shape  # the first mask, and that after each step
        torch.Size([4, 28, 28])
    """
    mask = ones(image, size)
    baseline_of = baseline_at(image, fill, baseline, weak, warmup)
    if start is not None:
        mask = start
    elif init == "random":
        mask = _random_masks(mask, own_draws)
    elif init == "disk":
        mask = _disks(mask, score.to(mask), Play(image, baseline_of(0)), scores_where)
    penalty, trace = Penalty(l1, tv, beta, per), Trace(n + 1, mask, watch)
    live = torch.ones(len(image), dtype=torch.bool, device=image.device)
    adam = torch.optim.Adam([mask.clone()], lr=rate)
    signs = mask.new_tensor(Play(image, image, game).signs)

    for t in (t for part in rounds(n, len(signs)) for t in range(part.start, part.stop)):
        play = Play(_move(image, jitter, own_draws, t), _move(baseline_of(t), jitter, own_draws, t), game, rendering)

        def pictures(m: Tensor, i: Index, k: Index, play: Play = play, t: int = t) -> Images:
            return noisy(play.picture(m[i], i, k), i, k, own_draws, t, noise)

        scores, gradient = descent(mask, pictures, live[:, None] * signs)
        trace.add(t, live, mask, (scores * signs).sum(1) + penalty(mask), scores[:, 0])
        moved = torch.where(live[:, None, None], descend(adam, gradient + penalty.gradient(mask)), mask)
        live, mask = find_moving(live, mask, moved, tol), moved
        if not bool(live.any()):
            break
    trace.end(mask)
    return Raw(render_like(image, 1 - mask, rendering), {"mask": mask, **trace.details})


def _move(pictures: Images, jitter: int, own_draws: list[Draws], step: int) -> Images:
    """Return each picture drawn larger by ``jitter`` pixels and cut at random, all of one image alike."""
    if not jitter:
        return pictures
    height, width = pictures.shape[-2:]
    large = F.interpolate(pictures, (height + jitter, width + jitter), mode="bilinear", align_corners=False)
    at = [integers((d.number(step).uniform((2,), torch.empty(0)) * jitter).long()) for d in own_draws]
    return torch.stack([one[:, y : y + height, x : x + width] for one, (y, x) in zip(large, at, strict=True)])


def _random_masks(mask: Tensor, own_draws: list[Draws]) -> Tensor:
    """Return masks of random numbers from 0 to 1, in the shape of those given."""
    size = tuple(mask.shape[1:])
    return torch.stack([draws.number(-1).uniform(size, mask) for draws in own_draws])


def _disks(mask: Tensor, score: Scores, play: Play, scores_where: ScoresWhere) -> Tensor:
    """Return masks without the smallest disk in the middle that takes the score away; 1 where none does."""
    height, width = play.image.shape[-2:]
    y = torch.arange(height, device=mask.device) - (height - 1) / 2
    x = torch.arange(width, device=mask.device) - (width - 1) / 2
    away = (y[:, None].square() + x.square()).sqrt().to(mask)

    def without(radius: int) -> Tensor:
        disk = (away <= radius).to(mask)[None, None] if radius else torch.zeros_like(away)[None, None]
        return (1 - gaussian_blur(disk, 81, EDGE))[:, 0].clamp(0, 1)

    searching = torch.ones(len(mask), dtype=torch.bool, device=mask.device)
    blurred = scores_where(lambda i, _: play.baseline[i], searching[:, None])[:, 0].to(mask)
    searching = blurred < score
    for radius in RADII:
        if not bool(searching.any()):
            break
        shown = without(radius)
        scores = scores_where(
            lambda i, _, m=shown: play.image[i] * m[:, None] + play.baseline[i] * (1 - m[:, None]), searching[:, None]
        )[:, 0]
        enough = searching & (divide(scores.to(mask) - blurred, score - blurred) < GONE)
        small = F.interpolate(shown[:, None], mask.shape[-2:], mode="nearest")[:, 0]
        mask = torch.where(enough[:, None, None], small, mask)
        searching = searching & ~enough
    return mask
