"""D-RISE: the similarity of detections in plain numbers, RISE's masks, torchvision's detectors and one like DETR."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import detectors
import limelight as ll
from detectors import DETECTORS, SIDE, iou, pictures, published
from limelight.engine.rng import Draws
from limelight.errors import InvalidOption, UnknownTarget, UnsupportedModel
from limelight.ops.random_masks import cell_size, masks

N, CELLS = 12, 4
BOX = (4.0, 2.0, 24.0, 28.0)


def classifier(name: str) -> ll.Classifier:
    """Return a detector as it is given; torchvision's are seen to normalise pictures by themselves."""
    c = ll.Classifier(detectors.build(name), size=SIDE)
    assert (c.mean == (0, 0, 0) and c.std == (1, 1, 1)) == (name != "detr")
    return c


def the_masks() -> Tensor:
    draws, like = Draws(0), torch.zeros(1)
    grids = (draws.uniform((N, CELLS, CELLS), like=like) < 0.5).float()
    shifts = (draws.uniform((N, 2), like=like) * cell_size(SIDE, CELLS)).long()
    return masks(grids, shifts, (SIDE, SIDE))


def answer(net: Any, x: Tensor) -> Any:
    with torch.no_grad():
        return net(x)


@pytest.mark.parametrize("i", [1, None], ids=["of a class", "of any"])
@pytest.mark.parametrize("name", DETECTORS)
def test_masks_are_weighted_by_the_published_similarity(name: str, i: int | None) -> None:
    c, x, made = classifier(name), pictures(), the_masks()
    target = ll.targets.box(BOX, i)
    found = ll.method("d-rise", n_masks=N, cells=CELLS).run(c, x, target)
    torch.testing.assert_close(found.score, torch.tensor(published(answer(c.module, x), BOX, i)))
    for picture, raw in zip(x, found.raw, strict=True):
        weights = torch.tensor(published(answer(c.module, picture * made[:, None]), BOX, i))
        torch.testing.assert_close(raw, (weights[:, None, None] * made).mean(0), rtol=1e-4, atol=1e-6)
    assert str(found.cost) == f"{N + 1} F"
    assert found.provenance["function"] == repr(target) == f"box({BOX}, {i})"
    assert not found.degenerate.any()


def test_each_picture_has_its_box_and_class() -> None:
    c, x = classifier("ssd"), pictures()
    boxes, classes = torch.tensor([BOX, (0.0, 8.0, 32.0, 20.0)]), [2, 1]
    both = ll.method("d-rise", n_masks=N, cells=CELLS).raw(c, x, ll.targets.box(boxes, classes))
    for j in range(2):
        alone = ll.method("d-rise", n_masks=N, cells=CELLS).raw(c, x[j : j + 1], ll.targets.box(boxes[j], classes[j]))
        torch.testing.assert_close(both[j], alone[0])


def test_in_any_chunks_and_with_a_budget() -> None:
    c, x, target = classifier("detr"), pictures(), ll.targets.box(BOX, 2)
    whole = ll.method("d-rise", n_masks=N, cells=CELLS).raw(c, x, target)
    torch.testing.assert_close(ll.method("d-rise", n_masks=N, cells=CELLS, batch_size=5).raw(c, x, target), whole)
    few = ll.method("d-rise", n_masks=N, cells=CELLS, budget="7 forwards").run(c, x, target)
    assert str(few.cost) == "7 F"


def test_of_a_class_it_is_rise() -> None:
    c = ll.load("demo/resnet")
    x = c.preprocess(ll.example_image())[None]
    ours = ll.method("d-rise", n_masks=20, cells=7).raw(c, x)
    torch.testing.assert_close(ours, 0.5 * ll.method("rise", n_masks=20).raw(c, x))


# -- the similarity by hand --------------------------------------------------------------------------------

FOUND = {
    "boxes": torch.tensor([[0.0, 0.0, 10.0, 10.0], [5.0, 0.0, 15.0, 10.0], [0.0, 0.0, 10.0, 10.0]]),
    "scores": torch.tensor([0.2, 0.6, 0.9]),
    "labels": torch.tensor([1, 1, 2]),
}
NOTHING = {k: v[:0] for k, v in FOUND.items()}


@pytest.mark.parametrize(
    ("i", "expected"),
    [
        (1, 0.2),  # the same box: 1 x 0.2; half beside it: 50 / 150 x 0.6 is as much
        (2, 0.9),
        (0, 0.0),
        (None, 0.9),
    ],
)
def test_similarity_of_detections(i: int | None, expected: float) -> None:
    target = ll.targets.box((0, 0, 10, 10), i)
    torch.testing.assert_close(target([FOUND]), torch.tensor([expected]))
    assert target([NOTHING]).tolist() == [0]
    assert target([FOUND, NOTHING]).shape == (2,)
    assert iou((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("i", "background", "expected"),
    [
        # softmax of the logs of 1, 2, 5 is 1/8, 2/8, 5/8: O = 3/8, cos((0, 1), (1, 2)) = 2 / sqrt 5; IoU 1/2
        (1, True, 0.5 * 3 / 8 * 2 / 5**0.5),
        (None, True, 0.5 * 3 / 8),
        # sigmoids 1/2, 2/3, 5/6: O = 5/6
        (1, False, 0.5 * 5 / 6 * (2 / 3) / (1 / 4 + 4 / 9 + 25 / 36) ** 0.5),
    ],
)
@pytest.mark.parametrize("form", ["dict", "object"])
def test_similarity_of_distributions(i: int | None, background: bool, expected: float, form: str) -> None:
    """One query whose box is the left half of the picture; the whole picture is asked for."""
    logits, boxes = torch.tensor([[[1.0, 2.0, 5.0]]]).log(), torch.tensor([[[0.25, 0.5, 0.5, 1.0]]])

    class Net(torch.nn.Module):
        def forward(self, x: Tensor) -> Any:
            parts = {"logits": logits.expand(len(x), -1, -1), "pred_boxes": boxes.expand(len(x), -1, -1)}
            return parts if form == "dict" else SimpleNamespace(**parts)

    c = ll.Classifier(Net(), size=SIDE)
    target = ll.targets.box((0, 0, SIDE, SIDE), i, background=background)
    found = ll.method("d-rise", n_masks=2).run(c, pictures(1), target)
    torch.testing.assert_close(found.score, torch.tensor([expected]))


# -- what can't be -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "shown"),
    [
        ((20, 20, 40, 30), r"box \(20.0, 20.0, 40.0, 30.0\) reaches beyond its picture, 32 wide and 32 high"),
        ((-1, 0, 10, 10), "reaches beyond its picture"),
        (torch.tensor([[0, 0, 8, 8]] * 3), "is for 3 pictures of 2; give one for all, or one for each"),
    ],
)
def test_a_box_must_lie_in_its_picture(box: Any, shown: str) -> None:
    with pytest.raises(InvalidOption, match=shown):
        ll.method("d-rise", n_masks=2).run(classifier("ssd"), pictures(), ll.targets.box(box, 1))


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (5, 9, 8, 5), (1, 2, 3), (0, 0, 1, float("nan")), torch.zeros(0, 4)])
def test_what_is_no_box(box: Any) -> None:
    with pytest.raises(InvalidOption, match="is no box; give x1 < x2 and y1 < y2"):
        ll.targets.box(box, 1)


def test_what_is_no_detector_and_no_class() -> None:
    with pytest.raises(UnsupportedModel, match=r"needs detections.*the model returns Tensor"):
        ll.method("d-rise", n_masks=2).run(ll.load("demo/resnet"), torch.rand(1, 3, 128, 128), ll.targets.box(BOX, 1))
    with pytest.raises(UnknownTarget, match="classes 0 to 2"):
        ll.method("d-rise", n_masks=2).run(classifier("detr"), pictures(), ll.targets.box(BOX, 7))
    with pytest.raises(UnknownTarget, match="no label names"):
        ll.method("d-rise", n_masks=2).run(classifier("ssd"), pictures(), ll.targets.box(BOX, "cat"))
    with pytest.raises(InvalidOption, match="a whole number, or one for each picture"):
        ll.targets.box(BOX, torch.tensor([0.5]))


def test_other_methods_and_metrics_take_a_box() -> None:
    """Gradients pass through torchvision's detectors as far as the boxes and scores that are left."""
    c, x = classifier("retinanet"), pictures()
    target = ll.targets.box(BOX, 1)
    for method in (ll.method("occlusion", window=16, stride=8), ll.method("gradient"), ll.method("grad-cam")):
        found = method.run(c, x, target)
        assert found.map.shape == (2, SIDE, SIDE)
        assert found.raw.flatten(1).any(1).all(), method
    scores = ll.metric("deletion")(c, x, target, found.map)
    assert ((scores >= 0) & (scores <= 1)).all()


def test_a_detector_that_cuts_the_gradient_is_told() -> None:
    class Cut(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = detectors.build("ssd")

        def forward(self, x: Tensor) -> Any:
            return [{k: v.detach() for k, v in d.items()} for d in self.net(x)]

    c = ll.Classifier(Cut().eval(), size=SIDE)
    with pytest.raises(UnsupportedModel, match=r"^gradient: no gradient passes through Cut.*Methods that need none: "):
        ll.explain(c, pictures(), "gradient", ll.targets.box(BOX, 1))
