"""FullGrad: worked by hand, against its authors, and what adds up to the score."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import architectures
import limelight as ll
from limelight.maps.pixel.full_grad import draw, spread
from methods import golden_network
from methods.adding_up import CONVOLUTIONAL, Head, gap, one, pixel
from methods.goldens import TINY, classifier, golden, inputs
from methods.known_scores import assert_same


def test_full_grad_worked_example() -> None:
    """h = ReLU([[1, -1], [2, 1]] x + (1/2, -1)), y = (3, 1) . h + 1/4 at (1, 2): 3.25 = 4 - 1 + 0.25."""
    first, last = nn.Conv2d(3, 2, 1), nn.Linear(2, 1)
    first.weight.data = torch.tensor([[1.0, -1, 0], [2, 1, 0]])[:, :, None, None]
    first.bias = nn.Parameter(torch.tensor([0.5, -1]))
    last.weight.data, last.bias.data = torch.tensor([[3.0, 1]]), torch.tensor([0.25])
    c = one(Head(lambda x, first, last: last(first(x).relu().flatten(1))[:, 0], first=first, last=last))
    saliency = ll.method("full-grad").run(c, pixel(1, 2, 0), 0)
    assert saliency.score.item() == 3.25
    assert gap(saliency).item() < 1e-12
    # The first hidden value is -1/2: pieces (2, 2, 0) of the image and (0, -1) of the first bias.
    expected = 2 * 2 / (2 + 1e-6) + 1 / (1 + 1e-6)
    assert saliency.raw.item() == pytest.approx(expected, rel=1e-12)
    simple = ll.method("full-grad", simple=True).run(c, pixel(1, 2, 0), 0)
    assert simple.raw.item() == pytest.approx(expected, rel=1e-12)  # gradients (0, 1) there
    assert gap(simple).item() < 1e-12


def test_full_grad_golden_network() -> None:
    saliency = ll.method("full-grad").run(golden_network.classifier(), golden_network.image(), golden_network.TARGET)
    torch.testing.assert_close(saliency.raw[0], golden_network.rows("full-grad"), rtol=0, atol=1e-9)
    assert gap(saliency).item() < 1e-12


def test_pieces_are_scaled_per_image_and_drawn_corner_to_corner() -> None:
    piece = torch.tensor([[-3.0, 1], [2, 1]]).view(1, 1, 2, 2)
    assert_same(spread(torch.cat([piece, 10 * piece])), spread(piece).repeat(2, 1, 1, 1))
    assert_same(spread(piece)[0, 0], torch.tensor([[1, 0], [0.5, 0]]) * 2 / (2 + 1e-6), 1e-6)
    wide = draw(torch.cat([piece, piece], 1), (3, 3))[0]
    assert_same(wide, 2 * torch.tensor([[1, 0.5, 0], [0.75, 0.375, 0], [0.5, 0.25, 0]]))


@pytest.mark.parametrize("model", TINY)
def test_full_grad_authors(model: str) -> None:
    _, arrays = golden(f"authors-fullgrad-{model}")
    target = torch.from_numpy(arrays["target"])
    saliency = ll.method("full-grad").run(classifier(model), inputs(model), target)
    assert_same(saliency.raw, arrays["fullgrad"][:, 0])
    total, logit = arrays["sum_check_0"]
    assert abs(float(saliency.score[0]) - logit) < 1e-4
    assert gap(saliency).max() < 1e-4 * float(saliency.score.abs().max())
    assert abs(total - logit) < 1e-4
    simple = ll.method("full-grad", simple=True).raw(classifier(model), inputs(model), target)
    assert_same(simple, arrays["simple_fullgrad"][:, 0])


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_full_grad_adds_up(name: str) -> None:
    """Hard and soft activations, gates, shortcuts, joined features; standalone and folded normalisation."""
    x = architectures.images(2).double()
    saliency = ll.method("full-grad").run(ll.Classifier(architectures.build(name).double()), x, [1, 4])
    assert gap(saliency).max() < 1e-12
    single = ll.method("full-grad").run(ll.Classifier(architectures.build(name)), x.float(), [1, 4])
    assert (gap(single) / single.score.abs()).max() < 1e-4


@pytest.mark.parametrize("act", [F.silu, F.gelu, F.elu, F.softplus, F.mish, F.hardswish, torch.tanh, torch.sigmoid])
def test_activations_have_biases_of_their_own(act: Any) -> None:
    torch.manual_seed(0)
    c = one(Head(lambda x, a, b: b(act(a(x)).flatten(1))[:, 0], a=nn.Conv2d(3, 5, 1), b=nn.Linear(5, 1)))
    x = pixel(0.5, -1, 2)
    assert gap(ll.method("full-grad").run(c, x, 0)).item() < 1e-12
    assert gap(ll.method("full-grad", implicit=False).run(c, x, 0)).item() > 1e-3


def test_simple_full_grad_shows_layers_only() -> None:
    torch.manual_seed(0)
    conv, linear = nn.Conv2d(3, 4, 1), nn.Linear(4, 1)
    c = one(Head(lambda x, a, b: b(F.silu(a(x)).mean((2, 3)))[:, 0], a=conv, b=linear))
    x = torch.randn(1, 3, 5, 5).double()
    h = conv(x).detach().requires_grad_()
    (g,) = torch.autograd.grad(linear(F.silu(h).mean((2, 3))).sum(), h)
    slope = torch.einsum("nkhw,kc->nchw", g, conv.weight[:, :, 0, 0]).detach()
    expected = draw(x * slope, (5, 5)) + draw(g, (5, 5))
    assert_same(ll.method("full-grad", simple=True).raw(c, x, 0), expected, 1e-12)


@pytest.mark.parametrize("act", [F.relu, F.leaky_relu, nn.PReLU(dtype=torch.float64)])
def test_straight_lines_through_0_have_none(act: Any) -> None:
    torch.manual_seed(0)
    c = one(Head(lambda x, a, b: b(act(a(x)).flatten(1))[:, 0], a=nn.Conv2d(3, 5, 1), b=nn.Linear(5, 1)))
    x = pixel(0.5, -1, 2)
    runs = [ll.method("full-grad", implicit=implicit).run(c, x, 0) for implicit in (True, False)]
    assert torch.equal(runs[0].raw, runs[1].raw)
    assert max(gap(r).item() for r in runs) < 1e-12


def test_a_bias_that_is_added_outside_of_the_layer_counts() -> None:
    torch.manual_seed(0)
    conv, linear = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 1)
    conv.bias = nn.Parameter(torch.randn(4))
    bias = conv.bias.detach().double()[:, None, None]
    x = torch.randn(2, 3, 6, 6).double()

    def head(x: Tensor, linear: nn.Module) -> Tensor:
        return linear(x.relu().mean((2, 3)))[:, 0]

    inside = one(Head(lambda x, conv, linear: head(conv(x), linear), conv=conv, linear=linear))
    outside = one(
        Head(lambda x, conv, linear: head(F.conv2d(x, conv.weight, padding=1) + bias, linear), conv=conv, linear=linear)
    )
    a, b = (ll.method("full-grad").run(c, x, 0) for c in (inside, outside))
    assert_same(a.raw, b.raw, 1e-12)
    assert gap(b).max() < 1e-12
    hidden = ll.method("full-grad", implicit=False).run(outside, x, 0)
    assert gap(hidden).min() > 1e-3


def test_channels_last_in_between_are_no_maps() -> None:
    """Values with the channels on the last axis are not drawn as if they were rows and columns, but count."""
    torch.manual_seed(0)
    conv, linear, head = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.Linear(4, 4, bias=False), nn.Linear(4, 1)

    def function(x: Tensor, conv: nn.Module, linear: nn.Module, head: nn.Module) -> Tensor:
        return head(F.gelu(linear(conv(x).permute(0, 2, 3, 1))).mean((1, 2)))[:, 0]

    c, x = one(Head(function, conv=conv, linear=linear, head=head)), torch.randn(2, 3, 6, 7).double()
    saliency = ll.method("full-grad").run(c, x, 0)
    slope = torch.autograd.functional.jacobian(lambda x: c.module(x)[:, 0].sum(), x)
    assert_same(saliency.raw, draw(x * slope, (6, 7)), 1e-12)
    assert gap(saliency).max() < 1e-12


def test_full_grad_without_an_operation_it_knows_leaves_a_gap() -> None:
    torch.manual_seed(0)
    glu = one(Head(lambda x, a, b: b(F.glu(a(x).flatten(1)))[:, 0], a=nn.Conv2d(3, 6, 1), b=nn.Linear(3, 1)))
    assert gap(ll.method("full-grad").run(glu, pixel(0.5, -1, 2), 0)).min() > 1e-3
    x = architectures.images(2).double()
    c = ll.Classifier(architectures.build("plain").double())
    assert gap(ll.method("full-grad", score="prob").run(c, x, 1)).min() > 1e-3


@pytest.mark.parametrize(("name", "expected"), [("full-grad", "1 F + 1 R"), ("deeplift", "2 F + 1 R")])
def test_costs(name: str, expected: str) -> None:
    assert str(ll.method(name).run(classifier("tinyvgg"), inputs("tinyvgg")[:2], 1).cost) == expected


@pytest.mark.parametrize("name", ["deeplift", "full-grad", "lrp"])
def test_weights_of_what_is_recomputed_follow_its_precision(name: str) -> None:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 6, 3), nn.PReLU(6), nn.Flatten(2), nn.LayerNorm(36), nn.Flatten(), nn.Linear(216, 4))
    net, x = nn.Sequential(*layers), torch.randn(1, 3, 8, 8).bfloat16()
    half = ll.method(name)(ll.Classifier(net.bfloat16()), x, 1)
    single = ll.method(name)(ll.Classifier(net.float()), x.float(), 1)
    assert (half - single).abs().mean() < 0.05
