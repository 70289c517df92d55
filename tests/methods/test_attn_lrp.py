"""AttnLRP and CP-LRP against their authors' code, and the account of where relevance goes."""

import warnings
from functools import cache
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

import limelight as ll
from conftest import npz, script, shared
from limelight.errors import InvalidOption
from limelight.relevance.attention_rules import SignedGamma
from limelight.relevance.audit import read_batch
from limelight.relevance.conservation import Conservation
from limelight.relevance.recording import Recording
from limelight.rules import Gamma
from methods.goldens import golden
from methods.relevance_networks import deviation

EPSILON: dict[str, Any] = {"gamma_conv": 0.0, "gamma_linear": 0.0}


@cache
def tinyvit(dtype: torch.dtype = torch.float32, fused: bool = True) -> tuple[ll.Classifier, Tensor, Any]:
    """The trained transformer, its pictures, and their classes."""
    models, inputs = script(shared("golden", "models_vit.py")), npz("golden", "inputs_vit.npz")
    net = models.set_fused(models.load("tinyvit", shared("golden", "models_vit.npz"), dtype), fused)
    return ll.Classifier(net, size=64), models.preprocess(inputs["u8"], dtype), inputs


GOLDENS = {
    "attnlrp_explicit": ("target", {**EPSILON, "form": "explicit"}, 1e-4),  # divides by small numbers
    "attnlrp_efficient": ("target", EPSILON, 1e-5),
    "attnlrp_gamma": ("conv0.25_linear0.05", {}, 1e-5),
    "cp_lrp": ("target", {**EPSILON, "attention": "constant"}, 1e-5),
    "cp_lrp_gamma": ("conv100_linear1", {"attention": "constant", "gamma_conv": 100.0, "gamma_linear": 1.0}, 1e-5),
}


@pytest.mark.parametrize("name", GOLDENS)
def test_authors_code(name: str) -> None:
    """Pixels, and the tokens of the patch embedding before positions are added."""
    which, options, tolerance = GOLDENS[name]
    c, x, inputs = tinyvit(fused=name != "attnlrp_efficient")
    _, arrays = golden(f"vit-{name}-tinyvit")
    for layer, theirs in ((None, arrays[f"pixels_{which}"].sum(1)), ("patch_embed.proj", arrays[f"tokens_{which}"])):
        n = 1 if name == "attnlrp_gamma" else min(2, len(theirs))
        ours = ll.method("attn-lrp", layer=layer, **options).raw(c, x[:n], torch.from_numpy(inputs["target"][:n]))
        assert deviation(ours, theirs[:n]) < tolerance


def test_published_recipe_for_torchvision() -> None:
    """Its hooks don't reach the projections of attention, which keep the epsilon-rule."""
    c, x, inputs = tinyvit()
    theirs = golden("vit-lxt_torchvision-tinyvit")[1]["pixels_conv0.25_linear0.05"].sum(1)
    for recipe in (
        ll.method("attn-lrp", profile="lxt"),
        ll.method("lrp", composite="cp-lrp", init="logit", overrides={"*.attn.*": "z"}),
    ):
        ours = recipe.raw(c, x[:1], torch.from_numpy(inputs["target"][:1]))
        assert deviation(ours, theirs[:1]) < 1e-5


def accounts(c: ll.Classifier, x: Tensor, target: Any, **options: Any) -> list[Conservation]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a network with random weights may leave little of the score
        return read_batch(ll.method("attn-lrp", **options).run(c, x, target).details)


def test_what_each_kind_of_operation_takes() -> None:
    c, x, inputs = tinyvit(torch.float64)
    theirs = golden("vit-attnlrp_explicit-tinyvit")[1]["own_absorbed_target"]
    found = accounts(c, x, torch.from_numpy(inputs["target"]), **EPSILON, form="explicit")
    for account, (linear, norm, softmax, matmul, add, parameters, conv) in zip(found, theirs, strict=True):
        gone = dict.fromkeys(("linear", "layer_norm", "conv2d", "matmul"), 0.0)
        for name, before, after in zip(account.operations, account.incoming, account.outgoing, strict=True):
            gone[name.split()[0]] = gone.get(name.split()[0], 0.0) + before - after
        size = account.size
        assert [gone[k] / size for k in ("linear", "layer_norm", "conv2d", "matmul")] == pytest.approx(
            [linear / size, norm / size, conv / size, matmul / size], abs=1e-6
        )
        assert account.softmax / size == pytest.approx(softmax / size, abs=1e-6)
        assert account.constants / size == pytest.approx((add + parameters) / size, abs=1e-6)


def seeded(name: str) -> ll.Classifier:
    """A small transformer with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if name == "vit":
            net: Any = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5)
            nn.init.normal_(net.heads[0].weight)
        else:
            net = torchvision.models.SwinTransformer([4, 4], 12, [2, 2], [1, 2], [2, 2], num_classes=5)
    return ll.Classifier(net.double().eval(), size=32)


@pytest.mark.parametrize("attention", ["attn-lrp", "constant"])
@pytest.mark.parametrize("name", ["tinyvit", "demo", "vit", "swin"])
def test_account_adds_up(name: str, attention: str) -> None:
    """Without stabilisers: what came to an operation left it or went into its bias, a constant, or the softmax."""
    if name == "tinyvit":
        c, x = tinyvit(torch.float64)[:2]
        x = x[:1]
    elif name == "demo":
        demo = ll.load("demo/vit")
        c, x = ll.Classifier(demo.module.double(), size=128), demo.preprocess(ll.example_image())[None].double()
    else:
        c, x = seeded(name), torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)).double()
    for a in accounts(c, x, 1, **EPSILON, attention=attention):
        assert abs(a.at_start - a.at_end - a.biases - a.constants - a.softmax) < 1e-5 * a.size
        taken = zip(a.incoming, a.outgoing, a.into_biases, a.into_constants, a.into_softmax, strict=True)
        assert max(abs(i - o - sum(rest)) for i, o, *rest in taken) < 1e-5 * a.size
        assert abs(a.softmax) > 0.01 * a.size or attention == "constant"
        assert a.softmax == 0 or attention == "attn-lrp"


def test_gamma_in_two_passes_is_gamma() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 5)).double()
    recording = Recording(ll.Classifier(net, size=6), torch.randn(2, 3, 6, 6).double())
    for op in (op for op in recording.ops if op.affine):
        r = torch.randn_like(op.y)
        for g in (0.0, 0.25, 100.0):
            torch.testing.assert_close(SignedGamma(g)(op, r), Gamma(g)(op, r))
    with pytest.raises(InvalidOption, match="gamma = -1 is below 0"):
        ll.method("attn-lrp", gamma_linear=-1.0).run(ll.Classifier(net, size=6), torch.randn(1, 3, 6, 6).double(), 1)


def test_lrp_takes_these_rules_where_there_is_attention() -> None:
    c, x = seeded("vit"), torch.randn(1, 3, 32, 32).double()
    methods = [ll.method("attn-lrp"), ll.method("lrp", init="logit"), ll.method("lrp", composite="epsilon-plus")]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        ours, lrp, other = ll.explain(c, x, methods, 1)[0]
    assert any("lrp: no rule for multi_head_attention_forward (2x)" in str(w.message) for w in said)
    assert lrp.raw.equal(ours.raw)
    assert "The network has attention" in lrp.notes[0]
    assert not any("no rule" in note for note in lrp.notes)
    assert not any("has attention" in note for note in other.notes)
