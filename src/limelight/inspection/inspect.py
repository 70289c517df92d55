"""Find what a network relies on, over a whole data set, and prove it."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from limelight.errors import InvalidOption, show
from limelight.inspection.clusters import cluster
from limelight.inspection.collect import collect_maps
from limelight.inspection.content import MOST, Looks, likeness
from limelight.inspection.embedding import embed
from limelight.inspection.findings import ALPHA, InspectedClass, Inspection, Signs, Strategy, proven
from limelight.inspection.fixedness import fixedness
from limelight.inspection.frame import Bound
from limelight.inspection.isolation import isolation_p
from limelight.inspection.likeness import shares, usable
from limelight.inspection.proof import FEWEST, Group, Prover
from limelight.inspection.record import ClassMaps
from limelight.inspection.words import state
from limelight.inspection.worker import Source, Worker
from limelight.model.targets import find_class
from limelight.ops.clusters import kmeans

TRIED = 6
"""Strategies of a class that are tried, beside the whole class and groups by what lies beside objects."""
MOVING = 0.6
"""Fixedness below which a strategy is tried wherever its evidence goes, beside the place where it mostly is."""
WHOLE = 0.8
"""Share of a class from which a strategy is that of the whole class."""
SMALLEST = 5
"""Pictures of a class, at least, of which strategies are looked for."""

GROUPS = 4
"""Clusters of a class by its features."""
PASSES = 600
"""Passes of the trials of a strategy of which nothing is proven, about."""
PASSES_BESIDE = 300
"""The same, of what lies beside the objects."""
EXAMPLES = 48
"""Members of a strategy that are kept to be shown."""
CLEAR = 0.2
"""Steps of a trial's difference; of strategies in one step that share pictures the largest is told."""
REPEATS = "proven too, but most of the pictures are those of a strategy that is proven more clearly"
LATER = "less suspicious than those that were tried; more are tried with tried=N"

Places = npt.NDArray[np.int64]


def find_strategies(
    source: Source,
    out: str | Path | None = None,
    *,
    classes: Sequence[str | int] | None = None,
    tried: int = TRIED,
    seed: int = 0,
    on_class: Callable[[str, int, int], None] | None = None,
    **run: Any,
) -> Inspection:
    """Explain all pictures, cluster the maps of each class, and try what is suspicious.

    Args:
        source: the network, the pictures and the method.
        out: folder of the maps; None for one that is removed in the end.
        classes: that are looked at, by name or index; None for all.
        tried: strategies of each class that are tried, beside the whole class and groups by what lies beside objects.
        seed: of all that is drawn.
        on_class: called with each class's name before it is looked at, its number, and how many there are.
        run: see ``collect_maps``.

    Raises:
        LimelightError: see ``limelight.errors``.
    """
    if out is None:
        with tempfile.TemporaryDirectory() as folder:
            return find_strategies(source, folder, classes=classes, tried=tried, seed=seed, on_class=on_class, **run)
    worker, store, progress = collect_maps(source, out, **run)
    keys = np.array(worker.keys, dtype=np.int64)
    targets, peaks = store.columns_of(keys, "target", "peak")
    search = _Search(worker, targets, peaks, tried, seed)
    wanted = search.choose(classes)
    inspected: list[InspectedClass] = []
    strategies: list[Strategy] = []
    for maps in store.by_class(keys, wanted):
        if on_class is not None:
            on_class(search.label(maps.target), len(inspected) + 1, len(np.unique(wanted[wanted >= 0])))
        one, its = search.look(maps)
        inspected.append(one)
        strategies += its
    return Inspection(
        model=worker.model.name,
        method=worker.method.name,
        of=worker.of,
        names=[sample.name for sample in worker.samples],
        classes=tuple(inspected),
        strategies=tuple(judge(strategies)),
        progress=progress,
        settings=store.settings,
        worker=worker,
    )


def count_trials(worker: Worker, images: int, classes: Sequence[str | int] | None, tried: int = TRIED) -> float:
    """Return about how many passes the trials will take, of so many of the pictures, evenly spread.

    How many are of a class is known by their labels; predicted classes are taken to be as large.

    Raises:
        UnknownTarget: there is no such class.
    """
    model, samples = worker.model, worker.samples
    every = model.classes(worker.first[None])
    sizes = np.bincount(worker.targets, minlength=every) if worker.targets else np.full(every, len(samples) / every)
    sizes = (sizes * images / len(samples)).astype(int)
    located = any(sample.mask is not None or sample.boxes for sample in samples)
    numbers = range(every) if classes is None else [find_class(one, every, model.labels) for one in classes]
    return sum(
        PASSES * (1 + min(tried, int(sizes[number]) // FEWEST)) + PASSES_BESIDE * (1 + GROUPS) * located
        for number in numbers
        if min(sizes[number], images - sizes[number]) >= FEWEST
    )


class _Search:
    """Looks for the strategies of one class after another."""

    def __init__(self, worker: Worker, targets: Places, peaks: Places, tried: int, seed: int) -> None:
        self._worker, self._targets, self._tried, self._seed = worker, targets, tried, seed
        self._prover, self._looks = Prover(worker, seed), Looks(worker, peaks)

    def label(self, target: int) -> str:
        labels = self._worker.model.labels
        return labels[target] if labels else str(target)

    def choose(self, classes: Sequence[str | int] | None) -> Places:
        """Return the class of each picture that is wanted, and -1 for all others.

        Raises:
            UnknownTarget: there is no such class.
            InvalidOption: no picture is explained for it.
        """
        if classes is None:
            return self._targets
        model = self._worker.model
        numbers = [find_class(one, model.classes(), model.labels) for one in classes]
        for name, number in zip(classes, numbers, strict=True):
            if not (self._targets == number).any():
                raise InvalidOption(f"no picture is explained for the class {show(name)}")
        return np.where(np.isin(self._targets, numbers), self._targets, -1)

    def look(self, maps: ClassMaps) -> tuple[InspectedClass, list[Strategy]]:
        """Find the strategies of a class, and try the most suspicious."""
        label, seen = self.label(maps.target), usable(maps.maps)
        known = InspectedClass(maps.target, label, maps.places, embed(maps.maps, self._seed), maps.probability)
        if seen.sum() < SMALLEST:
            few = f"strategies take {SMALLEST} maps that say where the network looks, and it has {int(seen.sum())}"
            return replace(known, note=few), []
        clusters = cluster(maps.maps, seed=self._seed)
        p = isolation_p(maps.maps, clusters, seed=self._seed)
        everyone = np.flatnonzero(seen)
        whole = self._strategy(maps, everyone, "class", float("nan"))
        groups = [
            self._strategy(maps, one.members, one.source, 1 - float(isolated))
            for one, isolated in zip(clusters.candidates, p, strict=True)
            if len(one.members) < WHOLE * len(everyone) and isolated <= ALPHA
        ]
        groups += [self._strategy(maps, rows, "features", float("nan")) for rows in self._near(maps.features, seen)]
        groups.sort(key=lambda strategy: (len(strategy.members) < FEWEST, -strategy.signs.suspicion))
        beside = [self._strategy(maps, rows, "beside", float("nan")) for rows in self._near(maps.beside, seen)]
        known = replace(known, clusters=clusters.n_clusters, agreement=clusters.agreement, fixed=whole.signs.fixed)
        at = {int(place): i for i, place in enumerate(maps.places)}
        tried = [self._try(one, maps, at) for one in (*groups[: self._tried], *beside)]
        return known, [
            self._try(whole, maps, at),
            *tried,
            *(replace(one, untried=LATER) for one in groups[self._tried :]),
        ]

    def _near(self, seen_there: npt.NDArray[np.float32], usable: npt.NDArray[np.bool_]) -> Iterator[Places]:
        """Yield clusters of the class's pictures by what the network sees in them last (Chen et al. 2018)."""
        rows = np.flatnonzero(usable & np.isfinite(seen_there).all(1))
        features = seen_there[rows]
        if features.shape[1] and len(rows) >= GROUPS * SMALLEST:
            scaled = (features - features.mean(0)) / np.maximum(features.std(0), 1e-6)
            labels = kmeans(scaled.astype(np.float64), GROUPS, seed=self._seed).labels
            yield from (rows[labels == label] for label in range(GROUPS) if (labels == label).sum() >= SMALLEST)

    def _strategy(self, maps: ClassMaps, rows: Places, source: Any, isolated: float) -> Strategy:
        p = shares(maps.maps[rows])
        mean = p.mean(0)
        typical = np.argsort(((p - mean) ** 2).sum((1, 2)), kind="stable")[:EXAMPLES]
        outside = maps.outside[rows]
        signs = Signs(
            fixed=fixedness(maps.maps[rows]),
            isolated=isolated,
            alike=self._alike(maps, rows),
            outside=float(np.nanmean(outside)) if np.isfinite(outside).any() else float("nan"),
        )
        return Strategy(
            maps.target,
            self.label(maps.target),
            maps.places[rows],
            len(maps),
            source,
            signs,
            mean,
            maps.places[rows[typical]],
            maps.maps[rows[typical]],
        )

    def _alike(self, maps: ClassMaps, rows: Places) -> float:
        rng = np.random.default_rng((self._seed, maps.target, len(rows)))
        rows = rng.permutation(rows)[:MOST]
        others = self._others(maps.target)
        if len(rows) < SMALLEST or not len(others) or self._looks.layer is None:
            return float("nan")
        return likeness(self._looks.describe(maps.places[rows]), self._looks.describe(rng.permutation(others)[:MOST]))

    def _others(self, target: int) -> Places:
        return np.flatnonzero((self._targets >= 0) & (self._targets != target) & (self._looks.peaks >= 0))

    def _try(self, strategy: Strategy, maps: ClassMaps, at: dict[int, int]) -> Strategy:
        rows = np.array([at[int(place)] for place in strategy.members])
        rest = np.setdiff1d(np.flatnonzero(usable(maps.maps)), rows)
        others = self._others(maps.target)
        group = Group(maps.target, strategy.members, maps.maps[rows], maps.places[rest], maps.maps[rest], others)
        beside, moves = strategy.source == "beside", strategy.signs.fixed < MOVING
        bounds: dict[Bound, bool] = {
            "place": not beside,
            "evidence": not beside and moves,
            "beside": beside or strategy.source == "class",
            "agreement": not beside,
            "whole": not beside,
        }
        proofs = [
            proof for bound, fits in bounds.items() if fits and (proof := self._prover.prove(group, bound)) is not None
        ]
        few = (
            f"too few pictures for a proof: {len(rows)} follow it, and of other classes there are {len(others)} "
            f"with a map; {FEWEST} of each are needed"
        )
        return replace(strategy, proofs=tuple(proofs), untried="" if proofs else few)


def judge(strategies: Sequence[Strategy]) -> list[Strategy]:
    """Return strategies with the verdicts that their trials allow together: proven ones first, then by suspicion.

    Of proven ones that share most of their pictures one is told: that with the clearer trial, or with more pictures.
    """
    bases = iter(proven([proof for strategy in strategies for proof in strategy.proofs]))
    sure: list[tuple[float, Strategy]] = []
    others: list[Strategy] = []
    for strategy in strategies:
        held = [(proof, basis) for proof in strategy.proofs if (basis := next(bases))]
        if not held:
            others.append(strategy)
            continue
        proof, basis = max(held, key=lambda one: one[0].effect)
        said = state(strategy.label, len(strategy.members), strategy.pictures, proof, basis)
        proofs = (proof, *(other for other in strategy.proofs if other is not proof))
        sure.append((proof.effect, replace(strategy, verdict=said, basis=basis, proofs=proofs)))
    first: list[Strategy] = []
    for _, strategy in sorted(sure, key=lambda one: (-int(one[0] / CLEAR), -len(one[1].members))):
        if any(_repeats(strategy, clearer) for clearer in first):
            others.append(replace(strategy, verdict="", basis=(), untried=REPEATS))
        else:
            first.append(strategy)
    return [*first, *sorted(others, key=lambda one: -one.signs.suspicion)]


def _repeats(strategy: Strategy, clearer: Strategy) -> bool:
    """Whether most of a strategy's pictures follow another of the class, or most of the other's follow it."""
    if strategy.target != clearer.target:
        return False
    common = len(np.intersect1d(strategy.members, clearer.members))
    return 2 * common > min(len(strategy.members), len(clearer.members))
