"""The networks of the pointing game's benchmark: VGG-16 and ResNet-50 as Caffe had them, fully convolutional."""

import math
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn

from limelight.errors import InvalidOption, WeightsUnavailable, nearest
from limelight.model.preprocess import Preprocess
from limelight.zoo.names import is_file_name, no_such_model
from limelight.zoo.network import require_host, say_offline
from limelight.zoo.recipe import Recipe, labels_that_fit
from limelight.zoo.sliding import as_convolutions, convolutions, slide, with_classes
from limelight.zoo.weights import build_with_weights, draw_zero_weights, read_state

PREPROCESS = Preprocess(224, None, (123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255,) * 3)
"""Shorter side 224, no crop, values of 0 to 255 less the mean."""

FILES = {
    ("vgg16", "voc"): "vgg16_voc-b050e8c3.pth.tar",
    ("vgg16", "coco"): "vgg16_coco-d82c8150.pth.tar",
    ("resnet50", "voc"): "resnet50_voc-9ca920d6.pth.tar",
    ("resnet50", "coco"): "resnet50_coco-e99468c5.pth.tar",
}
"""The published weights, by network and data."""
ADDRESS = "https://dl.fbaipublicfiles.com/torchray/"


class LogMeanExp(nn.Module):
    """The logarithm of the mean over positions of exp(score), whose gradient is the softmax over positions."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, classes) of (n, classes, h, w)."""
        x = x.flatten(2)
        return x.logsumexp(2) - math.log(x.shape[2])


def names() -> list[str]:
    """Return the names of all networks."""
    return list(dict.fromkeys(name for name, _ in FILES))


def load(name: str, weights: str | None, **_given: Any) -> Recipe:
    """Build a network for VOC's 20 or COCO's 80 classes.

    Pooling rounds up, the classifier slides over the picture, ResNet strides in the first convolution of a block, pads
    no pool, and pools 7 x 7 windows last. One score is made of a class's map by ``LogMeanExp``: the benchmark begins
    all gradients with the softmax over the map, which is the gradient of that.

    Args:
        name: a name in ``names()``.
        weights: ``"voc"`` (the default) or ``"coco"``, a file with those weights or ones of this module's own names,
            or None for random ones for VOC.

    Raises:
        UnknownModel: no network of this name.
        InvalidOption: no such weights.
        WeightsUnavailable: the weights are not here and can't be fetched.
        UnsupportedModel: the weights in the file belong to another network.

    Source: Zhang et al. 2018 (excitation backprop), whose networks they are; converted and published with TorchRay.
    """
    if name not in names():
        raise no_such_model("torchray", name, nearest(name, names()))
    data = weights if weights and weights != "DEFAULT" else "voc"
    from_file = is_file_name(data)
    if not from_file and (name, data) not in FILES:
        raise InvalidOption(f"torchray/{name} has no weights {data!r} (it has: voc, coco; or give a file, or None)")
    module = draw_zero_weights(build(name))
    if weights is not None:
        file = data if from_file else _fetch(name, data)
        state = as_convolutions(from_caffe(read_state(file)), module)

        def as_many(classes: int | None) -> nn.Module:
            return module if classes is None else with_classes(module, classes)

        module = build_with_weights(as_many, state, f"torchray/{name} from {file}")
    classes = convolutions(module)[-1].out_channels
    return Recipe(module, PREPROCESS, labels_that_fit(_labels(classes), classes), {"zoo": "torchray", "name": name})


def from_caffe(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under torchvision's names and for red first; those that have these names already are left alone.

    Caffe's networks take blue first. Their VGG counts no dropout among the layers of the classifier, and their ResNet
    has every batch normalisation in two parts.
    """
    if "classifier.2.weight" not in state and not any(re.match(r"bn1\.[01]\.", key) for key in state):
        return dict(state)
    layers = {"classifier.2.": "classifier.3.", "classifier.4.": "classifier.6."}
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        name = next((new + key.removeprefix(old) for old, new in layers.items() if key.startswith(old)), key)
        name = re.sub(r"(bn\d|downsample\.\d)\.[01]\.", r"\1.", name)
        renamed[name] = value.flip(1) if name in ("features.0.weight", "conv1.weight") else value
    return renamed


def build(name: str) -> nn.Module:
    """Return a network for 20 classes, with weights drawn as torchvision does."""
    from torchvision import models

    network: Any = models.get_model(name, weights=None, num_classes=20)
    for module in network.modules():
        if isinstance(module, nn.MaxPool2d):
            module.ceil_mode = True
    if name == "vgg16":
        return slide(network, LogMeanExp())
    network.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=True)
    network.maxpool = nn.MaxPool2d(3, 2, ceil_mode=True)
    for stage in (network.layer2, network.layer3, network.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    network.avgpool, network.fc = nn.AvgPool2d(7, 1), nn.Conv2d(2048, 20, 1)
    return nn.Sequential(OrderedDict([*network.named_children(), ("score", LogMeanExp())]))


def _fetch(name: str, data: str) -> str:
    """Return the file of published weights, fetched if it is not here yet.

    Raises:
        WeightsUnavailable: it can't be fetched.
    """
    file = Path(torch.hub.get_dir()) / "checkpoints" / FILES[name, data]
    what, url = f"torchray/{name} ({data})", ADDRESS + FILES[name, data]
    if not file.is_file():
        require_host(url, what, str(file))
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(file), hash_prefix=file.name.split("-")[1][:8], progress=False)
        except (URLError, OSError, RuntimeError) as error:
            raise WeightsUnavailable(say_offline(what, f"fetching them failed ({error})", str(file))) from error
    return str(file)


def _labels(classes: int) -> list[str] | None:
    """Return the names of VOC's or COCO's classes, in the order of the outputs."""
    from torchvision.models import detection, segmentation

    if classes == 20:
        return segmentation.FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1.meta["categories"][1:]
    if classes == 80:
        named = detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
        return [label for label in named if label not in ("__background__", "N/A")]
    return None
