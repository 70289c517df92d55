"""GradientSHAP: expected gradients."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from limelight.card import register_method
from limelight.engine.needs import FillOf, GradientsOf, Rounds, ScoresOf
from limelight.engine.rng import Draws
from limelight.engine.saliency import Raw
from limelight.maps.pixel.baselines import Baselines, pictures
from limelight.maps.pixel.gradient import Reduce, at_least_single, over_colours
from limelight.maps.pixel.integrated_gradients import completeness_gap
from limelight.maps.pixel.smooth_grad import gradients_in_rounds
from limelight.ops.arrays import integers
from limelight.shapes import Images, Index, Scores


@register_method(
    "gradient-shap",
    family="pixel gradient",
    cites="lundberg2017",
    cost="(n + len(baseline) + 1) F + n R",
    in_short="(n + 4) F + n R",
    layers="none",
    random=True,
)
def gradient_shap(
    image: Images,
    score: Scores,
    fill: FillOf,
    own_draws: list[Draws],
    gradients_of: GradientsOf,
    scores_of: ScoresOf,
    rounds: Rounds,
    *,
    n: Annotated[int, Field(ge=1)] = 50,
    baseline: Baselines = ("black", "zero", "white"),
    stdev: Annotated[float, Field(ge=0)] = 0.0,
    reduce: Reduce = "sum",
) -> Raw:
    """What each pixel adds to the score on the way from a baseline to the image, estimated at random points.

    R = E[(x' - x_0) dy / dx (x_0 + a (x' - x_0))], summed over the colours, with a baseline x_0 drawn from a set, a
    uniform in [0, 1] and x' = x + noise. Without noise it is the mean of integrated gradients over the baselines, and
    the sum of R tends to y(x) - E[y(x_0)]: Shapley values, if pixels act on the score independently and linearly.

    Args:
        image: normalised x, (n, 3, H, W).
        score: y(x), (n,).
        fill: makes the baselines.
        own_draws: random numbers of each image.
        gradients_of: hands on the gradients of the score at copies of the images.
        scores_of: scores of changed copies of the images.
        rounds: slices of the random points that the budget pays.
        n: random points, fewer where a budget ends.
        baseline: the set of x_0, see ``baselines.Baselines``.
        stdev: deviation of the noise, in normalised units.
        reduce: how the colours are put together.

    Returns:
        (n, H, W), signed for ``reduce="sum"``. In ``details`` the ``completeness_gap``, |sum R - (y(x) - E[y(x_0)])|
        with R signed.

    Raises:
        InvalidOption: a baseline of another size than the images.

    Source: Lundberg and Lee 2017; Erion et al. 2021.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "gradient-shap", n=5, baseline=("zero",))
        >>> str(explanation.cost)  # the image, five random points, one baseline
        '7 F + 5 R'
    """
    starts = pictures(baseline, image, fill)  # n k 3 H W
    r = torch.zeros_like(at_least_single(image))

    def ways(i: Index, j: Index) -> tuple[Tensor, Images, Images]:
        """Return a, x_0 and x' - x_0 of so many draws, the same whenever they are asked for."""
        draws = [own_draws[a].number(b) for a, b in zip(integers(i), integers(j), strict=True)]
        u = torch.stack([d.uniform((2,), r) for d in draws])
        x = image[i]
        if stdev:
            x = x + stdev * torch.stack([d.normal(tuple(x.shape[1:]), x) for d in draws])
        start = starts[i, (u[:, 1] * len(baseline)).long()]
        return u[:, 0, None, None, None].to(x), start, x - start

    def on_the_way(i: Index, j: Index) -> Images:
        a, start, way = ways(i, j)
        return start + a * way

    def add(i: Index, j: Index, g: Images) -> None:
        _, _, way = ways(i, j)
        r.index_add_(0, i, (way * g).to(r) / n)

    done = gradients_in_rounds(rounds(n, passes_after=len(baseline)), gradients_of, on_the_way, add)
    r = r * (n / done)
    return Raw(over_colours(r, reduce), {"completeness_gap": completeness_gap(r, score, starts, scores_of)})
