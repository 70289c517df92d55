"""Every metric over other axes of space: a picture as a volume of depth 1 gives the same numbers.

The network is lifted by kernels of depth 1, with the same weights.
"""

import pytest
import torch
from torch import Tensor

import limelight as ll
import spaces
from limelight.data.samples import Sample
from limelight.errors import InvalidImage, InvalidMap, InvalidOption, MissingTruth
from measures.test_metric_battery import SMALLER

METHOD = ll.method("grad-cam")
TARGET = [1, 2]


def classifier(sides: int, lifted: bool = False) -> ll.Classifier:
    module = spaces.build("residual", sides, lifted)
    return ll.Classifier(module, mean=[0.4] * 2, std=[0.5] * 2, size=(1, *spaces.SIZES[2]) if lifted else None)


def maps(sides: int) -> Tensor:
    return torch.rand(2, *spaces.SIZES[sides], generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("name", ll.metrics())
def test_a_picture_is_a_volume_of_depth_1(name: str) -> None:
    metric, x = ll.metric(name, **SMALLER.get(name, {})), spaces.images(2)
    truth = torch.zeros(2, *spaces.SIZES[2], dtype=torch.bool)
    truth[:, 2:6, 3:7] = True
    flat = metric.measure(classifier(2), x, TARGET, maps(2), method=METHOD, truth=truth)
    lifted = metric.measure(
        classifier(3, lifted=True), x[:, :, None], TARGET, maps(2)[:, None], method=METHOD, truth=truth[:, None]
    )
    torch.testing.assert_close(lifted.values, flat.values)
    torch.testing.assert_close(lifted.parts, flat.parts)
    torch.testing.assert_close(lifted.curve, flat.curve)
    assert (lifted.cost.forwards, lifted.cost.backwards) == pytest.approx((flat.cost.forwards, flat.cost.backwards))


@pytest.mark.parametrize("fill", ["zero", "black", "white", "mean", "gauss-11-5", "median-11", 0.3, (0.1, -0.2)])
def test_fills(fill: object) -> None:
    metric, x = ll.metric("deletion", fill=fill, step="2W"), spaces.images(2)
    flat = metric(classifier(2), x, TARGET, maps(2))
    lifted = metric(classifier(3, lifted=True), x[:, :, None], TARGET, maps(2)[:, None])
    torch.testing.assert_close(lifted, flat)


def test_a_signal_or_volume_as_fill() -> None:
    for sides, wrap in ((1, lambda v: v), (3, lambda v: v[None])):
        c, x = classifier(sides), spaces.images(sides)
        curve = ll.metric("deletion", fill=wrap(x[0]), step="2W").measure(c, x, TARGET, maps(sides)).curve
        assert curve is not None
        torch.testing.assert_close(curve[:, -1], c(x[:1]).softmax(1)[0, TARGET])
        with pytest.raises(InvalidOption, match="a baseline of shape"):
            ll.metric("deletion", fill=torch.zeros(2, 5, 5))(c, x, TARGET, maps(sides))


def test_a_maximum_is_near_in_all_directions() -> None:
    c, x, there = classifier(3), spaces.images(3), torch.zeros(2, *spaces.SIZES[3])
    there[:, 2, 3, 4] = 1
    truth = torch.zeros(2, *spaces.SIZES[3], dtype=torch.bool)
    truth[0, 4, 3, 4] = truth[1, 4, 5, 4] = True  # 2 and 2.8 pixels away
    game = ll.metric("pointing-game", tolerance=2.5)
    assert game(c, x, TARGET, there, truth=truth).tolist() == [1, 0]


@pytest.mark.parametrize("sides", [1, 3])
def test_refused(sides: int) -> None:
    c, x, size = classifier(sides), spaces.images(sides), spaces.SIZES[sides]
    metric = ll.metric("proportion")
    with pytest.raises(InvalidMap, match="expected one map per image at its size"):
        metric(c, x, TARGET, maps(2), truth=maps(sides) > 0.5)
    boxes = [torch.tensor([[1.0, 1, 3, 3]])] * 2
    with pytest.raises(MissingTruth, match=rf"expected masks \(2, {size[0]}.*of 2 masks; boxes are of pictures alone"):
        metric(c, x, TARGET, maps(sides), truth=boxes)
    cut = ll.metric("morf", cell=9) if sides == 3 else ll.metric("morf", cell=20)
    with pytest.raises(InvalidOption, match="does not fit into"):
        cut(c, x, TARGET, maps(sides))


def test_masks_of_any_shape_are_a_truth() -> None:
    for sides, size in spaces.SIZES.items():
        mask = maps(sides) > 0.5
        known = [
            ll.Truth.of(given, 2, size, mask.device)
            for given in (mask, mask[:, None].numpy(), [*mask], [*mask[:, None]])
        ]
        assert all(torch.equal(truth.masks, mask) for truth in known)
        assert torch.equal(ll.Truth.of(mask[0], 1, size, mask.device).masks, mask[:1])
        assert ll.Truth.of([mask[0], None], 2, size, mask.device).known.tolist() == [True, False]


@pytest.mark.parametrize("sides", [1, 3])
def test_a_whole_evaluation(sides: int) -> None:
    c, x = classifier(sides), spaces.images(sides)
    metrics = [ll.metric("deletion", step="2W"), "average-drop", "proportion"]
    results = ll.evaluate(c, x, ["grad-cam", "gradient"], metrics, TARGET, maps(sides) > 0.5)
    assert len(results.rows) == 4
    samples = [
        Sample(image, str(i), mask=(mask > 0.5).numpy())
        for i, (image, mask) in enumerate(zip(x, maps(sides), strict=True))
    ]
    of_samples = ll.evaluate(c, samples, ["grad-cam", "gradient"], metrics, TARGET)
    assert [r.values for r in of_samples.rows] == [r.values for r in results.rows]
    with pytest.raises(InvalidImage, match="they must agree"):
        ll.evaluate(c, [Sample(x[0], "a", mask=torch.ones(3, 3).numpy())], "grad-cam", "proportion")
    with pytest.raises(InvalidOption, match="boxes are of pictures alone"):
        ll.evaluate(c, [Sample(x[0], "a", boxes=((0, 0, 2, 2),))], "grad-cam", "proportion")
    row = results.rows[0]
    direct = [ll.metric("deletion", step="2W"), ll.metric("average-drop"), ll.metric("proportion")]
    found = METHOD(c, x, TARGET)
    for metric in direct:
        one = metric(c, x, TARGET, found, truth=maps(sides) > 0.5)[0]
        assert row.values[metric.name] == pytest.approx(float(one), rel=1e-5)
