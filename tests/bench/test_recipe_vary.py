"""A recipe for other pictures or networks."""

from pathlib import Path

import pytest

from limelight.bench.recipe_file import read_recipe
from limelight.bench.recipe_vary import vary_recipe
from limelight.errors import InvalidOption
from small_recipe import small


def test_a_recipe_for_other_pictures_and_networks(tmp_path: Path) -> None:
    recipe = read_recipe(small(tmp_path, data='[data]\ndataset = "scenes"\nn = 6\n'))
    other = vary_recipe(recipe, dataset="ucm", models=["demo/vgg"], more_models=["demo/vit=none"])
    assert (other.data.dataset, other.data.n, other.models.names) == ("ucm", recipe.data.n, ("demo/vgg", "demo/vit"))
    assert other.weights("demo/vit") is None
    assert other.weights("demo/vgg") == "DEFAULT"
    assert vary_recipe(recipe) == recipe
    with pytest.raises(InvalidOption, match="did you mean ucm"):
        vary_recipe(recipe, dataset="ucn")
    table = vary_recipe(read_recipe("adcc-table2"), more_models=["torchvision/squeezenet1_0"])
    assert table.weights("torchvision/squeezenet1_0") == "IMAGENET1K_V1"
    demo = vary_recipe(read_recipe("adcc-table2"), models=["demo/resnet", "demo/vgg=none", "best.safetensors"])
    assert [demo.weights(name) for name in demo.models.names] == ["DEFAULT", None, "DEFAULT"]
    options = table.methods_of("torchvision/squeezenet1_0")["Grad-CAM"].options.model_dump()
    assert options.get("layer") is None  # the recipe's default is a layer of ResNets
