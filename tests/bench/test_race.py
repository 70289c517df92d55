"""A race on a model: its order, its budget, and what is kept when it is stopped."""

from typing import Any

import pytest

import limelight as ll
from limelight.bench.choice import Choice
from limelight.bench.choose import choose
from limelight.data.synthetic import scenes
from limelight.errors import InvalidOption


@pytest.fixture(scope="module")
def model() -> Any:
    return ll.load("demo/resnet")


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
