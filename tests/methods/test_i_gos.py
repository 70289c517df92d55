"""I-GOS against its authors' numbers, against itself written out step by step, and by hand."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor

import limelight as ll
from conftest import npz
from limelight.engine.baselines import fill_images
from limelight.errors import InvalidOption
from limelight.maps.perturbation import i_gos
from limelight.maps.perturbation.masks import Penalty, Step
from methods.goldens import TINY, classifier, golden, inputs
from methods.known_scores import Of, Scored, scoring
from methods.written_i_gos import SIZE, Recording, Written, enlarge, run_and_count, smooth, with_dtype

QUICK: dict[str, Any] = {"size": 5, "n": 4, "points": 3, "noise": 0.0, "l1": 0.02, "tv": 0.1}


def test_blurred_like_the_authors() -> None:
    c, x = classifier(TINY[0]), inputs(TINY[0])[:2]
    blurred = torch.from_numpy(npz("golden", "authors-igos_blurred-tiny.npz")["blurred"])
    low, high = c.bounds
    torch.testing.assert_close(fill_images(c, x, "gauss-51-50"), low + blurred * (high - low), rtol=0, atol=5e-6)


AUTHORS: dict[str, Any] = {"n": 6, "points": 20, "size": 16, "l1": 3.0, "tv": 60.0, "noise": 0.0}

ROUNDING = 1e-6
"""Of objectives, some numbers of float32 near 1."""


@dataclass
class Replay:
    """A line search that takes the candidates that the authors' did, told by the scores and penalties they recorded.

    Attributes:
        scores: before every step, p_0 first, (n, steps).
        penalties: before every step, (n, steps).
        end: their last masks.
        excess: by how much each candidate of theirs misses what it has to fall, above 0 where ours rejects it.
        passed: by how much one that they passed over falls enough, below 0 where ours takes it.
    """

    scores: Tensor
    penalties: Tensor
    end: Tensor
    excess: list[Tensor] = field(default_factory=list)
    passed: list[Tensor] = field(default_factory=list)

    def __call__(
        self, mask: Tensor, slope: Tensor, known: Tensor, goal: Any, penalty: Penalty, live: Tensor, first: float
    ) -> tuple[Tensor, Tensor]:
        step = len(self.excess)
        lengths = first * 0.2 ** torch.arange(12.0)
        masks = torch.stack([(mask - length * slope).clamp(0, 1) for length in lengths])
        scores = torch.stack([goal.scores(one, live)[:, 0] for one in masks])
        enough = known[:, 0] + penalty(mask) - 1e-4 * lengths[:, None] * slope.square().sum((1, 2))
        excess = scores + torch.stack([penalty(one) for one in masks]) - enough
        if step + 1 < self.scores.shape[1]:
            earlier = self.scores[:, max(0, step - 1)]
            later = replace(penalty, l1=i_gos._rescue(penalty.l1, step, 6, self.scores[:, 0], earlier))
            wanted = self.penalties[:, step + 1]
            off = (torch.stack([later(one) for one in masks]) - wanted).abs() / wanted
            off = torch.where((scores - self.scores[:, step + 1]).abs() < 3 * ROUNDING, off, torch.inf)
            assert (off.amin(0) < 1e-3).all(), "one of our candidates has their score and penalty"
        else:
            off = (masks - self.end).abs().amax((2, 3))
        took, images = off.argmin(0), torch.arange(len(mask))
        exhausted = took == len(lengths) - 1  # which is taken as it comes
        self.excess.append(torch.where(exhausted, -1.0, excess[took, images]))
        before = torch.arange(len(lengths))[:, None] < took
        self.passed.append(torch.where(before, excess, 1.0).amin(0))
        return masks[took, images], scores[took, images][:, None]


@pytest.mark.parametrize("model", TINY)
def test_like_the_authors(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their masks are ours, and every decision that is theirs and not ours hangs on the rounding of a score.

    Half of the ways fork otherwise, as ``test_float32_forks`` shows on ours alone: near m = 1 the candidates differ
    by some 1e-7, and so do the scores of one picture on two machines.
    """
    _, arrays = golden(f"authors-igos-{model}")
    target, mask, penalties, scores = (torch.from_numpy(arrays[k]) for k in ("target", "mask", "curve1", "curve2"))
    replay = Replay(scores[:, 1:], penalties[:, 1:], mask)  # their first number stands there twice
    monkeypatch.setattr(i_gos, "_line_search", replay)
    found = ll.method("i-gos", **AUTHORS).run(classifier(model), inputs(model)[:2], target)
    assert torch.stack(replay.excess).max() < ROUNDING
    assert torch.stack(replay.passed).min() > -ROUNDING
    tolerance = {"tinyresnet_bottleneck": 2e-4}.get(model, 1e-5)  # a kink of the network is passed on another side
    torch.testing.assert_close(found.details["mask"], mask, rtol=0, atol=tolerance)
    upsampled = torch.from_numpy(arrays["upsampled"]).view_as(found.raw)
    torch.testing.assert_close(1 - found.raw, upsampled, rtol=0, atol=tolerance)
    torch.testing.assert_close(found.details["trace_score"][:, :-1], scores[:, 1:], rtol=0, atol=3 * ROUNDING)
    assert (1 - mask).amax() > 0.01


@pytest.mark.parametrize("model", TINY)
def test_not_far_from_the_authors_without_help(model: str) -> None:
    _, arrays = golden(f"authors-igos-{model}")
    found = ll.method("i-gos", **AUTHORS).run(classifier(model), inputs(model)[:2], torch.from_numpy(arrays["target"]))
    assert (found.details["mask"] - torch.from_numpy(arrays["mask"])).abs().max() < 0.06


@pytest.mark.slow
def test_float32_forks() -> None:
    """Noise of 1e-7 on the picture leads elsewhere in float32, and nowhere else in float64."""
    _, arrays = golden("authors-igos-tinyresnet_basic")
    method, target = ll.method("i-gos", **AUTHORS), torch.from_numpy(arrays["target"])[:1]
    spread = {}
    for kind in (torch.float32, torch.float64):
        c = ll.Classifier(with_dtype(classifier("tinyresnet_basic").module, kind))
        x = inputs("tinyresnet_basic")[:1].to(kind)
        seeds = range(3 if kind == torch.float32 else 2)
        noise = [1e-7 * torch.randn(x.shape, generator=torch.Generator().manual_seed(s)).to(kind) for s in seeds]
        masks = torch.cat([method.run(c, x + one, target).details["mask"] for one in noise])
        spread[kind] = (masks.amax(0) - masks.amin(0)).max().item()
    assert spread[torch.float64] < 1e-5
    assert spread[torch.float32] > 100 * spread[torch.float64]


@pytest.mark.parametrize("model", TINY)
def test_batched_like_the_authors(model: str) -> None:
    _, arrays = golden(f"authors-igospp-{model}")
    method = ll.method("i-gos", profile="batched", n=5, points=10, size=16, l1=1.0, tv=20.0, noise=0.0)
    found = method.run(classifier(model), inputs(model)[:2], torch.from_numpy(arrays["target"]))
    theirs = torch.from_numpy(arrays["igos_LS"]).view_as(found.details["mask"])
    torch.testing.assert_close(found.details["mask"], theirs, rtol=0, atol=1e-3 if model == "tinyvgg" else 1e-5)
    assert (1 - theirs).amax() > 0.03


@pytest.mark.parametrize("options", [{}, {"warmup": 2}, {"rescue": False, "l1": 0.3}, {"n": 6, "tv": 3.0, "l1": 0.5}])
def test_written_out(options: dict[str, Any]) -> None:
    """The same masks, and a pass per step less: the score of a mask is known from the search that found it."""
    options = QUICK | {"n": 5} | options
    n, warmup = options["n"], options.get("warmup", 0)
    found, net = run_and_count(ll.method("i-gos", **options), 1)
    _, x = smooth()
    c = ll.Classifier(net)
    full, weak = fill_images(c, x, "gauss-51-50"), fill_images(c, x, "gauss-11-5")
    written = Written(
        *(net.module, x, 1, options["l1"], options["tv"], options["points"]),
        baselines=lambda t: weak if t < warmup else full,
        rescue=options.get("rescue", True),
    )
    mask, curve, candidates = written(n, torch.ones(5, 5).double())
    torch.testing.assert_close(found.details["mask"][0], mask, rtol=0, atol=1e-10)
    torch.testing.assert_close(1 - found.raw[0], enlarge(mask, SIZE), rtol=0, atol=1e-10)
    if not warmup:
        expected = torch.tensor(curve, dtype=torch.float64)
        kept = found.details["trace_objective"][0, :n]
        known = torch.tensor([True] + [not options.get("rescue", True) or t <= n // 2 for t in range(1, n)])
        torch.testing.assert_close(kept[known], expected[known], rtol=0, atol=1e-10)
    assert written.passes == 1 + n * (options["points"] + 1) + candidates
    switched = 1 if warmup else 0  # the score with another baseline is not known
    assert found.cost.n_forward == written.passes - n + switched
    assert found.cost.n_backward == n * options["points"]
    assert (1 - mask).max() > 0.02


@pytest.mark.parametrize(("points", "factor"), [(20, 0.525), (4, 0.625), (1, 1.0)])
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_slope_of_a_linear_score(points: int, factor: float, noise: float) -> None:
    """g = (S + 1) / (2 S) dF/dm: the points' weights j/S; noise moves the scores and no slope."""
    generator = torch.Generator().manual_seed(0)
    v, x = (torch.rand(1, 3, *SIZE, generator=generator).double() for _ in range(2))
    c = scoring(lambda x: (v * x).sum((1, 2, 3)))
    options = {"l1": 0.0, "tv": 0.0, "baseline": "zero", "score": "logit", "noise": noise}
    method = ll.method("i-gos", n=1, points=points, size=5, first_step=1e-3, **options)
    moved = (1 - method.run(c, x, 0).details["mask"][0]) / 1e-3
    leaf = torch.ones(5, 5).double().requires_grad_()
    (v * x * enlarge(leaf, SIZE)).sum().backward()
    assert leaf.grad is not None
    torch.testing.assert_close(moved, factor * leaf.grad, rtol=1e-9, atol=0)


def test_two_steps_by_hand() -> None:
    """A mask of 2 x 2 on a picture of 2 x 2, F = a . m: g = 0.75 a for S = 2; steps of 0.1 each."""
    a = torch.tensor([[1.0, 2.0], [0.0, 4.0]]).double()
    c = scoring(lambda x: (a * x[:, 0]).sum((1, 2)))
    x = torch.ones(1, 3, 2, 2).double()
    options = {"l1": 0.0, "tv": 0.0, "baseline": "zero", "score": "logit", "noise": 0.0}
    found = ll.method("i-gos", n=2, points=2, size=2, first_step=0.1, **options).run(c, x, 0)
    torch.testing.assert_close(found.details["trace_masks"][0, 1], 1 - 0.075 * a, rtol=0, atol=1e-14)
    torch.testing.assert_close(found.details["mask"][0], 1 - 0.15 * a, rtol=0, atol=1e-14)
    # F = 7, and falls by 0.075 |a|^2 = 1.575 a step.
    assert found.details["trace_score"][0].tolist() == pytest.approx([7, 5.425, 3.85])
    assert str(found.cost) == "7 F + 4 R"  # the image; twice two points and a candidate


def test_rescued_by_hand() -> None:
    """F = a mean(m) + l1 (1 - mean(m)), a = 5e-4: the score moves by less than both limits.

    l1 is divided by 10 after step 5 // 2 = 2, and by 5 after step int(5 / 1.25) = 4, the last.
    """
    c = scoring(lambda x: 5e-4 * x[:, 0].mean((1, 2)))
    x = torch.ones(1, 3, 2, 2).double()
    options = {"l1": 1e-4, "tv": 0.0, "baseline": "zero", "score": "logit", "noise": 0.0, "first_step": 200.0}

    def weights(n: int, **more: Any) -> list[float]:
        details = ll.method("i-gos", n=n, points=1, size=2, **options, **more).run(c, x, 0).details
        area = (1 - details["trace_masks"][0]).mean((1, 2))
        taken = (details["trace_objective"] - details["trace_score"])[0]
        return [round(float(t / a), 12) for t, a in zip(taken[1:], area[1:], strict=True)]

    assert weights(5) == pytest.approx([1e-4, 1e-4, 1e-4, 1e-5, 1e-5])
    assert weights(10)[-1] == pytest.approx(1e-4 / 50)
    assert weights(10)[5:8] == pytest.approx([1e-4, 1e-5, 1e-5])
    assert weights(3) == pytest.approx([1e-4] * 3)
    assert weights(10, rescue=False) == pytest.approx([1e-4] * 10)


def test_rescue_looks_a_step_back() -> None:
    """After step 2 it asks for the score before step 1, which has fallen by 8e-4, not for that before step 2."""
    a, l1 = 0.1, 1e-3
    c = scoring(lambda x: a * x[:, 0].mean((1, 2)))
    step = 8e-4 * 4 / (a * (a - l1))  # the score falls by step a (a - l1) / 4
    options = {"l1": l1, "tv": 0.0, "baseline": "zero", "score": "logit", "noise": 0.0, "first_step": step}
    details = ll.method("i-gos", n=5, points=1, size=2, **options).run(c, torch.ones(1, 3, 2, 2).double(), 0).details
    fallen = a - details["trace_score"][0]
    assert fallen[:3].tolist() == pytest.approx([0, 8e-4, 16e-4], rel=0.02)
    taken, area = a - fallen, (1 - details["trace_masks"][0]).mean((1, 2))
    weights = (details["trace_objective"][0] - taken)[1:] / area[1:]
    assert weights.tolist() == pytest.approx([l1, l1, l1, l1 / 10, l1 / 10])


def test_no_rescue_where_the_score_falls() -> None:
    c = scoring(lambda x: 0.5 * x[:, 0].mean((1, 2)))
    options = {"l1": 0.1, "tv": 0.0, "baseline": "zero", "score": "logit", "noise": 0.0, "first_step": 0.5}
    x = torch.ones(1, 3, 2, 2).double()
    plain, rescued = (
        ll.method("i-gos", n=6, points=1, size=2, rescue=r, **options).run(c, x, 0).details for r in (False, True)
    )
    assert plain["trace_score"][0, 1] < plain["trace_score"][0, 0] - 0.01
    assert torch.equal(plain["trace_objective"], rescued["trace_objective"])


def test_noise_is_fresh_at_every_point_and_step() -> None:
    net, (_, x) = Recording(), smooth()
    c = ll.Classifier(net)
    c.trace(x)
    net.seen.clear()
    ll.method("i-gos", n=3, points=4, size=5, noise=0.2, score="logit").run(c, x, 1)
    share = (torch.arange(1, 5).double() / 4).repeat(3)[:, None, None, None]
    noise = torch.cat(net.seen) - (x * share + fill_images(c, x, "gauss-51-50") * (1 - share))
    assert len(noise) == 12
    assert noise.std().item() == pytest.approx(0.2, rel=0.05)
    correlated = torch.corrcoef(noise.flatten(1)) - torch.eye(12)
    assert correlated.abs().max() < 0.25  # of 504 values each


@pytest.mark.parametrize("game", ["deletion", "insertion", "both"])
def test_objective_falls_and_masks_stay(game: str) -> None:
    options = QUICK | {"n": 8, "rescue": False, "game": game, "l1": 0.05}
    found, _ = run_and_count(ll.method("i-gos", **options), 3)
    objective, masks = found.details["trace_objective"], found.details["trace_masks"]
    exhausted = masks.diff(dim=1).abs().amax((2, 3)) < 1e-6  # whose last candidate is taken as it comes
    assert ((objective.diff(dim=1) < 0) | exhausted).all()
    assert exhausted.float().mean() < 0.3
    assert (objective[:, 0] - objective[:, -1] > 1e-3).all()
    assert masks.min() >= 0
    assert masks.max() <= 1
    assert torch.equal(masks[:, -1], found.details["mask"])


@pytest.mark.parametrize("game", ["deletion", "insertion", "both"])
def test_trace_is_of_the_pictures(game: str) -> None:
    """What is recorded of a mask is the score of its picture, and of what it takes away."""
    found, net = run_and_count(ll.method("i-gos", **QUICK, game=game, rescue=False), 1)
    _, x = smooth()
    baseline = fill_images(ll.Classifier(net), x, "gauss-51-50")
    written = Written(net.module, x, 1, QUICK["l1"], QUICK["tv"], 3, lambda _: baseline)
    for mask, score, objective in zip(
        *(found.details[f"trace_{k}"][0] for k in ("masks", "score", "objective")), strict=True
    ):
        with torch.no_grad():
            kept, gone = (written.score(written.shown(m, baseline)) for m in (mask, 1 - mask))
        value = {"deletion": kept, "insertion": -gone, "both": kept - gone}[game]
        torch.testing.assert_close(objective, value + written.costs(mask))
        torch.testing.assert_close(score, gone if game == "insertion" else kept)


class Backwards(torch.autograd.Function):
    """The identity, with the opposite slope: every step down goes up."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return -grads[0]


@pytest.mark.parametrize(
    ("first", "candidates"), [(200.0, 12), (1000.0, 13), (8.0, 10), (1e-5, 2), (9e-6, 1)]
)  # first 0.2^k < 1e-5
@pytest.mark.parametrize("search", ["end", "points"])
def test_no_more_candidates(first: float, candidates: int, search: str) -> None:
    """A search that finds nothing takes its last candidate, of a length below 1e-5."""
    c = scoring(lambda x: Backwards.apply(x[:, 0].mean((1, 2))))
    x = torch.full((1, 3, 8, 8), 0.5).double()
    options = {"l1": 0.0, "tv": 0.0, "baseline": "white", "score": "logit", "noise": 0.0, "search": search}
    method = ll.method("i-gos", n=2, points=3, size=4, first_step=first, **options)
    found = method.run(c, x, 0)
    each = candidates * (3 if search == "points" else 1)
    assert found.cost.n_forward == 1 + 2 * (3 + each)
    assert found.cost.n_forward <= method.cost(c, x).n_forward
    assert 0 < (1 - found.details["trace_masks"][0, 1]).max() < 1e-5
    assert i_gos._most_candidates(first) == candidates


def test_without_slope_the_mask_stays() -> None:
    c = ll.Classifier(Scored(Of(lambda x: 0 * x.sum((1, 2, 3)) + 3)).double())
    found = ll.method("i-gos", n=3, points=4, size=6, noise=0.0).run(c, torch.rand(2, 3, 9, 9).double(), 0)
    assert (found.details["mask"] == 1).all()
    assert found.degenerate.all()
    assert str(found.cost) == "16 F + 12 R"  # 1 + 3 (4 + 1): the first candidate is taken


def test_a_batch_is_its_images_one_by_one() -> None:
    """To the pass: each leaves the line search when it has found its length."""
    method = ll.method("i-gos", **QUICK | {"noise": 0.2})
    together, net = run_and_count(method, 8)
    c, x = ll.Classifier(net), smooth(8)[1]
    singles = [method.run(c, x[i : i + 1], 1) for i in range(8)]
    torch.testing.assert_close(
        together.details["mask"], torch.cat([one.details["mask"] for one in singles]), rtol=0, atol=1e-9
    )
    assert together.cost.n_forward * 8 == pytest.approx(sum(one.cost.n_forward for one in singles))
    assert len({one.cost.n_forward for one in singles}) > 2  # they don't leave at once


def test_finished_images_leave() -> None:
    """A constant picture is its own mean: it can't change, and costs one step."""
    net, x = smooth(2)
    x[0] = 0.3
    c, options = ll.Classifier(net), QUICK | {"baseline": "mean"}
    seen: list[Step] = []
    found = ll.method("i-gos", **options, tol=1e-9, watch=seen.append).run(c, x, 1)
    stays = ll.method("i-gos", **options).run(c, x, 1)
    alone = ll.method("i-gos", **options).run(c, x[1:], 1)
    assert found.cost.n_forward * 2 == alone.cost.n_forward + 1 + 3 + 1
    assert stays.cost.n_forward * 2 == alone.cost.n_forward + 1 + 4 * (3 + 1)
    torch.testing.assert_close(found.details["mask"], stays.details["mask"], rtol=0, atol=1e-12)
    assert found.degenerate.tolist() == [True, False]
    ended = found.details["trace_score"].isnan()
    assert ended.tolist() == [[False, False, True, True, True], [False] * 5]
    assert found.details["trace_masks"].isnan().all((2, 3)).tolist() == ended.tolist()
    assert [one.images.tolist() for one in seen] == [[0, 1], [0, 1], [1], [1], [1]]
    everyone = ll.method("i-gos", **options, tol=2.0).run(c, x, 1)
    assert everyone.cost.n_backward == 3  # all leave after a step


def test_warm_up_ends() -> None:
    """With no steps after it, the weak blur is the baseline; with none in it, the strong one."""
    weak, _ = run_and_count(ll.method("i-gos", **QUICK, warmup=4), 1)
    other, _ = run_and_count(ll.method("i-gos", **QUICK, baseline="gauss-11-5"), 1)
    strong, _ = run_and_count(ll.method("i-gos", **QUICK), 1)
    assert torch.equal(weak.raw, other.raw)
    assert not torch.equal(weak.raw, strong.raw)


def test_insertion_shows_what_is_taken_away() -> None:
    """One pixel decides: both games find it."""
    c = scoring(lambda x: 10 * x[:, :, 4, 4].mean(1) - 5)
    x = torch.ones(1, 3, 9, 9).double()
    for game in ("deletion", "insertion", "both"):
        method = ll.method("i-gos", n=3, points=3, size=9, noise=0.0, tv=0.0, baseline="zero", game=game)
        raw = method.raw(c, x, 0)[0]
        assert raw.argmax().item() == 4 * 9 + 4
        assert raw[4, 4] > 0.5


@pytest.mark.parametrize("game", ["deletion", "insertion", "both"])
@pytest.mark.parametrize("search", ["end", "points"])
def test_cost_and_budget_are_bounds(game: str, search: str) -> None:
    net, x = smooth(2)
    c = ll.Classifier(net)
    for more in ({}, {"warmup": 1}, {"first_step": 1000.0}):
        method = ll.method("i-gos", **QUICK, game=game, search=search, **more)
        measured, predicted = method.run(c, x, 1).cost, method.cost(c, x)
        assert measured.n_forward <= predicted.n_forward
        assert measured.n_backward == predicted.n_backward
    frugal = ll.method("i-gos", **QUICK | {"n": 50}, game=game, search=search, budget="150 forwards")
    found = frugal.run(c, x[:1], 1)
    assert 50 < found.cost.n_forward <= 150
    assert any("budget" in note for note in found.notes)
    with pytest.raises(InvalidOption, match="budget"):
        ll.method("i-gos", **QUICK, budget="5 forwards").run(c, x, 1)
