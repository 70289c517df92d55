"""Group-CAM."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import architectures
import limelight as ll
from architectures import images
from conftest import npz
from limelight.engine.baselines import fill_images
from limelight.maps.cluster.group_cam import Grouping, group
from limelight.ops import min_max, resize
from limelight.ops.percentile import above_percentile
from methods.goldens import TINY, classifier, golden, inputs

TARGET = [1, 4, 2]


def double(architecture: str) -> ll.Classifier:
    return ll.Classifier(architectures.build(architecture).double())


def pictures(n: int = 3) -> Tensor:
    return images(n).double()


def evidence_of(c: ll.Classifier, layer: str, x: Tensor, target: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Activations and gradients of the logit, by hooks of our own."""
    kept: list[Tensor] = []

    def keep(_m: nn.Module, _i: Any, out: Tensor) -> Tensor:
        kept.append(out)
        return out.clone()

    handle = c.module.get_submodule(layer).register_forward_hook(keep)
    logits = c.module(x.clone().requires_grad_())
    handle.remove()
    (grads,) = torch.autograd.grad(logits[torch.arange(len(x)), list(target)].sum(), kept)
    return kept[0].detach(), grads


# -- other people's outputs --------------------------------------------------------------------------------


@pytest.mark.parametrize("model", TINY)
def test_authors_code(model: str) -> None:
    """The released code; of maps where a group is constant it makes NaN, these were left out."""
    _, arrays = golden(f"authors-groupcam-{model}")
    keys = [k for k in arrays.files if k.startswith("groups")]
    for key in keys:
        which = torch.from_numpy(arrays[f"images_{key}"])
        n, layer = key.removeprefix("groups").split("@")
        method = ll.method("group-cam", profile="head", layer=layer, n_groups=int(n))
        ours = method(classifier(model), inputs(model)[which], torch.from_numpy(arrays["target"])[which])
        torch.testing.assert_close(ours, torch.from_numpy(arrays[key])[:, 0], rtol=0, atol=1e-4)
    assert keys


def test_authors_blur() -> None:
    with npz("golden", "authors-groupcam_blurred-tiny.npz") as arrays:
        theirs = torch.from_numpy(arrays["blurred"])
    ours = fill_images(classifier("tinyvgg"), inputs("tinyvgg")[: len(theirs)], "gauss-51-50")
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


# -- the parts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("percent", [0.0, 0.1, 10.0, 33.3, 70.0, 99.9, 100.0])
def test_percentile(percent: float) -> None:
    maps = torch.randn(4, 7, 9, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    maps[1] = maps[1].relu()  # many equal values
    maps[2] = 3
    for one, cut in zip(maps.numpy(), above_percentile(maps, percent).numpy(), strict=True):
        np.testing.assert_array_equal(cut, np.where(one > np.percentile(one, percent), one, 0))


def test_values_equal_up_to_rounding_are_cut_together() -> None:
    """A row that is resized repeats its last value, but for a rounding: it is all kept or all cut."""
    small = torch.rand(50, 10, 10, generator=torch.Generator().manual_seed(0)) + 0.1
    last = resize(small, (56, 56))[:, -1, -3:]
    assert (last != last[:, :1]).any()
    for percent in (0.1, 1.0, 10.0):
        kept = above_percentile(resize(small, (56, 56)), percent)[:, -1, -3:] > 0
        assert torch.equal(kept.any(1), kept.all(1))
    maps = torch.tensor([[[0.0, 1, 1 + 1e-7, 1 + 2e-7, 2]]])
    assert above_percentile(maps, 25.0).tolist() == [[[0, 0, 0, 0, 2]]]


@pytest.mark.parametrize("channels", [1, 7, 12, 32])
@pytest.mark.parametrize("n_groups", [1, 3, 4, 5, 32])
def test_chunks_are_those_of_torch(channels: int, n_groups: int) -> None:
    labels = group(torch.zeros(2, channels, 3, 3), n_groups)
    chunks = torch.arange(channels).chunk(n_groups)
    expected = torch.cat([torch.full_like(chunk, g) for g, chunk in enumerate(chunks)])
    assert torch.equal(labels, expected.repeat(2, 1))


@pytest.mark.parametrize("grouping", ["kmeans", "ward"])
def test_clusters_are_found(grouping: Grouping) -> None:
    generator = torch.Generator().manual_seed(0)
    kind = torch.tensor([[0, 1, 2, 0, 1, 2, 0, 1], [2, 2, 2, 2, 1, 0, 0, 1]])
    centres = 10 * torch.randn(3, 4, 5, generator=generator)
    maps = centres[kind] + torch.randn(2, 8, 4, 5, generator=generator)
    for labels, expected in zip(group(maps, 3, grouping), kind, strict=True):
        assert torch.equal(labels[:, None] == labels, expected[:, None] == expected)
    # There are no more groups than distinct channels.
    assert group(centres[kind], 6, grouping).amax(1).tolist() == [2, 2]
    assert not group(torch.zeros(1, 8, 4, 5), 6, grouping).any()


# -- the whole ---------------------------------------------------------------------------------------------


def by_steps(c: ll.Classifier, layer: str, x: Tensor, target: int, n_groups: int, head: bool) -> Tensor:
    """The eight steps of the specification for one image, in plain loops."""
    acts, grads = evidence_of(c, layer, x, [target])
    blurred = fill_images(c, x, "gauss-51-50")
    prob = lambda image: c.module(image).softmax(1)[0, target].detach()  # noqa: E731
    total = torch.zeros_like(x[0, 0])
    for a, g in zip(acts[0].chunk(n_groups), grads[0].chunk(n_groups), strict=True):
        m = sum(g_k.mean() * a_k for a_k, g_k in zip(a, g, strict=True)).relu()
        if not head:
            m = torch.where(m > np.percentile(m.numpy(), 70), m, 0.0)
        if m.amax() == m.amin():
            continue
        v = F.interpolate(m[None, None], x.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
        mask = (v - v.amin()) / (v.amax() - v.amin())
        beta = prob(x * mask + blurred * (1 - mask)) - prob(blurred)
        total = total + (beta.relu() * v if head else beta * mask)
    return total


@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize(
    ("architecture", "layer"), [("plain", "features.4"), ("residual", "layer1"), ("dense", "norm")]
)
def test_step_by_step(architecture: str, layer: str, head: bool) -> None:
    c, x = double(architecture), pictures()
    method = ll.method("group-cam", layer=layer, n_groups=5, profile="head" if head else "paper")
    saliency = method.run(c, x, TARGET)
    for i in range(3):
        expected = by_steps(c, layer, x[i : i + 1], TARGET[i], 5, head)
        torch.testing.assert_close(saliency.raw[i], expected, rtol=1e-9, atol=1e-12)
    assert saliency.raw.any()


def test_paper_is_the_default() -> None:
    c, x = double("plain"), pictures()
    paper = ll.method("group-cam", profile="paper").raw(c, x)
    assert torch.equal(paper, ll.method("group-cam").raw(c, x))
    assert not torch.equal(paper, ll.method("group-cam", profile="head").raw(c, x))


@pytest.mark.parametrize("architecture", ["plain", "residual", "tokens"])
def test_one_group_is_grad_cam(architecture: str) -> None:
    """Where the group raises the score; otherwise nothing speaks for the class."""
    c, x = double(architecture), pictures()
    signs = set[bool]()
    for target in range(architectures.CLASSES):
        grad_cam = ll.method("grad-cam").run(c, x, target)
        saliency = ll.method("group-cam", n_groups=1, theta=None).run(c, x, target)
        for i, weight in enumerate(saliency.details["weights"][:, 0].tolist()):
            if weight > 0:
                torch.testing.assert_close(saliency.map[i], grad_cam.map[i], rtol=0, atol=1e-6)
                assert not saliency.degenerate[i]
            else:
                assert saliency.degenerate[i]
            signs.add(weight > 0)
    assert signs == {True, False}


@pytest.mark.parametrize("grouping", ["chunk", "kmeans", "ward"])
def test_groups_add_up_to_grad_cam(grouping: Grouping) -> None:
    c, x = double("residual"), pictures()
    labels = ll.method("group-cam", layer="layer2", n_groups=4, grouping=grouping).run(c, x, TARGET).details["groups"]
    acts, grads = evidence_of(c, "layer2", x, TARGET)
    weighted = grads.mean((2, 3), keepdim=True) * acts
    total = sum((weighted * (labels == g)[:, :, None, None]).sum(1) for g in range(4))
    expected = ll.method("grad-cam", layer="layer2").raw(c, x, TARGET)
    torch.testing.assert_close(total, expected, rtol=1e-12, atol=1e-12)
    assert all(len(one.unique()) == 4 for one in labels)


@pytest.mark.parametrize("grouping", ["chunk", "kmeans", "ward"])
def test_passes_are_counted(grouping: Grouping) -> None:
    """One for the image, one for the blurred image, one for each group whose map varies."""
    c, x = double("residual"), pictures()
    method = ll.method("group-cam", layer="layer2", n_groups=4, grouping=grouping)
    assert str(method.cost(c, x)) == "6 F + 1 R_t"
    seen: list[int] = []
    c.module.register_forward_hook(lambda _m, _i, out: seen.append(len(out)))
    saliency = method.run(c, x, TARGET)
    scored = saliency.details["weights"].ne(0).sum(1)
    assert torch.equal(scored, 4 - saliency.details["skipped"])
    assert saliency.cost.n_forward == pytest.approx(float((2 + scored).double().mean()))
    assert sum(seen) == int((2 + scored).sum())
    assert str(saliency.cost).endswith("1 R_t")


def test_more_groups_than_channels() -> None:
    c, x = double("residual"), pictures()
    many, each = (ll.method("group-cam", layer="layer2", n_groups=n).run(c, x, TARGET) for n in (64, 16))
    assert torch.equal(many.raw, each.raw)
    assert many.details["weights"].shape == (3, 16)


def test_constant_groups_are_skipped() -> None:
    """A group that is 0 everywhere changes nothing but costs nothing; of no group at all nothing is passed."""
    c, x = double("residual"), pictures()
    c.module.get_submodule("layer2").register_forward_hook(
        lambda _m, _i, out: torch.cat([torch.zeros_like(out[:, :8]), out[:, 8:]], 1)
    )
    saliency = ll.method("group-cam", layer="layer2", n_groups=4, theta=None).run(c, x, TARGET)
    assert not saliency.details["weights"][:, :2].any()
    assert saliency.details["weights"][:, 2:].any()
    assert (saliency.details["skipped"] >= 2).all()
    # 16 channels in 5 groups or 10: of four and of two, so that there are 4 and 8.
    for n_groups, count in ((5, 4), (10, 8)):
        saliency = ll.method("group-cam", layer="layer2", n_groups=n_groups, theta=None).run(c, x, TARGET)
        assert torch.equal(saliency.details["skipped"], count - saliency.details["weights"].ne(0).sum(1))
    nothing = ll.method("group-cam", layer="layer2", n_groups=4, theta=100).run(c, x, TARGET)
    assert nothing.degenerate.all()
    assert str(nothing.cost) == "1 F + 1 R_t"


def test_scores() -> None:
    """The gradient is that of the logit, the masks are scored by the probability; both can be chosen."""
    c, x = double("plain"), pictures()
    default = ll.method("group-cam").run(c, x, TARGET)
    spelled = ll.method("group-cam", score="logit", mask_score="prob").run(c, x, TARGET)
    assert torch.equal(default.raw, spelled.raw)
    for options in ({"mask_score": "logit"}, {"score": "prob"}):
        assert not torch.allclose(default.raw, ll.method("group-cam", **options).raw(c, x, TARGET), rtol=1e-3)


@pytest.mark.parametrize("grouping", ["chunk", "kmeans", "ward"])
@pytest.mark.parametrize("architecture", ["plain", "depthwise", "tokens"])
def test_images_one_by_one(architecture: str, grouping: Grouping) -> None:
    """In double precision: the weights are small differences of probabilities."""
    c, x = double(architecture), pictures()
    options = {"n_groups": 6, "grouping": grouping}
    together = ll.method("group-cam", **options).raw(c, x, TARGET)
    singly = ll.method("group-cam", batch_size=1, **options).raw(c, x, TARGET)
    torch.testing.assert_close(together, singly, rtol=1e-9, atol=1e-13)


def test_the_map_is_scaled_last() -> None:
    c, x = double("plain"), pictures()
    saliency = ll.method("group-cam").run(c, x, TARGET)
    assert saliency.raw.shape == (3, *architectures.SIZE)
    assert (saliency.raw < 0).any()
    torch.testing.assert_close(saliency.map, min_max(resize(saliency.raw.relu(), architectures.SIZE))[0].float())
