"""UC Merced has a split of its own."""

import pytest

from data.small_files import picture
from limelight.data.datasets import open_dataset
from limelight.data.images import load_image
from limelight.errors import InvalidImage


def test_ucm_has_a_stratified_split(tmp_path):
    for name in ("agricultural", "beach"):
        for number in range(10):
            picture(tmp_path / f"UCMerced_LandUse/Images/{name}/{name}{number:02d}.tif", (8, 8))
    whole, test, train = (open_dataset("ucm", tmp_path, split) for split in ("all", "test", "train"))
    assert [one.label for one in test] == ["agricultural"] * 2 + ["beach"] * 2
    assert (len(whole), len(train)) == (20, 16)
    assert {one.name for one in test} | {one.name for one in train} == {one.name for one in whole}
    assert test == open_dataset("ucm", tmp_path, "test")
    assert load_image(test[0].image).size == (8, 8)
    assert {one.label for one in open_dataset("ucm", tmp_path, indices=True)} == {0, 1}
    (tmp_path / "UCMerced_LandUse/Images/airplane").mkdir()
    with pytest.raises(InvalidImage, match=r"there is no .tif in .*airplane"):
        open_dataset("ucm", tmp_path)
