"""Extremal perturbation."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor
from torch.nn import functional as F

from limelight.card import register_method
from limelight.engine.needs import Descent, Rounds
from limelight.engine.saliency import Raw
from limelight.maps.perturbation.masks import Trace, Watch, descend, render
from limelight.model.batches import chunk_size, in_chunks
from limelight.ops import min_max
from limelight.ops.arrays import floats
from limelight.shapes import Grid, Images, Index, Maps, Scores

Area = Annotated[float, Field(gt=0, lt=1)]
Areas = Annotated[
    tuple[Area, ...],
    BeforeValidator(lambda given: (given,) if isinstance(given, float) else given),
    Field(min_length=1),
]
"""One share of the picture, or several."""
SHARPNESS = 20.0
"""Of the smooth maximum: the larger, the closer to the maximum."""
ALIKE = 1e-5
"""Values of a mask that are so close count as equal: more than rounding, less than matters."""
SIGNS = {"preserve": (-1.0,), "delete": (1.0,), "dual": (-1.0, 1.0)}
"""Of the scores in what is minimised: that of the picture of m is to stand, that of 1 - m to fall."""


@register_method(
    "extremal-perturbation",
    family="perturbation",
    cites="fong2019",
    cost="(1 + n * len(areas) * (1 + (variant == 'dual'))) F + n * len(areas) * (1 + (variant == 'dual')) R",
    in_short="(n + 1) F + n R",
    layers="none",
    profiles={"aop": {}, "torchray": {"ties": "sort"}},
)
def extremal_perturbation(
    image: Images,
    start: Tensor | None,
    descent: Descent,
    rounds: Rounds,
    *,
    n: Annotated[int, Field(ge=0)] = 800,
    areas: Areas = (0.1,),
    step: Annotated[int, Field(ge=1)] = 7,
    sigma: Annotated[int, Field(ge=1)] = 21,
    perturbation: Literal["blur", "fade"] = "blur",
    levels: Annotated[int, Field(ge=2, le=1000)] = 8,
    blur: Annotated[float, Field(gt=0, le=10_000)] = 20.0,
    variant: Literal["preserve", "delete", "dual"] = "preserve",
    jitter: bool = True,
    weight: Annotated[float, Field(ge=0)] = 300.0,
    growth: Annotated[float, Field(gt=0)] = 1.0035,
    ties: Literal["share", "sort"] = "share",
    rate: Annotated[float, Field(gt=0)] = 0.01,
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9,
    dampening: Annotated[float, Field(ge=0, le=1)] = 0.9,
    watch: Watch = None,
) -> Raw:
    """The smooth mask of a given area that keeps the score highest.

    max_q f_c(x read at m) - weight_t mean (sort(m) - r_a)^2, q kept in [0, 1], by gradient ascent with momentum. m is
    the smooth mask of q (see ``Canvas``), and r_a a step from 0 to 1 that leaves the share a at 1. Where m = 1 the
    picture is kept, where m = 0 it is blurred. The reward is the score: ``logit`` is the simple one, ``margin``, the
    logit minus the largest other one, the contrastive one.

    Args:
        image: normalised x, (n, 3, H, W).
        start: masks to begin with, (n, s, s), 1 where nothing is seen yet; None for q = 1. What they take away, scaled
            to [0, 1], is the first q.
        descent: gradients of scores with respect to masks.
        rounds: steps that the budget pays.
        n: steps.
        areas: a, shares of the picture; each of several has a mask of its own.
        step: pixels between the points of the grid.
        sigma: how smooth masks are: half width of the bump around a point of the grid, pixels.
        perturbation: ``blur``, or ``fade`` to the mean colour.
        levels: of blur, between which the picture is read linearly.
        blur: deviation of the strongest, pixels.
        variant: keep the score with the picture of m (``preserve``), lose it with that of 1 - m (``delete``), or both.
        jitter: mirror the changed picture on even steps.
        weight: of the area at first.
        growth: factor by which it grows with each step.
        ties: which of equal pixels count as the largest ones: all alike (``share``), or as a sort leaves them, which
            rounding decides (``sort``).
        rate: of the steps.
        momentum: share of the last step that is gone again.
        dampening: share of the gradient that is left out then.
        watch: called with every ``Step``, whose masks are m at the grid's size; with several areas an image has as
            many of them.

    Returns:
        m, or the sum of those of all areas, (n, H, W). In ``details`` the masks and the trace, whose masks have the
        grid's size, with q as ``trace_points``; several areas have an axis behind the images.

    Raises:
        NonFinite: a gradient that is not finite.

    Source: Fong et al. 2019, section 3, and the authors' code, whose runs ``torchray`` makes again.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "extremal-perturbation", n=1, areas=(0.1, 0.3))
        >>> explanation.details["mask"].shape  # one for each area
        torch.Size([2, 128, 128])
    """
    count, signs = len(areas), torch.tensor(SIGNS[variant], device=image.device)
    canvas = Canvas((int(image.shape[-2]), int(image.shape[-1])), step, sigma)
    # A row for each area of each image.
    q = _first(image, start, canvas).repeat_interleave(count, 0)
    shares, every = torch.tensor(areas, dtype=torch.float64).repeat(len(image)), torch.ones_like(q[:, 0, 0]).bool()
    weights = signs.to(q).repeat(len(image), count)
    trace = Trace(n, q, watch and (lambda seen: watch(replace(seen, images=seen.images // count))))
    pyramid = levels_of(image.to(q), perturbation, levels, blur)
    points = q.new_full((len(q), n, *canvas.grid), torch.nan)
    sgd = torch.optim.SGD([q.clone()], lr=rate, momentum=momentum, dampening=dampening)

    for t in (one.start for one in rounds(n, count * len(signs), 1)):

        def pictures(masks: Tensor, i: Index, number: Index, t: int = t) -> Images:
            shown = wanted_part(masks[i, number // len(signs)], signs[number % len(signs)])
            return mirror(read(pyramid[i], shown), jitter and t % 2 == 0)

        masks, pull = canvas.masks(q), weight * growth**t
        scores, gradient = descent(torch.unflatten(canvas.cut(masks), 0, (-1, count)), pictures, weights)
        scores, wanted = scores.view(len(q), -1), rank(masks, shares, ties)
        objective = (scores * signs).sum(1) + pull * excess(masks, wanted)
        points[:, t] = q
        trace.add(t, every, render(canvas.cut(masks), canvas.grid), objective, scores[:, 0])
        total = 2 * pull * (masks - wanted) / masks[0].numel()
        canvas.cut(total).add_(gradient.flatten(0, 1))
        q = descend(sgd, canvas.pull_back(q, total))

    mask = canvas.cut(canvas.masks(q))
    details = {"mask": mask, "trace_points": points, **trace.details}
    return Raw(torch.unflatten(mask, 0, (-1, count)).sum(1), per_image(details, count))


def wanted_part(masks: Tensor, signs: Tensor) -> Tensor:
    """Return masks (m, H, W) where the score is to stand, and what they leave out where it is to fall."""
    return torch.where((signs > 0)[:, None, None], 1 - masks, masks)


def mirror(pictures: Images, now: bool) -> Images:
    """Return pictures mirrored left to right, or as they are."""
    return pictures.flip(-1) if now else pictures


def per_image(details: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    """Return the rows of each image, with an axis for its areas if there are several."""
    return {name: rows.unflatten(0, (-1, count)) if count > 1 else rows for name, rows in details.items()}


@dataclass(frozen=True)
class Canvas:
    """Smooth masks on a canvas around the picture, made of numbers q at the points of a grid.

    m(u) = sum_i z_i softmax_i(20 z_i), a smooth maximum over the points u_i near pixel u, with
    z_i = k(|u - u_i| / sigma) q_i and k(t) = exp(-2 max(0, t - 1/2)^2).

    Attributes:
        size: (H, W) of the picture, which lies ``sigma`` pixels from the canvas's upper left corner.
        step: delta, pixels between points: u_i = sigma + delta i.
        sigma: width of k, pixels.
    """

    size: tuple[int, int]
    step: int
    sigma: int

    @property
    def grid(self) -> tuple[int, int]:
        """How many points there are in a column and in a row."""
        return math.ceil(self.size[0] / self.step), math.ceil(self.size[1] / self.step)

    @property
    def _pad(self) -> int:
        return 1 + math.ceil(2 * self.sigma / self.step)

    @property
    def _near(self) -> int:
        """How many points in a row are near a pixel."""
        return 2 * math.ceil(self.sigma / self.step) + 3

    def _bumps(self, like: Tensor) -> Tensor:
        """Return k of the way from each point nearby to a pixel, (near, near, 1, step, 1, step)."""
        point = self.sigma + self.step * (torch.arange(self._near, dtype=torch.float64) - self._pad)
        way = (torch.arange(self.step, dtype=torch.float64) - point[:, None]).square()
        far = (way[:, None, None, :, None, None] + way[:, None, None, None, :]).sqrt() / self.sigma
        return torch.exp(-2 * (far - 0.5).relu().square()).to(like)

    def _smooth(self, q: Tensor) -> Tensor:
        sides = [(g + 2 * self._pad - self._near) * self.step + 1 for g in self.grid]
        # With a small sigma that is not yet all of the picture.
        more = [max(0, s + self.sigma - side) for s, side in zip(self.size, sides, strict=True)]
        down, right = (math.ceil(m / self.step) for m in more)
        around = F.pad(q, (self._pad, self._pad + right, self._pad, self._pad + down))
        near = around.unfold(1, self._near, 1).unfold(2, self._near, 1).permute(0, 3, 4, 1, 2)
        z = near[..., None, :, None] * self._bumps(q)  # mask; point nearby, two; row and its pixels, column and its
        z = z.flatten(5, 6).flatten(3, 4).flatten(1, 2)
        mask = (z * (SHARPNESS * z).softmax(1)).sum(1).clamp(0, 1)
        return mask[:, : sides[0] + down * self.step, : sides[1] + right * self.step]

    def masks(self, q: Tensor) -> Tensor:
        """Return the masks of q (m, *grid), (m, height, width) of the canvas."""
        with torch.no_grad():
            return self._in_chunks(q, lambda part: self._smooth(q[part]))

    def pull_back(self, q: Tensor, gradient: Tensor) -> Tensor:
        """Return the gradient with respect to q of what has such a gradient with respect to the masks of q."""

        def work(part: slice) -> Tensor:
            with torch.enable_grad():
                leaf = q[part].detach().requires_grad_()
                (of_q,) = torch.autograd.grad(self._smooth(leaf), leaf, gradient[part])
            return of_q

        return self._in_chunks(q, work)

    def _in_chunks(self, q: Tensor, work: Callable[[slice], Tensor]) -> Tensor:
        canvas = math.prod(s + 2 * (self.sigma + self.step) for s in self.size)
        size = chunk_size(8 * q.element_size() * canvas * self._near**2, q.device)
        return torch.cat(in_chunks(work, len(q), size))

    def cut(self, masks: Tensor) -> Maps:
        """Return the part of masks that lies on the picture, (m, H, W)."""
        return masks[:, self.sigma : self.sigma + self.size[0], self.sigma : self.sigma + self.size[1]]


def rank(masks: Tensor, areas: Tensor, ties: Literal["share", "sort"]) -> Tensor:
    """Return r_a at the pixels of masks (m, h, w): 1 at the largest values, shares a (m,) of all, and 0 elsewhere.

    The pixels of a first mask are alike, and rounding would decide which of them are among the largest: those on the
    edge share what is left for them, the mean over all orders. ``sort`` takes them as a sort happens to leave them.
    """
    values, count = masks.flatten(1), masks[0].numel()
    zeros = ((1 - areas) * count).floor().long().to(masks.device)[:, None]
    if ties == "sort":
        wanted = (torch.arange(count, device=masks.device) >= zeros).to(values)
        return torch.zeros_like(values).scatter(1, values.sort().indices, wanted).view_as(masks)
    edge = values.sort().values.gather(1, zeros)
    above, near = values > edge + ALIKE, (values - edge).abs() <= ALIKE
    left = (count - zeros - above.sum(1, keepdim=True)) / near.sum(1, keepdim=True)
    return torch.where(near, left.to(values), above.to(values)).view_as(masks)


def excess(masks: Tensor, wanted: Tensor) -> Scores:
    """Return how far masks (m, h, w) are from their areas: mean (sort(m) - r_a)^2, r_a as ``rank`` gives it, (m,)."""
    return (masks.square() - 2 * masks * wanted + wanted).mean((1, 2))  # r_a^2 = r_a


def read(levels: Tensor, at: Maps) -> Images:
    """Read pictures (m, levels, 3, H, W) between their levels, linearly; ``at`` 0 is the first, 1 the last."""
    place = at * (levels.shape[1] - 1)
    lower = place.detach().floor().clamp(max=levels.shape[1] - 2)
    number = lower.long()[:, None, None].expand(-1, 1, levels.shape[2], -1, -1)
    low, high = (levels.gather(1, number + k)[:, 0] for k in (0, 1))
    return torch.lerp(low, high, (place - lower)[:, None].expand_as(low))


def levels_of(image: Images, perturbation: str, count: int, most: float) -> Tensor:
    """Return the pictures from nothing to themselves, (n, count, 3, H, W)."""
    shares = floats(torch.linspace(0, 1, count, dtype=torch.float64))
    if perturbation == "fade":
        return torch.stack([image * share for share in shares], 1)
    return torch.stack([blur(image, most * (1 - share)) for share in shares], 1)


def blur(image: Images, sigma: float) -> Images:
    """Blur with a Gaussian that ends at 4 sigma; outside of the picture is 0."""
    if not sigma:
        return image
    reach = math.ceil(4 * sigma)
    for dim in (2, 3):
        at = torch.arange(image.shape[dim], dtype=torch.float64)
        way = (at[:, None] - at).abs()
        whole = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / sigma).square()).sum()
        kernel = (torch.exp(-0.5 * (way / sigma).square()) * (way <= reach) / whole).to(image)
        image = kernel @ image if dim == 2 else image @ kernel
    return image


def _first(image: Images, start: Tensor | None, canvas: Canvas) -> Grid:
    """Return what q begins with, (n, *grid)."""
    if start is None:
        kind = torch.promote_types(image.dtype, torch.float32)
        return torch.ones(len(image), *canvas.grid, dtype=kind, device=image.device)
    taken, empty = min_max(1 - start)
    return render(taken.masked_fill(empty[:, None, None], 1.0), canvas.grid)
