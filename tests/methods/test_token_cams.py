"""Class activation maps on the tokens of a vision transformer, as the authors' and other people's code makes them."""

import functools
from typing import Any

import pytest
import torch
from torch import Tensor

import architectures
import limelight as ll
from conftest import npz, script, shared
from limelight.errors import UnsupportedModel
from limelight.maps.cam.refine_cam import CAMS
from methods.goldens import golden


@functools.cache
def tiny_vit() -> tuple[ll.Classifier, Tensor, Tensor]:
    """The network with fused attention, its pictures and their predicted classes, in float64."""
    models = script(shared("golden", "models_vit.py"))
    net = models.load("tinyvit", shared("golden", "models_vit.npz"), torch.float64).eval()
    about = npz("golden", "inputs_vit.npz")
    x = models.preprocess(about["u8"], torch.float64)
    return ll.Classifier(models.set_fused(net, True)), x, torch.from_numpy(about["target"])


def at(*blocks: int) -> tuple[str, ...]:
    return tuple(f"blocks.{b}.norm1" for b in blocks)


def assert_same(ours: Tensor, theirs: Any, tolerance: float = 1e-5) -> None:
    """To the tolerance, of the largest value."""
    theirs = torch.as_tensor(theirs).to(ours)
    assert theirs.abs().amax() > 0
    torch.testing.assert_close(ours[: len(theirs)], theirs, rtol=0, atol=tolerance * float(theirs.abs().amax()))


GRADIENT_CAMS = {
    "GradCAM": ("grad-cam", {}),
    "HiResCAM": ("hires-cam", {}),
    "LayerCAM": ("layer-cam", {}),
    "XGradCAM": ("xgrad-cam", {}),
    "GradCAMPlusPlus": ("grad-cam++", {"eps": 1e-6}),  # as that package has it
}


@pytest.mark.parametrize("block", [1, 3])
@pytest.mark.parametrize("theirs", GRADIENT_CAMS)
def test_gradient_cams(theirs: str, block: int) -> None:
    c, x, target = tiny_vit()
    name, options = GRADIENT_CAMS[theirs]
    ours = ll.method(name, layer=at(block), **options).raw(c, x, target)
    assert_same(ours, golden("vit-gradcam-tinyvit")[1][f"{theirs}_block{block}"])


@pytest.mark.parametrize("block", [1, 3])
@pytest.mark.parametrize(("theirs", "score"), [("logit", "logit"), ("softmax", "prob"), ("rest", "rest")])
def test_shapley_cam(theirs: str, score: str, block: int) -> None:
    """Through the fused kernel's formula; what the user has set about kernels is as before."""
    (c, x, target), fused = tiny_vit(), torch.backends.cuda.flash_sdp_enabled()
    ours = ll.method("shapley-cam", layer=at(block), score=score).raw(c, x, target)
    arrays = golden("vit-shapleycam-tinyvit")[1]
    assert_same(ours, arrays[f"{theirs}_block{block}"])
    assert_same(
        ll.method("grad-cam", layer=at(block), score=score).raw(c, x, target), arrays[f"gradcam_{theirs}_block{block}"]
    )
    assert torch.backends.cuda.flash_sdp_enabled() == fused


@pytest.mark.parametrize(("theirs", "name"), [("GradCAM", "grad-cam"), ("HiResCAM", "hires-cam")])
def test_finer_cam(theirs: str, name: str) -> None:
    c, x, target = tiny_vit()
    arrays, method = golden("vit-finercam-tinyvit")[1], ll.method(name, layer=at(3))
    assert_same(ll.method(name, layer=at(3), score="finer").raw(c, x), arrays[f"{theirs}_alpha1_3refs"])
    for alpha, key in ((1.0, "1"), (0.6, "0.6")):
        for k, weights, theirs_too in (
            (3, "softmax", f"{theirs}_alpha{key}_3refs"),
            (1, "softmax", f"{theirs}_alpha{key}_1refs"),
            (3, "uniform", f"own_uniform_mean_{theirs}_alpha{key}"),
        ):
            finer = ll.targets.finer(int(target[0]), alpha, k, weights=weights)
            assert_same(method.raw(c, x[:1], finer), arrays[theirs_too][:1])
    nothing = ll.targets.finer(int(target[0]), 0, weights="softmax")
    torch.testing.assert_close(method.raw(c, x[:1], nothing), method.raw(c, x[:1], target[:1]))


@pytest.mark.parametrize("blocks", [(1, 2, 3), (0, 1, 2, 3), (3,)])
@pytest.mark.parametrize(("theirs", "name"), [("GradCAM", "grad-cam"), ("GradCAMPlusPlus", "grad-cam++")])
def test_refine_cam(theirs: str, name: str, blocks: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CAMS, "grad-cam++", functools.partial(CAMS["grad-cam++"], eps=1e-6))  # as that package has it
    c, x, target = tiny_vit()
    ours = ll.method("refine-cam", layer=at(*blocks), cam=name)(c, x, target)
    raw = torch.from_numpy(golden("vit-refinecam-tinyvit")[1][f"{theirs}_blocks{''.join(map(str, blocks))}"])
    # An epsilon of 1e-7 in its last scaling takes up to a hundredth off products that are small everywhere.
    assert_same(ours, raw / raw.amax((1, 2), keepdim=True))


# -- laws --------------------------------------------------------------------------------------------------


def test_shapley_cam_of_what_is_linear_and_what_is_a_square() -> None:
    """H = 0 leaves Grad-CAM; of a score that is a quadratic form H A = G, which leaves half of it."""
    c, x = architectures.exact("residual"), architectures.images(2).double()
    shapley, grad = ll.method("shapley-cam", score="logit"), ll.method("grad-cam")
    assert_same(shapley.raw(c, x, 1), grad.raw(c, x, 1), 1e-12)
    bias = c.module.fc.bias

    def square(out: Tensor) -> Tensor:
        return (out[:, 1] - bias[1]) ** 2

    assert_same(shapley.raw(c, x, square), grad.raw(c, x, square) / 2, 1e-12)


def test_what_can_not_be_differentiated_twice_is_refused() -> None:
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x.square()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            return 2 * ctx.saved_tensors[0] * gradient

    class Head(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return Once.apply(x)

    net = torch.nn.Sequential(*architectures.small(5), Head())
    with pytest.raises(UnsupportedModel, match=r"shapley-cam: no gradient passes .* once only"):
        ll.method("shapley-cam", score="logit").raw(ll.Classifier(net), architectures.images(1), 1)


def test_kernel_of_inner_products_and_the_sign_of_evidence() -> None:
    c, x = architectures.exact("plain"), architectures.images(3).double()
    linear, eigen = (
        ll.method(n, **o).raw(c, x) for n, o in (("kpca-cam", {"kernel": "linear"}), ("eigen-cam", {"center": True}))
    )
    assert_same(linear, eigen, 1e-9)
    eigen_grad, hires = (ll.method(n).raw(c, x, 1) for n in ("eigen-grad-cam", "hires-cam"))
    assert ((eigen_grad * hires).sum((1, 2)) > 0).all()
