"""Extremal perturbation: its masks pixel by pixel, its steps by hand, and another library's runs."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

import architectures
import limelight as ll
from limelight.maps.perturbation.extremal_perturbation import Canvas, blur, excess, levels_of, rank, read
from limelight.maps.perturbation.masks import Step
from methods.goldens import TINY, classifier, golden, inputs

CHAOTIC = {("tinyresnet_bottleneck", "delete")}
"""Where rounding, which is every processor's own, decides between several ends."""


class Plain(nn.Module):
    """Five scores, linear in the picture, or constant."""

    def __init__(self, *, constant: bool = False) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * 20 * 26, 5)
        rng = torch.Generator().manual_seed(0)
        self.fc.weight.data = torch.randn(self.fc.weight.shape, generator=rng) * (0 if constant else 0.1)
        self.fc.bias.data = torch.arange(5.0) / 5

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1))


def plain(*, constant: bool = False) -> ll.Classifier:
    return ll.Classifier(Plain(constant=constant).double())


def picture(n: int = 2) -> Tensor:
    return torch.randn(n, 3, 20, 26, generator=torch.Generator().manual_seed(1)).double()


# -- masks -----------------------------------------------------------------------------------------------------


def pixel_by_pixel(q: np.ndarray, size: tuple[int, int], step: int, sigma: int) -> np.ndarray:
    """The canvas's masks as they are defined, for the part that is on the picture, and the left and upper border."""
    pad, radius = 1 + math.ceil(2 * sigma / step), 1 + math.ceil(sigma / step)
    sides = [size[0] + sigma, size[1] + sigma]
    mask = np.zeros(sides)
    for y, x in product(range(sides[0]), range(sides[1])):
        z = []
        for k, j in product(range(2 * radius + 1), repeat=2):
            row, column = y // step + k - pad, x // step + j - pad
            far = math.hypot(y - sigma - step * row, x - sigma - step * column) / sigma
            inside = 0 <= row < q.shape[0] and 0 <= column < q.shape[1]
            z.append(math.exp(-2 * max(0, far - 0.5) ** 2) * (q[row, column] if inside else 0))
        z = np.array(z)
        mask[y, x] = (z * np.exp(20 * z)).sum() / np.exp(20 * z).sum()
    return mask.clip(0, 1)


@pytest.mark.parametrize(("size", "step", "sigma"), [((20, 26), 4, 7), ((21, 14), 7, 9), ((12, 15), 5, 1)])
def test_masks_are_as_defined(size: tuple[int, int], step: int, sigma: int) -> None:
    canvas = Canvas(size, step, sigma)
    q = torch.rand(2, *canvas.grid, generator=torch.Generator().manual_seed(0)).double()
    masks = canvas.masks(q)
    assert canvas.cut(masks).shape == (2, *size)
    for mask, one in zip(masks, q, strict=True):
        theirs = torch.from_numpy(pixel_by_pixel(one.numpy(), size, step, sigma))
        torch.testing.assert_close(mask[: theirs.shape[0], : theirs.shape[1]], theirs, rtol=0, atol=1e-12)


def test_masks_of_ones_and_zeros() -> None:
    canvas = Canvas((224, 224), 7, 21)
    assert canvas.grid == (32, 32)
    one, zero = canvas.masks(torch.stack([torch.ones(32, 32), torch.zeros(32, 32)]))
    assert one.shape == (260, 260)
    shown = canvas.cut(one[None])
    assert 0.975 < shown.amin() < 0.977
    assert 0.994 < shown.amax() < 0.997
    assert torch.equal(zero, torch.zeros_like(zero))


def test_gradient_of_masks() -> None:
    canvas = Canvas((10, 13), 4, 5)
    q = torch.rand(1, *canvas.grid, generator=torch.Generator().manual_seed(0)).double()
    found = canvas.pull_back(q, 2 * canvas.masks(q))  # of the sum of their squares
    for at in ((0, 0, 0), (0, 1, 2)):
        more, less = q.clone(), q.clone()
        more[at], less[at] = more[at] + 1e-6, less[at] - 1e-6
        slope = (canvas.masks(more).square().sum() - canvas.masks(less).square().sum()) / 2e-6
        assert found[at].item() == pytest.approx(slope.item(), rel=1e-6)


# -- what the picture becomes ------------------------------------------------------------------------------------


def test_pictures_are_read_between_levels() -> None:
    levels = torch.randn(1, 8, 3, 4, 5, generator=torch.Generator().manual_seed(0)).double()
    for k in range(8):
        found = read(levels, torch.full((1, 4, 5), k / 7, dtype=torch.float64))
        torch.testing.assert_close(found, levels[:, k], rtol=0, atol=1e-14)
    between = read(levels, torch.full((1, 4, 5), 2.25 / 7, dtype=torch.float64))
    torch.testing.assert_close(between, 0.75 * levels[:, 2] + 0.25 * levels[:, 3])
    assert torch.equal(read(levels, torch.ones(1, 4, 5).double()), levels[:, 7])


@pytest.mark.parametrize("sigma", [20.0, 2.5, 20 * 3 / 7])
def test_blur_like_scipy(sigma: float) -> None:
    x = picture(1)
    theirs = ndimage.gaussian_filter(x.numpy(), sigma, axes=(2, 3), mode="constant", radius=math.ceil(4 * sigma))
    torch.testing.assert_close(blur(x, sigma), torch.from_numpy(theirs), rtol=0, atol=1e-12)


def test_levels() -> None:
    x = picture(1)
    for k, (blurred, fade) in enumerate(
        zip(*(levels_of(x, kind, 8, 20.0)[0] for kind in ("blur", "fade")), strict=True)
    ):
        torch.testing.assert_close(fade, k / 7 * x[0])
        torch.testing.assert_close(blurred, blur(x, 20 * (7 - k) / 7)[0])


# -- the area ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ties", ["share", "sort"])
def test_area(ties: str) -> None:
    values = torch.rand(2, 5, 8, generator=torch.Generator().manual_seed(0)).double()
    areas = torch.tensor([0.1, 0.33], dtype=torch.float64)
    found = excess(values, rank(values, areas, ties))  # type: ignore[arg-type]
    for one, mask, area in zip(found, values, areas, strict=True):
        template = np.arange(40) >= math.floor((1 - area.item()) * 40)
        assert one.item() == pytest.approx(((np.sort(mask.numpy().ravel()) - template) ** 2).mean(), rel=1e-12)


def test_equal_pixels_share_the_area() -> None:
    values = torch.tensor([[[0.9, 0.5, 0.5, 0.5, 0.1]]]).double()
    areas = torch.tensor([0.4], dtype=torch.float64)
    shared = rank(values, areas, "share")
    torch.testing.assert_close(shared, torch.tensor([[[1, 1 / 3, 1 / 3, 1 / 3, 0]]], dtype=torch.float64))
    # The value is that of any order.
    assert excess(values, shared).item() == pytest.approx((0.1**2 + 0.5**2 * 3 + 0.1**2) / 5)
    assert rank(values, areas, "sort").sum() == 2


# -- the steps ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("variant", "jitter"), [("preserve", False), ("delete", True), ("dual", True)])
def test_steps_by_hand(variant: str, jitter: bool) -> None:
    """The score is linear in the mask: its gradient is known, and the rest is arithmetic."""
    c, x, steps = plain(), picture(), 4
    target = torch.tensor([1, 3])
    options = {"n": steps, "areas": (0.3,), "step": 4, "sigma": 5, "rate": 0.05, "weight": 20.0, "growth": 1.1}
    options |= {"variant": variant, "jitter": jitter, "momentum": 0.8, "dampening": 0.7, "perturbation": "fade"}
    saliency = ll.method("extremal-perturbation", **options).run(c, x, target)

    canvas, areas = Canvas((20, 26), 4, 5), torch.tensor([0.3, 0.3], dtype=torch.float64)
    kernel = c.module.fc.weight[target].detach().unflatten(1, (3, 20, 26))  # type: ignore[union-attr]
    bias = c.module.fc.bias[target].detach()  # type: ignore[union-attr]
    q, velocity = torch.ones(2, *canvas.grid).double(), None
    for t in range(steps):
        weights = ((kernel.flip(-1) if jitter and t % 2 == 0 else kernel) * x).sum(1)
        masks = canvas.masks(q)
        kept = (weights * canvas.cut(masks)).sum((1, 2)) + bias
        lost = weights.sum((1, 2)) + 2 * bias - kept
        pull, wanted = 20 * 1.1**t, rank(masks, areas, "share")
        reward = {"preserve": kept, "delete": -lost, "dual": kept - lost}[variant]
        objective = pull * excess(masks, wanted) - reward
        torch.testing.assert_close(saliency.details["trace_points"][:, t], q)
        torch.testing.assert_close(saliency.details["trace_objective"][:, t], objective)
        torch.testing.assert_close(saliency.details["trace_score"][:, t], lost if variant == "delete" else kept)
        twice = 2 if variant == "dual" else 1
        slope = 2 * pull * (masks - wanted) / masks[0].numel()
        slope[:, 5:25, 5:31] -= twice * weights
        gradient = canvas.pull_back(q, slope)
        velocity = gradient if velocity is None else 0.8 * velocity + 0.3 * gradient
        q = (q - 0.05 * velocity).clamp(0, 1)
    torch.testing.assert_close(saliency.details["mask"], canvas.cut(canvas.masks(q)))
    assert torch.equal(saliency.raw, saliency.details["mask"])
    assert saliency.cost.n_forward == 1 + steps * (2 if variant == "dual" else 1)


def test_areas_are_found_apart() -> None:
    c, x = plain(), picture()
    options = {"n": 5, "step": 4, "sigma": 5, "variant": "dual", "score": "margin"}
    both = ll.method("extremal-perturbation", areas=(0.1, 0.4), **options).run(c, x)
    assert both.details["mask"].shape == (2, 2, 20, 26)
    assert both.details["trace_objective"].shape == (2, 2, 5)
    torch.testing.assert_close(both.raw, both.details["mask"].sum(1))
    for k, area in enumerate((0.1, 0.4)):
        alone = ll.method("extremal-perturbation", areas=area, **options).run(c, x)
        for name, found in alone.details.items():
            torch.testing.assert_close(both.details[name][:, k], found)
    assert both.cost.n_forward == 21


def test_a_constant_score_leaves_the_area() -> None:
    c, x = plain(constant=True), picture()
    method = ll.method("extremal-perturbation", n=80, areas=0.4, step=4, sigma=5, rate=0.05)
    saliency = method.run(c, x)
    mask, objective = saliency.details["mask"], saliency.details["trace_objective"]
    assert (mask >= 0).all()
    assert (mask <= 1).all()
    assert (objective[:, -1] < 0.5 * objective[:, 0]).all()


# -- watching, budgets, first masks ------------------------------------------------------------------------------


def test_watch() -> None:
    seen: list[Step] = []
    method = ll.method("extremal-perturbation", n=3, areas=(0.1, 0.3), step=4, sigma=5, watch=seen.append)
    saliency = method.run(plain(), picture())
    assert [s.number for s in seen] == [0, 1, 2]
    assert seen[0].images.tolist() == [0, 0, 1, 1]
    assert torch.equal(seen[2].mask.unflatten(0, (2, 2)), saliency.details["trace_masks"][:, :, 2])


def test_budget() -> None:
    method = ll.method("extremal-perturbation", variant="dual", step=4, sigma=5, budget="10 forwards")
    saliency = method.run(plain(), picture())
    assert saliency.cost.n_forward == 9
    assert any("4 of 800 steps" in note for note in saliency.notes)
    assert torch.isnan(saliency.details["trace_objective"][:, 4:]).all()


def test_no_steps() -> None:
    saliency = ll.method("extremal-perturbation", n=0, step=4, sigma=5).run(plain(), picture())
    canvas = Canvas((20, 26), 4, 5)
    torch.testing.assert_close(saliency.raw, canvas.cut(canvas.masks(torch.ones(2, *canvas.grid).double())))


def test_refuses() -> None:
    for areas in ((), 0.0, (0.1, 1.0), "large"):
        with pytest.raises(ll.errors.InvalidOption, match="areas"):
            ll.method("extremal-perturbation", areas=areas)


def test_begins_at_an_activation_map() -> None:
    """AOP: what is left of the map is the first q; nothing, the first q of old."""
    c, x = ll.Classifier(architectures.build("plain")), architectures.images(2)
    options = {"n": 2, "step": 8, "sigma": 9}

    def refined(lam: float) -> ll.Saliency:
        more = {"optimiser": "extremal-perturbation", "optimiser_options": options, "lam": lam, "size": 5}
        return ll.method("aop", base="grad-cam", **more, score="logit").run(c, x, 1)

    ours = ll.method("extremal-perturbation", **options).run(c, x, 1)
    assert torch.equal(refined(0.0).raw, ours.raw)
    found = refined(0.15)
    taken = 1 - found.details["first_mask"]
    assert (taken.amax((1, 2)) > 0).all()
    # Corner to corner, as AOP resizes the map.
    scaled = (taken / taken.amax((1, 2), keepdim=True))[:, None]
    first = nn.functional.interpolate(scaled, (5, 7), mode="bilinear", align_corners=True)
    torch.testing.assert_close(found.details["trace_points"][:, 0], first[:, 0])
    assert not torch.equal(found.raw, ours.raw)


# -- another library ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "variant", ["preserve", *(pytest.param(way, marks=pytest.mark.slow) for way in ("delete", "dual"))]
)
@pytest.mark.parametrize("model", [TINY[1], *(pytest.param(model, marks=pytest.mark.slow) for model in TINY[::2])])
def test_torchray(model: str, variant: str) -> None:
    """Its masks at every step: those that it gives belong to the last step, before its parameters change again.

    Of the contrastive reward of several areas it records another mean; their sum is the same.
    """
    about, arrays = golden(f"torchray-extremal_perturbation-{model}")
    settings = about["hyper_parameters"]
    method = ll.method(
        "extremal-perturbation",
        profile="torchray",
        n=settings["max_iter"],
        areas=tuple(settings["areas"]),
        levels=settings["num_levels"],
        step=settings["step"],
        sigma=settings["sigma"],
        jitter=settings["jitter"],
        variant=variant,
        score="margin" if variant == "dual" else "logit",
    )
    x, target = inputs(model)[:1], torch.from_numpy(arrays["target"])[:1]
    objective = -torch.from_numpy(arrays[f"hist_{variant}"]).sum(1)
    mask = torch.from_numpy(arrays[f"mask_{variant}"])[:, 0]
    canvas = Canvas((64, 64), settings["step"], settings["sigma"])

    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        details = method.run(classifier(model), x, target).details
        return details["trace_objective"][0], canvas.cut(canvas.masks(details["trace_points"][0, :, -1]))

    def distance(ours: Tensor, last: Tensor, theirs: Tensor, end: Tensor) -> Tensor:
        """How far the reward of all areas, that of each, and the last masks are apart, in bounds."""
        each = 0.0 * ours if variant == "dual" else ours - theirs
        apart = ((ours - theirs).sum(0).abs().max() / 0.05, each.abs().max() / 0.01, (last - end).abs().max() / 0.01)
        return torch.stack(apart)

    ours, last = run(x)
    torch.testing.assert_close(ours[:, 0].sum(), objective[:, 0].sum(), rtol=1e-6, atol=0)
    if torch.ones(6084).sort().indices[:4].tolist() != [4052, 4063, 4062, 4061]:  # as where these runs were made
        pytest.skip("this processor sorts equal values in another order, by which the search forks")
    torch.testing.assert_close(ours[:, :20].sum(0), objective[:, :20].sum(0), rtol=0, atol=0.02)
    apart = distance(ours, last, objective, mask)
    if (apart > 1).any():
        # Noise of the size of rounding shows how far the ends are apart.
        assert (model, variant) in CHAOTIC, apart
        noise = (1e-7 * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)) for seed in range(3))
        forks = torch.stack([distance(ours, last, *run(x + n)) for n in noise]).amax(0)
        assert (apart <= (2 * forks).clamp(1, 20)).all(), (apart, forks)
