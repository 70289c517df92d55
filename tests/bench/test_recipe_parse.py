"""What is wrong with a recipe is said in one line, in our own words."""

import re
import tomllib
from pathlib import Path

import pytest

import limelight as ll
from limelight.bench.recipe_file import read_recipe
from limelight.bench.recipe_parse import make_recipe
from limelight.bench.recipe_tables import MOST_SCENES
from limelight.errors import InvalidOption, LimelightError, UnknownMethod, UnknownMetric
from small_recipe import SMALL, small

ROOT = Path(__file__).parents[2]

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
            make_recipe(given | {key: value}, "demo")
    with pytest.raises(InvalidOption) as error:
        ll.method("rise", seed="x y " * 3000)
    assert len(str(error.value)) < 300


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
