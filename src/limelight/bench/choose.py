"""A race of methods on the user's own model and pictures: what is clearly worse leaves early.

All methods are judged on the same pictures, round by round, and every round doubles the pictures that have been seen.
After each, the methods still in the race are compared with the best of them (``standing``); those that are clearly
worse are dropped, so that pictures and passes go where the decision is open. That is a race as in Maron and Moore 1994
(``maron1994``) and Birattari et al. 2002 (``birattari2002``), with a paired permutation test in place of Hoeffding's
bound or Friedman's test, because a metric's figure need not be a mean of bounded numbers (ADCC's is not).
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import nn

from limelight import api
from limelight.api.evaluating import images_at_once, settings_of
from limelight.api.forecasting import forecast
from limelight.api.inputs import Unreadable, first_input, readable, wanted_targets
from limelight.bench.race import FIRST, duel, schedule, standing
from limelight.data.samples import Sample
from limelight.engine.budget import limits
from limelight.engine.method import Method, as_method
from limelight.errors import InvalidImage, InvalidOption, LimelightError
from limelight.model.classifier import Classifier
from limelight.model.targets import Asked, TargetLike, either_name
from limelight.ops import statistics
from limelight.progress import Forecast, watched
from limelight.results.tables import Results, Row
from limelight.scoring.evaluate import columns, labelled, listed
from limelight.scoring.metric import Metric, as_metric

Floats = npt.NDArray[np.float64]

USUAL = (
    *("grad-cam", "layer-cam", "grad-cam++", "eigen-cam", "relevance-cam", "input-x-gradient", "lrp-epsilon-plus"),
    *("attribution-equilibrium", "cluster-cam", "group-cam", "collection-cam"),
)
"""Methods that run if none are named: some of each family, from cheap to dear."""

FLOOR = ("random-map", "centre-map")
"""Maps that know nothing of the picture. They always run along and are never recommended."""

MOST_PASSES = 100
"""Passes per picture up to which a method is among the usual or the ``quick`` ones."""

SAME_COST = 1.5
"""Up to so many times the cheapest's passes cost the same: nobody takes the worse figure to save half a pass."""


@dataclass(frozen=True)
class Round:
    """What was known when a round was over.

    Attributes:
        number: from 1.
        pictures: judged so far.
        figures: each method's figure on them by the metric that decides; of those that ran in this round.
        p: how surely each is worse than the best, corrected for the number of methods and rounds; see ``standing``.
        best: the method with the best figure.
        dropped: those that left the race.
        passes: spent so far, forward and backward.
    """

    number: int
    pictures: int
    figures: Mapping[str, float]
    p: Mapping[str, float]
    best: str
    dropped: tuple[str, ...]
    passes: float


@dataclass(frozen=True)
class Spent:
    """What a race cost.

    Attributes:
        passes: forward and backward, of explaining and judging, in full-model equivalents; a pass that several methods
            share counts for each of them.
        seconds: by the clock.
        full: passes that all methods would have taken on all pictures given.
    """

    passes: float
    seconds: float
    full: float

    @property
    def saved(self) -> float:
        """Share of the full evaluation's passes that was not spent, in [0, 1]."""
        return max(0.0, 1 - self.passes / self.full) if self.full else 0.0


@dataclass(frozen=True)
class Standing:
    """Where a method ended.

    Attributes:
        method: its name.
        figures: metric -> figure and both ends of its 95 % bootstrap interval (NaN with less than two pictures).
        pictures: on which it was judged.
        empty: maps of them that are empty.
        passes: of one explanation, forward and backward, in full-model equivalents.
        seconds: of one explanation.
        dropped: the round after which it left the race; 0 if it never did.
        p: against the best: corrected as in ``standing`` if it was dropped, of one two-sided test if not; NaN for the
            best itself, and where nothing can be said.
        like_best: whether it is the best or not distinguishable from it by that one test, which is more readily
            significant than what it takes to be dropped: the cheapest should not be recommended for want of pictures.
        floor: whether it is one of those that know nothing.
    """

    method: str
    figures: Mapping[str, tuple[float, float, float]]
    pictures: int
    empty: int
    passes: float
    seconds: float
    dropped: int
    p: float
    like_best: bool
    floor: bool


@dataclass(frozen=True)
class Choice:
    """The outcome of a race.

    Attributes:
        recommended: name of the method.
        reason: why, in a sentence.
        cautions: what should be known before it is trusted, a sentence each.
        best: the method with the best figure by the metric that decides.
        standings: every method, the best first, those that were dropped last.
        rounds: the course of the race.
        spent: what it cost.
        stopped: why it ended.
        results: all numbers; a dropped method has rows of the pictures up to then.
        methods: those that ran, by the name that stands in the rows.
        given: pictures there were.
        alpha: chance at most with which the truly best method was dropped.
        left_out: methods that the model can't have, and why.
        unreadable: pictures that can't be read and were left out, and why.
    """

    recommended: str
    reason: str
    cautions: tuple[str, ...]
    best: str
    standings: tuple[Standing, ...]
    rounds: tuple[Round, ...]
    spent: Spent
    stopped: str
    results: Results = field(repr=False)
    methods: Mapping[str, Method] = field(repr=False)
    given: int
    alpha: float
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])
    unreadable: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def metric(self) -> str:
        """The metric that decides."""
        return next(iter(self.results.columns))

    @property
    def finished(self) -> bool:
        """Whether the race went to its end: one method was left, or no picture."""
        return self.pictures == self.given or sum(not s.dropped for s in self.standings) == 1

    @cached_property
    def pictures(self) -> int:
        """Pictures that were judged."""
        return len(self.results.images)

    def __getitem__(self, method: str) -> Standing:
        """Return where a method ended."""
        found = next((s for s in self.standings if s.method == method), None)
        if found is None:
            raise InvalidOption(f"{method!r} did not run; there are: {', '.join(s.method for s in self.standings)}")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return all but the single numbers, ready for JSON; what is not defined is None."""
        settings = self.results.settings
        return _plain(
            {
                "recommended": self.recommended,
                "reason": self.reason,
                "cautions": list(self.cautions),
                "best": self.best,
                "metric": self.metric,
                "stopped": self.stopped,
                "pictures": self.pictures,
                "given": self.given,
                "alpha": self.alpha,
                "spent": vars(self.spent) | {"saved": self.spent.saved},
                "standings": [vars(s) for s in self.standings],
                "rounds": [vars(r) for r in self.rounds],
                "left_out": dict(self.left_out),
                "unreadable": dict(self.unreadable),
                "protocols": {name: c.protocol for name, c in self.results.columns.items()},
                "settings": settings,
            }
        )


# -- the race ----------------------------------------------------------------------------------------------


@either_name
def choose(
    classifier: Classifier | nn.Module | str,
    images: Any,
    methods: Literal["quick", "all"] | Sequence[str | Method] | None = None,
    metric: str | Metric | Sequence[str | Metric] = "adcc",
    targets: TargetLike = None,
    *,
    budget: str | None = None,
    alpha: float = 0.05,
    first: int = FIRST,
    seed: int = 0,
    batch_size: int | None = None,
    strict: bool = False,
    on_round: Callable[[Round], None] | None = None,
    on_rows: Callable[[int, int], None] | None = None,
    options: Mapping[str, Any] | None = None,
    progress: bool | None = None,
    target: TargetLike = None,
) -> Choice:
    """Race methods on your own model and pictures, and recommend one.

    Of those that are not distinguishable from the best, the cheapest is recommended: the fewest passes per explanation,
    and at about equal cost (``SAME_COST``) the better figure. ``FLOOR`` runs along, and it is said where the
    recommended one is not clearly better.

    Args:
        classifier: a ``Classifier``, a module, or a name that ``load`` knows.
        images: as in ``evaluate``.
        methods: names or methods; None for ``USUAL``, ``"quick"`` for all up to 100 passes per picture, ``"all"``; of
            these three what the model can't have is left out.
        metric: name or metric, or several: the first decides.
        targets: as in ``evaluate``.
        target: another name of ``targets``.
        budget: of the whole race, explaining and judging: ``"5000 forwards"`` (backward passes count too) or
            ``"60 s"``. The last round takes as many pictures as it still pays for.
        alpha: chance at most that the truly best method is dropped.
        first: pictures of the first round at least.
        seed: of the order of the pictures, and of the permutations.
        batch_size: as in ``evaluate``.
        strict: as in ``evaluate``; pictures that are left out are in ``unreadable``.
        on_round: called after each round.
        on_rows: called with the number of explanations that are judged, and of those that there may be in all.
        options: of all methods given by name.
        progress: as in ``explain``.

    Raises:
        LimelightError: see ``limelight.errors``; ``InvalidOption`` where a budget does not pay for the first round.
            Whatever stops a race, also Ctrl-C, carries the ``Choice`` from what was finished in its attribute
            ``finished`` (None if that is too little).
    """
    if not 0 < alpha < 1:
        raise InvalidOption(f"alpha = {alpha}; it lies between 0 and 1")
    if first < 1:
        raise InvalidOption(f"first = {first}; at least 1 picture")
    images_at_once(batch_size)  # refuses a batch of none
    most = limits(budget)
    if budget is not None and (min(most) == math.inf or min(most) <= 0):
        raise InvalidOption(f'a budget of {budget!r}: it is "5000 forwards" or "60 s", for the whole race')
    judges = labelled([as_metric(m) for m in listed(metric, "metrics")])
    chosen = _named(methods, options or {})
    model, samples = api.as_classifier(classifier), api.as_samples(images)
    if not samples:
        raise InvalidImage("the list of images is empty")
    wanted = wanted_targets(model, samples, targets)
    left_out = _refused(methods, model, samples, wanted, chosen, progress)
    racers = labelled([m.located(model) for m in chosen if m.name not in left_out])
    if sum(not _idle(m) for m in racers.values()) < 2:
        said = f" ({'; '.join(left_out.values())})" if left_out else ""
        idle = [name for name, m in racers.items() if _idle(m)]
        alone = f"; {', '.join(idle)} say{'s' if len(idle) == 1 else ''} nothing of the network" if idle else ""
        raise InvalidOption(f"there is nothing to choose from: a race takes at least two methods{alone}{said}")
    racers |= {name: api.method(name) for name in FLOOR if name not in racers}
    race = _Race(model, samples, wanted, racers, judges, alpha, seed, batch_size, on_rows, left_out, strict)
    try:
        with watched("racing", progress) as watch:
            watch.expect(lambda: _forecast(race, budget))
            stopped = _run(race, schedule(len(samples), first), budget, on_round)
        race.unreadable.tell(race.seen + len(race.unreadable))
    except BaseException as error:  # hours of work are not lost to one broken file or an impatient key
        setattr(error, "finished", _finished(race, error))  # noqa: B010
        raise
    return race.choice(stopped)


def _forecast(race: "_Race", budget: str | None) -> Forecast:
    """Return what the race takes if nothing is dropped."""
    x = first_input(race.model, (s.image for s in race.samples))[None]
    most = forecast(race.model, x, race.methods.values(), race.judges.values(), images=len(race.samples))
    passes, seconds = limits(budget)
    share = min(1.0, passes / max(most.passes, 1.0), seconds / max(most.seconds, 1e-9))
    return replace(most.scaled(share), at_most=True)


def _named(methods: Any, options: Mapping[str, Any]) -> list[Method]:
    if methods is None or methods in ("quick", "all"):
        names = USUAL if methods is None else [n for n, c in api.methods().items() if c.family != "baseline"]
        return [api.method(name, **options) for name in names if name != "fake-cam"]
    if isinstance(methods, str):
        raise InvalidOption(f"methods = {methods!r}; give a list of names, 'quick', 'all', or nothing")
    return [m if isinstance(m, Method) else as_method(m, **options) for m in listed(methods, "methods")]


def _refused(
    methods: Any,
    model: Classifier,
    samples: Sequence[Sample],
    wanted: Asked,
    chosen: list[Method],
    progress: bool | None,
) -> dict[str, str]:
    if methods is not None and methods not in ("quick", "all"):
        return {}
    first = wanted[:1] if isinstance(wanted, list) else wanted
    x = first_input(model, (s.image for s in samples))
    most = None if methods == "all" else MOST_PASSES
    return api.refusals(model, x, chosen, first, most, progress=progress)


def _idle(method: Method) -> bool:
    """Tell whether a method's maps know nothing, so that it can't be recommended."""
    return method.card.family == "baseline" or method.card.name == "fake-cam"


def _run(race: "_Race", ends: list[int], budget: str | None, on_round: Callable[[Round], None] | None) -> str:
    """Go from round to round; return why the race is over."""
    race.tests = len(ends) * (len(race.methods) - 1)
    for end in ends:
        if race.seen == 0 and budget is not None:
            race.judge(1)  # tells what a picture costs
            if limits(budget)[1] < math.inf and end > 1:
                race.judge(1)  # and this one how long it takes, once all that it needs is loaded
        fits = race.affordable(budget)
        if fits < end - race.seen:
            if not race.rounds:
                raise InvalidOption(
                    f"a budget of {budget} does not pay for the first round: {len(race.racers)} methods on {end} "
                    f"pictures take about {race.price(end, budget)}; give more, or fewer methods or metrics"
                )
            if fits < 1:
                return f"the budget of {budget} is spent"
        if race.seen < min(end, len(race.samples)):
            race.judge(min(end - race.seen, fits))
        finished = race.close()
        if not finished.best:
            raise InvalidOption(_undefined(race))
        if on_round is not None:
            on_round(finished)
        if len(race.racers) == 1:
            return "one method is left"
        if race.seen == len(race.samples):
            break
        if race.seen < end:
            return f"the budget of {budget} is spent"
    return "all pictures have been judged"


def _finished(race: "_Race", error: BaseException) -> Choice | None:
    """Say what may be said although something went wrong."""
    if not race.rows or not (race.rounds or isinstance(error, KeyboardInterrupt)):
        return None
    try:
        return race.choice("it was interrupted" if isinstance(error, KeyboardInterrupt) else f"it failed: {error}")
    except LimelightError:
        return None


class _Race:
    """The methods still running, and what is known of all.

    Attributes:
        racers: names of those that run, in the order given.
        seen: pictures judged.
        tests: see ``standing``.
        pace: seconds per pass when pictures were last judged.
    """

    def __init__(
        self,
        model: Classifier,
        samples: Sequence[Sample],
        wanted: Any,
        methods: Mapping[str, Method],
        judges: Mapping[str, Metric],
        alpha: float,
        seed: int,
        batch_size: int | None,
        on_rows: Callable[[int, int], None] | None,
        left_out: Mapping[str, str],
        strict: bool,
    ) -> None:
        order = np.random.default_rng(seed).permutation(len(samples)).tolist()
        self.samples = [samples[i] for i in order]
        self.wanted = [wanted[i] for i in order] if isinstance(wanted, list) else wanted
        self.model, self.methods, self.judges = model, methods, judges
        self.alpha, self.seed, self.batch_size, self.on_rows, self.left_out = alpha, seed, batch_size, on_rows, left_out
        self.racers, self.seen, self.tests = list(methods), 0, len(methods) - 1
        self.unreadable = Unreadable(strict)
        self.rounds: list[Round] = []
        self.rows: list[Row] = []
        self.start, self.pace = time.perf_counter(), 0.0

    # -- going on ------------------------------------------------------------------------------------------

    def judge(self, pictures: int) -> None:
        """Let all that are in the race explain so many pictures more, passing over those that can't be read.

        Raises:
            InvalidImage: none can be read.
        """
        before, end = (self.passes, self.seconds), self.seen + pictures
        while self.seen < min(end, len(self.samples)):
            some = self._next(min(end - self.seen, images_at_once(self.batch_size)))
            if some:
                self._judge(some)
        if not self.samples:
            self.unreadable.tell(len(self.unreadable))
        if self.passes > before[0]:
            self.pace = (self.seconds - before[1]) / (self.passes - before[0])

    def _next(self, count: int) -> list[Sample]:
        """Read the next pictures, so many that can be; each is then the network's input, with the mask there."""
        found: list[Sample] = []
        while len(found) < count and (at := self.seen + len(found)) < len(self.samples):
            sample = self.samples[at]
            read = self.unreadable.tried(sample.name, lambda sample=sample: readable(self.model, sample))
            if read is None:
                del self.samples[at]
                if isinstance(self.wanted, list):
                    del self.wanted[at]
                continue
            x, mask = read
            found.append(
                Sample(
                    x,
                    sample.name,
                    sample.label,
                    mask=None if mask is None else mask.cpu().numpy(),
                    difficult=sample.difficult,
                    others=sample.others,
                    classes=sample.classes,
                )
            )
        return found

    def _judge(self, some: Sequence[Sample]) -> None:
        asked = self.wanted[self.seen : self.seen + len(some)] if isinstance(self.wanted, list) else self.wanted
        racers = {name: self.methods[name] for name in self.racers}
        done, most = len(self.rows), len(self.rows) + len(racers) * (len(self.samples) - self.seen)

        def counted(rows: list[Row]) -> None:
            nonlocal done
            done += len(rows)
            if self.on_rows is not None:
                self.on_rows(done, most)

        try:
            found = api.evaluate(
                self.model, some, racers, self.judges, asked, batch_size=self.batch_size, strict=True, on_rows=counted
            )
        except BaseException as error:
            if isinstance(rest := getattr(error, "finished", None), Results):
                self._keep(rest)
            raise
        self._keep(found)

    def _keep(self, found: Results) -> None:
        """Take the rows of pictures that all in the race have finished."""
        by_image: dict[str, list[Row]] = {}
        for row in found.rows:
            by_image.setdefault(row.image, []).append(row)
        whole = [rows for rows in by_image.values() if len(rows) == len(self.racers)]
        self.rows += [row for rows in whole for row in rows]
        self.seen += len(whole)

    def close(self) -> Round:
        """Compare those in the race, and drop the clearly worse."""
        kind, columns, groups, better = self._decisive(self.racers)
        able = [not _idle(self.methods[name]) for name in self.racers]
        best, figures, p = standing(
            kind, columns, better, self.tests, groups=groups, may_lead=able, alpha=self.alpha, seed=self.seed
        )
        dropped = tuple(name for name, value in zip(self.racers, p, strict=True) if value < self.alpha)
        self.rounds.append(
            Round(
                number=len(self.rounds) + 1,
                pictures=self.seen,
                figures=dict(zip(self.racers, figures.tolist(), strict=True)),
                p=dict(zip(self.racers, p.tolist(), strict=True)),
                best=self.racers[best] if best >= 0 else "",
                dropped=dropped,
                passes=self.passes,
            )
        )
        self.racers = [name for name in self.racers if name not in dropped]
        return self.rounds[-1]

    @property
    def passes(self) -> float:
        """Passes spent so far."""
        return sum(map(_passes, self.rows))

    @property
    def seconds(self) -> float:
        """Seconds since the race began."""
        return time.perf_counter() - self.start

    def affordable(self, budget: str | None) -> int:
        """Return on how many more pictures the budget lets all in the race be judged."""
        passes, seconds = limits(budget)
        if not self.rows:
            return len(self.samples)
        each = self._each()
        left = (passes - self.passes) / each, (seconds - self.seconds) / (each * self.pace)
        return max(0, int(min(*left, len(self.samples))))

    def price(self, pictures: int, budget: str | None) -> str:
        """Say what so many pictures take, in the budget's unit."""
        passes = self._each() * pictures
        if limits(budget)[0] < math.inf:
            return f"{passes:z,.0f} forwards"
        return f"{passes * self.pace:z.2g} s"

    def _each(self) -> float:
        """Return the passes that a picture takes with all in the race."""
        cost = self._costs()
        return sum(cost[name] for name in self.racers)

    def _costs(self) -> dict[str, float]:
        """Return the passes per picture of each method with its judging."""
        found: dict[str, list[float]] = {}
        for row in self.rows:
            found.setdefault(row.method, []).append(_passes(row))
        return {name: float(np.mean(some)) for name, some in found.items()}

    def _decisive(self, names: Sequence[str]) -> tuple[statistics.Pooling, list[Floats], Any, Any]:
        """Return the pooling of the metric that decides, the values of some methods, the classes, what is good."""
        results = Results([r for r in self.rows if r.method in names], columns(self.judges))
        metric = next(iter(self.judges))
        kind, values, groups = results.pooled(metric)
        at = {name: i for i, name in enumerate(results.methods)}
        return kind, [values[at[name]] for name in names], groups, self.judges[metric].better

    # -- the end -------------------------------------------------------------------------------------------

    def choice(self, stopped: str) -> Choice:
        """Say what may be said.

        Raises:
            InvalidOption: the metric that decides is not defined for any picture.
        """
        metric = next(iter(self.judges))
        kind, values, groups, better = self._decisive(self.racers)
        sign = 1 if better == "higher" else -1
        column = dict(zip(self.racers, values, strict=True))
        figure = {name: statistics.estimate(kind, column[name], groups) for name in self.racers}
        able = [n for n in self.racers if not _idle(self.methods[n]) and figure[n] == figure[n]]
        if not able:
            raise InvalidOption(_undefined(self))
        best = max(able, key=lambda n: sign * round(figure[n], 9))
        p = {
            n: duel(kind, column[best], column[n], better, groups, seed=self.seed)[1] for n in self.racers if n != best
        }
        alike = [n for n in able if n == best or not p[n] < self.alpha]
        results = Results(self.rows, columns(self.judges), settings_of(self.model, self.methods, self.judges))
        standings = {s.method: s for s in self._standings(results, p, alike)}
        least = min(standings[n].passes for n in alike)
        cheap = [n for n in alike if standings[n].passes <= SAME_COST * least]
        recommended = max(cheap, key=lambda n: sign * round(figure[n], 9))
        full = sum(self._costs().values()) * len(self.samples)
        found = Choice(
            recommended=recommended,
            reason=_reason(recommended, best, alike, standings, results, len(able), self.alpha),
            cautions=(),
            best=best,
            standings=tuple(sorted(standings.values(), key=lambda s: _order(s, metric, sign, len(self.rounds)))),
            rounds=tuple(self.rounds),
            spent=Spent(self.passes, self.seconds, full),
            stopped=stopped,
            results=results,
            methods=self.methods,
            given=len(self.samples),
            alpha=self.alpha,
            left_out=self.left_out,
            unreadable=dict(self.unreadable),
        )
        return replace(found, cautions=tuple(self._cautions(found, len(alike))))

    def _standings(self, results: Results, p: Mapping[str, float], alike: Sequence[str]) -> Iterator[Standing]:
        dropped = {name: r for r in self.rounds for name in r.dropped}
        pooled = {metric: results.pooled(metric) for metric in self.judges}
        for i, name in enumerate(results.methods):
            rows = [r for r in results.rows if r.method == name]
            yield Standing(
                method=name,
                figures={
                    metric: (
                        statistics.estimate(kind, values[i], groups),
                        *statistics.interval(kind, values[i], groups, seed=self.seed),
                    )
                    for metric, (kind, values, groups) in pooled.items()
                },
                pictures=len(rows),
                empty=sum(bool(r.reason) for r in rows),
                passes=float(np.mean([r.forwards + r.backwards for r in rows])),
                seconds=float(np.mean([r.seconds for r in rows])),
                dropped=dropped[name].number if name in dropped else 0,
                p=dropped[name].p[name] if name in dropped else p.get(name, math.nan),
                like_best=name in alike,
                floor=_idle(self.methods[name]),
            )

    def _cautions(self, choice: Choice, alike: int) -> Iterator[str]:
        name = choice.recommended
        floors = [n for n in self.methods if _idle(self.methods[n])]
        for floor in floors:
            kind, (one, other), groups, better = self._decisive([name, floor])
            ahead, p = duel(kind, one, other, better, groups, seed=self.seed)
            # One-sided and corrected for the number of floors.
            if not (ahead > 0 and p / 2 * len(floors) < self.alpha):
                figures = " against ".join(f"{choice[n].figures[choice.metric][0]:z.3f}" for n in (name, floor))
                yield (
                    f"{name} is not clearly better than {floor}, which knows nothing of the picture: {figures} by "
                    f"{choice.metric}, {_p(p)}."
                )
        if self.tests * 0.5**self.seen >= self.alpha:
            wanted = math.floor(math.log2(self.tests / self.alpha)) + 1
            yield (
                f"{_count('picture', self.seen)} are too few for anything to be dropped from this race, however clear: "
                f"it takes {wanted}."
            )
        if alike > 1 and self.seen < len(self.samples):
            yield (
                f"{self.seen} of {len(self.samples)} pictures were judged; with more of them the {alike} methods that "
                "can't be told apart might be."
            )
        kept = [s for s in choice.standings if not s.dropped and not s.floor and s.method != name]
        cheaper = next((s for s in kept if SAME_COST * s.passes < choice[name].passes), None)
        if cheaper is not None:
            yield (
                f"If passes matter more: {cheaper.method} reaches {cheaper.figures[choice.metric][0]:z.3f} at "
                f"{_count('pass', float(f'{cheaper.passes:z.3g}'))} per picture."
            )
        if choice[name].empty:
            yield f"{choice[name].empty} of the {choice[name].pictures} maps of {name} are empty."


def _undefined(race: _Race) -> str:
    pictures = _count("picture", race.seen)
    return f"{next(iter(race.judges))} is not defined on the first {pictures} for any method; choose by another metric"


def _passes(row: Row) -> float:
    """Passes of explaining and judging."""
    return row.forwards + row.backwards + sum(row.spent.values())


def _order(s: Standing, metric: str, sign: int, rounds: int) -> tuple[int, bool, float]:
    """Put those that stayed longest first, and the best of them on top."""
    figure = s.figures[metric][0]
    return rounds + 1 - s.dropped if s.dropped else 0, figure != figure, -sign * figure


def _reason(
    name: str,
    best: str,
    alike: Sequence[str],
    standings: Mapping[str, Standing],
    results: Results,
    left: int,
    alpha: float,
) -> str:
    metric = next(iter(results.columns))
    pictures = _count("picture", standings[name].pictures)
    figure = {n: f"{standings[n].figures[metric][0]:z.3f}" for n in (name, best)}
    passes = {n: _count("pass", float(f"{standings[n].passes:z.3g}")) for n in (name, best)}
    if name != best:
        return (
            f"{name}: as good as the best ({best}) as far as {pictures} can tell, {figure[name]} against "
            f"{figure[best]} by {metric} ({_p(standings[name].p)}), at {passes[name]} per picture instead of "
            f"{passes[best]}."
        )
    said = f"{name}: the best by {metric} on {pictures} ({figure[name]} at {passes[name]} per picture)"
    if len(alike) > 1:
        others = [n for n in alike if n != name]
        if len(others) == 1:
            return f"{said}; {others[0]}, which can't be told from it, does not cost much less."
        return f"{said}; none of the {len(others)} that can't be told from it costs much less."
    if left > 1:
        return f"{said}, and ahead of the {left - 1} others still in the race (p < {alpha:g} for each alone)."
    return f"{said}; every other method is clearly worse."


def _p(value: float) -> str:
    return f"p = {value:z.2g}" if value >= 1e-3 else "p < 0.001"


def _count(thing: str, count: float) -> str:
    many = thing if count == 1 else f"{thing}es" if thing.endswith("s") else f"{thing}s"
    return f"{count:,g} {many}"


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
