"""Pictures with an alpha channel: on white for networks of three channels, as they are for those of four."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import TensorDataset

import limelight as ll
from limelight.data.images import load_image
from limelight.errors import InvalidImage

rng = np.random.default_rng(0)
RGBA = rng.integers(0, 256, (24, 24, 4), dtype=np.uint8)
ALPHA = RGBA[..., 3:] / 255
WHITE = np.rint(RGBA[..., :3] * ALPHA + 255 * (1 - ALPHA)).astype(np.uint8)
"""What the picture is on white, by the definition of alpha."""


def network(channels: int) -> ll.Classifier:
    torch.manual_seed(0)
    layers = (nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    return ll.Classifier(nn.Sequential(*layers).eval(), size=24)


def given(folder: Path) -> dict[str, Any]:
    """The same picture in every form; without loss, as the file's kind allows."""
    picture = Image.fromarray(RGBA)
    picture.save(folder / "a.png")
    picture.save(folder / "a.webp", lossless=True, exact=True)
    picture.save(folder / "a.tiff")
    np.save(folder / "a.npy", RGBA)
    return {
        "pillow": picture,
        "png": folder / "a.png",
        "webp": str(folder / "a.webp"),
        "tiff": folder / "a.tiff",
        "bytes": (folder / "a.png").read_bytes(),
        "array": RGBA,
        "array of words": RGBA.astype(np.uint16) * 257,
        "array of shares": (RGBA / 255).astype(np.float32),
        "tensor of bytes": torch.from_numpy(RGBA).movedim(-1, 0),
    }


def test_on_white_for_networks_of_three_channels(tmp_path: Path) -> None:
    model = network(3)
    white = ll.explain(model, WHITE, target=0)
    for kind, picture in given(tmp_path).items():
        explanation = ll.explain(model, picture, target=0)
        assert torch.allclose(explanation.image, white.image, atol=1.01 / 255), kind  # of two roundings
        assert explanation.original is None or np.abs(explanation.original.pixels.astype(int) - WHITE).max() <= 1, kind
    pairs = [(picture, 0) for picture in given(tmp_path).values()]
    results = ll.evaluate(model, pairs, ["gradient"], ["complexity"], targets="label", strict=True)
    assert [row.probability for row in results.rows] == pytest.approx([white.probability] * len(pairs), abs=1e-3)
    clear = Image.new("RGBA", (24, 24), (255, 0, 0, 0))
    assert ll.explain(model, clear, target=0).image.min() == pytest.approx(1, abs=1e-6)


def test_as_it_is_for_networks_of_four_channels(tmp_path: Path) -> None:
    model, as_it_is = network(4), torch.from_numpy(RGBA / 255).movedim(-1, 0).float()
    for kind, picture in given(tmp_path).items():
        assert torch.allclose(ll.explain(model, picture, target=0).image, as_it_is, atol=1e-6), kind
    assert ll.explain(model, tmp_path / "a.npy", target=0).image.shape == (4, 24, 24)
    Image.fromarray(WHITE).save(tmp_path / "opaque.png")
    with pytest.raises(InvalidImage, match=r"opaque.png has shape \(24, 24, 3\); the network takes .*4\)"):
        ll.explain(model, tmp_path / "opaque.png", target=0)


def test_normalised_tensors_of_four_channels_are_refused() -> None:
    model, tensor = network(3), torch.rand(4, 24, 24)
    for images in ([tensor], tensor[None], TensorDataset(tensor[None], torch.tensor([0]))):
        with pytest.raises(InvalidImage, match="4 channels"):
            ll.evaluate(model, images, ["grad-cam"], ["average-drop"], strict=True)
    with pytest.raises(InvalidImage, match="4 channels; mean and std are given for 3"):
        ll.explain(model, tensor)


def test_the_alpha_channel_is_kept_upright(tmp_path: Path) -> None:
    picture, exif = Image.fromarray(RGBA[:10]), Image.Exif()
    exif[0x0112] = 6  # lies on its side
    picture.save(tmp_path / "turned.png", exif=exif)
    upright = load_image(tmp_path / "turned.png", alpha=True)
    assert np.array_equal(np.asarray(upright), np.rot90(RGBA[:10], -1))
    assert load_image(Image.fromarray(WHITE), alpha=True).mode == "RGB"
