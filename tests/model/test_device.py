"""Devices that are not there."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

import limelight as ll
from hostile import TEXTS
from limelight.errors import InvalidOption
from limelight.model.device import require_device
from limelight.pages.benchmark import open_run

LACKING = ["x", "", "meta", "cpu:7", "cuda:99", "cuda:-1", f"cuda:{'9' * 30}", "xla", "hpu", "cpu ", "CPU", "a,b"]
LACKING += [] if torch.cuda.is_available() else ["cuda", "cuda:0"]
LACKING += [] if torch.backends.mps.is_available() else ["mps"]


@pytest.mark.parametrize("device", [*LACKING, *TEXTS.values()], ids=[*LACKING, *TEXTS])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(InvalidOption, match="use cpu") as refused:
        require_device(device)
    assert len(str(refused.value).splitlines()) <= 1 + device.count("\n")


def test_devices_that_are_there() -> None:
    assert require_device("cpu") == require_device(torch.device("cpu")) == torch.device("cpu")
    assert ll.load("demo/resnet", device="cpu").device == torch.device("cpu")


def test_weights_and_images_without_values_are_refused() -> None:
    net, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), torch.randn(1, 3, 8, 8)
    model, absent = ll.Classifier(net, size=8), ll.Classifier(copy.deepcopy(net).to("meta"), size=8)
    maps, deletion = torch.rand(1, 8, 8), ll.metric("deletion")
    for attempt in (
        lambda: model(x.to("meta")),
        lambda: absent(x),
        lambda: absent(x.to("meta")),
        lambda: absent.classes(),
        lambda: absent.stages,
        lambda: ll.method("grad-cam")(model, x.to("meta")),
        lambda: ll.explain(absent, x, method="rise"),
        lambda: deletion(absent, x, 1, maps),
    ):
        with pytest.raises(InvalidOption, match="meta holds no numbers"):
            attempt()


def test_every_way_to_name_one_is_checked_first(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="device"):
        ll.load("no/such-model", device="x")
    with pytest.raises(InvalidOption, match="device"):
        open_run(tmp_path / "no run", device="cuda:99")
