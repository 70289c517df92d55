"""EMP against itself written out with an optimiser of its own, and by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

import limelight as ll
from limelight.engine.baselines import fill_images
from limelight.engine.rng import Draws, draws_per_image
from limelight.errors import InvalidOption
from limelight.maps.perturbation import emp
from methods.known_scores import Of, Scored, scoring
from methods.written_i_gos import SIZE, Counting, Recording, enlarge, run_and_count, smooth

PLAIN: dict[str, Any] = {"size": 5, "init": "ones", "jitter": 0, "noise": 0.0}


# -- written out -----------------------------------------------------------------------------------------------


def blocks(size: tuple[int, int], s: int) -> Tensor:
    """The blurred blocks of masks of s x s as a matrix (H W, s s), by scipy."""
    kernel = np.exp(-0.5 * (np.arange(-20, 21) / 5.0) ** 2)
    columns = []
    for one in np.eye(s * s):
        rows, cols = (np.arange(side) * s // side for side in size)
        large = one.reshape(s, s)[rows][:, cols]
        for axis in (0, 1):
            large = ndimage.correlate1d(large, kernel / kernel.sum(), axis=axis, mode="mirror")
        columns.append(large.ravel())
    return torch.from_numpy(np.stack(columns, 1))


AS_CELLS = {"rendering": "bilinear-half-pixel"}
RENDERED = {
    "bilinear": lambda m: enlarge(m, SIZE),
    "bilinear-half-pixel": lambda m: enlarge(m, SIZE, cells=True),
    "nearest-gauss": lambda m: (blocks(SIZE, 5) @ m.flatten()).view(SIZE),
}


@pytest.mark.parametrize("given", [{}, *({"profile": p} for p in ("pytorch", "aop", "paper-loc")), AS_CELLS])
def test_written_out(given: dict[str, Any]) -> None:
    """Adam by its own equations, the mask clamped after every step."""
    method = ll.method("emp", **PLAIN | {"n": 6} | given)
    o = method.options
    found, net = run_and_count(method, 1)
    _, x = smooth()
    b = fill_images(ll.Classifier(net), x, o.baseline)
    m, first, second = torch.ones(5, 5).double(), 0.0, 0.0
    for t in range(1, 7):
        leaf = m.clone().requires_grad_()
        shown = RENDERED[o.rendering](leaf)
        p = net.module(x * shown + b * (1 - shown)).softmax(1)[0, 1]
        down, right = leaf[1:] - leaf[:-1], leaf[:, 1:] - leaf[:, :-1]
        area = (1 - leaf).abs()
        if o.per == "mean":
            costs = o.l1 * area.mean() + o.tv * (down.abs().pow(o.beta).mean() + right.abs().pow(o.beta).mean())
        else:
            squares = torch.zeros(5, 5).double()
            squares[:-1] += down.square()
            squares[:, :-1] += right.square()
            costs = o.l1 * area.sum() + o.tv * (squares + 1e-300).pow(o.beta / 2).sum()
        (p + costs).backward()
        torch.testing.assert_close(found.details["trace_objective"][0, t - 1], (p + costs).detach())
        torch.testing.assert_close(found.details["trace_score"][0, t - 1], p.detach())
        torch.testing.assert_close(found.details["trace_masks"][0, t - 1], m, rtol=0, atol=1e-9)
        assert leaf.grad is not None
        first = 0.9 * first + 0.1 * leaf.grad
        second = 0.999 * second + 0.001 * leaf.grad.square()
        m = (m - 0.1 * (first / (1 - 0.9**t)) / ((second / (1 - 0.999**t)).sqrt() + 1e-8)).clamp(0, 1)
    torch.testing.assert_close(found.details["mask"][0], m, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.details["trace_masks"][0, 6], m, rtol=0, atol=1e-9)
    assert found.details["trace_score"][0].isnan().tolist() == [False] * 6 + [True]
    torch.testing.assert_close(found.raw[0], RENDERED[o.rendering](1 - m), rtol=0, atol=1e-9)
    assert (1 - m).max() > 0.3
    assert str(found.cost) == "7 F + 6 R"


def test_profiles() -> None:
    """The two columns of the table of settings, and what differs from them."""

    def settings(profile: str | None) -> list[Any]:
        o = ll.method("emp", profile=profile).options
        return [o.n, o.size, o.init, o.rendering, o.l1, o.tv, o.beta, o.per, o.baseline, o.jitter, o.noise, o.rate]

    paper = [300, 28, "disk", "nearest-gauss", 1e-4, 1e-2, 3.0, "sum", "gauss-81-10", 4, 0.0, 0.1]
    port = [500, 28, "ones", "bilinear", 0.01, 0.2, 3.0, "mean", "median-11", 0, 0.2, 0.1]
    assert settings(None) == paper
    assert settings("paper-loc") == [*paper[:4], 1e-3, 1e-2, 2.0, *paper[7:]]
    assert settings("pytorch") == port
    assert settings("aop") == [*port[:8], "gauss-51-50", *port[9:]]
    assert ll.method("emp").options.score == "prob"


# -- laws ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("init", ["ones", "random"])
def test_a_constant_score_leaves_the_mask(init: str) -> None:
    c = ll.Classifier(Scored(Of(lambda x: 0 * x.sum((1, 2, 3)) + 3)).double())
    x = torch.rand(2, 3, 12, 14, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = ll.method("emp", **PLAIN | {"init": init}, n=5, l1=0.0, tv=0.0).run(c, x, 0)
    assert torch.equal(found.details["mask"], found.details["trace_masks"][:, 0])
    if init == "ones":
        assert found.degenerate.all()
        assert (found.details["mask"] == 1).all()
    else:
        assert not torch.equal(found.details["mask"][0], found.details["mask"][1])
        assert 0.3 < found.details["mask"].mean() < 0.7


@pytest.mark.parametrize("per", ["mean", "sum"])
def test_a_mask_that_may_take_nothing_away(per: str) -> None:
    """With l1 -> infinity it comes back to 1. |1 - m| has no slope at 1, so that one step may leave it."""
    found, _ = run_and_count(ll.method("emp", **PLAIN, n=60, l1=1e9, per=per), 2)
    assert found.degenerate.all()
    assert (found.details["mask"] == 1).all()


def test_objective_falls_and_masks_stay() -> None:
    for game in ("deletion", "insertion", "both"):
        found, _ = run_and_count(ll.method("emp", **PLAIN, n=40, game=game, rate=0.03), 2)
        objective, masks = found.details["trace_objective"], found.details["trace_masks"]
        assert (objective[:, -2] < objective[:, 0] - 1e-4).all()
        assert masks.min() >= 0
        assert masks.max() <= 1


def test_one_pixel_decides() -> None:
    c = scoring(lambda x: 10 * x[:, :, 4, 4].mean(1) - 5)
    x = torch.ones(1, 3, 9, 9).double()
    options = PLAIN | {"size": 9, "n": 20, "rendering": "bilinear", "baseline": "zero", "l1": 0.02, "score": "logit"}
    for game in ("deletion", "insertion", "both"):
        raw = ll.method("emp", **options, game=game).raw(c, x, 0)[0]
        assert raw.argmax().item() == 4 * 9 + 4
        assert raw[4, 4] > 0.5
        assert raw[0, 0] < 0.1


@pytest.mark.parametrize("game", ["deletion", "both"])
def test_cost_is_its_formula(game: str) -> None:
    """1 + n F and n R, to the pass; twice where there are two pictures of a mask."""
    method = ll.method("emp", **PLAIN, n=7, game=game)
    found, net = run_and_count(method, 3)
    each = 2 if game == "both" else 1
    assert str(found.cost) == f"{1 + 7 * each} F + {7 * each} R"
    assert str(method.cost(ll.Classifier(net), smooth(3)[1])) == str(found.cost)


def test_a_batch_is_its_images_one_by_one() -> None:
    """With jitter, noise, a random start, and images that leave."""
    for options in ({"init": "disk"}, {"init": "random", "noise": 0.3}, {"init": "ones", "tol": 0.02}):
        method = ll.method("emp", n=8, size=5, **options)
        together, net = run_and_count(method, 8)
        c, x = ll.Classifier(net), smooth(8)[1]
        singles = [method.run(c, x[i : i + 1], 1) for i in range(8)]
        masks = torch.cat([one.details["mask"] for one in singles])
        torch.testing.assert_close(together.details["mask"], masks, rtol=0, atol=1e-8)
        assert together.cost.n_forward * 8 == pytest.approx(sum(one.cost.n_forward for one in singles))
        assert together.cost.n_backward * 8 == pytest.approx(sum(one.cost.n_backward for one in singles))


def test_finished_images_leave() -> None:
    net, x = smooth(2)
    x[0] = 0.3  # which can't change, as it is its own mean
    c, options = ll.Classifier(net), PLAIN | {"baseline": "mean", "n": 5}
    found = ll.method("emp", **options, tol=1e-9).run(c, x, 1)
    alone = ll.method("emp", **options).run(c, x[1:], 1)
    assert found.cost.n_backward * 2 == 1 + 5
    torch.testing.assert_close(found.details["mask"][1:], alone.details["mask"], rtol=0, atol=1e-9)
    assert found.details["trace_score"].isnan().sum(1).tolist() == [5, 1]
    assert found.details["trace_masks"].isnan().all((2, 3)).sum(1).tolist() == [4, 0]  # the last mask is there
    assert torch.equal(found.details["trace_masks"][0, 1], found.details["mask"][0])


def test_budget() -> None:
    net, x = smooth()
    c = ll.Classifier(net)
    found = ll.method("emp", **PLAIN, budget="20 forwards").run(c, x, 1)
    assert found.cost.n_forward == 20
    assert any("19 of 300" in note for note in found.notes)
    assert torch.equal(found.raw, ll.method("emp", **PLAIN, n=19).raw(c, x, 1))
    both = ll.method("emp", **PLAIN, game="both", budget="20 forwards").run(c, x, 1)
    assert both.cost.n_forward == 19
    with pytest.raises(InvalidOption, match="budget"):
        ll.method("emp", **PLAIN, budget="1 forwards").run(c, x, 1)


# -- the first mask --------------------------------------------------------------------------------------------


def shown_without(radius: int, size: tuple[int, int]) -> np.ndarray:
    """1 - a disk with blurred edges, by scipy; its kernel ends at four deviations, 40 pixels."""
    away = np.hypot(*(g - (side - 1) / 2 for g, side in zip(np.indices(size), size, strict=True)))
    disk = (away <= radius).astype(float) * (radius > 0)
    return np.clip(1 - ndimage.gaussian_filter(disk, 10, mode="mirror", truncate=4.0), 0, 1)


@pytest.mark.parametrize("reach", [3, 20])
def test_disk_by_hand(reach: int) -> None:
    """The score is the mean of a square in the middle, that of the baseline 0: the first disk that leaves 1 %."""
    size, m = (91, 121), 13
    y, x = (slice(side // 2 - reach, side // 2 + reach + 1) for side in size)
    c = scoring(lambda image: image[:, 0, y, x].mean((1, 2)))
    options = {"n": 0, "size": m, "baseline": "zero", "score": "logit"}
    found = ll.method("emp", **options).run(c, torch.ones(1, 3, *size).double(), 0)
    left = [(r, shown_without(r, size)) for r in range(0, 175, 5)]
    radius, expected = next((r, shown) for r, shown in left if shown[y, x].mean() < 0.01)
    assert 20 < radius < 60
    rows, cols = (np.arange(m) * side // m for side in size)
    torch.testing.assert_close(found.details["mask"][0], torch.from_numpy(expected[rows][:, cols]), rtol=0, atol=1e-12)
    assert str(found.cost) == f"{1 + 1 + radius // 5 + 1} F"  # the picture, its blur, radii from 0 on
    assert not found.degenerate.any()


def test_relative_to_the_baseline() -> None:
    """What counts is (p - p_blur) / (p_orig - p_blur): another scale and origin give the same disk."""
    size = (60, 60)
    x = torch.ones(1, 3, *size).double()
    options = {"n": 0, "size": 12, "baseline": "zero", "score": "logit"}
    masks = [
        ll.method("emp", **options).run(scoring(lambda i, a=a, b=b: a * i[:, 0, 28:32, 28:32].mean((1, 2)) + b), x, 0)
        for a, b in ((1.0, 0.0), (7.0, 0.0), (1.0, -40.0), (0.3, 5.0))
    ]
    for other in masks[1:]:
        assert torch.equal(other.details["mask"], masks[0].details["mask"])


def test_disk_search_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the baseline scores no less than the picture, or no disk is large enough, it begins at 1."""
    x = torch.ones(2, 3, 40, 40).double()
    x[1] *= -1
    c = scoring(lambda image: image[:, 0, 18:22, 18:22].mean((1, 2)))
    options = {"n": 0, "size": 8, "baseline": "zero", "score": "logit"}
    found = ll.method("emp", **options).run(c, x, 0)
    assert (found.details["mask"][0] < 1).any()
    assert (found.details["mask"][1] == 1).all()
    assert found.degenerate.tolist() == [False, True]
    alone = ll.method("emp", **options).run(c, x[1:], 0)
    assert str(alone.cost) == "2 F"
    monkeypatch.setattr(emp, "RADII", (0, 5))
    few = ll.method("emp", **options).run(c, x[:1], 0)
    assert (few.details["mask"] == 1).all()
    assert str(few.cost) == "4 F"


# -- what is random --------------------------------------------------------------------------------------------


def test_jitter_cuts_everywhere() -> None:
    """H + 4 pixels, cut at 0 ... 3 from above and from the left: 16 pictures, all of which appear."""
    x = torch.rand(1, 3, 10, 12, generator=torch.Generator().manual_seed(2))
    large = torch.nn.functional.interpolate(x, (14, 16), mode="bilinear")
    cuts = [large[:, :, y : y + 10, x0 : x0 + 12] for y in range(4) for x0 in range(4)]
    seen = set()
    for step in range(150):
        moved = emp._move(x, 4, [Draws(0)], step)
        (which,) = [i for i, one in enumerate(cuts) if torch.equal(one, moved)]
        seen.add(which)
        assert torch.equal(emp._move(x, 4, [Draws(0)], step), moved)  # the baseline is cut like the picture
    assert len(seen) == 16
    assert emp._move(x, 0, [Draws(0)], 3) is x


def test_the_baseline_is_cut_like_the_picture() -> None:
    """A mask of 1 takes nothing of the picture away: what that leaves to be shown is the baseline, moved."""
    net, (_, x) = Recording(), smooth()
    c = ll.Classifier(net)
    c.trace(x)
    for game, still in (("deletion", x), ("insertion", fill_images(c, x, "gauss-81-10"))):
        net.seen.clear()
        ll.method("emp", **PLAIN | {"n": 4, "jitter": 4}, game=game, score="logit").run(c, x, 1)
        draws = draws_per_image(0, x)
        for step, picture in enumerate(net.seen):
            torch.testing.assert_close(picture, emp._move(still, 4, draws, step), rtol=0, atol=1e-9)
        # A step may draw the cut of the one before, but not all of them do.
        assert not all(torch.equal(net.seen[0], other) for other in net.seen[1:])


def test_noise_and_seed() -> None:
    net, x = smooth()
    c = ll.Classifier(net)
    quiet, one, again, other = (
        ll.method("emp", **PLAIN | {"n": 4, "noise": noise}, seed=seed).raw(c, x, 1)
        for noise, seed in ((0.0, 0), (0.5, 0), (0.5, 0), (0.5, 1))
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one, quiet)


def test_warm_up_ends() -> None:
    net, x = smooth()
    c = ll.Classifier(net)

    def evidence(**options: Any) -> Tensor:
        return ll.method("emp", **PLAIN | {"n": 4} | options).raw(c, x, 1)

    assert torch.equal(evidence(warmup=4), evidence(baseline="gauss-11-5"))
    assert not torch.equal(evidence(warmup=2), evidence(baseline="gauss-11-5"))
    assert not torch.equal(evidence(warmup=2), evidence())


def test_the_module_counts_itself() -> None:
    """``Counting`` sees what a method does not report."""
    net, x = smooth()
    assert isinstance(net, Counting)
    net(x)
    net(x.clone().requires_grad_())
    assert (net.plain, net.back) == (1, 1)
