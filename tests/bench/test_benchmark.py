"""Runs that are stopped, go on, fail in places, and are done in parts."""

import random
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from limelight import cli
from limelight.bench.plan import chunks, samples_of
from limelight.bench.recipe import Recipe
from limelight.bench.recipe_file import read_recipe
from limelight.bench.recipe_vary import vary_recipe
from limelight.bench.run import benchmark
from limelight.bench.store import Store, merge
from limelight.card import METHODS, register_method
from limelight.data.synthetic import TEST_SEEDS, Scene, scene
from limelight.errors import InvalidOption, WeightsUnavailable
from limelight.progress import Forecast

RECIPE = """
name = "small"
[data]
dataset = "{dataset}"
n = {n}
[models]
names = ["demo/resnet"]
[[methods]]
name = "grad-cam"
[[methods]]
name = "{second}"
label = "second"
[[metrics]]
name = "average-drop"
[[metrics]]
name = "complexity"
"""


def recipe_file(folder: Path, n: int = 6, second: str = "layer-cam", dataset: str = "scenes") -> Path:
    path = folder / "small.toml"
    path.write_text(RECIPE.format(n=n, second=second, dataset=dataset))
    return path


def numbers(folder: Path) -> dict[tuple[str, str, str], float]:
    rows = Store(folder).table().to_pylist()
    found = {(r["image"], r["method"], r["metric"]): r["value"] for r in rows}
    assert len(found) == len(rows)
    return found


def test_a_recipe_may_be_named(tmp_path: Path) -> None:
    """By its file, by a name of those that come with Limelight, or given as tables."""
    import limelight as ll

    file, run = recipe_file(tmp_path, n=1), tmp_path / "run"
    assert ll.benchmark(str(file), run).finished == 4
    assert ll.benchmark(tomllib.loads(file.read_text()), run).before == 4
    with pytest.raises(InvalidOption, match=r"no recipe 'dem'.*did you mean demo"):
        ll.benchmark("dem", tmp_path / "none")
    assert not (tmp_path / "none").exists()
    page = ll.report(run)
    assert page == run / "report.html"
    assert "grad-cam" in page.read_text()
    for suffix, begins in {".md": "# small", ".tex": r"\begin{table}"}.items():
        assert begins in ll.report(run, tmp_path / f"t{suffix}").read_text()
    with pytest.raises(InvalidOption, match=r"t\.pdf.*\.html, \.md or \.tex"):
        ll.report(run, tmp_path / "t.pdf")


def test_every_cell_once_and_as_evaluate_says(tmp_path: Path) -> None:
    import limelight as ll

    recipe = read_recipe(recipe_file(tmp_path))
    tally = benchmark(recipe, tmp_path / "run")
    assert (tally.cells, tally.finished, tally.before, tally.failed) == (24, 24, 0, 0)
    found = numbers(tmp_path / "run")
    results = ll.evaluate(
        "demo/resnet", samples_of(recipe, None), ["grad-cam", "layer-cam"], ["average-drop", "complexity"]
    )
    for row in results.rows:
        method = {"layer-cam": "second"}.get(row.method, row.method)
        for metric, value in row.values.items():
            assert found[row.image, method, metric] == pytest.approx(value, abs=1e-6)
    again = benchmark(recipe, tmp_path / "run")
    assert (again.finished, again.before) == (0, 24)


def test_a_larger_run_goes_on_from_a_smaller_one(tmp_path: Path) -> None:
    benchmark(read_recipe(recipe_file(tmp_path)), tmp_path / "run", limit=2)
    tally = benchmark(read_recipe(recipe_file(tmp_path)), tmp_path / "run")
    assert (tally.before, tally.finished) == (8, 16)


def test_shards_are_parts_that_merge(tmp_path: Path) -> None:
    parts = [list(chunks(100, (i, 3))) for i in range(3)]
    assert sorted(i for part in parts for chunk in part for i in chunk) == list(range(100))
    recipe = read_recipe(recipe_file(tmp_path, n=20))
    for i in range(2):
        benchmark(recipe, tmp_path / str(i), shard=(i, 2))
    merged = merge([tmp_path / "0", tmp_path / "1"], tmp_path / "all")
    assert merged.table().num_rows == 80
    assert benchmark(recipe, tmp_path / "all").finished == 0


def test_a_method_that_fails_costs_its_own_cells_only(tmp_path: Path) -> None:
    shown = []

    @register_method("failing", family="test", cites="none", cost="1 F")
    def failing(acts, image):
        """Fails on one picture."""
        shown.append(len(image))
        bright = image.mean((1, 2, 3))
        if bool(((bright - worst).abs() < 1e-5).any()):
            raise ValueError("no such luck")
        return acts.mean(1)

    try:
        import limelight as ll

        recipe = read_recipe(recipe_file(tmp_path, second="failing"))
        samples = samples_of(recipe, None)
        model = ll.load("demo/resnet")
        worst = model.preprocess(Image.fromarray(samples[3].image)).mean((0, 1, 2))
        tally = benchmark(recipe, tmp_path / "run")
        rows = Store(tmp_path / "run").table().to_pylist()
        worst = worst + 1  # what was wrong is mended
        assert benchmark(recipe, tmp_path / "run").finished == 0
        again = benchmark(recipe, tmp_path / "run", retry=True)
    finally:
        METHODS.own.pop("failing")
    assert (again.finished, again.failed, again.before) == (2, 0, 22)
    assert all(np.isfinite(value) for value in numbers(tmp_path / "run").values())
    assert tally.failed == 2
    assert {(r["image"], r["method"]) for r in rows if r["error"]} == {(samples[3].name, "second")}
    assert all("no such luck" in r["error"] for r in rows if r["error"])
    assert len(rows) == 24
    assert sum(np.isfinite(r["value"]) for r in rows) == 22


def test_pictures_that_nobody_would_look_at_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="draws its own pictures; leave data='photos' out"):
        benchmark(read_recipe("demo"), tmp_path / "run", data="photos")
    assert not (tmp_path / "run").exists()


def test_a_file_among_the_pictures_that_is_none(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i in range(3):
        Image.fromarray(scene(i, objects=1).image).save(pictures / f"{i}.png")
    (pictures / "1.png").write_bytes(b"no picture")
    recipe = read_recipe(recipe_file(tmp_path, dataset="folder"))
    tally = benchmark(recipe, tmp_path / "run", data=pictures)
    rows = Store(tmp_path / "run").table().to_pylist()
    assert tally.failed == 4
    assert {r["image"] for r in rows if r["error"]} == {"1.png"}
    assert all("1.png" in r["error"] for r in rows if r["error"])


def wanting(rule: str, seed: int) -> Recipe:
    entries = {"methods": [{"name": "grad-cam"}], "metrics": [{"name": "complexity"}]}
    return Recipe(name="few", data={"n": 4, "rule": rule, "seed": seed}, models={"names": ["demo/resnet"]}, **entries)


def test_of_many_scenes_only_those_that_are_wanted_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def counted(seed: int, **options: Any) -> Scene:
        drawn.append(seed)
        return scene(seed, **options)

    monkeypatch.setattr("limelight.bench.plan.scene", counted)
    given = wanting("first", 1).model_dump()
    many = Recipe(**given | {"data": {"dataset": "scenes", "n": 99_999}})
    few = samples_of(many, None, limit=3)
    assert [s.name for s in few] == ["scene-00000", "scene-49999", "scene-99998"]
    named = samples_of(many, None, names={"scene-49999", "of another run"})
    assert [s.name for s in named] == ["scene-49999"]
    assert drawn == [TEST_SEEDS, TEST_SEEDS + 49_999, TEST_SEEDS + 99_998, TEST_SEEDS + 49_999]
    np.testing.assert_array_equal(named[0].image, few[1].image)


@pytest.mark.parametrize("rule", ["first", "even", "random"])
def test_which_pictures(tmp_path: Path, rule: str) -> None:
    for i in range(10):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / f"{i}.png")
    found = [s.name for s in samples_of(wanting(rule, 1), tmp_path)]
    assert len(set(found)) == 4
    assert found == sorted(found)
    if rule == "random":
        assert found == [s.name for s in samples_of(wanting(rule, 1), tmp_path)]
        assert found != [s.name for s in samples_of(wanting(rule, 2), tmp_path)]
    else:
        assert (
            found == {"first": ["0.png", "1.png", "2.png", "3.png"], "even": ["0.png", "3.png", "6.png", "9.png"]}[rule]
        )


@pytest.mark.slow
def test_killed_at_random_and_resumed(tmp_path: Path) -> None:
    """A real process, killed ten times at any moment: the rows are those of a run that nobody disturbed."""
    path = recipe_file(tmp_path, n=64)
    command = [sys.executable, "-m", "limelight", "benchmark", str(path), "--out", str(tmp_path / "killed")]
    moments = random.Random(0)
    kills = 0
    for _ in range(10):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        before = len(list((tmp_path / "killed" / "rows").glob("*.parquet")))
        # The import takes most of the time: the clock starts when rows begin to appear, or sometimes before.
        while moments.random() > 0.002 and process.poll() is None and time.monotonic() < deadline:
            if len(list((tmp_path / "killed" / "rows").glob("*.parquet"))) > before:
                break
            time.sleep(0.005)
        time.sleep(0.2 * moments.random())
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills >= 3
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    benchmark(read_recipe(path), tmp_path / "quiet")
    killed, quiet = numbers(tmp_path / "killed"), numbers(tmp_path / "quiet")
    assert killed.keys() == quiet.keys()
    for cell, value in quiet.items():
        assert killed[cell] == pytest.approx(value, abs=1e-6, nan_ok=True)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recipe_file(tmp_path, n=2)
    for arguments, code, said in (
        (["--out", str(tmp_path / "run")], 0, "8 cells measured"),
        (["--out", str(tmp_path / "run")], 0, "8 were there"),
        (["--out", str(tmp_path / "run"), "--shard", "3/2"], 2, "1 <= I <= N"),
        (["--out", str(tmp_path / "run"), "--shard", "x"], 2, "expected I/N"),
        (["--out", str(path)], 2, "can't write to"),
    ):
        with pytest.raises(SystemExit) as done:
            cli.main(["benchmark", str(path), *arguments])
        printed = capsys.readouterr()
        assert (done.value.code or 0) == code
        assert said in " ".join((printed.out + printed.err).split())


def test_models_without_weights_are_left_out(tmp_path: Path) -> None:
    recipe = vary_recipe(read_recipe(recipe_file(tmp_path)), more_models=["torchvision/resnet18=/nowhere/weights.pt"])
    tally = benchmark(recipe, tmp_path / "run")
    assert (tally.cells, tally.finished, tally.failed) == (24, 24, 0)
    assert "/nowhere/weights.pt" in tally.left_out["torchvision/resnet18"]
    assert Store(tmp_path / "run").notes["left_out"] == tally.left_out
    with pytest.raises(WeightsUnavailable, match=r"/nowhere/weights\.pt"):
        benchmark(vary_recipe(recipe, models=["demo/vgg=/nowhere/weights.pt"]), tmp_path / "none")


def test_random_weights_are_the_same_each_time(tmp_path: Path) -> None:
    recipe = vary_recipe(read_recipe(recipe_file(tmp_path, n=2)), models=["demo/resnet=none"])
    assert benchmark(recipe, tmp_path / "run").finished == 8
    assert benchmark(recipe, tmp_path / "run").before == 8


def test_all_of_a_run_is_announced_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before it begins, and of one that goes on only what is left; no part of it says anything, nor does a thread."""
    monkeypatch.setattr("limelight.api.forecasting._seconds", lambda *_: 1.0)
    forecasts: list[Forecast] = []
    recipe, out = recipe_file(tmp_path, n=40), tmp_path / "run"
    for arguments in (("--limit", "20"), ("--device", "cpu,cpu")):
        with pytest.raises(SystemExit):
            cli.main(["benchmark", str(recipe), "--out", str(out), *arguments])
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("limelight:")]
        assert line.startswith("limelight: measuring small will take about")
        assert "for 20 pictures; most: average-drop 80" in line
        assert line.endswith("; --limit N takes fewer pictures")
    benchmark(read_recipe(recipe), out, on_forecast=forecasts.append)
    assert forecasts == []
