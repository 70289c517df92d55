"""Scores of a run as arrays: their figures are those of ``Results``."""

from pathlib import Path

import numpy as np
import pytest

from limelight.bench.store import Store, recipe_of
from limelight.pages.scores import levels
from limelight.pages.scores.bootstrap import bootstrap_intervals
from limelight.pages.scores.model import MetricScores
from limelight.pages.scores.read import read_scores
from limelight.pages.scores.summarize import summarize
from limelight.pages.scores.swaps import compare_pairs
from report.small_run import METHODS, draw_cells, settings_of, summary_of


@pytest.mark.parametrize("images", [8, 40])  # all swaps, and random ones
def test_figures_are_those_of_results(tmp_path: Path, images: int) -> None:
    settings = settings_of()
    made = [*draw_cells("demo/resnet", images, 0), *draw_cells("demo/vgg", images, 1, METHODS[:3])]
    store = Store(tmp_path, settings)
    store.add(made)
    models, _, failures = read_scores(store, recipe_of(store))
    assert [scores.model for scores in models] == ["demo/resnet", "demo/vgg"]
    assert not failures
    for scores, summary in zip(models, summarize(models), strict=True):
        expected = summary_of(made, settings, scores.model)
        assert [(f.method, f.metric) for f in summary] == [(f.method, f.metric) for f in expected]
        for ours, theirs in zip(summary, expected, strict=True):
            for name in ("mean", "low", "high", "spent"):
                assert getattr(ours, name) == pytest.approx(getattr(theirs, name), abs=1e-9, nan_ok=True), (
                    ours,
                    theirs,
                )
            for name in ("images", "undefined", "degenerate", "rank", "like_best"):
                assert getattr(ours, name) == getattr(theirs, name), (ours, theirs)


def test_many_images_have_the_figures_that_draws_give(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    n = 900
    hard = rng.random((n, 1, 1))
    values = 0.4 * hard + 0.3 * rng.random((n, 4, 3)) + 0.01 * np.arange(4)[:, None]
    groups = rng.integers(9, size=n)
    metrics = [
        MetricScores("mean", values[..., :1], None),
        MetricScores("class-mean", values[..., :1], groups),
        MetricScores("adcc", values, None),
    ]
    drawn = bootstrap_intervals(metrics, 0), compare_pairs(metrics, 0)
    monkeypatch.setattr(levels, "MANY_IMAGES", 500)
    normal = bootstrap_intervals(metrics, 0), compare_pairs(metrics, 0)
    for a, b in zip(drawn[0], normal[0], strict=True):
        width = a[:, 1] - a[:, 0]
        assert (np.abs(a - b) < 0.05 * width[:, None]).all()
    for a, b in zip(drawn[1], normal[1], strict=True):
        assert np.abs(a - b).max() < 0.02
    p = np.concatenate(normal[1])
    assert p.min() < 0.01 < 0.05 < p.max()  # some differ, some do not
