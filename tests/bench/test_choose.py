"""A race that keeps the best, drops the worse, and recommends the cheapest of the best."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import limelight as ll
from limelight.bench.choice import Choice
from limelight.bench.choose import choose
from limelight.data.synthetic import scenes
from limelight.errors import InvalidImage, InvalidOption, MissingTruth, UnknownMethod, UnknownMetric
from limelight.pages.choose import save
from pages import check


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
    shown = choice._repr_html_()
    assert '<tr><th scope="row"><b>grad-cam</b></th>' in shown
    assert "dropped after round" in shown
    assert shown.count("<tr>") == 1 + len(choice.standings)


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
