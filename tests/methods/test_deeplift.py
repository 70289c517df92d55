"""DeepLIFT: worked by hand, against captum, and what adds up to the difference of two scores."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import architectures
import limelight as ll
from limelight.errors import ConservationWarning, InvalidOption, UnsupportedModel
from limelight.maps.pixel.deeplift import Rescale, side_by_side
from limelight.relevance.recording import Recording
from methods.adding_up import CONVOLUTIONAL, Head, gap, one, pixel
from methods.goldens import TINY, classifier, exact, golden, inputs
from methods.known_scores import assert_same


def test_deeplift_sees_through_saturation() -> None:
    """y = 1 - ReLU(1 - x): flat at x = 2, where the gradient says that nothing matters."""
    c = one(Head(lambda x: 1 - (1 - x[:, 0, 0, 0]).relu()))
    x = pixel(2, 5, 5)
    assert ll.method("gradient").raw(c, x, 0).item() == 0
    saliency = ll.method("deeplift", baseline="zero").run(c, x, 0)
    assert saliency.raw.item() == 1
    assert gap(saliency).item() == 0


def test_deeplift_of_a_threshold() -> None:
    """y = ReLU(x1 + x2 - 1) at (2, 1), compared with 0: 2 in all, of which x1 has two thirds."""
    c = one(Head(lambda x: (x[:, 0, 0, 0] + x[:, 1, 0, 0] - 1).relu()))
    method = ll.method("deeplift", baseline="zero", reduce="abs-max")
    assert method.raw(c, pixel(2, 1, 7), 0).item() == pytest.approx(4 / 3, rel=1e-12)
    whole = ll.method("deeplift", baseline="zero").run(c, pixel(2, 1, 7), 0)
    assert whole.raw.item() == pytest.approx(2, rel=1e-12)


def test_deeplift_of_a_product_is_halved() -> None:
    """y = x1 sigmoid(x2) from (0, 0) to (2, 3): x1 gets 2 (s + 1/2) / 2, x2 the rest, (s - 1/2) 2 / 2."""
    c = one(Head(lambda x: (x[:, :1] * x[:, 1:2].sigmoid())[:, 0, 0, 0]))
    s = float(torch.tensor(3.0).double().sigmoid())
    saliency = ll.method("deeplift", baseline="zero", reduce="abs-max").run(c, pixel(2, 3, 0), 0)
    assert saliency.raw.item() == pytest.approx(s + 0.5, rel=1e-12)
    assert gap(saliency).item() < 1e-12


def test_maxima() -> None:
    """Up: the winner of the image answers. Down: that of the reference, which must have fallen."""
    image = torch.tensor([[1.0, 4, 0, 0], [2, 3, 1, 0]]).double()
    black = torch.tensor([[3.0, 0, 0, 5], [0, 0, 0, 0]]).double()
    c = one(Head(lambda x: F.max_pool2d(x[:, :1], 2).sum((1, 2, 3))))
    x, x0 = (F.pad(t[None], (0, 0, 0, 0, 0, 2))[None] for t in (image, black))
    recordings = [Recording(c, t, {}) for t in (x, x0)]
    op = next(op for op in recordings[0].ops if op.kind == "max_pool")
    m = Rescale(side_by_side(*recordings)).max_pool(op, torch.ones_like(op.y))
    # 4 in place of 3: 1 over a difference of 4. 1 in place of 5: -4 over -5.
    expected = torch.tensor([[0, 1 / 4, 0, 4 / 5], [0, 0, 0, 0]]).double()
    torch.testing.assert_close(m[0, 0], expected)
    saliency = ll.method("deeplift", baseline=x0[0]).run(c, x, 0)
    torch.testing.assert_close(saliency.raw[0], expected * (image - black))
    assert gap(saliency).item() < 1e-12
    switches = ll.method("deeplift", baseline=x0[0], max_pool="gradient").run(c, x, 0)
    torch.testing.assert_close(switches.raw[0], torch.tensor([[0, 4.0, 0, 0], [0, 0, 1, 0]]).double())
    assert gap(switches).item() == pytest.approx(abs(5 - (1 - 4)))


@pytest.mark.parametrize("seed", range(5))
def test_multipliers_of_a_maximum_never_exceed_1(seed: int) -> None:
    """Windows that overlap, and values that hardly differ."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, 9, 9, generator=generator).double()
    x0 = x + torch.randn(2, 3, 9, 9, generator=generator).double() ** 5
    c = one(Head(lambda x: F.max_pool2d(x, 3, 2, 1).sum((1, 2, 3))))
    recordings = [Recording(c, t, {}) for t in (x, x0)]
    op = next(op for op in recordings[0].ops if op.kind == "max_pool")
    each = torch.zeros_like(op.y)
    each[:, :, 2, 2] = 1
    m = Rescale(side_by_side(*recordings)).max_pool(op, each)
    assert 0 <= m.min() <= m.max() <= 1 + 1e-12
    torch.testing.assert_close(
        (m * (x - x0)).sum((2, 3)), ((op.y - recordings[1].ops[recordings[0].ops.index(op)].y) * each).sum((2, 3))
    )


POOLS: list[Any] = [
    lambda x: F.max_pool2d(x, 2),
    lambda x: F.max_pool2d(x, (3, 2), (2, 1), (1, 0), ceil_mode=True),
    lambda x: torch.max_pool2d(x, [3, 3], [2]),
    lambda x: F.max_pool1d(x[:, :, 0], 3, 2),
    lambda x: F.max_pool3d(x[:, :, None], (1, 3, 3)),
    lambda x: F.adaptive_max_pool2d(x, (4, 3)),
    lambda x: F.adaptive_max_pool2d(x, (None, 1)),
    lambda x: x.amax((2, 3)),
    lambda x: x.amax(-2, keepdim=True),
]


@pytest.mark.parametrize("pool", POOLS)
def test_equal_values_of_a_window_share(pool: Any) -> None:
    """Where all count as equal, a maximum becomes the mean of its windows; where none does, its own gradient stays."""
    x = torch.randn(2, 3, 9, 10, generator=torch.Generator().manual_seed(0)).double()
    op = next(
        op for op in Recording(one(Head(lambda x: pool(x).flatten(1).sum(1))), x, {}).ops if op.kind == "max_pool"
    )
    r = torch.randn(op.y.shape, generator=torch.Generator().manual_seed(1)).double()
    tolerance = torch.zeros(2, 1, 1, 1)
    torch.testing.assert_close(op.share_ties(r, tolerance), op.native(r)[0])
    leaf = op.x.detach().requires_grad_()
    assert op.windows is not None
    (mean,) = torch.autograd.grad(op.windows(leaf), leaf, r)
    torch.testing.assert_close(op.share_ties(r, tolerance + 100), mean)


def test_windows_with_gaps_share() -> None:
    x = torch.tensor([[2.0, 9, 2, 0], [9, 9, 9, 9], [1, 9, 2, 0]]).double().expand(1, 3, 3, 4)
    net = Head(lambda x: F.max_pool2d(x[:, :1], 2, dilation=2).sum((1, 2, 3)))
    op = next(op for op in Recording(one(net), x, {}).ops if op.kind == "max_pool")
    found = op.share_ties(torch.tensor([[[[3.0]]]]).double(), torch.zeros(1, 1, 1, 1))
    assert found[0, 0].tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 1, 0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_deeplift_of_a_batch_is_that_of_its_images(dtype: torch.dtype) -> None:
    """Of a constant reference all values of a window are equal but for the rounding, which the batch decides."""
    torch.manual_seed(0)
    body = (
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
    )
    net = nn.Sequential(*body, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 64, 5)).to(dtype)
    c, x = ll.Classifier(net, size=32), torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1)).to(dtype)
    x[:, :, :12] = c.bounds[0]
    found = ll.method("deeplift", batch_size=3).run(c, x, 2)
    alone = torch.cat([ll.method("deeplift").raw(c, one, 2) for one in x.split(1)])
    assert_same(found.raw, alone, 1e-12 if dtype == torch.float64 else 1e-4)
    assert gap(found).max() < (1e-13 if dtype == torch.float64 else 1e-5)


@pytest.mark.parametrize("model", TINY)
def test_captum_deeplift(model: str) -> None:
    _, arrays = golden(f"captum-deeplift-{model}")
    attribution, target = torch.from_numpy(arrays["attr"]), torch.from_numpy(arrays["target"])
    c, x = exact(classifier(model)), inputs(model)[: len(attribution)].double()
    method = ll.method("deeplift", profile="captum")
    assert_same(method.raw(c, x, target[: len(x)]), attribution.sum(1))
    largest = ll.method("deeplift", profile="captum", reduce="abs-max")
    assert_same(largest.raw(c, x, target[: len(x)]), attribution.abs().amax(1))


@pytest.mark.parametrize("act", [nn.ELU, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.LeakyReLU])
@pytest.mark.filterwarnings("ignore")  # of captum's own hooks
def test_captum_on_other_activations(act: Any) -> None:
    attr = pytest.importorskip("captum.attr", reason="needs the package captum, of the extra peers")
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(3, 6, 3), act(), nn.BatchNorm2d(6), nn.AvgPool2d(2), nn.Conv2d(6, 8, 3), act(), nn.Flatten()),
        *(nn.Linear(32, 6), act(), nn.Linear(6, 3)),
    ).double()
    x = torch.randn(2, 3, 10, 10).double()
    net(3 * x)
    net.eval()
    theirs = attr.DeepLift(net).attribute(x, torch.full_like(x, 0.25), target=2)
    found = ll.method("deeplift", baseline=torch.full((3, 1, 1), 0.25)).run(ll.Classifier(net, size=10), x, 2)
    assert_same(found.raw, theirs.sum(1).detach(), 1e-9)
    assert gap(found).max() < 1e-12


@pytest.mark.parametrize("name", CONVOLUTIONAL)
@pytest.mark.parametrize("baseline", ["black", "zero", "white", "mean", "gauss-51-50"])
def test_deeplift_adds_up(name: str, baseline: Any) -> None:
    c, x = ll.Classifier(architectures.build(name).double()), architectures.images(2).double()
    saliency = ll.method("deeplift", baseline=baseline).run(c, x, [1, 4])
    assert gap(saliency).max() < 1e-12
    start = ll.engine.baselines.fill_images(c, x, baseline)
    change = (c(x) - c(start)).gather(1, torch.tensor([[1], [4]]))[:, 0]
    assert change.abs().min() > 1e-4
    torch.testing.assert_close(saliency.raw.sum((1, 2)), change)


def test_deeplift_of_the_reference_itself_is_empty() -> None:
    c, x = ll.Classifier(architectures.build("plain").double()), architectures.images(1).double()
    saliency = ll.method("deeplift", baseline=x[0]).run(c, x, 1)
    assert not saliency.raw.any()
    assert saliency.degenerate.all()
    assert gap(saliency).item() == 0


def test_where_nothing_differs_the_slope_is_the_multiplier() -> None:
    """Close to the reference DeepLIFT is the difference times the gradient."""
    c, x = ll.Classifier(architectures.build("tokens").double()), architectures.images(1).double()
    with pytest.warns(ConservationWarning, match="no rule for matmul"):
        found = ll.method("deeplift", baseline=x[0] - 1e-7).raw(c, x, 1)
    assert_same(found, 1e-7 * ll.method("gradient", reduce="sum").raw(c, x, 1), 1e-4)


def test_deeplift_of_other_scores_tells_the_gap() -> None:
    """Between logits and score there is no rule: the slope at the image is taken."""
    c, x = ll.Classifier(architectures.build("plain").double()), architectures.images(2).double()
    saliency = ll.method("deeplift", score="prob").run(c, x, 1)
    black = ll.engine.baselines.fill_images(c, x, "black")
    change = (c(x).softmax(1) - c(black).softmax(1))[:, 1]
    torch.testing.assert_close(gap(saliency), (saliency.raw.sum((1, 2)) - change).abs())
    function = ll.method("deeplift").run(c, x, lambda out: 2 * out[:, 1])
    torch.testing.assert_close(function.raw, 2 * ll.method("deeplift").raw(c, x, 1))
    assert gap(function).max() < 1e-12


def test_a_network_that_does_something_else_for_the_reference_is_refused() -> None:
    c = one(Head(lambda x: (x.relu() if x.abs().max() > 0 else x).sum((1, 2, 3))))
    with pytest.raises(UnsupportedModel, match="other operations for the reference"):
        ll.method("deeplift", baseline="zero").run(c, pixel(1, 2, 3), 0)


def test_deeplift_options() -> None:
    c, x = classifier("tinyvgg"), inputs("tinyvgg")[:1]
    with pytest.raises(InvalidOption, match="baseline of shape"):
        ll.method("deeplift", baseline=torch.zeros(3, 5, 5)).run(c, x)
    with pytest.raises(InvalidOption, match="max_pool"):
        ll.method("deeplift", max_pool="winner")
    profile = ll.method("deeplift", profile="captum").own_options
    assert (profile["baseline"], profile["max_pool"]) == ("zero", "gradient")


@pytest.mark.parametrize("act", ["GELU", "SiLU", "Sigmoid", "Softplus", "ELU", "Tanh", "Hardswish", "PReLU"])
def test_deeplift_close_to_the_reference(act: str) -> None:
    """Of outputs that differ by their rounding alone the quotient would be noise: in float32 as in float64."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 6, 3), getattr(nn, act)(), nn.Conv2d(6, 6, 3), getattr(nn, act)(), nn.Flatten())
    net = nn.Sequential(*layers, nn.Linear(6 * 16, 4))
    x0 = torch.randn(3, 8, 8) + 2
    method = ll.method("deeplift", baseline=x0)
    for far in (1e-6, 1e-3):
        x = (x0 + far * torch.randn(2, 3, 8, 8)).double()
        single = method.raw(ll.Classifier(net.float()), x.float(), 1).double()
        x, net = x.float().double(), net.double()
        exact = method.raw(ll.Classifier(net), x, 1)
        assert (single - exact).abs().max() < 1e-4 * exact.abs().max()
