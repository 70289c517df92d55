"""Networks that misbehave: every method gives what it gives for a well-behaved twin, or one of our errors with a true
reason, and leaves module and pictures as they were."""

import copy
import gc
import pickle
import re
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import architectures
import limelight as ll
from limelight import errors
from limelight.card import METHODS
from limelight.model.boundary import NEEDS_GRADIENTS
from quick import quick

SIZE = 24


def body() -> nn.Sequential:
    return architectures.small(4, (6, 8))


def pictures(n: int = 2) -> Tensor:
    return torch.randn(n, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def random_maps(n: int) -> Tensor:
    return torch.rand(n, SIZE, SIZE, generator=torch.Generator().manual_seed(2))


class Odd(nn.Module):
    """The body, used in an odd way."""

    def __init__(self, way: Callable[[nn.Sequential, Tensor], Any]) -> None:
        super().__init__()
        self.f, self.way = body(), way

    def forward(self, x: Tensor) -> Any:
        return self.way(self.f, x)


class NoWayBack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        return x.clone()


def without_gradients(f: nn.Sequential, x: Tensor) -> Tensor:
    with torch.no_grad():
        a = f[:4](x)
    return f[4:](a)


@torch.inference_mode()
def in_inference_mode(f: nn.Sequential, x: Tensor) -> Tensor:
    return f(x)


def subtracting(f: nn.Sequential, x: Tensor) -> Tensor:
    x -= 0.5
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


def state(net: nn.Module) -> list[Any]:
    return [
        [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in net.modules()],
        [(id(p), p.requires_grad, p.grad) for p in net.parameters()],
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
    ]


@pytest.fixture(scope="module")
def expected() -> dict[str, Tensor]:
    c, x = ll.Classifier(body(), size=SIZE), pictures()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: quick(name).run(c, x, 1).raw for name in ll.methods()}


def attempts(net: nn.Module, x: Tensor) -> dict[str, ll.Saliency | errors.LimelightError]:
    """What each method says of a network; it fails with our errors only, and leaves everything as it was."""
    before, given, c = state(net), x.clone(), ll.Classifier(net, size=SIZE)
    found: dict[str, Any] = {}
    for name in ll.methods():
        try:
            found[name] = quick(name).run(c, x, 1)
        except errors.LimelightError as error:
            found[name] = error
        assert state(net) == before, name
        assert torch.equal(x, given), name
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", CUTS)
def test_where_no_gradient_passes_the_reason_is_true(kind: str, expected: dict[str, Tensor]) -> None:
    make, reason = CUTS[kind]
    for name, found in attempts(make(), pictures()).items():
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


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", [subtracting, lambda f, x: f(F.relu(x, inplace=True))], ids=["x -= 0.5", "relu_"])
def test_a_network_may_overwrite_its_input(way: Callable[[nn.Sequential, Tensor], Tensor]) -> None:
    twin = ll.Classifier(Odd(lambda f, x: way(f, x.clone())), size=SIZE)
    x = pictures()
    for name, found in attempts(Odd(way), x).items():
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
    faster = ll.Classifier(rowwise, size=SIZE, fold=True)
    found, wanted = (ll.method("rise", n_masks=8).run(c, x, 1).raw for c in (faster, twin))
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5)
    faster = ll.Classifier(rowwise, size=SIZE, fold=True)
    faster.trace(x)
    torch.testing.assert_close(faster.forward(x, watched=False), twin(x), rtol=1e-3, atol=1e-5)
    assert torch.equal(x, given)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize(
    "way", [lambda f, x: f(x)[:1], lambda f, x: f(x).mean(0, keepdim=True), lambda f, x: f(x).repeat(2, 1)]
)
def test_one_row_per_image_or_none(way: Callable[[nn.Sequential, Tensor], Tensor], n: int) -> None:
    net, x, maps = Odd(way), pictures(n), random_maps(n)
    for name, found in attempts(net, x).items():
        assert isinstance(found, errors.UnsupportedModel), name
        assert "rows of scores" in str(found)
    for name in ll.metrics():
        metric = ll.metric(name)
        with pytest.raises(errors.UnsupportedModel, match="rows of scores"):
            metric(ll.Classifier(net, size=SIZE), x, 1, maps, method=ll.method("grad-cam"), truth=maps > 0.5)


def statistics(f: nn.Sequential, x: Tensor) -> Tensor:
    return f((x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True).clamp_min(1e-3))


def one_only(f: nn.Sequential, x: Tensor) -> Tensor:
    return f(x.reshape(1, 3, SIZE, SIZE))


@pytest.mark.parametrize("way", [statistics, one_only])
@pytest.mark.parametrize("name", ["grad-cam", "lrp", "rise", "ablation-cam", "integrated-gradients", "score-cam"])
def test_images_that_must_not_share_a_batch_do_not(name: str, way: Callable[[nn.Sequential, Tensor], Tensor]) -> None:
    c, x, method = ll.Classifier(Odd(way), size=SIZE), pictures(), quick(name)
    alone = torch.cat([method.run(c, x[i : i + 1], 1).raw for i in range(2)])
    torch.testing.assert_close(method.run(c, x, 1).raw, alone, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(c(x), torch.cat([c.module(one) for one in x.split(1)]), rtol=1e-4, atol=1e-6)


def rounded(f: nn.Sequential, x: Tensor) -> Tensor:
    """As a card does that multiplies in TF32 where there are several images: ten bits."""
    y = f(x)
    return y if len(x) == 1 else torch.frexp(y)[0].mul(2**8).round().div(2**8).mul(2.0 ** torch.frexp(y)[1])


def slightly(f: nn.Sequential, x: Tensor) -> Tensor:
    return f(x) * (1 + 0.02 * x.mean())


def small(f: nn.Sequential, x: Tensor) -> Tensor:
    return 1e-4 * statistics(f, x)


def divided(f: nn.Sequential, x: Tensor) -> Tensor:
    return f(x) / len(x)


@pytest.mark.parametrize(
    ("way", "alone"),
    [(rounded, False), (slightly, True), (small, True), (divided, True), (lambda f, x: 1e-4 * f(x), False)],
)
def test_rounding_is_not_taken_for_mixing(way: Callable[[nn.Sequential, Tensor], Tensor], alone: bool) -> None:
    c, x = ll.Classifier(Odd(way), size=SIZE), pictures(4)
    found = ll.method("grad-cam").run(c, x, 1)
    assert bool(c.alone) == alone
    assert any("one image at a time" in note for note in found.notes) == alone
    if alone:
        torch.testing.assert_close(c(x), torch.cat([c.module(one) for one in x.split(1)]), rtol=1e-6, atol=1e-12)


def test_memory_that_runs_out_does_not_show_that_a_model_takes_no_batches() -> None:
    most = 1

    def greedy(f: nn.Sequential, x: Tensor) -> Tensor:
        if len(x) > most:
            raise torch.OutOfMemoryError("out of memory")
        return f(x)

    c, x = ll.Classifier(Odd(greedy), size=SIZE), pictures(4)
    torch.testing.assert_close(c(x), body()(x).detach())
    most = 4
    assert not c.alone
    assert c.at_once(x, given=4) == 4
    torch.testing.assert_close(c(x), body()(x).detach())


def test_squeezed_scores_are_read() -> None:
    squeezing, x = Odd(lambda f, x: f(x).squeeze()), pictures()
    for n in (1, 2):
        torch.testing.assert_close(ll.Classifier(squeezing, size=SIZE)(x[:n]), body()(x[:n]).detach())


class Mine(Exception):
    pass


def raising(error: Exception) -> Odd:
    def way(_f: nn.Sequential, _x: Tensor) -> Tensor:
        raise error

    return Odd(way)


def test_what_a_network_raises_is_said() -> None:
    x = pictures()
    fixed = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
    for net, words in (
        (fixed, r"Sequential failed with images of shape \(1, 3, 24, 24\).*size.*RuntimeError: mat1 and mat2"),
        (raising(KeyError("boom")), "KeyError: 'boom'"),
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "channels.*expected input"),
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


@pytest.mark.parametrize(
    "words",
    [
        "could not create a primitive",
        "[enforce fail at alloc_cpu.cpp:113] . DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes",
        "std::bad_alloc",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "MPS backend out of memory (MPS allocated: 1 GB)",
        "hipErrorOutOfMemory",
    ],
)
def test_out_of_memory_in_every_tongue_halves_the_chunks(words: str) -> None:
    assert errors.is_out_of_memory(RuntimeError(words))
    assert not errors.is_out_of_memory(RuntimeError("could not create a primitive descriptor for a convolution"))

    def greedy(f: nn.Sequential, x: Tensor) -> Tensor:
        if len(x) > 2:
            raise RuntimeError(words)
        return f(x)

    x = pictures(5)
    found = ll.method("occlusion", window=12, stride=12).run(ll.Classifier(Odd(greedy), size=SIZE), x, 1).raw
    torch.testing.assert_close(
        found, ll.method("occlusion", window=12, stride=12).run(ll.Classifier(body(), size=SIZE), x, 1).raw
    )
    with pytest.raises(errors.OutOfMemory):
        ll.method("occlusion").run(ll.Classifier(raising(RuntimeError(words)), size=SIZE), x, 1)


def test_compiled_parts_run_their_own_code() -> None:
    def never(_graph: Any, _inputs: Any) -> Any:
        raise AssertionError("it was compiled")

    net, x = body(), pictures()
    inner = nn.Sequential(torch.compile(net[:4], backend=never), *net[4:])
    in_place = copy.deepcopy(net)
    in_place[2].compile(backend=never)
    replaced = Odd(lambda f, x: f(x))
    replaced.forward = torch.compile(replaced.forward, backend=never)  # type: ignore[method-assign]
    held = Odd(lambda f, x: held.run(x))
    held.run = torch.compile(held.f.forward, backend=never)

    class Decorated(Odd):
        forward = torch.compile(Odd.forward, backend=never)

    for odd in (inner, in_place, replaced, held, Decorated(lambda f, x: f(x))):
        compiled = [(type(m), *map(vars(m).get, ("forward", "run", "_compiled_call_impl"))) for m in odd.modules()]
        flags = [m.training for m in odd.modules()]
        for name in ("grad-cam", "lrp", "rise", "full-grad", "ablation-cam"):
            method = quick(name)
            found, wanted = (method.run(ll.Classifier(n, size=SIZE), x, 1).raw for n in (odd, body()))
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
        with pytest.raises(KeyError):
            ll.method("grad-cam").run(ll.Classifier(odd, size=SIZE), x, lambda _: {}["no such key"])
        after = [(type(m), *map(vars(m).get, ("forward", "run", "_compiled_call_impl"))) for m in odd.modules()]
        assert after == compiled
        assert [m.training for m in odd.modules()] == flags


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


def test_copies_have_their_own_weights_or_are_refused() -> None:
    replaced, clamped, held, harmless = (Odd(lambda f, x: f(x)) for _ in range(4))
    replaced.forward = torch.compile(replaced.forward, backend="eager")  # type: ignore[method-assign]
    plain = clamped.forward
    clamped.forward = lambda x: plain(x.clamp(-3, 3))  # type: ignore[method-assign]
    held.run = lambda x, net=held.f: net(x)
    harmless.f[-1].forward = lambda x: x  # type: ignore[method-assign]
    for net in (replaced, harmless):
        own = vars(net).get("forward")
        twin = ll.Classifier(net, size=SIZE).copied().module
        for p in twin.parameters():
            p.data.zero_()
        assert not twin(pictures()).any()
        assert net(pictures()).any()
        assert vars(net).get("forward") is own
    for net in (clamped, held):
        with pytest.raises(errors.UnsupportedModel, match=r"Odd can't be copied: .* function that uses the network"):
            ll.Classifier(net, size=SIZE).copied()
        with pytest.raises(errors.UnsupportedModel, match="can't be copied"):
            quick("rise").run(ll.Classifier(net, size=SIZE, fold=True), pictures(), 1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("script", [torch.jit.script, lambda net: torch.jit.trace(net, pictures(1))])
def test_scripted_networks_are_black_boxes(script: Callable[[nn.Module], nn.Module]) -> None:
    plain, x = ll.Classifier(body(), size=SIZE), pictures()
    for name, found in attempts(script(body()), x).items():
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
    for name, found in attempts(body().to(dtype), pictures().to(dtype)).items():
        assert isinstance(found, ll.Saliency), (name, found)
        assert torch.isfinite(found.map).all(), name
        assert bool(found.map.any()) or found.degenerate.all(), name


def test_an_empty_batch_is_refused() -> None:
    c, x = ll.Classifier(body(), size=SIZE), pictures(0)
    for name in ll.methods():
        with pytest.raises(errors.InvalidImage, match="empty"):
            ll.method(name)(c, x)
    for name in ll.metrics():
        with pytest.raises(errors.InvalidImage, match="empty"):
            ll.metric(name)(c, x, 1, torch.zeros(0, SIZE, SIZE), method=ll.method("grad-cam"), truth=torch.zeros(0))
    for empty in ([], x):
        with pytest.raises(errors.InvalidImage, match="empty"):
            ll.explain(c, empty)
        with pytest.raises(errors.InvalidImage, match="empty"):
            ll.evaluate(c, empty)


def test_everything_survives_pickling_and_copies() -> None:
    c, x = ll.Classifier(body(), size=SIZE), pictures()
    made: list[Any] = [quick(name) for name in ll.methods()]
    made += [ll.metric(name) for name in ll.metrics()]
    for copied in (lambda v: pickle.loads(pickle.dumps(v)), copy.deepcopy, copy.copy):
        for one in made:
            again = copied(one)
            assert again == one
            assert repr(again) == repr(one)
            assert type(again.options) is type(one.options)
        twin = copied(c)
        assert torch.equal(ll.method("grad-cam", layer="1")(twin, x), ll.method("grad-cam", layer="1")(c, x))
        assert twin.layer_names(twin.module[1]) == ("1",)
        saliency = ll.method("lrp").run(c, x)
        assert torch.equal(copied(saliency).map, saliency.map)
        explanation = ll.explain(c, x[0])
        assert torch.equal(copied(explanation).map, explanation.map)
        results = ll.evaluate(c, x, ["grad-cam"], ["complexity"])
        assert copied(results).rows == results.rows


def test_errors_survive_pickling() -> None:
    kinds = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, errors.LimelightError)]
    for kind in kinds:
        error = kind("zennit", "bench") if kind is errors.MissingExtra else kind("what was given")
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is kind
        assert str(again) == str(error)


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
    work = [name for name, found in attempts(c.module, x).items() if not isinstance(found, Exception)]
    assert "sc-sm-cam" in named
    assert {*named} <= {*work}, {*named} - {*work}
    assert {n for n in work if not {*NEEDS_GRADIENTS, "base_map"} & {*METHODS.find(n).needs}} <= {*named}
