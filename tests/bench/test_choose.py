"""A race that keeps the best, drops the worse, and stays within its budget."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import limelight as ll
from limelight.bench.choose import FLOOR, USUAL, Choice, choose
from limelight.bench.race import schedule, standing
from limelight.data.synthetic import scenes
from limelight.errors import InvalidImage, InvalidOption, MissingTruth, UnknownMethod, UnknownMetric
from limelight.report.choose import save
from pages import check

ALPHA = 0.2
RACES = 200


# -- the statistics, on simulated numbers ------------------------------------------------------------------


def raced(
    values: np.ndarray, *, better: Any = "higher", alpha: float = ALPHA, kind: Any = "mean", tests: int | None = None
) -> dict[int, int]:
    """Race methods, (m, n) or (m, n, k), and return who was dropped in which round."""
    ends = schedule(values.shape[1])
    tests = tests or len(ends) * (len(values) - 1)
    left, dropped = list(range(len(values))), dict[int, int]()
    for number, end in enumerate(ends, 1):
        _, _, p = standing(kind, [values[m, :end] for m in left], better, tests, alpha=alpha)
        dropped |= {m: number for m, value in zip(left, p, strict=True) if value < alpha}
        left = [m for m in left if m not in dropped]
    return dropped


def test_schedule() -> None:
    assert schedule(64) == [8, 16, 32, 64]
    assert schedule(100) == [12, 25, 50, 100]
    assert schedule(5) == [5]
    assert schedule(1000, first=300) == [500, 1000]
    for n in range(1, 300):
        ends = schedule(n)
        assert ends[-1] == n
        assert all(a < b for a, b in pairwise(ends))
        assert len(ends) == 1 or 8 <= ends[0] < 16


@pytest.mark.parametrize("gap", [0.0, 0.2])
def test_the_best_is_dropped_in_fewer_races_than_alpha(gap: float) -> None:
    rng = np.random.default_rng(1)
    lost, careless = np.zeros(4), 0
    for _ in range(RACES):
        values = 2 * rng.normal(size=24) + rng.normal(size=(4, 24))  # pictures differ more than methods do
        values[0] += gap
        dropped = raced(values)
        lost[list(dropped)] += 1
        careless += 0 in raced(values, tests=1)
    assert lost[0] < ALPHA * RACES
    if not gap:
        assert (lost < ALPHA * RACES).all()  # each of several equals is the best
        assert careless > ALPHA * RACES  # uncorrected tests lose it too often


def test_what_makes_no_difference_is_kept() -> None:
    same = np.random.default_rng(2).normal(size=32)
    assert raced(np.stack([same, same, same]), alpha=0.5) == {}


def test_a_clearly_worse_one_is_dropped_early() -> None:
    rng = np.random.default_rng(3)
    for better, sign in (("higher", -1), ("lower", 1)):
        values = rng.normal(size=64) + 0.3 * rng.normal(size=(4, 64))
        values[2] += sign * 1.0
        dropped = raced(values, better=better, alpha=0.05)
        assert dropped.keys() == {2}
        assert dropped[2] <= 2


def test_pooled_figures_race_too() -> None:
    rng = np.random.default_rng(4)
    parts = np.stack([np.full(32, 0.9), np.full(32, 0.2), np.full(32, 0.2)], -1) + 0.02 * rng.normal(size=(3, 32, 3))
    parts[1, :, 2] += 0.3  # a larger drop
    assert set(raced(parts.clip(0, 1), kind="adcc", alpha=0.05)) == {1}


def test_p_is_that_of_all_sign_flips_times_the_tests() -> None:
    one, other = np.array([1.0, 2, 3, 4, 5]), np.zeros(5)
    best, figures, p = standing("mean", [other, one], "higher", 3)
    assert best == 1
    assert figures.tolist() == [0, 3]
    assert p.tolist() == [pytest.approx(3 / 2**5), 1]
    best, _, p = standing("mean", [other, one], "higher", 3, may_lead=[True, False])
    assert (best, p.tolist()) == (0, [1, 1])  # who leads without being allowed to drops nobody
    undefined = np.full(5, np.nan)
    assert standing("mean", [undefined, one], "higher", 3)[2].tolist() == [1, 1]
    assert standing("mean", [undefined, undefined], "higher", 3)[0] == -1


# -- the race on a model -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> Any:
    return ll.load("demo/resnet")


@pytest.fixture(scope="module")
def choice(model: Any) -> Choice:
    """Two methods that are about equal, and one that is clearly worse by this metric."""
    methods = ["grad-cam", ll.method("group-cam", n_groups=3), "lrp-epsilon-plus"]
    return choose(model, scenes(16, seed=5), methods, ["adcc", "average-drop"])


def test_the_clearly_worse_leave_early_and_the_rest_sees_all(choice: Choice) -> None:
    assert choice["lrp-epsilon-plus"].dropped in (1, 2)
    assert choice["grad-cam"].dropped == choice["group-cam"].dropped == 0
    assert choice["random-map"].dropped
    assert [s.pictures for s in choice.standings if not s.dropped] == [16, 16]
    assert choice["lrp-epsilon-plus"].pictures == choice.rounds[choice["lrp-epsilon-plus"].dropped - 1].pictures
    assert [r.pictures for r in choice.rounds] == [8, 16]
    for r in choice.rounds:
        assert all(r.p[name] < choice.alpha for name in r.dropped)
        assert all(value >= choice.alpha for name, value in r.p.items() if name not in r.dropped)


def test_numbers_are_those_of_evaluate(choice: Choice, model: Any) -> None:
    found = ll.evaluate(model, scenes(16, seed=5), ["grad-cam"], ["adcc", "average-drop"]).summary()
    for metric in ("adcc", "average-drop"):
        figure = found["grad-cam", metric]
        assert choice["grad-cam"].figures[metric][0] == pytest.approx(figure.mean, abs=1e-5)
        assert choice["grad-cam"].figures[metric][1:] == pytest.approx((figure.low, figure.high), abs=0.01)


def test_the_cheapest_of_the_equals_is_recommended(choice: Choice) -> None:
    alike = [s for s in choice.standings if s.like_best]
    assert choice.recommended == min(alike, key=lambda s: s.passes).method == "grad-cam"
    assert choice.best in [s.method for s in alike]
    assert choice.reason.startswith("grad-cam: ")
    assert "16 pictures" in choice.reason


def test_what_was_saved(choice: Choice) -> None:
    assert choice.spent.passes == pytest.approx(
        sum(r.forwards + r.backwards + sum(r.spent.values()) for r in choice.results.rows)
    )
    assert choice.rounds[-1].passes == pytest.approx(choice.spent.passes)
    each: dict[str, list[float]] = {}
    for r in choice.results.rows:
        each.setdefault(r.method, []).append(r.forwards + r.backwards + sum(r.spent.values()))
    assert choice.spent.full == pytest.approx(16 * sum(float(np.mean(v)) for v in each.values()))
    assert 0.05 < choice.spent.saved < 0.5
    assert choice.finished


def test_the_same_seed_is_the_same_race(model: Any) -> None:
    races = [choose(model, scenes(10), ["grad-cam", "layer-cam"], "complexity", seed=s) for s in (0, 0, 1)]
    orders = [list(dict.fromkeys(r.image for r in race.results.rows)) for race in races]
    assert orders[0] == orders[1] != orders[2]
    assert races[0].rounds == races[1].rounds
    assert sorted(orders[0]) == sorted(orders[2])


def test_a_budget_is_kept(model: Any) -> None:
    methods = ["grad-cam", "layer-cam", "grad-cam++"]
    whole = choose(model, scenes(32), methods, "average-drop")
    assert whole.rounds[1].passes > whole.rounds[0].passes
    budget = (whole.rounds[0].passes + whole.rounds[1].passes) / 2
    part = choose(model, scenes(32), methods, "average-drop", budget=f"{budget:.0f} forwards")
    assert 0.8 * budget < part.spent.passes <= budget
    assert 8 < part.pictures < 16
    assert "budget" in part.stopped
    assert len(part.rounds) == 2
    if sum(s.like_best for s in part.standings) > 1:
        assert any(f"{part.pictures} of 32" in c for c in part.cautions)


@pytest.mark.parametrize(("pictures", "budget"), [(1, "1000 forwards"), (2, "1000 s")])
def test_few_pictures_within_a_budget(model: Any, pictures: int, budget: str) -> None:
    found = choose(model, scenes(pictures), ["grad-cam", "hires-cam"], "complexity", budget=budget)
    assert (found.pictures, len(found.rounds)) == (pictures, 1)
    assert found.recommended == "grad-cam"


def test_a_budget_that_does_not_pay_for_the_first_round(model: Any) -> None:
    with pytest.raises(InvalidOption, match=r"5 methods on 8 pictures take about [\d,]+ forwards; give more") as caught:
        choose(model, scenes(32), ["grad-cam", "layer-cam", "grad-cam++"], "average-drop", budget="20 forwards")
    assert caught.value.finished is None  # type: ignore[attr-defined]
    with pytest.raises(InvalidOption, match=r"take about [\d.e+-]+ s; give more"):
        choose(model, scenes(32), ["grad-cam", "layer-cam"], "insertion", budget="0.001 s")


def test_too_few_pictures_are_said_to_be(model: Any) -> None:
    found = choose(model, scenes(3), ["grad-cam", "lrp-epsilon-plus"], "complexity")
    # 1 round, 3 tests: 3 / 2**n is below 0.05 from 6 pictures on.
    assert any("3 pictures are too few" in c and "takes 6" in c for c in found.cautions)
    assert not any(s.dropped for s in found.standings)


def test_what_is_no_better_than_the_floor_is_said_to_be(model: Any) -> None:
    found = choose(model, scenes(12), ["gradient", "input-x-gradient"], "adcc")
    assert found.recommended not in FLOOR
    said = " ".join(found.cautions)
    assert f"{found.recommended} is not clearly better than random-map" in said
    assert "fake-cam" not in said


def test_baselines_are_never_recommended(model: Any) -> None:
    found = choose(model, scenes(8), ["gradient", "input-x-gradient", "fake-cam"], "average-drop")
    assert found["fake-cam"].figures["average-drop"][0] < found[found.recommended].figures["average-drop"][0]
    assert found["fake-cam"].floor
    assert found.recommended in ("gradient", "input-x-gradient")
    with pytest.raises(InvalidOption, match="at least two methods"):
        choose(model, scenes(8), ["grad-cam", "fake-cam", "centre-map"], "complexity")


def test_what_is_finished_is_kept(model: Any) -> None:
    class Impatient:
        calls = 0

        def __call__(self, done: int, most: int) -> None:
            self.calls += 1
            assert done <= most <= 4 * 64
            if done >= 4 * 8 + 2:  # in the second round, where no picture is through yet
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        choose(model, scenes(64), ["grad-cam", "hires-cam"], "complexity", on_rows=Impatient())
    kept: Choice = caught.value.finished  # type: ignore[attr-defined]
    assert kept.pictures == 8
    assert len(kept.rounds) == 1
    assert kept.stopped == "it was interrupted"
    assert not kept.finished
    assert kept.recommended == "grad-cam"


def test_usual_methods_that_the_model_can_have(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limelight.bench.choose.MOST_PASSES", 4)
    found = choose(model, scenes(2), None, "complexity")
    names = {s.method for s in found.standings}
    assert {"grad-cam", "layer-cam", *FLOOR} <= names
    assert "more than 4 passes" in found.left_out["collection-cam"]
    assert not names & set(found.left_out)
    assert names | set(found.left_out) == {*USUAL, *FLOOR}


def test_bad_input(model: Any) -> None:
    few = scenes(2)
    cases: list[tuple[Any, Any, dict[str, Any]]] = [
        (UnknownMetric, "did you mean adcc", {"metric": "adc"}),
        (UnknownMethod, "did you mean grad-cam", {"methods": ["gradcam", "layer-cam"]}),
        (InvalidOption, "list of metrics is empty", {"metric": []}),
        (InvalidOption, "at least two methods", {"methods": ["grad-cam"]}),
        (InvalidOption, "fake-cam says nothing of the network", {"methods": ["grad-cam", "fake-cam"]}),
        (InvalidOption, "methods = 'grad-cam'", {"methods": "grad-cam"}),
        (InvalidOption, '"5000 forwards" or "60 s"', {"budget": "many"}),
        (InvalidOption, '"5000 forwards" or "60 s"', {"budget": "0 forwards"}),
        (InvalidOption, "alpha = 1", {"alpha": 1}),
        (InvalidOption, "first = 0", {"first": 0}),
        (InvalidOption, "no option 'gamma'", {"methods": ["grad-cam", "layer-cam"], "options": {"gamma": 2}}),
        (InvalidImage, "list of images is empty", {"images": []}),
        (MissingTruth, "pointing-game", {"images": [s.image for s in few], "metric": "pointing-game"}),
    ]
    for error, message, given in cases:
        arguments: dict[str, Any] = {"images": few, "methods": ["grad-cam", "layer-cam"], "metric": "complexity"}
        arguments |= given
        with pytest.raises(error, match=message) as caught:
            choose(model, **arguments)
        assert "\n" not in str(caught.value)


# -- the page ----------------------------------------------------------------------------------------------


def test_the_page_and_the_file(choice: Choice, model: Any, tmp_path: Path) -> None:
    from limelight.api import as_samples

    samples = as_samples(scenes(16, seed=5))
    page = check(save(choice, tmp_path / "there" / "x.html", classifier=model, samples=samples), script=True)
    assert choice.reason.removeprefix(choice.recommended) in page.text
    for s in choice.standings:
        assert s.method in page.text
    assert "dropped, round" in page.text
    alts = " ".join(image["alt"] or "" for image in page.all("img"))
    assert "adcc while pictures were judged" in alts
    assert "adcc against passes per picture" in alts
    assert "the map of grad-cam" in alts
    data = json.loads(save(choice, tmp_path / "x.json").read_text())
    assert data["recommended"] == "grad-cam"
    assert [r["pictures"] for r in data["rounds"]] == [8, 16]
    assert data["spent"]["saved"] == pytest.approx(choice.spent.saved)
    with pytest.raises(InvalidOption, match=r"\.html or \.json"):
        save(choice, tmp_path / "x.pdf")
