"""Region perturbation: the score while square cells of the picture are replaced by noise."""

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from limelight.card import register_metric
from limelight.core.classifier import Classifier
from limelight.core.judge import Measured, ScoreOf
from limelight.core.rng import Draws
from limelight.errors import InvalidOption
from limelight.ops.order import ranks
from limelight.shapes import Curve, Images, Index, Maps, Scores

Replacement = Literal["uniform", "zero", "black"]
Whole = Annotated[int, Field(ge=1)]


@register_metric(
    "morf",
    family="faithfulness",
    cites="samek2017",
    cost="(steps * repeats + 1) F",
    better="higher",
    random=True,
    low=None,
    high=None,
    profiles={"quantus": {"cell": 8, "replace_by": "black", "score": "prob"}},
)
def morf(
    image: Images,
    signed: Maps,
    classifier: Classifier,
    clean: Callable[..., Scores],
    scores_of: Callable[..., Curve],
    draws: Draws,
    *,
    cell: Whole = 9,
    steps: Whole = 100,
    replace_by: Replacement = "uniform",
    repeats: Whole = 10,
    score: ScoreOf = "logit",
) -> Measured:
    """How much score is lost on average while the most relevant cells are replaced first.

    AOPC = sum_{k=0..L} (f(x_0) - f(x_k)) / (L + 1), x_k with its k most relevant cells replaced. In units of
    the score, higher is better.

    Args:
        image: x.
        signed: a cell's relevance is the sum of the raw map in it.
        classifier: for the bounds of the noise.
        clean: f(x_0).
        scores_of: f(x_k).
        draws: of the noise; every method meets the same.
        cell: side in pixels; cells that don't fit at the right and lower border are left alone.
        steps: L; at most the number of cells.
        replace_by: noise between black and white, the mean colour, or black.
        repeats: draws of noise to average over.
        score: f.

    Source: Samek et al. 2017, eqs. 8 to 12.
    """
    return _aopc(signed, image, classifier, clean(score), scores_of, draws, cell, steps, replace_by, repeats, score)


@register_metric(
    "lerf",
    family="faithfulness",
    cites="samek2017",
    cost="(steps * repeats + 1) F",
    better="lower",
    random=True,
    low=None,
    high=None,
    profiles={"quantus": {"cell": 8, "replace_by": "black", "score": "prob"}},
)
def lerf(
    image: Images,
    signed: Maps,
    classifier: Classifier,
    clean: Callable[..., Scores],
    scores_of: Callable[..., Curve],
    draws: Draws,
    *,
    cell: Whole = 9,
    steps: Whole = 100,
    replace_by: Replacement = "uniform",
    repeats: Whole = 10,
    score: ScoreOf = "logit",
) -> Measured:
    """How much score is lost on average while the least relevant cells are replaced first.

    AOPC with the order of the cells reversed; see ``morf``. In units of the score, lower is better.

    Args:
        image: x.
        signed: a cell's relevance is the sum of the raw map in it.
        classifier: for the bounds of the noise.
        clean: f(x_0).
        scores_of: f(x_k).
        draws: of the noise; every method meets the same.
        cell: side in pixels.
        steps: L; at most the number of cells.
        replace_by: noise between black and white, the mean colour, or black.
        repeats: draws of noise to average over.
        score: f.

    Source: Samek et al. 2017, section III-B.
    """
    return _aopc(-signed, image, classifier, clean(score), scores_of, draws, cell, steps, replace_by, repeats, score)


def _aopc(
    relevance: Maps,
    image: Images,
    classifier: Classifier,
    f0: Scores,
    scores_of: Callable[..., Curve],
    draws: Draws,
    cell: int,
    steps: int,
    replace_by: Replacement,
    repeats: int,
    score: ScoreOf,
) -> Measured:
    place = _cells(relevance, cell)
    steps = min(steps, (image.shape[-2] // cell) * (image.shape[-1] // cell))
    repeats = repeats if replace_by == "uniform" else 1
    other = _replacements(replace_by, repeats, image, classifier, draws)  # repeats 3 H W

    def frames(i: Index, s: Index) -> Images:
        gone = place[i] <= (s % steps)[:, None, None]
        return torch.where(gone[:, None], other[s // steps], image[i])

    f = scores_of(frames, steps * repeats, score).unflatten(1, (repeats, steps)).mean(1)
    curve = torch.cat([f0[:, None], f], 1)
    return Measured((f0[:, None] - curve).mean(1), curve=curve)


def _cells(relevance: Maps, cell: int) -> Tensor:
    """Return for every pixel the place of its cell in decreasing order, or a place that never comes.

    Raises:
        InvalidOption: not even one cell fits.
    """
    _, height, width = relevance.shape
    if min(height, width) < cell:
        raise InvalidOption(f"cell = {cell} does not fit into pictures of {height} x {width}")
    order = ranks(F.avg_pool2d(relevance[:, None], cell)[:, 0])
    place = order.repeat_interleave(cell, 1).repeat_interleave(cell, 2)
    bottom, right = height - place.shape[1], width - place.shape[2]
    return F.pad(place, (0, right, 0, bottom), value=height * width)


def _replacements(
    replace_by: Replacement, repeats: int, image: Images, classifier: Classifier, draws: Draws
) -> Float[Tensor, "repeats c H W"]:
    shape = (repeats, *image.shape[1:])
    low, high = (bound.to(image) for bound in classifier.bounds)
    if replace_by == "uniform":
        return low + (high - low) * draws.uniform(shape, like=image)
    return image.new_zeros(shape) if replace_by == "zero" else low.expand(shape)
