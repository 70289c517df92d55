"""Layers that are named, or given as modules."""

import pytest
import torch
from torch import nn

import architectures
import limelight as ll
from limelight.errors import (
    InvalidOption,
    UnknownLayer,
)

X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
MAPS = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(1))


def network(outputs: int = 3) -> nn.Sequential:
    return architectures.small(outputs, (4, 6))


def test_a_module_as_layer() -> None:
    net = network()
    classifier = ll.Classifier(net)
    named = ll.explain(classifier, X, layer="1")[0]
    for explained in (
        ll.explain(classifier, X, layer=net[1])[0],
        ll.explain(net, X, ll.method("grad-cam", layer=net[1]))[0],
        ll.explain(net, X, "layer-cam", layer=(net[1], "3"))[0],
    ):
        assert explained.provenance["layers"][0] == "1"
        assert explained.settings()["options"]["layer"] in ("1", ["1", "3"])
    assert torch.equal(ll.explain(classifier, X, layer=net[1])[0].map, named.map)
    method = ll.method("grad-cam", layer=net[1])
    assert repr(method) == "method('grad-cam', layer=<ReLU>)"
    assert method == ll.method("grad-cam", layer=net[1])
    assert method.cost(net, X).forwards == 1
    two = [method, ll.method("grad-cam", layer=net[3])]
    results = ll.evaluate(classifier, X, two, ["complexity"])
    assert results.methods == ["method('grad-cam', layer='1')", "method('grad-cam', layer='3')"]
    assert ll.sanity(classifier, X, [method])[1].settings["methods"]["grad-cam"]["layer"] == "1"
    sanity = ll.metric("sanity-cascading")
    assert sanity(classifier, X, 0, MAPS, method=method).shape == (2,)


def test_a_module_of_another_network_is_no_layer() -> None:
    for layer in (nn.ReLU(), network()[1], (nn.ReLU(),)):
        with pytest.raises(UnknownLayer, match="is not a part of"):
            ll.explain(network(), X, layer=layer)
    with pytest.raises(InvalidOption, match="option layer"):
        ll.method("grad-cam", layer=3)
