"""The average precision of a map as a segmentation, against one worked out threshold by threshold."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

import limelight as ll
from measures.known_models import TOP, Doubles, always, close, says, score_maps, tensor


def average_precision(scores: Doubles, truth: npt.NDArray[np.bool_]) -> float:
    """Precision times the gain in recall at every threshold, from the highest down."""
    area, recall = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        found = scores >= threshold
        hits = int((found & truth).sum())
        area += hits / int(found.sum()) * (hits / int(truth.sum()) - recall)
        recall = hits / int(truth.sum())
    return area


@pytest.mark.parametrize("signed", [True, False])
def test_segmentation_ap_by_threshold(signed: bool) -> None:
    """Values on a coarse scale, so that there are ties."""
    rng = np.random.default_rng(8)
    maps = rng.integers(-3 if signed else 0, 4, size=(5, 6, 7)) / 2
    masks = rng.random((5, 6, 7)) < 0.3
    expected, accuracy = [], []
    for s, mask in zip(maps, masks, strict=True):
        above = s > (0 if signed else s.mean())
        scores = np.stack([~above, above]).astype(float).ravel()
        expected.append(average_precision(scores, np.stack([~mask, mask]).ravel()))
        accuracy.append((above == mask).mean())
    close(score_maps("segmentation-ap", maps, masks), expected, 1e-6)
    # Half of the labels are true, so a share a of right pixels is a precision of a at a recall of a, then of 1/2.
    close(score_maps("segmentation-ap", maps, masks), [a * a + (1 - a) / 2 for a in accuracy], 1e-6)
    x = torch.zeros(5, 3, 6, 7, dtype=torch.double)
    measured = ll.metric("segmentation-ap").measure(says(always(0.5)), x, 0, torch.from_numpy(maps), truth=masks)
    close(measured.parts["pixel-accuracy"], accuracy, 1e-6)
    values = [average_precision(s.ravel(), m.ravel()) for s, m in zip(maps, masks, strict=True)]
    close(score_maps("segmentation-ap", maps, masks, binarise=False), values, 1e-6)


def test_segmentation_ap_of_maps_without_negative_values() -> None:
    """4 0 / 1 0 less its mean 1.25: one pixel, three of four right. 4 -1 / 1 0 keeps two: two of four."""
    maps = tensor([[[4, 0], [1, 0]], [[4, -1], [1, 0]]])
    close(score_maps("segmentation-ap", maps, tensor([TOP, TOP])), [0.75**2 + 0.125, 0.5**2 + 0.25])


@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("side", [7, 9, 63])
def test_segmentation_ap_of_a_constant_map(value: float, side: int) -> None:
    """S less its mean is 0 everywhere: no foreground, right where there is no object."""
    mask = torch.zeros(1, side, side, dtype=torch.bool)
    mask[:, 0] = True
    a = 1 - 1 / side
    c, x = says(always(0.5), dtype=torch.float32), torch.zeros(1, 3, side, side)
    values = ll.metric("segmentation-ap")(c, x, 0, torch.full((1, side, side), value), truth=mask)
    close(values, a * a + (1 - a) / 2, 1e-6)
