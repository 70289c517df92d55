"""The rules of calculus give what autograd gives, on every network as it is."""

import pytest
import torch
import torchvision
from torch import Tensor, nn

import architectures
import limelight as ll
from limelight.model.outputs import class_scores
from relevance.networks import close, record

SMALL = (
    "resnet18",
    "densenet121",
    "googlenet",
    "mobilenet_v2",
    "efficientnet_b0",
    "convnext_tiny",
    "shufflenet_v2_x0_5",
)


def lively(net: nn.Module) -> nn.Module:
    """Statistics of batch normalisation that do something."""
    generator = torch.Generator().manual_seed(0)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.copy_(0.1 * torch.randn(m.num_features, generator=generator))
            m.running_var.copy_(0.5 + torch.rand(m.num_features, generator=generator))
    return net.double().eval()


def assert_calculus(net: nn.Module, x: Tensor) -> None:
    recording = record(net, x)
    leaf = x.clone().requires_grad_()
    logits = class_scores(net(leaf), len(leaf))
    (expected,) = torch.autograd.grad(logits[:, 1].sum(), leaf)
    assert expected.abs().max() > 0
    close(recording.logits.detach(), logits.detach())
    close(recording.gradients(recording.logits[:, 1], [recording.image])[0], expected)


@pytest.mark.parametrize("name", SMALL)
def test_rules_of_calculus_give_the_gradient(name: str) -> None:
    torch.manual_seed(0)
    more = {"init_weights": False} if name == "googlenet" else {}
    net = lively(torchvision.models.get_model(name, weights=None, **more))
    recording = record(net, torch.randn(1, 3, 64, 64).double())
    assert not recording.unruled
    assert_calculus(net, torch.randn(2, 3, 64, 64).double())


@pytest.mark.parametrize("name", architectures.ARCHITECTURES)
def test_rules_of_calculus_on_every_architecture(name: str) -> None:
    net = architectures.build(name).double()
    assert_calculus(net, architectures.images(2).double())


CLAIMED = (
    *("alexnet", "vgg16", "vgg19", "resnet50", "resnet101", "densenet121", "inception_v3", "googlenet"),
    *("mobilenet_v2", "efficientnet_b0", "convnext_tiny"),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMED)
def test_networks_need_no_preparation(name: str) -> None:
    torch.manual_seed(0)
    more = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    c = ll.Classifier(torchvision.models.get_model(name, weights=None, **more).eval())
    x = torch.randn(1, 3, 80, 80)
    for method in ("lrp-comp", "attribution-equilibrium", "agf"):
        saliency = ll.method(method).run(c, x, 1)
        assert torch.isfinite(saliency.raw).all()
        assert not any("no rule" in note for note in saliency.notes), saliency.notes
