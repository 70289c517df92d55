"""A fused copy gives the same numbers, and the user's module stays as it is."""

import copy

import pytest
import torch
import torchvision

import architectures
import limelight as ll
from limelight.model.fuse import fuse


def trained(name: str) -> torch.nn.Module:
    """A network whose batch normalisation does something."""
    torch.manual_seed(0)
    net = torchvision.models.get_model(name, weights=None)
    for m in net.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            m.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
            torch.nn.init.uniform_(m.weight, 0.5, 1.5)
            torch.nn.init.normal_(m.bias, 0, 0.1)
    return net.eval()


FOLDED = ["resnet18", "mobilenet_v2", "squeezenet1_0", pytest.param("vgg11_bn", marks=pytest.mark.slow)]


@pytest.mark.parametrize("name", FOLDED)
def test_folding_changes_no_logit(name: str) -> None:
    net, x = trained(name).double(), torch.randn(2, 3, 96, 96, dtype=torch.float64)
    before = copy.deepcopy(net.state_dict())
    fast = fuse(net, x[:1])
    norms = [sum(isinstance(m, torch.nn.BatchNorm2d) for m in n.modules()) for n in (net, fast)]
    assert norms[1] == 0
    assert all(torch.equal(a, b) for a, b in zip(before.values(), net.state_dict().values(), strict=True))
    with torch.no_grad():
        torch.testing.assert_close(fast(x), net(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("architecture", architectures.ARCHITECTURES)
def test_maps_of_a_folded_classifier(architecture: str) -> None:
    net, x = architectures.build(architecture).double(), architectures.images(2).double()
    for name in ("score-cam", "ablation-cam"):
        plain, fast = (ll.method(name).raw(ll.Classifier(net, fuse=f), x, 1) for f in (False, True))
        torch.testing.assert_close(plain, fast, rtol=1e-8, atol=1e-10)


def test_new_weights_are_folded_anew() -> None:
    net, x = architectures.build("residual").double(), architectures.images(1).double()
    c = ll.Classifier(net, fuse=True)
    ll.method("score-cam")(c, x, 1)
    with torch.no_grad():
        net.get_submodule("stem.1").get_parameter("weight").mul_(2)
    expected = ll.method("score-cam").raw(ll.Classifier(net), x, 1)
    torch.testing.assert_close(ll.method("score-cam").raw(c, x, 1), expected, rtol=1e-8, atol=1e-10)
