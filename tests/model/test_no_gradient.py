"""Where no gradient passes: the reason that is given is the true one, and what can work without a gradient does."""

import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import limelight as ll
from limelight import errors
from limelight.card import METHODS
from limelight.model.boundary import NEEDS_GRADIENTS
from model.odd_networks import SIZE, Odd, body, pictures, try_every_method, without_gradients
from quick import quick


class NoWayBack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        return x.clone()


@torch.inference_mode()
def in_inference_mode(f: nn.Sequential, x: Tensor) -> Tensor:
    return f(x)


def inference_weights() -> nn.Module:
    with torch.inference_mode():
        return body()


def quantised() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this way to quantise is on its way out
        return torch.ao.quantization.quantize_dynamic(body(), {nn.Linear}, dtype=torch.qint8)


CUTS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "no_grad": (lambda: Odd(without_gradients), r"no_grad\(\)"),
    "detach": (lambda: Odd(lambda f, x: f[4:](f[:4](x).detach())), "own forward cuts it"),
    "numpy": (lambda: Odd(lambda f, x: torch.from_numpy(f(x).detach().numpy())), "own forward cuts it"),
    "inference_mode": (lambda: Odd(in_inference_mode), r"inference_mode\(\)"),
    "reentrant": (lambda: Odd(lambda f, x: f[4:](checkpoint(f[:4], x, use_reentrant=True))), "checkpoint"),
    "function": (lambda: Odd(lambda f, x: f[4:](NoWayBack.apply(f[:4](x)))), "derivative"),
    "inference weights": (inference_weights, r"inference_mode\(\)"),
    "int8": (quantised, "quantised"),
}
"""Networks through which no gradient passes, with what the reason has to name."""


@pytest.fixture(scope="module")
def expected() -> dict[str, Tensor]:
    c, x = ll.Classifier(body(), size=SIZE), pictures()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: quick(name).run(c, x, 1).raw for name, card in ll.methods().items() if not card.tokens_only}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", CUTS)
def test_where_no_gradient_passes_the_reason_is_true(kind: str, expected: dict[str, Tensor]) -> None:
    make, reason = CUTS[kind]
    for name, found in try_every_method(make(), pictures()).items():
        if isinstance(found, errors.LimelightError):
            assert isinstance(found, errors.UnsupportedModel), (name, found)
            assert name in str(found)
            needs = set(METHODS.find(name).needs)
            if needs & NEEDS_GRADIENTS and "hides" not in str(found):  # calls that no recorder sees
                assert re.search(reason, str(found)), (name, str(found))
        elif kind != "int8":  # which rounds
            torch.testing.assert_close(found.raw, expected[name], rtol=1e-3, atol=1e-5, msg=name)
        else:
            assert found.raw.any() or "no positive evidence" not in "".join(found.reasons), name


def test_what_runs_only_without_gradients_is_explained_without() -> None:
    hooked = body()
    hooked[1] = nn.ReLU(inplace=True)
    hooked[0].register_full_backward_hook(lambda *_: None)
    own = Odd(lambda f, x: (f[0].weight.clamp_(-9, 9), f(x))[1])
    for net, words in ((hooked, "full backward hooks"), (own, "overwrites its own weights")):
        for name in ("rise", "score-cam", "grad-cam"):
            found, wanted = (quick(name).run(ll.Classifier(n, size=SIZE), pictures(), 1).raw for n in (net, body()))
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
        with pytest.raises(errors.ModelFailed, match=words):
            ll.method("gradient").run(ll.Classifier(net, size=SIZE), pictures(), 1)


DEAF: dict[str, Callable[[Tensor], Tensor]] = {
    "detach": lambda y: y.detach()[:, 1],
    "argmax": lambda y: y.argmax(1).float(),
    "item": lambda y: torch.tensor([row[1].item() for row in y]),
    "head": lambda y: (y.detach() * torch.ones(4, requires_grad=True)).sum(1),
}


@pytest.mark.parametrize("kind", DEAF)
def test_a_target_function_that_cuts_the_gradient_is_named(kind: str) -> None:
    c, x, target = ll.Classifier(body(), size=SIZE), pictures(), DEAF[kind]
    for name in ("grad-cam", "gradient", "integrated-gradients", "deeplift", "smooth-grad-cam++", "emp"):
        with pytest.raises(errors.UnsupportedModel, match=f"{re.escape(name)}: .*through the target function"):
            quick(name).run(c, x, target)
    for name in ("rise", "score-cam"):
        assert quick(name).run(c, x, target).raw.shape[0] == 2


def test_a_target_function_may_read_what_the_network_kept_on_its_way() -> None:
    net, kept = body(), {}
    net[2].register_forward_hook(lambda _m, _args, output: kept.update(output=output))
    c, x = ll.Classifier(net, size=SIZE), pictures()
    for name in ("grad-cam", "gradient", "integrated-gradients"):
        method = quick(name, layer="0") if name == "grad-cam" else quick(name)
        assert method.run(c, x, lambda _: kept["output"].square().sum((1, 2, 3))).raw.any()


class Within(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, f: nn.Module) -> Tensor:  # type: ignore[override]
        ctx.shape = x.shape
        return f(x)

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> Any:  # type: ignore[override]
        return torch.ones(ctx.shape), None


class GivesNone(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        return x * 2

    @staticmethod
    def backward(_ctx: Any, _: Tensor) -> None:  # type: ignore[override]
        return None


@pytest.mark.filterwarnings("ignore:None of the inputs")
@pytest.mark.parametrize(
    ("way", "layer", "words"),
    [
        (lambda f, x: f[2:](checkpoint(f[:2], x, use_reentrant=True)), "f.0", "'f.0' .*re-entrant checkpoint"),
        (lambda f, x: f[4:](checkpoint(f[:4], x, use_reentrant=True)), "f.2", "'f.2'.*re-entrant checkpoint"),
        (lambda f, x: f[2:](checkpoint(f[:2], x, use_reentrant=True)), ("f.0", "f.2"), "'f.0'.*re-entrant checkpoint"),
        (lambda f, x: f[4:](Within.apply(x, f[:4])), "f.0", "'f.0'.*lies within Within, a function"),
        (lambda f, x: f[1:](GivesNone.apply(f[0](x))), "f.0", "GivesNone, a function .* gives none to layer 'f.0'"),
    ],
)
def test_why_no_gradient_reaches_a_layer_is_told_apart(way: Any, layer: Any, words: str) -> None:
    c, x = ll.Classifier(Odd(way), size=SIZE), pictures()
    method = ll.method("layer-cam", layer=layer)
    with pytest.raises(errors.UnsupportedModel, match=words) as caught:
        method.run(c, x, 1)
    assert "no_grad" not in str(caught.value)


def test_a_layer_on_which_the_score_does_not_depend() -> None:
    net = Odd(lambda f, x: (net.beside(x), f(x))[1])
    net.beside = nn.Conv2d(3, 3, 3)
    with pytest.raises(errors.UnsupportedModel, match="the score does not depend on layer 'beside'"):
        ll.method("grad-cam", layer="beside").run(ll.Classifier(net, size=SIZE), pictures(), 1)


@pytest.mark.filterwarnings("ignore")
def test_methods_that_need_no_gradient_are_those_that_work_without() -> None:
    c, x = ll.Classifier(Odd(without_gradients), size=SIZE), pictures()
    with pytest.raises(errors.UnsupportedModel) as caught:
        ll.method("gradient").run(c, x, 1)
    named = str(caught.value).rpartition("need none: ")[2].split(", ")
    work = [name for name, found in try_every_method(c.module, x).items() if not isinstance(found, Exception)]
    assert "sc-sm-cam" in named
    assert {*named} <= {*work}, {*named} - {*work}
    assert {n for n in work if not {*NEEDS_GRADIENTS, "base_map"} & {*METHODS.find(n).needs}} <= {*named}
