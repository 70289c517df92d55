"""Every method and metric gives each picture, and each changed copy of it, the picture's own further inputs."""

from collections.abc import Iterable
from typing import Any

import pytest
import torch

import limelight as ll
from model.further import Fixed, WithNumbers, batch, build
from quick import quick

TARGETS = [1, 3]
METHODS = [name for name, card in ll.methods().items() if not card.tokens_only]
"""The networks are none of tokens."""


def dear(names: Iterable[str], *quick_ones: str) -> list[Any]:
    """Of all these only some are tried by default."""
    return [name if name in quick_ones else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", dear(METHODS, "cam", "grad-cam", "ablation-cam", "rise", "lrp", "smooth-grad"))
def test_every_method_explains_a_picture_with_its_own_numbers(name: str) -> None:
    """As it explains the picture to a network that has these numbers built in."""
    network, (x, numbers) = build(WithNumbers), batch()
    method = quick(name)
    if name == "cam":
        with pytest.raises(ll.errors.UnsupportedModel, match="one linear layer"):  # the numbers come in between
            method.run(ll.Classifier(network, size=16), x, TARGETS, inputs={"numbers": numbers})
        return
    together = method.run(ll.Classifier(network, size=16), x, TARGETS, inputs={"numbers": numbers})
    for i, target in enumerate(TARGETS):
        alone = method.run(ll.Classifier(Fixed(network, numbers[i : i + 1]), size=16), x[i : i + 1], target)
        torch.testing.assert_close(together.raw[i], alone.raw[0], rtol=1e-9, atol=1e-9)
        assert together.score[i] == pytest.approx(alone.score[0].item())


@pytest.mark.parametrize("name", dear(ll.metrics(), "deletion", "coherency", "average-drop"))
def test_every_metric_judges_a_picture_with_its_own_numbers(name: str) -> None:
    network, (x, numbers) = build(WithNumbers), batch()
    metric, method = ll.metric(name), ll.method("grad-cam")
    truth = torch.zeros(2, 16, 16, dtype=torch.bool)
    truth[:, 4:12, 2:9] = True
    maps = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    c = ll.Classifier(network, size=16)
    together = metric(c, x, TARGETS, maps, method=method, truth=truth, inputs={"numbers": numbers})
    for i, target in enumerate(TARGETS):
        fixed = ll.Classifier(Fixed(network, numbers[i : i + 1]), size=16)
        alone = metric(fixed, x[i : i + 1], target, maps[i : i + 1], method=method, truth=truth[i : i + 1])
        close = 1e-5 if name.startswith("sanity") else 1e-9  # maps are compared in single precision
        torch.testing.assert_close(together[i], alone[0], rtol=close, atol=close, equal_nan=True)
