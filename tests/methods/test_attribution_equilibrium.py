"""Attribution Equilibrium at single operations, against worked examples."""

import pytest
import torch
from torch import Tensor, nn

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
from methods.equilibrium_networks import NAME, R, Shortcut, W, X, close, dense_net, example, inner, recorded


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


def test_pools() -> None:
    x = torch.zeros(1, 1, 2, 4).double()
    x[..., 2:] = torch.tensor([[1.0, 3], [0, -2]])
    r = torch.tensor([[[[5.0, -7]]]]).double()
    largest = Pool()(inner(nn.MaxPool2d(2), x), r)
    close(largest, [5.0, 0, 0, -7, 0, 0, 0, 0], 1e-9)  # a window of zeros: to its first position
    mean = Pool()(inner(nn.AvgPool2d(2), x), r)
    close(mean, [1.25, 1.25, -1.75, -5.25, 1.25, 1.25, 0, 0], 1e-7)
    assert mean.sum() == pytest.approx(-2)


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
