"""Ways from a picture without information to the image, other than the straight one."""

import torch
from torch import Tensor

from limelight.engine.needs import GradientsOf
from limelight.shapes import Images, Index

LEFT = 1e-9
"""The share of the way still to go that counts as none."""


def along_blur(
    image: Images,
    points: Tensor,
    weights: Tensor,
    max_sigma: float,
    sigma_step: float,
    gradients_of: GradientsOf,
) -> tuple[Images, Images]:
    """Return the integral of dy/dx (x_a) dx_a/da over blurs of the image, and the blur that it starts from.

    x_a is the image blurred by a Gaussian of deviation sigma = (1 - a) max_sigma, 0 beyond its border.

    Args:
        image: normalised x, (n, 3, H, W).
        points: a, (k,).
        weights: of the points, (k,).
        max_sigma: deviation of the Gaussian at a = 0, pixels.
        sigma_step: by how much the deviation grows for the difference that stands for the derivative, pixels.
        gradients_of: hands the gradients of the score at copies of the images on.

    Source: Xu et al. 2020, equation 4.
    """
    sigmas = (1 - points) * max_sigma
    total = torch.zeros_like(image, dtype=torch.float64)

    def blurred(i: Index, k: Index) -> Images:
        return _blur(image[i], sigmas[k]).to(image)

    def add(i: Index, k: Index, gradient: Images) -> None:
        faded = (_blur(image[i], sigmas[k] + sigma_step) - _blur(image[i], sigmas[k])) / sigma_step
        total.index_add_(0, i, -max_sigma * faded * gradient * weights[k, None, None, None])

    gradients_of(blurred, len(points), add)
    return total.to(image), _blur(image, sigmas.new_full((len(image),), max_sigma)).to(image)


def _blur(x: Images, sigma: Tensor) -> Images:
    """Return each picture blurred by its own Gaussian, cut at 4 sigma, in float64."""
    rows, columns = (_gaussian(size, sigma) for size in x.shape[-2:])
    return torch.einsum("nij,ncjk,nlk->ncil", rows, x.double(), columns)


def _gaussian(size: int, sigma: Tensor) -> Tensor:
    """Return matrices that blur `size` pixels in a row, (n, size, size)."""
    sigma = sigma[:, None, None].clamp(min=1e-3)  # the unit matrix
    reach = int(4 * sigma.max() + 0.5)
    at, along = torch.arange(size, device=sigma.device), torch.arange(-reach, reach + 1, device=sigma.device)

    def bell(distance: Tensor) -> Tensor:
        return torch.exp(-0.5 * (distance / sigma) ** 2) * (distance.abs() <= (4 * sigma + 0.5).floor())

    return bell(at[:, None] - at) / bell(along[None]).sum(-1, keepdim=True)


def along_guide(
    image: Images, start: Images, n: int, fraction: float, max_dist: float, gradients_of: GradientsOf
) -> Images:
    """Return the sum of dy/dx dx over a way that moves the pixels to which the score is least sensitive first.

    After step i of n, the sum of |x - x_a| is (1 - i/n) of what it was, and every value lies between the points
    i/n - max_dist and i/n + max_dist of its own way.

    Args:
        image: normalised x, (n, 3, H, W).
        start: x_0, (n, 3, H, W).
        n: steps.
        fraction: of the values, moved together.
        max_dist: how far a value may be before or behind the others, as a share of the way.
        gradients_of: hands the gradients of the score at copies of the images on.

    Source: Kapishnikov et al. 2021, algorithm 1.
    """
    begin, end = start.double().flatten(1), image.double().flatten(1)
    way = (end - begin).abs().sum(1)
    x, total = begin.clone(), torch.zeros_like(begin)
    gradients = torch.zeros_like(begin)

    def take(i: Index, k: Index, gradient: Images) -> None:
        gradients[i] = gradient.flatten(1).double()

    for step in range(1, n + 1):
        gradients_of(lambda i, k: x[i].view_as(image[i]).to(image), 1, take)
        behind, ahead = (
            begin + min(max(step / n + shift, 0.0), 1.0) * (end - begin) for shift in (-max_dist, max_dist)
        )
        for i in range(len(x)):
            moved = _guided_step(x[i], end[i], behind[i], ahead[i], gradients[i], way[i] * (1 - step / n), fraction)
            total[i] += (moved - x[i]) * gradients[i]
            x[i] = moved
    return total.view_as(image).to(image)


def _guided_step(
    x: Tensor, end: Tensor, behind: Tensor, ahead: Tensor, gradient: Tensor, left: Tensor, fraction: float
) -> Tensor:
    """Return x moved, the values of least slope first, until the sum of |end - x| is `left`; all are vectors."""
    x = torch.where((end - x).abs() > (end - behind).abs(), behind, x)
    while True:
        surplus = (end - x).abs().sum() - left
        free = (ahead - x).abs() > 0
        if surplus <= LEFT * (left + surplus) or not free.any():
            return x
        # Of all values, those that can't move further count as the steepest.
        steepness = torch.where(free, gradient.abs(), torch.inf)
        threshold = steepness.sort().values[int(fraction * (len(x) - 1))]
        chosen = free & (steepness <= threshold)
        share = surplus / (ahead - x)[chosen].abs().sum()  # inf, where none was chosen
        x = torch.where(chosen, x + share.clamp(max=1) * (ahead - x), x)
        x = torch.where(chosen & (share >= 1), ahead, x)
        if share <= 1:
            return x
