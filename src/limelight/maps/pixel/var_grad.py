"""VarGrad: the variance of the gradient under noise."""

from typing import Annotated

import torch
from pydantic import Field

from limelight.card import register_method
from limelight.engine.needs import GradientsOf, Rounds
from limelight.engine.rng import Draws
from limelight.engine.saliency import Raw
from limelight.maps.pixel.gradient import at_least_single
from limelight.maps.pixel.smooth_grad import deviation, gradients_in_rounds, noisy
from limelight.ops.arrays import integers
from limelight.shapes import Images, Index


@register_method(
    "var-grad",
    family="pixel gradient",
    cites="adebayo2018",
    cost="(n + 1) F + n R",
    layers="none",
    random=True,
)
def var_grad(
    image: Images,
    own_draws: list[Draws],
    gradients_of: GradientsOf,
    rounds: Rounds,
    *,
    n: Annotated[int, Field(ge=2)] = 50,
    spread: Annotated[float, Field(ge=0)] = 0.15,
    sigma: Annotated[float, Field(ge=0)] | None = None,
) -> Raw:
    """How much the gradient varies among noisy copies of the image.

    R = sum_colour 1 / (n - 1) sum_j (g_j - mean g)^2 with the gradients g_j of SmoothGrad.

    Args:
        image: normalised x, (n, 3, H, W).
        own_draws: random numbers of each image.
        gradients_of: hands on the gradients of the score at copies of the images.
        rounds: slices of the noisy copies that the budget pays.
        n: noisy copies, fewer where a budget ends.
        spread: deviation of the noise, relative to the range of each image's values.
        sigma: its absolute deviation, in normalised units, in place of ``spread``.

    Returns:
        (n, H, W), not negative; 0 where the gradients differ by no more than rounding.

    Source: Adebayo et al. 2018.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "var-grad", n=5)
        >>> bool((explanation.raw >= 0).all())
        True
    """
    moments = Moments(at_least_single(image))
    copies = noisy(image, deviation(image, spread, sigma), own_draws)
    gradients_in_rounds(rounds(n, at_least=2), gradients_of, copies, moments.take)
    return Raw(moments.variance().sum(1))


class Moments:
    """Mean and variance of what comes chunk by chunk, for each image; nothing of it is kept.

    Each chunk's own mean and squares are merged with those of the chunks before (Chan et al. 1979, the update of
    Welford for several values at once): no difference of large sums is taken, as E[g^2] - E[g]^2 would.

    Args:
        like: an array of the shape of the means, (n, 3, H, W).
    """

    def __init__(self, like: Images) -> None:
        self.count = [0] * len(like)
        self.mean, self.squares = torch.zeros_like(like), torch.zeros_like(like)

    def take(self, images: Index, _: Index, values: Images) -> None:
        """Take in values (m, 3, H, W) of the images (m,)."""
        for i in sorted(set(integers(images))):
            part = values[images == i].to(self.mean)
            before, more = self.count[i], len(part)
            mean = part.mean(0)
            step = mean - self.mean[i]
            self.squares[i] += (part - mean).square().sum(0) + step.square() * (before * more / (before + more))
            self.mean[i] += step * (more / (before + more))
            self.count[i] = before + more

    def variance(self) -> Images:
        """Return the unbiased variance, 0 where it is below the rounding of the values."""
        counts = torch.tensor(self.count, device=self.mean.device)[:, None, None, None]
        variance = self.squares / (counts - 1)
        rounding = 16 * torch.finfo(self.mean.dtype).eps * self.mean.abs().amax((1, 2, 3), keepdim=True)
        return variance * (variance > rounding.square())
