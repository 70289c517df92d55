"""The linear classifier behind global average pooling, from which CAM has its weights."""

import pytest
import torch
from torch import nn

import architectures
import limelight as ll

X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def network(outputs: int = 3) -> nn.Sequential:
    return architectures.small(outputs, (4, 6))


@pytest.mark.parametrize("end", [[], [nn.Sigmoid()]], ids=["logit", "probability"])
def test_cam_of_a_single_output(end: list[nn.Module]) -> None:
    """Its weights are those of the second class, halved, and with the other sign those of the first."""
    net = nn.Sequential(*network(1), *end)
    acts = net[:4](X)
    want = torch.einsum("k,nkhw->nhw", net[6].weight[0].detach(), acts) / 2
    for target, sign in ((0, -1), (1, 1)):
        raw = ll.method("cam").raw(net, X, target)
        torch.testing.assert_close(raw, sign * want.detach(), rtol=1e-4, atol=1e-6)
    raw = ll.method("cam", layer="3").raw(net, X, 1)  # as Grad-CAM has it, but for the mean over positions
    torch.testing.assert_close(raw / raw.abs().max(), want.detach() / want.abs().max(), rtol=1e-4, atol=1e-6)


def test_cam_of_a_single_convolved_output() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    with torch.no_grad():
        net[2].weight.abs_()
    raw = ll.method("cam", layer="1").raw(net, X, 1)
    want = torch.einsum("k,nkhw->nhw", net[2].weight[0, :, 0, 0], net[:2](X)) / 2
    torch.testing.assert_close(raw, want.detach(), rtol=1e-4, atol=1e-6)
