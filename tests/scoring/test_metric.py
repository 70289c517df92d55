"""Maps and methods that a metric is given, in every form in which people hold them."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import architectures
import limelight as ll
from limelight.errors import (
    InvalidMap,
    InvalidOption,
    UnknownMethod,
)

X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
MAPS = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(1))


def network(outputs: int = 3) -> nn.Sequential:
    return architectures.small(outputs, (4, 6))


@pytest.mark.parametrize(
    "form",
    [
        lambda m: m[:, None],
        lambda m: m.numpy(),
        lambda m: m[:, None].numpy(),
        lambda m: m.double().numpy(),
        lambda m: m.numpy().astype(">f4"),
        lambda m: m.flip(-1).numpy()[..., ::-1],
        lambda m: list(m),
        lambda m: [one.numpy()[None] for one in m],
        lambda m: m.requires_grad_(),
    ],
)
def test_forms_of_maps(form: Any) -> None:
    classifier, deletion = ll.Classifier(network()), ll.metric("deletion", step=64)
    want = deletion(classifier, X, [0, 1], MAPS)
    torch.testing.assert_close(deletion(classifier, X, [0, 1], form(MAPS.clone())), want)


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (MAPS[0], r"\(2, 16, 16\), got \(16, 16\)"),
        (MAPS[:, :8], r"got \(2, 8, 16\)"),
        (MAPS[:1], r"got \(1, 16, 16\)"),
        (MAPS[..., None], r"got \(2, 16, 16, 1\)"),
        (X, "of colours, give their sum or mean over axis 1"),
        ([MAPS[0], MAPS[1][:8]], "maps of one size"),
        ([], "got list"),
        ("grad-cam", "got str"),
        (np.array([["a"]]), "real numbers"),
        (MAPS.to(torch.complex64), "real numbers"),
        (MAPS.index_fill(0, torch.tensor([1]), torch.nan), "map 1 has values"),
    ],
)
def test_what_are_no_maps(maps: Any, message: str) -> None:
    with pytest.raises(InvalidMap, match=message):
        ll.metric("complexity")(network(), X, 0, maps)


def test_the_method_of_a_metric_may_be_a_name() -> None:
    judged = [ll.metric("coherency")(network(), X, 0, MAPS, method=m) for m in ("grad-cam", ll.method("grad-cam"))]
    assert torch.equal(*judged)
    with pytest.raises(UnknownMethod, match="did you mean grad-cam"):
        ll.metric("coherency")(network(), X, 0, MAPS, method="grad-cm")
    with pytest.raises(InvalidOption, match="method=3 is no method"):
        ll.metric("coherency")(network(), X, 0, MAPS, method=3)  # type: ignore[arg-type]
