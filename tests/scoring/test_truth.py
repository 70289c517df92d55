"""Masks and boxes in every form in which people hold them."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import architectures
import limelight as ll
from limelight.errors import (
    MissingTruth,
)

X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
MAPS = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(1))


def network(outputs: int = 3) -> nn.Sequential:
    return architectures.small(outputs, (4, 6))


MASK = torch.zeros(2, 16, 16, dtype=torch.bool)
MASK[0, 2:9, 3:8] = MASK[1, 4:, :6] = True


@pytest.mark.parametrize(
    "form",
    [
        lambda m: m[:, None],
        lambda m: m.numpy(),
        lambda m: m[:, None].numpy().astype(np.uint16),
        lambda m: m.float(),
        lambda m: list(m),
        lambda m: [one[None] for one in m],
        lambda m: [[3, 2, 8, 9], np.array([[0, 4, 6, 16]])],
        lambda _: torch.tensor([[3, 2, 8, 9], [0, 4, 6, 16]]),
        lambda _: np.array([[3, 2, 8, 9.0], [0, 4, 6, 16]]),
        lambda m: ll.Truth(m),
    ],
)
def test_forms_of_truth(form: Any) -> None:
    classifier, metric = ll.Classifier(network()), ll.metric("proportion")
    want = metric(classifier, X, 0, MAPS, truth=MASK)
    assert want.isfinite().all()
    assert torch.equal(metric(classifier, X, 0, MAPS, truth=form(MASK)), want)
    rows = ll.evaluate(classifier, X, ["grad-cam"], ["proportion"], 0, truth=form(MASK)).rows
    plain = ll.evaluate(classifier, X, ["grad-cam"], ["proportion"], 0, truth=MASK).rows
    assert [r.values for r in rows] == [r.values for r in plain]


@pytest.mark.parametrize(
    "form", [lambda m: m, lambda m: m[None], lambda m: m[None, None], lambda m: np.array([3, 2, 8, 9])]
)
def test_truth_of_one_image(form: Any) -> None:
    want = ll.metric("proportion")(network(), X[:1], 0, MAPS[:1], truth=MASK[:1])
    assert torch.equal(ll.metric("proportion")(network(), X[:1], 0, MAPS[:1], truth=form(MASK[0])), want)


@pytest.mark.parametrize(
    "truth",
    [MASK[0], MASK[:, :8], MASK.float() * torch.nan, np.array([["a", "b"]]), MASK.expand(3, 2, 16, 16), "mask", 3],
)
def test_what_is_no_truth(truth: Any) -> None:
    with pytest.raises(MissingTruth, match=r"expected masks \(2, 16, 16\)"):
        ll.metric("proportion")(network(), X, 0, MAPS, truth=truth)


@pytest.mark.parametrize("box", [[0, 0, 17, 8], [0, 0, 8, 17], [-1, 0, 8, 8], [20, 20, 30, 30], [0, -5, 3, 3]])
def test_a_box_that_leaves_the_input_is_refused(box: list[int]) -> None:
    for truth in ([box, None], [[1, 1, 5, 5], [[1, 1, 5, 5], box]], np.array([box, box])):
        with pytest.raises(MissingTruth, match=r"network's input, which has 16 x 16 \(H x W\)"):
            ll.metric("proportion")(network(), X, 0, MAPS, truth=truth)
        with pytest.raises(MissingTruth, match="network's input"):
            ll.evaluate(network(), X, ["grad-cam"], ["proportion"], 0, truth=truth)
