"""Relative Sectional Propagation against a worked example, the authors' code, and its conservation."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import limelight as ll
from limelight.maps.propagation.rsp import Sectional, compare
from limelight.relevance.op import Op, divide_by
from limelight.relevance.recording import Recording
from methods import golden_network
from methods.equilibrium_networks import Behind
from methods.goldens import classifier, golden, inputs

X = torch.tensor([2.0, 1, 0, 1]).double()
W = torch.tensor([[1.0, -1, 2, 0], [0.5, 1, -1, -2]]).double()
R = torch.tensor([3.0, -1]).double()


def inner(layer: nn.Module, x: Tensor) -> Op:
    images = torch.zeros(len(x), 3, *x.shape[-2:]).to(x)
    return Recording(ll.Classifier(Behind(layer, x).eval()), images).ops[-1]


def close(a: Tensor, b: Tensor | list[float], tolerance: float = 1e-12) -> None:
    b = torch.as_tensor(b, dtype=a.dtype)
    torch.testing.assert_close(a.reshape(b.shape), b, rtol=0, atol=tolerance)


# -- the rule --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "expected"), [((1, 2, 2), [2, 0, 0, 0]), ((4, 1, 1), [4 / 3, 1 / 3, 0, 1 / 3])], ids=["2x2", "1x1"]
)
def test_worked_example(kernel: tuple[int, int, int], expected: list[float]) -> None:
    conv = nn.Conv2d(kernel[0], 2, kernel[1]).double()
    conv.weight.data = W.view(2, *kernel)
    close(Sectional()(inner(conv, X.view(1, *kernel)), R.view(1, 2, 1, 1)), expected)


def test_weights_have_no_say() -> None:
    conv = nn.Conv2d(1, 2, 2).double()
    close(Sectional()(inner(conv, X.view(1, 1, 2, 2)), R.view(1, 2, 1, 1)), [2.0, 0, 0, 0])


def test_a_linear_operation_counts_as_a_convolution_of_one_pixel() -> None:
    op = inner(nn.Sequential(nn.Flatten(), nn.Linear(4, 2).double()), X.view(1, 4, 1, 1))
    close(Sectional()(op, R[None]), [4 / 3, 1 / 3, 0, 1 / 3])


@pytest.mark.parametrize("settings", [{"padding": 1}, {"stride": 2, "padding": 1}, {"dilation": 2, "groups": 2}])
def test_equals_one_grouped_convolution_of_all_images(settings: dict[str, int]) -> None:
    """The images as groups of one convolution, whose weight gradient has those of all of them."""
    generator = torch.Generator().manual_seed(3)
    conv = nn.Conv2d(4, 6, 3, **settings).double()
    op = inner(conv, torch.randn(3, 4, 8, 9, generator=generator).double())
    r = torch.randn(op.output.shape, generator=generator).double()
    groups = 3 * settings.get("groups", 1)
    geometry = {k: v for k, v in settings.items() if k != "groups"}
    x = op.x.clamp_min(0).reshape(1, 12, 8, 9).requires_grad_()
    found = torch.zeros_like(x)
    for sign in (1, -1):
        s = (sign * r).clamp_min(0).reshape(1, 18, *r.shape[-2:])
        w = conv.weight.detach().repeat(3, 1, 1, 1).requires_grad_()
        (w,) = torch.autograd.grad(F.conv2d(x.detach(), w, groups=groups, **geometry), w, s)
        z = F.conv2d(x, w, groups=groups, **geometry)
        found = found + sign * x * torch.autograd.grad(z, x, divide_by(s, z.detach()))[0]
    found = found.detach().view(3, 4, 8, 9)
    met = (found != 0).double()
    surplus = (r.sum((1, 2, 3)) / met.sum((1, 2, 3))).view(3, 1, 1, 1)
    close(Sectional()(op, r), (2 * found - met * surplus).tolist(), 1e-9)


def test_a_missing_sign_is_no_relevance() -> None:
    op = inner(nn.Conv2d(1, 2, 2).double(), X.view(1, 1, 2, 2).repeat(3, 1, 1, 1))
    r = R.view(1, 2, 1, 1).repeat(3, 1, 1, 1)
    found = Sectional()(op, torch.stack([r[0].abs(), -r[1].abs(), 0 * r[2]]))
    assert torch.isfinite(found).all()
    close(found.sum((1, 2, 3)), [4, -4, 0])


def test_purging_drops_what_disagrees_with_its_place() -> None:
    op = inner(nn.Conv2d(4, 2, 1).double(), X.view(1, 4, 1, 1).repeat(2, 1, 1, 1))
    r = torch.stack([R, -R]).view(2, 2, 1, 1)
    agreeing = torch.tensor([[3.0, 0], [-3, 0]]).double().view(2, 2, 1, 1)
    close(Sectional(purge=True)(op, r), Sectional()(op, agreeing).tolist())
    assert Sectional(purge=True).absorbs


# -- whole networks --------------------------------------------------------------------------------------------


def test_golden_network() -> None:
    c, x = golden_network.classifier(), golden_network.image()
    found = ll.method("rsp", layer="4").raw(c, x, golden_network.TARGET)
    close(found[0], golden_network.rows("rsp", "single target").tolist(), 1e-9)


@pytest.mark.parametrize("model", ["tinyvgg", "tinyresnet_bottleneck"])
def test_authors(model: str) -> None:
    _, arrays = golden(f"authors-rsp-{model}")
    target = torch.from_numpy(arrays["target"])
    found = ll.method("rsp").run(classifier(model), inputs(model)[: len(target)], target)
    for ours, theirs in ((found.raw, arrays["rsp"]), (found.details["start"], arrays["R_init"])):
        theirs = torch.from_numpy(theirs).sum(1)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))


def network() -> nn.Module:
    torch.manual_seed(1)
    net = nn.Sequential()
    net.stem = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU())
    net.features = nn.Sequential(
        *(nn.Conv2d(12, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 12, 1), nn.ReLU()),
        *(nn.Conv2d(12, 16, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)),
    )
    net.head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 4))
    return net.double().eval()


class Shortcut(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.stem, self.skip = nn.Conv2d(3, 24, 3, padding=1), nn.Conv2d(24, 8, 1)
        self.a, self.b = nn.Conv2d(24, 24, 3, padding=1), nn.Conv2d(24, 8, 3, padding=1)
        self.end = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        return self.end(self.skip(x) + self.b(self.a(x).relu()))


def pictures(n: int = 3) -> Tensor:
    return torch.randn(n, 3, 16, 16, generator=torch.Generator().manual_seed(5)).double()


@pytest.mark.parametrize("make", [network, Shortcut])
def test_every_operation_conserves(make: type[nn.Module]) -> None:
    found = ll.method("rsp").run(ll.Classifier(make(), size=16), pictures(), 1)
    total = found.details["start"].sum((1, 2))
    close(found.raw.sum((1, 2)), total.tolist(), 1e-8)
    torch.testing.assert_close(
        found.details["relevance_incoming"], found.details["relevance_outgoing"], rtol=0, atol=1e-8
    )
    assert total.abs().min() > 1e-2


@pytest.mark.parametrize("options", [{}, {"purge": True}, {"hostile": (0, 2)}])
def test_a_batch_gives_what_its_images_give(options: dict[str, object]) -> None:
    c, x = ll.Classifier(network(), size=16), pictures()
    method = ll.method("rsp", **options)
    together, single = method.raw(c, x, [0, 1, 2]), [method.raw(c, x[i : i + 1], i) for i in range(3)]
    close(together, torch.cat(single).tolist(), 1e-9)


def test_no_evidence_is_an_empty_map() -> None:
    net = network()
    nn.init.zeros_(net.head[-1].weight)
    for hostile in ((), (0, 2)):
        found = ll.method("rsp", hostile=hostile).run(ll.Classifier(net, size=16), pictures(), 1)
        assert (found.raw == 0).all()
        assert found.degenerate.all()


def test_evidence_against_the_class_alone_keeps_its_sign() -> None:
    """A maximum of 0 or below would turn all signs, or blow the map up."""
    net = network()
    net.head[-1].weight.data.copy_(-net.head[-1].weight.data.abs())
    start = ll.method("rsp").run(ll.Classifier(net, size=16), pictures(), 1).details["start"]
    assert (start <= 0).all()
    assert start.min() < 0
    assert start.min() > -17  # sixteen channels of at most 1


# -- hostile classes -------------------------------------------------------------------------------------------


def test_relative_start_map() -> None:
    """Two positions, one channel, by hand; then two channels, which become alike."""
    target, other = torch.tensor([1.0, 0.5]).view(1, 1, 1, 2), torch.tensor([0.25, 1.0]).view(1, 1, 1, 2)
    yes, no = torch.tensor([True]), torch.tensor([False])
    close(compare(target, [other], [yes]), [2.0, -1], 1e-6)
    assert torch.equal(compare(target, [other], [no]), target)
    # V = 2 M - M1 - M2 = (1.5, -0.25 | 0, -0.25): shares 1 | -0.5 - 0.5
    two = torch.tensor([[1.0, 0.5], [0.5, 0.5]]).view(1, 2, 1, 2)
    against = [torch.tensor([[0.25, 1.0], [0.5, 0.75]]).view(1, 2, 1, 2)] * 2
    close(compare(two, against, [yes, yes]), [1.0, -0.5, 1, -0.5], 1e-6)


def test_hostile_classes() -> None:
    net, x, target = network(), pictures(), [0, 1, 2]
    before = net.features(net.stem(x)).detach().requires_grad_()
    scores = net.head(before)

    def map_of(q: int) -> Tensor:
        (slope,) = torch.autograd.grad(scores[:, q].sum(), before, retain_graph=True)
        found = (slope.mean((2, 3), keepdim=True) * before).detach()
        return found / (found.amax((1, 2, 3), keepdim=True) + 1e-9)

    expected = []
    for i, t in enumerate(target):
        rivals = [q for q in (0, 3) if q != t]
        v = len(rivals) * map_of(t)[i] - sum(map_of(q)[i] for q in rivals)
        v = v.clamp_min(0) / v.clamp_min(0).sum() + v.clamp_max(0) / -v.clamp_max(0).sum()
        r = v.sum(0)
        expected.append(2 * r.clamp_min(0) / r.clamp_min(0).sum() - r.clamp_max(0) / r.clamp_max(0).sum())
    found = ll.method("rsp", hostile=(0, 3)).run(ll.Classifier(net, size=16, layer="features"), x, target)
    close(found.details["start"], torch.stack(expected).tolist(), 1e-6)
    close(found.raw.sum((1, 2)), [1, 1, 1], 1e-6)


def test_no_such_hostile_class() -> None:
    with pytest.raises(ll.errors.InvalidOption, match="hostile class 4: there are 4"):
        ll.method("rsp", hostile=(4,)).run(ll.Classifier(network(), size=16), pictures(), 1)
    with pytest.raises(ll.errors.InvalidOption, match="hostile"):
        ll.method("rsp", hostile=(-1,))


def test_cost() -> None:
    c = ll.Classifier(network(), size=16)
    plain = ll.method("rsp").run(c, pictures(), 1).cost
    assert 2.5 < plain.forwards <= 3
    assert 3 < plain.backwards <= 4.1
