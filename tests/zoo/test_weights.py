"""Weights from files, put into models of a zoo."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.torch_version import TorchVersion

from limelight.errors import UnsupportedModel, WeightsUnavailable
from limelight.zoo import load


@pytest.mark.parametrize("write", [torch.save, lambda state, path: save_file(state, path)])
@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1"])
def test_weights_from_a_file_with_other_classes(
    name: str, write: Callable[[object, Path], None], tmp_path: Path
) -> None:
    from torchvision import models

    source = models.get_model(name, num_classes=7)
    path = tmp_path / ("w.pth" if write is torch.save else "w.safetensors")
    write(source.state_dict(), path)
    classifier = load(f"torchvision/{name}", weights=path)
    assert classifier.labels is None
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(classifier(x), source.eval()(x))


def test_weights_of_training_scripts(tmp_path: Path) -> None:
    from torchvision import models

    state = models.resnet18(num_classes=3).state_dict()
    path = tmp_path / "checkpoint.ckpt"
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3}, path)
    assert load("torchvision/resnet18", weights=path)(torch.zeros(1, 3, 64, 64)).shape == (1, 3)
    with pytest.raises(UnsupportedModel, match=r"load\('torchvision/NAME', weights="):
        load(path)


def test_weights_of_another_model(tmp_path: Path) -> None:
    from torchvision import models

    path = tmp_path / "w.pt"
    torch.save(models.resnet18().state_dict(), path)
    with pytest.raises(UnsupportedModel, match="do not fit"):
        load("torchvision/resnet50", weights=path)
    with pytest.raises(WeightsUnavailable, match="there is no file"):
        load("torchvision/resnet50", weights=tmp_path / "other.pt")


def test_pytorch_that_runs_code_in_weights_reads_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2025-32434: before 2.6 a file could run code although weights alone were asked for."""
    path = tmp_path / "w.pt"
    torch.save(load("torchvision/squeezenet1_1", weights=None).module.state_dict(), path)
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.5.1"))
    with pytest.raises(UnsupportedModel, match=r"PyTorch 2.5.1 can't read .* without running code.*trust=True"):
        load("torchvision/squeezenet1_1", weights=path)
    assert load("torchvision/squeezenet1_1", weights=path, trust=True)(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
