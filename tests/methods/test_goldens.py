"""Our maps against the outputs of other people's code.

Compared is the map scaled to [0, 1] at the layer's resolution, so that constant factors (one package takes
means where another takes sums) don't count, within 1e-4.
"""

import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import limelight as ll
from conftest import SHARED, npz, shared
from limelight.ops import min_max
from methods.goldens import (
    MODELS,
    SEEDED_MODELS,
    TINY,
    CifarResNet,
    assert_same_map,
    classifier,
    golden,
    images,
    inputs,
    seeded,
)

GRAD_CAM = {
    "gradcam": ("grad-cam", {}),
    # That package adds 1e-6 to the denominator, which changes the method; so do we, to compare.
    "gradcamplusplus": ("grad-cam++", {"eps": 1e-6}),
    "xgradcam": ("xgrad-cam", {}),
    "hirescam": ("hires-cam", {}),
    "layercam": ("layer-cam", {}),
    "shapleycam": ("shapley-cam", {"score": "logit"}),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("theirs", GRAD_CAM)
def test_grad_cam_package(theirs: str, model: str) -> None:
    name, options = GRAD_CAM[theirs]
    _, arrays = golden(f"gradcam-{theirs}-{model}")
    compared = 0
    for key in arrays.files:
        what, _, layer = key.partition("@")
        if what == "raw":
            raw, target = arrays[key], torch.from_numpy(arrays["target"])
            x = inputs(model)[: len(raw)]
            ours = ll.method(name, layer=layer, **options).raw(classifier(model), x, target[: len(raw)])
            assert_same_map(ours, raw)
            compared += 1
    assert compared


EIGEN_CAM = {
    "eigencam": ("eigen-cam", {"center": True}),
    "eigengradcam": ("eigen-grad-cam", {}),
    "kpca_cam": ("kpca-cam", {}),
}


def eigen_cases() -> Iterator[Any]:
    for theirs, model in itertools.product(EIGEN_CAM, MODELS):
        large = (theirs, model) == ("kpca_cam", "tinyvgg")  # a matrix of 1024 x 1024 positions
        yield pytest.param(theirs, model, marks=[pytest.mark.slow] if large else [])


@pytest.mark.parametrize(("theirs", "model"), [*eigen_cases()])
def test_eigen_cam_package(theirs: str, model: str) -> None:
    """It centres the channels and leaves the sign to the decomposition."""
    name, options = EIGEN_CAM[theirs]
    _, arrays = golden(f"gradcam-{theirs}-{model}")
    for key in (k for k in arrays.files if k.startswith("raw@")):
        raw = torch.from_numpy(arrays[key])
        method, target = ll.method(name, layer=key.partition("@")[2], **options), torch.from_numpy(arrays["target"])
        ours = method.raw(classifier(model), inputs(model)[: len(raw)], target[: len(raw)])
        sign = torch.sign((ours * raw).sum((-2, -1), keepdim=True))
        assert_same_map(ours, sign * raw)


@pytest.mark.parametrize("model", TINY)
@pytest.mark.parametrize("theirs", GRAD_CAM)
def test_grad_cam_package_finished(theirs: str, model: str) -> None:
    """The finished map: that package scales at the layer's resolution and resizes then."""
    name, options = GRAD_CAM[theirs]
    _, arrays = golden(f"gradcam-{theirs}-{model}")
    key = next(k for k in arrays.files if k.startswith("final@"))
    final = torch.from_numpy(arrays[key])
    method = ll.method(name, layer=key.partition("@")[2], normalize_at="feature", **options)
    ours = method(classifier(model), inputs(model)[: len(final)], torch.from_numpy(arrays["target"])[: len(final)])
    # Afterwards it scales the resized map once more; and its own epsilon of 1e-7 moves faint maps.
    torch.testing.assert_close(min_max(ours)[0], min_max(final)[0], rtol=0, atol=1e-4)


TORCHCAM = {
    "cam": ("cam", {}),
    "gradcam": ("grad-cam", {}),
    # Its division has no effect on the array it is meant for: what remains is the sum of cubed gradients.
    "gradcampp": ("grad-cam++", {"variant": "cubed"}),
    "layercam": ("layer-cam", {}),
    "xgradcam": ("xgrad-cam", {}),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("theirs", TORCHCAM)
def test_torchcam(theirs: str, model: str) -> None:
    if (theirs, model) == ("cam", "tinyvgg"):
        pytest.skip("CAM is not defined for a fully connected head")
    name, options = TORCHCAM[theirs]
    about, arrays = golden(f"torchcam-{theirs}-{model}")
    raw, target = arrays["raw"], torch.from_numpy(arrays["target"])
    x = inputs(model)[: len(raw)]
    ours = ll.method(name, layer=about["target_layer"], **options).raw(classifier(model), x, target)
    assert_same_map(ours, raw)


@pytest.mark.parametrize("model", MODELS)
def test_torchcam_smooth_grad_cam_pp(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    about, arrays = golden(f"torchcam-smoothgradcampp-{model}")
    raw, target = torch.from_numpy(arrays["raw"]), torch.from_numpy(arrays["target"])
    if "noise" in arrays.files:
        noise = torch.from_numpy(arrays["noise"])[0]
    else:
        generator = torch.Generator().manual_seed(100)
        noise = torch.randn(4, 1, 3, 227, 227, generator=generator)[:, 0] * 0.3
    monkeypatch.setattr("limelight.engine.rng.Draws.normal", lambda self, shape, like: noise.to(like))
    # Its clean activations stand in alpha, those of the last noisy copy in the map: found from these numbers,
    # which no other combination reproduces. The stored noise is scaled already.
    method = ll.method("smooth-grad-cam++", profile="torchcam", layer=about["target_layer"], sigma=1.0)
    assert_same_map(method.raw(classifier(model), inputs(model)[:1], target[:1]), raw[:1])


@pytest.mark.parametrize("model", MODELS)
def test_captum_layer_grad_cam(model: str) -> None:
    about, arrays = golden(f"captum-layergradcam-{model}")
    raw = arrays["raw"]
    method = ll.method("grad-cam", layer=about["hyper_parameters"]["layer"])
    x, target = inputs(model)[: len(raw)], torch.from_numpy(arrays["target"])[: len(raw)]
    assert_same_map(method.raw(classifier(model), x, target), raw[:, 0])


@pytest.mark.parametrize("model", TINY)
@pytest.mark.parametrize(("theirs", "ours"), [("grad_cam", "grad-cam"), ("linear_approx", "hires-cam")])
def test_torchray(theirs: str, ours: str, model: str) -> None:
    _, arrays = golden(f"torchray-{theirs}-{model}")
    keys = [k for k in arrays.files if "@" in k]
    assert keys
    for key in keys:
        raw = arrays[key]
        x, target = inputs(model)[: len(raw)], torch.from_numpy(arrays["target"])[: len(raw)]
        method = ll.method(ours, layer=key.partition("@")[2])
        assert_same_map(method.raw(classifier(model), x, target), raw[:, 0])


@pytest.mark.parametrize("model", TINY)
def test_adcc_maps(model: str) -> None:
    _, arrays = golden(f"authors-adcc-{model}")
    layer = "features.13" if model == "tinyvgg" else "layer4"
    target = classifier(model)(inputs(model)).argmax(1)
    ours = ll.method("grad-cam", layer=layer)(classifier(model), inputs(model), target)
    theirs = torch.from_numpy(arrays["map"])[:, 0]
    torch.testing.assert_close(ours, min_max(theirs)[0], rtol=0, atol=1e-4)


SEEDED = {
    "gradcam": ("grad-cam", {}),
    "hirescam": ("hires-cam", {}),
    "layercam": ("layer-cam", {}),
    "xgradcam": ("xgrad-cam", {}),
    "gradcamplusplus": ("grad-cam++", {"eps": 1e-6}),
}


# Theirs is float32, which behind the fifty batch norms of resnet50 leaves no digit of what is nearly 0.
@pytest.mark.parametrize("model", [SEEDED_MODELS[0], *SEEDED_MODELS[2:]])
def test_seeded_torchvision(model: str) -> None:
    about, arrays, c, x = seeded(model)
    for theirs, (name, options) in SEEDED.items():
        key = f"gradcam_{theirs}_raw"
        if key in arrays.files:
            method = ll.method(name, layer=about["hyper_parameters"]["layer"], **options)
            assert_same_map(method.raw(c, x, torch.from_numpy(arrays["target"])), arrays[key])


def test_cifar_resnet() -> None:
    from safetensors.torch import load_file

    _, arrays = golden("several-cifar_resnet20")
    net = CifarResNet(3)
    net.load_state_dict(load_file(shared("data", "cifar10_resnet20.safetensors")))
    c = ll.Classifier(net, size=32)
    x = images(npz("data", "cifar10_test200.npz")["images"][arrays["index"]])
    np.testing.assert_allclose(c(x).numpy(), arrays["logits"], atol=1e-3)
    target = torch.from_numpy(arrays["target"])
    for theirs, (name, options) in SEEDED.items():
        for layer in ("layer3", "layer2"):
            ours = ll.method(name, layer=layer, **options).raw(c, x, target)
            assert_same_map(ours, arrays[f"gradcam_{theirs}_raw@{layer}"])
    assert_same_map(ll.method("cam", layer="layer3").raw(c, x, target), arrays["torchcam_cam_raw@layer3"])


def test_reference_networks_are_the_ones_described() -> None:
    """Guards the comparison itself: other weights would make all of the above meaningless."""
    path: Path = SHARED / "golden" / "models_tiny.npz"
    if not path.exists():
        pytest.skip("needs reference data (golden)")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest == "abd27e0f4bf0e78d22b8f417ca6f25443b5731e20d217e2c8ac8c37b03c17ff8"
