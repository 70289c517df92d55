"""Pictures to which concepts answer most, and where: what a concept stands for."""

import heapq
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from limelight.concept.basis import Basis
from limelight.concept.look import Batch, Look, look, read_acts
from limelight.draw.plane import to_rgb
from limelight.engine.budget import limits
from limelight.ops.arrays import floats, integers
from limelight.ops.scale import divide

RankedBy = Literal["relevance", "activation"]

MOST = 0.75
"""Share of a concept's relevance at a picture that a crop holds."""
LEAST = 1 / 4
"""The least side of a crop, in shorter sides of the picture."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Crop:
    """A part of a picture to which a concept answers.

    Attributes:
        picture: name of the picture.
        box: x0, y0, x1, y1 in pixels of the network's input.
        answer: of the concept at the picture: its share of the relevance, or its largest activation.
        image: what is in the box, (h, w, 3), uint8.
    """

    picture: str
    box: Box
    answer: float
    image: npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class _Picture:
    """A picture that may be kept."""

    name: str
    alone: Batch


@dataclass(frozen=True, eq=False)
class _Answer:
    """By how much a concept answers to a picture, and at which position of the layer's map most."""

    amount: float
    position: int
    picture: _Picture


def find_crops(
    basis: Basis, batches: Iterable[Batch], count: int, by: RankedBy, budget: str | None = None
) -> tuple[list[list[Crop]], list[str]]:
    """Look through pictures, and cut out where each concept answers most.

    By relevance, a concept's answer is its share of the relevance at the layer, and its place where most of that is; by
    activation, its largest activation. Pictures to which it does not answer, by more than 0, are left out. Only the
    best are kept, whatever the number of pictures.

    Args:
        basis: the concepts.
        batches: pictures, some at a time.
        count: crops for each concept, at most.
        by: which answer.
        budget: where to stop, as ``"500 forwards"`` or ``"60 s"``; it is looked at after each batch.

    Returns:
        For each concept its crops, by falling answer; and what the reader should know.

    Source: Achtibat et al. 2023, "relevance maximisation"; shares, in place of relevance, don't let the pictures of
    the largest scores win.
    """
    if count == 0:
        return [[] for _ in basis.names], []
    passes, seconds = limits(budget)
    best: list[list[_Answer]] = [[] for _ in basis.names]
    begun, seen, notes = time.perf_counter(), 0, list[str]()
    for batch in batches:
        amounts, positions = _answers(basis, batch, by)
        pictures = [_Picture(name, _take(batch, i)) for i, name in enumerate(batch.names)]
        for c, kept in enumerate(best):
            there = zip(floats(amounts[:, c]), integers(positions[:, c]), pictures, strict=True)
            answers = [_Answer(*one) for one in there if one[0] > 0]
            best[c] = heapq.nlargest(count, kept + answers, key=lambda one: one.amount)
        seen += len(batch.names)
        if seen * (1 if by == "activation" else 2) >= passes or time.perf_counter() - begun >= seconds:
            notes.append(f"the budget of {budget} was spent after {seen} reference pictures")
            break
    return _cut_out(basis, best, by), notes


def _take(batch: Batch, i: int) -> Batch:
    """Return one picture of a batch, which is not kept with it."""
    settings = replace(batch.settings, classifier=batch.settings.classifier.take(slice(i, i + 1)))
    return Batch(settings, batch.x[i : i + 1].clone(), batch.targets[i : i + 1])


def _answers(basis: Basis, batch: Batch, by: RankedBy) -> tuple[Tensor, Tensor]:
    """Return each concept's answer to each picture, and the position of its maximum, (n, c) both."""
    if by == "activation":
        return basis.answers(read_acts(batch)).max(2)
    seen = look(batch, whole=False)
    at = torch.stack([_in_map(seen, mask * seen.relevance) for mask in basis.masks(seen.acts)], 1)
    return divide(at.sum(2), seen.relevance.abs().sum((1, 2))[:, None]), at.argmax(2)


def _in_map(seen: Look, amounts: Tensor) -> Tensor:
    """Sum amounts, (n, k, prefix + positions), over the channels, at each position of the map, (n, positions)."""
    return amounts.sum(1)[:, seen.settings.prefix :]


def _cut_out(basis: Basis, best: list[list[_Answer]], by: RankedBy) -> list[list[Crop]]:
    """Return the crops; each picture passes once, and then back through each concept that it is kept for."""
    crops: dict[tuple[int, int], Crop] = {}
    kept = {id(one.picture): one.picture for answers in best for one in answers}
    for picture in kept.values():
        wanted = [(c, i, a) for c, answers in enumerate(best) for i, a in enumerate(answers) if a.picture is picture]
        seen = look(picture.alone, whole=False)
        masks = basis.masks(seen.acts)
        source = seen.relevance if by == "relevance" else seen.acts
        seeds = [_at(masks[c] * source, seen.settings.prefix + a.position) for c, _, a in wanted]
        shown = to_rgb(
            seen.settings.classifier.display(picture.alone.x[0]).float().cpu().numpy(),
            seen.settings.classifier.inputs.bands,
        )
        for (c, i, a), at_picture in zip(wanted, seen.pass_on(seeds)[0], strict=True):
            box = box_around(at_picture, seen.settings.centre_of(a.position, at_picture.shape))
            x0, y0, x1, y1 = box
            crops[c, i] = Crop(picture.name, box, a.amount, shown[y0:y1, x0:x1])
    return [[crops[c, i] for i in range(len(answers))] for c, answers in enumerate(best)]


def _at(amounts: Tensor, place: int) -> Tensor:
    """Return amounts, (n, k, places), at one place, and 0 elsewhere."""
    alone = torch.zeros_like(amounts)
    alone[:, :, place] = amounts[:, :, place]
    return alone


def box_around(relevance: Tensor, centre: tuple[float, float]) -> Box:
    """Return the least square about a centre that holds ``MOST`` of the absolute relevance.

    It is moved into the picture where it sticks out, and no smaller than ``LEAST`` of the picture's shorter side.

    Args:
        relevance: (H, W).
        centre: x and y.

    Returns:
        x0, y0, x1, y1; of a map of zeros the least square.
    """
    height, width = relevance.shape
    x, y = centre
    across = (torch.arange(width, device=relevance.device) + 0.5 - x).abs()
    down = (torch.arange(height, device=relevance.device) + 0.5 - y).abs()
    distance, order = torch.maximum(down[:, None], across).flatten().sort()
    inside = relevance.abs().flatten()[order].double().cumsum(0)
    reach = float(distance[int((inside < MOST * inside[-1]).sum())])
    shorter = min(height, width)
    side = min(shorter, max(round(2 * reach), round(LEAST * shorter), 1))
    x0 = min(max(0, round(x - side / 2)), width - side)
    y0 = min(max(0, round(y - side / 2)), height - side)
    return x0, y0, x0 + side, y0 + side
