"""The gradient, and the gradient times the input."""

import pytest
import torch
from torch import nn

import architectures
import limelight as ll
from limelight.errors import InvalidOption, UnsupportedModel
from methods import golden_network
from methods.goldens import TINY, cifar, classifier, exact, golden, inputs
from methods.known_scores import architectures_net, assert_same, assert_same_but_for_ties, line, scoring

V, Y = torch.tensor([[1.0, 0], [0, -1], [1, 1]]).double(), torch.tensor([2.0, -3, 5]).double()


def toy() -> ll.Classifier:
    """h = V x, y = (2, -3, 5) ReLU(h)."""
    return scoring(lambda x: (x[:, 0, 0] @ V.T).relu() @ Y)


def test_by_hand() -> None:
    saliency = ll.method("gradient", reduce="sum").run(toy(), line(1, -1), 0)
    assert saliency.score.item() == -1
    assert saliency.raw[0, 0].tolist() == [2, 3]
    assert ll.method("gradient", reduce="sum").raw(toy(), line(1, -1), 1)[0, 0].tolist() == [-2, -3]
    assert ll.method("input-x-gradient").raw(toy(), line(1, -1), 0)[0, 0].tolist() == [2, -3]
    reference = line(0.5, 1)[0]
    away = ll.method("input-x-gradient", reference=reference).raw(toy(), line(1, -1), 0)
    assert away[0, 0].tolist() == [1, -6]  # (1 - 0.5) 2 and (-1 - 1) 3


def test_colours_are_put_together() -> None:
    c = scoring(lambda x: x[:, 0, 0, 0] - 4 * x[:, 1, 0, 0] + 2 * x[:, 2, 0, 0])
    x = torch.ones(1, 3, 1, 1).double()
    for reduce, expected in (("abs-max", 4), ("abs-sum", 7), ("sum", -1)):
        for name in ("gradient", "input-x-gradient"):
            assert ll.method(name, reduce=reduce).raw(c, x, 0).item() == expected
    assert ll.method("gradient").raw(c, x, 0).item() == 4
    assert ll.method("input-x-gradient").raw(c, x, 0).item() == -1


@pytest.mark.parametrize("name", ["gradient", "input-x-gradient"])
def test_golden_network(name: str) -> None:
    options = {"gradient": "abs-max", "input-x-gradient": ""}[name]
    raw = ll.method(name).raw(golden_network.classifier(), golden_network.image(), golden_network.TARGET)
    torch.testing.assert_close(raw[0], golden_network.rows(name, options), rtol=0, atol=1e-9)


def test_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(4 * 2 * 3, 3)).double()
    for p in net.parameters():
        p.data = torch.randn(p.shape, generator=generator, dtype=torch.double)
    c, x, h = ll.Classifier(net), torch.randn(1, 3, 4, 5, generator=generator).double(), 1e-5
    raw = ll.method("gradient", reduce="sum").raw(c, x, 1)
    for i, j in ((0, 0), (2, 3), (3, 4)):
        step = torch.zeros_like(x)
        step[:, :, i, j] = h
        difference = (net(x + step) - net(x - step))[0, 1] / (2 * h)
        assert raw[0, i, j].item() == pytest.approx(difference.item(), rel=1e-7)


def without_biases() -> ll.Classifier:
    net = nn.Sequential(
        *(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.ReLU(), nn.MaxPool2d(2)),
        *(
            nn.Conv2d(6, 8, 3, bias=False),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 4, bias=False),
        ),
    ).double()
    generator = torch.Generator().manual_seed(1)
    for p in net.parameters():
        p.data = torch.randn(p.shape, generator=generator, dtype=torch.double)
    return ll.Classifier(net)


def test_input_x_gradient_adds_up_without_biases() -> None:
    c, x = without_biases(), torch.randn(3, 3, 12, 16, generator=torch.Generator().manual_seed(2)).double()
    saliency = ll.method("input-x-gradient").run(c, x, [0, 2, 3])
    assert saliency.score.abs().min() > 0
    torch.testing.assert_close(saliency.raw.sum((1, 2)), saliency.score, rtol=1e-12, atol=0)


def test_input_x_gradient_is_relevance_by_the_z_rule_without_biases() -> None:
    c, x = without_biases(), torch.randn(2, 3, 12, 16, generator=torch.Generator().manual_seed(2)).double()
    exact = {place: "epsilon(0)" for place in ("conv", "linear")}
    relevance = ll.method("lrp", rules=exact, init="logit").raw(c, x, 1)
    assert_same(ll.method("input-x-gradient").raw(c, x, 1), relevance, 1e-6)


@pytest.mark.parametrize("model", TINY)
def test_goldens(model: str) -> None:
    c, x = classifier(model), inputs(model)
    signed = ll.method("gradient", reduce="sum")
    for name, method, key in (
        ("captum-saliency", signed, "signed"),
        ("captum-inputxgradient", ll.method("input-x-gradient"), "attr"),
        ("saliency-gradient", ll.method("gradient", reduce="sum", score="prob"), "attr"),
    ):
        _, arrays = golden(f"{name}-{model}")
        ours = method.raw(c, x[:2], torch.from_numpy(arrays["target"]))
        assert_same(ours, arrays[key].sum(1))
    _, arrays = golden(f"torchray-gradient-{model}")
    assert_same(ll.method("gradient").raw(c, x, torch.from_numpy(arrays["target"])), arrays["saliency"][:, 0])


def test_golden_squeezenet() -> None:
    _, arrays = golden("captum-saliency-squeezenet")
    x, target = inputs("squeezenet")[:1].double(), torch.from_numpy(arrays["target"])
    signed, c = ll.method("gradient", reduce="sum"), exact(classifier("squeezenet"))
    assert_same_but_for_ties(lambda x: signed.raw(c, x, target)[:, ::2, ::2], x, arrays["signed_stride2"].sum(1))


def test_golden_cifar() -> None:
    c, x, target, arrays = cifar()
    theirs = arrays["captum_saliency"]
    assert (theirs < 0).any()  # not magnitudes
    method = ll.method("gradient", reduce="sum")
    assert_same_but_for_ties(lambda x: method.raw(exact(c), x, target), x.double(), theirs.sum(1))


def test_references() -> None:
    c, x = architectures_net("plain")
    black, white = (b.expand(3, 40, 56) for b in c.bounds)
    plain = ll.method("input-x-gradient").raw(c, x, 1)
    assert torch.equal(ll.method("input-x-gradient", reference=torch.zeros(3, 1, 1)).raw(c, x, 1), plain)
    for name, tensor in (("black", black), ("white", white)):
        named = ll.method("input-x-gradient", reference=name).raw(c, x, 1)
        assert not torch.equal(named, plain)
        torch.testing.assert_close(ll.method("input-x-gradient", reference=tensor).raw(c, x, 1), named)
    with pytest.raises(InvalidOption, match=r"\(3, 5, 5\)"):
        ll.method("input-x-gradient", reference=torch.zeros(3, 5, 5)).raw(c, x, 1)
    with pytest.raises(InvalidOption, match="reference"):
        ll.method("input-x-gradient", reference="grey")


def test_a_tensor_as_option_is_written_and_read_again() -> None:
    given = torch.rand(3, 1, 1)
    method = ll.method("input-x-gradient", reference=given)
    assert method == ll.method("input-x-gradient", reference=given.clone())
    assert method != ll.method("input-x-gradient", reference=given + 1)
    c, x = architectures_net("plain")
    options = ll.explain(c, x[0], method, 1).settings()["options"]
    assert ll.method("input-x-gradient", **options).options == method.options


def test_the_score_that_does_not_change() -> None:
    """A picture where the network is dead has no gradient: the map is empty and says so."""
    c = scoring(lambda x: (x.sum((1, 2, 3)) - 100).relu())
    for name in ("gradient", "input-x-gradient"):
        saliency = ll.method(name).run(c, line(1, 2), 0)
        assert saliency.degenerate.all()
        assert not saliency.raw.any()


def test_half_precision() -> None:
    net = architectures.build("plain").bfloat16()
    for name in ("gradient", "input-x-gradient"):
        raw = ll.method(name).raw(ll.Classifier(net), architectures.images().bfloat16(), 1)
        assert raw.dtype == torch.float32


@pytest.mark.parametrize("name", ["gradient", "input-x-gradient", "smooth-grad", "var-grad", "integrated-gradients"])
def test_a_black_box_has_no_gradient(name: str) -> None:
    box = ll.BlackBox(lambda x: x.mean((2, 3)))
    with pytest.raises(UnsupportedModel, match="gradients"):
        ll.method(name).run(box, torch.rand(1, 3, 8, 8))


def test_other_scores() -> None:
    """Softmax: dp_c/dx = p_c (dy_c/dx - sum_k p_k dy_k/dx); a function of the outputs is explained as it is."""
    c, x = architectures_net("residual")
    method = ll.method("gradient", reduce="sum")
    p = c(x).softmax(1)
    of_class = torch.stack([method.raw(c, x, k) for k in range(p.shape[1])], 1)  # n classes H W
    expected = p[:, 1, None, None] * (of_class[:, 1] - (p[:, :, None, None] * of_class).sum(1))
    assert_same(ll.method("gradient", reduce="sum", score="prob").raw(c, x, 1), expected)
    difference = method.raw(c, x, lambda y: y[:, 2] - y[:, 1])
    assert_same(difference, of_class[:, 2] - of_class[:, 1])
