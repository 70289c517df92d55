"""Boxes at the peaks of a map: choice, geometry, comparison, figure, command."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import limelight as ll
from limelight import cli, draw
from limelight.api.proposing import WAYS, Proposals, find_peaks, propose, sheet, summarise, where_seen
from limelight.data.synthetic import TEST_SEEDS, scenes
from limelight.draw.boxes import Outline, outlined
from limelight.errors import InvalidOption, MissingTruth
from limelight.model.classifier import Classifier
from limelight.model.preprocess import Preprocess


@pytest.fixture(scope="module")
def demo() -> Classifier:
    return ll.load("demo/resnet")


@pytest.fixture(scope="module")
def found(demo: Classifier) -> Proposals:
    scene = scenes(1, seed=TEST_SEEDS)[0]
    return propose(demo, scene.image, target=scene.label)


class Redness(nn.Module):
    """Two classes, of which one likes red; its own map is the redness, so peaks are known."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1, bias=False)
        with torch.no_grad():
            self.conv.weight[:] = torch.tensor([[2.0, -1.0, -1.0], [-2.0, 1.0, 1.0]])[..., None, None]
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 4 * self.relu(self.conv(x)).mean((2, 3))


def redness(resize: Any = None, crop: Any = None) -> Classifier:
    still = Preprocess(resize, crop, (0.0,) * 3, (1.0,) * 3)
    return Classifier(Redness(), layer="relu", preprocess=still, labels=["red", "other"])


def picture_of(*spots: tuple[int, int, int, int], size: tuple[int, int] = (120, 160), level: int = 255) -> Any:
    """A dark picture (H, W) with red rectangles."""
    picture = np.full((*size, 3), 20, np.uint8)
    for x0, y0, x1, y1 in spots:
        picture[y0:y1, x0:x1] = (level, 20, 20)
    return picture


# -- peaks --------------------------------------------------------------------------------------------------


def test_peaks() -> None:
    values = np.zeros((40, 60))
    values[5, 7], values[5, 12], values[30, 50], values[20, 30] = 1.0, 0.9, 0.6, 0.4
    pixels, heights = find_peaks(values, radius=4, threshold=0.5)
    assert pixels.tolist() == [[7, 5], [12, 5], [50, 30]]
    assert heights.tolist() == [1.0, 0.9, 0.6]
    assert find_peaks(values, 5, 0.5)[0].tolist() == [[7, 5], [50, 30]]  # 12 is within 5 of 7
    assert find_peaks(values, 4, 0.3)[0].tolist()[-1] == [30, 20]


def test_the_largest_is_a_peak_whatever_the_threshold() -> None:
    values = np.zeros((9, 9))
    values[2, 3] = 0.2
    assert find_peaks(values, 2, 0.5)[0].tolist() == [[3, 2]]
    assert len(find_peaks(np.zeros((9, 9)), 2, 0.0)[0]) == 0  # an empty map has no evidence anywhere


def test_a_plateau_is_one_peak_at_its_centre() -> None:
    values = np.zeros((30, 30))
    values[10:13, 4:9] = 1.0
    values[20, 20] = values[21, 21] = 0.8  # touches at a corner
    pixels, _ = find_peaks(values, 3, 0.5)
    assert pixels.tolist() == [[6, 11], [21, 21]]


def test_bad_peaks() -> None:
    with pytest.raises(InvalidOption, match="radius = -1"):
        find_peaks(np.ones((3, 3)), -1)
    with pytest.raises(InvalidOption, match="threshold"):
        find_peaks(np.ones((3, 3)), 1, float("nan"))


# -- choice -------------------------------------------------------------------------------------------------


def test_one_box_around_everything_is_every_peaks_box() -> None:
    picture = picture_of((10, 10, 30, 30), (100, 70, 120, 90))
    p = propose(redness(), picture, "grad-cam", "red", boxes=[(0, 0, 160, 120)])
    assert len(p.peaks) == 2
    assert p.choices == (0, 0)
    assert p.boxes.tolist() == [[0, 0, 160, 120]] == p.plain.tolist()  # proposed once


def test_a_box_without_a_peak_is_never_chosen() -> None:
    picture = picture_of((10, 10, 30, 30))
    away, around = (40, 40, 80, 80), (0, 0, 60, 60)
    p = propose(redness(), picture, "grad-cam", "red", boxes=[away, around])
    assert p.choices == (1,)
    alone = propose(redness(), picture, "grad-cam", "red", boxes=[away])
    assert alone.choices == (None,)
    assert alone.boxes.shape == alone.plain.shape == (0, 4)


def test_of_the_boxes_at_a_peak_the_surest_is_chosen() -> None:
    picture = picture_of((10, 10, 30, 30), (100, 70, 120, 90))
    boxes = [(0, 0, 60, 60), (10, 10, 30, 30), (0, 0, 160, 120), (95, 65, 125, 95), (60, 5, 90, 40)]
    p = propose(redness(), picture, "grad-cam", "red", boxes=boxes)
    assert p.boxes.tolist() == [[10, 10, 30, 30], [95, 65, 125, 95]]
    assert p.confidences[1] == max(p.confidences)
    for peak, choice in zip(p.peaks, p.choices, strict=True):
        holding = [i for i, (x0, y0, x1, y1) in enumerate(boxes) if x0 <= peak[0] < x1 and y0 <= peak[1] < y1]
        assert choice == max(holding, key=lambda i: p.confidences[i])


def test_without_the_map_it_is_the_surest_boxes() -> None:
    picture = picture_of((10, 10, 30, 30), (100, 70, 130, 100))
    boxes = [(0, 0, 60, 60), (12, 12, 28, 28), (12, 12, 28, 32), (95, 60, 145, 110)]
    p = propose(redness(), picture, "grad-cam", "red", boxes=boxes)
    assert sorted(p.chosen) == [1, 3]
    assert p.plain.tolist() == [[12, 12, 28, 28], [12, 12, 28, 32]]  # both on one object


def test_confidence_is_the_probability_of_the_stretched_box() -> None:
    picture, model = picture_of((10, 10, 30, 30)), redness((64, 64))
    boxes = [(5, 5, 45, 25), (0, 0, 160, 120)]
    p = propose(model, picture, "grad-cam", "red", boxes=boxes)
    for box, confidence in zip(boxes, p.confidences, strict=True):
        crop = Image.fromarray(picture).crop(box)
        expected = model(model.preprocess(crop)[None]).double().softmax(1)[0, 0]
        assert confidence == pytest.approx(float(expected), abs=1e-6)


def test_cost_and_chunks(found: Proposals) -> None:
    assert found.cost.n_forward == found.explanation.cost.n_forward + len(found.candidates)
    assert found.confidences.shape == (len(found.candidates),)
    assert len(np.unique(found.candidates, axis=0)) == len(found.candidates)


def test_a_map_without_evidence_has_no_peaks() -> None:
    p = propose(redness(), picture_of(), "grad-cam", "red")
    assert p.explanation.degenerate
    assert p.choices == ()
    assert len(p.candidates)
    assert "no evidence" in p.panels()[0].caption


# -- geometry -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resize", "crop", "size", "window"),
    [
        (None, None, (100, 140), (0, 0, 140, 100)),
        ((64, 64), None, (300, 500), (0, 0, 500, 300)),
        (64, 64, (300, 600), (150, 0, 450, 300)),
        (72, 64, (288, 288), (16, 16, 272, 272)),
        (64, 96, (128, 128), (-32, -32, 160, 160)),  # padded
        (None, 64, (900, 700), (318, 418, 382, 482)),
    ],
)
def test_where_the_network_looked(resize: Any, crop: Any, size: tuple[int, int], window: Any) -> None:
    placed = where_seen(redness(resize, crop), size[1], size[0])
    np.testing.assert_allclose(placed, window, atol=0.2)


def test_preprocessing_that_turns_the_picture_is_refused() -> None:
    model = Classifier(Redness(), preprocess=lambda image: Preprocess(None, None)(image.rotate(180)), labels=["a", "b"])
    with pytest.raises(InvalidOption, match="resize and to crop"):
        propose(model, picture_of((10, 10, 30, 30)), "grad-cam", 0)


def test_boxes_and_peaks_are_in_pixels_of_the_original() -> None:
    """Four times smaller and cropped for the network, the spot is found where it is in the picture."""
    picture = picture_of((200, 120, 280, 200), size=(256, 512))
    spot, loose = (200, 120, 280, 200), (180, 60, 330, 256)
    p = propose(redness(64, 64), picture, "grad-cam", "red", boxes=[loose, spot, (0, 0, 64, 64)])
    assert p.map.shape == (64, 64)
    x, y = p.peaks[0]
    assert abs(x - 240) < 4
    assert abs(y - 160) < 4
    assert p.boxes.tolist() == [list(spot)]
    assert p.heat.shape == (256, 512)
    assert p.heat[130:190, 210:270].min() > 0.9
    assert p.heat[:, :120].max() == 0  # the network did not see that
    row, column = np.unravel_index(p.heat.argmax(), p.heat.shape)
    assert 196 <= column <= 284
    assert 116 <= row <= 204


def test_a_tensor_is_its_own_original(demo: Classifier) -> None:
    scene = scenes(1, seed=TEST_SEEDS)[0]
    x = demo.preprocess(Image.fromarray(scene.image))
    one, other = (propose(demo, image, "grad-cam", scene.label) for image in (x, scene.image))
    assert one.window == (0, 0, 128, 128)
    np.testing.assert_array_equal(one.candidates, other.candidates)
    np.testing.assert_allclose(one.confidences, other.confidences, atol=1e-6)


def test_bad_boxes_and_targets(demo: Classifier) -> None:
    picture = picture_of((10, 10, 30, 30))
    for boxes, message in (
        ([(0, 0, 5)], "finite numbers"),
        ([(0, 0, float("nan"), 5)], "finite numbers"),
        ([(5, 5, 5, 9)], "covers nothing"),
        ([(200, 0, 260, 50)], "covers nothing of the picture of 160 x 120"),
    ):
        with pytest.raises(InvalidOption, match=message):
            propose(redness(), picture, "grad-cam", "red", boxes=boxes)
    with pytest.raises(InvalidOption, match="class as target"):
        propose(demo, picture, target=lambda out: out[:, 0])
    empty = propose(redness(), picture, "grad-cam", "red", boxes=np.zeros((0, 4)))
    assert empty.choices == (None,)


def test_given_boxes_are_cut_at_the_edge_and_taken_once() -> None:
    boxes = [(100, 0, 200, 50), (-5, -5, 30, 30), (0, 0, 30.2, 29.8)]
    p = propose(redness(), picture_of((10, 10, 20, 20)), "grad-cam", "red", boxes=boxes)
    assert p.candidates.tolist() == [[100, 0, 160, 50], [0, 0, 30, 30]]


# -- comparison ---------------------------------------------------------------------------------------------


def test_overlap(found: Proposals) -> None:
    boxes = np.array([(0, 0, 10, 10), (20, 0, 30, 10), (0, 0, 20, 10), (50, 50, 60, 60)])
    p = replace(found, candidates=boxes, confidences=np.array([0.9, 0.5, 0.8, 0.7]), choices=(0, 1, 1, None))
    assert (p.chosen, p.plain_chosen) == ((0, 1), (0, 2))
    overlap = p.overlap([(0, 0, 10, 10), (20, 0, 30, 20)])
    assert overlap == {"peaks": (1.0, 0.75), "plain": (0.5, 0.5), "candidates": (1.0, 0.75)}
    with pytest.raises(MissingTruth, match="at least one"):
        p.overlap(np.zeros((0, 4)))


def test_summary() -> None:
    overlaps = [{"peaks": (1.0, 0.8), "plain": (0.0, 0.2 + 0.01 * i), "candidates": (1.0, 0.9)} for i in range(8)]
    rows = {row["boxes"]: row for row in summarise(overlaps)}
    assert list(rows) == list(WAYS)
    assert rows["plain"]["iou"]["mean"] == pytest.approx(0.235)
    assert 0.2 < rows["plain"]["iou"]["low"] < 0.235 < rows["plain"]["iou"]["high"] < 0.27
    assert rows["plain"]["recall"]["p"] == pytest.approx(2 / 2**8)
    assert rows["peaks"]["recall"]["p"] is None
    assert summarise(overlaps[:1])[0]["iou"]["low"] is None


# -- figure and command -------------------------------------------------------------------------------------


def test_outlines() -> None:
    black = Image.new("RGB", (50, 40))
    drawn = np.asarray(outlined(black, [Outline((10, 10, 30, 30), "#00ff00")], [(40, 20)], size=200))
    assert drawn.shape == (160, 200, 3)
    green = (drawn == (0, 255, 0)).all(-1)
    y, x = np.nonzero(green)
    np.testing.assert_allclose((x.min(), y.min(), x.max(), y.max()), (40, 40, 120, 120), atol=2)
    assert not green[50:110, 50:110].any()
    assert (drawn[80, 160] == 255).all()  # the cross
    dashed = np.asarray(outlined(black, [Outline((10, 10, 30, 30), "#00ff00", dashed=True)], size=200))
    assert 0 < (dashed == (0, 255, 0)).all(-1).sum() < 0.8 * green.sum()
    edge = np.asarray(outlined(black, [Outline((0, 0, 50, 40), "#00ff00")], size=200))
    assert (edge == (0, 255, 0)).all(-1).sum() > 1000  # seen although it lies on the picture's edge


def test_saved(found: Proposals, tmp_path: Path) -> None:
    truth = [(40, 10, 90, 50)]
    file = found.save(tmp_path / "new" / "a.png", truth)
    kept = json.loads(draw.read_png_metadata(file)["limelight"])
    assert kept["boxes"][0]["box"] == found.boxes[0].tolist()
    assert kept["candidates"] == len(found.candidates)
    numbers = json.loads(found.save(tmp_path / "a.json").read_text())
    assert numbers["candidates"] == found.candidates.tolist()
    with pytest.raises(InvalidOption, match=r"\.png or \.json"):
        found.save(tmp_path / "a.txt")
    both = sheet([found, found], [truth, None])
    assert both.height > found.view(truth).height


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = scenes(1, seed=TEST_SEEDS)[0]
    Image.fromarray(scene.image).save(tmp_path / "one.png")
    box = scene.objects[0].box
    (tmp_path / "labels.csv").write_text(f"file,label,x1,y1,x2,y2\none.png,{scene.label},{','.join(map(str, box))}\n")
    arguments = ["propose", str(tmp_path / "labels.csv"), "--scenes", "2", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as done:
        cli.main([*arguments, "--model", "demo/resnet", "--method", "grad-cam", "--json"])
    assert not done.value.code
    printed = json.loads(capsys.readouterr().out)
    assert [row["image"] for row in printed["images"]] == ["one.png", "scene-0001", "scene-0002"]
    first, second, _ = printed["images"]
    assert first["truth"] == [list(map(float, box))]
    assert first["boxes"] == second["boxes"]  # the same scene
    assert {row["boxes"] for row in printed["summary"]} == set(WAYS)
    mean = np.mean([row["overlap"]["peaks"]["iou"] for row in printed["images"]])
    assert printed["summary"][0]["iou"]["mean"] == pytest.approx(mean)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        *("one.propose.png", "scene-0001.propose.png", "scene-0002.propose.png")
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--scenes 20"),
        (["--scenes", "1", "--out", "x.png"], "it is a folder"),
        (["--scenes", "1", "--method", "grad-cum"], "did you mean"),
        (["nowhere.jpg"], "no file or folder"),
    ],
)
def test_mistakes_on_the_command_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        cli.main(["propose", "--model", "demo/resnet", *arguments])
    assert done.value.code == 2
    complaint = capsys.readouterr().err
    assert message in complaint
    assert complaint.count("\n") == 1
