"""Masks in [0, 1] that keep the picture where they are 1: what they do to it, what they cost, how they changed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from limelight.engine.baselines import Fill
from limelight.engine.rng import Draws
from limelight.errors import InvalidOption
from limelight.ops.arrays import integers
from limelight.ops.blur import gaussian_blur
from limelight.ops.scale import divide
from limelight.shapes import Flags, Images, Index, Maps, Scores

Game = Literal["deletion", "insertion", "both"]
"""The score is to fall without what the mask takes away, to stand with nothing else, or both."""
Rendering = Literal["bilinear", "bilinear-half-pixel", "nearest-gauss"]
"""How a mask gets to the size of the picture: bilinearly, its outermost values at the outermost pixels
(``align_corners=True``) or as cells that fill the picture (``False``); or in blocks, blurred with sigma = 5."""
NoiseScale = Literal["absolute", "range", "inverse_range"]
"""Noise as it is given, times the range of the normalised picture (its maximum less its minimum), or divided by it."""
Size = Annotated[int, Field(ge=2)]
"""Of a mask; one of a single value could tell no two places apart."""


@dataclass(frozen=True)
class Step:
    """What a watcher sees of one step.

    Attributes:
        number: of the step, from 0.
        images: numbers of the images that still take part, (m,).
        mask: (m, s, s), 1 where the picture is kept.
        objective: what is minimised, (m,).
        score: of the pictures that the masks leave, (m,).
    """

    number: int
    images: Index
    mask: Tensor
    objective: Scores
    score: Scores


Watch = Annotated[Callable[[Step], None] | None, Field(exclude=True)]
"""Called with every step; it is no part of a method's settings."""


class Trace:
    """The masks, objectives and scores of every step, NaN after an image's last."""

    def __init__(self, steps: int, start: Tensor, watch: Callable[[Step], None] | None) -> None:
        self._masks = start.new_full((len(start), steps, *start.shape[1:]), torch.nan)
        self._objective, self._score = (start.new_full((len(start), steps), torch.nan) for _ in range(2))
        self._watch = watch

    def add(self, number: int, live: Tensor, mask: Tensor, objective: Scores, score: Scores) -> None:
        """Take in a step of the images that are live, (n,)."""
        images = live.nonzero()[:, 0]
        self._masks[images, number] = mask[images]
        self._objective[images, number] = objective[images].to(mask)
        self._score[images, number] = score[images].to(mask)
        if self._watch:
            self._watch(Step(number, images, mask[images], objective[images], score[images]))

    def end(self, mask: Tensor) -> None:
        """Take in the masks at the end, (n, s, s), whose scores nobody asked for."""
        steps = self._objective.isfinite().sum(1)
        self._masks[torch.arange(len(mask), device=mask.device), steps] = mask

    @property
    def details(self) -> dict[str, Tensor]:
        """Return what an explanation keeps."""
        return {"trace_masks": self._masks, "trace_objective": self._objective, "trace_score": self._score}


@dataclass(frozen=True)
class Penalty:
    """What a mask costs by itself: l1 |1 - m| + tv TV_beta(m).

    Attributes:
        l1: weight of what is taken away, a number or one per image.
        tv: weight of the total variation.
        beta: its exponent.
        per: ``mean`` over the mask, sum_d mean |d m|^beta over both directions; or ``sum``, of
            (d_x^2 + d_y^2)^(beta / 2).
    """

    l1: Tensor | float
    tv: float
    beta: float
    per: Literal["mean", "sum"] = "mean"

    def __call__(self, mask: Tensor) -> Scores:
        """Return it for masks (n, s, s), (n,)."""
        area, down, right = (1 - mask).abs(), mask.diff(dim=1), mask.diff(dim=2)
        if self.per == "mean":
            tv = _power(down.abs(), self.beta).mean((1, 2)) + _power(right.abs(), self.beta).mean((1, 2))
            return self.l1 * area.mean((1, 2)) + self.tv * tv
        squares = F.pad(down, (0, 0, 0, 1)).square() + F.pad(right, (0, 1)).square()
        return self.l1 * area.sum((1, 2)) + self.tv * _power(squares, self.beta / 2).sum((1, 2))

    def gradient(self, mask: Tensor) -> Tensor:
        """Return its gradient, (n, s, s)."""
        with torch.enable_grad():
            leaf = mask.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self(leaf).sum(), leaf)
        return gradient


def _power(values: Tensor, exponent: float) -> Tensor:
    """Return values >= 0 to a power, with slope 0 at 0, where that of a root is infinite."""
    return torch.where(values > 0, values, 1.0).pow(exponent).masked_fill(values == 0, 0.0)


def bilinear(align_corners: bool) -> Rendering:
    """Return the bilinear rendering of this kind."""
    return "bilinear" if align_corners else "bilinear-half-pixel"


@dataclass(frozen=True)
class Play:
    """Pictures, what stands where they are taken away, and what is wanted of the masks.

    Attributes:
        image: normalised x, (n, 3, H, W).
        baseline: what is seen in its place, (n, 3, H, W).
        game: whether the score is to fall or to stand.
        rendering: of masks.
    """

    image: Images
    baseline: Images
    game: Game = "deletion"
    rendering: Rendering = "bilinear"

    @property
    def signs(self) -> tuple[float, ...]:
        """Of the scores in what is minimised, one for each picture that a mask makes."""
        return {"deletion": (1.0,), "insertion": (-1.0,), "both": (1.0, -1.0)}[self.game]

    def picture(self, mask: Tensor, i: Index, number: Index | int = 0) -> Images:
        """Return x m + b (1 - m) for masks (m, s, s), or the picture that m takes away, for the sign -1."""
        shown = render_like(self.image, mask, self.rendering)
        minus = torch.tensor(self.signs, device=mask.device)[number] < 0
        shown = torch.where(torch.as_tensor(minus).expand(len(shown))[:, None, None], 1 - shown, shown)[:, None]
        return self.image[i] * shown + self.baseline[i] * (1 - shown)


def descend(optimiser: torch.optim.Optimizer, gradient: Tensor) -> Tensor:
    """Take a step down a gradient, kept in [0, 1], and return a copy of what the optimiser holds now."""
    leaf: Tensor = optimiser.param_groups[0]["params"][0]
    leaf.grad = gradient
    optimiser.step()
    leaf.data.clamp_(0, 1)
    return leaf.detach().clone()


def find_moving(live: Flags, before: Tensor, after: Tensor, tol: float | None) -> Flags:
    """Tell which of the live images' masks (n, s, s) have changed by more than ``tol``; None lets all go on."""
    return live if tol is None else live & ((after - before).abs().amax((1, 2)) > tol)


def noisy(
    shown: Images, i: Index, number: Index, own_draws: Sequence[Draws], step: int, deviation: float | Tensor
) -> Images:
    """Return pictures (m, 3, H, W) with normal noise that is fixed by the image, the step and the picture's number.

    Its deviation is one number, or one for each picture, (m,).
    """
    if not torch.as_tensor(deviation).any():
        return shown
    pairs, shape = zip(integers(i), integers(number), strict=True), tuple(shown.shape[1:])
    draws = [own_draws[a].number(step).number(b).normal(shape, shown) for a, b in pairs]
    noise = torch.stack(draws)
    return shown + torch.as_tensor(deviation, dtype=noise.dtype, device=noise.device).reshape(-1, 1, 1, 1) * noise


def deviations(image: Images, noise: float, scale: NoiseScale) -> Tensor:
    """Return the deviation of the noise on each image (n, 3, H, W), in normalised units, (n,).

    >>> deviations(torch.tensor([[[[-2.0, 3.0]]], [[[1.0, 1.0]]]]), 0.25, "inverse_range")
    tensor([0.0500, 0.0000])
    """
    extent = image.amax((1, 2, 3)) - image.amin((1, 2, 3))
    same = torch.full_like(extent, noise)
    return {"absolute": same, "range": noise * extent, "inverse_range": divide(same, extent)}[scale]


def render(mask: Tensor, size: tuple[int, int], rendering: Rendering = "bilinear") -> Maps:
    """Return masks (m, s, s) at the size of the pictures, (m, H, W)."""
    if rendering != "nearest-gauss":
        return F.interpolate(mask[:, None], size, mode="bilinear", align_corners=rendering == "bilinear")[:, 0]
    return gaussian_blur(F.interpolate(mask[:, None], size, mode="nearest"), 41, 5.0)[:, 0]


def render_like(image: Images, mask: Tensor, rendering: Rendering) -> Tensor:
    """Return masks (m, s, s) at the size of these images, (m, H, W)."""
    return render(mask, (int(image.shape[-2]), int(image.shape[-1])), rendering)


def ones(image: Images, size: int) -> Tensor:
    """Return masks that keep everything, (n, s, s).

    Raises:
        InvalidOption: they would be larger than the images.
    """
    smallest = min(image.shape[-2:])
    if size > smallest:
        way = f"give size={smallest}" if smallest > 1 else "no mask is that small; rise and occlusion explain such ones"
        raise InvalidOption(f"a mask of {size} x {size} for images with a side of {smallest}; {way}")
    kind = image.dtype if image.dtype == torch.float64 else torch.float32
    return torch.ones(len(image), size, size, dtype=kind, device=image.device)


def baseline_at(
    image: Images, fill: Callable[[Fill], Images], baseline: Fill, weak: Fill, warmup: int
) -> Callable[[int], Images]:
    """Return a function of the step: ``weak`` for the first ``warmup`` of them, and ``baseline`` from then on."""
    full = _or_itself(image, fill(baseline))
    first = _or_itself(image, fill(weak)) if warmup else full
    return lambda step: first if step < warmup else full


def _or_itself(image: Images, baseline: Images) -> Images:
    """Return a baseline, and the image where they differ by rounding: a constant picture is its own blur."""
    apart = (baseline - image).abs().amax((1, 2, 3)) > 16 * torch.finfo(image.dtype).eps * image.abs().amax((1, 2, 3))
    return torch.where(apart[:, None, None, None], baseline, image)
