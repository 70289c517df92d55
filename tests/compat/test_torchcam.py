"""Scripts of the package torchcam with another import."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import architectures
import limelight as ll
from compat.peers import both, close
from limelight.errors import InvalidOption, NotOffered

pytestmark = pytest.mark.filterwarnings("ignore")  # of theirs

FEWER: dict[str, dict[str, Any]] = {
    "SmoothGradCAMpp": {"std": 1e-9},  # noise that is none: else each draws its own
    "SSCAM": {"std": 1e-9, "num_samples": 2},
    "ISCAM": {"num_samples": 3},
}
NAMES = ("CAM", "GradCAM", "GradCAMpp", "SmoothGradCAMpp", "XGradCAM", "LayerCAM", "ScoreCAM", "SSCAM", "ISCAM")


@pytest.mark.parametrize("name", NAMES)
def test_equal(name: str) -> None:
    """Their maps as they are, and scaled, where 1e-8 in their denominator holds faint ones down."""
    layers, x = ["layer2"] if name == "CAM" else ["layer2", "layer1"], architectures.images(2)
    maps: list[Any] = []
    for module in both("torchcam.methods"):
        net = architectures.build("residual")
        net.fc.weight.data *= 30
        with getattr(module, name)(net, layers, input_shape=(3, 40, 56), **FEWER.get(name, {})) as extractor:
            scores = net(x)
            plain = extractor([1, 3], scores, normalized=name in ("ScoreCAM", "SSCAM", "ISCAM"))
            scores = net(x)
            maps.append((plain, extractor([1, 3], scores), extractor.fuse_cams(extractor([1, 3], net(x)))))
        assert not net._forward_pre_hooks
    for theirs, ours in zip(*maps, strict=True):
        for one, other in zip(theirs, ours, strict=True):
            close(other, one, 1e-4)


def test_one_class_and_functions() -> None:
    x, maps = architectures.images(2), []
    for module in both("torchcam.methods"):
        net = architectures.build("residual")
        extractor = module.LayerCAM(net, net.layer2, input_shape=(3, 40, 56))
        scores = net(x)
        first = extractor(2, scores)[0]
        maps.append((first, extractor(scores=net(x), targets=lambda y: y[1] - y[2])[0]))
        assert extractor.target_names == ["layer2"]
        extractor.remove_hooks()
    for theirs, ours in zip(*maps, strict=True):
        close(ours, theirs, 1e-3)


def test_overlay() -> None:
    theirs, ours = both("torchcam.utils")
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 255, (30, 40, 3), np.uint8))
    mask = Image.fromarray(rng.random((4, 5), np.float32))
    shown = [np.asarray(u.overlay_mask(picture, mask, alpha=0.6)).astype(int) for u in (theirs, ours)]
    assert np.abs(shown[0] - shown[1]).max() <= 4  # of 255
    with pytest.raises(InvalidOption, match="alpha"):
        ours.overlay_mask(picture, mask, alpha=1.0)


def test_what_the_model_was_given_last() -> None:
    from limelight.compat.torchcam.methods import GradCAM

    net, x = architectures.build("plain"), architectures.images(2)
    with GradCAM(net) as extractor:
        with pytest.raises(InvalidOption, match="call the model"):
            extractor(1)
        with torch.inference_mode():
            net(x[:1])
        extractor.disable_hooks()
        net(x[1:])
        extractor.enable_hooks()
        (found,) = extractor(1, None)
        torch.testing.assert_close(found, ll.ops.min_max(ll.method("grad-cam").raw(net, x[:1], 1).relu())[0])
        with pytest.raises(InvalidOption, match="class_idx= or targets="):
            extractor()
        extractor.reset_hooks()
        with pytest.raises(InvalidOption, match="call the model"):
            extractor(1)
    with pytest.raises(InvalidOption, match="at least one map"):
        GradCAM.fuse_cams([])
    with pytest.raises(NotOffered, match=r"LeGrad.*legrad"):
        from limelight.compat.torchcam.methods import LeGrad  # noqa: F401
