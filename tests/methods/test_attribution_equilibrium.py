"""Attribution Equilibrium against worked examples, the authors' code, and the sums that its definition promises."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import limelight as ll
from limelight.maps.propagation.attribution_equilibrium import (
    Balanced,
    Concatenation,
    Equilibrium,
    Pool,
    dense_blocks,
    main_branch,
)
from limelight.relevance.op import Op
from limelight.relevance.recording import Recording
from methods import golden_network
from methods.goldens import classifier, golden, inputs

NAME = "attribution-equilibrium"
X = torch.tensor([2.0, 1, 0, 1]).double()
W = torch.tensor([[1.0, -1, 2, 0], [0.5, 1, -1, -2]]).double()
R = torch.tensor([3.0, -1]).double()


def recorded(net: nn.Module, x: Tensor) -> Recording:
    return Recording(ll.Classifier(net.eval()), x)


class Behind(nn.Module):
    """A layer that is given exactly x, and is not the first one."""

    def __init__(self, layer: nn.Module, x: Tensor) -> None:
        super().__init__()
        self.first, self.layer, self.x = nn.Conv2d(3, x.shape[1], 1, bias=False).to(x), layer, x
        nn.init.zeros_(self.first.weight)

    def forward(self, image: Tensor) -> Tensor:
        return self.layer(self.first(image) + self.x).flatten(1)


def inner(layer: nn.Module, x: Tensor) -> Op:
    return recorded(Behind(layer, x), torch.zeros(len(x), 3, *x.shape[-2:]).to(x)).ops[-1]


def example(mixes: bool = False, copies: int = 1) -> tuple[Op, Tensor]:
    """The convolution of the worked example, as a 2 x 2 kernel or as one of 1 x 1 with four inputs."""
    shape = (4, 1, 1) if mixes else (1, 2, 2)
    conv = nn.Conv2d(shape[0], 2, shape[1:] if not mixes else 1).double()
    conv.weight.data = W.view(2, *shape)
    return inner(conv, X.view(1, *shape).repeat(copies, 1, 1, 1)), R.view(1, 2, 1, 1).repeat(copies, 1, 1, 1)


def close(a: Tensor, b: Tensor | list[float], tolerance: float = 1e-12) -> None:
    b = torch.as_tensor(b, dtype=a.dtype)
    torch.testing.assert_close(a.reshape(b.shape), b, rtol=0, atol=tolerance)


# -- the worked example ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"ratio": 1.0}, [7 / 12, 1 / 4, -1, -5 / 6]),
        ({"ratio": 2.0}, [5 / 4, 7 / 12, -1, -5 / 6]),
        ({"ratio": 1.0, "use_a": False, "use_b": False, "use_shift": False}, [5 / 12, 1 / 12, 0, -1 / 2]),
        ({"ratio": 2.0, "use_a": False, "use_b": False, "use_shift": False}, [13 / 12, 5 / 12, 0, -1 / 2]),
        ({"ratio": 2.0, "use_a": False, "use_b": False}, [3 / 4, 1 / 12, 0, -5 / 6]),
        ({"use_c": False, "use_b": False}, [1 / 2, 1 / 2, 0, 0]),
        ({"use_c": False, "use_a": False}, [0, 0, -1, 0]),
        ({"use_c": False}, [1 / 2, 1 / 2, -1, 0]),
        ({"use_c": False, "use_a": False, "use_b": False}, [0, 0, 0, 0]),
        ({"ratio": 1.0, "keep_mass": True}, [7 / 6, 1 / 2, -2, -5 / 3]),
        ({"ratio": 1.0, "ratio_in": "all"}, [7 / 12, 1 / 4, -1, -5 / 6]),
        ({"ratio": 2.0, "ratio_in": "all"}, [7 / 4, 13 / 12, -1, -5 / 6]),
        ({"ratio": 2.0, "ratio_in": "all", "use_c": False}, [1, 1, -1, 0]),
    ],
)
def test_worked_example(options: dict[str, float], expected: list[float]) -> None:
    op, r = example()
    close(Equilibrium(**options)(op, r), expected)


@pytest.mark.parametrize("ratio", [1.0, 1.5, 2.0])
def test_worked_example_of_channels(ratio: float) -> None:
    op, r = example(mixes=True)
    close(Equilibrium(ratio)(op, r), [11 / 12, 7 / 12, -1, -1 / 2])


def test_worked_example_of_channels_with_the_ratio_in_all_terms() -> None:
    op, r = example(mixes=True)
    close(Equilibrium(2.0, ratio_in="all")(op, r), [13 / 12 + 1, 5 / 12 + 1, -1, -1 / 2])


def test_a_linear_operation_counts_as_a_convolution_of_one_pixel() -> None:
    linear = nn.Linear(4, 2).double()
    linear.weight.data = W
    op = inner(nn.Sequential(nn.Flatten(), linear), X.view(1, 4, 1, 1))
    assert op.kind == "linear"
    close(Equilibrium(2.0)(op, R[None]), [11 / 12, 7 / 12, -1, -1 / 2])


def test_relevance_counts_by_sign_and_not_by_size() -> None:
    op, r = example()
    rule = Equilibrium(1.5)
    found = rule(op, r)
    close(rule(op, 7 * r), found.flatten().tolist())
    assert (rule(op, -r) + found).abs().max() > 0.1  # not odd: another sign of the evidence is another picture


def test_a_missing_sign_is_no_relevance() -> None:
    op, r = example(copies=3)
    r = torch.stack([r[0].abs(), -r[1].abs(), 0 * r[2]])
    found = Equilibrium(2.0)(op, r)
    assert torch.isfinite(found).all()
    # Left are ratio - 1 (the shift) + 1, -1 - 1 - 1, and nothing.
    close(found.sum((1, 2, 3)), [2, -3, 0])
    close(found[2], [0.0, 0, 0, 0])


def random_conv(**settings: int) -> tuple[Op, Tensor]:
    generator = torch.Generator().manual_seed(3)
    conv = nn.Conv2d(6, 4, 3, **settings).double()
    conv.weight.data = torch.randn(conv.weight.shape, generator=generator).double()
    op = inner(conv, torch.randn(2, 6, 9, 11, generator=generator).double())
    return op, torch.randn(op.output.shape, generator=generator).double()


SETTINGS = [{}, {"padding": 1, "stride": 2}, {"dilation": 2, "groups": 2}]


@pytest.mark.parametrize("settings", SETTINGS)
def test_terms_go_where_they_belong(settings: dict[str, int]) -> None:
    op, r = random_conv(**settings)
    off = {"use_c": False, "use_a": False, "use_b": False, "use_shift": False}
    c, a, b = (Equilibrium(1.5, **{**off, use: True})(op, r) for use in ("use_c", "use_a", "use_b"))
    assert (a[op.x <= 0] == 0).all()
    assert (b[op.x > 0] == 0).all()
    assert (c[op.x <= 0] == 0).all()
    close(c.sum((1, 2, 3)), [0.5, 0.5])
    close(a.sum((1, 2, 3)), [1, 1])
    close(b.sum((1, 2, 3)), [-1, -1])
    close(Equilibrium(1.5)(op, r).sum((1, 2, 3)), [-0.5, -0.5])
    assert torch.equal(a, Equilibrium(2.0, **{**off, "use_a": True})(op, r)), "the ratio acts through C only"


@pytest.mark.parametrize("settings", SETTINGS)
def test_equals_the_sum_over_connections(settings: dict[str, int]) -> None:
    """Written out with every connection of the convolution as an entry of one matrix."""
    op, r = random_conv(**settings)
    size = op.x[0].numel()
    units = torch.eye(size).double().view(size, *op.x.shape[1:])
    assert op.affine is not None
    m = op.affine(units, op.w(), None).flatten(1).abs()  # (inputs, outputs)
    x, r0 = op.x[1].flatten(), r[1].flatten()
    p, n = r0.clamp_min(0) / r0[r0 > 0].sum(), r0.clamp_max(0) / -r0[r0 < 0].sum()
    expected = torch.zeros_like(x)
    for values, given in ((x.clamp_min(0), 1.25 * p + n), ((x > 0).double(), p), ((x <= 0).double(), n)):
        contributions = values[:, None] * m
        z = contributions.sum(0)
        expected += (contributions[:, z > 0] * (given / z)[z > 0]).sum(1)
    expected[x > 0] -= 1 / int((x > 0).sum())
    close(Equilibrium(1.25)(op, r)[1].flatten(), expected.tolist())


# -- other operations ------------------------------------------------------------------------------------------


def test_pools() -> None:
    x = torch.zeros(1, 1, 2, 4).double()
    x[..., 2:] = torch.tensor([[1.0, 3], [0, -2]])
    r = torch.tensor([[[[5.0, -7]]]]).double()
    largest = Pool()(inner(nn.MaxPool2d(2), x), r)
    close(largest, [5.0, 0, 0, -7, 0, 0, 0, 0], 1e-9)  # a window of zeros: to its first position
    mean = Pool()(inner(nn.AvgPool2d(2), x), r)
    close(mean, [1.25, 1.25, -1.75, -5.25, 1.25, 1.25, 0, 0], 1e-7)
    assert mean.sum() == pytest.approx(-2)


class Shortcut(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.skip = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.a, self.b = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        return (self.skip(x) + self.b(self.a(x).relu())).relu().mean((2, 3))


def test_shortcuts_get_nothing_unless_asked_for() -> None:
    torch.manual_seed(0)
    recording = recorded(Shortcut().double(), torch.randn(2, 3, 6, 6).double())
    op = next(op for op in recording.ops if op.kind == "add")
    r = torch.randn_like(op.y)
    skipped, main = main_branch(op, r)
    assert skipped is None
    assert torch.equal(main, r)
    shares = Balanced()(op, r)
    plain = [x * r / op.y for x in op.inputs]
    totals = torch.stack([s.sum((1, 2, 3)) for s in plain]).abs()
    found = torch.stack([s.sum((1, 2, 3)) for s in shares])
    close(found.sum(0), r.sum((1, 2, 3)).tolist(), 1e-9)
    close(found[0] / found[1], (totals[0] / totals[1]).tolist(), 1e-9)


def dense_net() -> nn.Module:
    from torchvision.models import DenseNet

    torch.manual_seed(0)
    net = DenseNet(growth_rate=4, block_config=(1, 2), num_init_features=8, bn_size=2, num_classes=5)
    return net.double().eval()


def test_the_input_of_a_dense_block_gets_nothing() -> None:
    net, x = dense_net(), torch.randn(2, 3, 48, 48).double()
    recording = recorded(net, x)
    blocks = dense_blocks(recording)
    assert blocks == {"features.denseblock1", "features.denseblock2"}
    joins = [op for op in recording.ops if op.kind == "cat"]
    for op in joins:
        r = torch.randn_like(op.y)
        parts = r.split([x.shape[1] for x in op.inputs], 1)
        shares = Concatenation(blocks)(op, r)
        if op.owner in blocks:
            assert shares[0] is None
            assert all(torch.equal(s, p) for s, p in zip(shares[1:], parts[1:], strict=True))
            kept = Concatenation(blocks, keep=True)(op, r)[0]
            assert torch.equal(kept, parts[0] * (op.inputs[0] != 0))
        else:
            assert all(torch.equal(s, p) for s, p in zip(shares, parts, strict=True))
    assert len(joins) == 2 + 3
    maps = [
        ll.method(NAME, dense_input_share=share).raw(ll.Classifier(net, size=48), x, 1) for share in ("drop", "keep")
    ]
    assert (maps[0] - maps[1]).abs().max() > 1e-3


def test_dense_blocks_of_other_make_are_named() -> None:
    class Grow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.unused = nn.Conv2d(4, 4, 1), nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x, self.one(x).relu()], 1)

    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), Grow(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    recording = recorded(net, torch.randn(1, 3, 4, 4))
    assert dense_blocks(recording) == set()
    assert dense_blocks(recording, ("2*",)) == {"2"}
    (op,) = (op for op in recording.ops if op.kind == "cat")
    r = torch.randn_like(op.y)
    shares = Concatenation()(op, r)
    assert torch.equal(shares[0], r[:, :4] * (op.inputs[0] != 0))


# -- whole networks --------------------------------------------------------------------------------------------


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


def chain() -> nn.Sequential:
    """Without dead denominators: every output sees active and inactive inputs."""
    torch.manual_seed(1)
    net = nn.Sequential(
        *(nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(16 * 16, 8), nn.ReLU(), nn.Linear(8, 4)),
    )
    return net.double().eval()


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.stem = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 16, 3, padding=1), nn.ReLU())
        self.long = nn.Sequential(nn.Conv2d(16, 12, 1), nn.ReLU(), nn.Conv2d(12, 12, (1, 3)), nn.ReLU())
        self.wide, self.pooled = nn.Conv2d(16, 12, (3, 1)), nn.Conv2d(16, 12, 1)
        self.mix, self.fc = nn.Conv2d(36, 16, 3, padding=1), nn.Linear(16, 4)
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        long = F.pad(self.long(x), (1, 1))
        wide = F.pad(F.relu(self.wide(x)), (0, 0, 1, 1))
        pooled = F.relu(self.pooled(F.avg_pool2d(x, 3, 1, 1)))
        return self.fc(F.relu(self.mix(torch.cat([long, wide, pooled], 1))).mean((2, 3)))


def pictures(n: int = 2, size: int = 16) -> Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(5)).double()


@pytest.mark.parametrize(
    ("ratio_in", "ratio"),
    [("c", 1.0), ("c", 1.5), ("c", 2.0), ("all", 1.0), ("all", 1.5)],  # all at 2: no negative relevance reaches "long"
)
@pytest.mark.parametrize("network", [chain, Branches])
def test_totals(network: Callable[[], nn.Module], ratio_in: str, ratio: float) -> None:
    found = ll.method(NAME, ratio=ratio, ratio_in=ratio_in).run(ll.Classifier(network(), size=16), pictures(), 1)
    total, mixed = (ratio - 2, 0) if ratio_in == "c" else (2 * ratio - 3, 2 * ratio - 2)
    assert found.raw.sum((1, 2)).tolist() == pytest.approx([total] * 2)
    names, went = found.details["relevance_operations"], found.details["relevance_went"]
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
    names, went = found.details["relevance_operations"], found.details["relevance_went"]
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


# -- where it begins -------------------------------------------------------------------------------------------


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
