"""Networks that misbehave: every method gives what it gives for a well-behaved twin, or one of our errors with a true
reason, and leaves module and pictures as they were."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import limelight as ll
from limelight import errors
from model.odd_networks import SIZE, Mine, Odd, body, pictures, raising, random_maps, try_every_method
from quick import quick


def subtracting(f: nn.Sequential, x: Tensor) -> Tensor:
    x -= 0.5
    return f(x)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", [subtracting, lambda f, x: f(F.relu(x, inplace=True))], ids=["x -= 0.5", "relu_"])
def test_a_network_may_overwrite_its_input(way: Callable[[nn.Sequential, Tensor], Tensor]) -> None:
    twin = ll.Classifier(Odd(lambda f, x: way(f, x.clone())), size=SIZE)
    x = pictures()
    for name, found in try_every_method(Odd(way), x).items():
        assert not isinstance(found, Exception), (name, found)
        wanted = quick(name).run(twin, x, 1).raw
        torch.testing.assert_close(found.raw, wanted, rtol=1e-3, atol=1e-5, msg=name)
    maps, method, given = random_maps(2), ll.method("grad-cam"), x.clone()
    truth = maps > 0.5
    for name in ("deletion", "insertion", "average-drop", "adcc", "road", "morf", "coherency"):
        metric = ll.metric(name)
        found, wanted = (
            metric(c, x, [1, 2], maps, method=method, truth=truth) for c in (ll.Classifier(Odd(way), size=SIZE), twin)
        )
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5, msg=name)
        assert torch.equal(x, given), name
    rowwise = Odd(lambda f, x: way(f, x.view(len(x), -1).view_as(x)))  # in no other layout, which would be a copy
    faster = ll.Classifier(rowwise, size=SIZE, fuse=True)
    found, wanted = (ll.method("rise", n_masks=8).run(c, x, 1).raw for c in (faster, twin))
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5)
    faster = ll.Classifier(rowwise, size=SIZE, fuse=True)
    faster.trace(x)
    torch.testing.assert_close(faster.forward(x, watched=False), twin(x), rtol=1e-3, atol=1e-5)
    assert torch.equal(x, given)


def test_what_a_network_raises_is_said() -> None:
    x = pictures()
    fixed = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
    for net, words in (
        (fixed, r"Sequential failed with images of shape \(1, 3, 24, 24\).*size.*RuntimeError: mat1 and mat2"),
        (raising(KeyError("boom")), "KeyError: 'boom'"),
        (
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(5, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            "channels.*expected input",
        ),
        (raising(StopIteration()), "StopIteration"),  # as next() raises, and a generator must not
    ):
        for name in ("grad-cam", "lrp", "rise"):
            with pytest.raises(errors.ModelFailed, match=words) as caught:
                ll.method(name).run(ll.Classifier(net, size=SIZE), x)
            assert (caught.value.__cause__ is None) == (words == "StopIteration")
    for own in (Mine("wait for me"), ConnectionError("lost")):
        with pytest.raises(type(own), match=str(own)) as caught_own:
            ll.method("grad-cam").run(ll.Classifier(raising(own), size=SIZE), x)
        assert any("Odd" in note for note in caught_own.value.__notes__)


class FailsBack(torch.autograd.Function):
    error: Exception

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        raise FailsBack.error


@pytest.mark.parametrize("name", ["grad-cam", "gradient", "integrated-gradients"])
def test_what_a_network_raises_on_the_way_back_is_said(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    c = ll.Classifier(Odd(lambda f, x: FailsBack.apply(f(x))), size=SIZE)
    for error in (ValueError("odd"), KeyError("odd"), ZeroDivisionError("odd"), RuntimeError("odd")):
        monkeypatch.setattr(FailsBack, "error", error, raising=False)
        with pytest.raises(errors.UnsupportedModel, match=r"through Odd.*odd.*need none: ") as caught:
            quick(name).run(c, pictures(), 1)
        assert caught.value.__cause__ is error
    monkeypatch.setattr(FailsBack, "error", StopIteration("odd"), raising=False)
    with pytest.raises(errors.UnsupportedModel, match=r"through Odd.*odd"):
        quick(name).run(c, pictures(), 1)
    for own in (Mine("wait for me"), ConnectionError("lost")):
        monkeypatch.setattr(FailsBack, "error", own, raising=False)
        with pytest.raises(type(own), match=str(own)) as caught_own:
            quick(name).run(c, pictures(), 1)
        assert any("on the way back through Odd" in note for note in caught_own.value.__notes__)


@pytest.mark.parametrize("error", [KeyError, MemoryError, Mine, torch.OutOfMemoryError, errors.NonFinite])
@pytest.mark.parametrize("back", [False, True])
def test_a_pass_that_failed_holds_no_memory(error: type[Exception], back: bool) -> None:
    """Activations are free as soon as the error is dealt with, for the next try may need their place."""
    made: list[weakref.ref[Tensor]] = []
    broken = False

    class Held(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
            return x.clone()

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
            made.append(weakref.ref(held := g + 1))
            raise error("failed")
            return held

    def way(f: nn.Sequential, x: Tensor) -> Tensor:
        y = f[:2](x)
        if broken and back:
            return f[2:](Held.apply(y))
        if broken:
            made.append(weakref.ref(y))
            raise error("failed")
        return f[2:](y)

    c, method = ll.Classifier(Odd(way), size=SIZE), ll.method("gradient")
    method.run(c, pictures(), 1)
    broken = True
    gc.collect()
    gc.disable()
    try:
        with pytest.raises((errors.LimelightError, Mine)):
            method.run(c, pictures(), 1)
        assert made
        assert not [r for r in made if r() is not None]
    finally:
        gc.enable()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("script", [torch.jit.script, lambda net: torch.jit.trace(net, pictures(1))])
def test_scripted_networks_are_black_boxes(script: Callable[[nn.Module], nn.Module]) -> None:
    plain, x = ll.Classifier(body(), size=SIZE), pictures()
    for name, found in try_every_method(script(body()), x).items():
        if isinstance(found, Exception):
            assert name in str(found)
            assert "a scripted module" in str(found) or "pooled" in str(found), (name, str(found))
            assert name not in ("rise", "occlusion", "lime", "random-map", "centre-map")
        else:
            wanted = quick(name).run(plain, x, 1).raw
            torch.testing.assert_close(found.raw, wanted, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_method_has_maps_in_half_precision(dtype: torch.dtype) -> None:
    for name, found in try_every_method(body().to(dtype), pictures().to(dtype)).items():
        assert isinstance(found, ll.Saliency), (name, found)
        assert torch.isfinite(found.map).all(), name
        assert bool(found.map.any()) or found.degenerate.all(), name


HIDDEN: dict[str, Callable[[], nn.Module]] = {
    "a scripted module": lambda: torch.jit.trace(body().eval(), pictures()),
    "an exported module": lambda: torch.export.export(body(), (pictures(1),)).module(),
    "a quantised module": lambda: statically_quantised(),
}


def statically_quantised() -> nn.Module:
    quantisation = torch.ao.quantization
    net = nn.Sequential(quantisation.QuantStub(), *body(), quantisation.DeQuantStub()).eval()
    net.qconfig = quantisation.get_default_qconfig()  # type: ignore[assignment]
    quantisation.prepare(net, inplace=True)
    net(pictures())
    return quantisation.convert(net)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", HIDDEN)
def test_layers_that_nobody_can_see_are_called_that(kind: str) -> None:
    c, x = ll.Classifier(HIDDEN[kind](), size=SIZE), pictures()
    for name in ("grad-cam", "score-cam", "layer-cam", "rsp"):
        with pytest.raises(errors.UnsupportedModel, match=f"{name}: .*its layers can't be seen .*{kind}"):
            ll.method(name).run(c, x, 1)
    layer = next(name for name, _ in c.module.named_modules() if name)
    with pytest.raises(errors.UnknownLayer, match=f"can't be seen .*{kind}"):
        ll.method("grad-cam", layer=layer).run(c, x, 1)
    assert quick("rise").run(c, x, 1).raw.any()


def test_gradient_of_one_image_through_a_normalisation_in_front_of_tokens() -> None:
    """PyTorch itself reads a gradient that lies transposed in memory in the wrong order."""
    torch.manual_seed(0)
    norm, head = nn.BatchNorm2d(3).eval(), nn.Linear(6, 2)
    nn.init.normal_(norm.weight)

    def way(f: nn.Sequential, x: Tensor) -> Tensor:
        tokens = norm(x).flatten(2).transpose(1, 2)
        return head(torch.cat([tokens, tokens * tokens], 2)).mean(1)

    x, by = torch.randn(1, 3, 4, 4), norm.weight.detach() / (1 + norm.eps) ** 0.5
    a, b = (w.detach()[:, None, None] for w in head.weight[1].split(3))
    by = by[:, None, None]
    found = ll.method("input-x-gradient").raw(ll.Classifier(Odd(way).eval(), size=4), x, 1)
    torch.testing.assert_close(found, (x * by * (a + 2 * b * x * by) / 16).sum(1))
