"""What is said beforehand about long work, and how far it is."""

import sys
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

import architectures
import limelight as ll
from limelight import api, progress
from limelight.__main__ import stay_plain_in_notebooks
from limelight.api.forecasting import forecast
from limelight.data.samples import Sample
from limelight.progress import Forecast, Part, count_passes, duration, show_progress

NET = architectures.small(channels=(4, 4))
X = architectures.images(1)
MINUTE = Forecast(6000, 60.0, [Part("rise", 6000, 0, ("n_masks=5999",))])


def said(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    return err


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> ll.Classifier:
    """A classifier whose passes are said to take 0.1 s each."""
    c = ll.Classifier(NET, size=32)
    monkeypatch.setattr("limelight.api.forecasting._seconds", lambda *_: 0.1)
    return c


@pytest.mark.parametrize(
    ("methods", "metrics", "shared"),
    [
        (["rise"], ["adcc"], 1),
        (["occlusion"], ["adcc", "coherency", "deletion"], 2),
        (["smooth-grad", "score-cam"], ["insertion", "average-drop"], 5),
        (["gradient"], ["sanity-cascading"], 0),
        (["integrated-gradients"], ["morf"], 0),
    ],
)
def test_a_forecast_is_what_is_spent(methods: list[str], metrics: list[str], shared: int) -> None:
    """But for passes with the picture itself, which methods and metrics share."""
    c = ll.Classifier(NET, size=32)
    options: dict[str, dict[str, Any]] = {"rise": {"n_masks": 100}, "occlusion": {"window": 8, "stride": 4}}
    chosen = [ll.method(name, **options.get(name, {})) for name in methods]
    judges = [ll.metric(name, **({"cell": 8} if name == "morf" else {})) for name in metrics]
    expected = forecast(c, X, chosen, judges)
    with show_progress("counting") as watch:
        ll.compare(c, X[0], chosen, judges)
    assert watch.done == pytest.approx(expected.passes - shared)
    assert {part.name for part in expected.parts} == {*methods, *metrics}
    assert forecast(c, X, chosen, judges, images=7).passes == pytest.approx(7 * expected.passes)


def test_budgets_are_kept_in_forecasts() -> None:
    c = ll.Classifier(NET, size=32)
    assert forecast(c, X, [ll.method("rise", budget="50 forwards")]).passes == 50
    assert forecast(c, X, [ll.method("rise", budget="0.001 s")], images=3).seconds <= 0.003


def test_a_pass_is_timed_only_where_it_may_be_long(monkeypatch: pytest.MonkeyPatch) -> None:
    c = ll.Classifier(NET, size=32)
    forecast(c, X, [ll.method("gradient")])
    calls: list[int] = []
    monkeypatch.setattr(c, "forward", lambda x, **_: (calls.append(len(x)), c.module(x))[1])
    forecast(c, X, [ll.method("gradient")])
    assert calls == []
    c.first_pass_seconds = 1.0
    for _ in range(2):
        assert forecast(c, X, [ll.method("rise")]).seconds < 8001
    assert calls == [16]


def test_what_is_short_alone_and_often_done_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    """The first pass of a process is slow, and would be multiplied."""
    c = ll.Classifier(NET, size=32)
    forecast(c, X, [ll.method("gradient")])
    c.first_pass_seconds = 5.0
    alone = forecast(c, X, [ll.method("gradient")]).seconds
    assert alone >= 5
    assert forecast(c, X, [ll.method("gradient")], pieces=100).seconds < alone / 2
    c.memo.clear()
    assert forecast(c, X, [ll.method("gradient")], [ll.metric("average-drop")], pieces=100).seconds < alone / 2
    c.memo.clear()
    ll.api.sanity_strip(c, X[0], ["gradient"])
    with show_progress("explaining", times=100):
        ll.explain(c, X[0], method="gradient")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("place", ["as many as fit", "none fits"])
def test_a_timed_pass_keeps_to_the_memory(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    c = ll.Classifier(NET, size=32)
    forecast(c, X, [ll.method("gradient")])
    c.first_pass_seconds, calls = 1.0, []
    monkeypatch.setattr(c, "at_once", lambda x: 2)

    def pass_of(x: torch.Tensor, **_: Any) -> torch.Tensor:
        calls.append(len(x))
        if place == "none fits":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return c.module(x)

    monkeypatch.setattr(c, "forward", pass_of)
    seconds = forecast(c, X, [ll.method("rise")]).seconds
    assert calls == [2]
    assert (seconds == 8001) == (place == "none fits")


def test_a_black_box_is_asked_nothing_for_a_forecast() -> None:
    box = ll.BlackBox(lambda x: x.mean((2, 3)), budget=200, outputs="logits", size=32)
    ll.explain(box, X[0], method="rise", n_masks=100)
    assert box.spent <= 103
    with pytest.raises(ll.errors.QueryBudget):
        ll.explain(box, X[0], method="rise", n_masks=100)
    assert box.spent <= 103


def test_long_work_is_announced(slow: ll.Classifier, capsys: pytest.CaptureFixture[str]) -> None:
    ll.explain(slow, X[0], method="rise", n_masks=400)
    line = said(capsys)
    assert line.startswith("limelight: explaining will take about 40 s: 401 passes of some 100 ms; most: rise 401")
    assert "set by n_masks=400 or budget=…" in line
    assert line.count("\n") == 1
    ll.compare(slow, X[0], [ll.method("rise", n_masks=200)], ["adcc"])
    assert "comparing will take about 40 s" in (line := said(capsys))
    assert "adcc 202 (explains again; leave it out)" in line
    ll.evaluate(slow, X.repeat(30, 1, 1, 1), ["smooth-grad"], ["complexity"])
    assert "evaluating will take about 7.5 min: 3,030 passes of some 150 ms for 30 pictures" in said(capsys)
    ll.sanity(slow, X.repeat(60, 1, 1, 1), ["gradient"])
    assert "sanity-cascading 360 (explains 3 times" in said(capsys)
    ll.propose(slow, ll.example_image(), ll.method("rise", n_masks=400))
    assert "proposing will take about" in said(capsys)
    ll.choose(slow, X.repeat(6, 1, 1, 1), [ll.method("rise", n_masks=100), "gradient"], "average-drop", first=2)
    assert "racing will take at most about" in (line := said(capsys))
    assert line.count("limelight:") == 1
    ll.check(slow, X.repeat(30, 1, 1, 1), "smooth-grad", "complexity", at_least=0)
    assert "evaluating will take about" in said(capsys)
    api.sanity_strip(slow, X[0], [ll.method("rise", n_masks=100)])
    assert "drawing will take about 40 s: 404 passes" in said(capsys)
    labelled = [Sample(x, f"{i}", label=int(i % 2)) for i, x in enumerate(X.repeat(301, 1, 1, 1))]
    with pytest.raises(ll.errors.InvalidOption, match="are recognised"):
        ll.mosaics(slow, labelled, confidence=1)
    assert "looking for sure pictures will take about 30 s: 301 passes" in said(capsys)


def test_short_work_is_done_without_a_word(slow: ll.Classifier, capsys: pytest.CaptureFixture[str]) -> None:
    ll.explain(slow, X[0], method="rise", n_masks=100)
    ll.explain(slow, X[0])
    ll.explain(slow, X[0], method="rise", n_masks=400, progress=False)
    ll.compare(slow, X[0], [ll.method("rise", n_masks=400)], ["complexity"], progress=False)
    ll.check(slow, X[0][None], ll.method("rise", n_masks=400), "complexity", at_least=0, progress=False)
    api.sanity_strip(slow, X[0], [ll.method("rise", n_masks=100)], progress=False)
    api.refusals(slow, X[0], [ll.method("rise", n_masks=400)], progress=False)
    with show_progress("the whole", False):
        ll.explain(slow, X[0], method="rise", n_masks=400, progress=True)
    assert said(capsys) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0.4 s"),
        (31.4, "31 s"),
        (99.6, "100 s"),
        (100, "1.7 min"),
        (390, "6.5 min"),
        (9000, "2.5 h"),
        (4e6, "46 d"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds).startswith(text)


# -- bars ----------------------------------------------------------------------------------------------------


def at_work(monkeypatch: pytest.MonkeyPatch, given: bool | None) -> None:
    """Do 6 000 passes in 60 s of a clock of our own."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    with show_progress("explaining", given) as watch:
        watch.expect(lambda: MINUTE)
        for _ in range(60):
            now[0] += 1
            count_passes(100)


def test_nobody_looks_at_a_pipe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    at_work(monkeypatch, None)
    assert said(capsys).count("\n") == 1  # the announcement
    at_work(monkeypatch, False)
    assert said(capsys) == ""
    at_work(monkeypatch, True)
    lines = said(capsys).splitlines()
    assert lines[1:] == [f"limelight: explaining: {percent} %" for percent in range(10, 101, 10)]


def test_forecasts_of_parts_are_put_together() -> None:
    both = Forecast.of_all([MINUTE, MINUTE.scale(0.5)], 7)
    assert (both.passes, both.seconds, both.images) == (9000, 90, 7)
    assert [(p.name, p.passes) for p in both.parts] == [("rise", 9000)]
    assert MINUTE.scale(0.5).parts[0].passes == 3000
    assert "rise 3,000 (set by" in str(MINUTE.scale(0.5))
    assert "passes of some 10 ms" in str(MINUTE)
    assert "6,000 passes of some 2.5 s;" in str(replace(MINUTE, seconds=15_000.0))


def test_a_bar_in_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich takes for a terminal
    monkeypatch.setenv("TERM", "xterm")
    with show_progress("explaining") as watch:
        watch.expect(lambda: Forecast(10, 1.0))
        monkeypatch.setattr(progress, "FIRST", 0.0)
        monkeypatch.setattr(progress, "PERIOD", 0.0)
        for _ in range(10):
            count_passes(1)
    assert "explaining" in (shown := said(capsys))
    assert "━" in shown


def test_commands_in_a_notebook_print_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as its kernel says
    monkeypatch.setenv("TTY_COMPATIBLE", "")
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    stay_plain_in_notebooks()
    assert Console().is_terminal
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    stay_plain_in_notebooks()
    assert not Console().is_terminal


def test_a_bar_in_a_notebook(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pages: list[str] = []
    handle = SimpleNamespace(update=pages.append)

    def display(page: str, display_id: bool) -> Any:
        assert display_id
        return handle

    shell = SimpleNamespace(kernel=object())
    fake = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", fake)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(HTML=str, display=display))
    at_work(monkeypatch, None)
    assert 'value="3000" max="6000"' in pages[29]
    assert pages[-2].endswith("100%")
    assert pages[-1] == "explaining: 60 s"
    assert said(capsys).count("\n") == 1


def test_the_whole_is_shown_not_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[float, float]] = []

    def display(what: str, everywhere: bool) -> tuple[Callable[[float, float], None], Callable[[float], None]]:
        assert what == "explaining"
        return (lambda done, total: shown.append((done, total))), lambda seconds: None

    monkeypatch.setattr(progress, "_display", display)
    monkeypatch.setattr(progress, "FIRST", 0.0)
    monkeypatch.setattr(progress, "PERIOD", 0.0)
    c = ll.Classifier(NET, size=32)
    with show_progress("explaining", times=3):
        for _ in range(3):
            ll.explain(c, X[0], method="rise", n_masks=50)
    assert shown[-1] == (3 * 51, 3 * 51)
    assert shown == sorted(shown)


def test_an_error_ends_a_bar() -> None:
    with pytest.raises(ZeroDivisionError), show_progress("explaining"):
        raise ZeroDivisionError
    with show_progress("comparing") as watch:
        assert watch.what == "comparing"
    count_passes(3)
    assert watch.done == 0
