"""Attribution Equilibrium on whole networks: the authors' code, its sums, where it begins, what it costs."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import limelight as ll
from methods import golden_network
from methods.equilibrium_networks import NAME, Branches, Shortcut, chain, close, dense_net, pictures
from methods.goldens import classifier, golden, inputs


def test_golden_network() -> None:
    c, x = golden_network.classifier(), golden_network.image()
    for ratio in (1, 2):
        found = ll.method(NAME, ratio=ratio, layer="4").run(c, x, golden_network.TARGET)
        close(found.raw[0], golden_network.rows(NAME, f"ratio={ratio}").tolist(), 1e-9)
    close(found.details["start"][0], golden_network.rows("ae-start-map", "layer 4, channel sum").tolist(), 1e-9)


@pytest.mark.parametrize("ratio", [1, 2])
@pytest.mark.parametrize("model", ["tinyvgg", "tinyresnet_basic", "tinyresnet_bottleneck"])
def test_authors(model: str, ratio: int) -> None:
    """Their residual blocks return twice what they should, which the last linear step keeps."""
    _, arrays = golden(f"authors-attribution_equilibrium-{model}")
    target = torch.from_numpy(arrays["target"])
    found = ll.method(NAME, ratio=ratio).run(classifier(model), inputs(model)[: len(target)], target)
    theirs = torch.from_numpy(arrays[f"hedge_ratio{ratio}"]).sum(1) / (1 if model == "tinyvgg" else 2)
    torch.testing.assert_close(found.raw, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))
    start = torch.from_numpy(arrays["R_init"]).sum(1)
    torch.testing.assert_close(found.details["start"], start, rtol=0, atol=1e-5 * float(start.abs().max()))


@pytest.mark.parametrize(
    ("ratio_in", "ratio"),
    [("c", 1.0), ("c", 1.5), ("c", 2.0), ("all", 1.0), ("all", 1.5)],  # all at 2: no negative relevance reaches "long"
)
@pytest.mark.parametrize("network", [chain, Branches])
def test_totals(network: Callable[[], nn.Module], ratio_in: str, ratio: float) -> None:
    found = ll.method(NAME, ratio=ratio, ratio_in=ratio_in).run(ll.Classifier(network(), size=16), pictures(), 1)
    total, mixed = (ratio - 2, 0) if ratio_in == "c" else (2 * ratio - 3, 2 * ratio - 2)
    assert found.raw.sum((1, 2)).tolist() == pytest.approx([total] * 2)
    names, went = found.details["relevance_operations"], found.details["relevance_outgoing"]
    layers = [i for i, name in enumerate(names) if name.startswith("conv2d") and "Equilibrium" in name]
    assert layers
    for i in layers:
        if "pooled" in names[i]:  # means are nowhere 0: no inactive inputs, dead denominators
            continue
        mixes = "long" in names[i]
        assert went[:, i].tolist() == pytest.approx([mixed if mixes else total] * 2, abs=1e-9), names[i]


def test_kernels_of_one_row_count_as_mixing_unless_told_otherwise() -> None:
    method = ll.method(NAME, channel_mixing="pointwise")
    found = method.run(ll.Classifier(Branches(), size=16), pictures(), 1)
    names, went = found.details["relevance_operations"], found.details["relevance_outgoing"]
    totals = {part: went[0, next(i for i, n in enumerate(names) if part in n)].item() for part in ("long.2", "long.0")}
    assert totals == pytest.approx({"long.2": -1, "long.0": 0}, abs=1e-9)


def test_keeping_the_mass_only_scales_a_chain() -> None:
    c, x = ll.Classifier(chain(), size=16), pictures()
    plain, kept = (ll.method(NAME, keep_mass=keep).raw(c, x, 1) for keep in (False, True))
    factor = (kept / plain).flatten(1)
    assert (factor.amax(1) / factor.amin(1)).tolist() == pytest.approx([1, 1])
    assert factor[0, 0] > 0


def test_the_size_of_the_evidence_does_not_matter_in_a_chain() -> None:
    net = chain()
    x = pictures()
    before = ll.method(NAME).raw(ll.Classifier(net, size=16), x, 1)
    net[-1].weight.data *= 9
    after = ll.method(NAME).raw(ll.Classifier(net, size=16), x, 1)
    close(after, before.tolist(), 1e-9)
    net[-1].weight.data *= -1
    turned = ll.method(NAME).raw(ll.Classifier(net, size=16), x, 1)
    close(turned.sum((1, 2)), [-1, -1], 1e-9)
    assert (turned + before).abs().max() > 1e-3


@pytest.mark.parametrize("network", [chain, Branches, Shortcut, dense_net])
@pytest.mark.parametrize("residual", ["main", "balanced"])
def test_a_batch_gives_what_its_images_give(network: Callable[[], nn.Module], residual: str) -> None:
    size = 48 if network is dense_net else 16
    c, x = ll.Classifier(network().double().eval(), size=size), pictures(3, size)
    method = ll.method(NAME, ratio=1.5, residual=residual)
    together, single = method.raw(c, x, [0, 1, 2]), [method.raw(c, x[i : i + 1], i) for i in range(3)]
    assert torch.isfinite(together).all()
    close(together, torch.cat(single).tolist(), 1e-9)


def test_no_evidence_is_an_empty_map() -> None:
    net = chain()
    nn.init.zeros_(net[-1].weight)
    found = ll.method(NAME).run(ll.Classifier(net, size=16), pictures(), 1)
    assert (found.raw == 0).all()
    assert found.degenerate.all()


def test_bounds_of_the_data() -> None:
    c, x = ll.Classifier(chain(), size=16), pictures() / 2
    image, data = (ll.method(NAME, bounds=bounds).raw(c, x, 1) for bounds in ("image", "data"))
    close(data.sum((1, 2)), [-1, -1], 1e-9)
    assert (image - data).abs().max() > 1e-4


@pytest.mark.parametrize("ratio", [0.9, 2.1])
def test_ratio_is_between_1_and_2(ratio: float) -> None:
    with pytest.raises(ll.errors.InvalidOption, match="ratio"):
        ll.method(NAME, ratio=ratio)


@pytest.mark.parametrize(
    ("pool", "before_pool", "size"),
    [
        (nn.MaxPool2d(2), True, 14),  # as VGG
        (nn.MaxPool2d(3, ceil_mode=True), True, 14),
        (nn.Sequential(nn.MaxPool2d(2), nn.Dropout()), True, 14),
        (nn.MaxPool2d(3, 2), False, 6),  # as AlexNet
        (nn.MaxPool2d(3, 1, 1), False, 14),
        (nn.AvgPool2d(2), False, 7),
        (nn.Identity(), True, 14),
    ],
)
def test_it_begins_before_a_pool_that_tiles(pool: nn.Module, before_pool: bool, size: int) -> None:
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), pool)
    net = nn.Sequential()
    net.features, net.end = features, nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(54, 3))
    net = net.double().eval()
    c, x = ll.Classifier(net, layer="features", size=14), pictures(2, 14)
    found = ll.method(NAME).run(c, x, 1)
    assert found.details["start"].shape == (2, size, size)
    before = net.features[:4](x).detach().requires_grad_()
    (slope,) = torch.autograd.grad(net.end(pool(before))[:, 1].sum(), before)
    expected = (slope.mean((2, 3), keepdim=True) * before).detach()
    expected = (expected / expected.sum((1, 2, 3), keepdim=True).abs()).sum(1)
    if before_pool:
        close(found.details["start"], expected.tolist(), 1e-9)
        close(found.raw, ll.method(NAME, layer="features.3").raw(c, x, 1).tolist())


# -- where it stops --------------------------------------------------------------------------------------------


def narrow() -> nn.Sequential:
    """One channel behind the first convolution: the map there is all the relevance there is."""
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(3, 1, 3, padding=1), nn.ReLU(), nn.Conv2d(1, 6, 3, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(96, 3)),
    )
    net[0].bias.data.fill_(0.5)
    return net.double().eval()


@pytest.mark.parametrize("method", [NAME, "rsp"])
def test_the_rest_of_the_way_from_where_it_stopped_makes_the_map(method: str) -> None:
    """By the box rule, written out: R' = x . W^T s - l . W+^T s - h . W-^T s, with s = R / (the same sums)."""
    net, x = narrow(), pictures()
    c = ll.Classifier(net, layer="3", size=16)
    whole, stopped = ll.method(method).raw(c, x, 1), ll.method(method, stop="0").run(c, x, 1)
    low, high = (f((1, 2, 3), keepdim=True).expand_as(x) for f in (x.amin, x.amax))
    w, (up, down) = net[0].weight.detach(), (net[0].weight.detach().clamp(a, b) for a, b in ((0, None), (None, 0)))
    z = F.conv2d(x, w, padding=1) - F.conv2d(low, up, padding=1) - F.conv2d(high, down, padding=1)
    s = stopped.raw[:, None] / z
    back = (v * F.conv_transpose2d(s, k, padding=1) for v, k in ((x, w), (-low, up), (-high, down)))
    close(sum(back).sum(1), whole.tolist(), 1e-9)
    positive, negative = stopped.details["sections"].unbind(1)
    close(positive - negative, stopped.raw.tolist())
    assert ((positive == 0) | (negative == 0)).all()


@pytest.mark.parametrize("method", [NAME, "rsp"])
def test_where_it_can_stop(method: str) -> None:
    c, x = ll.Classifier(chain(), layer="6", size=16), pictures()
    at_once = ll.method(method, stop="6").run(c, x, 1)
    close(at_once.raw, at_once.details["start"].tolist())
    with pytest.raises(ll.errors.InvalidOption, match="can't stop at '6', behind where it begins"):
        ll.method(method, layer="3", stop="6").run(c, x, 1)
    with pytest.raises(ll.errors.UnknownLayer, match="'nowhere'"):
        ll.method(method, stop="nowhere").run(c, x, 1)


def test_its_sections_are_drawn_as_parts() -> None:
    explanation = ll.explain("demo/resnet", ll.example_image(), NAME, stop="layer2")
    assert [p.title for p in explanation.parts()] == ["positive section", "negative section"]
    assert explanation.raw.shape == explanation.details["sections"].shape[1:]


def test_cost() -> None:
    """One forward pass of all terms, one back, and the gradient at the layer."""
    found = ll.method(NAME).run(ll.Classifier(chain(), size=16), pictures(), 1).cost
    assert 3.5 < found.forwards <= 4
    assert 2.5 < found.backwards <= 4
    one = ll.method(NAME, use_a=False, use_b=False).run(ll.Classifier(chain(), size=16), pictures(), 1).cost
    assert one.forwards < 2.5
