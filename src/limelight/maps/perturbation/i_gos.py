"""I-GOS."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from limelight.card import register_method
from limelight.engine.baselines import Fill
from limelight.engine.needs import Descent, FillOf, Rounds, ScoresWhere
from limelight.engine.rng import Draws
from limelight.engine.saliency import Raw
from limelight.maps.perturbation.masks import (
    Game,
    NoiseScale,
    Penalty,
    Play,
    Size,
    Trace,
    Watch,
    baseline_at,
    bilinear,
    deviations,
    find_moving,
    noisy,
    ones,
    render_like,
)
from limelight.shapes import Flags, Images, Index, Scores

SHRINK = 0.2
"""Factor by which a step that is too long is shortened."""
FALL = 1e-4
"""Share of step |g|^2 by which the objective has to fall."""
SHORTEST = 1e-5
"""A step below it is taken as it comes."""
RESCUES = ((2.0, 1e-3, 10.0), (1.25, 1e-2, 5.0))
"""After n / (first) steps, where the score has moved by no more than (second), L1 is divided by (third)."""


@register_method(
    "i-gos",
    family="perturbation",
    cites="qi2020",
    cost="(1 + (1 + (game == 'both')) * (2 + n * (points + (12 + (first_step > 488)) * "
    "(points if search == 'points' else 1)))) F + n * points * (1 + (game == 'both')) R",
    in_short="at most (2 + n (points + 12)) F + n points R",
    layers="none",
    random=True,
    defaults={"score": "prob"},
    profiles={
        "aop": {},
        "author": {"n": 10, "noise": 0.25, "noise_scale": "inverse_range", "align_corners": False},
        "batched": {"search": "points", "first_step": 1000.0, "rescue": False},
    },
)
def i_gos(
    image: Images,
    score: Scores,
    start: Tensor | None,
    fill: FillOf,
    scores_where: ScoresWhere,
    descent: Descent,
    own_draws: list[Draws],
    rounds: Rounds,
    *,
    n: Annotated[int, Field(ge=0)] = 15,
    points: Annotated[int, Field(ge=1)] = 20,
    size: Size = 28,
    l1: Annotated[float, Field(ge=0)] = 1.0,
    tv: Annotated[float, Field(ge=0)] = 20.0,
    beta: Annotated[float, Field(gt=0)] = 2.0,
    baseline: Fill = "gauss-51-50",
    noise: Annotated[float, Field(ge=0)] = 0.2,
    noise_scale: NoiseScale = "absolute",
    align_corners: bool = True,
    game: Game = "deletion",
    search: Literal["end", "points"] = "end",
    first_step: Annotated[float, Field(gt=0)] = 200.0,
    rescue: bool = True,
    tol: Annotated[float, Field(ge=0)] | None = None,
    warmup: Annotated[int, Field(ge=0)] = 0,
    weak: Fill = "gauss-11-5",
    watch: Watch = None,
) -> Raw:
    """The smallest smooth mask that takes the score away, found along integrated gradients.

    F(m) = p_c(x U(m) + b (1 - U(m))) + l1 mean |1 - m| + tv (mean |d_y m|^2 + mean |d_x m|^2), from m = 1 on. Each step
    goes down g = d/dm [1/S sum_j p_c(picture of j/S m, with noise) + penalties], as far as F falls enough:
    F(m') <= F(m) - 1e-4 step |g|^2, the step shortened to a fifth until it does. The map is 1 - m.

    Args:
        image: normalised x, (n, 3, H, W).
        score: of the images, (n,).
        start: masks to begin with, (n, s, s); None for 1.
        fill: makes the baselines.
        scores_where: scores of those changed copies of the images that are wanted.
        descent: gradients of scores with respect to masks.
        own_draws: random numbers of each image.
        rounds: steps that the budget pays.
        n: steps.
        points: S, of the integral.
        size: s.
        l1: weight of the area that is taken away.
        tv: weight of the mask's total variation.
        beta: its exponent.
        baseline: b.
        noise: deviation of the noise on the pictures of the integral, normalised units.
        noise_scale: ``range`` multiplies it by max x - min x of the image, ``inverse_range`` divides it by that.
        align_corners: enlarge masks corner to corner; False for cells that fill the picture.
        game: ``insertion`` lets the score of what the mask takes away rise, ``both`` the difference fall.
        search: the step is judged by the picture of the mask (``end``), or by those of the integral (``points``).
        first_step: the longest.
        rescue: weigh the area less where the score has hardly moved by the middle.
        tol: an image whose mask has changed by no more leaves; None lets all go on.
        warmup: first steps, in which ``weak`` stands for the baseline.
        weak: baseline of these.
        watch: called with every ``Step``.

    Returns:
        1 - m at the size of the images, (n, H, W). In ``details`` the mask m, and the trace.

    Raises:
        InvalidOption: a mask larger than the images.
        NonFinite: a gradient that is not finite.

    Source: Qi et al. 2020, section 3, and the authors' code. The profile ``author`` has what a later search by the
    first author of the AOP paper does otherwise: noise of 0.25 / (max x - min x), about 0.055 in place of 0.2; masks
    enlarged as cells; 10 steps. That all else stays as it is here is a reading.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "i-gos", n=1, points=5)
        >>> score = explanation.details["trace_score"]
        >>> bool(score[1] < score[0])  # the picture without what the mask takes away looks less like a star
        True
    """
    mask = ones(image, size) if start is None else start
    live = torch.ones(len(image), dtype=torch.bool, device=image.device)
    baseline_of = baseline_at(image, fill, baseline, weak, warmup)
    penalty = Penalty(mask.new_full((len(image),), l1), tv, beta)
    trace = Trace(n + 1, mask, watch)
    before = clean = score.to(mask)
    known = clean[:, None]

    for t in (one.start for one in rounds(n, _passes(points, search, first_step, game), 1)):
        play = Play(image, baseline_of(t), game, bilinear(align_corners))
        goal = _Goal(play, points, deviations(image, noise, noise_scale), own_draws, t, search, scores_where)
        scores, gradient = descent(mask, goal.pictures, goal.weights(live))
        gradient = gradient + penalty.gradient(mask)
        unknown = _without_score(mask, live, t, warmup, game)
        known = goal.means(scores) if search == "points" else goal.update(known, mask, unknown)
        earlier, before = before, known[:, 0]
        if t == 0:
            trace.add(0, live, mask, goal.value(known) + penalty(mask), before)
        moved, known = _line_search(mask, gradient, known, goal, penalty, live, first_step)
        trace.add(t + 1, live, moved, goal.value(known) + penalty(moved), known[:, 0])
        if rescue:
            penalty = replace(penalty, l1=_rescue(penalty.l1, t, n, clean, earlier))
        live, mask = find_moving(live, mask, moved, tol), moved
        if not bool(live.any()):
            break
    return Raw(render_like(image, 1 - mask, bilinear(align_corners)), {"mask": mask, **trace.details})


@dataclass(frozen=True)
class _Goal:
    """The scores of one step: of the pictures of masks, and on the way from the baseline to them."""

    play: Play
    points: int
    noise: Tensor
    own_draws: list[Draws]
    step: int
    search: Literal["end", "points"]
    scores_where: ScoresWhere

    def pictures(self, mask: Tensor, i: Index, number: Index) -> Images:
        """Return noisy pictures of j/S m, (m, 3, H, W), j = 1 ... S, one after another for each sign."""
        signs = len(self.play.signs)
        share = (number // signs + 1).to(mask) / self.points
        shown = self.play.picture(share[:, None, None] * mask[i], i, number % signs)
        return noisy(shown, i, number, self.own_draws, self.step, self.noise[i])

    def weights(self, live: Flags) -> Tensor:
        """Return the weight of each such picture, (n, points * signs): sign / S, and 0 for images that have left."""
        one = self.play.image.new_tensor(self.play.signs).repeat(self.points) / self.points
        return live[:, None] * one.to(torch.promote_types(one.dtype, torch.float32))

    def means(self, scores: Tensor) -> Tensor:
        """Return the means of scores (n, points * signs) over the points, (n, signs)."""
        return torch.unflatten(scores, 1, (self.points, -1)).mean(1)

    def scores(self, mask: Tensor, wanted: Flags) -> Tensor:
        """Return the scores of masks, (n, signs): of their pictures, or means over the points."""
        if self.search == "points":
            scores = self.scores_where(lambda i, k: self.pictures(mask, i, k), self.weights(wanted) != 0)
            return self.means(scores).to(mask)
        every = wanted[:, None].expand(-1, len(self.play.signs))
        return self.scores_where(lambda i, k: self.play.picture(mask[i], i, k), every).to(mask)

    def update(self, known: Tensor, mask: Tensor, wanted: Flags) -> Tensor:
        """Return the known scores (n, signs), with those of wanted masks worked out anew."""
        return torch.where(wanted[:, None], self.scores(mask, wanted), known)

    def value(self, scores: Tensor) -> Scores:
        """Return what is minimised but for the penalty, (n,)."""
        return (scores * scores.new_tensor(self.play.signs)).sum(1)


def _most_candidates(first: float) -> int:
    """Return how many steps a search tries at most, beginning with the ``first``."""
    return 1 + max(0, 1 + math.floor(math.log(first / SHORTEST, 1 / SHRINK)))


def _without_score(mask: Tensor, live: Flags, step: int, warmup: int, game: Game) -> Flags:
    """Tell which masks have no known score before a step: first ones, and those that meet a new baseline."""
    if step == 0:  # a mask of 1 leaves the image itself, whose score is known
        return (mask != 1).flatten(1).any(1) if game == "deletion" else live
    return live if step == warmup else torch.zeros_like(live)


def _passes(points: int, search: str, first: float, game: Game) -> int:
    """Return how many passes a step takes at most."""
    most = _most_candidates(first)
    return (points + (most * points if search == "points" else most + 1)) * (2 if game == "both" else 1)


def _line_search(
    mask: Tensor, gradient: Tensor, known: Tensor, goal: _Goal, penalty: Penalty, live: Flags, first: float
) -> tuple[Tensor, Tensor]:
    """Return the masks a step further down, each as far as its objective falls enough, and their scores."""
    now, fall = goal.value(known) + penalty(mask), FALL * gradient.square().sum((1, 2))
    length = torch.full_like(now, first)
    searching, moved = live, mask
    while bool(searching.any()):
        ahead = (mask - length[:, None, None] * gradient).clamp(0, 1)
        moved = torch.where(searching[:, None, None], ahead, moved)
        known = goal.update(known, moved, searching)
        too_far = goal.value(known) + penalty(moved) > now - length * fall
        searching = searching & too_far & (length >= SHORTEST)
        length = torch.where(searching, SHRINK * length, length)
    return moved, known


def _rescue(l1: Tensor | float, step: int, n: int, clean: Scores, before: Scores) -> Tensor:
    """Return the weights of the area, less where the score has hardly moved by certain steps."""
    weights = torch.as_tensor(l1)
    for share, least, factor in RESCUES:
        if n > 3 and step == int(n / share):
            weights = torch.where((clean - before).abs() <= least, weights / factor, weights)
    return weights
