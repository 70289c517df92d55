"""The tables of a recipe that do something by themselves."""

from pathlib import Path

from limelight.bench.recipe_file import read_recipe
from small_recipe import small


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
