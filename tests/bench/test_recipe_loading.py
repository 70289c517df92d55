"""How the networks of a recipe are loaded: labels, size, mean and std."""

from pathlib import Path

import pytest

import limelight as ll
from cli.commands import run
from limelight.bench.plan import Job, load_model, settings
from limelight.bench.recipe import Recipe
from limelight.bench.recipe_file import read_recipe
from limelight.bench.recipe_parse import make_recipe
from limelight.bench.recipe_pool import pool_recipes
from limelight.bench.recipe_vary import vary_recipe
from limelight.bench.run import benchmark
from limelight.bench.store import Store, recipe_of
from limelight.data.samples import Sample
from limelight.errors import CorruptStore, InvalidOption
from small_recipe import small

TWO = '[models]\nnames = ["demo/resnet", "demo/vgg"]\n'
NAMES = list("abcdefghij")


def recipe(folder: Path, load: str = "", data: str = '[data]\ndataset = "scenes"\nn = 1\n') -> Recipe:
    return read_recipe(small(folder, data=data, models=TWO + load))


def key(recipe: Recipe) -> int:
    methods, metrics = recipe.methods_of("demo/resnet"), recipe.metrics_by_label
    job = Job(recipe, "demo/resnet", methods, metrics, [Sample(ll.example_image(), "one")], "weights")
    return int(job.keys(range(1)).item())


def test_networks_are_loaded_as_the_recipe_says(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    made = recipe(
        tmp_path,
        '[models.load.default]\nlabels = "names.txt"\nsize = 96\n'
        '[models.load."demo/vgg"]\nsize = [64, 80]\nmean = [0.1, 0.2, 0.3]\nstd = [0.5, 0.5, 1]\n',
    )
    first, second = (load_model(made, name, device=None, trust=False) for name in made.models.names)
    own = ll.load("demo/resnet")
    assert (first.labels, first.input_size, first.mean, first.std) == (NAMES, (96, 96), own.mean, own.std)
    assert (second.labels, second.input_size) == (NAMES, (64, 80))
    assert (second.mean, second.std) == ((0.1, 0.2, 0.3), (0.5, 0.5, 1.0))


def test_texts_are_read_with_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a cat, asleep\na dog\n")
    made = recipe(tmp_path, '[models.load.default]\ntexts = "texts.txt"\ntemplates = ["a photo of {}"]\n')
    assert made.loading("demo/vgg").model_dump() == {
        "texts": ("a cat, asleep", "a dog"),
        "templates": ("a photo of {}",),
    }
    with pytest.raises(InvalidOption, match="demo/vgg has no text tower"):
        load_model(made, "demo/vgg", device=None, trust=False)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("size = 0", "demo/resnet.size = 0"),
        ("size = [1, 2, 3, 4]", "demo/resnet.size"),
        ("mean = [nan, 0.0, 0.0]", "demo/resnet.mean.0 = nan"),
        ("std = [0.0, 1.0, 1.0]", "demo/resnet.std.0 = 0.0"),
        ("labels = []", "demo/resnet.labels"),
        ("labels = [1]", "demo/resnet.labels.0 = 1"),
        ("label = ['a']", "unknown key .*did you mean labels"),
        ('outputs = "logit"', "'logits' or 'probabilities'"),
        ('labels = "no.txt"', "no.txt.* no such file beside the recipe"),
        ('labels = "/etc/passwd"', "must lie beside the recipe"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(InvalidOption, match=said):
        recipe(tmp_path, f'[models.load."demo/resnet"]\n{line}\n')


def test_contradictions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match=r"models.load names 'demo/vgh'.*did you mean demo/vgg"):
        recipe(tmp_path, '[models.load."demo/vgh"]\nsize = 9\n')
    shrunk = '[data]\ndataset = "scenes"\n[preprocess]\nresize = [64, 64]\n'
    with pytest.raises(InvalidOption, match=r"std of demo/vgg in models.load, and preprocess"):
        recipe(tmp_path, '[models.load."demo/vgg"]\nstd = [1, 1, 1]\n', shrunk)
    recipe(tmp_path, f'[models.load."demo/vgg"]\nlabels = {NAMES}\n', shrunk)
    given = {"name": "x", "models": {"names": ["demo/vgg"], "load": {"demo/vgg": {"labels": "names.txt"}}}}
    with pytest.raises(InvalidOption, match=r"labels = 'names.txt': .*list"):  # of a file, only the recipe's own
        make_recipe(given | {"methods": [{"name": "rise"}], "metrics": [{"name": "adcc"}]}, "x")
    wrong = recipe(tmp_path, '[models.load."demo/resnet"]\nlabels = ["a", "b"]\n')
    with pytest.raises(InvalidOption, match="2 labels for the 10 classes of demo/resnet"):
        benchmark(wrong, tmp_path / "run")


def test_keys_follow_and_those_of_earlier_runs_stay(tmp_path: Path) -> None:
    plain = recipe(tmp_path)
    assert key(plain) == KEY
    assert "load" not in settings(plain)["recipe"]["models"]  # or an earlier run's settings would be others
    loads = ["size = 96", f"labels = {NAMES}", f"labels = {NAMES[::-1]}", "mean = [0, 0, 0]", "std = [1, 1, 1]"]
    made = [recipe(tmp_path, f'[models.load."demo/resnet"]\n{one}\n') for one in loads]
    assert len({KEY, *map(key, made)}) == len(loads) + 1
    assert key(recipe(tmp_path, '[models.load."demo/vgg"]\nsize = 96\n')) == KEY  # of another network
    assert key(recipe(tmp_path, "[models.load.default]\nsize = 96\n")) == key(made[0])


KEY = 4090167648741944515
"""As it was before recipes said how networks are loaded."""


def test_a_run_goes_on_with_the_same_labels_alone(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    load = '[models.load."demo/resnet"]\nlabels = "names.txt"\n'
    assert benchmark(recipe(tmp_path, load), tmp_path / "run").finished == 2
    assert recipe_of(Store(tmp_path / "run")) == recipe(tmp_path, load)
    assert benchmark(recipe(tmp_path, load), tmp_path / "run").before == 2
    (tmp_path / "names.txt").write_text("\n".join(NAMES[::-1]))
    with pytest.raises(CorruptStore, match=r"recipe.models.load.demo/resnet.labels"):
        benchmark(recipe(tmp_path, load), tmp_path / "run")


def test_the_command_line_says_it_for_new_networks_or_all(tmp_path: Path) -> None:
    path, names = small(tmp_path, data='[data]\ndataset = "scenes"\nn = 1\n'), ",".join(NAMES)
    given = ("--labels", names, "--size", "96", "--mean", ".4,.4,.4", "--std", ".2,.2,.2")
    assert run("benchmark", path, "--out", tmp_path / "added", "--add-model", "demo/vgg", *given) == 0
    there = recipe_of(Store(tmp_path / "added"))
    assert there.models.load.keys() == {"demo/vgg"}
    assert there.loading("demo/vgg").model_dump() == {
        "labels": tuple(NAMES),
        "size": 96,
        "mean": (0.4, 0.4, 0.4),
        "std": (0.2, 0.2, 0.2),
    }
    every = vary_recipe(recipe(tmp_path, "[models.load.default]\nsize = 80\n"), load={"mean": (0, 0, 0)})
    assert [every.loading(name).size for name in every.models.names] == [80, 80]
    assert every.models.load.keys() == {"default", "demo/resnet", "demo/vgg"}
    assert vary_recipe(every, models=["demo/vgg"]).models.load.keys() == {"default", "demo/vgg"}


def test_data_sets_may_have_labels_of_their_own(tmp_path: Path) -> None:
    two = '[[data]]\ndataset = "scenes"\nname = "a"\n[[data]]\ndataset = "scenes"\nname = "b"\nseed = 9\n'
    both = recipe(tmp_path, "[models.load.default]\nsize = 96\n", f"{two}[data.load.default]\nsize = 64\n")
    assert {name: part.loading("demo/vgg").size for name, part in both.parts.items()} == {"a": 96, "b": 64}
    sets = {n: f'[data]\ndataset = "scenes"\nseed = {n}\n' for n in (96, 64)}
    alone = [recipe(tmp_path, f"[models.load.default]\nsize = {n}\n", data) for n, data in sets.items()]
    pooled, _ = pool_recipes([one.model_copy(update={"name": f"of {i}"}) for i, one in enumerate(alone)])
    assert {part.loading("demo/vgg").size for part in pooled.parts.values()} == {96, 64}
    with pytest.raises(InvalidOption, match="load of b names 'demo/vgh'"):
        recipe(tmp_path, "", f'{two}[data.load."demo/vgh"]\nsize = 64\n')
