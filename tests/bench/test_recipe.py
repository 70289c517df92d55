"""What a recipe means: its methods by model, and where a metric counts."""

from pathlib import Path

from limelight.bench.recipe_file import read_recipe
from limelight.bench.recipe_tables import MetricEntry
from small_recipe import small


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
