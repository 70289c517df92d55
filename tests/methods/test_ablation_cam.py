"""Ablation-CAM: by hand, against brute force, identities, and other people's code."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import architectures
import limelight as ll
from methods.goldens import TINY, assert_same_map, classifier, golden, inputs


class Pooled(nn.Module):
    """Activations that are the input itself, global average pooling, one linear layer."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.layer = nn.Identity()
        self.features = nn.Conv2d(channels, channels, 1)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((-2, -1)))


def gaplin() -> tuple[ll.Classifier, Tensor]:
    """The spec's worked example: A of three 2 x 2 channels, w = (2, -1, 1/2), b = 1/4."""
    net = Pooled(3, 2).double()
    with torch.no_grad():
        net.features.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
        net.features.bias.zero_()  # type: ignore[union-attr]
        net.head.weight.copy_(torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 0.0]]))
        net.head.bias.copy_(torch.tensor([0.25, 0.0]))
    x = torch.tensor([[[4.0, 0], [0, 0]], [[0, 2], [0, 2]], [[2, 2], [2, 2]]]).double()[None]
    return ll.Classifier(net, layer="features", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)), x


def test_ablation_by_hand() -> None:
    c, x = gaplin()
    saliency = ll.method("ablation-cam").run(c, x, 0)
    expected = torch.tensor([[8.0, -4.0, 4.0]]).double() / 9
    torch.testing.assert_close(saliency.details["weights"], expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(saliency.map[0], torch.tensor([[1.0, 0.0], [0.2, 0.0]]))


@pytest.mark.parametrize("score", ["logit", "prob", "logprob", "margin"])
@pytest.mark.parametrize("architecture", architectures.ARCHITECTURES)
def test_ablation_closed_form_is_brute_force(architecture: str, score: Any) -> None:
    net = architectures.build(architecture).double()
    c, x = ll.Classifier(net), architectures.images(2).double()
    ours = ll.method("ablation-cam", score=score).run(c, x, 1)
    tails = ll.method("ablation-cam", score=score, closed_form=False).run(c, x, 1)
    brute = torch.stack([brute_force(c, x, k, score) for k in range(ours.details["weights"].shape[1])], 1)
    y = ours.score
    for weights in (ours.details["weights"], tails.details["weights"]):
        torch.testing.assert_close(weights, (y[:, None] - brute) / y[:, None].abs(), rtol=1e-10, atol=1e-12)
    assert ours.cost.forwards <= tails.cost.forwards


def brute_force(c: ll.Classifier, x: Tensor, k: int, score: str) -> Tensor:
    """The score of class 1 with a channel of the layer overwritten by 0, the whole network run."""
    (info,) = c.layers(None, x)
    assert info.layout is not None

    def zero(_m: nn.Module, _i: Any, output: Tensor) -> Tensor:
        output = output.clone()
        info.layout.maps(output)[:, k] = 0  # type: ignore[union-attr]
        return output

    handle = c.module.get_submodule(info.name).register_forward_hook(zero)
    try:
        z = c(x)
    finally:
        handle.remove()
    others = z.clone()
    others[:, 1] = -torch.inf
    return {
        "logit": z[:, 1],
        "prob": z.softmax(1)[:, 1],
        "logprob": z.log_softmax(1)[:, 1],
        "margin": z[:, 1] - others.amax(1),
    }[score]


def test_ablation_on_a_pooled_head_is_cam_and_wgrad_cam_up_to_scale() -> None:
    net = architectures.build("residual").double()
    c, x = ll.Classifier(net), architectures.images(3).double()
    ablation, cam = (ll.method(m).raw(c, x, 2) for m in ("ablation-cam", "cam"))
    y = c(x)[:, 2].abs()
    area = 1  # w_k a_k with a_k the mean: sum_k w_k a_k A_k, which is WGrad-CAM's weight on such heads
    wgrad = ll.method("wgrad-cam").raw(c, x, 2)
    scale = (ablation * y[:, None, None]).flatten(1).norm(dim=1) / wgrad.flatten(1).norm(dim=1)
    torch.testing.assert_close(ablation * y[:, None, None], area * wgrad * scale[:, None, None], rtol=1e-9, atol=1e-12)
    assert not torch.allclose(cam, ablation)


@pytest.mark.parametrize("model", [*TINY, "squeezenet"])
def test_ablation_like_the_grad_cam_package(model: str) -> None:
    _, arrays = golden(f"gradcam-ablationcam-{model}")
    for name in (n for n in arrays.files if n.startswith("raw@")):
        layer = name.removeprefix("raw@")
        theirs = arrays[name]
        c = classifier(model)
        x = inputs(model)[: len(theirs)]
        raw = ll.method("ablation-cam", layer=layer).raw(c, x, list(map(int, arrays["target"][: len(theirs)])))
        assert_same_map(raw, theirs, 1e-3)
