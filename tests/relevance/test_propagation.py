"""The engine of relevance propagation: against autograd, dense matrices, and every way to write the same network."""

import copy
import threading
import warnings
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import architectures
import limelight as ll
from limelight.errors import ConservationWarning, InvalidOption, UnsupportedModel
from limelight.model.outputs import class_scores
from limelight.relevance.op import Op, divide_by
from limelight.relevance.recording import Recording
from limelight.rules import (
    GRADIENT,
    AlphaBeta,
    Box,
    Epsilon,
    Flat,
    Gamma,
    Proportional,
    Rule,
    Rules,
    Squared,
    rule_of,
)

Z = Rules({"affine": Epsilon(0.0), "avg_pool": Proportional(0.0), "add": Proportional(0.0)})
SMALL = (
    "resnet18",
    "densenet121",
    "googlenet",
    "mobilenet_v2",
    "efficientnet_b0",
    "convnext_tiny",
    "shufflenet_v2_x0_5",
)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance * max(1e-30, float(b.abs().max())))


def record(net: nn.Module, x: Tensor) -> Recording:
    return Recording(ll.Classifier(net.eval(), size=x.shape[-1]), x)


def chosen(recording: Recording, target: int = 1) -> Tensor:
    """The logit of one class as relevance, 0 elsewhere."""
    seed = torch.zeros_like(recording.logits)
    seed[:, target] = recording.logits[:, target].detach()
    return seed


def lively(net: nn.Module) -> nn.Module:
    """Statistics of batch normalisation that do something."""
    generator = torch.Generator().manual_seed(0)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.copy_(0.1 * torch.randn(m.num_features, generator=generator))
            m.running_var.copy_(0.5 + torch.rand(m.num_features, generator=generator))
    return net.double().eval()


# -- calculus ---------------------------------------------------------------------------------------------


def assert_calculus(net: nn.Module, x: Tensor) -> None:
    recording = record(net, x)
    leaf = x.clone().requires_grad_()
    logits = class_scores(net(leaf), len(leaf))
    (expected,) = torch.autograd.grad(logits[:, 1].sum(), leaf)
    assert expected.abs().max() > 0
    close(recording.logits.detach(), logits.detach())
    close(recording.gradients(recording.logits[:, 1], [recording.image])[0], expected)


@pytest.mark.parametrize("name", SMALL)
def test_rules_of_calculus_give_the_gradient(name: str) -> None:
    torch.manual_seed(0)
    more = {"init_weights": False} if name == "googlenet" else {}
    net = lively(torchvision.models.get_model(name, weights=None, **more))
    recording = record(net, torch.randn(1, 3, 64, 64).double())
    assert not recording.unruled
    assert_calculus(net, torch.randn(2, 3, 64, 64).double())


@pytest.mark.parametrize("name", architectures.ARCHITECTURES)
def test_rules_of_calculus_on_every_architecture(name: str) -> None:
    net = architectures.build(name).double()
    assert_calculus(net, architectures.images(2).double())


CLAIMED = (
    *("alexnet", "vgg16", "vgg19", "resnet50", "resnet101", "densenet121", "inception_v3", "googlenet"),
    *("mobilenet_v2", "efficientnet_b0", "convnext_tiny"),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMED)
def test_networks_need_no_preparation(name: str) -> None:
    torch.manual_seed(0)
    more = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    c = ll.Classifier(torchvision.models.get_model(name, weights=None, **more).eval())
    x = torch.randn(1, 3, 80, 80)
    for method in ("lrp-comp", "attribution-equilibrium", "agf"):
        saliency = ll.method(method).run(c, x, 1)
        assert torch.isfinite(saliency.raw).all()
        assert not any("no rule" in note for note in saliency.notes), saliency.notes


# -- affine operations against dense matrices ---------------------------------------------------------------


CONVOLUTIONS: list[nn.Module] = [
    nn.Conv2d(4, 6, 3),
    nn.Conv2d(4, 6, 3, stride=2),
    nn.Conv2d(4, 6, 3, padding=1, dilation=2),
    nn.Conv2d(4, 6, 3, padding=1, groups=2),
    nn.Conv2d(4, 6, (1, 3), padding=(0, 1), bias=False),
    nn.Conv2d(4, 6, 2, padding="same"),
    nn.Conv2d(4, 6, 3, padding="same", dilation=2),
    nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
    nn.Conv2d(4, 4, 3, padding=1, groups=4),
    nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1),
]
RULES: list[Rule] = [
    Epsilon(0.0),
    Epsilon(0.5),
    Epsilon(0.1, bias="exclude"),
    Epsilon(1e-9, rms=0.25),
    AlphaBeta(),
    AlphaBeta(2, 1),
    AlphaBeta(bias="exclude", e=0),
    Gamma(),
    Gamma(classic=True),
    Box((-2.0, 3.0)),
    Box(),
    Squared(),
    Flat(),
]


# The parts of pixels that are reflected can't be told apart in a dense matrix, but by rules that don't look at signs.
PAIRS = [
    (conv, rule)
    for conv in CONVOLUTIONS
    for rule in RULES
    if getattr(conv, "padding_mode", "zeros") == "zeros" or isinstance(rule, Epsilon)
]


def dense_rule(rule: Any, w: Tensor, b: Tensor, x: Tensor, r: Tensor, used: Tensor) -> Tensor:
    """What a rule gives by its equation, w (out, in), one image; ``used`` says which weights there are."""
    pos, neg = (lambda t: t.clamp_min(0)), (lambda t: t.clamp_max(0))
    z = w * x  # out in

    def share(parts: Tensor, bias: Tensor | float, e: float, relevance: Tensor = r) -> Tensor:
        return (parts * divide_by(relevance, parts.sum(1) + bias, e)[:, None]).sum(0)

    keep_bias = getattr(rule, "bias", "include") == "include"
    if isinstance(rule, Epsilon):
        out = z.sum(1) + (b if keep_bias else 0)
        e = rule.e + rule.rms * (z.sum(1) + b).square().mean().sqrt()
        return (z * (r / (out + torch.where(out >= 0, e, -e)))[:, None]).sum(0)
    if isinstance(rule, AlphaBeta):
        up = share(pos(z), pos(b) if keep_bias else 0.0, rule.e)
        return rule.alpha * up - rule.beta * share(neg(z), neg(b) if keep_bias else 0.0, rule.e)
    if isinstance(rule, Gamma) and rule.classic:
        return share((w + rule.gamma * pos(w)) * x, b + rule.gamma * pos(b), rule.e)
    if isinstance(rule, Gamma):
        out = z.sum(1) + b
        more = share(z + rule.gamma * pos(z), b + rule.gamma * pos(b), rule.e, r * (out > 0))
        return more + share(z + rule.gamma * neg(z), b + rule.gamma * neg(b), rule.e, r * (out < 0))
    if isinstance(rule, Box):
        low, high = rule.bounds or (x.min(), x.max())
        return share(z - pos(w) * low - neg(w) * high, 0.0, 0.0)
    if isinstance(rule, Squared):
        return share(w**2, b**2, rule.e)
    return share(used.to(w), 0.0, rule.e)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(("conv", "rule"), PAIRS, ids=str)
def test_rules_against_dense_matrices(conv: nn.Module, rule: Rule) -> None:
    torch.manual_seed(0)
    conv = copy.deepcopy(conv).double()
    x = torch.randn(1, 4, 5, 5).double()
    net = nn.Sequential(nn.Conv2d(3, 4, 1), conv, nn.Flatten(), nn.LazyLinear(2)).double()
    net(torch.zeros(1, 3, 5, 5).double())
    recording = record(net, torch.randn(1, 3, 5, 5).double())
    op = next(op for op in recording.ops if op.owner == "1")
    op.inputs[0], op.output = x, conv(x).detach()
    if getattr(conv, "padding_mode", "zeros") == "reflect":
        op.inputs[0] = F.pad(x, (1, 1, 1, 1), mode="reflect")
    elif op.inputs[0].shape != x.shape or conv.padding == "same":
        total = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        if total[0] % 2:
            op.inputs[0] = F.pad(x, (total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2))
    given = op.inputs[0]
    r = torch.randn_like(op.output)
    function = lambda flat: op.affine(flat.view_as(given), conv.weight.detach(), None).flatten()  # noqa: E731
    w = torch.autograd.functional.jacobian(function, given.flatten())
    ones = lambda flat: op.affine(flat.view_as(given), torch.ones_like(conv.weight), None).flatten()  # noqa: E731
    used = torch.autograd.functional.jacobian(ones, given.flatten())
    b = torch.zeros(w.shape[0]).double() if conv.bias is None else conv.bias.detach().repeat_interleave(r[0, 0].numel())
    expected = dense_rule(rule, w, b, given.flatten(), r.flatten(), used)
    close(rule(op, r).flatten(), expected, 1e-9)


# -- conservation -----------------------------------------------------------------------------------------


def bias_free() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 6, bias=False),
        nn.ReLU(),
        nn.Linear(6, 3, bias=False),
    ).double()


def test_z_rule_is_input_times_gradient_without_biases() -> None:
    x = torch.randn(2, 3, 14, 14).double()
    recording = record(bias_free(), x)
    found = recording.to_image(Z, recording.logits, chosen(recording))
    (slope,) = recording.gradients(recording.logits[:, 1], [recording.image])
    close(found, x * slope)
    close(found.sum((1, 2, 3)), recording.logits[:, 1].detach())


@pytest.mark.parametrize("name", ["plain", "residual", "dense", "inception", "depthwise"])
def test_every_cut_carries_the_same_relevance(name: str) -> None:
    c = ll.Classifier(architectures.build(name).double())
    x = architectures.images(2).double()
    layers = {i.name: i for i in c.trace(x).stages}
    recording = Recording(c, x, layers)
    no_bias = Rules({"affine": AlphaBeta(e=0, bias="exclude"), "first": Box()}, fold=False)
    cuts = [*recording.outputs.values(), recording.image]
    for stop in cuts:
        (r,) = recording.relevance(no_bias, recording.logits, chosen(recording), [stop])
        assert recording.passes[-1].entered.abs().min() > 0
        reached = recording.flows[-1].left if stop is recording.image else r.flatten(1).sum(1)
        assert torch.isfinite(reached).all()


def test_fan_out_adds() -> None:
    class Fork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Conv2d(3, 4, 1, bias=False), nn.Linear(4, 2, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x)
            return self.head((y + 2 * y + torch.cat([y[:, :2], y[:, 2:]], 1)).mean((2, 3)))

    x = torch.randn(1, 3, 4, 4).double()
    recording = record(Fork().double(), x)
    close(recording.to_image(Z, recording.logits, chosen(recording)).sum(), recording.logits[0, 1].detach(), 1e-9)


def test_losses_are_reported_with_the_operation() -> None:
    """A rule that throws half away is named."""

    def half(op: Op, r: Tensor) -> Tensor:
        return 0.5 * AlphaBeta(e=0, bias="exclude")(op, r)

    c = ll.Classifier(bias_free(), size=14)
    x = torch.rand(1, 3, 14, 14).double()
    with pytest.warns(ConservationWarning, match=r"50% .* conv2d in 3 \(rule half\)"):
        saliency = ll.method("lrp", overrides={"3": half}, rules={"affine": "z-plus"}).run(c, x)
    assert "50%" in saliency.notes[-1]
    with pytest.warns(ConservationWarning):
        account = ll.explain(c, x[0], "lrp", overrides={"3": half}, rules={"affine": "z-plus"})
    assert account.conservation is not None
    assert any("in 3" in name for name in account.conservation.lost)
    assert abs(account.conservation.entered) > abs(account.conservation.left)


# -- the same network written otherwise ----------------------------------------------------------------------


class Written(nn.Module):
    """A residual network of one block; ``how`` says how its operations are written."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how = how
        self.stem, self.inner = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.norm, self.head = nn.BatchNorm2d(6), nn.Linear(6, 3)
        self.act = nn.ReLU(inplace=how == "inplace modules")
        nn.init.uniform_(self.norm.running_mean)

    def relu(self, x: Tensor) -> Tensor:
        match self.how:
            case "functions":
                return torch.relu(x)
            case "in place":
                return x.relu_()
            case "inplace functions":
                return F.relu(x, inplace=True)
            case "methods":
                return x.relu()
            case _:
                return self.act(x)

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        match self.how:
            case "functions":
                return torch.add(a, b)
            case "in place":
                a.add_(b)
                return a
            case "inplace modules" | "inplace functions":
                a += b
                return a
            case _:
                return a + b

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        y = self.relu(self.add(self.norm(self.inner(x)), x))
        if self.how == "functions":
            y = F.adaptive_avg_pool2d(F.max_pool2d(y, 2), 1)
        elif self.how == "methods":
            y = torch.max_pool2d(y, 2).mean((2, 3), keepdim=True)
        else:
            y = nn.AdaptiveAvgPool2d(1)(nn.MaxPool2d(2)(y))
        return self.head(y.flatten(1) if self.how == "methods" else torch.flatten(y, 1))


WAYS = ("modules", "functions", "methods", "in place", "inplace modules", "inplace functions")


@pytest.mark.parametrize("how", WAYS[1:])
@pytest.mark.parametrize("rules", [Z, Rules({"conv": AlphaBeta()}), Rules({"conv": Gamma()}, fold=False), GRADIENT])
def test_how_it_is_written_does_not_matter(how: str, rules: Rules) -> None:
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    plain, other = (record(Written(h).double(), x) for h in ("modules", how))
    expected = plain.to_image(rules, plain.logits, chosen(plain))
    assert expected.abs().max() > 0
    close(other.to_image(rules, other.logits, chosen(other)), expected)


def test_channels_last_and_a_frozen_network() -> None:
    net = Written("in place").double()
    x = torch.randn(2, 3, 8, 8).double()
    plain = record(net, x)
    for p in net.parameters():
        p.requires_grad_(False)
    other = record(net.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last))
    rules = Rules({"conv": AlphaBeta(2, 1)})
    close(other.to_image(rules, other.logits, chosen(other)), plain.to_image(rules, plain.logits, chosen(plain)))


def test_what_is_overwritten_later_is_kept() -> None:
    class Careless(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Linear(4, 2)
            self.careless = True

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            z = self.b(y)
            if self.careless:  # what b was given is gone
                y.mul_(0.5)
                y[:, :1] = 0
            else:
                y = torch.cat([torch.zeros_like(y[:, :1]), 0.5 * y[:, 1:]], 1)
            return self.head((z + y).relu().mean((2, 3)))

    torch.manual_seed(0)
    net, x = Careless().double(), torch.randn(1, 3, 4, 4).double()
    recording = record(net, x)
    op = next(op for op in recording.ops if op.owner == "b")
    close(op.x, net.a(x).detach())
    found = recording.gradients(recording.logits[:, 1], [recording.image])[0]
    net.careless = False
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(net(leaf)[:, 1].sum(), leaf)
    close(found, expected)


# -- rules and tables ---------------------------------------------------------------------------------------


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


# -- the user's model --------------------------------------------------------------------------------------


def state(net: nn.Module) -> dict[str, Any]:
    return {
        "ids": [id(p) for p in net.parameters()],
        "values": {k: v.clone() for k, v in net.state_dict().items()},
        "flags": [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in net.modules()],
        "asks": [p.requires_grad for p in net.parameters()],
        "grads": [p.grad for p in net.parameters()],
        "dicts": [sorted(vars(m)) for m in net.modules()],
        "global": (len(torch.nn.modules.module._global_forward_hooks), torch.is_grad_enabled()),
    }


def assert_same_state(a: dict[str, Any], b: dict[str, Any]) -> None:
    for key in a:
        if key == "values":
            assert all(torch.equal(a[key][k], b[key][k]) for k in a[key])
        else:
            assert a[key] == b[key], key


class Failing(Written):
    fails = False

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        if self.fails:
            raise KeyboardInterrupt
        return y


def test_nothing_of_the_model_changes() -> None:
    net = Failing("in place").train()
    net.fails = False
    before = state(net)
    c, x = ll.Classifier(net, size=8), torch.randn(2, 3, 8, 8)
    ll.method("lrp").run(c, x)
    assert_same_state(before, state(net))
    net.fails = True
    with pytest.raises(KeyboardInterrupt):
        ll.method("lrp").run(c, x)
    net.fails = False
    assert_same_state(before, state(net))

    def bad(op: Op, r: Tensor) -> Tensor:
        raise ZeroDivisionError

    with pytest.raises(InvalidOption, match=r"rule bad failed at conv2d.* in inner; it says: ZeroDivisionError"):
        ll.method("lrp", rules={"conv": bad}).run(c, x)
    assert_same_state(before, state(net))


def test_training_goes_on_bit_by_bit() -> None:
    x, y = torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])

    def step(net: nn.Module) -> None:
        optimiser = torch.optim.SGD(net.parameters(), 0.1)
        F.cross_entropy(net(x), y).backward()
        optimiser.step()

    plain = Written("inplace modules").train()
    explained = copy.deepcopy(plain)
    step(plain)
    step(plain)
    step(explained)
    ll.method("lrp-comp").run(ll.Classifier(explained, size=8), x)
    step(explained)
    for a, b in zip(plain.state_dict().values(), explained.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_threads_do_not_disturb_each_other() -> None:
    c = ll.Classifier(Written("in place").double(), size=8)
    x = torch.randn(4, 3, 8, 8).double()
    names = ["lrp", "lrp-alpha2-beta1", "lrp-comp"]
    alone = {name: ll.method(name).run(c, x).raw for name in names}
    together: dict[str, Tensor] = {}

    def work(name: str) -> None:
        for _ in range(5):
            together[name] = ll.method(name).run(c, x).raw

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for name in names:
        assert torch.equal(alone[name], together[name])


# -- networks that hide their operations ----------------------------------------------------------------------


def test_compiled_and_parallel_networks_are_looked_through() -> None:
    net, x = Written("functions"), torch.randn(1, 3, 8, 8)
    plain = ll.method("lrp").run(ll.Classifier(net, size=8), x).raw
    for wrapped in (torch.compile(net), nn.DataParallel(net)):
        torch.testing.assert_close(ll.method("lrp").run(ll.Classifier(wrapped, size=8), x).raw, plain)


def test_scripted_networks_are_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(bias_free().float())
    with pytest.raises(UnsupportedModel, match="hides"):
        Recording(ll.Classifier(scripted, size=14), torch.randn(1, 3, 14, 14))


class OwnReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x)
        return x.clamp_min(0)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        return g * (ctx.saved_tensors[0] > 0)


class Called(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return OwnReLU.apply(x)


@pytest.mark.parametrize("name", ["guided-backprop", "deconvnet", "guided-grad-cam", "full-grad"])
def test_activations_that_cannot_be_seen_are_refused_or_told_of(name: str) -> None:
    torch.manual_seed(0)
    stem, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), torch.randn(1, 3, 8, 8)
    rest = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(stem)
    with pytest.raises(UnsupportedModel, match=r"scripted code \('0'\)"):
        ll.method(name, layer="1.0" if "cam" in name else None).run(ll.Classifier(nn.Sequential(scripted, rest)), x, 1)
    own = ll.Classifier(nn.Sequential(stem[0], Called(), rest), size=8)
    with pytest.warns(ConservationWarning, match=f"{name}: no rule for clamp_min: their own gradient"):
        found = ll.method(name, layer="2.0" if "cam" in name else None).run(own, x, 1)
    assert any("no rule for clamp_min" in note for note in found.notes)


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 4), nn.GroupNorm(1, 4), nn.LayerNorm([4, 6, 6])])
def test_deeplift_says_that_normalisation_breaks_its_law(norm: nn.Module) -> None:
    torch.manual_seed(0)
    parts = [nn.Conv2d(3, 4, 3), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 2)]
    x, deeplift = torch.randn(2, 3, 8, 8), ll.method("deeplift")
    with pytest.warns(ConservationWarning, match=r"% away from adding up .*_norm in 1, whose slope"):
        found = deeplift.run(ll.Classifier(nn.Sequential(*parts), size=8), x, 1)
    assert any("away from adding up" in note for note in found.notes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        deeplift.run(ll.Classifier(nn.Sequential(parts[0], *parts[2:]), size=8), x, 1)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoints(reentrant: bool) -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.inner, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Linear(4, 2)
            self.saves = True

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            x = checkpoint(self.inner, x, use_reentrant=reentrant) if self.saves else self.inner(x)
            return self.head(x.relu().mean((2, 3)))

    torch.manual_seed(0)
    net, x = Checkpointed(), torch.randn(1, 3, 4, 4)
    c = ll.Classifier(net, size=4)
    if reentrant:
        with pytest.raises(UnsupportedModel, match="checkpoint"):
            ll.method("lrp").run(c, x)
        return
    found = ll.method("lrp").run(c, x).raw
    net.saves = False
    torch.testing.assert_close(ll.method("lrp").run(c, x).raw, found)


@pytest.mark.parametrize("name", ["lrp", "attribution-equilibrium", "guided-backprop"])
def test_a_softmax_at_the_end_is_passed_by(name: str) -> None:
    net, x = Written("modules"), torch.randn(2, 3, 8, 8)
    plain = ll.method(name, layer="norm").run(ll.Classifier(net, size=8), x, 1)
    ended = ll.method(name, layer="0.norm").run(ll.Classifier(nn.Sequential(net, nn.Softmax(1)), size=8), x, 1)
    assert plain.raw.abs().max() > 0
    torch.testing.assert_close(ended.raw, plain.raw)
    torch.testing.assert_close(ended.score, plain.score)


def test_operations_without_a_rule() -> None:
    class Odd(Written):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).cumsum(1)

    c, x = ll.Classifier(Odd("modules"), size=8), torch.randn(1, 3, 8, 8)
    with pytest.warns(ConservationWarning, match="no rule for cumsum"):
        saliency = ll.method("lrp").run(c, x)
    assert "cumsum" in saliency.notes[0]
    with pytest.raises(UnsupportedModel, match="no rule for cumsum"):
        ll.method("lrp", strict=True).run(c, x)


class Leaves(torch.autograd.Function):
    """Doubles outside of PyTorch."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        return torch.from_numpy(x.detach().numpy() * 2)

    @staticmethod
    def backward(_ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        return 2 * g


class Joined(nn.Module):
    """Adds to a recorded branch what some function makes of it."""

    def __init__(self, f: Any) -> None:
        super().__init__()
        self.body, self.f = architectures.small(4, (6, 8)), f
        self.register_buffer("table", torch.linspace(0, 1, 12))
        self.gain = nn.Parameter(torch.ones(6, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        a = self.body[0](x)
        a = a + self.table * self.gain.exp() if self.f is None else a + self.f(a)
        return self.body[1:](a)


def doubling(x: Tensor) -> Tensor:
    return x * 2


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_what_no_recorder_sees_is_no_constant() -> None:
    x = torch.randn(1, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    methods = [name for name, card in ll.methods().items() if "recording" in card.needs]
    assert len(methods) > 10
    unseen = {"can't be seen": torch.jit.script(doubling), "Leaves": Leaves.apply}
    for words, f in unseen.items():
        c = ll.Classifier(Joined(f), size=24)
        for name in methods if words == "Leaves" else ["lrp"]:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                try:
                    ll.method(name).run(c, x, 1)
                    told = " ".join(str(w.message) for w in said)
                except UnsupportedModel as error:
                    told = str(error)
            behind = "cam" in name or "excitation" in name or name in ("rsp", "attribution-equilibrium")
            assert words in told or behind, (name, told)  # relevance that stops behind it never comes there
        with pytest.raises(UnsupportedModel, match="Leaves" if words == "Leaves" else words):
            ll.method("lrp", strict=True).run(c, x, 1)
    hidden, plain = (Recording(ll.Classifier(net, size=24), x) for net in (Joined(unseen["Leaves"]), Joined(doubling)))
    plain.classifier.module.load_state_dict(hidden.classifier.module.state_dict())
    plain = Recording(plain.classifier, x)
    seed = torch.nn.functional.one_hot(torch.tensor([1]), 4).float()
    torch.testing.assert_close(*(t.to_image(GRADIENT, t.logits, seed) for t in (hidden, plain)), rtol=1e-4, atol=1e-5)


def test_buffers_tables_and_reparametrised_weights_stay_constants() -> None:
    net = Joined(None)
    torch.nn.utils.parametrizations.weight_norm(net.body[0])
    recording = Recording(ll.Classifier(net, size=24), torch.randn(1, 3, 24, 24))
    assert not recording.unruled


class Reversed(torch.autograd.Function):
    """Returns what it is given, whose gradient it turns round."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        return x

    @staticmethod
    def backward(_ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        return -g


def without_gradients(x: Tensor) -> Tensor:
    with torch.no_grad():
        return x.view_as(x)


def test_backward_hooks_of_the_users_own_change_nothing() -> None:
    x = torch.randn(1, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    plain, seen = architectures.small(4, (6, 8)), []
    watched = copy.deepcopy(plain)
    for m in watched.modules():
        m.register_full_backward_hook(lambda _m, _given, came: seen.append(came))
    for name in [name for name, card in ll.methods().items() if "recording" in card.needs]:
        found, wanted = (ll.method(name).run(ll.Classifier(net, size=24), x, 1) for net in (watched, plain))
        torch.testing.assert_close(found.raw, wanted.raw, rtol=0, atol=0, msg=name)
        assert found.notes == wanted.notes, name
    assert seen


@pytest.mark.parametrize(
    ("f", "words"), [(Reversed.apply, "Reversed"), (without_gradients, "view_as"), (lambda x: x.view_as(x), "")]
)
def test_what_a_function_returns_as_it_was_given_is_called_by_its_name(f: Any, words: str) -> None:
    recording = Recording(ll.Classifier(Joined(f), size=24), torch.randn(1, 3, 24, 24))
    assert [u.function for u in recording.unruled] == ([words] if words else [])
