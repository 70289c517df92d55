"""What an inspection found: strategies, how suspicious each is, and what was proven of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from limelight.inspection.collect import Progress
from limelight.inspection.parts import StrategyParts
from limelight.inspection.proof import Proof
from limelight.inspection.trial import Trial
from limelight.inspection.worker import Worker
from limelight.ops.statistics import holm

MARGIN = 0.1
"""How much of the pictures a change has to move, at least, at the lower end of the interval, to be a verdict."""
ALPHA = 0.05

Basis = Literal["common", "beside", "beyond"]


@dataclass(frozen=True)
class Signs:
    """How suspicious a strategy is, in [0, 1] each; NaN where nothing is known.

    Attributes:
        fixed: how far relevance stays at one place, see ``fixedness``.
        isolated: 1 - p of a group as isolated by chance, see ``isolation_p``.
        alike: how far what lies under the maxima is told from that of other classes: 2 AUC - 1, see ``likeness_of``.
        outside: share of the relevance outside the objects.
    """

    fixed: float
    isolated: float
    alike: float
    outside: float

    @property
    def suspicion(self) -> float:
        """Their mean; strategies are tried in this order."""
        known = [value for value in vars(self).values() if value == value]
        return float(np.mean(known)) if known else 0.0


@dataclass(frozen=True)
class Strategy:
    """Pictures of a class that are explained alike.

    Attributes:
        target: the class.
        label: its name.
        members: places of the pictures in the data set, sorted.
        pictures: how many pictures of the class there are.
        source: the maps' spectral partition, a dense group of maps, a cluster of features, or of what lies beside the
            objects, or the whole class.
        signs: how suspicious it is.
        mean_map: mean share of the relevance, (g, g).
        examples: places of some members, the most typical first.
        example_maps: theirs, (m, g, g).
        proofs: what was tried, in the frames in which it was.
        untried: why nothing was, or "".
        verdict: what is proven, in a sentence; "" if nothing is.
        basis: by which trials, names of ``Proof``.
        parts: what it is, beside where; None where that was not looked for.
    """

    target: int
    label: str
    members: npt.NDArray[np.int64]
    pictures: int
    source: Literal["spectral", "density", "features", "beside", "class"]
    signs: Signs
    mean_map: npt.NDArray[np.float32] = field(repr=False)
    examples: npt.NDArray[np.int64] = field(repr=False)
    example_maps: npt.NDArray[np.float32] = field(repr=False)
    proofs: tuple[Proof, ...] = ()
    untried: str = ""
    verdict: str = ""
    basis: tuple[Basis, ...] = ()
    parts: StrategyParts | None = field(default=None, repr=False)

    @property
    def share(self) -> float:
        """Of the pictures of the class that follow it."""
        return len(self.members) / self.pictures


@dataclass(frozen=True)
class InspectedClass:
    """What is known of a class beside its strategies.

    Attributes:
        target: the class.
        label: its name.
        places: of its pictures in the data set, (n,).
        points: their maps in the plane, (n, 2); NaN for empty ones.
        probability: of the class, (n,).
        clusters: of the spectral partition.
        agreement: of the partition with HDBSCAN's (adjusted Rand index); NaN if that finds no cluster.
        fixed: ``Signs.fixed`` of all of them.
        note: why no strategies were looked for, or "".
    """

    target: int
    label: str
    places: npt.NDArray[np.int64] = field(repr=False)
    points: npt.NDArray[np.float32] = field(repr=False)
    probability: npt.NDArray[np.float64] = field(repr=False)
    clusters: int = 1
    agreement: float = float("nan")
    fixed: float = float("nan")
    note: str = ""


@dataclass(frozen=True)
class Inspection:
    """What a network relies on, over a data set.

    Attributes:
        model: its name.
        method: of the maps.
        of: whether pictures were explained for their label or for what the network predicts.
        names: of the pictures, in the data set's order.
        classes: those that were looked at, with most pictures first.
        strategies: proven ones first, then the most suspicious.
        progress: what was done to explain the pictures.
        settings: what fixes the maps.
        worker: with the model and the pictures.
        without_parts: why it is not known what the strategies are, beside where, or "".

    Example:
        >>> from limelight.data.synthetic import test_split
        >>> ll.inspect("demo/hans", test_split(2)).of
        'label'
    """

    model: str
    method: str
    of: str
    names: Sequence[str] = field(repr=False)
    classes: tuple[InspectedClass, ...]
    strategies: tuple[Strategy, ...]
    progress: Progress = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)
    worker: Worker = field(repr=False)
    without_parts: str = ""

    @cached_property
    def verdicts(self) -> tuple[str, ...]:
        """What is proven, a sentence for each strategy."""
        return tuple(strategy.verdict for strategy in self.strategies if strategy.verdict)


def counting(proof: Proof) -> list[tuple[Basis, Trial]]:
    """Return the trials by which a strategy can be proven, by name."""
    trials = [(name, getattr(proof, name)) for name in get_args(Basis)]
    return [(name, trial) for name, trial in trials if trial is not None]


def proven(proofs: Sequence[Proof]) -> list[tuple[Basis, ...]]:
    """Return for each of several proofs the trials by which it holds.

    The strategy is no way to see the object itself, where what its regions have in common makes a class of other
    pictures (an object moves, turns and differs), where what lies beside the objects does, or where the class is lost
    with that.
    That its patches make the class more often than the class's other pictures' do is no proof: clear objects do, too.
    Of all trials the p-values are corrected (Holm 1979).
    """
    trials: list[tuple[int, Basis, Trial]] = [(i, *one) for i, proof in enumerate(proofs) for one in counting(proof)]
    corrected = holm([trial.p for _, _, trial in trials]) if trials else np.empty(0)
    held: list[list[Basis]] = [[] for _ in proofs]
    for (i, name, trial), p in zip(trials, corrected, strict=True):
        _, low, high = trial.difference
        if p < ALPHA and (high < -MARGIN if name == "beyond" else low > MARGIN):
            held[i].append(name)
    return [tuple(names) for names in held]
