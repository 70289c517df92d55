"""Collection-CAM."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.cluster import hierarchy
from torch import Tensor, nn
from torch.nn import functional as F

import architectures
import limelight as ll
from architectures import images
from limelight.maps.cluster.collection_cam import group, statistics

TARGET = [1, 4, 2]
STAGES = {
    "plain": ("features.1", "features.4", "features.7"),
    "residual": ("stem", "layer1", "layer2"),
    "inception": ("stem", "mix"),
}


def double(architecture: str) -> ll.Classifier:
    return ll.Classifier(architectures.build(architecture).double())


def pictures(n: int = 3) -> Tensor:
    return images(n).double()


def method(**options: Any) -> ll.Method:
    return ll.method("collection-cam", **options)


def evidence_of(c: ll.Classifier, layers: tuple[str, ...], x: Tensor, target: int) -> list[tuple[Tensor, Tensor]]:
    """Activations and gradients of the logit of one image, by hooks of our own."""
    kept: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(_m: nn.Module, _i: Any, out: Tensor) -> Tensor:
            kept[name] = out
            return out.clone()

        return hook

    handles = [c.module.get_submodule(name).register_forward_hook(keep(name)) for name in layers]
    logit = c.module(x.clone().requires_grad_())[0, target]
    for handle in handles:
        handle.remove()
    acts = [kept[name] for name in layers]
    return [(a[0].detach(), g[0]) for a, g in zip(acts, torch.autograd.grad(logit, acts), strict=True)]


# -- the choice of the partition ---------------------------------------------------------------------------


def test_single_channels_start_by_the_equation_or_the_algorithm() -> None:
    """After 0 and 1, 2.1 goes to 3.5 for 1.4^2 / 2 = .98; were that not halved, to 0 and 1 for 2/3 1.6^2 = 1.71."""
    psi = torch.zeros(1, 4, 4, dtype=torch.float64)
    psi[0, :, 0] = torch.tensor([0, 1, 2.1, 3.5], dtype=torch.float64)
    assert group(psi, 2, 2)[0].tolist() == [[0, 0, 1, 1]]
    assert group(psi, 2, 2, "algorithm")[0].tolist() in ([[0, 0, 0, 1]], [[1, 1, 1, 0]])


def test_choice_by_hand() -> None:
    """Vectors 0, 1, 10, 12 on a line: the more groups, the better they are separated."""
    psi = F.pad(torch.tensor([[[0.0], [1], [10], [12]]], dtype=torch.double), (0, 3))
    labels, separation = group(psi, 2, 3)
    assert labels.amax() == 2
    assert labels[0, 0] == labels[0, 1]
    torch.testing.assert_close(
        separation, torch.tensor([[torch.nan, 0.98875, 0.99816]]).double(), rtol=0, atol=5e-6, equal_nan=True
    )
    labels, separation = group(psi, 1, 4)
    assert labels[0].unique().tolist() == [0, 1, 2, 3]
    assert separation[0, [0, 3]].tolist() == [-1, 1]


def test_smallest_of_equally_good_partitions() -> None:
    """Two pairs of equal vectors and their sums with a third: no partition is better than the perfect one."""
    psi = torch.tensor([0.0, 0, 1, 1, 5, 5]).double()[None, :, None].expand(1, 6, 4)
    labels, separation = group(psi, 2, 6)
    assert labels.amax() == 2  # more than there are distinct vectors are not tried
    assert separation[0, 2] == 1
    assert separation[0, 3:].isnan().all()
    labels, _ = group(torch.ones(1, 6, 4).double(), 2, 6)
    assert not labels.any()


def test_statistics_by_hand() -> None:
    acts = torch.tensor([[[[1.0, 3]], [[0, 0]], [[5, 5]]]])
    grads = torch.tensor([[[[2.0, -2]], [[1, 5]], [[0.1, 0.1]]]])
    psi = statistics(acts, grads)
    expected = torch.tensor([[[2, 1, 0, 2], [0, 0, 3, 2], [5, 0, 0.1, 0]]])
    torch.testing.assert_close(psi, expected.double(), rtol=0, atol=1e-7)
    z = statistics(acts, grads, standardize=True)
    torch.testing.assert_close(z.mean(1), torch.zeros(1, 4).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(z.std(1, correction=0), torch.ones(1, 4).double(), rtol=1e-12, atol=0)
    assert z[0, :, 1].argmax() == 0


def test_rounding_is_no_spread() -> None:
    """Behind a pooled layer every gradient is constant: standardised, its rounding must not decide."""
    generator = torch.Generator().manual_seed(0)
    acts = torch.rand(2, 6, 7, 7, generator=generator)
    grads = (torch.rand(2, 6, 1, 1, generator=generator) / 49).expand_as(acts)
    noise = 1e-7 * torch.rand(acts.shape, generator=generator)
    assert not statistics(acts, grads * (1 + noise))[..., 3].any()
    assert not statistics(acts, grads * (1 + noise), standardize=True)[..., 3].any()
    equal = 1 + 1e-16 * torch.arange(6).double()[:, None, None].expand(6, 7, 7)  # two doubles at most
    assert equal.unique().numel() > 1
    assert not statistics(acts.double(), equal.expand(2, -1, -1, -1), standardize=True)[..., 2].any()


# -- the whole ---------------------------------------------------------------------------------------------


def separation(vectors: np.ndarray, labels: np.ndarray) -> float:
    """Mean of (SIC - DIC) / (SIC + DIC), group by group."""
    parts = [vectors[labels == g] for g in np.unique(labels)]
    means = [p.mean(0) for p in parts]
    total = 0.0
    for i, (part, mean) in enumerate(zip(parts, means, strict=True)):
        dic = np.mean([np.sum((v - mean) ** 2) for v in part])
        sic = min(np.sum((mean - other) ** 2) for j, other in enumerate(means) if j != i)
        total += (sic - dic) / (sic + dic) if sic + dic else 0
    return total / len(parts)


def by_steps(
    c: ll.Classifier,
    layers: tuple[str, ...],
    x: Tensor,
    target: int,
    percent: float | None = 10,
    upsample_first: bool = False,
    standardize: bool = False,
) -> tuple[Tensor, int]:
    """The specification for one image in plain loops: the map and how many masks there are."""
    spread = lambda m: m.std() if np.ptp(m) > 1e-12 * np.abs(m).max() else 0.0  # noqa: E731
    resize = lambda m: F.interpolate(m[None, None], x.shape[-2:], mode="bilinear", align_corners=False)[0, 0]  # noqa: E731
    masks: list[Tensor] = []
    for layer, (acts, grads) in zip(layers, evidence_of(c, layers, x, target), strict=True):
        rows = [[f(m.numpy()) for m in (a, g) for f in (np.mean, spread)] for a, g in zip(acts, grads, strict=True)]
        psi = np.array(rows)
        if standardize:
            flat = np.ptp(psi, axis=0) <= 1e-12 * np.abs(psi).max(0)
            psi = np.where(flat, 0, (psi - psi.mean(0)) / np.where(flat, 1, psi.std(0)))
        tree = hierarchy.linkage(psi, "ward")
        most = min(10, len(np.unique(psi, axis=0)))
        choices = [hierarchy.cut_tree(tree, k)[:, 0] for k in range(2, most + 1)]
        best = choices[int(np.argmax([separation(psi, labels) for labels in choices]))]
        for g in np.unique(best):
            k = torch.from_numpy(np.flatnonzero(best == g))
            if layer == layers[-1]:
                total = (grads[k].mean((1, 2), keepdim=True) * acts[k]).sum(0)
            else:
                total = torch.where(grads[k] > 0, acts[k], 0.0).sum(0)
            m = resize(total).relu() if upsample_first else resize(total.relu())
            if percent is not None:
                above = m - np.percentile(m.numpy(), percent)
                m = torch.where(above > 1e-14 * m.amax(), m, 0.0)  # many values are equal up to rounding
            if m.amax() > m.amin():
                masks.append((m - m.amin()) / (m.amax() - m.amin()))
    scores = torch.stack([c.module(x * m)[0, target].detach() for m in masks])
    return (scores.softmax(0)[:, None, None] * torch.stack(masks)).sum(0), len(masks)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"theta_unit": "percentile"}, {"percent": 0.1}),
        ({"theta": 40, "theta_unit": "percentile"}, {"percent": 40}),
        ({"theta": None}, {"percent": None}),
        ({"upsample_first": True}, {"upsample_first": True}),
        ({"standardize": True}, {"standardize": True}),
    ],
)
@pytest.mark.parametrize("architecture", STAGES)
def test_step_by_step(architecture: str, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    c, x = double(architecture), pictures()
    saliency = method(layer=STAGES[architecture], **ours).run(c, x, TARGET)
    for i in range(3):
        expected, count = by_steps(c, STAGES[architecture], x[i : i + 1], TARGET[i], **theirs)
        torch.testing.assert_close(saliency.raw[i], expected, rtol=1e-9, atol=1e-12)
        assert int(saliency.details["weights"][i].ne(0).sum()) == count


def test_layers_are_the_stages() -> None:
    c, x = double("residual"), pictures()
    names = [info.name for info in c.layers(None, x, "stages")]
    assert len(names) > 1
    assert torch.equal(method().raw(c, x), method(layer=tuple(names)).raw(c, x))


def test_one_group_is_grad_cam() -> None:
    c, x = double("residual"), pictures()
    ours = method(layer="layer2", min_groups=1, max_groups=1, theta=None)(c, x, TARGET)
    torch.testing.assert_close(ours, ll.method("grad-cam", layer="layer2")(c, x, TARGET), rtol=0, atol=1e-6)


def test_groups_of_the_deepest_layer_add_up_to_grad_cam() -> None:
    c, x = double("residual"), pictures()
    partition = method(layer=STAGES["residual"]).run(c, x, TARGET).details["partition"][:, -1]
    expected = ll.method("grad-cam", layer="layer2").raw(c, x, TARGET)
    for i in range(3):
        acts, grads = evidence_of(c, STAGES["residual"], x[i : i + 1], TARGET[i])[-1]
        weighted = grads.mean((1, 2), keepdim=True) * acts
        parts = [weighted[partition[i] == g].sum(0) for g in range(partition[i].amax() + 1)]
        assert len(parts) > 1
        torch.testing.assert_close(torch.stack(parts).sum(0), expected[i], rtol=1e-12, atol=1e-12)


def test_single_channels_make_the_masks_of_score_cam() -> None:
    """Those of the channels with a positive weight, weighted by the softmax of their logits."""
    c, x = double("residual"), pictures()
    saliency = method(layer="layer2", min_groups=16, max_groups=16, theta=None).run(c, x, TARGET)
    for i in range(3):
        acts, grads = evidence_of(c, ("layer2",), x[i : i + 1], TARGET[i])[0]
        assert (acts >= 0).all()
        kept = acts[(grads.mean((1, 2)) > 0) & (acts.amax((1, 2)) > 0)]
        v = F.interpolate(kept[None], architectures.SIZE, mode="bilinear", align_corners=False)[0]
        low, high = v.amin((1, 2), keepdim=True), v.amax((1, 2), keepdim=True)
        masks = (v - low) / (high - low)
        logits = c.module(x[i] * masks[:, None])[:, TARGET[i]].detach()
        expected = (logits.softmax(0)[:, None, None] * masks).sum(0)
        torch.testing.assert_close(saliency.raw[i], expected, rtol=1e-9, atol=1e-12)
        assert int(saliency.details["weights"][i].ne(0).sum()) == len(masks) > 1


class Raised(nn.Module):
    """The same network with all logits raised by a constant."""

    def __init__(self, net: nn.Module, by: float) -> None:
        super().__init__()
        self.net, self.by = net, by

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) + self.by


def test_raised_logits_change_nothing() -> None:
    layers = tuple(f"net.{name}" for name in STAGES["plain"])
    maps = [
        method(layer=layers).run(ll.Classifier(Raised(architectures.build("plain").double(), by)), pictures(), TARGET)
        for by in (0, 7)
    ]
    torch.testing.assert_close(maps[0].raw, maps[1].raw, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(maps[0].details["mic"] + 7, maps[1].details["mic"], equal_nan=True)


def test_baseline_is_reported_for_one_pass_more() -> None:
    c, x = double("plain"), pictures()
    without, reported = method().run(c, x, TARGET), method(report_mic_baseline=True).run(c, x, TARGET)
    assert torch.equal(without.raw, reported.raw)
    assert reported.cost.n_forward == pytest.approx(without.cost.n_forward + 1)
    empty = c(torch.zeros_like(x))[torch.arange(3), TARGET]
    mic = without.details["mic"] - empty[:, None]
    torch.testing.assert_close(reported.details["mic"], mic, rtol=1e-12, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("architecture", STAGES)
def test_passes_are_counted(architecture: str) -> None:
    c, x = double(architecture), pictures()
    c.layers(None, x, "stages")  # the layers are found once
    seen: list[int] = []
    c.module.register_forward_hook(lambda _m, _i, out: seen.append(len(out)))
    saliency = method(layer=STAGES[architecture]).run(c, x, TARGET)
    d = saliency.details
    masks = d["group_counts"].sum(1) - d["skipped"]
    assert torch.equal(masks, (~d["mic"].isnan()).sum(1))
    assert sum(seen) == int((1 + masks).sum())
    assert saliency.cost.n_forward == pytest.approx(float((1 + masks).double().mean()))
    assert str(saliency.cost).endswith(" 1 R_t")
    assert str(method(layer=STAGES[architecture]).cost(c, x)) == f"{1 + 10 * len(STAGES[architecture])} F + 1 R_t"


def test_details_tell_of_every_mask() -> None:
    c, x = double("residual"), pictures()
    together = method(layer=STAGES["residual"]).run(c, x, TARGET)
    d = together.details
    assert d["partition"].shape == (3, 3, 16)
    assert (d["partition"][:, 0, 8:] == -1).all()  # that layer has 8 channels
    assert torch.equal(d["partition"].amax(-1) + 1, d["group_counts"])
    assert torch.equal(d["dsra"].nan_to_num(-2).argmax(-1) + 1, d["group_counts"])
    assert d["dsra"][:, :, 0].isnan().all()
    torch.testing.assert_close(d["weights"].sum(1), torch.ones(3).double())
    expected = torch.einsum("nm,nmhw->nhw", d["weights"], d["masks"])
    torch.testing.assert_close(together.raw, expected, rtol=1e-12, atol=1e-12)
    for i in range(3):
        there = d["mask_layer"][i] >= 0
        pairs = torch.stack([d["mask_layer"][i], d["mask_group"][i]], 1)[there].tolist()
        assert pairs == [[layer, g] for layer in range(3) for g in range(d["group_counts"][i, layer])]
        assert (d["mask_group"][i] >= 0).equal(there)
        assert not d["weights"][i, ~there].any()
    singly = method(layer=STAGES["residual"], batch_size=1).run(c, x, TARGET)
    assert set(singly.details) == set(d)
    for name, value in d.items():
        torch.testing.assert_close(singly.details[name], value, rtol=1e-9, atol=1e-12, equal_nan=True)
    torch.testing.assert_close(singly.raw, together.raw, rtol=1e-9, atol=1e-12)


def test_a_convex_combination_of_masks() -> None:
    c, x = double("plain"), pictures()
    saliency = method().run(c, x, TARGET)
    assert (saliency.raw >= 0).all()
    assert (saliency.raw <= 1).all()
    assert (saliency.map.amax((1, 2)) == 1).all()


def test_dead_layers_contribute_nothing() -> None:
    c, x = double("residual"), pictures()
    c.module.get_submodule("layer1").register_forward_hook(lambda _m, _i, out: out * 0)
    saliency = method(layer=STAGES["residual"]).run(c, x, TARGET)
    assert torch.isfinite(saliency.raw).all()
    assert not saliency.details["weights"][saliency.details["mask_layer"] < 2].any()
    c.module.get_submodule("layer2").register_forward_hook(lambda _m, _i, out: out * 0)
    saliency = method(layer=STAGES["residual"]).run(c, x, TARGET)
    assert saliency.degenerate.all()
    assert not saliency.raw.any()
    assert str(saliency.cost) == "1 F + 1 R_t"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"theta": 70}, "theta = 70.0 is no fraction"),
        ({"min_groups": 5, "max_groups": 3}, "max_groups = 3 is less than min_groups = 5"),
        ({"max_groups": 1}, "less than min_groups"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ll.errors.InvalidOption, match=message):
        method(**options).run(double("plain"), pictures(), TARGET)
