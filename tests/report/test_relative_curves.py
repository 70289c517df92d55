"""Curves that are relative to something: a report has those of ``Results``."""

from pathlib import Path

import numpy as np
import pytest

import limelight as ll
from limelight.bench.recipe_file import read_recipe
from limelight.bench.run import benchmark
from limelight.bench.store import Store
from limelight.data.synthetic import test_split as split
from limelight.pages.scores.curves import read_curves
from limelight.pages.scores.read import read_scores
from small_recipe import small


@pytest.mark.slow
def test_relative_curves_of_a_run(tmp_path: Path) -> None:
    table = '[[metrics]]\nname = "morf-insertion"\npoints = 3\nlargest = 0.9\nrelative = true\n'
    recipe = small(tmp_path, data='[data]\ndataset = "scenes"\nn = 4\n', metrics=table, top='name = "small"\n')
    made = read_recipe(recipe)
    benchmark(made, tmp_path / "run")
    store = Store(tmp_path / "run")
    scores, *_ = read_scores(store, made)
    (curves,) = read_curves(store, scores)
    metric = ll.metric("morf-insertion", points=3, largest=0.9, relative=True)
    results = ll.evaluate("demo/resnet", split(4), "grad-cam", metric)
    found = curves["morf-insertion"]["grad-cam"][0]
    np.testing.assert_allclose(found, results.curves("morf-insertion")["grad-cam"])
    assert scores[0].by_metric[0].figures[0] == results.summary()["grad-cam", "morf-insertion"].mean
