"""Insertion onto a blank canvas: what the model is shown, pixel by pixel."""

import numpy as np
import pytest
import torch

import limelight as ll
from limelight.ops.statistics import estimate
from measures.known_models import Answer, always, close, mean_pixel, ones, says, weighted_sum
from measures.plain_blurs import blur_by_folded_kernel


@pytest.mark.parametrize("canvas", ["halo", "composite", "blurred", "plain"])
def test_blank_canvas(canvas: str) -> None:
    """What the model is shown, pixel by pixel: 11, 22 and 32 of 108 pixels."""
    rng = np.random.default_rng(11)
    x, e = rng.normal(size=(3, 12, 9)), rng.random((12, 9))
    c = says(always(0.7))
    metric = ll.metric("morf-insertion", points=3, largest=0.3, canvas=canvas)
    metric(c, torch.from_numpy(x)[None], 0, torch.from_numpy(e)[None])
    module = c.module
    assert isinstance(module, Answer)
    frames = torch.cat(module.seen)[-3:].numpy()
    order = sorted(range(108), key=lambda i: -e.flat[i])
    for frame, count in zip(frames, (11, 22, 32), strict=True):
        shown = np.isin(np.arange(108), order[:count]).reshape(12, 9)
        q = x * shown
        expected = {
            "halo": np.where(shown, x, blur_by_folded_kernel(q)),
            "composite": blur_by_folded_kernel(q),
            "blurred": np.where(shown, x, blur_by_folded_kernel(x)),
            "plain": q,
        }[canvas]
        np.testing.assert_allclose(frame, expected, atol=1e-12)


@pytest.mark.parametrize(("label", "expected"), [(None, 1), (0, 1), (1, 0)])
def test_model_that_never_changes_its_mind(label: int | None, expected: int) -> None:
    """It says class 0. The explained class is the right one unless the truth knows better."""
    masks = torch.zeros(1, 10, 10, dtype=torch.bool)
    truth = None if label is None else ll.Truth(masks, labels=torch.tensor([label]))
    measured = ll.metric("morf-insertion").measure(
        says(always(0.7)), ones(10, 10), 0, torch.rand(1, 10, 10), truth=truth
    )
    close(measured.values, expected)
    assert measured.curve is not None
    assert measured.curve.tolist() == [[expected] * 20]
    assert measured.cost.forwards == 20
    if label is None:
        close(ll.metric("morf-insertion")(says(always(0.7)), ones(10, 10), 1, torch.rand(1, 10, 10)), 0)


def test_relative_to_the_accuracy_on_whole_pictures() -> None:
    """Two pictures of class 0, of which the model knows the first once half of it is there: 1/2 of each over 1/2."""
    c = says(lambda x: (mean_pixel(x) > 0.5).double())
    x = torch.cat([ones(10, 10), 0.1 * ones(10, 10)])
    maps = torch.arange(100, 0, -1).view(1, 10, 10).repeat(2, 1, 1).double()
    metric = ll.metric("morf-insertion", canvas="plain", points=4, largest=1.0, relative=True)
    measured = metric.measure(c, x, 0, maps)
    assert measured.parts["clean"].tolist() == [1, 0]
    assert measured.values.tolist() == [0.5, 0]  # right at 75 % and 100 %
    columns = torch.stack([measured.parts["right"], measured.parts["clean"]], 1).numpy()
    assert metric.pooling == "ratio"
    assert estimate(metric.pooling, columns) == 0.5
    assert ll.metric("morf-insertion").pooling == "mean"


def test_relative_curve() -> None:
    pictures = [ll.example_image(number) for number in range(3)]
    plain, relative = (ll.metric("morf-insertion", points=3, largest=0.9, relative=r) for r in (False, True))
    results = ll.evaluate("demo/resnet", pictures, "grad-cam", {"plain": plain, "relative": relative})
    accuracy = np.mean([row.parts["relative.clean"] for row in results.rows])
    assert accuracy > 0
    np.testing.assert_allclose(results.curves("relative")["grad-cam"] * accuracy, results.curves("plain")["grad-cam"])
    figure = {m: results.summary()["grad-cam", m].mean for m in ("plain", "relative")}
    assert figure["relative"] == pytest.approx(figure["plain"] / accuracy)


def test_most_relevant_pixels_come_first_and_equal_ones_in_reading_order() -> None:
    """Right as soon as pixel 5 of 100 is shown: at 1 % if it is the highest, at 6 % among equals."""
    w = torch.zeros(10, 10)
    w[0, 5] = 1
    c = says(weighted_sum(w.tolist()))
    for maps, right in ((w, 20), (torch.zeros(10, 10), 15), (-w, 0)):
        close(ll.metric("morf-insertion", canvas="plain")(c, ones(10, 10), 0, maps[None]), right / 20)
