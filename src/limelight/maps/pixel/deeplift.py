"""DeepLIFT, by the rescale rule."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from limelight.card import register_method
from limelight.engine.needs import FillOf
from limelight.engine.saliency import Raw
from limelight.errors import ConservationWarning, UnsupportedModel
from limelight.maps.pixel.baselines import Baseline
from limelight.maps.pixel.gradient import Reduce, at_least_single, over_colours
from limelight.relevance.op import Op, at_least_float32
from limelight.relevance.recording import Recording
from limelight.relevance.rules import Rules
from limelight.relevance.simple_rules import native
from limelight.shapes import Images, Scores

MaxPool = Literal["rescale", "gradient"]
LARGEST_GAP = 0.01
"""Of the change of the score, which the map may miss without a word."""
SMALLEST = 1e-10
"""A difference of inputs below which the slope stands for the quotient of differences."""
ROUNDING = 64
"""Values of a window that differ by fewer roundings of the image's largest are equal: a constant reference makes all of
them so, and how many images are passed at a time decides in which order their sums are rounded."""


@dataclass(frozen=True)
class Rescale:
    """Multipliers are differences over differences: m_x = m_y dy / dx, and the slope where dx vanishes.

    Attributes:
        twins: of each operation, the same one with the reference for an image.
    """

    twins: Mapping[Op, Op]

    def activation(self, op: Op, m: Tensor) -> Tensor:
        """One output for one input, in float64: of nearly equal inputs the rounding of outputs would be all of dy."""
        x, x0 = op.x.double(), self.twins[op].x.double()
        return _quotient(m * (op.call(x) - op.call(x0)), x - x0, op.native(m)[0], SMALLEST).to(m)

    def max_pool(self, op: Op, m: Tensor) -> Tensor:
        """The position that holds the larger of both maxima answers for dy; of several equal ones each for its share.

        There |dx| is at least |dy|: the value at this position changed by no less than the maximum did. The slope is
        that of the windows whose maximum did not change.
        """
        (dx, dy), twin = self._differences(op), self.twins[op]
        rounding, of_twin = _rounding(op.x), _rounding(twin.x)
        smallest = (rounding + of_twin).clamp_min(SMALLEST)
        change = op.share_ties(m * dy.clamp_min(0), rounding) + twin.share_ties(m * dy.clamp_max(0), of_twin)
        still = dy.abs() < 2 * smallest.view(-1, *[1] * (dy.ndim - 1))
        return _quotient(change, dx, op.share_ties(m * still, rounding), smallest)

    def multiply(self, op: Op, m: Tensor) -> tuple[Tensor, ...]:
        """d(ab) = da (b + b0) / 2 + db (a + a0) / 2."""
        a, b = (
            at_least_float32(x) + at_least_float32(x0) for x, x0 in zip(op.inputs, self.twins[op].inputs, strict=True)
        )
        return (m * b / 2).sum_to_size(a.shape), (m * a / 2).sum_to_size(b.shape)

    def _differences(self, op: Op) -> tuple[Tensor, Tensor]:
        twin = self.twins[op]
        return op.x - twin.x, op.y - twin.y


def _quotient(change: Tensor, dx: Tensor, gradient: Tensor, smallest: float | Tensor) -> Tensor:
    vanishes = dx.abs() < smallest
    return torch.where(vanishes, gradient, change / dx.masked_fill(vanishes, 1))


def _rounding(x: Tensor) -> Tensor:
    """What rounding makes of a value of each image at most, (n, 1, ...)."""
    return ROUNDING * torch.finfo(x.dtype).eps * x.abs().amax(tuple(range(1, x.ndim)), keepdim=True)


def side_by_side(recording: Recording, reference: Recording) -> dict[Op, Op]:
    """Return the operation of another pass that corresponds to each.

    Raises:
        UnsupportedModel: the network did not call the same operations.
    """
    calls, others = ([(op.function, op.owner, op.output.shape) for op in t.ops] for t in (recording, reference))
    if calls != others:
        raise UnsupportedModel("deeplift: the network calls other operations for the reference than for the image")
    return dict(zip(recording.ops, reference.ops, strict=True))


def remarks(recording: Recording, r: Images, gap: Scores, change: Scores) -> tuple[str, ...]:
    """Warn, and return what is to be noted, where R does not add up to the change of the score, whatever rounds."""
    rounding = ROUNDING * torch.finfo(recording.image.dtype).eps * r.abs().sum((1, 2, 3))
    missed = gap > LARGEST_GAP * change.abs() + rounding
    if not bool(missed.any()):
        return ()
    share = float((gap / change.abs())[missed].max())
    norms = [f"{op.function} in {op.owner}" if op.owner else op.function for op in recording.ops if op.kind == "norm"]
    names = f"{', '.join(norms[:3])}{' …' if norms[3:] else ''}"
    why = f": the rule has no quotient for {names}, whose slope was used" if norms else ""
    remark = f"deeplift: the map is up to {share:z.1%} away from adding up to the change of the score{why}"
    warnings.warn(remark, ConservationWarning, stacklevel=3)
    return (remark,)


@register_method(
    "deeplift",
    family="pixel gradient",
    cites="shrikumar2017",
    cost="2 F + 1 R",
    layers="none",
    profiles={"captum": {"baseline": "zero", "max_pool": "gradient"}},
)
def deeplift(
    recording: Recording,
    image: Images,
    score: Scores,
    fill: FillOf,
    record_copies: Callable[[Images], Recording],
    *,
    baseline: Baseline = "black",
    max_pool: MaxPool = "rescale",
    reduce: Reduce = "sum",
) -> Raw:
    """What each pixel adds to the score compared with a reference picture, by differences instead of gradients.

    R = sum_colour (x - x_0) m, with multipliers m that obey the chain rule: those of affine operations are their
    weights, those of an activation dy / dx, with dx and dy its differences between the image and the reference. So R
    adds up to y(x) - y(x_0).

    Args:
        recording: the recorded pass.
        image: normalised x, (n, 3, H, W).
        score: y(x), (n,).
        fill: makes the reference pictures.
        record_copies: records the pass of other images.
        baseline: x_0, see ``baselines.Baseline``.
        max_pool: ``gradient`` hands all to the position with the largest value in the image, which leaves a gap.
        reduce: how the colours are put together.

    Returns:
        (n, H, W), signed for ``reduce="sum"``. In ``details`` the ``completeness_gap``, |sum R - (y(x) - y(x_0))| with
        R signed; layer normalisation, attention and scores other than the logit leave one, of which more than 1 % of
        the change gives a warning.

    Raises:
        InvalidOption: a baseline of another size than the images.
        UnsupportedModel: the network calls other operations for the reference than for the image.

    Source: Shrikumar et al. 2017, eqs. 1 to 3 and the rescale rule of section 3.5.2.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "deeplift")
        >>> bool(explanation.details["completeness_gap"] < 1e-3)
        True
    """
    start = fill(baseline)
    reference = record_copies(start)
    rescale = Rescale(side_by_side(recording, reference))
    rules = Rules(
        {
            "activation": rescale.activation,
            "max_pool": rescale.max_pool if max_pool == "rescale" else native,
            "multiply": rescale.multiply,
        },
        fuse=False,
        rest=dict.fromkeys(("affine", "batch_norm", "norm", "avg_pool", "add", "scale", "cat"), native),
    )
    (m,) = recording.relevance(rules, recording.score, torch.ones_like(recording.score), [recording.image], audit=False)
    r = at_least_single(image - start) * m
    change = score - reference.score.detach()
    gap = (r.sum((1, 2, 3)) - change).abs()
    return Raw(over_colours(r, reduce), {"completeness_gap": gap}, notes=remarks(recording, r, gap, change))
