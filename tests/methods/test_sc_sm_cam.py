"""SC-SM CAM: groups, weights and what is silenced, by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import architectures
import limelight as ll
from methods.linear_maps import FOUR, close, linear


def sc_sm(given: tuple[ll.Classifier, Tensor], target: Any = 0, **options: Any) -> Any:
    return ll.method("sc-sm-cam", **{"score": "logit", **options}).run(*given, target)


@pytest.mark.parametrize("size", [None, 3])
def test_sc_sm_of_a_constant_image(size: int | None) -> None:
    """Self-matching does nothing: the map is that of sum_n w_n U(U_Q(A_n))."""
    c, _ = linear([[1.0, -1, 0.5, 0, 2, 1]] * 6, *FOUR)
    x = torch.full((1, 1, 6, 6), 0.5, dtype=torch.double)
    saliency = sc_sm((c, x), n_clusters=2, size=size)
    assert saliency.details["labels"].tolist() == [[0, 1, 0, 1]]
    merged = torch.tensor([[[[4, 0], [0, 0]], [[0, 0], [0, 6]]], [[[4, 2], [0, 0]], [[0, 0], [2, 8]]]]).sum(0).double()
    close(saliency.details["cluster_maps"], merged[None])
    up = F.interpolate(merged[None], (6, 6), mode="bilinear")[0]
    weights = ((x[0, 0] * up / up.amax((1, 2), True)) * c.module.v).sum((1, 2)).detach()  # the least value is 0
    close(saliency.details["weights"], weights[None])
    q = size or round(12**0.5)
    between = F.interpolate(merged[None], (q, q), mode="bilinear")
    unmatched = (weights[:, None, None] * F.interpolate(between, (6, 6), mode="bilinear")[0]).sum(0)
    close(saliency.raw, 0.5 * unmatched[None])
    positive = unmatched.relu()
    expected = (positive - positive.min()) / (positive.max() - positive.min())
    torch.testing.assert_close(saliency.map[0], expected.float())
    assert str(saliency.cost) == "4 F"


def test_sc_sm_matches_with_the_picture() -> None:
    """Where the picture is black there is nothing, however strong the activations; grey weighs by luminance."""
    c, x = linear([[1.0] * 4] * 4, *FOUR)
    x[..., :2] = 0
    saliency = sc_sm((c, x), size=4)
    assert not saliency.raw[..., :2].any()
    assert saliency.raw[..., 2:].any()

    board = torch.arange(4).add(torch.arange(4)[:, None]).remainder(2).double()[None, None]  # half of every cell
    halved = sc_sm((c, board), size=2)
    w, merged = halved.details["weights"], halved.details["cluster_maps"]
    up = F.interpolate((w[..., None, None] * merged).sum(1, True), (4, 4), mode="bilinear")
    close(halved.raw, 0.5 * up[:, 0])
    assert halved.raw.any()

    net = architectures.build("plain")
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 1.0)
    colour = ll.Classifier(net, mean=mean, std=std)
    pixels = torch.tensor([0.2, 0.6, 0.1])[:, None, None].expand(3, 40, 56)
    image = ((pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None])[None]
    found = ll.method("sc-sm-cam").run(colour, image)
    grey = 0.299 * 0.2 + 0.587 * 0.6 + 0.114 * 0.1
    w, merged = found.details["weights"], found.details["cluster_maps"]
    between = F.interpolate((w[..., None, None] * merged).sum(1, True), (20, 28), mode="bilinear")
    torch.testing.assert_close(found.raw, grey * F.interpolate(between, (40, 56), mode="bilinear")[:, 0])


def test_sc_sm_grouping() -> None:
    given = linear([[1.0, 1], [1, 2]], *FOUR, *FOUR[:1])
    assert sc_sm(given, profile="g-sm", n_clusters=3).details["labels"].tolist() == [[0, 0, 1, 1, 2]]
    alone = sc_sm(given, profile="self-matching")
    assert alone.details["labels"].tolist() == [[0, 1, 2, 3, 4]]
    assert str(alone.cost) == "7 F"
    assert ll.method("sc-sm-cam", profile="self-matching").cost(*given).n_forward == 7
    close(alone.details["cluster_maps"][0], torch.tensor([*FOUR, FOUR[0]]))
    close(alone.details["weights"], [[1, 2, 1.5, 2.25, 1]])  # the empty image scores 0


def test_sc_sm_weights() -> None:
    c, x = ll.Classifier(architectures.build("residual")), architectures.images(2)
    blank = c(torch.zeros(1, 3, *x.shape[2:])).softmax(1)[0, 3]
    saliency = ll.method("sc-sm-cam").run(c, x, 3)
    masks = F.interpolate(saliency.details["cluster_maps"], x.shape[2:], mode="bilinear")[1]
    masks = (masks - masks.amin((1, 2), True)) / (masks.amax((1, 2), True) - masks.amin((1, 2), True))
    scores = c(x[1] * masks[:, None]).softmax(1)[:, 3]
    torch.testing.assert_close(saliency.details["weights"][1], scores - blank, rtol=1e-4, atol=1e-6)
    assert str(saliency.cost) == "6 F"

    by_gradient = ll.method("sc-sm-cam", weights="gradcam", score="logit").run(c, x, 3)
    slope = c.module.fc.weight[3].detach() / saliency.details["cluster_maps"][0, 0].numel()  # pooled linear head
    for i, n in np.ndindex(2, 4):
        members = by_gradient.details["labels"][i] == n
        torch.testing.assert_close(by_gradient.details["weights"][i, n], slope[members].mean())
    assert str(by_gradient.cost) == "2 F + 1 R_t"


@pytest.mark.parametrize("architecture", ["plain", "residual", "tokens"])
def test_sc_sm_ablation_silences_the_clusters_channels(architecture: str) -> None:
    c, x = ll.Classifier(architectures.build(architecture)), architectures.images(2)
    found = ll.method("sc-sm-cam", weights="ablation", score="logit").run(c, x, 3)
    labels, name = found.details["labels"], c.layers(None, x)[0].name
    module = c.module.get_submodule(name)
    layout = next(info.layout for info in c.trace(x).layers if info.name == name)
    assert layout is not None
    for i, m in np.ndindex(2, 4):

        def silence(_: object, __: object, output: torch.Tensor, gone: torch.Tensor = labels[i] == m) -> torch.Tensor:
            output = output.clone()
            layout.maps(output)[:, gone] = 0
            return output

        handle = module.register_forward_hook(silence)
        less = c(x[i : i + 1])[0, 3]
        handle.remove()
        torch.testing.assert_close(found.details["weights"][i, m], c(x[i : i + 1])[0, 3] - less, rtol=1e-4, atol=1e-5)
