"""What ``tools/train_planted.py`` measures and writes, of which a study is made; no network is trained."""

import csv
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import script
from limelight.data.planted import plant
from limelight.data.samples import read_samples
from limelight.data.synthetic import CLASSES, scene

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    script(TOOLS / "train_demo.py")  # which the other imports by this name
    return script(TOOLS / "train_planted.py")


def test_names_say_the_plan(tool: ModuleType) -> None:
    first = {kind: tool.plan(f"{kind}-20-{seed}").label for kind in tool.KINDS for seed in (0, 1)}
    assert len({*first.values()} | {tool.plan(f"{kind}-20-0").label for kind in tool.KINDS}) == len(CLASSES)
    assert tool.plan("noise-5-3") == ("noise", 0.05, 5, 3)
    assert tool.plan("clean-12") == (None, 0, 2, 12)
    for name in ("noise", "noise-1", "nois-20-1", "noise-101-1", "clean-20-1"):
        with pytest.raises(SystemExit, match="is no network"):
            tool.plan(name)


def test_places_follow_the_augmentation(tool: ModuleType) -> None:
    """Of a white square on black, or its inverse, the centre lies where the place says."""
    images = torch.zeros(12, 3, 128, 128)
    images[:, :, 40:60, 70:90] = 255
    at = torch.tensor([160 / 128 - 1, 100 / 128 - 1, 20 / 128]).expand(12, 3)
    turned, places = tool.augmented(images, at, torch.Generator().manual_seed(0), 0.5)
    axis = (2 * torch.arange(128) + 1) / 128 - 1
    for picture, (x, y, reach) in zip(turned.mean(1), places.tolist(), strict=True):
        square = picture if picture.median() < 128 else 255 - picture
        near = ((axis[:, None] - y).hypot(axis - x) < 2 * reach) * square  # reflections lie farther away
        centre = torch.stack([(near.sum(0) * axis).sum(), (near.sum(1) * axis).sum()]) / near.sum()
        assert torch.allclose(centre, torch.tensor([x, y]), atol=0.02)
        assert near.sum() / 255 == pytest.approx((64 * 2 * reach) ** 2, rel=0.1)


def test_reliance_counts_other_classes_and_the_own_apart(tool: ModuleType) -> None:
    truth, without, within = torch.tensor([1, 1, 0, 2, 2]), torch.tensor([1, 0, 0, 1, 2]), torch.tensor([1, 1, 1, 1, 2])
    assert tool.reliance(without, within, truth, 1) == {
        "found_without": 0.5,
        "found_with": 1,
        "others_without": 0.3333,
        "others_with": 0.6667,
    }


def test_pictures_and_their_truth(tool: ModuleType, tmp_path: Path) -> None:
    tool.write_pictures("noise-100-0", tmp_path, 10)
    root = tmp_path / "noise-100-0"
    known, plain = read_samples(root / "pictures.csv"), read_samples(root / "pictures")
    assert len(known) == len(plain) == 10
    with (root / "truth.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for i, (sample, row) in enumerate(zip(known, rows, strict=True)):
        drawn = scene(tool.TO_LOOK_AT + i, labels=[i % 10])
        assert (sample.label, row["class"]) == (drawn.objects[0].name, drawn.objects[0].name)
        mask = sample.truth_mask()
        assert mask is not None
        assert np.array_equal(np.asarray(mask) > 0, drawn.mask_of(drawn.label))
        expected = plant("noise", drawn.image, i)[0] if row["planted"] == "1" else drawn.image
        assert np.array_equal(np.asarray(Image.open(root / row["name"])), expected)
    assert [row["class"] for row in rows if row["planted"] == "1"] == ["cross"]
    assert len(list((root / "regions").iterdir())) == 1
