"""Relative Sectional Propagation: positive and negative evidence, each handed back by its own weight gradients."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from limelight.card import register_method
from limelight.engine.saliency import Raw
from limelight.errors import InvalidOption
from limelight.maps.propagation.attribution_equilibrium import (
    SHIFT,
    Pool,
    contributions,
    feature_map,
    sections,
)
from limelight.model.one_pass import Stage
from limelight.relevance.affine_rules import Box
from limelight.relevance.op import Op, divide_by
from limelight.relevance.recording import Recording
from limelight.relevance.rules import Rules
from limelight.relevance.simple_rules import Proportional, only_active
from limelight.shapes import Acts, Index, Scores


@dataclass(frozen=True)
class Sectional:
    """R' = x+ . (V^T (R+ / V x+) - U^T (-R- / U x+)), where V and U are the gradients of R+ . W x+ and -R- . W x+.

    They are those with respect to W, which itself has no say. Where a kernel is higher than one, R' counts twice, and
    what is too much is taken off evenly where it is not 0.

    Attributes:
        purge: first drop what disagrees with the sign of the sum over channels at its place.
    """

    purge: bool = False

    def __call__(self, op: Op, r: Tensor) -> Tensor:
        """Return the relevance of the input."""
        if self.purge:
            channels = 1 if op.kind == "conv" else -1
            r = torch.where(r.sum(channels, keepdim=True) > 0, r.clamp_min(0), r.clamp_max(0))
        x = op.x if op.nonnegative else op.x.clamp_min(0)
        # Every image has weights of its own: image by image, they need the memory of one.
        images = zip(*(torch.split(one, 1) for one in (x, r.clamp_min(0), r.clamp_max(0).neg())), strict=True)
        share = torch.cat([v * (_section(op, v, p) - _section(op, v, n)) for v, p, n in images])
        if op.kernel_height == 1:
            return share
        reached = (share != 0).to(share)
        return 2 * share - reached * divide_by(op.total(r), op.total(reached))

    @property
    def absorbs(self) -> bool:
        """Whether it may lose relevance: purging does."""
        return self.purge

    def law(self, op: Op, r: Tensor, incoming: Scores, size: Scores) -> tuple[Scores, Scores]:
        """Return the total, which stays, and thrice the size: what counts twice, and as much off, make three of one."""
        return incoming, size if op.kernel_height == 1 else 3 * size


def _section(op: Op, x: Tensor, r: Tensor) -> Tensor:
    """Return V^T (R / V x), where V is the gradient of R . W x with respect to W."""
    w = op.weight_gradient(r, x)
    return op.back(divide_by(r, op.forward(x, w)), w)


def compare(target: Acts, others: list[Acts], hostile: list[Tensor]) -> Acts:
    """Return what the target has and hostile classes don't, alike in all channels: total 1 where it leads, else -1.

    Args:
        target: contributions to the target, of maximum 1, (n, k, h, w).
        others: contributions to other classes, of maximum 1.
        hostile: whether each of these is hostile to the target of each image, (n,).

    Returns:
        (n, k, h, w); as given where no class is hostile.
    """
    wide = [h.to(target).view(-1, 1, 1, 1) for h in hostile]
    count = sum(wide, torch.zeros_like(target[:, :1, :1, :1]))
    v = count * target - sum((h * m for h, m in zip(wide, others, strict=True)), torch.zeros_like(target))
    up, down = v.clamp_min(0), v.clamp_max(0)
    together = (up / (_sum(up) + SHIFT) + down / (SHIFT - _sum(down))).sum(1, keepdim=True)
    up, down = together.clamp_min(0), together.clamp_max(0)
    r = 2 * up / (_sum(up) + SHIFT) + down / (SHIFT - _sum(down))
    return torch.where(count > 0, (r / target.shape[1]).expand_as(target), target)


def _sum(t: Tensor) -> Tensor:
    """Sum over all axes but the batch."""
    return t.sum((1, 2, 3), keepdim=True)


def _normalise(start: Acts) -> Acts:
    """Divide by the maximum; where that is not above 0, by the largest absolute value, so that no sign flips."""
    largest = start.amax((1, 2, 3), keepdim=True)
    return start / (torch.where(largest > 0, largest, start.abs().amax((1, 2, 3), keepdim=True)) + SHIFT)


def _of_class(recording: Recording, stage: Stage, q: int) -> tuple[Acts, Acts]:
    """Return the map before the final pooling and the gradient of a class score there."""
    if recording.targets.function is not None:
        raise InvalidOption("hostile classes are told apart from a class; a function of the outputs has none")
    with torch.enable_grad():
        scores = (
            recording.logits if recording.logits.shape[1] > 1 else torch.cat([-recording.logits, recording.logits], 1)
        )
        if q >= scores.shape[1]:
            raise InvalidOption(f"hostile class {q}: there are {scores.shape[1]} classes, counted from 0")
        (grads,) = recording.gradients(scores[:, q], [recording.outputs[stage.info.name]])
    assert stage.info.layout is not None
    return feature_map(recording, stage.info.name, stage.acts, stage.info.layout.maps(grads))[1:]


@register_method(
    "rsp",
    family="propagation",
    cites="nam2021",
    cost="3 F + 4 R + (1 + len(hostile)) R_t",
    layers="one",
)
def rsp(
    recording: Recording,
    stages: list[Stage],
    acts: Acts,
    grads: Acts,
    layer: str,
    target: Index,
    *,
    purge: bool = False,
    hostile: tuple[Annotated[int, Field(ge=0)], ...] = (),
    stop: str | None = None,
) -> Raw:
    """Relevance handed down from a layer by activation times weight gradient, positive and negative apart.

    R begins at the layer as alpha_k A_k over its maximum, with alpha_k the mean gradient of channel k. Every affine
    operation hands it on by ``Sectional``, the first one by the box rule.

    Args:
        recording: the recorded pass.
        stages: the layer with its layout.
        acts: activations of the layer, (n, k, h, w).
        grads: gradient of the score with respect to them, (n, k, h, w).
        layer: name of the layer; where it only holds the maxima of windows that tile a map, propagation begins at
            that map.
        target: classes, (n,).
        purge: drop relevance that disagrees with the sign of the sum over channels at its place, as the paper says
            and its code does not.
        hostile: other classes in the picture, from which the target is told apart; each costs a backward pass to
            the layer.
        stop: a layer nearer to the image, where relevance stops; None for the image itself.

    Returns:
        (n, H, W), signed, and the start map summed over channels. With ``stop`` (n, h, w) of that layer, and its
        positive and its negative section, each summed over channels, as parts.

    Raises:
        InvalidOption: no such hostile class, or a function is explained.

    Source: Nam et al. 2021, and the authors' code.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "rsp", hostile=(7,))  # told apart from a ring
        >>> explanation.label, bool((explanation.raw < 0).any())
        ('star', True)
    """
    begin, values, gradient = feature_map(recording, layer, acts, grads)
    start = _normalise(contributions(values, gradient))
    if hostile:
        others = [_normalise(contributions(*_of_class(recording, stages[0], q))) for q in hostile]
        start = compare(start, others, [target != q for q in hostile])
    pool = Pool(clamp=False)
    rules = Rules(
        {
            "first": Box(),
            "affine": Sectional(purge),
            "batch_norm": only_active,
            "max_pool": pool,
            "avg_pool": pool,
            "add": Proportional(0.0, SHIFT, clamp=True),
        },
        fuse=False,
    )
    relevance = recording.to_stop(rules, begin, start, stop)
    return Raw(relevance.sum(1), {"start": start.sum(1)} | ({} if stop is None else sections(relevance)))
