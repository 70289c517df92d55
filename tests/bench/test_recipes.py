"""The recipes that ship: that they can be run as they stand, and that the papers' numbers find ours."""

import csv
import json
from pathlib import Path

import pytest

from limelight import zoo
from limelight.bench.plan import settings
from limelight.bench.recipe import Recipe
from limelight.bench.recipe_file import read_recipe
from limelight.bench.recipe_parse import parse_recipe
from limelight.bench.recipe_tables import Paper
from limelight.bench.recipe_vary import vary_recipe
from limelight.zoo import torchray

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.toml"))

PUBLISHED = [
    *("adcc-table1", "adcc-table2", "cluster-cam-table1", "cluster-cam-table2"),
    *("cluster-cam-fig5", "cluster-cam-fig6", "cluster-cam-fig7"),
    *(
        "ae-table1",
        "ae-table2",
        "ae-table3",
        "ae-gridpg",
        "ae-fig7",
        "ae-fig8",
        "ae-fig10",
        "ae-fig10-networks",
        "ae-fig11",
    ),
    *("aop-table1", "aop-table2", "aop-table3", "aop-fig4"),
    *("collection-cam-table1", "collection-cam-table2", "collection-cam-table3", "collection-cam-table4"),
    *("collection-cam-fig2", "collection-cam-fig8"),
]

MEASURED_ANYWAY = {"seconds"}
"""What a paper counts as a metric and every run has as a column."""

WITHOUT_OURS = {
    ("aop-table2", "mean-of-3", "overall"): "a mean over models, which is no model of a run",
}
"""Rows of the papers (recipe, model, metric) that have nothing beside them, and why."""


@pytest.fixture(scope="module")
def recipes() -> dict[str, Recipe]:
    return {path.stem: read_recipe(path) for path in RECIPES}


def rows_of(recipe: Recipe) -> list[dict[str, str]]:
    if not recipe.paper.table:
        return []
    with (ROOT / "recipes" / recipe.paper.table).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_table_has_a_recipe_that_is_called_like_its_file(recipes: dict[str, Recipe]):
    assert set(PUBLISHED) <= set(recipes)
    assert [recipe.name for recipe in recipes.values()] == list(recipes)


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_methods_and_metrics_build_for_every_model(path: Path, recipes: dict[str, Recipe]):
    recipe = recipes[path.stem]
    for model in recipe.models.names:
        labels = [e.label or e.name for e in recipe.methods if not e.only or model in e.only]
        assert list(recipe.methods_of(model)) == labels
    assert list(recipe.metrics_by_label) == [e.label or e.name for e in recipe.metrics]


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_the_settings_of_a_run_are_read_again(path: Path, recipes: dict[str, Recipe]):
    recipe = recipes[path.stem]
    written = json.loads(json.dumps(settings(recipe)["recipe"]))
    assert parse_recipe(written, "settings.json") == recipe.model_copy(update={"about": "", "paper": Paper()})


def test_what_a_run_keeps_of_a_recipe_is_the_recipe(recipes: dict[str, Recipe]):
    """Read again for its report, and made anew for other networks; also where pictures are resized in one way only."""
    for recipe in recipes.values():
        again = parse_recipe(settings(recipe)["recipe"], recipe.name)
        assert settings(again) == settings(recipe), recipe.name
        other = vary_recipe(recipe, models=["demo/vgg"])
        functions = [one.preprocess and one.preprocess.function for one in (recipe, again, other)]
        assert functions == functions[:1] * 3, recipe.name


def test_models_are_known_and_have_the_weights_they_are_given(recipes: dict[str, Recipe]):
    from torchvision.models import get_model_weights

    families = zoo.available("torchvision", "sliding", "torchray", "demo")
    known = {f"{family}/{name}" for family, names in families.items() for name in names}
    for recipe in recipes.values():
        assert set(recipe.models.names) <= known
        for model in recipe.models.names:
            weights = recipe.weights(model)
            if weights != "DEFAULT" and not weights.endswith(".safetensors"):
                family, _, name = model.partition("/")
                entries = (
                    {data for _, data in torchray.FILES}
                    if family == "torchray"
                    else get_model_weights(name).__members__
                )
                assert weights in entries, recipe.name


def test_layers_are_modules_of_their_models(recipes: dict[str, Recipe]):
    """Built without memory, so that no weights are made."""
    import torch
    from torchvision import models

    modules: dict[str, set[str]] = {}
    for recipe in recipes.values():
        for model in recipe.models.names:
            family, _, name = model.partition("/")
            if family == "demo":
                continue
            if model not in modules:
                given = {"init_weights": False} if "inception" in model else {}
                with torch.device("meta"):  # a sliding network has torchvision's features
                    made = (
                        torchray.build(name) if family == "torchray" else models.get_model(name, weights=None, **given)
                    )
                modules[model] = {name for name, _ in made.named_modules()}
            for label, method in recipe.methods_of(model).items():
                assert set(method.layers or ()) <= modules[model], f"{recipe.name}: {label} on {model}"


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_every_row_of_the_paper_has_a_cell_of_ours(path: Path, recipes: dict[str, Recipe]):
    recipe = recipes[path.stem]
    rows = rows_of(recipe)
    ours = {
        (model, method, metric)
        for model in recipe.models.names
        for method in recipe.methods_of(model)
        for metric in {*recipe.metrics_by_label, *MEASURED_ANYWAY}
    }
    for row in rows:
        if (recipe.name, row["model"], row["metric"]) not in WITHOUT_OURS:
            assert (row["model"], row["method"], row["metric"]) in ours
    theirs = {(row["model"], row["method"], row["metric"]) for row in rows}
    assert len(theirs) == len(rows), "two rows for one cell"
    if rows:  # every metric of the paper's table is ours, and every method of ours the paper's
        assert {metric for _, _, metric in theirs} <= {*recipe.metrics_by_label, *MEASURED_ANYWAY}
        methods = {method for model in recipe.models.names for method in recipe.methods_of(model)}
        assert methods == {method for _, method, _ in theirs}


def test_the_papers_numbers_are_in_our_units(recipes: dict[str, Recipe]):
    for recipe in recipes.values():
        for row in rows_of(recipe):
            value, metric = float(row["value"]), row["metric"]
            assert value > 0, (recipe.name, row)
            if metric not in MEASURED_ANYWAY:
                card = recipe.metrics_by_label[metric].card
                assert card.low is None or value >= card.low, (recipe.name, row)
                assert card.high is None or value <= card.high, (recipe.name, row)


def test_percentages_became_fractions():
    """One number of each form, from the papers' pages."""
    found = {
        (path.stem, row["model"], row["method"], row["metric"]): row["value"]
        for path in (ROOT / "recipes" / "papers").glob("*.csv")
        for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    }
    assert float(found["adcc-table2", "torchvision/vgg16", "Grad-CAM", "adcc"]) == 0.5352
    assert float(found["ae-table1", "torchray/resnet50", "Grad-CAM", "pointing-game DIF-L"]) == 0.823
    assert float(found["collection-cam-table2", "torchvision/resnet101", "Score-CAM", "seconds"]) == 20.58498
    assert float(found["aop-table2", "mean-of-3", "SIGCAM", "overall"]) == 0.4204


def test_every_table_of_numbers_belongs_to_a_recipe(recipes: dict[str, Recipe]):
    used = {recipe.paper.table for recipe in recipes.values()} - {""}
    assert used == {f"papers/{path.name}" for path in (ROOT / "recipes" / "papers").glob("*.csv")}


def test_the_readme_lists_every_recipe():
    text = (ROOT / "recipes" / "README.md").read_text(encoding="utf-8")
    assert [path.stem for path in RECIPES if f"`{path.stem}`" not in text] == []


def test_weights_of_one_model_go_before_those_of_all(recipes: dict[str, Recipe]):
    parts = recipes["collection-cam-table3"].parts
    assert list(parts) == ["imagenet", "cub200", "ucm"]
    assert parts["cub200"].weights("torchvision/vgg19") == "checkpoints/vgg19-cub200.safetensors"
    assert parts["imagenet"].weights("torchvision/vgg19") == "IMAGENET1K_V1"
    assert recipes["adcc-table1"].weights("torchvision/vgg16") == "IMAGENET1K_V1"
