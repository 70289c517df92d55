"""Weights that are not here, with a network and without."""

import threading
from pathlib import Path

import pytest
import torch

from limelight.errors import WeightsUnavailable
from limelight.zoo import load
from limelight.zoo.network import require_host


@pytest.mark.parametrize("name", ["torchvision/resnet18", "timm/resnet18", "hf/some-org/some-model"])
@pytest.mark.parametrize("offline", [False, True])
def test_without_network(
    name: str, offline: bool, no_network: Path, refused: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not name.startswith("torchvision"):
        pytest.importorskip("timm", reason="the package timm is not installed")
        constants = pytest.importorskip(
            "huggingface_hub", reason="the package huggingface_hub is not installed"
        ).constants
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(no_network))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    with pytest.raises(WeightsUnavailable, match=r"weights=PATH.*weights=None") as caught:
        load(name)
    assert len(refused) == (0 if offline and "torchvision" not in name else 1)  # no minutes of trying again
    assert str(no_network) in str(caught.value)


def test_a_host_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    give_up, given_up = threading.Event(), threading.Event()

    def slow(*_: object, **__: object) -> None:
        give_up.wait(60)
        given_up.set()
        raise OSError("timed out")

    monkeypatch.setattr("socket.create_connection", slow)
    with pytest.raises(WeightsUnavailable):
        require_host("https://localhost/x", "a model", "somewhere", patience=0.1)
    assert not given_up.is_set()
    give_up.set()
    assert given_up.wait(60)


def test_weights_in_the_cache_need_no_network(no_network: Path) -> None:
    from torchvision import models

    url = models.get_weight("SqueezeNet1_1_Weights.IMAGENET1K_V1").url
    file = no_network / "hub" / "checkpoints" / url.rpartition("/")[2]
    file.parent.mkdir(parents=True)
    torch.save(models.squeezenet1_1().state_dict(), file)
    assert load("torchvision/squeezenet1_1").labels is not None
