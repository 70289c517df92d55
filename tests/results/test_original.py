"""Maps on the picture as it was taken."""

import copy
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import limelight as ll
from api.red_pictures import Redness, picture_of, redness
from limelight import cli
from limelight.draw import read_png_metadata
from limelight.errors import InvalidOption
from limelight.model.classifier import Classifier
from limelight.model.preprocess import Preprocess
from limelight.results.original import UNSEEN

SPOT = (200, 120, 280, 200)
WIDE = picture_of(SPOT, size=(256, 512))
"""Of which a square input shows the columns from 128 to 384."""


def explain(image: Any = WIDE, model: Classifier | None = None) -> ll.Explanation:
    return ll.explain(model or redness(64, 64), image, "grad-cam", 0)


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_a_map_lies_where_its_object_is() -> None:
    """A quarter as large and cropped for the network, the spot keeps its place and its size."""
    original = explain().original
    assert original is not None
    assert original.window == (128, 0, 384, 256)
    assert original.cut == 0.5
    placed = original.place(explain().map.numpy()).copy()
    x0, y0, x1, y1 = SPOT
    assert placed.shape == (256, 512)
    assert placed[y0 + 4 : y1 - 4, x0 + 4 : x1 - 4].min() > 0.9
    placed[y0 - 8 : y1 + 8, x0 - 8 : x1 + 8] = 0
    assert placed.max() == 0


def test_what_the_network_did_not_see_is_dark() -> None:
    seen = np.asarray(explain().view("image", on="original"))
    np.testing.assert_array_equal(seen[:, 128:384], WIDE[:, 128:384])
    np.testing.assert_array_equal(seen[:, :128], (WIDE[:, :128] * UNSEEN).astype(np.uint8))


@pytest.mark.parametrize("view", ["overlay", "map", "signed", "contour", "image"])
def test_every_view_has_the_size_of_the_picture(view: Any, tmp_path: Path) -> None:
    explanation = explain()
    assert explanation.view(view, on="original").size == (512, 256)
    assert explanation.view(view).size == (64, 64)
    path = explanation.save(tmp_path / "a.png", view, titled=False, on="original")
    assert size_of(path) == (512, 256)
    settings = json.loads(read_png_metadata(path)["limelight"])
    assert (settings["on"], settings["window"]) == ("original", [128, 0, 384, 256])


@pytest.mark.parametrize(
    ("resize", "crop", "size"),
    [
        (72, 64, (300, 200)),
        (64, 96, (128, 128)),
        ((48, 64), None, (301, 199)),
        (None, 64, (90, 70)),
        (50, 41, (97, 83)),
    ],
)  # fmt: skip
def test_what_a_foreign_preprocessing_keeps_is_measured(resize: Any, crop: Any, size: tuple[int, int]) -> None:
    """To half a pixel of the input what our own says of itself."""
    own = Preprocess(resize, crop, (0.0,) * 3, (1.0,) * 3)
    image = Image.new("RGB", size, "red")
    known, measured = (
        explain(image, Classifier(Redness(), layer="relu", preprocess=preprocess)).original
        for preprocess in (own, lambda image: own(image))
    )
    assert known is not None
    assert measured is not None
    step = max(size) / 41
    np.testing.assert_allclose(measured.window, known.window, atol=step / 2)


class Bands(nn.Module):
    """The first channel is what counts."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 2, 1, bias=False)
        with torch.no_grad():
            self.conv.weight.zero_()[0, 0] = 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).relu().mean((2, 3))


@pytest.mark.parametrize("channels", [1, 5])
def test_arrays_of_bands_too(channels: int) -> None:
    model = Classifier(Bands(channels), size=32, channels=channels, bands=(0, 2, 4) if channels == 5 else None)
    image = np.zeros((64, 160, channels), np.float32)
    image[20:40, 70:90, 0] = 1
    explanation = explain(image, model)
    original = explanation.original
    assert original is not None
    assert original.window == (48, 0, 112, 64)
    placed = original.place(explanation.map.numpy())
    assert placed[24:36, 74:86].min() > 0.9
    assert placed[:16].max() == placed[:, :64].max() == 0
    colour = np.asarray(explanation.view("image", on="original"))[30, 80].tolist()
    assert colour == ([255, 255, 255] if channels == 1 else [255, 0, 0])


def test_a_photograph_is_upright(tmp_path: Path) -> None:
    turned = Image.fromarray(np.rot90(WIDE, 1))  # turned left, which its orientation says
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(
        explain(tmp_path / "a.png").view("image", "original"), explain().view("image", "original")
    )


def test_a_picture_in_memory_may_be_filled_again() -> None:
    frame = WIDE.copy()
    explanation = explain(frame)
    frame[:] = 0
    np.testing.assert_array_equal(explanation.view("image", "original"), explain().view("image", "original"))


def test_a_gallery_shows_the_truth_on_the_original() -> None:
    """Of 112 rows and 224 columns the network sees those from 56 to 168, a pixel in two."""
    gallery = ll.explain(redness(56, 56), [picture_of((90, 30, 120, 60), size=(112, 224))], ["grad-cam"], 0)
    truth = np.zeros((56, 56), bool)
    truth[15:30, 17:32] = True  # in the picture rows from 30 to 60, columns from 90 to 120
    with_line, without = (np.asarray(gallery.picture(truth=given, on="original")) for given in ([truth], None))
    changed = (with_line != without).any(-1)
    rows, columns = (np.flatnonzero(changed.any(axis)) for axis in (1, 0))
    assert np.ptp(rows) == 35  # around them two pixels of a line, and a dark one beyond
    first = columns[columns < columns[0] + 112]
    assert np.ptp(first) == 35


def bend(image: Image.Image) -> torch.Tensor:
    return Preprocess(64, 64, (0.0,) * 3, (1.0,) * 3)(image.rotate(90))


def test_without_an_original_it_is_refused(tmp_path: Path) -> None:
    data = io.BytesIO()
    Image.fromarray(WIDE).save(data, "PNG")
    data.seek(0)
    saved = explain().save(tmp_path / "a.npz")
    of_tensor = explain(torch.rand(3, 64, 64))
    for explanation in (of_tensor, explain(data), ll.Explanation.load(saved), copy.deepcopy(explain())):
        with pytest.raises(InvalidOption, match="on='original': there is none of a tensor"):
            explanation.view(on="original")
    with pytest.raises(InvalidOption, match="more than to resize and to crop"):
        explain(WIDE, Classifier(Redness(), layer="relu", preprocess=bend)).view(on="original")
    with pytest.raises(InvalidOption, match="the parts are drawn on the network's input"):
        explain().view("parts", on="original")
    with pytest.raises(InvalidOption, match=r"'a.npz': on='original' is of pictures"):
        explain().save(tmp_path / "a.npz", on="original")
    with pytest.raises(InvalidOption, match="there are input, original"):
        explain().view(on="screen")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("size", "options", "shown"),
    [((300, 200), [], (300, 200)), ((208, 200), [], (128, 128)), ((300, 200), ["--on", "input"], (128, 128)),
     ((208, 200), ["--on", "original"], (208, 200))],
)  # fmt: skip
def test_the_command_shows_the_original_where_much_is_cut(
    size: tuple[int, int], options: list[str], shown: tuple[int, int], tmp_path: Path
) -> None:
    ll.example_image().resize(size).save(tmp_path / "a.png")
    out = tmp_path / "b.png"
    with pytest.raises(SystemExit) as end:
        cli.main(["explain", str(tmp_path / "a.png"), "--model", "demo/resnet", "--plain", "--out", str(out), *options])
    assert end.value.code == 0
    assert size_of(out) == shown


def test_the_comparison_shows_the_original_if_asked(tmp_path: Path) -> None:
    ll.example_image().resize((300, 150)).save(tmp_path / "a.png")
    heights: list[int] = []
    for on in ("input", "original"):
        out = tmp_path / f"{on}.png"
        command = ["compare", str(tmp_path / "a.png"), "--model", "demo/resnet", "--methods", "grad-cam,layer-cam"]
        with pytest.raises(SystemExit) as end:
            cli.main([*command, "--metrics", "none", "--on", on, "--out", str(out)])
        assert end.value.code == 0
        heights.append(size_of(out)[1])
    assert heights[1] < heights[0] - 80  # pictures half as high as wide
