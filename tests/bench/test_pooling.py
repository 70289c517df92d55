"""Runs of several data sets: measured at once or put together later, reported together and apart."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.commands import run
from limelight.bench.recipe import Recipe
from limelight.bench.recipe_file import list_shipped, read_recipe
from limelight.bench.recipe_parse import make_recipe, parse_recipe
from limelight.bench.recipe_vary import vary_recipe
from limelight.bench.run import benchmark
from limelight.bench.store import Store, pool
from limelight.data.synthetic import test_split
from limelight.errors import InvalidOption, ProtocolMismatch
from limelight.pages.benchmark import open_run, to_markdown

REST = """
[models]
names = ["demo/resnet"]
[[methods]]
name = "grad-cam"
[[methods]]
name = "centre-map"
[[metrics]]
name = "average-drop"
[[metrics]]
name = "complexity"
"""
FEW, SMALL = 'dataset = "scenes"\nn = 3\n', 'dataset = "scenes"\nn = 2\nseed = 50\n'
SHRUNK = f"{SMALL}preprocess = {{ resize = [64, 64] }}\n"
BOTH = f'name = "both"\n[[data]]\nname = "few"\n{FEW}[[data]]\nname = "small"\n{SHRUNK}'


def recipe(folder: Path, text: str) -> Recipe:
    path = folder / "recipe.toml"
    path.write_text(text + REST)
    return read_recipe(path)


def rows(folder: Path) -> dict[int, tuple[str, str, str, float]]:
    table = Store(folder).table().to_pylist()
    return {r["key"]: (r["image"], r["method"], r["metric"], r["value"]) for r in table}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two data sets, and one of each alone."""
    tmp_path = tmp_path_factory.mktemp("runs")
    benchmark(recipe(tmp_path, BOTH), tmp_path / "both")
    benchmark(recipe(tmp_path, f'name = "few"\n[data]\n{FEW}'), tmp_path / "few")
    alone = f'name = "small"\n[data]\n{SMALL}[preprocess]\nresize = [64, 64]\n'
    benchmark(recipe(tmp_path, alone), tmp_path / "small")
    return tmp_path


def test_measured_at_once_or_put_together_later(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("merge", "--pool", runs / "few", runs / "small", "--out", runs / "pooled") == 0
    assert "20 cells" in capsys.readouterr().out
    at_once, later = rows(runs / "both"), rows(runs / "pooled")
    assert at_once == later
    assert {image.split("/")[0] for image, *_ in later.values()} == {"few", "small"}
    for name in ("few", "small"):
        alone = {(f"{name}/{image}", *rest) for image, *rest in rows(runs / name).values()}
        assert alone == {row for row in later.values() if row[0].startswith(f"{name}/")}
    assert benchmark(recipe(runs, BOTH), runs / "both").finished == 0  # it goes on where it was
    assert pool([runs / "pooled", runs / "both"], runs / "again").table(["key"]).num_rows == 20


def test_the_report_has_them_together_and_apart(runs: Path) -> None:
    opened = open_run(runs / "both")
    (together,), apart = opened.models, opened.apart
    assert [(s.model, len(s.images)) for s in apart] == [("demo/resnet on few", 3), ("demo/resnet on small", 2)]
    assert len(together.images) == 5
    for scores, name in zip(apart, ("few", "small"), strict=True):
        alone = open_run(runs / name).models[0]
        assert np.array_equal(scores.values, alone.values)
    weighted = (3 * apart[0].values.mean(2) + 2 * apart[1].values.mean(2)) / 5
    assert np.allclose(together.values.mean(2), weighted)
    page = to_markdown(opened)
    assert page.index("## demo/resnet, 5 pictures") < page.index("## demo/resnet on few, 3 pictures")


@pytest.mark.slow
def test_the_page_has_them_too(runs: Path) -> None:
    assert run("report", runs / "both") == 0
    html = (runs / "both/report.html").read_text()
    assert "demo/resnet on small" in html


def test_classes_of_different_data_sets_are_told_apart(runs: Path) -> None:
    scores = open_run(runs / "both").models[0]
    pairs = {
        (name.split("/")[0], int(target)): int(own)
        for name, target, own in zip(scores.images, scores.targets, scores.classes, strict=True)
    }
    assert len(set(pairs.values())) == len(pairs)


def test_pictures_are_found_by_the_data_sets_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder, scene in zip(("one", "two"), test_split(2), strict=True):
        (tmp_path / folder).mkdir()
        Image.fromarray(scene.image).save(tmp_path / folder / "photo.png")
    path = tmp_path / "recipe.toml"
    path.write_text('name = "two"\n[[data]]\nname = "a"\n[[data]]\nname = "b"\n' + REST)
    places = [f"--data={name}={tmp_path / folder}" for name, folder in (("a", "one"), ("b", "two"))]
    assert run("benchmark", path, *places, "--out", tmp_path / "run") == 0
    assert {image for image, *_ in rows(tmp_path / "run").values()} == {"a/photo.png", "b/photo.png"}
    for wrong, said in (([places[0], f"--data={tmp_path}"], "NAME=PATH"), ([places[0]], "say with --data")):
        assert run("benchmark", path, *wrong, "--out", tmp_path / "other") == 2
        assert said in capsys.readouterr().err
    with pytest.raises(InvalidOption, match="no data set of the recipe two"):
        benchmark(read_recipe(path), tmp_path / "other", data={"c": tmp_path})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ('[[data]]\ndataset = "scenes"\n[[data]]\ndataset = "scenes"\n', "two data sets are called 'scenes'"),
        ('[[data]]\ndataset = "scenes"\nsplt = "a"\n', r"unknown key 'data.0.splt'; did you mean split"),
        ('[[data]]\nname = "a/b"\n', r"data.0.name = 'a/b'"),
        ('[[data]]\n[data.weights_of]\n"demo/x" = "y"\n', "'demo/x', which is no model here"),
        ("data = []\n", "data = "),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, data: str, said: str) -> None:
    with pytest.raises(InvalidOption, match=said):
        recipe(tmp_path, f'name = "wrong"\n{data}')


def test_only_pictures_and_heads_may_differ(runs: Path) -> None:
    text = f'name = "other"\ntarget = "label"\n[data]\n{FEW}'
    benchmark(recipe(runs, text), runs / "other")
    with pytest.raises(ProtocolMismatch, match="target is 'label' in one"):
        pool([runs / "few", runs / "other"], runs / "none")
    text = f'name = "few"\n[data]\n{FEW}seed = 9\n'
    benchmark(recipe(runs, text), runs / "namesake")
    with pytest.raises(ProtocolMismatch, match="another name"):
        pool([runs / "few", runs / "namesake"], runs / "none")
    assert not (runs / "none").exists()


@pytest.mark.parametrize("name", list_shipped())
def test_recipes_are_read_again_from_the_settings_of_their_runs(name: str) -> None:
    shipped = read_recipe(name)
    again = parse_recipe(json.loads(json.dumps(shipped.model_dump(mode="json"))), name)
    assert again.model_dump() == shipped.model_dump()


def test_other_pictures_and_networks_in_place_of_several() -> None:
    several = read_recipe("collection-cam-table3")
    assert vary_recipe(several, dataset="folder").pictures.n == 790
    fewer = vary_recipe(several, models=["torchvision/resnet18"])
    assert list(fewer.parts["ucm"].models.weights_of) == ["torchvision/resnet18"]
    assert make_recipe(fewer.model_dump(), "again") == fewer
