"""What all of these interfaces keep: the names that they promise, and the user's model."""

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import architectures
from compat.peers import exactly
from limelight import compat
from limelight.compat.captum import attr
from limelight.compat.grad_cam import AblationCAM, GradCAM
from limelight.compat.quantus import PixelFlipping
from limelight.compat.torchcam.methods import LayerCAM
from limelight.compat.zennit.attribution import Gradient
from limelight.compat.zennit.composites import EpsilonPlus

MODULES = [m.name for m in pkgutil.walk_packages(compat.__path__, "limelight.compat.")]


@pytest.mark.parametrize("name", MODULES)
def test_public_names_are_there(name: str) -> None:
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", ()):
        assert getattr(module, public).__module__.startswith(name)


def extract(net: Any, x: torch.Tensor) -> None:
    with LayerCAM(net, net.layer2) as extractor:
        net(x)
        extractor(1)


CALLS: dict[str, Callable[[Any, torch.Tensor], Any]] = {
    "grad-cam": lambda net, x: GradCAM(net, [net.layer2])(x, aug_smooth=True),
    "grad-cam-ablation": lambda net, x: AblationCAM(net, [net.layer2]).forward(x),
    "torchcam": extract,
    "captum": lambda net, x: attr.IntegratedGradients(net).attribute(
        x, target=1, n_steps=2, return_convergence_delta=True
    ),
    "captum-guided": lambda net, x: attr.GuidedGradCam(net, net.layer2).attribute(x, target=1),
    "quantus": lambda net, x: PixelFlipping(3360)(net, x.numpy(), np.array([1, 2])),
    "zennit": lambda net, x: Gradient(net, EpsilonPlus())(x, torch.eye(5)[[1, 2]]),
}


@pytest.mark.parametrize("call", CALLS)
def test_the_model_stays_as_it_was(call: str) -> None:
    """Also in training, of which batch statistics would be moved."""
    net, x = architectures.build("residual").train(), architectures.images(2)
    net.layer1.eval()
    modes = [m.training for m in net.modules()]
    values, parameters = {k: v.clone() for k, v in net.state_dict().items()}, [*net.parameters()]
    before = x.clone()
    if call == "torchcam":  # whose script calls the model itself, which moves them
        net.eval()
        modes = [m.training for m in net.modules()]
    CALLS[call](net, x)
    assert [m.training for m in net.modules()] == modes
    assert all(exactly(value, values[k]) for k, value in net.state_dict().items())
    assert all(a is b and a.grad is None and a.requires_grad for a, b in zip(net.parameters(), parameters, strict=True))
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in net.modules())
    assert torch.equal(x, before)
