"""Which images may share a batch, how many fit, and what is read of a batch's scores."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import limelight as ll
from limelight import errors
from model.odd_networks import SIZE, Odd, body, pictures, raising, random_maps, try_every_method
from quick import quick


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize(
    "way", [lambda f, x: f(x)[:1], lambda f, x: f(x).mean(0, keepdim=True), lambda f, x: f(x).repeat(2, 1)]
)
def test_one_row_per_image_or_none(way: Callable[[nn.Sequential, Tensor], Tensor], n: int) -> None:
    net, x, maps = Odd(way), pictures(n), random_maps(n)
    for name, found in try_every_method(net, x).items():
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
