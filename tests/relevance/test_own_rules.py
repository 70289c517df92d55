"""Rules and their tables: which one counts, rules of the user's own, and mistakes in them."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import limelight as ll
from limelight.errors import InvalidOption, UnsupportedModel
from limelight.relevance.handlers.table import HANDLERS
from limelight.relevance.op import Op, divide_by
from limelight.relevance.recording import Recording
from limelight.rules import COMMON, AlphaBeta, Epsilon, Flat, Gamma, Rules, Squared, register_operation, rule_of
from relevance.networks import Z, bias_free, chosen, close, record


def test_own_rule_and_table() -> None:
    def z_rule(op: Op, r: Tensor) -> Tensor:
        return op.x * op.back(divide_by(r, op.y))

    x = torch.randn(2, 3, 14, 14).double()
    recording = record(bias_free(), x)
    own = recording.to_image(Rules({"affine": z_rule}), recording.logits, chosen(recording))
    close(own, recording.to_image(Z, recording.logits, chosen(recording)))


def test_the_most_special_entry_counts() -> None:
    recording = record(bias_free(), torch.randn(1, 3, 14, 14).double())
    first, inner, *_, last = (op for op in recording.ops if op.affine)
    table = Rules(
        {"first": Flat(), "last": Gamma(), "conv": AlphaBeta(), "affine": Epsilon()}, overrides={"6": Squared()}
    )
    assert [type(table.find(op)[1]) for op in (first, inner, last)] == [Flat, AlphaBeta, Gamma]
    assert type(table.find(next(op for op in recording.ops if op.owner == "6"))[1]) is Squared


@pytest.mark.parametrize(
    "given", ["zplus", "gamma(-1)", "gamma(a)", "alpha-beta(2,2)", "flat(1,2,3)", "gamma(1", "gamma 1)", "gamma(1))"]
)
def test_no_such_rule(given: str) -> None:
    with pytest.raises(InvalidOption, match=r"rule|alpha|gamma"):
        rule_of(given)


class OwnError(Exception):
    """Of the user."""


def failing(error: BaseException) -> Any:
    def rule(op: Op, r: Tensor) -> Tensor:
        raise error

    return rule


MISTAKES: dict[str, tuple[Any, str]] = {
    "shape": (lambda op, r: r[:, :1], r"returned \(1, 1, 4, 4\); .*a tensor of shape \(1, 8, 6, 6\)"),
    "nothing": (lambda op, r: None, "returned NoneType"),
    "a number": (lambda op, r: 1.0, "returned float"),
    "too many": (lambda op, r: (op.x, op.x), r"returned \(1, 8, 6, 6\), \(1, 8, 6, 6\)"),
    "an array": (lambda op, r: op.x.numpy(), "returned ndarray"),
    "mismatch": (lambda op, r: op.x * r[..., :2], "failed at conv2d in 3; it says: RuntimeError: The size"),
    "a name": (failing(NameError("x")), "it says: NameError: x"),
    "no message": (failing(AssertionError()), "it says: AssertionError$"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_in_an_own_rule_is_told_as_one(case: str) -> None:
    """Not as a fault of the network, on whose way back it happens."""
    rule, said = MISTAKES[case]
    c, x = ll.Classifier(bias_free(), size=14), torch.rand(3, 14, 14).double()
    with pytest.raises(InvalidOption, match=said) as error:
        ll.explain(c, x, "lrp", overrides={"3": rule})
    assert "at conv2d in 3" in str(error.value)
    assert "gradient" not in str(error.value)


@pytest.mark.parametrize("error", [OwnError("mine"), MemoryError(), UnsupportedModel("not here")], ids=repr)
def test_errors_that_someone_waits_for_pass_through_a_rule(error: Exception) -> None:
    c, x = ll.Classifier(bias_free(), size=14), torch.rand(3, 14, 14).double()
    wanted = ll.errors.OutOfMemory if isinstance(error, MemoryError) else type(error)
    with pytest.raises(wanted) as told:
        ll.explain(c, x, "lrp", overrides={"3": failing(error)})
    if isinstance(error, OwnError):
        assert "at conv2d in 3" in told.value.__notes__[0]


class Gated(nn.Module):
    """Positions are gated, as channels are by squeeze-and-excitation."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.gate, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 1, 1), nn.Linear(4, 2)
        self.head.bias.data.fill_(1.0)  # scores above 0, which deep Taylor decomposition takes

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.a(x) * self.gate(x).sigmoid()).relu().mean((2, 3)))


@pytest.mark.parametrize("name", ["lrp", "deep-taylor", "c-lrp"])
def test_a_gate_gets_no_relevance(name: str) -> None:
    """Rules hand it all to the signal; a map there is empty, and that is its reason. Gradients do arrive."""
    c, x = ll.Classifier(Gated().double(), size=6), torch.rand(1, 3, 6, 6).double()
    found = ll.explain(c, x[0], name, 1, layer="gate")
    assert not found.raw.any()
    assert "nothing of what was passed back arrived" in found.reason
    recording = Recording(c, x, {i.name: i for i in c.layers(("a", "gate"), x, "one")})
    gate, signal = recording.relevance(
        Z, recording.logits, chosen(recording), [recording.outputs["gate"], recording.outputs["a"]]
    )
    assert not gate.any()
    assert signal.any()
    assert all(g.any() for g in recording.gradients(recording.logits[:, 1], [recording.outputs["gate"]]))


def half(op: Op, r: Tensor) -> Tensor:
    return torch.cat([r, torch.zeros_like(r)], 1)


def test_an_operation_of_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gated linear unit, a sigmoid(b) of the halves of its input: all goes to a."""
    torch.manual_seed(0)
    for known in (HANDLERS, COMMON):  # a document's
        monkeypatch.delitem(known, "glu", raising=False)
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GLU(1), nn.Flatten(), nn.Linear(8, 2)).double()
    c, x = ll.Classifier(net, size=2), torch.randn(1, 3, 2, 2).double()
    with pytest.warns(ll.errors.ConservationWarning, match="no rule for glu"):
        ll.method("lrp").run(c, x, 1)
    register_operation("glu", half)
    try:
        saliency = ll.method("lrp", rules={"affine": "z"}).run(c, x, 1)
        first = net[0](x)[:, :2] * net[0](x)[:, 2:].sigmoid()
        r = first.flatten(1) * net[3].weight[1] / net[3](first.flatten(1))[:, 1] * saliency.score.abs()
        s = r.view(1, 2, 2, 2) / net[0](x)[:, :2]
        wanted = (x * torch.einsum("nohw,oi->nihw", s, net[0].weight[:2, :, 0, 0])).sum(1)
        close(saliency.raw, wanted.detach())
        with pytest.raises(InvalidOption, match="glu has a rule"):
            register_operation(nn.functional.glu, half)
        ll.method("lrp", rules={"glu": "gradient"}).run(c, x, 1)
    finally:
        HANDLERS.pop("glu")
        COMMON.pop("glu")
    with pytest.raises(InvalidOption, match="no rule is looked up for 'glu'"):
        ll.method("lrp", rules={"glu": half}).run(c, x, 1)
