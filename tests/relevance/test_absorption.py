"""What biases and stabilisers take and give, worked out by hand."""

import warnings

import pytest
import torch
from torch import Tensor, nn

import limelight as ll
from limelight.errors import ConservationWarning
from limelight.relevance.conservation import ABSORBED
from limelight.relevance.op import Op
from limelight.relevance.recording import Recording
from limelight.rules import Epsilon, Rules, rule_of
from relevance.accounts import PLUS, account, chain


def test_nothing_moves() -> None:
    found, notes = account(chain())
    assert (found.at_start, found.at_end) == (pytest.approx(1), pytest.approx(1, abs=1e-4))
    assert found.conserves
    assert found.grew == pytest.approx(1, abs=1e-4)
    assert not notes
    assert not found.lost


@pytest.mark.parametrize("composite", ["epsilon-plus", "epsilon-gamma-box", "comp"])
def test_what_goes_into_biases(composite: str) -> None:
    """Activations are 1, 1 + b, 1 + 2 b, ...: of what comes to the k-th of them, b / (1 + k b) goes into the bias."""
    found, notes = account(chain(bias=0.25, depth=2), composite=composite)
    assert found.at_start == pytest.approx(1.75)
    if composite == "epsilon-plus":  # 1.75 . (1.5 / 1.75) (1.25 / 1.5) (1 / 1.25) = 1
        assert found.at_end == pytest.approx(1, abs=1e-4)
        assert found.biases == pytest.approx(0.75, abs=1e-4)
        assert "43% went into biases" in notes[-1]
    gone = sum(a - b for a, b in zip(found.incoming, found.outgoing, strict=True))
    assert found.at_start - found.at_end == pytest.approx(gone)
    assert gone == pytest.approx(found.biases + found.absorbed, abs=1e-5)  # but for the stabilisers of pools
    assert not found.warnings


@pytest.mark.parametrize(
    "rule", ["epsilon", "z-plus", "alpha-beta(2, 1)", "gamma(0.25)", "classic-gamma(0.25)", "w-squared"]
)
def test_biases_of_every_rule(rule: str) -> None:
    """A bias is an input that is always 1: a network that has it as one is given the same relevance there."""
    torch.manual_seed(0)
    own, more = nn.Linear(3, 6).double(), nn.Linear(4, 6, bias=False).double()
    more.weight.data = torch.cat([own.weight.data, own.bias.data[:, None]], 1)
    head = nn.Linear(6, 2, bias=False).double()
    x = torch.tensor([0.3, -0.7, 1.1]).double().view(3, 1, 1)

    class WithOnes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = more, head

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.first(torch.cat([x.flatten(1), torch.ones(len(x), 1).double()], 1)))

    plain = nn.Sequential(nn.Flatten(), own, head)
    rules = {"affine": rule, "last": "z"}
    e = ll.explain(ll.Classifier(plain, size=1), x, "lrp", 1, rules=rules)
    recording = Recording(ll.Classifier(WithOnes(), size=1), x[None])
    op = next(op for op in recording.ops if op.owner == "first")
    y = recording.logits.detach()[0, 1]
    r = Epsilon(0.0)(recording.ops[-1], torch.tensor([[0.0, 1.0]]).double() * y.abs())
    at_bias = rule_of(rule)(op, r)[0, 3]
    assert e.conservation is not None
    assert e.conservation.biases == pytest.approx(float(at_bias), rel=1e-6)


def test_absorption_is_warned_of_beyond_a_share() -> None:
    with pytest.warns(ConservationWarning, match=r"lrp: 9\d.* went into biases: .*% of the relevance is left"):
        found, notes = account(chain(bias=5.0, depth=4))
    assert found.biases > ABSORBED * found.at_start
    assert notes[0] in found.warnings
    assert "went into biases" in str(found)


@pytest.mark.parametrize("bias", [0.5, 5.0])
def test_what_biases_take_and_give_does_not_cancel(bias: float) -> None:
    """Activations are 1, 1 + b, 1: one bias gives b times the relevance, the next takes as much, and 1 is left."""
    net = chain(depth=2)
    net[2].bias.data.fill_(bias)
    net[4].bias.data.fill_(-bias)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found, notes = account(net, rules={"affine": "epsilon(1e-9)"})
    assert (found.at_end, found.biases) == (pytest.approx(1, abs=1e-4), pytest.approx(0, abs=1e-6))
    assert (found.uptake, found.release) == (pytest.approx(bias, abs=1e-4), pytest.approx(bias, abs=1e-4))
    assert not found.conserves
    assert notes
    share = f"{bias:.0%}"
    assert f"{share} went into biases, {share} came from biases" in notes[0]
    assert [str(w.message).removeprefix("lrp: ") for w in said] == list(found.warnings)
    assert len(said) == (bias > ABSORBED)


def test_biases_and_stabilisers_do_not_cancel() -> None:
    """A rule that notes five times the relevance as gone into its bias, and hands all of it on."""

    def both(op: Op, r: Tensor) -> Tensor:
        op.audit["biases"] = 5 * op.sum_per_image(r)
        return PLUS(op, r)

    both.absorbs = True
    with pytest.warns(ConservationWarning, match="500% went into biases, 500% from stabilisers and dead ends: 1"):
        found, _ = account(chain(), overrides={"4": both})
    assert found.biases + found.absorbed == pytest.approx(0, abs=1e-4)
    assert not found.conserves


def test_accounts_of_another_way_back_are_not_kept() -> None:
    recording = Recording(ll.Classifier(chain(bias=0.25), size=4), torch.ones(1, 3, 4, 4).double())
    rules, seed = Rules({"affine": Epsilon()}), torch.ones_like(recording.logits)
    recording.relevance(rules, recording.logits, seed, [recording.image])
    recording.relevance(rules, recording.logits, seed, [recording.image], audit=False)
    recording.relevance(rules, recording.logits, seed, [recording.image])
    first, second = ([f.biases for f in way.flows] for way in recording.passes)
    assert first == second
    assert any(b is not None and bool(b) for b in first)
