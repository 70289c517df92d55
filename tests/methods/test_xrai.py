"""XRAI: its goldens, the greedy cover written out naively, linear scores, and a picture with a known answer."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor, nn

import architectures
import limelight as ll
from limelight.maps.region.xrai import Algorithm, cover, integrated_gradients
from limelight.ops.segments import pixel_sets
from methods.goldens import MODELS, golden

ALGORITHMS = ("full", "fast")
MEAN, STD = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def covered(a: np.ndarray, masks: np.ndarray, *options: Any) -> tuple[np.ndarray, ...]:
    return cover(a.ravel(), sparse.csr_array(masks.reshape(len(masks), -1).astype(float)), *options)


def naive(a: np.ndarray, masks: np.ndarray, algorithm: str, min_new: int, threshold: float) -> np.ndarray:
    """The cover as it is told: all means anew at every step."""
    density, done = np.zeros(a.shape), np.zeros(a.shape, dtype=bool)
    left = sorted(masks, key=lambda m: -a[m].mean()) if algorithm == "fast" else list(masks)
    while done.mean() <= threshold:
        left = [m for m in left if (m & ~done).sum() >= min_new]
        if not left:
            break
        best = left[0] if algorithm == "fast" else max(left, key=lambda m: a[m & ~done].mean())
        new = best & ~done
        density[new] = a[new].mean()
        done |= new
    if not done.all():
        density[~done] = a[~done].mean()
    return density


def random_masks(rng: np.random.Generator, size: tuple[int, int] = (30, 34)) -> np.ndarray:
    """Rectangles that overlap, one of them twice."""
    masks = np.zeros((60, *size), dtype=bool)
    for mask in masks:
        top, left = (rng.integers(0, s - 4) for s in size)
        mask[top : top + rng.integers(3, 16), left : left + rng.integers(3, 16)] = True
    masks[7] = masks[31]
    return masks


# -- the cover ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_saliency_package(model: str) -> None:
    _, arrays = golden(f"saliency-xrai-{model}")
    for base, maps, full, fast in zip(*(arrays[k] for k in ("base", "segments", "xrai", "xrai_fast")), strict=True):
        masks = np.stack([one == number for one in maps for number in np.unique(one)])
        for algorithm, theirs in (("full", full), ("fast", fast)):
            ours, *_ = covered(base.max(0).astype(float), masks, algorithm)
            np.testing.assert_allclose(ours.reshape(theirs.shape), theirs, rtol=0, atol=1e-6 * np.abs(theirs).max())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("min_new", "threshold"), [(1, 1.0), (20, 1.0), (5, 0.5), (1000, 1.0)])
@pytest.mark.parametrize("seed", range(5))
def test_incremental_cover_is_the_naive_one(algorithm: Algorithm, min_new: int, threshold: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, masks = rng.normal(0.1, 1.0, (30, 34)), random_masks(rng)
    density, step, order = covered(a, masks, algorithm, min_new, threshold)
    expected = naive(a, masks, algorithm, min_new, threshold)
    np.testing.assert_allclose(density.reshape(a.shape), expected, rtol=1e-13, atol=1e-15)
    assert density.sum() == pytest.approx(a.sum(), abs=1e-11)  # completeness
    taken = order[order >= 0]
    assert len(taken) == step.max() + 1
    assert (order[len(taken) :] == -1).all()
    for i, segment in enumerate(taken):  # a pixel is covered by the first segment that has it
        earlier = masks[taken[:i]].any(0)
        np.testing.assert_array_equal((step == i).reshape(a.shape), masks[segment] & ~earlier)


def test_cover_by_hand() -> None:
    a = np.array([10.0, 0.0, 5.0, 1.0])
    masks = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1]], dtype=bool)
    density, step, order = covered(a, masks, "full", 1)
    np.testing.assert_allclose(density, [7.5, 0.5, 7.5, 0.5])  # {0, 2}; then {1, 3}, for {1} alone has mean 0
    np.testing.assert_array_equal(step, [0, 1, 0, 1])
    np.testing.assert_array_equal(order, [1, 2, -1, -1])
    density, _, order = covered(a, masks, "fast", 1)
    np.testing.assert_allclose(density, [7.5, 0.0, 7.5, 1.0])  # whole segments: {0, 2}, {0, 1}, {1, 3}
    np.testing.assert_array_equal(order, [1, 0, 2, -1])
    density, step, order = covered(a, masks, "full", 3)  # none adds three pixels
    np.testing.assert_allclose(density, [4.0, 4.0, 4.0, 4.0])
    np.testing.assert_array_equal(step, [-1, -1, -1, -1])
    density, step, _ = covered(a, masks, "full", 1, 0.4)  # half of it is more than that
    np.testing.assert_array_equal(step, [0, -1, 0, -1])
    np.testing.assert_allclose(density, [7.5, 0.5, 7.5, 0.5])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_one_segment_is_the_mean(algorithm: Algorithm) -> None:
    a = np.random.default_rng(0).normal(size=(12, 10))
    density, _, order = covered(a, np.ones((1, 12, 10), dtype=bool), algorithm)
    np.testing.assert_allclose(density, a.mean())
    assert order.tolist() == [0, -1]


# -- baselines and attribution -----------------------------------------------------------------------------------


class Linear(nn.Module):
    """Scores that are linear in the image: f_c = v_c x."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        v = torch.randn(3, 3, *size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        self.v = nn.Parameter(v)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("nchw,kchw->nk", x, self.v)


@pytest.mark.parametrize("steps", [2, 3, 10])
def test_linear_score_is_exact_for_any_number_of_steps(steps: int) -> None:
    x = architectures.images(2).double()
    net = Linear(architectures.SIZE)
    m, s = MEAN.double(), STD.double()
    saliency = ll.method("xrai", score="logit", steps=steps).run(ll.Classifier(net), x, 1)
    pixels = (x * s + m).clamp(0, 1)
    low, high = (((f((1, 2, 3)))[:, None, None, None] - m) / s for f in (pixels.amin, pixels.amax))
    expected = (net.v[1] * (x - (low + high) / 2)).amax(1).detach()
    # MEAN and STD are known in single precision only.
    torch.testing.assert_close(saliency.details["attribution"], expected, rtol=1e-6, atol=1e-6)
    assert str(saliency.cost) == f"{2 * steps + 1} F + {2 * steps} R"


class Cubic(Linear):
    """f_c = v_c x^3 / 3, whose gradient is v_c x^2."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x**3 / 3)


@pytest.mark.parametrize("steps", [2, 5])
def test_mean_gradient_on_the_path(steps: int) -> None:
    x, b = architectures.images(2).double(), torch.tensor([-1.0, 0.5]).double().view(2, 1, 1, 1)
    v = Cubic(architectures.SIZE).v.detach()[0]

    def gradient_of(copies: Any, count: int) -> Tensor:
        every = [copies(torch.arange(2), torch.full((2,), k)) for k in range(count)]
        return v * torch.stack(every).square().mean(0)

    points = [b + i / (steps - 1) * (x - b) for i in range(steps)]
    expected = (x - b) * v * sum(p**2 for p in points) / steps
    torch.testing.assert_close(integrated_gradients(x, b.expand_as(x), gradient_of, steps), expected)


def test_more_steps_are_more_complete() -> None:
    """The sum over all colours and pixels goes to the difference of the scores, here with a baseline of 0."""
    net, x = Cubic(architectures.SIZE), architectures.images(1).double()

    def gradient_of(copies: Any, count: int) -> Tensor:
        points = copies(torch.zeros(count, dtype=torch.long), torch.arange(count)).requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(net(points)[:, 0].sum(), points)[0].mean(0, keepdim=True)

    total = float(net(x)[0, 0].detach())
    found = [float(integrated_gradients(x, torch.zeros_like(x), gradient_of, n).sum()) for n in (5, 50, 500)]
    off = [abs(one - total) / abs(total) for one in found]
    assert off[0] > off[1] > off[2]
    assert off[2] < 2e-3


# -- the method --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("segmentation", ["felzenszwalb", "slic"])
def test_map_is_the_cover_of_its_details(algorithm: Algorithm, segmentation: str) -> None:
    c = ll.Classifier(architectures.build("residual").double())
    options: dict[str, Any] = {"steps": 3, "algorithm": algorithm, "segmentation": segmentation}
    options |= {"min_new_pixels": 30, "dilation": 2, "area_threshold": 0.8}
    saliency = ll.method("xrai", **options).run(c, architectures.images(2).double())
    for i, raw in enumerate(saliency.raw.numpy()):
        a, labels, order, step = (saliency.details[k][i].numpy() for k in ("attribution", "labels", "order", "step"))
        masks = pixel_sets(labels, 2).toarray().reshape(-1, *raw.shape) > 0
        np.testing.assert_allclose(raw, naive(a, masks, algorithm, 30, 0.8), rtol=1e-10)
        np.testing.assert_allclose(raw.sum(), a.sum(), rtol=1e-10)
        assert (masks[order[0]] == (step == 0)).all()
        assert 0.8 < (step >= 0).mean() < 1


def test_batch_gives_what_its_images_give() -> None:
    c, x = ll.Classifier(architectures.build("dense").double()), architectures.images(3).double()
    method = ll.method("xrai", steps=3)
    together = method.run(c, x, [1, 4, 2])
    singles = torch.cat([method.raw(c, x[i : i + 1], k) for i, k in enumerate((1, 4, 2))])
    chunked = ll.method("xrai", steps=3, batch_size=2).run(c, x, [1, 4, 2])
    torch.testing.assert_close(together.raw, singles, rtol=1e-9, atol=1e-13)
    torch.testing.assert_close(together.raw, chunked.raw, rtol=1e-9, atol=1e-13)
    assert torch.equal(together.details["order"], chunked.details["order"])
    assert torch.equal(together.details["step"], chunked.details["step"])


def test_a_constant_picture_is_empty() -> None:
    """Both baselines are the picture itself, so there is no attribution."""
    x = (torch.full((1, 3, 40, 56), 0.3) - MEAN) / STD
    saliency = ll.method("xrai", steps=2).run(ll.Classifier(architectures.build("residual")), x)
    assert not saliency.raw.any()
    assert saliency.degenerate.all()


def test_one_segment_is_kept_in_the_raw_map() -> None:
    """Segments that are grown beyond the picture cover everything, and the first one takes it all."""
    x = torch.zeros(1, 3, 40, 56)
    x[..., 28:] = 1
    saliency = ll.method("xrai", steps=2, dilation=60).run(ll.Classifier(architectures.build("residual")), x)
    torch.testing.assert_close(saliency.raw[0], saliency.details["attribution"][0].mean().expand(40, 56))
    assert saliency.degenerate.all()
    assert saliency.reasons[0].startswith(("constant map", "no positive evidence"))


class SeesASquare(nn.Module):
    """How red a square is."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        red = self.scale * (x[:, 0] - x[:, 2])[:, 20:44, 30:54].mean((1, 2))
        return torch.stack([red, -red], 1)


@pytest.mark.parametrize("segmentation", ["felzenszwalb", "slic"])
def test_finds_what_the_score_sees(segmentation: str) -> None:
    pixels = torch.full((1, 3, 64, 80), 0.4)
    pixels[0, 0, 20:44, 30:54] = 0.9
    pixels[0, 0, 6:16, 4:26] = 0.9  # as red, but not looked at
    saliency = ll.method("xrai", steps=5, segmentation=segmentation, dilation=0).run(
        ll.Classifier(SeesASquare()), (pixels - MEAN) / STD, 0
    )
    square = torch.zeros(64, 80, dtype=torch.bool)
    square[20:44, 30:54] = True
    best = saliency.map[0] > 0.5
    assert (best & square).sum() / (best | square).sum() > 0.85
