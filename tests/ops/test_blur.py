"""Blurs against scipy's."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import ndimage

import architectures
import limelight as ll
from limelight.engine.baselines import fill_images
from limelight.ops import blur
from limelight.ops.blur import gaussian_blur, median_blur, rise_blur, smooth

SIZES: list[tuple[int, ...]] = [(64, 48), (21, 30), (7, 9), (1, 5), (40,), (9, 12, 5)]


def pictures(size: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def line(k: int, sigma: float) -> np.ndarray:
    """Of k values, adding up to 1."""
    axis = np.exp(-0.5 * ((np.arange(k) - k // 2) / sigma) ** 2)
    return axis / axis.sum()


def kernel(k: int, sigma: float) -> np.ndarray:
    """Of k x k pixels, adding up to 1."""
    return np.outer(line(k, sigma), line(k, sigma))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("k", "sigma"), [(11, 5.0), (51, 50.0), (81, 10.0), (41, 5.0), (1, 1.0)])
def test_gaussian(k: int, sigma: float, size: tuple[int, ...]) -> None:
    """The border is mirrored about the outermost pixel, as often as it takes in pictures smaller than the kernel."""
    x = pictures(size)
    expected = x.numpy()
    if len(size) == 2:
        expected = ndimage.correlate(expected, kernel(k, sigma)[None, None], mode="mirror")
    else:
        for axis in range(2, x.ndim):
            expected = ndimage.correlate1d(expected, line(k, sigma), axis, mode="mirror")
    torch.testing.assert_close(gaussian_blur(x, k, sigma), torch.from_numpy(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("k", [11, 3, 1])
def test_median(k: int, size: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """The border is repeated; the middle of an odd number of values is one of them; however many at a time."""
    monkeypatch.setattr(blur, "AT_ONCE", 10_000)
    x = pictures(size)
    expected = ndimage.median_filter(x.numpy(), (1, 1, *[k] * len(size)), mode="nearest")
    assert torch.equal(median_blur(x, k), torch.from_numpy(expected))


def test_median_of_ties() -> None:
    x = pictures((20, 17)).round()
    expected = ndimage.median_filter(x.numpy(), (1, 1, 11, 11), mode="nearest")
    assert torch.equal(median_blur(x), torch.from_numpy(expected))


@pytest.mark.parametrize("size", [(40,), (12, 14, 9), (2, 14, 9)])
def test_rise_of_signals_and_volumes(size: tuple[int, ...]) -> None:
    """An impulse with as many axes, whose filter is the product of one along each."""
    x = pictures(size)
    impulse = np.zeros([11] * len(size))
    impulse[(5,) * len(size)] = 1
    folded = ndimage.gaussian_filter(impulse, 5)
    expected = ndimage.correlate(x.numpy(), folded[None, None], mode="constant")
    torch.testing.assert_close(rise_blur(x), torch.from_numpy(expected), rtol=0, atol=1e-12)


def test_rise() -> None:
    """A folded kernel, nearly flat, and nothing outside of the picture."""
    x = pictures((30, 20))
    impulse = np.zeros((11, 11))
    impulse[5, 5] = 1
    folded = ndimage.gaussian_filter(impulse, 5)
    assert 0.0077 < folded.min() < folded.max() < 0.0089
    expected = ndimage.correlate(x.numpy(), folded[None, None], mode="constant")
    torch.testing.assert_close(rise_blur(x), torch.from_numpy(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("blurred", [gaussian_blur, median_blur])
def test_commutes_with_normalisation(blurred: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Per channel a x + b, a > 0: blurred before or after, it is the same; and pictures don't mix."""
    x = pictures((24, 31))
    scale, shift = (torch.tensor(v).double().view(3, 1, 1) for v in ((0.2, 1.5, 3.0), (-1.0, 0.3, 2.0)))
    torch.testing.assert_close(blurred(scale * x + shift), scale * blurred(x) + shift, rtol=0, atol=1e-12)
    torch.testing.assert_close(blurred(x[1:]), blurred(x)[1:], rtol=0, atol=0)
    constant = torch.full_like(x, 0.7)
    torch.testing.assert_close(blurred(constant), constant, rtol=0, atol=1e-14)


def test_fills_are_these_blurs() -> None:
    c, x = ll.Classifier(architectures.build("plain")), architectures.images(2)

    def gauss(k: int, sigma: float) -> torch.Tensor:
        return torch.from_numpy(ndimage.correlate(x.double().numpy(), kernel(k, sigma)[None, None], mode="mirror"))

    median = torch.from_numpy(ndimage.median_filter(x.double().numpy(), (1, 1, 11, 11), mode="nearest"))
    expected = {
        "gauss-11-5": gauss(11, 5.0),
        "gauss-51-50": gauss(51, 50.0),
        "gauss-81-10": gauss(81, 10.0),
        "median-11": median,
        "gauss-median": (gauss(51, 50.0) + median) / 2,
        "mean": x.double().mean((2, 3), keepdim=True).expand(x.shape),
    }
    for name, values in expected.items():
        torch.testing.assert_close(fill_images(c, x, name), values.float(), rtol=0, atol=1e-5)
    # What 51 x 50 leaves is close to the mean of 51 x 51 pixels.
    box = torch.from_numpy(ndimage.uniform_filter(x.double().numpy(), (1, 1, 51, 51), mode="mirror")).float()
    assert (fill_images(c, x, "gauss-51-50") - box).abs().max() < 0.05 * x.std()
    noise = fill_images(c, x, "noise")
    assert torch.equal(noise, fill_images(c, x, "noise"))
    assert torch.equal(noise[1:], fill_images(c, x[1:], "noise"))
    assert noise.std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("size", [(30, 47), (47,), (8, 5, 47)])
@pytest.mark.parametrize("share", [0.02, 0.1])
def test_smoothing_is_scipys(share: float, size: tuple[int, ...]) -> None:
    maps = torch.rand(2, *size, generator=torch.Generator().manual_seed(0)).double()
    sigma = share * 47
    expected = [ndimage.gaussian_filter(m, sigma, mode="nearest", radius=math.ceil(4 * sigma)) for m in maps.numpy()]
    torch.testing.assert_close(smooth(maps, share), torch.from_numpy(np.stack(expected)))
