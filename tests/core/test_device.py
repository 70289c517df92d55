"""Devices that are not there."""

from pathlib import Path

import pytest
import torch

import limelight as ll
from hostile import TEXTS
from limelight.core.device import usable
from limelight.errors import InvalidOption
from limelight.report.benchmark import open_run

LACKING = ["x", "", "meta", "cuda:99", "cuda:-1", f"cuda:{'9' * 30}", "xla", "hpu", "cpu ", "CPU", "a,b"]
LACKING += [] if torch.cuda.is_available() else ["cuda", "cuda:0"]
LACKING += [] if torch.backends.mps.is_available() else ["mps"]


@pytest.mark.parametrize("device", [*LACKING, *TEXTS.values()], ids=[*LACKING, *TEXTS])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(InvalidOption, match="use cpu") as refused:
        usable(device)
    assert len(str(refused.value).splitlines()) <= 1 + device.count("\n")


def test_devices_that_are_there() -> None:
    assert usable("cpu") == usable(torch.device("cpu")) == torch.device("cpu")
    assert ll.load("demo/resnet", device="cpu").device == torch.device("cpu")


def test_every_way_to_name_one_is_checked_first(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="device"):
        ll.load("no/such-model", device="x")
    with pytest.raises(InvalidOption, match="device"):
        open_run(tmp_path / "no run", device="cuda:99")
