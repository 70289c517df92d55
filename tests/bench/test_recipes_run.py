"""Every recipe runs from its file to its page, on two pictures of stand-in data and networks with random weights.

Mosaics are made of pictures that are recognised, for which the last layers are fitted.
"""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from bench.narrow_networks import build_narrow, fit_weights, write_weights
from bench.stand_ins import write_data_sets
from cli.commands import run
from limelight import zoo
from limelight.bench.plan import prepare_model, samples_of
from limelight.bench.recipe_file import read_recipe
from pages import check

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.toml"))

CLASSES = {
    "imagenet": 1000,
    "imagenet-seg": 1000,
    "voc2007": 20,
    "coco2014": 80,
    "coco2017": 80,
    "cub200": 200,
    "ucm": 21,
}

SMALLER = {
    r"resize = \[\d+, \d+\]": "resize = [SIDE, SIDE]",
    r"resize_shorter = \d+": "resize_shorter = SIDE",
    r"center_crop = [1-9]\d+": "center_crop = SIDE",
    r"grid = 224": "grid = SIDE",  # of a map of noise, which is as large as the picture
}
"""Sizes; but for networks whose classifier slides, and needs a picture of its own size at least."""

CHEAPER = {
    r"n_masks = 8000": "n_masks = 40",
    r'name = "(emp|i-gos|sigcam)"': r'name = "\1"\nn = 2',  # steps
    r'name = "aop"': 'name = "aop"\noptimiser_options = { n = 2 }',
    r'name = "xrai"': 'name = "xrai"\nsteps = 4',  # points of integrated gradients
}
"""What a user would change in a copy of a recipe to try it within seconds. Nothing that is measured is left out."""


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data_sets(tmp_path_factory.mktemp("disk"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return tmp_path


def cheaper(path: Path, folder: Path) -> Path:
    """Write a copy of a recipe, with the paper's numbers beside it."""
    text = path.read_text(encoding="utf-8")
    if path.stem in ("aop-table2", "aop-fig4"):  # Inception, which is slow to try, runs in aop-table1
        text = text.replace(', "torchvision/inception_v3"', "").replace(
            '"torchvision/inception_v3" = ["Mixed_7c"]\n', ""
        )
    slides = re.search('"(torchray|sliding)/', text)
    side = "128" if "torchvision/inception" in text else "96" if "alexnet" in text else "64"
    for pattern, cheap in (CHEAPER if slides else SMALLER | CHEAPER).items():
        text = re.sub(rf"^{pattern}", cheap.replace("SIDE", side), text, flags=re.MULTILINE)
    shutil.copytree(ROOT / "recipes/papers", folder / "papers")
    (folder / path.name).write_text(text, encoding="utf-8")
    return folder / path.name


@pytest.mark.slow
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_runs_and_its_report_opens(
    path: Path, disk: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = cheaper(path, folder)
    if path.stem != "demo":  # its networks are small and have weights of their own
        build_narrow(monkeypatch)
    recipe = read_recipe(copy)
    for part in recipe.parts.values():
        for model in part.models.names:
            if not model.startswith("demo/"):
                write_weights(model, part.weights(model), CLASSES[part.pictures.dataset])
    where = ["--data", disk] if copy.stem != "demo" else []
    if "[data.mosaics]" in copy.read_text(encoding="utf-8"):
        # Mosaics are made of pictures that every network names rightly, of which those of random weights have none.
        assert run("benchmark", copy, *where, "--limit", 2, "--out", "refused") == 2
        assert "0 of 12 pictures are recognised" in capsys.readouterr().err
        pictures = samples_of(recipe, disk)
        for model in recipe.models.names:
            plain = zoo.load(model.replace("sliding/", "torchvision/"), weights=recipe.weights(model))
            fit_weights(model, recipe.weights(model), prepare_model(recipe, plain), pictures)
    assert run("benchmark", copy, *where, "--limit", 2, "--out", "run", "--json") == 0
    done = json.loads(capsys.readouterr().out)
    rows = sum(len(recipe.methods_of(model)) for model in recipe.models.names)
    assert done["cells"] == done["finished"] == 2 * len(recipe.parts) * rows * len(recipe.metrics)
    assert (done["failed"], done["left_out"], done["unreadable"]) == (0, {}, {})
    shown = where if len(recipe.parts) == 1 else []  # of several data sets together the page shows no maps
    assert run("report", "run", *shown) == 0
    page = check(folder / "run/report.html", script=True)
    for label in {*recipe.metrics_by_label, *(m for name in recipe.models.names for m in recipe.methods_of(name))}:
        assert label in page.text
    if recipe.paper.table and not all(metric.at_least for metric in recipe.metrics):  # random weights are never sure
        assert re.search(r"of the paper’s \d+ numbers", page.text)
