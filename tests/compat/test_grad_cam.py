"""Scripts of the package grad-cam with another import."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import architectures
import limelight as ll
from compat.peers import both, close, correlation
from limelight.errors import InvalidImage, InvalidOption, NotOffered

pytestmark = pytest.mark.filterwarnings("ignore")  # of theirs

EQUAL = {
    **dict.fromkeys(("GradCAM", "HiResCAM", "LayerCAM", "GradCAMElementWise", "XGradCAM", "ShapleyCAM"), 1e-5),
    **{"GradCAMPlusPlus": 1e-5, "AblationCAM": 1e-5, "ScoreCAM": 2e-3},
}
"""Tolerances of one layer; of faint maps their 1e-7 in the denominator shows."""


def explain(modules: tuple[Any, Any], name: str, layers: list[str], target: Callable[[Any], Any], **how: Any) -> Any:
    """Return their maps and ours of two pictures, by the same script."""
    maps: list[Any] = []
    for module, targets in zip(modules, map(target, both("pytorch_grad_cam.utils.model_targets")), strict=True):
        net = architectures.build("residual")
        with getattr(module, name)(model=net, target_layers=[net.get_submodule(n) for n in layers]) as cam:
            maps.append(cam(input_tensor=architectures.images(2), targets=targets, **how))
    return maps


@pytest.mark.parametrize("name", EQUAL)
def test_equal(name: str) -> None:
    modules = both("pytorch_grad_cam")
    theirs, ours = explain(modules, name, ["layer2"], lambda t: [t.ClassifierOutputTarget(i) for i in (1, 3)])
    close(ours, theirs, EQUAL[name])
    theirs, ours = explain(modules, name, ["layer2"], lambda _: None)
    close(ours, theirs, EQUAL[name])


@pytest.mark.parametrize("name", ["GradCAM", "LayerCAM", "GradCAMPlusPlus"])
def test_several_layers(name: str) -> None:
    softmax = explain(
        both("pytorch_grad_cam"), name, ["layer2", "layer1"], lambda t: [t.ClassifierOutputSoftmaxTarget(2)] * 2
    )
    close(softmax[1], softmax[0], 3e-3)


@pytest.mark.parametrize("name", ["EigenCAM", "EigenGradCAM", "KPCA_CAM"])
def test_principal_components_but_for_their_sign(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Theirs is left to the decomposition, and so to the processor; where it is ours, maps are the same."""
    decompose, pairs = np.linalg.svd, []
    for sign in (1, -1):
        monkeypatch.setattr(np.linalg, "svd", lambda *a, sign=sign, **k: [sign * one for one in decompose(*a, **k)])
        for i in (0, 1, 3):
            both_maps = explain(
                both("pytorch_grad_cam"), name, ["layer2"], lambda t, i=i: [t.ClassifierOutputTarget(i)] * 2
            )
            pairs += zip(*both_maps, strict=True)
    alike = [pair for pair in pairs if correlation(*pair) > 0]
    assert len(alike) >= len(pairs) / 2
    for theirs, ours in alike:
        close(ours, theirs, 1e-4)


def test_full_grad_is_another() -> None:
    theirs, ours = explain(
        both("pytorch_grad_cam"), "FullGrad", ["layer2"], lambda t: [t.ClassifierOutputTarget(1)] * 2
    )
    assert ours.shape == theirs.shape
    assert 0.8 < correlation(theirs, ours) < 0.95


def test_six_views() -> None:
    theirs, ours = explain(
        both("pytorch_grad_cam"),
        "GradCAM",
        ["layer2"],
        lambda t: [t.ClassifierOutputTarget(i) for i in (1, 3)],
        aug_smooth=True,
    )
    close(ours, theirs, 1e-5)


def test_first_component_is_refused() -> None:
    modules = both("pytorch_grad_cam")
    with pytest.raises(InvalidOption, match="EigenGradCAM"):
        explain((modules[1], modules[1]), "GradCAM", ["layer2"], lambda _: None, eigen_smooth=True)


def test_reshape_transform_and_outputs() -> None:
    def as_maps(tokens: Tensor) -> Tensor:
        return tokens[:, 1:].reshape(len(tokens), 5, 7, -1).permute(0, 3, 1, 2)

    x, maps, outputs = architectures.images(2), [], []
    for module in both("pytorch_grad_cam"):
        net = architectures.build("tokens")
        cam = module.GradCAM(net, [net.blocks[0]], as_maps)
        maps.append(cam(x, None))
        outputs.append(cam.outputs)
    close(maps[1], maps[0], 1e-5)
    close(outputs[1], outputs[0], 1e-6)


class Segmenter(nn.Sequential):
    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 3, 1))


def test_targets() -> None:
    """Of regions, of the only output, and of what a user writes."""
    mask, x = np.zeros((20, 28), np.float32), architectures.images(2)
    mask[4:9, 6:20] = 1
    one = nn.Sequential(*[*Segmenter()][:4], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 1))
    region = Segmenter()
    five = architectures.build("residual")
    cases: list[tuple[nn.Module, nn.Module, Callable[[Any], Any]]] = [
        (region, region[3], lambda t: t.SemanticSegmentationTarget(1, mask)),
        *[(one, one[3], lambda t, i=i: t.BinaryClassifierOutputTarget(i)) for i in (0, 1)],
        (one, one[3], lambda t: None),
        (five, five.layer2, lambda t: t.ClassifierOutputReST(1)),
        (five, five.layer2, lambda t: t.FinerWeightedTarget(1, [0, 3], 0.6)),
        (five, five.layer2, lambda t: lambda output: output[1] - output[2]),
    ]
    for net, layer, target in cases:
        maps: list[Any] = []
        for module, targets in zip(both("pytorch_grad_cam"), both("pytorch_grad_cam.utils.model_targets"), strict=True):
            one_target = target(targets)
            given = None if one_target is None else [one_target] * 2
            maps.append(module.GradCAM(net, [layer])(x, given))
        if not maps[0].any():  # no positive evidence
            assert not maps[1].any()
            continue
        close(maps[1], maps[0], 1e-3)


def test_layers_that_are_written_to() -> None:
    """The activations of a layer are those that it made, not what a ReLU in place makes of them later."""
    theirs, ours = both("pytorch_grad_cam")
    maps: list[Any] = []
    for module, inplace in ((theirs, False), (theirs, True), (ours, True)):
        net = architectures.build("plain", inplace=inplace)
        maps.append(module.GradCAM(net, [net.features[6]])(architectures.images(2), None))
    close(maps[2], maps[0], 1e-4)
    assert np.abs(maps[1] - maps[0]).max() > 0.1


def test_pictures() -> None:
    theirs, ours = both("pytorch_grad_cam.utils.image")
    rng = np.random.default_rng(0)
    picture, mask = rng.random((30, 40, 3), np.float32), rng.random((30, 40), np.float32)
    # The jets of OpenCV and Matplotlib differ by up to 33 of 255.
    for how, most in (({}, 17), ({"use_rgb": True}, 17), ({"use_rgb": True, "image_weight": 0.3, "colormap": 16}, 4)):
        shown = [module.show_cam_on_image(picture, mask, **how).astype(int) for module in (theirs, ours)]
        assert np.abs(shown[0] - shown[1]).max() <= most
    close(ours.preprocess_image(picture), theirs.preprocess_image(picture), 1e-6)
    with pytest.raises(InvalidImage, match="255"):
        ours.show_cam_on_image(np.full((2, 2, 3), 255), mask[:2, :2])


def test_guided_backprop() -> None:
    theirs, ours = both("pytorch_grad_cam")
    x, net = architectures.images(1), architectures.build("plain")
    for target in (None, 2):
        expected = theirs.GuidedBackpropReLUModel(model=net, device="cpu")(x.clone(), target_category=target)
        close(ours.GuidedBackpropReLUModel(model=net, device="cpu")(x, target_category=target), expected, 1e-5)


def test_refused() -> None:
    from limelight.compat import grad_cam

    net = architectures.build("plain")
    with pytest.raises(NotOffered, match=r"RandomCAM.*random-map"):
        from limelight.compat.grad_cam import RandomCAM  # noqa: F401
    with pytest.raises(ImportError, match="cannot import name 'Grad'"):
        from limelight.compat.grad_cam import Grad  # noqa: F401
    assert not hasattr(grad_cam, "nonsense")
    with pytest.raises(InvalidOption, match="ablation_layer"):
        grad_cam.AblationCAM(net, [], ratio_channels_to_ablate=0.5)
    with pytest.raises(InvalidOption, match="explain some"):
        _ = grad_cam.GradCAM(net, []).outputs
    with pytest.raises(ll.errors.InvalidOption, match="for 3 pictures of 2"):
        grad_cam.GradCAM(net, [net.features[2]])(architectures.images(2), [lambda o: o[0]] * 3)
