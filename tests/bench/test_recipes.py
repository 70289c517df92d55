"""The recipes that ship: that they can be run as they stand, and that the papers' numbers find ours."""

import csv
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import limelight as ll
from limelight import zoo
from limelight.bench.plan import CHUNK, Job, images_at_once
from limelight.bench.recipe import MOST_SCENES, MetricEntry, Recipe, checked, read_recipe, schema
from limelight.errors import InvalidOption, LimelightError, UnknownMethod, UnknownMetric

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.toml"))
SCHEMA = ROOT / "docs" / "recipe.schema.json"

PUBLISHED = [
    *("adcc-table1", "adcc-table2", "cluster-cam-table1", "cluster-cam-table2"),
    *("ae-table1", "ae-table2", "ae-table3", "ae-gridpg", "ae-fig8", "ae-fig10"),
    *("aop-table1", "aop-table2", "aop-table3"),
    *("collection-cam-table1", "collection-cam-table2", "collection-cam-table3", "collection-cam-table4"),
    "collection-cam-fig2",
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


def test_what_is_wrong_with_a_value_is_said_in_our_words():
    given = tomllib.loads(Path(ROOT / "recipes" / "demo.toml").read_text(encoding="utf-8"))
    for key, value, said in (
        ("name", "a\udcff", "name = 'a\\udcff': it is no valid text"),
        ("data", {"n": -1}, "data.n = -1: Input should be greater than or equal to 1 or Input should be 'all'"),
        (
            "data",
            {"n": MOST_SCENES + 1, "dataset": "scenes"},
            "data.n = 100001: of scenes, which are drawn, there may be",
        ),
        ("preprocess", {"center_crop": 10**9}, "preprocess.center_crop = 1000000000: Input should be less than"),
    ):
        with pytest.raises(InvalidOption, match="^" + re.escape(f"demo: {said}")):
            checked(given | {key: value}, "demo")
    with pytest.raises(InvalidOption) as error:
        ll.method("rise", seed="x y " * 3000)
    assert len(str(error.value)) < 300


def test_every_table_has_a_recipe_that_is_called_like_its_file(recipes: dict[str, Recipe]):
    assert set(PUBLISHED) <= set(recipes)
    assert [recipe.name for recipe in recipes.values()] == list(recipes)


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_methods_and_metrics_build_for_every_model(path: Path, recipes: dict[str, Recipe]):
    recipe = recipes[path.stem]
    for model in recipe.models.names:
        labels = [e.label or e.name for e in recipe.methods if not e.only or model in e.only]
        assert list(recipe.methods_of(model)) == labels
    assert list(recipe.judges) == [e.label or e.name for e in recipe.metrics]


def test_models_are_known_and_have_the_weights_they_are_given(recipes: dict[str, Recipe]):
    from torchvision.models import get_model_weights

    known = {f"{family}/{name}" for family, names in zoo.available("torchvision", "demo").items() for name in names}
    for recipe in recipes.values():
        assert set(recipe.models.names) <= known
        for model in recipe.models.names:
            weights = recipe.weights(model)
            if weights != "DEFAULT" and not weights.endswith(".safetensors"):
                assert weights in get_model_weights(model.removeprefix("torchvision/")).__members__, recipe.name


def test_layers_are_modules_of_their_models(recipes: dict[str, Recipe]):
    """Built without memory, so that no weights are made."""
    import torch
    from torchvision import models

    modules: dict[str, set[str]] = {}
    for recipe in recipes.values():
        for model in recipe.models.names:
            if not model.startswith("torchvision/"):
                continue
            if model not in modules:
                given = {"init_weights": False} if "inception" in model else {}
                with torch.device("meta"):
                    made = models.get_model(model.removeprefix("torchvision/"), weights=None, **given)
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
        for metric in {*recipe.judges, *MEASURED_ANYWAY}
    }
    for row in rows:
        if (recipe.name, row["model"], row["metric"]) not in WITHOUT_OURS:
            assert (row["model"], row["method"], row["metric"]) in ours
    theirs = {(row["model"], row["method"], row["metric"]) for row in rows}
    assert len(theirs) == len(rows), "two rows for one cell"
    if rows:  # every metric of the paper's table is ours, and every method of ours the paper's
        assert {metric for _, _, metric in theirs} <= {*recipe.judges, *MEASURED_ANYWAY}
        methods = {method for model in recipe.models.names for method in recipe.methods_of(model)}
        assert methods == {method for _, method, _ in theirs}


def test_the_papers_numbers_are_in_our_units(recipes: dict[str, Recipe]):
    for recipe in recipes.values():
        for row in rows_of(recipe):
            value, metric = float(row["value"]), row["metric"]
            assert value > 0, (recipe.name, row)
            if metric not in MEASURED_ANYWAY:
                card = recipe.judges[metric].card
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
    assert float(found["ae-table1", "torchvision/resnet50", "Grad-CAM", "pointing-game DIF-L"]) == 0.823
    assert float(found["collection-cam-table2", "torchvision/resnet101", "Score-CAM", "seconds"]) == 20.58498
    assert float(found["aop-table2", "mean-of-3", "SIGCAM", "overall"]) == 0.4204


def test_every_table_of_numbers_belongs_to_a_recipe(recipes: dict[str, Recipe]):
    used = {recipe.paper.table for recipe in recipes.values()} - {""}
    assert used == {f"papers/{path.name}" for path in (ROOT / "recipes" / "papers").glob("*.csv")}


def test_the_readme_lists_every_recipe():
    text = (ROOT / "recipes" / "README.md").read_text(encoding="utf-8")
    assert [path.stem for path in RECIPES if f"`{path.stem}`" not in text] == []


# -- what is wrong is said in one line ---------------------------------------------------------------------

SMALL: dict[str, str] = {
    "top": 'name = "small"\n',
    "data": '[data]\ndataset = "scenes"\n',
    "models": '[models]\nnames = ["demo/resnet"]\n',
    "methods": '[[methods]]\nname = "grad-cam"\n',
    "metrics": '[[metrics]]\nname = "pointing-game"\n',
}


def small(tmp_path: Path, **changed: str) -> Path:
    path = tmp_path / "small.toml"
    path.write_text("".join((SMALL | changed).values()), encoding="utf-8")
    return path


WRONG: list[tuple[dict[str, str], type[LimelightError], list[str]]] = [
    ({"top": 'name = "small"\ntargt = "top1"\n'}, InvalidOption, ["'targt'", "did you mean target"]),
    ({"data": '[data]\ndataste = "scenes"\n'}, InvalidOption, ["'data.dataste'", "did you mean dataset"]),
    ({"data": '[data]\ndataset = "imagenett"\n'}, InvalidOption, ["'imagenett'", "did you mean imagenet"]),
    ({"data": '[data]\ndataset = "hf:a"\nrule = "any"\n'}, InvalidOption, ["data.rule = 'any'"]),
    ({"data": '[data]\ndataset = "voc2007"\nsplit = "tset"\n'}, InvalidOption, ["'tset'", "did you mean test"]),
    ({"data": '[data]\ndataset = "ucm"\ntruth = "boxes"\n'}, InvalidOption, ["no truth 'boxes'", "it has labels"]),
    ({"data": '[data]\ndataset = "scenes"\nsplit = "test"\n'}, InvalidOption, ["no split 'test'", "give none"]),
    ({"data": "[data.mosaics]\nconfidance = 0.9\n"}, InvalidOption, ["'data.mosaics.confidance'", "mean confidence"]),
    ({"models": '[models]\nname = ["demo/resnet"]\n'}, InvalidOption, ["unknown key 'models.name'", "mean names"]),
    ({"models": "[models]\n"}, InvalidOption, ["models.names is missing"]),
    (
        {"models": '[models]\nnames = ["demo/resnet"]\nlayer = {}\n'},
        InvalidOption,
        ["'models.layer'", "did you mean layers"],
    ),
    (
        {"models": '[models]\nnames = ["demo/resnet"]\n[models.layers]\n"demo/resnt" = ["a"]\n'},
        InvalidOption,
        ["'demo/resnt'", "did you mean demo/resnet"],
    ),
    (
        {"models": '[models]\nnames = ["demo/resnet"]\n[models.weights_of]\n"demo/vgg" = "a.pt"\n'},
        InvalidOption,
        ["'demo/vgg'", "no model here"],
    ),
    ({"methods": '[[methods]]\nname = "gradcam"\n'}, UnknownMethod, ["'gradcam'", "did you mean grad-cam"]),
    ({"methods": '[[methods]]\nname = "rise"\nn_mask = 9\n'}, InvalidOption, ["'n_mask'", "did you mean n_masks"]),
    ({"methods": '[[methods]]\nname = "rise"\nlable = "R"\n'}, InvalidOption, ["'lable'", "did you mean label"]),
    ({"methods": '[[methods]]\nname = "rise"\np = "half"\n'}, InvalidOption, ["option p", "'half'"]),
    ({"methods": '[[methods]]\nname = "rise"\nonly = ["demo/rise"]\n'}, InvalidOption, ["demo/rise", "demo/resnet"]),
    ({"models": '[models]\nnames = ["demo/resnet", "demo/resnet"]\n'}, InvalidOption, ["has 'demo/resnet' twice"]),
    ({"models": '[models]\nnames = "demo/resnet"\n'}, InvalidOption, ["models.names", "a list"]),
    ({"methods": SMALL["methods"] * 2}, InvalidOption, ["two methods are called 'grad-cam'"]),
    ({"metrics": '[[metrics]]\nname = "adc"\n'}, UnknownMetric, ["'adc'", "did you mean adcc"]),
    ({"metrics": '[[metrics]]\nname = "adcc"\nlevl = "image"\n'}, InvalidOption, ["'levl'", "did you mean level"]),
    ({"metrics": '[[metrics]]\nname = "adcc"\nat_least = 2\n'}, InvalidOption, ["metrics.0.at_least = 2"]),
    (
        {"metrics": SMALL["metrics"] + '[[metrics]]\nname = "adcc"\nwhere = "pointing"\n'},
        InvalidOption,
        ["'pointing'", "did you mean pointing-game"],
    ),
    (
        {"data": "[preprocess]\nresize = [9, 9]\ncenter_crop = 8\n"},
        InvalidOption,
        ["resize stands in place of resize_shorter and center_crop"],
    ),
]


@pytest.mark.parametrize(("changed", "kind", "said"), WRONG, ids=lambda v: str(v)[:40] if isinstance(v, dict) else "")
def test_what_is_wrong_is_said_in_one_line(
    changed: dict[str, str], kind: type[LimelightError], said: list[str], tmp_path: Path
):
    read_recipe(small(tmp_path))
    with pytest.raises(kind) as caught:
        read_recipe(small(tmp_path, **changed))
    message = str(caught.value)
    assert message.startswith("small.toml: ")
    assert "\n" not in message
    assert [part for part in said if part not in message] == [], message


# -- keys of recipes ---------------------------------------------------------------------------------------


def test_one_label_may_stand_for_two_entries_on_different_models(tmp_path: Path):
    entries = "".join(
        f'[[methods]]\nname = "grad-cam"\nlayer = "{layer}"\nlabel = "CAM"\nonly = ["demo/{model}"]\n'
        for layer, model in (("a", "resnet"), ("b", "vgg"))
    )
    recipe = read_recipe(small(tmp_path, methods=entries, models='[models]\nnames = ["demo/resnet", "demo/vgg"]\n'))
    assert [recipe.methods_of(m)["CAM"].layers for m in recipe.models.names] == [("a",), ("b",)]


def test_layers_of_models_are_not_for_methods_that_go_on(tmp_path: Path):
    names = ("grad-cam", "layer-cam", "collection-cam", "excitation-backprop", "c-lrp", "gradient")
    methods = "".join(f'[[methods]]\nname = "{name}"\n' for name in names)
    models = '[models]\nnames = ["demo/resnet"]\n[models.layers]\ndefault = ["deep"]\n'
    made = read_recipe(small(tmp_path, methods=methods, models=models)).methods_of("demo/resnet")
    assert [name for name in names if made[name].layers] == ["grad-cam", "layer-cam"]


def test_a_metric_counts_where_it_is_said_to(tmp_path: Path):
    metrics = (
        '[[metrics]]\nname = "pointing-game"\nlabel = "seen"\nat_least = 0.5\n'
        '[[metrics]]\nname = "positive-ratio"\nwhere = "seen"\n[[metrics]]\nname = "complexity"\n'
    )
    recipe = read_recipe(small(tmp_path, metrics=metrics))
    nan = float("nan")
    values = {"seen": 1.0, "positive-ratio": 0.3, "complexity": 0.2}
    asked = list(values)
    assert [recipe.counts(m, 0.5, values) for m in asked] == [True, True, True]
    assert [recipe.counts(m, 0.49, values) for m in asked] == [False, False, True]
    assert not recipe.counts("positive-ratio", 0.9, values | {"seen": nan})
    conditions = [entry.condition for entry in recipe.metrics]
    assert conditions[2] == ""
    assert len(set(conditions)) == 3
    assert MetricEntry(name="pointing-game", where="b").condition != MetricEntry(name="pointing-game").condition


def test_pictures_are_resized_whatever_their_proportions(tmp_path: Path):
    from PIL import Image

    picture = Image.new("RGB", (40, 20))
    direct = read_recipe(small(tmp_path, data="[preprocess]\nresize = [16, 16]\n")).preprocess
    cropped = read_recipe(small(tmp_path, data="[preprocess]\nresize_shorter = 16\ncenter_crop = 12\n")).preprocess
    whole = read_recipe(small(tmp_path, data="[preprocess]\nresize_shorter = 16\ncenter_crop = 0\n")).preprocess
    assert direct
    assert cropped
    assert whole
    assert [tuple(p.function(picture).shape) for p in (direct, cropped, whole)] == [
        (3, 16, 16),
        (3, 12, 12),
        (3, 16, 32),
    ]
    assert [p.side for p in (direct, cropped, whole)] == [16, 12, None]


def test_weights_of_one_model_go_before_those_of_all(recipes: dict[str, Recipe]):
    recipe = recipes["collection-cam-table3-cub"]
    assert recipe.weights("torchvision/vgg19") == "checkpoints/vgg19-cub200.safetensors"
    assert recipes["adcc-table1"].weights("torchvision/vgg16") == "IMAGENET1K_V1"


# -- the schema --------------------------------------------------------------------------------------------


def test_the_published_schema_is_that_of_the_code():
    anew = 'python -c "from limelight.bench.recipe import schema; print(schema(), end=str())"'
    assert SCHEMA.read_text(encoding="utf-8") == schema(), f"make it anew: {anew} > docs/{SCHEMA.name}"


def test_the_schema_knows_every_key_that_the_recipes_use(recipes: dict[str, Recipe]):
    """Also without a validator at hand: the free options of methods and metrics are in it."""
    made: dict[str, Any] = json.loads(schema())
    for table, entry in (("methods", "MethodEntry"), ("metrics", "MetricEntry")):
        rules = {rule["if"]["properties"]["name"]["const"]: rule["then"] for rule in made["$defs"][entry]["allOf"]}
        assert list(rules) == made["$defs"][entry]["properties"]["name"]["enum"]
        for path in RECIPES:
            for given in tomllib.loads(path.read_text(encoding="utf-8"))[table]:
                assert set(given) <= set(rules[given["name"]]["propertyNames"]["enum"]), path.name


def test_recipes_are_valid_by_the_schema():
    jsonschema = pytest.importorskip("jsonschema", reason="needs the package jsonschema")
    validator = jsonschema.Draft202012Validator(json.loads(schema()))
    validator.check_schema(validator.schema)
    for path in RECIPES:
        assert list(validator.iter_errors(tomllib.loads(path.read_text(encoding="utf-8")))) == [], path.name
    for changed in ('[[methods]]\nname = "rise"\nn_mask = 9\n', '[[methods]]\nname = "gradcam"\n'):
        assert list(validator.iter_errors(tomllib.loads("".join((SMALL | {"methods": changed}).values()))))


def test_images_go_together_by_what_they_cost():
    """Every method and metric has a cost that can be told before; the dearer, the fewer images."""
    model = ll.load("demo/resnet")

    def together(methods, metrics):
        built = {name: ll.method(name) for name in methods}, {name: ll.metric(name) for name in metrics}
        return images_at_once(Job(read_recipe("demo"), "demo/resnet", *built, [], ""), model)

    assert together(["grad-cam"], ["complexity"]) == CHUNK
    assert together(ll.methods(), ll.metrics()) == 1
    assert 1 <= together(["rise"], ["insertion"]) < CHUNK
