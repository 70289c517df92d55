"""A bare module or a name is enough wherever a classifier is asked for."""

import pytest
import torch
from torch import nn

import architectures
import limelight as ll
from limelight.api import plan
from limelight.errors import (
    UnknownModel,
    UnsupportedModel,
)

X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
MAPS = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(1))


def network(outputs: int = 3) -> nn.Sequential:
    return architectures.small(outputs, (4, 6))


def test_a_bare_module_is_enough() -> None:
    net, method = network(), ll.method("grad-cam")
    classifier = ll.Classifier(net)
    assert torch.equal(method(net, X, 1), method(classifier, X, 1))
    assert torch.equal(method.raw(net, X, 1), method.raw(classifier, X, 1))
    assert method.run(net, X).target.tolist() == net(X).argmax(1).tolist()
    assert str(method.cost(net, X)) == str(method.cost(classifier, X))
    deletion = ll.metric("deletion", step=64)
    assert torch.equal(deletion(net, X, 1, MAPS), deletion(classifier, X, 1, MAPS))
    assert deletion.measure(net, X, 1, MAPS).curve is not None
    again = ll.metric("coherency")
    assert torch.equal(again(net, X, 1, MAPS, method=method), again(classifier, X, 1, MAPS, method=method))
    assert plan(net, X[0], "grad-cam").layers == ("3",)
    assert ll.check(net, X, "grad-cam", "complexity", at_least=0).images == 2
    assert ll.sanity(net, X, ["grad-cam"])[1].methods == ["grad-cam"]
    assert ll.propose(net, X[0], "grad-cam", boxes=[[0, 0, 8, 8]]).explanation.method == "grad-cam"
    assert ll.choose(net, X, ["grad-cam", "layer-cam"], "complexity").given == 2


def test_a_name_is_enough() -> None:
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(ll.method("grad-cam")("demo/resnet", x), ll.method("grad-cam")(ll.load("demo/resnet"), x))
    assert ll.metric("complexity")("demo/resnet", x, 0, torch.rand(1, 64, 64)).shape == (1,)
    with pytest.raises(UnknownModel):
        ll.method("grad-cam")("demo/resnext", x)
    with pytest.raises(UnsupportedModel, match=r"expected a torch\.nn\.Module, got function"):
        ll.method("grad-cam")(lambda x: x, x)  # type: ignore[arg-type]
