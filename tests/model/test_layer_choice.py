"""Layers that are named, or given as modules."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import architectures
import limelight as ll
from limelight import errors

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
        with pytest.raises(errors.UnknownLayer, match="is not a part of"):
            ll.explain(network(), X, layer=layer)
    with pytest.raises(errors.InvalidOption, match="option layer"):
        ll.method("grad-cam", layer=3)


def test_layers_by_name_module_and_option() -> None:
    net, x = architectures.build("residual"), architectures.images(1)
    expected = ll.method("grad-cam").raw(ll.Classifier(net, layer="layer1"), x)
    for same in (
        ll.method("grad-cam").raw(ll.Classifier(net, layer=net.layer1), x),
        ll.method("grad-cam", layer="layer1").raw(ll.Classifier(net), x),
        ll.method("grad-cam", layer="layer1").raw(ll.Classifier(net, layer="layer2"), x),
    ):
        assert torch.equal(same, expected)
    with pytest.raises(errors.InvalidOption, match="stops at one layer, got 2: layer1, layer2"):
        ll.method("lrp", layer=("layer1", "layer2"))(ll.Classifier(net), x)


def test_wrong_layers_are_named() -> None:
    net, x = architectures.build("residual"), architectures.images(1)
    with pytest.raises(errors.UnknownLayer, match=r"no layer 'layer3'.*did you mean .*layer"):
        ll.Classifier(net, layer="layer3")
    with pytest.raises(errors.UnknownLayer, match="not a part"):
        ll.Classifier(net, layer=nn.Conv2d(1, 1, 1))
    with pytest.raises(errors.UnknownLayer, match=r"'fc' .*no map; try 'layer2'"):
        ll.method("grad-cam", layer="fc")(ll.Classifier(net), x)


def test_no_map_at_all() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 40 * 56, 4))
    with pytest.raises(errors.UnsupportedModel, match=r"no layer of Sequential has a spatial map"):
        ll.method("grad-cam")(ll.Classifier(net), architectures.images(1))


def test_a_model_without_modules_inside_says_so() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(5, 3, 3, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.conv2d(x, self.weight).mean((2, 3))

    with pytest.raises(errors.UnsupportedModel, match="let a module return the features"):
        ll.explain(Functional(), torch.rand(1, 3, 32, 32), method="grad-cam")
