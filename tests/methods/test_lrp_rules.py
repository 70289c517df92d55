"""Every rule of LRP on one linear layer, worked out by hand."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import limelight as ll
from limelight.errors import InvalidOption
from limelight.relevance.recording import Recording
from limelight.rules import AlphaBeta, Box, Epsilon, Flat, Gamma, Proportional, Rule, Rules, Squared, rule_of
from methods.relevance_networks import close

X, R, W = [1.0, 2.0, -1.0], [[1.0, 3.0]], [[1.0, -1.0, 2.0], [0.5, 1.0, 1.0]]

BIAS = [0.5, -0.5]

TABLE: list[tuple[str, dict[str, Any], Callable[..., Rule], list[float], list[float]]] = [
    ("z", {"e": 0.0}, Epsilon, [2 / 3, 14 / 3, -4 / 3], [1.1, 6.8, -2.2]),
    ("epsilon(0.5)", {"e": 0.5}, Epsilon, [0.464286, 3.571429, -0.928571], [2 / 3, 14 / 3, -4 / 3]),
    ("z-plus", {}, AlphaBeta, [1.6, 2.4, 0], [1.266667, 2.4, 0]),
    ("alpha-beta(1, 0)", {"alpha": 1.0, "beta": 0.0}, AlphaBeta, [1.6, 2.4, 0], [1.266667, 2.4, 0]),
    ("alpha-beta(2, 1)", {"alpha": 2.0, "beta": 1.0}, AlphaBeta, [3.2, 4.3, -3.5], [2.533333, 4.3, -2.5]),
    ("gamma(0.25)", {"gamma": 0.25}, Gamma, [0.632353, 4.154412, -0.786765], [0.868132, 5.329670, -1.131868]),
    ("w-squared", {}, Squared, [0.5, 1.5, 2.0], [0.46, 1.36, 1.84]),
]

NO_BIAS: list[tuple[Rule, list[float]]] = [
    (Box((-2.0, 3.0)), [1.192308, 2.012821, 0.794872]),
    (Flat(), [4 / 3, 4 / 3, 4 / 3]),
]


def linear(bias: list[float] | None) -> Recording:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3, 2, bias=bias is not None)).double()
    net[1].weight.data = torch.tensor(W).double()
    if bias is not None:
        net[1].bias.data = torch.tensor(bias).double()
    return Recording(ll.Classifier(net.eval(), size=1), torch.tensor(X).double().view(1, 3, 1, 1))


def hand_back(recording: Recording, rule: Rule) -> Tensor:
    seed = torch.tensor(R).double()
    return recording.to_image(Rules({"affine": rule}), recording.logits, seed).flatten()


def test_the_layer_of_the_worked_example() -> None:
    close(linear(None).logits.detach()[0], [-3.0, 1.5])
    close(linear(BIAS).logits.detach()[0], [-2.5, 1.0])


@pytest.mark.parametrize(("name", "options", "make", "without", "with_bias"), TABLE, ids=[row[0] for row in TABLE])
def test_worked_example(
    name: str, options: dict[str, Any], make: Callable[..., Rule], without: list[float], with_bias: list[float]
) -> None:
    for rule in (rule_of(name), make(**options)):
        close(hand_back(linear(None), rule), without, 1e-5)
        close(hand_back(linear(BIAS), rule), with_bias, 1e-5)
    close(hand_back(linear(BIAS), make(**options, bias="exclude")), without, 1e-5)


@pytest.mark.parametrize(("rule", "expected"), NO_BIAS, ids=str)
@pytest.mark.parametrize("bias", [None, BIAS])
def test_worked_example_of_rules_that_know_no_bias(rule: Rule, expected: list[float], bias: list[float] | None) -> None:
    close(hand_back(linear(bias), rule), expected, 1e-5)


def test_forms_of_epsilon() -> None:
    """z = (-3, 1.5); by hand."""
    w, x, r, z = (torch.tensor(v).double() for v in (W, X, R[0], [-3.0, 1.5]))
    half = 0.1 + 0.5 * z.square().mean().sqrt()
    close(hand_back(linear(None), Epsilon(0.1, rms=0.5)), (r / (z + half * z.sign())) @ w * x)
    close(hand_back(linear(None), Epsilon(0.1, rms=0.5, sign_aware=False)), (r / (z + half)) @ w * x)


def test_classic_gamma_takes_all_outputs_alike() -> None:
    w, x, r = (torch.tensor(v).double() for v in (W, X, R[0]))
    more = w + 0.5 * w.clamp_min(0)
    close(hand_back(linear(None), Gamma(0.5, 0.0, classic=True)), (r / (more @ x)) @ more * x)


def test_gamma_tends_to_z_plus() -> None:
    """For outputs above 0 and inputs that are not negative."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 4, bias=False)).double()
    x = torch.rand(1, 3, 2, 2).double()
    recording = Recording(ll.Classifier(net, size=2), x)
    seed = recording.logits.detach().clamp_min(0)
    far, plus = (
        recording.to_image(Rules({"affine": rule}), recording.logits, seed)
        for rule in (Gamma(1e9, 1e-9), AlphaBeta(e=0.0))
    )
    close(far, plus, 1e-6)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("gamma", [0.25, 10.0])
def test_generalised_gamma_is_bounded_where_outputs_cross_0(gamma: float, signed: bool) -> None:
    """Nothing is divided by what cancels: mass grows at most (1 + 2 / gamma)-fold, however close z is to 0."""
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(3, generator=generator).double(), torch.randn(4000, 3, generator=generator).double()
    x = x if signed else x.abs()
    w = w - torch.linspace(-1e-3, 1e-3, 4000).double()[:, None] - (w @ x / x.square().sum())[:, None] * x  # z near 0
    net = nn.Sequential(nn.ReLU() if not signed else nn.Identity(), nn.Flatten(), nn.Linear(3, 4000, bias=False))
    net = net.double()
    net[-1].weight.data = w
    recording = Recording(ll.Classifier(net.eval(), size=1), x.view(1, 3, 1, 1))
    op, r = recording.ops[-1], torch.ones(1, 4000).double()
    one = torch.zeros(1, 4000).double()
    shares = [Gamma(gamma, 0.0)(op, one.index_fill(1, torch.tensor(i), 1.0)) for i in range(0, 4000, 97)]
    assert max(float(s.abs().sum()) for s in shares) <= 1 + 2 / gamma + 1e-9
    close(Gamma(gamma, 0.0)(op, r).sum(), r.sum(), 1e-9)
    if not signed:
        return
    assert float(Gamma(gamma, 0.0, classic=True)(op, r).abs().sum()) > 10 * float(r.sum())


def test_bias_makes_and_takes_relevance() -> None:
    """The sums of the worked example."""
    close(hand_back(linear(BIAS), Epsilon(0.0)).sum(), 5.7)
    close(hand_back(linear(BIAS), Epsilon(0.0, bias="exclude")).sum(), 4.0)


def test_alpha_and_beta() -> None:
    for alpha, beta in ((2.0, 2.0), (0.5, -0.5), (-1.0, -2.0)):
        with pytest.raises(InvalidOption):
            AlphaBeta(alpha, beta)


def test_windows_of_a_maximum_as_an_average() -> None:
    """Relevance over the whole window in proportion, also of zeros."""
    net = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3, 1, bias=False)).double()
    net[-1].weight.data.fill_(1.0)
    x = torch.tensor([[[[1.0, 3], [0, 0]]] + [[[0.0, 0], [0, 0]]] * 2]).double().view(1, 3, 2, 2)
    recording = Recording(ll.Classifier(net, size=2), x)
    rules = Rules({"affine": Epsilon(0.0), "max_pool": Proportional(0.0)})
    found = recording.to_image(rules, recording.logits, torch.tensor([[4.0]]).double())
    close(found[0, 0], torch.tensor([[1.0, 3], [0, 0]]).double())
    close(found[0, 1:], 0.0)
    assert F.relu(x).equal(x)
