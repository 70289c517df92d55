"""Sentences of the demonstration about the scores of maps."""

import math
from dataclasses import replace

import limelight as ll
from limelight.pages.demo.scores import (
    CONTROLS,
    EVALUATED,
    QUESTIONS,
    describe_fake_cam,
    explain_marks,
    score_tables,
)
from limelight.results.row import Column
from limelight.results.summary import Figure, Summary


def test_the_words_follow_the_numbers() -> None:
    """Were the maps that know nothing the worst by all metrics, the page would not say otherwise."""

    def figure(method: str, metric: str) -> Figure:
        good = method in EVALUATED
        mean = float(good == (cards[metric].better == "higher"))
        return Figure(method, metric, mean, mean, mean, 24, 0, 0, 1 if good else 4, good, 0)

    cards = ll.metrics()
    columns = {metric: Column(metric, "", cards[metric].better) for metric in QUESTIONS}
    figures = [figure(method, metric) for method in (*EVALUATED, *CONTROLS) for metric in columns]
    summary = Summary(figures, columns, 0.95)
    assert explain_marks(summary)[1] == "None of the maps that know nothing has a mark."
    assert "loses 1.00 of its probability. ADCC" in describe_fake_cam(summary)
    first, second = score_tables(summary)
    assert first.columns[1:] == ["proportion ↑", "pointing-game ↑", "average-drop ↓"]
    assert first.rows[0] == ["grad-cam", "1.00* (1.00–1.00)", "1.00* (1.00–1.00)", "0.00* (0.00–0.00)"]
    assert second.rows[-1] == ["fake-cam", "0.00 (0.00–0.00)", "0.00 (0.00–0.00)", "1.00 (1.00–1.00)"]

    unknown = [replace(f, mean=math.nan, low=math.nan, high=math.nan) for f in figures]
    first, _ = score_tables(Summary(unknown, columns, 0.95))
    assert first.rows[0] == ["grad-cam", "–", "–", "–"]
