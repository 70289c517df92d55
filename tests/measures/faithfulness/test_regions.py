"""Region perturbation (MoRF and LeRF): drops worked out by hand, and those of the package quantus."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import limelight as ll
from limelight.errors import InvalidOption
from measures.known_models import Answer, close, mean_pixel, ones, says, tensor, weighted_sum

AREAS = [[4.0, 4, 3, 3], [4, 4, 3, 3], [2, 2, 1, 1], [2, 2, 1, 1]]
"""Four cells of 2 x 2, worth .4, .3, .2, .1."""

CELLS = weighted_sum((tensor(AREAS) / 40).tolist(), 1)


def perturb(name: str, c: ll.Classifier, maps: Any, x: Tensor | None = None, **options: Any) -> ll.Measured:
    maps = tensor([maps])
    return ll.metric(name, **options).measure(c, ones(*maps.shape[1:]) if x is None else x, 0, maps)


def test_region_perturbation_of_a_linear_model() -> None:
    """Drops 0 .4 .7 .9 1 in the right order, 0 .1 .3 .6 1 in the other; two steps: 0 .4 .7 and 0 .1 .3."""
    c = says(CELLS, logits=True)
    settings = {"cell": 2, "replace_by": "zero"}
    close(perturb("morf", c, AREAS, **settings).values, 3.0 / 5)
    close(perturb("lerf", c, AREAS, **settings).values, 2.0 / 5)
    close(perturb("morf", c, AREAS, steps=2, **settings).values, 1.1 / 3)
    close(perturb("lerf", c, AREAS, steps=2, **settings).values, 0.4 / 3)
    opposite = (-tensor(AREAS)).tolist()
    close(perturb("morf", c, opposite, **settings).values, 2.0 / 5)
    close(perturb("lerf", c, opposite, **settings).values, 3.0 / 5)
    curve = perturb("morf", c, AREAS, **settings).curve
    assert curve is not None
    close(curve, [[2, 1.6, 1.3, 1.1, 1]])


def test_relevance_of_a_cell_is_its_sum() -> None:
    """The last cell has the largest pixel but a sum of 9 - 3; the first has 4 * 2."""
    maps = [[2.0, 2, 1, 1], [2, 2, 1, 1], [0, 0, 9, -1], [0, 0, -1, -1]]
    curve = perturb("morf", says(CELLS, logits=True), maps, cell=2, replace_by="zero").curve
    assert curve is not None
    close(curve, [[2, 1.6, 1.5, 1.2, 1]])  # cells 0 (8), 3 (6), 1 (4), 2 (0)


def test_border_that_holds_no_cell_is_left_alone() -> None:
    """5 x 7 with cells of 2: the last row and column stay, however relevant; they are worth 2."""
    w, maps = torch.full((5, 7), 0.01), torch.zeros(5, 7)
    w[4, 6], maps[4], maps[:, 6] = 1.9, 99, 99
    maps[:4, :6] = torch.arange(24.0).view(4, 6)
    c = says(weighted_sum(w.tolist()), logits=True)
    curve = perturb("morf", c, maps.tolist(), cell=2, replace_by="zero").curve
    assert curve is not None
    start = 1.9 + 34 * 0.01
    close(curve, [[start - 0.04 * k for k in range(7)]], 1e-7)


def test_cells_turn_black_or_into_the_mean_colour() -> None:
    """From 1 to 0, or to -1 if (x + 1) / 2 is the brightness."""
    c = says(CELLS, logits=True, mean=0.5, std=0.5)
    close(perturb("morf", c, AREAS, cell=2, replace_by="zero").values, 0.6)
    close(perturb("morf", c, AREAS, cell=2, replace_by="black").values, 1.2)


def test_region_perturbation_of_a_probability() -> None:
    z = [2, 1.6, 1.3, 1.1, 1]
    p = [1 / (1 + math.exp(-v)) for v in z]
    c = says(CELLS, logits=True)
    close(perturb("morf", c, AREAS, cell=2, replace_by="zero", score="prob").values, p[0] - sum(p) / 5)


def test_noise_of_region_perturbation() -> None:
    """Uniform between black (-1) and white (3) if brightness is (x + 1) / 4, the same for all maps, over draws."""
    rng = torch.Generator().manual_seed(3)
    maps = [torch.randn(8, 8, generator=rng, dtype=torch.double).tolist() for _ in range(2)]
    c = says(lambda x: x[:, 0].mean((1, 2)), logits=True, mean=0.25, std=0.25)
    curves = [perturb(name, c, m, cell=2, seed=4).curve for m in maps for name in ("morf", "lerf")]
    ends = [q[0, -1].item() for q in curves if q is not None]
    assert ends == pytest.approx([ends[0]] * 4)
    assert 0.5 < ends[0] < 1.5  # mean of 64 pixels x 10 draws: 1, give or take .05
    other = perturb("morf", c, maps[0], cell=2, seed=5).curve
    assert other is not None
    assert abs(other[0, -1].item() - ends[0]) > 1e-6


def test_noise_is_drawn_pixel_by_pixel_within_bounds() -> None:
    c = says(mean_pixel, logits=True, mean=0.25, std=0.25)
    x = 7 * ones(8, 8)
    maps = torch.arange(64.0).view(8, 8).tolist()
    perturb("morf", c, maps, x, cell=2, repeats=3, steps=16)
    module = c.module
    assert isinstance(module, Answer)
    frames = torch.cat(module.seen[2:])  # behind the noise of two trial passes
    all_gone = [f for f in frames if not (f == 7).any()]
    assert len(all_gone) == 3
    assert len(frames) == 1 + 3 * 16
    for one in all_gone:
        assert len(one.unique()) == one.numel()
        assert -1 <= one.min() < -0.8
        assert 2.8 < one.max() <= 3
    assert not torch.equal(all_gone[0], all_gone[1])
    # A step of the same draw keeps the noise of the step before.
    first = frames[1:17]
    for before, after in itertools.pairwise(first):
        changed = before != 7
        assert torch.equal(before[changed], after[changed])
        assert int((after != 7).sum() - changed.sum()) == 3 * 4


class Waves(nn.Module):
    """A linear network of 3 classes, and two pictures of 20 x 22 with their maps, the same on every machine."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.08 * torch.arange(3 * 1320, dtype=torch.double).mul(0.7).sin().view(3, -1).float())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) @ self.weight.T

    @staticmethod
    def pictures() -> tuple[torch.Tensor, torch.Tensor]:
        k = torch.arange(2 * 1320, dtype=torch.double)
        x = (1.5 * (0.37 * k).cos() + (0.011 * k).sin()).view(2, 3, 20, 22)
        maps = ((0.13 * k).sin() + 0.3 * (0.019 * k).cos())[:880].view(2, 20, 22)
        return x.float(), maps.float()


QUANTUS = {
    "morf": [
        [-0.0035844, 0.0049636, -0.0109119, -0.0131782, -0.0045626, -0.0242895, -0.0130183, -0.0304967, 0.0041403],
        [0.1707331, 0.1645644, 0.1016009, 0.0234812, -0.0219816, -0.0962118, -0.0502115, 0.0581143, -0.0229354],
    ],
    "lerf": [
        [0.0338294, 0.0165585, 0.0334372, 0.0430077, 0.031961, 0.0154324, 0.0076319, 0.0251874, 0.0041403],
        [-0.0868937, 0.0251971, 0.065748, -0.000919, -0.0480379, -0.142591, -0.2422255, -0.2540684, -0.0229354],
    ],
}
"""What quantus 0.6.0 says of these two pictures, ``RegionPerturbation(order=name)`` with its own defaults."""


@pytest.mark.parametrize("name", ["morf", "lerf"])
def test_quantus_preset(name: str) -> None:
    """Cells that the border cuts on all sides, and a black that is the picture's smallest value."""
    x, maps = Waves.pictures()
    c, target = ll.Classifier(Waves()), torch.tensor([1, 2])
    curve = ll.metric(name, protocol="quantus").measure(c, x, target, maps).curve
    assert curve is not None
    close(curve[:, :1] - curve[:, 1:], QUANTUS[name], 1e-6)
    one = ll.metric(name, protocol="quantus").measure(c, x[1:], target[1:], maps[1:]).curve
    assert one is not None
    close(one, curve[1:], 1e-6)
    for option in ({"replace_by": "black"}, {"border": "kept"}):
        other = ll.metric(name, protocol="quantus", **option).measure(c, x, target, maps).curve
        assert other is not None
        assert other.shape != curve.shape or (other - curve).abs().max() > 0.01


@pytest.mark.parametrize("name", ["morf", "lerf"])
def test_quantus_itself(name: str) -> None:
    quantus = pytest.importorskip("quantus", reason="needs the package quantus, of the extra peers")
    x, maps = Waves.pictures()
    metric = quantus.RegionPerturbation(order=name, disable_warnings=True)
    curves = metric(Waves().eval(), x.numpy(), np.array([1, 2]), a_batch=maps[:, None].numpy(), device="cpu")
    close(torch.tensor(np.array(curves)), QUANTUS[name], 1e-6)


def test_cell_larger_than_the_picture() -> None:
    with pytest.raises(InvalidOption, match=r"cell = 9.*8 x 8"):
        perturb("morf", says(mean_pixel, logits=True), torch.zeros(8, 8).tolist())
