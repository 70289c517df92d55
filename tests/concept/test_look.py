"""Relevance through chosen channels alone: sums, another package's numbers, layouts, and the model as it was."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import architectures
import limelight as ll
from limelight.concept.concepts import settings_for
from limelight.concept.look import Batch, Look, look
from limelight.model.cost import Meter
from limelight.model.layers import Layout
from limelight.model.preserve import preserve_state
from limelight.model.targets import Targets


def look_at(classifier: Any, x: Tensor, layer: str | None = None, composite: Any = None, target: Any = None) -> Look:
    with preserve_state(classifier.module):
        settings = settings_for(classifier, layer, composite, Meter(), x, strict=False)
        return look(Batch(settings, x, Targets.parse(target, classifier, x)))


def channel(seen: Look, number: int) -> Tensor:
    return (torch.arange(seen.acts.shape[1]) == number).to(seen.acts)[None, :, None]


@pytest.mark.parametrize("name", ["demo/resnet", "demo/vgg"])
def test_channels_and_the_rest_add_up_to_the_map_of_lrp(name: str) -> None:
    classifier, picture = ll.load(name), ll.example_image(1)
    seen = look_at(classifier, classifier.preprocess(picture)[None])
    masks = [channel(seen, 3), channel(seen, 40)]
    maps = seen.condition([*masks, 1 - sum(masks)])
    assert seen.whole is not None
    whole = ll.explain(classifier, picture, "lrp", init="logit").raw
    assert (seen.whole[0] - whole).abs().max() < 1e-6 * whole.abs().max()
    assert (maps.sum(1)[0] - whole).abs().max() < 1e-5 * whole.abs().max()
    assert (maps[0, 0] - maps[0, 1]).abs().max() > 0.01 * maps[0, 0].abs().max()


@pytest.mark.parametrize("name", ["plain", "residual", "tokens"])
def test_all_channels_add_up(name: str) -> None:
    """Also where relevance goes past the layer, that which passes it; and copies side by side give the same."""
    classifier = ll.Classifier(architectures.build(name).double(), size=architectures.SIZE)
    seen = look_at(classifier, architectures.images(2).double())
    masks = [channel(seen, k) for k in range(seen.acts.shape[1])]
    maps = seen.condition(masks)
    assert seen.whole is not None
    torch.testing.assert_close(maps.sum(1), seen.whole, rtol=1e-9, atol=1e-9 * float(seen.whole.abs().max()))
    torch.testing.assert_close(seen.condition(masks[:4], copies=3), maps[:, :4])
    assert float(sum(seen.share(mask).abs() for mask in masks).max()) <= 1 + 1e-9


@pytest.mark.filterwarnings("ignore")  # of theirs
def test_as_zennit_with_the_relevance_masked_by_a_hook() -> None:
    attribution = pytest.importorskip("zennit.attribution", reason="zennit is not installed")
    from zennit.composites import EpsilonPlus

    net, x = architectures.build("plain").double(), architectures.images(2).double()
    classifier = ll.Classifier(net, size=architectures.SIZE)
    seen = look_at(classifier, x, "features.4", target=2)
    masks = [channel(seen, k) for k in (0, 5)]
    ours, start = seen.condition(masks), classifier(x) * torch.eye(5).double()[[2, 2]]
    for mask, expected in zip(masks, ours.unbind(1), strict=True):

        def hook(_module: nn.Module, _args: Any, output: Tensor, mask: Tensor = mask) -> Tensor:
            kept = output.clone()
            kept.register_hook(lambda r: r * mask[..., None])
            return kept

        with attribution.Gradient(model=net, composite=EpsilonPlus()) as attributor:
            handle = net.features[4].register_forward_hook(hook)
            theirs = attributor(x, start)[1].sum(1)
            handle.remove()
        assert (theirs - expected).abs().max() < 1e-5 * theirs.abs().max()


def test_relevance_of_a_channel_by_hand() -> None:
    """Below one linear layer over pooled channels R_k = a_k w_k, whatever the sign of the score."""
    net = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net.append(nn.Linear(4, 3, bias=False)).double()
    x = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    seen = look_at(ll.Classifier(net, size=4), x, "1", target=1)
    acts = net[:2](x).detach()
    expected = acts / 16 * net[4].weight[1].detach()[None, :, None, None]
    torch.testing.assert_close(seen.relevance, expected.flatten(2), rtol=1e-3, atol=1e-9)


def test_columns_end_with_the_map_whatever_the_layout() -> None:
    layouts = {
        Layout("nchw", (2, 3)): torch.randn(4, 5, 2, 3),
        Layout("nhwc", (2, 3)): torch.randn(4, 2, 3, 5),
        Layout("tokens", (2, 3), prefix=2): torch.randn(4, 8, 5),
        Layout("tokens_first", (2, 3), prefix=1): torch.randn(7, 4, 5),
        Layout("custom", (2, 3), convert=lambda t: t.unflatten(2, (2, 3))): torch.randn(4, 5, 6),
    }
    for layout, output in layouts.items():
        columns = layout.columns(output)
        assert columns[:, :, layout.prefix :].equal(layout.maps(output).flatten(2))
        assert columns.shape == (4, 5, layout.prefix + 6)
