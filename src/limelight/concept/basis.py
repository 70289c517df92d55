"""What the concepts of a layer are: its channels, or the parts into which its activations fall apart.

A basis gives each concept its masks M in [0, 1] over the layer's activations A, (n, k, prefix + positions), and its
answer at each position of the map.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from limelight.errors import InvalidOption
from limelight.ops.arrays import from_numpy, integers
from limelight.ops.factors import ROUNDS, coefficients_of, factorise
from limelight.ops.scale import divide
from limelight.shapes import Columns

By = Literal["channels", "parts"]


class Basis(Protocol):
    """Concepts of a layer."""

    @property
    def names(self) -> tuple[str, ...]:
        """How they are called."""
        ...

    def masks(self, acts: Columns) -> list[Tensor]:
        """Return the mask of each, (n, k, places), or with axes of 1 where it is the same for all."""
        ...

    def answers(self, acts: Columns) -> Tensor:
        """Return by how much each answers at every position of the map, (n, c, positions)."""
        ...

    def take(self, some: list[int]) -> "Basis":
        """Return some of them, in this order."""
        ...


@dataclass(frozen=True)
class Channels:
    """Channels of a layer; M is 1 at the channel and 0 at all others.

    Attributes:
        layer: its name.
        numbers: which of its channels.
        prefix: tokens in front of its map.
    """

    layer: str
    numbers: tuple[int, ...]
    prefix: int

    @property
    def names(self) -> tuple[str, ...]:
        """Such as ``channel 37 of layer4``."""
        return tuple(f"channel {number} of {self.layer}" for number in self.numbers)

    def masks(self, acts: Columns) -> list[Tensor]:
        """Return M of each, (1, k, 1)."""
        every = torch.arange(acts.shape[1], device=acts.device)
        return [(every == number).to(acts)[None, :, None] for number in self.numbers]

    def answers(self, acts: Columns) -> Tensor:
        """Return the channels' activations, (n, c, positions)."""
        return acts[:, list(self.numbers), self.prefix :]

    def take(self, some: list[int]) -> "Channels":
        """Return some of them, in this order."""
        return Channels(self.layer, tuple(self.numbers[i] for i in some), self.prefix)


@dataclass(frozen=True)
class Parts:
    """Parts that recur: A+ = H W, the activations above 0 as a sum of few components, none of them below 0.

    The relevance of part j is R where it is made of it: M_j = H_j W_j / sum_i H_i W_i, per picture, position and
    channel. Where no component is active, and at tokens in front of the map, relevance belongs to no part.

    Attributes:
        components: W, (c, k).
        stability: see ``Factors``, (c,).
        explained: share of the squared activations that H W explains, those below 0 included.
        prefix: tokens in front of the map.
        notes: what the reader should know.

    Source: Collins et al. 2018 for H and W; the relevance of a part is ours.
    """

    components: Tensor
    stability: tuple[float, ...]
    explained: float
    prefix: int
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Such as ``part 2``."""
        return tuple(f"part {i}" for i in range(1, len(self.components) + 1))

    def masks(self, acts: Columns) -> list[Tensor]:
        """Return M of each, (n, k, prefix + positions)."""
        w = self.components.to(acts)
        made = self.answers(acts)[:, :, None] * w[None, :, :, None]  # n c k positions
        shares = divide(made, made.sum(1, keepdim=True))
        return list(F.pad(shares, (self.prefix, 0)).unbind(1))

    def answers(self, acts: Columns) -> Tensor:
        """Return the coefficients H, (n, c, positions)."""
        rows = positive_rows(acts, self.prefix)
        h = from_numpy(coefficients_of(rows, self.components.double().cpu().numpy())).to(acts)
        return torch.unflatten(h, 0, (len(acts), -1)).mT

    def take(self, some: list[int]) -> "Parts":
        """Return some of them, in this order."""
        stability = tuple(self.stability[i] for i in some)
        return Parts(self.components[some], stability, self.explained, self.prefix, self.notes)


@dataclass(frozen=True)
class Some:
    """Some concepts of a basis, with the masks that they have among all of it; ``take`` forgets the others.

    Attributes:
        basis: all of them.
        numbers: which.
    """

    basis: Basis
    numbers: tuple[int, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """As all of the basis call them."""
        return tuple(self.basis.names[i] for i in self.numbers)

    def masks(self, acts: Columns) -> list[Tensor]:
        """Return M of each."""
        masks = self.basis.masks(acts)
        return [masks[i] for i in self.numbers]

    def answers(self, acts: Columns) -> Tensor:
        """Return by how much each answers, (n, c, positions)."""
        return self.basis.answers(acts)[:, list(self.numbers)]

    def take(self, some: list[int]) -> "Some":
        """Return some of them, in this order."""
        return Some(self.basis, tuple(self.numbers[i] for i in some))


def positive_rows(acts: Columns, prefix: int) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    """Return the activations above 0 with a row for each position of each picture, (n positions, k)."""
    return acts[:, :, prefix:].clamp_min(0).mT.flatten(0, 1).double().cpu().numpy()


def find_channels(shares: Tensor, n: int, layer: str, prefix: int) -> Channels:
    """Return the channels of the largest share of relevance, of either sign, in the mean of the pictures.

    Args:
        shares: of every channel, (pictures, k).
        n: how many.
        layer: its name.
        prefix: tokens in front of its map.

    Raises:
        InvalidOption: the layer has fewer.
    """
    if n > shares.shape[1]:
        raise InvalidOption(f"n = {n}: layer {layer!r} has {shares.shape[1]} channels")
    order = shares.abs().mean(0).sort(descending=True, stable=True).indices
    return Channels(layer, tuple(integers(order[:n])), prefix)


def find_parts(acts: list[Columns], n: int, prefix: int, layer: str, *, seed: int, starts: int) -> Parts:
    """Return the parts of which the activations of some pictures are made.

    Args:
        acts: A of the pictures, (n, k, prefix + positions) each.
        n: how many.
        prefix: tokens in front of the map.
        layer: its name.
        seed: see ``factorise``.
        starts: see ``factorise``.

    Raises:
        InvalidOption: more than positions or channels.
    """
    rows = np.concatenate([positive_rows(one, prefix) for one in acts])
    if n > min(rows.shape):
        raise InvalidOption(
            f"n = {n}: layer {layer!r} has {rows.shape[1]} channels at {rows.shape[0]} positions of the pictures: "
            f"at most {min(rows.shape)} parts"
        )
    factors = factorise(rows, n, seed=seed, starts=starts)
    size = sum(float(one[:, :, prefix:].double().square().sum()) for one in acts)
    above = float((rows**2).sum()) / size if size else 1.0
    notes = [f"{1 - above:z.0%} of the squared activations of {layer} are below 0, of which no part is made"]
    notes = notes * (above < 0.99)
    notes += [f"the factorisation did not converge in {ROUNDS} rounds"] * (not factors.converged)
    w = from_numpy(factors.components)
    return Parts(w, tuple(factors.stability.tolist()), factors.explained * above, prefix, tuple(notes))
