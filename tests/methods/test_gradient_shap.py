"""Expected gradients: by hand, against captum, and the integrated gradients to which they tend."""

import numpy as np
import pytest
import torch
from torch import Tensor

import architectures
import limelight as ll
from limelight.engine.rng import Draws
from methods.goldens import classifier, exact, inputs
from methods.known_scores import architectures_net, assert_same, line, product, scoring, smooth


class Replayed:
    """Draws that are known: the way's point a, and the place of the baseline in [0, 1); no noise but ``noise``."""

    def __init__(self, a: float, place: float, noise: float = 0.0) -> None:
        self.numbers, self.noise = torch.tensor([a, place]), noise

    def uniform(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return self.numbers.to(like)

    def normal(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return torch.full(shape, self.noise).to(like)


def replay(monkeypatch: pytest.MonkeyPatch, *draws: tuple[float, ...]) -> None:
    monkeypatch.setattr(Draws, "number", lambda self, number: Replayed(*draws[number]))


def test_gradient_shap_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """f = x_1 x_2 at (2, 3).

    Draw 1: from (0, 0), a = 3/4: the point (3/2, 9/4), so R = (2 9/4, 3 3/2) = (4.5, 4.5).
    Draw 2: from (1, 1), a = 1/4: the point (5/4, 3/2), so R = (1 3/2, 2 5/4) = (1.5, 2.5).
    """
    replay(monkeypatch, (0.75, 0.1), (0.25, 0.9))
    baseline = torch.cat([line(0, 0), line(1, 1)])
    saliency = ll.method("gradient-shap", n=2, baseline=baseline).run(product(), line(2, 3), 0)
    assert saliency.raw[0, 0].tolist() == [3, 3.5]
    # The sum is 6.5; y(x) - E y(x_0) is 6 - 1/2.
    assert saliency.details["completeness_gap"].item() == 1
    assert str(saliency.cost) == "5 F + 2 R"


def test_gradient_shap_noise_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """x' = (2, 3) + 0.5 * 2 = (3, 4), from (0, 0), a = 1/2: the point (3/2, 2), so R = (3 2, 4 3/2)."""
    replay(monkeypatch, (0.5, 0.0, 2.0))
    method = ll.method("gradient-shap", n=1, baseline=line(0, 0), stdev=0.5)
    assert method.raw(product(), line(2, 3), 0)[0, 0].tolist() == [6, 6]


def test_gradient_shap_tends_to_integrated_gradients() -> None:
    c, x = smooth()
    shap = ll.method("gradient-shap", n=3000, baseline=("black", "white")).run(c, x[:1], 1)
    exact = ll.method("integrated-gradients", baseline=("black", "white")).raw(c, x[:1], 1)
    assert_same(shap.raw, exact, 0.1)
    few = ll.method("gradient-shap", n=30, baseline=("black", "white")).run(c, x[:1], 1)
    assert (few.raw - exact).square().mean() > 9 * (shap.raw - exact).square().mean()  # 100 on average
    assert few.details["completeness_gap"].item() > shap.details["completeness_gap"].item()


def test_gradient_shap_draws_every_baseline() -> None:
    """A linear score: R = W (x - mean of the baselines drawn), and its sum says how often each was."""
    c = scoring(lambda x: x[:, 0, 0, 0])
    for n in (1, 400):
        raw = ll.method("gradient-shap", n=n, baseline=torch.cat([line(0), line(1)])).raw(c, line(2), 0)
        share_of_zero = raw.item() - 1
        assert share_of_zero in (0, 1) if n == 1 else 0.4 < share_of_zero < 0.6


def test_gradient_shap_does_not_depend_on_the_batch() -> None:
    c, x = exact(architectures_net("plain")[0]), architectures.images().double()
    method = ll.method("gradient-shap", n=3, stdev=0.1)
    together = method.raw(c, x, 1)
    assert_same(torch.cat([method.raw(c, x[i : i + 1], 1) for i in range(3)]), together)
    assert_same(ll.method("gradient-shap", n=3, stdev=0.1, batch_size=2).raw(c, x, 1), together)


def test_gradient_shap_against_captum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their points on the way, given to us; exact, because near a point where a unit switches roundings decide."""
    attr = pytest.importorskip("captum.attr", reason="needs the package captum, of the extra peers")
    c, x = exact(classifier("tinyresnet_basic")), inputs("tinyresnet_basic")[:1].double()
    points: list[float] = []
    uniform = np.random.uniform

    def recorded(*args: float) -> np.ndarray:
        found = uniform(*args)
        points.extend(found)
        return found

    monkeypatch.setattr(np.random, "uniform", recorded)
    theirs = attr.GradientShap(c.module).attribute(x, baselines=torch.zeros_like(x), n_samples=4, stdevs=0.0, target=3)
    assert len(points) == 4
    replay(monkeypatch, *((a, 0.0) for a in points))
    ours = ll.method("gradient-shap", n=4, baseline="zero").raw(c, x, 3)
    assert_same(ours, theirs.detach().sum(1))
