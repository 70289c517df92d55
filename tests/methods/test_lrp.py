"""LRP: published numbers, outputs of zennit, captum and authors' code, conservation, and where it stops."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

import architectures
import limelight as ll
from limelight.errors import InvalidOption
from limelight.maps.propagation.lrp import Composite
from limelight.relevance.op import Op, divide_by
from limelight.rules import AlphaBeta, Box, Epsilon, Proportional
from methods import golden_network
from methods.goldens import TINY, classifier, golden, inputs
from methods.relevance_networks import close, deviation, vgg_like

NETWORKS = ("plain", "residual", "dense", "inception", "depthwise")


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
    raw = ll.method(name, **options).raw(c, x, golden_network.TARGET)
    close(raw[0], golden_network.rows(*row), 1e-9)


def test_gamma_box_written_out() -> None:
    c, x = golden_network.classifier(), golden_network.image()
    rules = {"first": "z-box", "conv": "gamma(0.25)", "linear": "epsilon(1e-6)"}
    raw = ll.method("lrp", rules=rules).raw(c, x, golden_network.TARGET)
    close(raw[0], golden_network.rows("lrp", "EpsilonGammaBox box=[-0.5;0.7]"), 1e-9)


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
    assert deviation(method.raw(classifier(model), x, target), raw) < (1e-5 if model == "tinyvgg" else 3e-4)
    assert deviation(method.raw(ll.Classifier(merged(classifier(model).module)), x, target), raw) < 1e-5


@pytest.mark.parametrize("theirs", ["epsilonplus", "epsilongammabox"])
def test_zennit_on_squeezenet(theirs: str) -> None:
    _, arrays = golden(f"zennit-{theirs}-squeezenet")
    target = torch.from_numpy(arrays["target"])
    method = ll.method("lrp", composite=ZENNIT[theirs], init="one")
    raw = method.raw(classifier("squeezenet"), inputs("squeezenet")[:1], target)
    assert deviation(raw[..., ::2, ::2], arrays["relevance_stride2"].sum(1)) < 1e-5
    assert deviation(raw.sum(), arrays["sum_of_relevance"].sum()) < 1e-4


@pytest.mark.parametrize("model", TINY)
def test_zennit_excitation(model: str) -> None:
    """Its composite of that name is z-plus everywhere, with biases in the denominators."""
    _, arrays = golden(f"zennit-excitationbackprop-{model}")
    raw, target = arrays["relevance"].sum(1), torch.from_numpy(arrays["target"])
    c = ll.Classifier(merged(classifier(model).module))
    rules = {"affine": "z-plus", "scale": "gradient"}
    ours = ll.method("lrp", rules=rules, init="one").raw(c, inputs(model)[: len(raw)], target)
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
        ours = ll.method("lrp", composite=ZENNIT[theirs], init="one").raw(c, x[:1], target)
        assert deviation(ours, arrays[f"zennit_{theirs}"].sum(1)) < 1e-4


def test_captum() -> None:
    _, arrays = golden("captum-lrp-tinyvgg")
    raw, target = arrays["attr"].sum(1), torch.from_numpy(arrays["target"])
    method = ll.method("lrp", rules={"affine": "epsilon(1e-9)", "avg_pool": "proportional(1e-9)"}, init="logit")
    ours = method.raw(classifier("tinyvgg"), inputs("tinyvgg")[: len(raw)], target)
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
    ours = ll.method("lrp", rules={"affine": "epsilon(1e-9)"}, init="logit").raw(ll.Classifier(net, size=16), x, 1)
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
    ours = ll.method("lrp", rules=rules, init="logit").raw(classifier(model), inputs(model)[: len(raw)], target)
    assert deviation(ours, raw) < tolerance


@pytest.mark.parametrize("method", ["lrp", "lrp-alpha2-beta1", "lrp-comp"])
@pytest.mark.parametrize("architecture", NETWORKS)
def test_what_comes_out_is_what_went_in_less_what_was_absorbed(method: str, architecture: str) -> None:
    c, x = ll.Classifier(architectures.build(architecture).double()), architectures.images(2).double()
    saliency = ll.method(method).run(c, x, 1)
    d = saliency.details
    torch.testing.assert_close(d["relevance_at_start"], c(x)[:, 1].abs())
    torch.testing.assert_close(d["relevance_at_end"], saliency.raw.sum((1, 2)))
    lost = (d["relevance_incoming"] - d["relevance_outgoing"]).sum(1)
    torch.testing.assert_close(d["relevance_at_start"] - d["relevance_at_end"], lost)


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
    dead = (d["relevance_incoming"] - d["relevance_outgoing"]).abs().amax(0) > 1e-9
    assert all("conv2d" in d["relevance_operations"][i] for i in dead.nonzero()[:, 0])
    if architecture in ("plain", "dense"):
        assert not dead.any()
        torch.testing.assert_close(saliency.raw.sum((1, 2)), c(x)[:, 1].abs())


def test_init() -> None:
    """All rules are linear in relevance."""
    c, x = ll.Classifier(vgg_like(bias=True), size=16), torch.rand(4, 3, 16, 16).double()
    scores = c(x)[:, 1]
    absolute, logit, one = (ll.method("lrp", init=i).raw(c, x, 1) for i in ("absolute", "logit", "one"))
    close(logit, one * scores[:, None, None])
    close(absolute, one * scores.abs()[:, None, None])


def test_own_rule_and_table_in_five_lines() -> None:
    def z_plus(op: Op, r: Tensor) -> Tensor:
        up = op.x.clamp_min(0)
        return up * op.back(divide_by(r, op.forward(up, "positive")), "positive")

    c, x = ll.Classifier(vgg_like(bias=True), size=16), torch.rand(2, 3, 16, 16).double()
    ours = ll.method("lrp", rules={"conv": z_plus, "linear": "z"}).raw(c, x, 1)
    shipped = {"conv": AlphaBeta(e=0.0, bias="exclude"), "linear": Epsilon(0.0)}
    close(ours, ll.method("lrp", rules=shipped).raw(c, x, 1))


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
        ({"rules": {"conv": "flat(1, 2, 3)"}}, "the numbers of flat are e"),
        ({"rules": {"conv": "epsilon(1, 2, 3)"}}, "the numbers of epsilon are e, rms"),
        ({"rules": {"first": "z-box(1)"}}, "the numbers of z-box are low, high"),
        ({"rules": {"conv": "keep(1)"}}, "the numbers of keep are none"),
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


def test_relevance_of_a_layer() -> None:
    c, x = ll.Classifier(vgg_like(), size=16), torch.rand(2, 3, 16, 16).double()
    rules = {"affine": "z", "max_pool": "gradient"}
    for layer, size in (("2", 8), ("5", 4), ("9", 2)):
        raw = ll.method("lrp", rules=rules, init="logit", layer=layer).raw(c, x, 1)
        assert raw.shape == (2, size, size)
        close(raw.sum((1, 2)), c(x)[:, 1], 1e-6)


def test_dead_scores_give_an_empty_map() -> None:
    net = vgg_like(bias=True)
    for p in net[-1].parameters():
        p.data.zero_()
    saliency = ll.method("lrp").run(ll.Classifier(net, size=16), torch.rand(2, 3, 16, 16).double(), 1)
    assert not saliency.raw.any()
    assert saliency.degenerate.all()
