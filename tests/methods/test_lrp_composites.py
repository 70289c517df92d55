"""Tables of rules: that of the overview chapter, rules of one's own within a table, and overrides by name."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

import architectures
import limelight as ll
from conftest import npz, shared
from limelight.relevance.composites import Average, rules_of
from limelight.relevance.op import Op
from limelight.relevance.recording import Recording
from limelight.rules import AlphaBeta, Box, Epsilon, Gamma, Rule, native, rule_of
from methods.goldens import CifarResNet, images
from methods.relevance_networks import close, deviation, vgg_like

ANY = (torch.full((3, 1, 1), -3.0).double(), torch.full((3, 1, 1), 3.0).double())


def test_comp_without_gamma_and_epsilon_is_input_times_gradient() -> None:
    net, x = vgg_like(), torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)).double()
    rules = {"first": "z", "shallow": Gamma(0.0, 0.0, classic=True), "conv": "z", "linear": "z", "max_pool": native}
    ours = ll.method("lrp", composite="comp", rules=rules, init="logit").raw(ll.Classifier(net, size=16), x, 2)
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(net(leaf)[:, 2].sum(), leaf)
    close(ours / ours.abs().max(), (x * slope).sum(1) / ours.abs().max(), 1e-10)


def test_comp_assigns_the_rules_of_the_tutorial_to_vgg16() -> None:
    cfg: list[str | int] = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"]
    thin = [v if isinstance(v, str) else v // 16 for v in cfg]
    net = nn.Sequential()
    net.features = torchvision.models.vgg.make_layers(thin)
    net.classifier = nn.Sequential(nn.Flatten(), nn.Linear(32 * 4, 8), nn.ReLU(), nn.Linear(8, 3))
    recording = Recording(ll.Classifier(net.eval(), size=64), torch.rand(1, 3, 64, 64))
    table = rules_of("comp", ANY)
    found = {op.owner: table.find(op)[1] for op in recording.ops if op.affine or op.kind == "max_pool"}
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
    ours = ll.method("lrp-comp", tutorial=True, init="logit").raw(c, x, 1)
    theirs = tutorial(net, x, torch.zeros(1).double(), torch.ones(1).double(), 1)
    assert deviation(ours, theirs) < 1e-6
    # No relevance comes to outputs below 0 where a ReLU follows: there both forms of the stabiliser and of gamma agree.
    assert deviation(ll.method("lrp-comp", init="logit").raw(c, x, 1), theirs) < 1e-6
    assert deviation(ll.method("lrp-comp", gamma="classic", init="logit").raw(c, x, 1), theirs) < 1e-6


def test_comp_and_the_tutorial_part_where_outputs_are_below_0() -> None:
    net = vgg_like(bias=True)
    net[10] = nn.Tanh()
    c, x = ll.Classifier(net, size=16), torch.rand(1, 3, 16, 16).double()
    ours, theirs = (ll.method("lrp-comp", tutorial=t).raw(c, x, 1) for t in (False, True))
    assert deviation(ours, theirs) > 1e-2


def test_comp_keeps_the_classic_gamma_by_name() -> None:
    c, x = ll.Classifier(architectures.build("residual").double()), architectures.images(2).double()
    classic = ll.method("lrp-comp", gamma="classic").raw(c, x)
    assert not torch.allclose(classic, ll.method("lrp-comp").raw(c, x))
    assert torch.equal(classic, ll.method("lrp", composite="comp-classic").raw(c, x))
    assert rule_of("classic-gamma(0.5)") == Gamma(0.5, classic=True)


@pytest.mark.parametrize("depth", [20, pytest.param(56, marks=pytest.mark.slow)])
def test_comp_on_trained_residual_networks(depth: int) -> None:
    """The classic form makes up to 5e6 times of the score there, the generalised one absorbs as it should."""
    from safetensors.torch import load_file

    net = CifarResNet((depth - 2) // 6)
    net.load_state_dict(load_file(shared("data", f"cifar10_resnet{depth}.safetensors")))
    c, x = ll.Classifier(net.eval(), size=32), images(npz("data", "cifar10_test200.npz")["images"][:4])
    generalised, classic = (ll.method("lrp-comp", gamma=g).run(c, x) for g in ("generalised", "classic"))
    assert (generalised.raw.abs().sum((1, 2)) < 3 * generalised.score).all()
    assert classic.raw.sum((1, 2)).abs().max() > 1e3 * classic.score.max()


def test_presets_are_composites() -> None:
    c, x = ll.Classifier(architectures.build("residual").double()), architectures.images(2).double()
    for name, composite in {
        "lrp-epsilon-plus": "epsilon-plus",
        "lrp-alpha2-beta1": "alpha2-beta1",
        "lrp-comp": "comp",
    }.items():
        assert torch.equal(ll.method(name).raw(c, x), ll.method("lrp", composite=composite).raw(c, x))


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
    plain = ll.method("lrp", composite=composite).raw(c, x, 1)
    for place, rule in rules_of(composite, c.bounds).table.items():
        close(ll.method("lrp", composite=composite, rules={place: rule}).raw(c, x, 1), plain)


def test_overrides_by_name_of_the_module() -> None:
    c, x = ll.Classifier(architectures.build("residual").double()), architectures.images(1).double()
    seen: list[str] = []

    def spy(op: Op, r: Tensor) -> Tensor:
        seen.append(op.owner)
        return Epsilon()(op, r)

    plain = ll.method("lrp", init="one").raw(c, x, 1)
    by_glob = ll.method("lrp", overrides={"layer1.*": spy, "fc": spy}, init="one").raw(c, x, 1)
    assert sorted(seen) == ["fc", "layer1.conv1", "layer1.conv2", "layer1.skip"]
    assert not torch.allclose(plain, by_glob)
    named = ll.method("lrp", overrides={"layer1.*": "epsilon(1e-6)"}, init="one").raw(c, x, 1)
    close(by_glob, named)


def test_the_first_pattern_that_fits_counts() -> None:
    c, x = ll.Classifier(architectures.build("plain").double()), architectures.images(1).double()
    one = ll.method("lrp", overrides={"features.0": "flat", "features.*": "gamma(0.1)"}).raw(c, x, 1)
    other = ll.method("lrp", overrides={"features.*": "gamma(0.1)", "features.0": "flat"}).raw(c, x, 1)
    same = ll.method("lrp", rules={"conv": "gamma(0.1)"}).raw(c, x, 1)
    close(other, same)
    assert not torch.allclose(one, other)


def test_the_gamma_that_is_asked_for_counts() -> None:
    """Also in the tutorial's way, whose own is the classic one."""
    c, x = ll.Classifier(architectures.build("residual").double()), architectures.images(1).double()

    def found(**options: Any) -> Tensor:
        return ll.method("lrp-comp", **options).run(c, x, 1).raw

    tutorial = found(tutorial=True)
    assert torch.equal(tutorial, found(tutorial=True, gamma="classic"))
    assert not torch.allclose(tutorial, found(tutorial=True, gamma="generalised"))
    assert torch.equal(found(), found(gamma="generalised"))
