"""LRP: worked examples of every rule, published numbers, outputs of zennit, captum and authors' code, conservation."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

import architectures
import limelight as ll
from conftest import npz, shared
from limelight.errors import InvalidOption
from limelight.maps.propagation.lrp import Average, Composite, composite_of
from limelight.relevance.op import Op, divide_by
from limelight.relevance.rules import (
    AlphaBeta,
    Box,
    Epsilon,
    Flat,
    Gamma,
    Proportional,
    Rule,
    Rules,
    Squared,
    native,
    rule_of,
)
from limelight.relevance.tape import Tape
from methods import golden_network
from methods.goldens import TINY, CifarResNet, classifier, golden, images, inputs

ANY = (torch.full((3, 1, 1), -3.0).double(), torch.full((3, 1, 1), 3.0).double())
NETWORKS = ("plain", "residual", "dense", "inception", "depthwise")


def deviation(ours: Tensor, theirs: np.ndarray | Tensor) -> float:
    """The largest, as a share of the largest value."""
    theirs = torch.as_tensor(theirs).to(ours).reshape(ours.shape)
    return float((ours - theirs).abs().max() / theirs.abs().max())


def close(a: Tensor, b: Tensor | list[float] | float, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(a, torch.as_tensor(b, dtype=a.dtype).expand_as(a), rtol=0, atol=tolerance)


# -- one linear layer, by hand -----------------------------------------------------------------------------------

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


def linear(bias: list[float] | None) -> Tape:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3, 2, bias=bias is not None)).double()
    net[1].weight.data = torch.tensor(W).double()
    if bias is not None:
        net[1].bias.data = torch.tensor(bias).double()
    return Tape(ll.Classifier(net.eval(), size=1), torch.tensor(X).double().view(1, 3, 1, 1))


def handed_back(tape: Tape, rule: Rule) -> Tensor:
    seed = torch.tensor(R).double()
    return tape.to_image(Rules({"affine": rule}), tape.logits, seed).flatten()


def test_the_layer_of_the_worked_example() -> None:
    close(linear(None).logits.detach()[0], [-3.0, 1.5])
    close(linear(BIAS).logits.detach()[0], [-2.5, 1.0])


@pytest.mark.parametrize(("name", "options", "make", "without", "with_bias"), TABLE, ids=[row[0] for row in TABLE])
def test_worked_example(
    name: str, options: dict[str, Any], make: Callable[..., Rule], without: list[float], with_bias: list[float]
) -> None:
    for rule in (rule_of(name), make(**options)):
        close(handed_back(linear(None), rule), without, 1e-5)
        close(handed_back(linear(BIAS), rule), with_bias, 1e-5)
    close(handed_back(linear(BIAS), make(**options, bias="exclude")), without, 1e-5)


@pytest.mark.parametrize(("rule", "expected"), NO_BIAS, ids=str)
@pytest.mark.parametrize("bias", [None, BIAS])
def test_worked_example_of_rules_that_know_no_bias(rule: Rule, expected: list[float], bias: list[float] | None) -> None:
    close(handed_back(linear(bias), rule), expected, 1e-5)


def test_forms_of_epsilon() -> None:
    """z = (-3, 1.5); by hand."""
    w, x, r, z = (torch.tensor(v).double() for v in (W, X, R[0], [-3.0, 1.5]))
    half = 0.1 + 0.5 * z.square().mean().sqrt()
    close(handed_back(linear(None), Epsilon(0.1, rms=0.5)), (r / (z + half * z.sign())) @ w * x)
    close(handed_back(linear(None), Epsilon(0.1, rms=0.5, sign_aware=False)), (r / (z + half)) @ w * x)


def test_classic_gamma_takes_all_outputs_alike() -> None:
    w, x, r = (torch.tensor(v).double() for v in (W, X, R[0]))
    more = w + 0.5 * w.clamp_min(0)
    close(handed_back(linear(None), Gamma(0.5, 0.0, classic=True)), (r / (more @ x)) @ more * x)


def test_gamma_tends_to_z_plus() -> None:
    """For outputs above 0 and inputs that are not negative."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 4, bias=False)).double()
    x = torch.rand(1, 3, 2, 2).double()
    tape = Tape(ll.Classifier(net, size=2), x)
    seed = tape.logits.detach().clamp_min(0)
    far, plus = (
        tape.to_image(Rules({"affine": rule}), tape.logits, seed) for rule in (Gamma(1e9, 1e-9), AlphaBeta(e=0.0))
    )
    close(far, plus, 1e-6)


# -- published numbers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "row"),
    [
        ("lrp-epsilon-plus", {}, ("lrp-epsilon-plus", "")),
        ("lrp", {}, ("lrp-epsilon-plus", "")),
        ("lrp-alpha2-beta1", {}, ("lrp-alpha2-beta1", "")),
        ("lrp", {"composite": "alpha2-beta1"}, ("lrp-alpha2-beta1", "")),
        ("lrp", {"composite": "epsilon-gamma-box"}, ("lrp", "EpsilonGammaBox box=[-0.5;0.7]")),
    ],
)
def test_golden_network(name: str, options: dict[str, Any], row: tuple[str, str]) -> None:
    c, x = golden_network.classifier(), golden_network.image()
    raw = ll.method(name, **options).evidence(c, x, golden_network.TARGET)
    close(raw[0], golden_network.rows(*row), 1e-9)


def test_gamma_box_written_out() -> None:
    c, x = golden_network.classifier(), golden_network.image()
    rules = {"first": "z-box", "conv": "gamma(0.25)", "linear": "epsilon(1e-6)"}
    raw = ll.method("lrp", rules=rules).evidence(c, x, golden_network.TARGET)
    close(raw[0], golden_network.rows("lrp", "EpsilonGammaBox box=[-0.5;0.7]"), 1e-9)


# -- zennit 0.5.1 ------------------------------------------------------------------------------------------------

ZENNIT: dict[str, Composite] = {
    "epsilonplus": "epsilon-plus",
    "epsilonalpha2beta1": "alpha2-beta1",
    "epsilongammabox": "epsilon-gamma-box",
    "epsilonplusflat": "epsilon-plus-flat",
    "epsilonalpha2beta1flat": "alpha2-beta1-flat",
}


class Shrink(nn.Module):
    """What is left of a batch normalisation there once it was merged: its eps."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.factor = (1 + eps) ** -0.5

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


def merged(net: nn.Module) -> nn.Module:
    """Merge batch normalisations into the convolutions before them as that package does."""
    net = copy.deepcopy(net)
    conv: nn.Conv2d | None = None
    for name, module in list(net.named_modules()):
        if isinstance(module, nn.Conv2d):
            conv = module
        if isinstance(module, nn.BatchNorm2d) and conv is not None:
            scale = module.weight.data / (module.running_var + module.eps).sqrt()
            conv.weight.data *= scale[:, None, None, None]
            before = 0 if conv.bias is None else conv.bias.data
            conv.bias = nn.Parameter((before - module.running_mean) * scale + module.bias.data)
            parent, _, child = name.rpartition(".")
            setattr(net.get_submodule(parent), child, Shrink(module.eps))
    return net


@pytest.mark.parametrize("model", TINY)
@pytest.mark.parametrize("theirs", ZENNIT)
def test_zennit(theirs: str, model: str) -> None:
    """To 1e-5 with its way of merging, to 3e-4 with the network as it is."""
    _, arrays = golden(f"zennit-{theirs}-{model}")
    raw, target = arrays["relevance"].sum(1), torch.from_numpy(arrays["target"])
    method, x = ll.method("lrp", composite=ZENNIT[theirs], init="one"), inputs(model)[: len(raw)]
    assert deviation(method.evidence(classifier(model), x, target), raw) < (1e-5 if model == "tinyvgg" else 3e-4)
    assert deviation(method.evidence(ll.Classifier(merged(classifier(model).module)), x, target), raw) < 1e-5


@pytest.mark.parametrize("theirs", ["epsilonplus", "epsilongammabox"])
def test_zennit_on_squeezenet(theirs: str) -> None:
    _, arrays = golden(f"zennit-{theirs}-squeezenet")
    target = torch.from_numpy(arrays["target"])
    method = ll.method("lrp", composite=ZENNIT[theirs], init="one")
    raw = method.evidence(classifier("squeezenet"), inputs("squeezenet")[:1], target)
    assert deviation(raw[..., ::2, ::2], arrays["relevance_stride2"].sum(1)) < 1e-5
    assert deviation(raw.sum(), arrays["sum_of_relevance"].sum()) < 1e-4


@pytest.mark.parametrize("model", TINY)
def test_zennit_excitation(model: str) -> None:
    """Its composite of that name is z-plus everywhere, with biases in the denominators."""
    _, arrays = golden(f"zennit-excitationbackprop-{model}")
    raw, target = arrays["relevance"].sum(1), torch.from_numpy(arrays["target"])
    c = ll.Classifier(merged(classifier(model).module))
    rules = {"affine": "z-plus", "scale": "gradient"}
    ours = ll.method("lrp", rules=rules, init="one").evidence(c, inputs(model)[: len(raw)], target)
    assert deviation(ours, raw) < 1e-5


def test_zennit_on_torchvision() -> None:
    _, arrays = golden("seeded-torchvision-resnet18")
    state = torch.get_rng_state()
    torch.manual_seed(1234)
    net = torchvision.models.resnet18(weights=None, num_classes=10)
    torch.set_rng_state(state)
    x = inputs("tinyvgg")
    c, target = ll.Classifier(architectures.fitted(net, x)), torch.from_numpy(arrays["target"])[:1]
    off = np.abs(c(x).numpy() - arrays["logits"]).max()
    if off > 1e-4:
        pytest.skip(f"the network made from the seed is not the same here: its logits are off by {off:.0e}")
    c = ll.Classifier(merged(net))
    for theirs in ("epsilonplus", "epsilonalpha2beta1", "epsilongammabox"):
        ours = ll.method("lrp", composite=ZENNIT[theirs], init="one").evidence(c, x[:1], target)
        assert deviation(ours, arrays[f"zennit_{theirs}"].sum(1)) < 1e-4


# -- captum 0.9.0, and the authors of RAP --------------------------------------------------------------------------


def test_captum() -> None:
    _, arrays = golden("captum-lrp-tinyvgg")
    raw, target = arrays["attr"].sum(1), torch.from_numpy(arrays["target"])
    method = ll.method("lrp", rules={"affine": "epsilon(1e-9)", "avg_pool": "proportional(1e-9)"}, init="logit")
    ours = method.evidence(classifier("tinyvgg"), inputs("tinyvgg")[: len(raw)], target)
    assert deviation(ours, raw) < 1e-4  # it divides by small numbers, in float32


class Flattening(nn.Module):
    """The network with a function in place of ``nn.Flatten``, for which that package has no rule."""

    def __init__(self, net: nn.Sequential) -> None:
        super().__init__()
        self.features, self.head = net[:11], net[12:]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).flatten(1))


def test_captum_as_installed() -> None:
    """In double precision, where rounding is no excuse."""
    attr = pytest.importorskip("captum.attr", reason="needs the package captum, of the extra peers")
    net = Flattening(vgg_like(bias=True))
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)).double()
    theirs = attr.LRP(copy.deepcopy(net)).attribute(x.clone().requires_grad_(), target=1).detach().sum(1)
    ours = ll.method("lrp", rules={"affine": "epsilon(1e-9)"}, init="logit").evidence(ll.Classifier(net, size=16), x, 1)
    assert deviation(ours, theirs) < 1e-6


@pytest.mark.parametrize("model", TINY)
@pytest.mark.parametrize(("alpha", "tolerance"), [(1, 5e-5), (2, 1e-3)])
def test_authors_of_rap(alpha: int, tolerance: float, model: str) -> None:
    """Their LRP leaves biases out and takes the pixels' bounds from the image."""
    _, arrays = golden(f"authors-lrp-{model}")
    raw, target = arrays[f"alpha{alpha}"].sum(1), torch.from_numpy(arrays["target"])
    rules = {
        "first": Box(),
        "affine": AlphaBeta(float(alpha), float(alpha - 1), e=0.0, bias="exclude"),
        "avg_pool": "proportional(0)",
        "add": "proportional(0)",
    }
    ours = ll.method("lrp", rules=rules, init="logit").evidence(classifier(model), inputs(model)[: len(raw)], target)
    assert deviation(ours, raw) < tolerance


# -- the composite of the overview chapter --------------------------------------------------------------------------


def vgg_like(bias: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1, bias=bias), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 8, 3, padding=1, bias=bias), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 12, 3, padding=1, bias=bias), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(12, 12, 3, padding=1, bias=bias), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(48, 16, bias=bias), nn.ReLU(), nn.Linear(16, 4, bias=bias)),
    ).double()


def test_comp_without_gamma_and_epsilon_is_input_times_gradient() -> None:
    net, x = vgg_like(), torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)).double()
    rules = {"first": "z", "shallow": Gamma(0.0, 0.0, classic=True), "conv": "z", "linear": "z", "max_pool": native}
    ours = ll.method("lrp", composite="comp", rules=rules, init="logit").evidence(ll.Classifier(net, size=16), x, 2)
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(net(leaf)[:, 2].sum(), leaf)
    close(ours / ours.abs().max(), (x * slope).sum(1) / ours.abs().max(), 1e-10)


def test_comp_assigns_the_rules_of_the_tutorial_to_vgg16() -> None:
    cfg: list[str | int] = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"]
    thin = [v if isinstance(v, str) else v // 16 for v in cfg]
    net = nn.Sequential()
    net.features = torchvision.models.vgg.make_layers(thin)
    net.classifier = nn.Sequential(nn.Flatten(), nn.Linear(32 * 4, 8), nn.ReLU(), nn.Linear(8, 3))
    tape = Tape(ll.Classifier(net.eval(), size=64), torch.rand(1, 3, 64, 64))
    table = composite_of("comp", ANY)
    found = {op.owner: table.find(op)[1] for op in tape.ops if op.affine or op.kind == "max_pool"}
    for name, rule in found.items():
        kind, _, number = name.partition(".")
        if kind == "classifier":
            assert rule == Epsilon(1e-9)
        elif isinstance(net.get_submodule(name), nn.MaxPool2d):
            assert isinstance(rule, Average)
        elif number == "0":
            assert isinstance(rule, Box)
        else:
            expected = Gamma(0.25, 1e-9) if int(number) <= 16 else Epsilon(1e-9, rms=0.25)
            assert rule == expected
    assert sum(isinstance(rule, Gamma) for rule in found.values()) == 6
    assert sum(isinstance(rule, Epsilon) and rule.rms > 0 for rule in found.values()) == 6


def tutorial(net: nn.Sequential, x: Tensor, low: Tensor, high: Tensor, target: int) -> Tensor:
    """The four steps of the tutorial, layer by layer, one image, written out again."""
    layers = [nn.AvgPool2d(2) if isinstance(m, nn.MaxPool2d) else m for m in net]
    acts = [x]
    for m in net:
        acts.append(m(acts[-1]).detach())
    r = torch.zeros_like(acts[-1])
    r[0, target] = acts[-1][0, target]

    def changed(m: nn.Module, change: Callable[[Tensor], Tensor], bias: bool = True) -> nn.Module:
        m = copy.deepcopy(m)
        if isinstance(m, nn.Conv2d | nn.Linear):
            m.weight.data = change(m.weight.data)
            m.bias.data = change(m.bias.data) if bias else torch.zeros_like(m.bias)
        return m

    for i in range(len(layers) - 1, 0, -1):
        m, a = layers[i], acts[i].requires_grad_()
        if isinstance(m, nn.ReLU):
            continue
        if isinstance(m, nn.Flatten):
            r = r.view_as(acts[i])
            continue
        deep = isinstance(m, nn.Conv2d | nn.AvgPool2d) and 4 * a.shape[-1] < x.shape[-1]
        z = m(a) if deep or isinstance(m, nn.Linear) else changed(m, lambda p: p + 0.25 * p.clamp_min(0))(a)
        extra = 0.25 * z.detach().square().mean().sqrt() if deep else 0.0
        (c,) = torch.autograd.grad((z * (r / (z.detach() + 1e-9 + extra))).sum(), a)
        r = a.detach() * c
    inputs = [t.expand_as(x).clone().requires_grad_() for t in (x, low, high)]
    first = layers[0]
    z = changed(first, lambda p: p, bias=False)(inputs[0])
    z = z - changed(first, lambda p: p.clamp_min(0), bias=False)(inputs[1])
    z = z - changed(first, lambda p: p.clamp_max(0), bias=False)(inputs[2])
    grads = torch.autograd.grad((z * (r / (z.detach() + 1e-6))).sum(), inputs)
    return torch.stack([t.detach() * g for t, g in zip(inputs, grads, strict=True)]).sum(0).sum(1)


def test_comp_as_in_the_tutorial() -> None:
    net = vgg_like(bias=True)
    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(2)).double()
    c = ll.Classifier(net, mean=(0.0,) * 3, std=(1.0,) * 3, size=16)
    ours = ll.method("lrp-comp", tutorial=True, init="logit").evidence(c, x, 1)
    theirs = tutorial(net, x, torch.zeros(1).double(), torch.ones(1).double(), 1)
    assert deviation(ours, theirs) < 1e-6
    # No relevance comes to outputs below 0 where a ReLU follows: there both forms of the stabiliser and of gamma agree.
    assert deviation(ll.method("lrp-comp", init="logit").evidence(c, x, 1), theirs) < 1e-6
    assert deviation(ll.method("lrp-comp", gamma="classic", init="logit").evidence(c, x, 1), theirs) < 1e-6


def test_comp_and_the_tutorial_part_where_outputs_are_below_0() -> None:
    net = vgg_like(bias=True)
    net[10] = nn.Tanh()
    c, x = ll.Classifier(net, size=16), torch.rand(1, 3, 16, 16).double()
    ours, theirs = (ll.method("lrp-comp", tutorial=t).evidence(c, x, 1) for t in (False, True))
    assert deviation(ours, theirs) > 1e-2


def test_comp_keeps_the_classic_gamma_by_name() -> None:
    c, x = ll.Classifier(architectures.build("residual").double()), architectures.images(2).double()
    classic = ll.method("lrp-comp", gamma="classic").evidence(c, x)
    assert not torch.allclose(classic, ll.method("lrp-comp").evidence(c, x))
    assert torch.equal(classic, ll.method("lrp", composite="comp-classic").evidence(c, x))
    assert rule_of("classic-gamma(0.5)") == Gamma(0.5, classic=True)


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
    tape = Tape(ll.Classifier(net.eval(), size=1), x.view(1, 3, 1, 1))
    op, r = tape.ops[-1], torch.ones(1, 4000).double()
    one = torch.zeros(1, 4000).double()
    shares = [Gamma(gamma, 0.0)(op, one.index_fill(1, torch.tensor(i), 1.0)) for i in range(0, 4000, 97)]
    assert max(float(s.abs().sum()) for s in shares) <= 1 + 2 / gamma + 1e-9
    close(Gamma(gamma, 0.0)(op, r).sum(), r.sum(), 1e-9)
    if not signed:
        return
    assert float(Gamma(gamma, 0.0, classic=True)(op, r).abs().sum()) > 10 * float(r.sum())


@pytest.mark.parametrize("depth", [20, 56])
def test_comp_on_trained_residual_networks(depth: int) -> None:
    """The classic form makes up to 5e6 times of the score there, the generalised one absorbs as it should."""
    from safetensors.torch import load_file

    net = CifarResNet((depth - 2) // 6)
    net.load_state_dict(load_file(shared("data", f"cifar10_resnet{depth}.safetensors")))
    c, x = ll.Classifier(net.eval(), size=32), images(npz("data", "cifar10_test200.npz")["images"][:4])
    generalised, classic = (ll.method("lrp-comp", gamma=g).run(c, x) for g in ("generalised", "classic"))
    assert (generalised.raw.abs().sum((1, 2)) < 3 * generalised.score).all()
    assert classic.raw.sum((1, 2)).abs().max() > 1e3 * classic.score.max()


# -- conservation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["lrp", "lrp-alpha2-beta1", "lrp-comp"])
@pytest.mark.parametrize("architecture", NETWORKS)
def test_what_comes_out_is_what_went_in_less_what_was_absorbed(method: str, architecture: str) -> None:
    c, x = ll.Classifier(architectures.build(architecture).double()), architectures.images(2).double()
    saliency = ll.method(method).run(c, x, 1)
    d = saliency.details
    torch.testing.assert_close(d["relevance_entered"], c(x)[:, 1].abs())
    torch.testing.assert_close(d["relevance_left"], saliency.raw.sum((1, 2)))
    lost = (d["relevance_came"] - d["relevance_went"]).sum(1)
    torch.testing.assert_close(d["relevance_entered"] - d["relevance_left"], lost)


@pytest.mark.parametrize("architecture", ["plain", "residual", "dense", "inception"])
def test_nothing_is_lost_without_biases(architecture: str) -> None:
    """But at denominators of exactly 0, of which the account tells."""
    c, x = ll.Classifier(architectures.build(architecture).double()), architectures.images(2).double()
    rules = {
        "first": Box(),
        "affine": AlphaBeta(e=0.0, bias="exclude"),
        "avg_pool": Proportional(0.0),
        "add": Proportional(0.0),
    }
    saliency = ll.method("lrp", rules=rules).run(c, x, 1)
    d = saliency.details
    assert not d["relevance_absorbs"].any()
    dead = (d["relevance_came"] - d["relevance_went"]).abs().amax(0) > 1e-9
    assert all("conv2d" in d["relevance_operations"][i] for i in dead.nonzero()[:, 0])
    if architecture in ("plain", "dense"):
        assert not dead.any()
        torch.testing.assert_close(saliency.raw.sum((1, 2)), c(x)[:, 1].abs())


def test_bias_makes_and_takes_relevance() -> None:
    """The sums of the worked example."""
    close(handed_back(linear(BIAS), Epsilon(0.0)).sum(), 5.7)
    close(handed_back(linear(BIAS), Epsilon(0.0, bias="exclude")).sum(), 4.0)


# -- the start -------------------------------------------------------------------------------------------------------


def test_init() -> None:
    """All rules are linear in relevance."""
    c, x = ll.Classifier(vgg_like(bias=True), size=16), torch.rand(4, 3, 16, 16).double()
    scores = c(x)[:, 1]
    absolute, logit, one = (ll.method("lrp", init=i).evidence(c, x, 1) for i in ("absolute", "logit", "one"))
    close(logit, one * scores[:, None, None])
    close(absolute, one * scores.abs()[:, None, None])


def test_presets_are_composites() -> None:
    c, x = ll.Classifier(architectures.build("residual").double()), architectures.images(2).double()
    for name, composite in {
        "lrp-epsilon-plus": "epsilon-plus",
        "lrp-alpha2-beta1": "alpha2-beta1",
        "lrp-comp": "comp",
    }.items():
        assert torch.equal(ll.method(name).evidence(c, x), ll.method("lrp", composite=composite).evidence(c, x))


# -- rules of one's own -----------------------------------------------------------------------------------------------


def test_own_rule_and_table_in_five_lines() -> None:
    def z_plus(op: Op, r: Tensor) -> Tensor:
        up = op.x.clamp_min(0)
        return up * op.back(divide_by(r, op.forward(up, "positive")), "positive")

    c, x = ll.Classifier(vgg_like(bias=True), size=16), torch.rand(2, 3, 16, 16).double()
    ours = ll.method("lrp", rules={"conv": z_plus, "linear": "z"}).evidence(c, x, 1)
    shipped = {"conv": AlphaBeta(e=0.0, bias="exclude"), "linear": Epsilon(0.0)}
    close(ours, ll.method("lrp", rules=shipped).evidence(c, x, 1))


def spies(rules: list[str], composite: str) -> dict[str, set[str]]:
    """Where rules of one's own are used, by the places they are given for."""
    c, x = ll.Classifier(vgg_like(bias=True), size=16), torch.rand(1, 3, 16, 16).double()
    seen: dict[str, set[str]] = {place: set() for place in rules}

    def spy(place: str) -> Rule:
        def rule(op: Op, r: Tensor) -> Tensor:
            seen[place].add(op.owner)
            return AlphaBeta(e=0.0, bias="exclude")(op, r)  # conserves

        return rule

    ll.method("lrp", composite=composite, rules={place: spy(place) for place in rules}).run(c, x, 1)
    return seen


CONVS, LINEAR = {"0", "3", "6", "9"}, {"12", "14"}


@pytest.mark.parametrize(
    ("composite", "rules", "expected"),
    [
        ("epsilon-plus", ["affine"], [CONVS | LINEAR]),
        ("epsilon-plus", ["conv"], [CONVS]),
        ("epsilon-plus", ["affine", "conv"], [LINEAR, CONVS]),
        ("epsilon-plus", ["affine", "first"], [(CONVS | LINEAR) - {"0"}, {"0"}]),
        ("epsilon-gamma-box", ["affine"], [(CONVS | LINEAR) - {"0"}]),
        ("epsilon-gamma-box", ["conv"], [CONVS - {"0"}]),
        ("epsilon-gamma-box", ["shallow"], [{"3", "6"}]),
        ("epsilon-plus-flat", ["linear", "last"], [{"12"}, {"14"}]),
        ("comp", ["shallow"], [{"3", "6"}]),
        ("comp", ["conv"], [{"9"}]),
        ("comp", ["affine"], [{"9"} | LINEAR]),
        ("comp", ["first", "affine", "shallow"], [{"0"}, {"9"} | LINEAR, {"3", "6"}]),
    ],
)
def test_own_rules_join_the_composite(composite: str, rules: list[str], expected: list[set[str]]) -> None:
    """One table: the most special place counts, whoever gave it; ``affine`` stands for both kinds."""
    assert list(spies(rules, composite).values()) == expected


@pytest.mark.parametrize("composite", ["epsilon-gamma-box", "epsilon-plus-flat", "comp"])
def test_saying_again_what_the_composite_says_changes_nothing(composite: str) -> None:
    c, x = ll.Classifier(architectures.build("residual").double()), architectures.images(1).double()
    plain = ll.method("lrp", composite=composite).evidence(c, x, 1)
    for place, rule in composite_of(composite, c.bounds).table.items():
        close(ll.method("lrp", composite=composite, rules={place: rule}).evidence(c, x, 1), plain)


def test_overrides_by_name_of_the_module() -> None:
    c, x = ll.Classifier(architectures.build("residual").double()), architectures.images(1).double()
    seen: list[str] = []

    def spy(op: Op, r: Tensor) -> Tensor:
        seen.append(op.owner)
        return Epsilon()(op, r)

    plain = ll.method("lrp", init="one").evidence(c, x, 1)
    by_glob = ll.method("lrp", overrides={"layer1.*": spy, "fc": spy}, init="one").evidence(c, x, 1)
    assert sorted(seen) == ["fc", "layer1.conv1", "layer1.conv2", "layer1.skip"]
    assert not torch.allclose(plain, by_glob)
    named = ll.method("lrp", overrides={"layer1.*": "epsilon(1e-6)"}, init="one").evidence(c, x, 1)
    close(by_glob, named)


def test_the_first_pattern_that_fits_counts() -> None:
    c, x = ll.Classifier(architectures.build("plain").double()), architectures.images(1).double()
    one = ll.method("lrp", overrides={"features.0": "flat", "features.*": "gamma(0.1)"}).evidence(c, x, 1)
    other = ll.method("lrp", overrides={"features.*": "gamma(0.1)", "features.0": "flat"}).evidence(c, x, 1)
    same = ll.method("lrp", rules={"conv": "gamma(0.1)"}).evidence(c, x, 1)
    close(other, same)
    assert not torch.allclose(one, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"composite": "epsilon"}, "composite"),
        ({"init": "probability"}, "init"),
        ({"rules": {"conv": "zplus"}}, "no rule 'zplus'"),
        ({"rules": {"conv": "alpha-beta(2, 2)"}}, "alpha - beta = 1"),
        ({"rules": {"conv": "alpha-beta(0, -1)"}}, "at least 0"),
        ({"rules": {"conv": "gamma(-0.25)"}}, "below 0"),
        ({"rules": {"conv": "epsilon(-1)"}}, "below 0"),
        ({"rules": {"conv": 0.25}}, "is no rule"),
        ({"rules": {"conv": "flat(1, 2, 3)"}}, "flat"),
        ({"rules": {"convs": "flat"}}, "did you mean conv"),
        ({"overrides": {"feature.*": "flat"}}, "did you mean features"),
        ({"overrides": {"features.1": "flat"}}, "no affine operation"),
        ({"rules": "flat"}, "rules"),
        ({"alpha": 2}, "alpha"),
    ],
    ids=str,
)
def test_misuse(options: dict[str, Any], message: str) -> None:
    c, x = ll.Classifier(architectures.build("plain")), architectures.images(1)
    with pytest.raises(InvalidOption, match=message):
        ll.method("lrp", **options).run(c, x)


def test_alpha_and_beta() -> None:
    for alpha, beta in ((2.0, 2.0), (0.5, -0.5), (-1.0, -2.0)):
        with pytest.raises(InvalidOption):
            AlphaBeta(alpha, beta)


# -- where it stops ----------------------------------------------------------------------------------------------------


def test_relevance_of_a_layer() -> None:
    c, x = ll.Classifier(vgg_like(), size=16), torch.rand(2, 3, 16, 16).double()
    rules = {"affine": "z", "max_pool": "gradient"}
    for layer, size in (("2", 8), ("5", 4), ("9", 2)):
        raw = ll.method("lrp", rules=rules, init="logit", layer=layer).evidence(c, x, 1)
        assert raw.shape == (2, size, size)
        close(raw.sum((1, 2)), c(x)[:, 1], 1e-6)


def test_dead_scores_give_an_empty_map() -> None:
    net = vgg_like(bias=True)
    for p in net[-1].parameters():
        p.data.zero_()
    saliency = ll.method("lrp").run(ll.Classifier(net, size=16), torch.rand(2, 3, 16, 16).double(), 1)
    assert not saliency.raw.any()
    assert saliency.degenerate.all()


def test_windows_of_a_maximum_as_an_average() -> None:
    """Relevance over the whole window in proportion, also of zeros."""
    net = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3, 1, bias=False)).double()
    net[-1].weight.data.fill_(1.0)
    x = torch.tensor([[[[1.0, 3], [0, 0]]] + [[[0.0, 0], [0, 0]]] * 2]).double().view(1, 3, 2, 2)
    tape = Tape(ll.Classifier(net, size=2), x)
    rules = Rules({"affine": Epsilon(0.0), "max_pool": Proportional(0.0)})
    found = tape.to_image(rules, tape.logits, torch.tensor([[4.0]]).double())
    close(found[0, 0], torch.tensor([[1.0, 3], [0, 0]]).double())
    close(found[0, 1:], 0.0)
    assert F.relu(x).equal(x)


def test_the_gamma_that_is_asked_for_counts() -> None:
    """Also in the tutorial's way, whose own is the classic one."""
    c, x = ll.Classifier(architectures.build("residual").double()), architectures.images(1).double()

    def found(**options: Any) -> Tensor:
        return ll.method("lrp-comp", **options).run(c, x, 1).raw

    tutorial = found(tutorial=True)
    assert torch.equal(tutorial, found(tutorial=True, gamma="classic"))
    assert not torch.allclose(tutorial, found(tutorial=True, gamma="generalised"))
    assert torch.equal(found(), found(gamma="generalised"))
