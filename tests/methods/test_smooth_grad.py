"""Gradients at noisy copies: their mean, the mean of their squares, their variance."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

import limelight as ll
from conftest import npz
from limelight.engine.rng import Draws
from limelight.maps.pixel.smooth_grad import deviation
from limelight.maps.pixel.var_grad import Moments
from methods.goldens import TINY, classifier, exact, golden, inputs
from methods.known_scores import architectures_net, assert_same, assert_same_but_for_ties, line, scoring


class Noise:
    """Noise that is known."""

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def normal(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return self.values.expand(shape).to(like)


def replay(monkeypatch: pytest.MonkeyPatch, noise: Tensor) -> None:
    monkeypatch.setattr(Draws, "number", lambda self, number: Noise(noise[number]))


def weights() -> Tensor:
    return torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)).double()


# -- worked out by hand ----------------------------------------------------------------------------------------


def test_linear() -> None:
    """Every gradient is W."""
    w = weights()
    c, x = scoring(lambda x: (x * w).sum((1, 2, 3))), torch.rand(2, 3, 4, 5).double()
    smooth = ll.method("smooth-grad", n=7, reduce="sum").raw(c, x, 0)
    torch.testing.assert_close(smooth, w.sum(0).expand(2, 4, 5), rtol=1e-14, atol=1e-14)
    default = ll.method("smooth-grad", n=7).raw(c, x, 0)
    torch.testing.assert_close(default, w.abs().sum(0).expand(2, 4, 5), rtol=1e-14, atol=1e-14)
    squares = ll.method("smooth-grad", n=7, squared=True).raw(c, x, 0)
    torch.testing.assert_close(squares, w.square().sum(0).expand(2, 4, 5), rtol=1e-14, atol=1e-14)
    variance = ll.method("var-grad", n=7).run(c, x, 0)
    assert not variance.raw.any()
    assert variance.degenerate.all()


def test_square_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """f = x^2 / 2 with noise of -1/4 and 1/4: gradients x - 1/4 and x + 1/4."""
    c, x = scoring(lambda x: x[:, 0, 0].square().sum(1) / 2), line(3, -2)
    replay(monkeypatch, torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1))
    options = {"n": 2, "sigma": 0.25}
    assert ll.method("smooth-grad", reduce="sum", **options).raw(c, x, 0)[0, 0].tolist() == [3, -2]
    assert ll.method("smooth-grad", **options).raw(c, x, 0)[0, 0].tolist() == [3, 2]
    squares = ll.method("smooth-grad", squared=True, **options).raw(c, x, 0)
    assert squares[0, 0].tolist() == [9 + 0.0625, 4 + 0.0625]
    variance = ll.method("var-grad", **options).raw(c, x, 0)
    assert variance[0, 0].tolist() == [2 * 0.0625] * 2


def test_deviation_of_the_noise() -> None:
    x = torch.stack([line(2, -2)[0], line(0, 1)[0]])
    assert deviation(x, 0.15, None).flatten().tolist() == pytest.approx([0.6, 0.15])
    assert deviation(x, 0.15, 0.3).flatten().tolist() == pytest.approx([0.3, 0.3])


def test_noise_has_its_deviation_and_is_independent() -> None:
    """f = sum x^2 / 2 has the noisy copy itself as its gradient: its variance is that of the noise."""
    c = scoring(lambda x: x[:, 0].square().sum((1, 2)) / 2)
    x = torch.zeros(2, 3, 20, 25).double()
    x[0, 0, 0, 0], x[1, 0, 0, 0] = 1, 3  # ranges, hence deviations of 0.15 and 0.45
    raw = ll.method("var-grad", n=20).raw(c, x, 0)
    assert raw.mean((1, 2)).sqrt().tolist() == pytest.approx([0.15, 0.45], rel=0.03)
    mean = ll.method("smooth-grad", n=20, reduce="sum").raw(c, x, 0) - x[:, 0]
    assert mean.std((1, 2)).tolist() == pytest.approx([0.15 / 20**0.5, 0.45 / 20**0.5], rel=0.1)
    similarity = torch.corrcoef(mean.flatten(1))[0, 1]  # two pictures, two kinds of noise
    assert abs(similarity.item()) < 0.15


# -- laws ------------------------------------------------------------------------------------------------------


def test_without_noise_it_is_the_gradient() -> None:
    c, x = architectures_net("residual")
    for options in ({"spread": 0}, {"sigma": 0}):
        smooth = ll.method("smooth-grad", n=3, **options).raw(c, x, 1)
        assert_same(smooth, ll.method("gradient", reduce="abs-sum").raw(c, x, 1))
        assert ll.method("var-grad", n=3, **options).run(c, x, 1).degenerate.all()


def test_a_picture_of_one_colour_gets_no_noise() -> None:
    c, x = architectures_net("residual")
    x = torch.full_like(x, 0.3)
    assert_same(ll.method("smooth-grad", n=3).raw(c, x, 1), ll.method("gradient", reduce="abs-sum").raw(c, x, 1))
    assert ll.method("var-grad", n=3).run(c, x, 1).degenerate.all()


@pytest.mark.parametrize("method", ["smooth-grad", "var-grad"])
def test_batches(method: str) -> None:
    c, x = architectures_net("depthwise")
    together = ll.method(method, n=5).raw(c, x, 1)
    assert_same(torch.cat([ll.method(method, n=5).raw(c, x[i : i + 1], 1) for i in range(3)]), together)
    for size in (1, 2, 4):
        assert_same(ll.method(method, n=5, batch_size=size).raw(c, x, 1), together)


def test_memory_does_not_grow_with_n() -> None:
    """No pass is of more images than fit, and nothing of a chunk is kept."""
    c, x = architectures_net("plain")
    sizes: list[int] = []
    c.module.register_forward_hook(lambda _m, inputs, _o: sizes.append(len(inputs[0])))
    for name in ("smooth-grad", "var-grad"):
        sizes.clear()
        ll.method(name, n=20, batch_size=4).run(c, x[:2], 1)
        assert max(sizes) <= 4
        assert sum(sizes) >= 42


def test_moments_where_a_difference_of_sums_fails() -> None:
    """Values of 1000 with a deviation of 0.01, in single precision: E g^2 - (E g)^2 has no right digit."""
    generator = torch.Generator().manual_seed(0)
    values = 1000 + 0.01 * torch.randn(2, 60, 3, 4, 5, generator=generator)
    exact = values.double().var(1)
    naive = (values.square().mean(1) - values.mean(1).square()) * 60 / 59
    assert (naive - exact).abs().max() > 10 * exact.max()
    for chunk in (1, 7, 60, 120):
        moments = Moments(values[:, 0])
        images, numbers = torch.arange(120) // 60, torch.arange(120) % 60
        for at in torch.arange(120).split(chunk):
            moments.take(images[at], numbers[at], values[images[at], numbers[at]])
        torch.testing.assert_close(moments.mean.double(), values.double().mean(1), rtol=1e-6, atol=0)
        found = moments.squares / 59
        torch.testing.assert_close(found.double(), exact, rtol=2e-2, atol=0)


def test_options() -> None:
    with pytest.raises(ll.errors.InvalidOption, match="n = 1"):
        ll.method("var-grad", n=1)
    assert str(ll.method("smooth-grad", n=3).run(*architectures_net("plain"), 1).cost) == "4 F + 3 R"
    assert ll.method("smooth-grad", profile="pair").options.squared
    defaults = ll.method("smooth-grad").options
    assert (defaults.n, defaults.spread, defaults.squared) == (50, 0.15, False)


def test_half_precision() -> None:
    c, x = architectures_net("plain")
    c = ll.Classifier(c.module.bfloat16())
    for method in (ll.method("smooth-grad", n=2, squared=True), ll.method("var-grad", n=2)):
        raw = method.raw(c, x.bfloat16(), 1)
        assert raw.dtype == torch.float32
        assert raw.any()


# -- other people's code ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", TINY)
def test_captum_noise_tunnel(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    about, arrays = golden(f"captum-noisetunnel-{model}")
    noise = torch.from_numpy(npz("golden", "noise_tiny.npz")["noise"])[0]
    replay(monkeypatch, noise)
    n, sigma = about["hyper_parameters"]["nt_samples"], about["hyper_parameters"]["stdevs"]
    assert len(noise) == n
    c, x, target = exact(classifier(model)), inputs(model)[:1].double(), torch.from_numpy(arrays["target"])
    for key, name, options, theirs in (
        ("smoothgrad", "smooth-grad", {"reduce": "sum"}, lambda a: a),
        ("smoothgrad", "smooth-grad", {}, np.abs),
        ("smoothgrad_sq", "smooth-grad", {"squared": True}, lambda a: a),
        ("vargrad", "var-grad", {}, lambda a: a * n / (n - 1)),  # theirs is biased
    ):
        method = ll.method(name, n=n, sigma=sigma, **options)
        assert_same_but_for_ties(partial(method.raw, c, target=target), x, theirs(arrays[key]).sum(1))
