"""Budgets: never exceeded, nothing wasted, and nothing changed by one that is never reached."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import architectures
import limelight as ll
from limelight.card import METHODS
from limelight.data.synthetic import test_split
from limelight.engine.budget import FIRST, Allowance, limits
from limelight.engine.rng import Draws

TARGET = [1, 4, 2]
RISE, SMOOTH, SHAP = ("rise", {}), ("smooth-grad", {}), ("gradient-shap", {"baseline": ("black", "white")})
SAMPLING: list[tuple[str, dict[str, Any], int, int, str]] = [
    # passes of a step, passes besides, and the option that says how many steps there are
    (*RISE, 1, 1, "n_masks"),
    ("lime", {"scale": 12, "baseline": "black"}, 1, 1, "n_samples"),
    (*SMOOTH, 1, 1, "n"),
    ("smooth-grad", {"squared": True}, 1, 1, "n"),
    ("var-grad", {}, 1, 1, "n"),
    (*SHAP, 1, 3, "n"),
    ("score-cam", {}, 1, 1, "top"),
    ("score-cam", {"profile": "paper"}, 1, 1, "top"),
    ("score-cam", {"profile": "cic"}, 1, 2, "top"),
    ("is-cam", {"n": 3}, 2, 2, "top"),
    ("is-cam", {"n": 2, "schedule": "linear"}, 2, 1, "top"),
    ("ss-cam", {"n": 3}, 3, 1, "top"),
]
NAMES = [" ".join([name, *map(str, options.values())]) for name, options, *_ in SAMPLING]


@pytest.fixture(scope="module")
def classifier() -> ll.Classifier:
    c = ll.Classifier(architectures.build("plain"))
    c.trace(architectures.images())  # a pass that is no explanation's
    return c


def counted(c: ll.Classifier, method: ll.Method, x: Tensor, target: Any = TARGET) -> tuple[Any, int]:
    """Return the record, and how many pictures the model was really given."""
    sizes: list[int] = []
    handle = c.module.register_forward_hook(lambda _m, inputs, _o: sizes.append(len(inputs[0])))
    try:
        return method.run(c, x, target), sum(sizes)
    finally:
        handle.remove()


# -- what a budget may be ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("200 forwards", (200, torch.inf)),
        ("1 forward", (1, torch.inf)),
        (" 2.5forwards ", (2.5, torch.inf)),
        ("0.5 s", (torch.inf, 0.5)),
        (".5s", (torch.inf, 0.5)),
        ("3 seconds", (torch.inf, 3)),
        (None, (torch.inf, torch.inf)),
    ],
)
def test_forms(given: str | None, expected: tuple[float, float]) -> None:
    assert limits(given) == expected
    assert ll.method("rise", budget=given).options.budget == given


@pytest.mark.parametrize(
    "given", ["200", "s", "0 s", "0 forwards", "0.0 s", "-1 s", "5 minutes", "1e3 forwards", "", 200]
)
def test_other_forms_are_refused(given: object) -> None:
    with pytest.raises(ll.errors.InvalidOption, match=r'budget = .*"200 forwards" or "0\.5 s", per image'):
        ll.method("rise", budget=given)


def test_methods_that_cannot_stop_name_those_that_can() -> None:
    with pytest.raises(ll.errors.InvalidOption, match="grad-cam can't stop early") as refused:
        ll.method("grad-cam", budget="5 forwards")
    able = str(refused.value).rpartition(" for ")[2].split(", ")
    assert {name for name, *_ in SAMPLING} <= set(able)
    for name, card in METHODS.cards().items():
        assert card.anytime == (name in able)
    for name in able:
        assert ll.method(name, budget="5 forwards").options.budget == "5 forwards"


# -- budgets of passes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options", "step", "besides", "_count"), SAMPLING, ids=NAMES)
def test_never_more_and_never_a_step_less(
    name: str, options: dict[str, Any], step: int, besides: int, _count: str, classifier: ll.Classifier
) -> None:
    x = architectures.images(3)
    for budget, n, batch_size in ((8, 1, None), (9, 3, None), (10, 3, 2), (13, 2, 1)):
        method = ll.method(name, budget=f"{budget} forwards", batch_size=batch_size, **options)
        found, passes = counted(classifier, method, x[:n], TARGET[:n])
        steps = (budget - besides) // step
        assert passes <= budget * n
        assert passes == found.cost.n_forward * n
        assert found.notes[-1].startswith(f"The budget of {budget} forwards ended after {steps} of ")
        if name.endswith("cam"):  # dead channels take none
            weighed = found.details["weights"].shape[1] - found.details["skipped"]
            assert weighed.max() <= steps
            assert passes == step * int(weighed.sum()) + (besides * n)
        else:
            assert passes == (steps * step + besides) * n


def in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first random numbers be the same, however many are asked for."""
    kept = {k: torch.rand(50, *shape, generator=torch.Generator().manual_seed(k)) for k, shape in ((2, ()), (7, (7,)))}
    monkeypatch.setattr(
        Draws, "uniform", lambda _, shape, like: kept[shape[1]][: shape[0], None].expand(shape).clone().to(like)
    )


@pytest.mark.parametrize(("name", "options", "step", "besides", "count"), SAMPLING, ids=NAMES)
def test_it_is_the_method_with_so_many_steps(
    name: str,
    options: dict[str, Any],
    step: int,
    besides: int,
    count: str,
    classifier: ll.Classifier,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if name == "rise":  # which draws all grids, then all shifts
        in_order(monkeypatch)
        options = {**options, "seed": 3}
    x, plenty = architectures.images(3), {} if count == "top" else {count: 40}
    budget = f"{5 * step + besides} forwards"
    stopped = ll.method(name, budget=budget, **plenty, **options).run(classifier, x, TARGET)
    short = ll.method(name, **{count: 5}, **options).run(classifier, x, TARGET)
    scale = float(short.raw.abs().amax())
    assert scale > 0
    torch.testing.assert_close(stopped.raw / scale, short.raw / scale, rtol=0, atol=1e-5)
    assert str(stopped.cost) == str(short.cost)
    alone = [
        ll.method(name, budget=budget, **plenty, **options).raw(classifier, x[i : i + 1], TARGET[i]) for i in range(3)
    ]
    torch.testing.assert_close(torch.cat(alone) / scale, stopped.raw / scale, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("name", "options", "_step", "_besides", "count"), SAMPLING, ids=NAMES)
def test_a_large_one_changes_nothing(
    name: str, options: dict[str, Any], _step: int, _besides: int, count: str, classifier: ll.Classifier
) -> None:
    options = options if count == "top" else {**options, count: 12}
    x = architectures.images(3)
    none, passes = counted(classifier, ll.method(name, **options), x)
    large, same = counted(classifier, ll.method(name, budget="9999 forwards", **options), x)
    assert torch.equal(large.raw, none.raw)
    assert (same, large.cost, large.notes) == (passes, none.cost, none.notes)
    assert not any("budget" in note for note in none.notes)
    slow = ll.method(name, budget="9999 s", **options).run(classifier, x, TARGET)  # in slices: sums in another order
    scale = none.raw.abs().amax()
    torch.testing.assert_close(slow.raw / scale, none.raw / scale, rtol=0, atol=1e-5)
    assert (slow.cost, slow.notes) == (none.cost, none.notes)


@pytest.mark.parametrize(("name", "options", "step", "besides", "_count"), SAMPLING, ids=NAMES)
def test_less_than_a_step(
    name: str, options: dict[str, Any], step: int, besides: int, _count: str, classifier: ll.Classifier
) -> None:
    least = besides + step * (2 if name in ("var-grad", "lime") else 1)  # of one there is no variance, and no line
    x = architectures.images(2)
    with pytest.raises(
        ll.errors.InvalidOption, match=f"^a budget of {least - 0.5} forwards: {least} forwards at least"
    ):
        ll.method(name, budget=f"{least - 0.5} forwards", **options).run(classifier, x, TARGET[:2])
    _, passes = counted(classifier, ll.method(name, budget=f"{least} forwards", **options), x, TARGET[:2])
    assert passes == least * 2


def test_rise_by_hand(classifier: ll.Classifier) -> None:
    """Of the masks of a run of 40, the first 6: their mean, weighted by the scores, over p."""
    from limelight.ops.random_masks import cell_size, masks

    x, draws = architectures.images(1), Draws(0)
    grids = (draws.uniform((40, 7, 7), like=x) < 0.5).float()
    shifts = (
        draws.uniform((40, 2), like=x) * torch.tensor([float(cell_size(s, 7)) for s in architectures.SIZE])
    ).long()
    made = masks(grids, shifts, architectures.SIZE)[:6]
    with torch.no_grad():
        p = classifier(x * made[:, None]).softmax(1)[:, 1]
    found = ll.method("rise", n_masks=40, budget="7 forwards").raw(classifier, x, 1)[0]
    torch.testing.assert_close(found, torch.einsum("m,mhw->hw", p, made) / (6 * 0.5), rtol=1e-5, atol=1e-6)


def test_score_cam_takes_the_channels_that_vary_most(classifier: ll.Classifier) -> None:
    x = architectures.images(3)
    full = ll.method("score-cam").run(classifier, x, TARGET)
    stopped = ll.method("score-cam", budget="5 forwards").run(classifier, x, TARGET)
    (layer,) = classifier.layers(None, x)
    acts: list[Tensor] = []
    handle = classifier.module.get_submodule(layer.name).register_forward_hook(lambda _m, _i, o: acts.append(o))
    classifier(x)
    handle.remove()
    for variance, weights, all_of_them in zip(
        acts[0].var((2, 3)), stopped.details["weights"], full.details["weights"], strict=True
    ):
        first = variance.argsort(descending=True)
        torch.testing.assert_close(weights[first[:4]], all_of_them[first[:4]])
        assert not weights[first[4:]].any()


def test_no_image_lives_on_what_another_saves() -> None:
    """Of six channels the second picture, which is red all over, has two that are not constant."""
    net = nn.Sequential(nn.Conv2d(3, 6, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2))
    with torch.no_grad():
        net[0].weight.copy_((torch.arange(6)[:, None] % 3 == torch.arange(3)).float().view(6, 3, 1, 1))
    c = ll.Classifier(net, layer="0")
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    x[1, 1:] = 0
    for budget, passed in ((9, [6, 2]), (5, [4, 2]), (2, [1, 1])):
        found = ll.method("score-cam", budget=f"{budget} forwards").run(c, x, 0)
        assert (6 - found.details["skipped"]).tolist() == passed
        assert found.cost.n_forward == 1 + sum(passed) / 2


def test_lime_keeps_a_place_for_samples_it_did_not_take(classifier: ll.Classifier) -> None:
    method = ll.method("lime", scale=12, n_samples=30, budget="11 forwards")
    scores = method.run(classifier, architectures.images(2), 1).details["scores"]
    assert scores.shape == (2, 30)
    assert torch.equal(scores.isnan(), torch.arange(30).expand(2, -1) >= 10)


def test_a_budget_per_view(classifier: ll.Classifier) -> None:
    method = ll.method("rise", augment="flip", budget="6 forwards")
    found, passes = counted(classifier, method, architectures.images(2), 1)
    assert str(found.cost) == "12 F"
    assert passes == 24


@pytest.mark.slow
def test_the_map_gets_better() -> None:
    """How much it resembles the map of many other masks."""
    c = ll.load("demo/resnet")
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (c.mean, c.std))
    picture = (torch.from_numpy(test_split(1)[0].image).permute(2, 0, 1).float() / 255 - mean) / std
    x = F.interpolate(picture[None], size=(64, 64), mode="bilinear", antialias=True)
    full = ll.method("rise", n_masks=1500, seed=7).raw(c, x)
    likeness = [
        float(torch.corrcoef(torch.stack([found.flatten(), full.flatten()]))[0, 1])
        for found in (ll.method("rise", budget=f"{n} forwards").raw(c, x) for n in (50, 200, 1000))
    ]
    assert likeness[0] + 0.1 < likeness[1] < likeness[2] - 0.03, likeness


# -- budgets of time ---------------------------------------------------------------------------------------------


class Clock:
    """Time goes on only when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    yield clock
    monkeypatch.undo()


def slices(
    clock: Clock, budget: str, step: float, *, n: int = 10_000, images: int = 1, passed: float = 0.0, **how: Any
) -> tuple[list[int], Allowance]:
    """Return the sizes of the slices if a step takes ``step`` seconds and the passes before took ``passed``."""
    spent = [1.0]
    start = clock.now
    clock.now += passed
    allowance = Allowance(budget, images, lambda: spent[0], start)
    sizes: list[int] = []
    at = 0
    for some in allowance.rounds(n, **how):
        assert some.start == at
        at = some.stop
        sizes.append(at - some.start)
        clock.now += sizes[-1] * step * images
        spent[0] += sizes[-1] * how.get("passes_per_step", 1)
    return sizes, allowance


def test_slices_by_hand(clock: Clock) -> None:
    """A pass and 127 steps, 1/64 s each: 8, then half of what is left, and all of it in the end."""
    how = {"budget": "2 s", "step": 1 / 64, "passed": 1 / 64}
    sizes, allowance = slices(clock, **how)
    assert sizes == [8, 59, 30, 15, 8, 7]
    assert allowance.remarks == ("The budget of 2 s ended after 127 of 10000 steps.",)
    sizes, allowance = slices(clock, n=70, **how)
    assert sizes == [8, 59, 3]
    assert not allowance.remarks
    assert slices(clock, steps_per_round=1, **how)[0] == [1] * 127
    assert slices(clock, n=0, **how)[0] == []


def test_no_budget_is_one_slice_and_asks_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    allowance = Allowance(None, 2, lambda: 1.0, 0.0)
    monkeypatch.setattr(time, "perf_counter", lambda: pytest.fail("nobody wants to know"))
    assert list(allowance.rounds(50)) == [slice(0, 50)]
    assert list(allowance.rounds(5, 3, 2)) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert not allowance.remarks


@pytest.mark.parametrize("images", [1, 4])
@pytest.mark.parametrize("dearer", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("step", [0.0007, 0.013, 0.09, 0.4])
def test_time_is_kept_and_used(step: float, dearer: float, images: int, clock: Clock) -> None:
    """A step that goes back takes three times as long as the pass that was timed; one may take less, too."""
    began = clock.now
    slices(clock, "1 s", step, images=images, passed=step / dearer * images)
    took = (clock.now - began) / images
    assert took <= max(1.0, step / dearer + step) + 1e-9
    assert took > 1.0 - step - 1e-9


def test_when_time_is_up_before_the_first_step(clock: Clock) -> None:
    assert slices(clock, "1 s", 0.1, passed=5.0)[0] == [1]
    assert slices(clock, "1 s", 0.1, passed=5.0, at_least=2)[0] == [2]
    assert slices(clock, "1 s", 0.1, passed=5.0, at_least=2, n=1)[0] == [1]


def test_steps_that_slow_down(clock: Clock) -> None:
    """Half of what is left is enough for steps that take twice as long as the first ones, and they are noticed."""
    allowance, start = Allowance("1 s", 1, lambda: 1.0, clock.now), clock.now
    for some in allowance.rounds(10_000):
        clock.now += sum(0.001 if k < FIRST else 0.0019 for k in range(some.start, some.stop))
    assert 0.998 < clock.now - start <= 1.0


def test_passes_that_follow_are_kept_back(clock: Clock) -> None:
    start = clock.now
    slices(clock, "1 s", 0.01, passes_after=5)
    assert clock.now - start == pytest.approx(0.95)
    sizes, _ = slices(clock, "10 forwards", 0.01, passes_per_step=2, passes_after=2)
    assert sizes == [3]


def test_a_clock_that_is_too_coarse(clock: Clock) -> None:
    sizes, _ = slices(clock, "1 s", 0.0, n=50)
    assert sizes == [FIRST] * 6 + [2]


class Slow(nn.Module):
    """Takes some time for each picture."""

    def __init__(self, net: nn.Module, clock: Clock, each: float) -> None:
        super().__init__()
        self.net, self.clock, self.each = net, clock, each

    def forward(self, x: Tensor) -> Tensor:
        self.clock.now += self.each * len(x)
        return self.net(x)


@pytest.mark.parametrize(("name", "options", "step", "besides", "_count"), SAMPLING, ids=NAMES)
def test_methods_keep_the_time(
    name: str, options: dict[str, Any], step: int, besides: int, _count: str, clock: Clock
) -> None:
    """A pass takes 0.1 s: in 1 s there are ten of them, for every image, in whatever chunks."""
    c = ll.Classifier(Slow(architectures.build("plain"), clock, 0.1), layer="net.features.7")
    x = architectures.images(3)
    c.trace(x)
    for batch_size in (None, 2, 1):
        start = clock.now
        method = ll.method(name, budget="1.05 s", batch_size=batch_size, **options)
        found, passes = counted(c, method, x)
        steps = (10 - besides) // step
        assert clock.now - start <= 1.05 * 3
        assert found.seconds == pytest.approx((clock.now - start) / 3)
        assert found.cost.n_forward * 3 == pytest.approx(passes)
        assert any(note.startswith(f"The budget of 1.05 s ended after {steps} of ") for note in found.notes)
        if not name.endswith("cam"):
            assert passes == (steps * step + besides) * 3
        torch.testing.assert_close(found.raw, method.run(c, x, TARGET).raw, rtol=0, atol=0)
