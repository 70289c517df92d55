"""How much the map of the masked picture is like the first one, worked out by hand."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import architectures
import limelight as ll
from measures.known_models import GAINS, always, close, ones, says, small_net, tensor

pytestmark = pytest.mark.usefixtures("methods_for_tests")


COLUMN = tensor([[[1, 0], [1, 0]]])


@pytest.mark.parametrize(
    ("maps", "expected"),
    [
        (COLUMN, 1),
        (1 - COLUMN, 0),  # r = -1
        (tensor([[[1, 1], [0, 0]]]), 0.5),  # r = 0
        (0 * COLUMN, 0),
        (0 * COLUMN + 1, 0),
        (0 * COLUMN + 0.3, 0),
        # (1, 0, .5, 0) against (1, 0, 1, 0): deviations (5, -3, 1, -3)/8 and (1, -1, 1, -1)/2, sums .75, .6875, 1
        (tensor([[[1, 0], [0.5, 0]]]), (1 + 0.75 / math.sqrt(0.6875)) / 2),
    ],
)
def test_coherency(maps: Tensor, expected: float) -> None:
    method = ll.method("test-fixed", rows=((1, 0), (1, 0)))
    close(ll.metric("coherency")(says(GAINS), ones(2, 2), 0, maps, method=method), expected, 1e-6)


def test_coherency_of_a_second_map_that_is_constant() -> None:
    for rows in (((0, 0), (0, 0)), ((2, 2), (2, 2)), ((-1, -1), (-1, -2))):
        method = ll.method("test-fixed", rows=rows)
        for maps in (COLUMN, torch.ones(1, 2, 2)):
            close(ll.metric("coherency")(says(GAINS), ones(2, 2), 0, maps, method=method), 0)


def test_coherency_explains_the_masked_picture() -> None:
    """Picture 1 2 / 3 4 under the mask 1 0 / 0 1 is 1 0 / 0 4, its own map 1/4 0 / 0 1.

    Deviations (1, -1, -1, 1) / 2 and (-1, -5, -5, 11) / 16; their products sum to (-1 + 5 + 5 + 11) / 32, their
    squares to 1 and 172 / 256.
    """
    x = tensor([[1, 2], [3, 4]]).expand(1, 3, 2, 2)
    eye = tensor([[[1, 0], [0, 1]]])
    r = (20 / 32) / math.sqrt(172 / 256)
    c = says(always(0.5), mean=0.5, std=0.5)
    close(ll.metric("coherency")(c, x, 0, eye, method=ll.method("test-mean")), (1 + r) / 2, 1e-6)
    # Fading to black (-1): 1 -1 / -1 4, positive part 1 0 / 0 4. The same map, of another picture.
    close(ll.metric("coherency", space="pixel")(c, x, 0, eye, method=ll.method("test-mean")), (1 + r) / 2, 1e-6)
    # Halves: of 2 and 3 they are 1 and 1.5; half-way to black they are 0.5 and 1, and black has no positive part.
    soft = tensor([[[1, 0.5], [0.5, 0]]])
    for space, second in (("normalised", [1, 1, 1.5, 0]), ("pixel", [1, 0.5, 1, 0])):
        r = np.corrcoef([1, 0.5, 0.5, 0], second)[0, 1]
        close(ll.metric("coherency", space=space)(c, x, 0, soft, method=ll.method("test-mean")), (1 + r) / 2, 1e-6)


class TwoSpots(nn.Module):
    """Logits (a1 + a2 / 2, a4 + 2.2) of a copy a of the first colour."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 1, 1, bias=False).double()
        self.stem.weight.data = tensor([1, 0, 0]).view(1, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.stem(x)[:, 0]
        return torch.stack([a[:, 0, 0] + a[:, 0, 1] / 2, a[:, 1, 1] + 2.2], 1)


def test_second_explanation_is_for_the_class_of_the_first() -> None:
    """Logits 3 and 2.7 on the picture, 2 and 2.2 on its masked half: the class stays the first one.

    The gradient of class 0 is 1 .5 / 0 0, and so is the map; that of class 1 is 0 0 / 0 1.
    """
    c = ll.Classifier(TwoSpots(), mean=(0.0,) * 3, std=(1.0,) * 3)
    x = tensor([[1, 4], [0, 0.5]]).expand(1, 3, 2, 2)
    maps = tensor([[[1, 0.5], [0, 0]]])
    assert c(x).argmax() == 0
    assert c(x * maps[:, None]).argmax() == 1
    method = ll.method("test-grads")
    close(ll.metric("coherency")(c, x, None, maps, method=method), 1, 1e-6)
    other = np.corrcoef([1, 0.5, 0, 0], [0, 0, 0, 1])[0, 1]
    close(ll.metric("coherency")(c, x, 1, maps, method=method), (1 + other) / 2, 1e-6)
    p = [1 / (1 + math.exp(-z)) for z in (0.3, -0.2)]
    parts = ll.metric("adcc").measure(c, x, None, maps, method=method).parts
    close(parts["average-drop"], 1 - p[1] / p[0], 1e-6)
    close(parts["coherency"], 1, 1e-6)
    close(parts["complexity"], 1.5 / 4, 1e-6)


def test_random_methods_are_repeated_with_their_seed() -> None:
    """On a picture that the mask leaves alone (ones but where the picture is 0) the second map is the first."""
    c, x = small_net(), architectures.images(1)
    x[..., 0, 0] = 0
    mask = torch.ones(1, 40, 56)
    mask[..., 0, 0] = 0
    for seed in (0, 3):
        method = ll.method("random-map", seed=seed)
        second = ll.metric("coherency")(c, x, 0, mask, method=method)
        r = np.corrcoef(mask.flatten(), method(c, x, 0).flatten())[0, 1]
        close(second, (1 + r) / 2, 1e-5)
