"""Networks that slide: equal to torchvision's at its size, the mean of windows beyond, and Caffe's by their names."""

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

import limelight as ll
from limelight.data import voc
from limelight.relevance.affine_rules import Epsilon
from limelight.relevance.recording import Recording
from limelight.relevance.rules import Rules
from limelight.zoo.sliding import slide
from limelight.zoo.torchray import LogMeanExp, from_caffe


def small() -> nn.Module:
    """As a VGG: features that halve the size, a pool that changes nothing at 16 pixels, linear layers."""
    torch.manual_seed(0)
    net = nn.Module()
    net.features = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    net.avgpool = nn.AdaptiveAvgPool2d((8, 8))
    net.classifier = nn.Sequential(nn.Linear(320, 6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 4))
    return net.double().eval()


def run(net: nn.Module, x: Tensor) -> Tensor:
    return net.classifier(net.avgpool(net.features(x)).flatten(1))


def mean() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_it_slides() -> None:
    """Of a larger picture, the mean over all windows of features, cut out by hand."""
    net, x = small(), torch.randn(2, 3, 16, 20, generator=torch.Generator().manual_seed(1)).double()
    at_size = run(net, x[..., :16])
    windows = [net.features(x)[..., i : i + 8].flatten(1) for i in range(3)]
    expected = torch.stack([net.classifier(window) for window in windows]).mean(0)
    sliding = slide(net, mean())
    torch.testing.assert_close(sliding(x[..., :16]), at_size)
    torch.testing.assert_close(sliding(x), expected)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["linear", "convolutions"])
def test_sliding_alexnet_is_torchvisions(tmp_path: Path, form: str) -> None:
    network = models.alexnet(num_classes=7).eval()
    file, x = str(tmp_path / "weights.pt"), torch.randn(1, 3, 224, 224)
    torch.save(network.state_dict(), file)
    c = ll.load("sliding/alexnet", weights=file)
    if form == "convolutions":  # as this network itself is saved
        torch.save(c.module.state_dict(), file)
        c = ll.load("sliding/alexnet", weights=file)
    torch.testing.assert_close(c.module(x), network(x))
    assert c.module(torch.zeros(1, 3, 256, 300)).shape == (1, 7)


def test_names_are_told() -> None:
    with pytest.raises(ll.errors.UnknownModel, match="sliding has no classifier 'resnet50'"):
        ll.load("sliding/resnet50")
    with pytest.raises(ll.errors.UnknownModel, match="torchray has no classifier 'vgg19'"):
        ll.load("torchray/vgg19")
    with pytest.raises(ll.errors.InvalidOption, match=r"'imagenet'.*voc, coco"):
        ll.load("torchray/resnet50", weights="imagenet")


def test_log_mean_exp_has_the_benchmarks_gradient() -> None:
    """exp(score) over its sum, at each position; and one position is the score itself."""
    x = torch.randn(2, 3, 2, 4).double().requires_grad_()
    score = LogMeanExp()(x)
    (found,) = torch.autograd.grad(score[:, 1].sum(), x)
    expected = torch.zeros_like(x)
    expected[:, 1] = x[:, 1].exp() / x[:, 1].exp().sum((1, 2), keepdim=True)
    torch.testing.assert_close(found, expected.detach())
    torch.testing.assert_close(LogMeanExp()(x[:, :, :1, :1]), x[:, :, 0, 0])


def caffe(resnet: nn.Module) -> "OrderedDict[str, Tensor]":
    """The state as Caffe had it: blue first, normalisations in two parts."""
    state: OrderedDict[str, Tensor] = OrderedDict()
    for key, value in resnet.state_dict().items():
        parts = key.split(".")
        if parts[-2].startswith("bn") or (len(parts) > 2 and parts[-3:-1] == ["downsample", "1"]):
            half = "1" if parts[-1] in ("weight", "bias") else "0"
            key = ".".join([*parts[:-1], half, parts[-1]])
        state[key] = value.flip(1) if key == "conv1.weight" else value
    return state


@pytest.mark.slow
def test_resnet_of_the_benchmark(tmp_path: Path) -> None:
    c = ll.load("torchray/resnet50", weights=None)
    assert tuple(c.labels or ()) == voc.CLASSES
    with torch.no_grad():
        for value in c.module.state_dict().values():
            if value.is_floating_point():
                value.add_(0.01 * torch.rand_like(value))
    file = str(tmp_path / "resnet50.pth.tar")
    torch.save(caffe(c.module), file)
    again = ll.load("torchray/resnet50", weights=file)
    x = torch.randn(1, 3, 224, 290)
    torch.testing.assert_close(again.module(x), c.module(x))
    net = c.module
    assert isinstance(net, nn.Sequential)
    features = nn.Sequential(*list(net)[:8])(x)
    assert features.shape[-2:] == (7, 9)  # pools round up: 290 / 32 is 9.06
    windows = torch.stack([features[..., i : i + 7].mean((2, 3)) for i in range(3)], -1)
    scores = torch.einsum("kc,bci->bki", net.fc.weight[:, :, 0, 0], windows) + net.fc.bias[:, None]
    highest = scores.amax(2, keepdim=True)
    torch.testing.assert_close(net(x), (scores - highest).exp().mean(2).log() + highest[..., 0])
    assert [net.layer2[0].conv1.stride, net.layer2[0].conv2.stride, net.conv1.bias is None] == [(2, 2), (1, 1), False]


def test_vgg_of_the_benchmark_by_its_names() -> None:
    state = {
        "features.0.weight": torch.arange(27.0).view(1, 3, 3, 3),
        "features.2.weight": torch.zeros(1, 1, 3, 3),
        **{f"classifier.{i}.weight": torch.full((2, 2), float(i)) for i in (0, 2, 4)},
    }
    found = from_caffe(state)
    assert list(found) == [
        *("features.0.weight", "features.2.weight", "classifier.0.weight", "classifier.3.weight"),
        "classifier.6.weight",
    ]
    assert torch.equal(found["features.0.weight"][0, 0], state["features.0.weight"][0, 2])
    assert [int(found[f"classifier.{i}.weight"][0, 0]) for i in (0, 3, 6)] == [0, 2, 4]
    assert from_caffe(found).keys() == found.keys(), "once is enough"
    assert torch.equal(from_caffe(found)["features.0.weight"], found["features.0.weight"])


def test_relevance_passes_the_score_in_shares_that_add_up() -> None:
    """Without biases all that enters arrives, and no call is without a rule."""
    net, x = small(), torch.randn(2, 3, 16, 20, generator=torch.Generator().manual_seed(1)).double()
    for part in net.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.zeros_(part.bias)
    recording = Recording(ll.Classifier(slide(net, LogMeanExp()).eval()), x)
    assert recording.unruled == []
    seed = torch.zeros_like(recording.logits)
    seed[:, 2] = 1
    found = recording.to_image(Rules({"affine": Epsilon(0.0)}), recording.logits, seed)
    torch.testing.assert_close(found.sum((1, 2, 3)), torch.ones(2).double())
