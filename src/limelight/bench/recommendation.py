"""What follows from a race: where each method ended, and which one is recommended."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from limelight.api.evaluating import settings_of
from limelight.bench.candidates import is_control
from limelight.bench.choice import SAME_COST, Choice, Spent, Standing
from limelight.bench.race import Race
from limelight.bench.reasons import give_reason, list_cautions
from limelight.errors import InvalidOption, LimelightError
from limelight.ops import statistics
from limelight.results.tables import Results
from limelight.scoring.evaluate import columns


def recommend(race: Race, left_out: Mapping[str, str], stopped: str) -> Choice:
    """Return the outcome of a race: of those that can't be told from the best, the cheapest is recommended.

    Args:
        race: that is over.
        left_out: methods that did not run, and why.
        stopped: why it is over.

    Raises:
        InvalidOption: the metric that decides is not defined for any picture.
    """
    values = race.deciding_values(race.running)
    figures = {name: values.figure(name) for name in race.running}
    able = [n for n in race.running if not is_control(race.methods[n]) and not math.isnan(figures[n])]
    if not able:
        raise InvalidOption(race.undefined)

    def quality(name: str) -> float:
        return values.sign * round(figures[name], 9)

    best = max(able, key=quality)
    p = {name: values.compare(best, name, race.seed)[1] for name in race.running if name != best}
    alike = [n for n in able if n == best or not p[n] < race.alpha]
    results = Results(race.rows, columns(race.metrics), settings_of(race.model, race.methods, race.metrics))
    standings = {s.method: s for s in _list_standings(race, results, p, alike)}
    least = min(standings[n].passes for n in alike)
    recommended = max((n for n in alike if standings[n].passes <= SAME_COST * least), key=quality)
    deciding = next(iter(race.metrics))
    choice = Choice(
        recommended=recommended,
        reason=give_reason(recommended, best, alike, standings, deciding, len(able), race.alpha),
        cautions=(),
        best=best,
        standings=tuple(sorted(standings.values(), key=lambda s: _rank(s, deciding, values.sign, len(race.rounds)))),
        rounds=tuple(race.rounds),
        spent=Spent(race.passes, race.seconds, sum(race.passes_per_picture().values()) * len(race.pictures)),
        stopped=stopped,
        results=results,
        methods=race.methods,
        given=len(race.pictures),
        alpha=race.alpha,
        left_out=left_out,
        unreadable=dict(race.pictures.unreadable),
    )
    return replace(choice, cautions=tuple(list_cautions(race, choice, len(alike))))


def recommend_unfinished(race: Race, left_out: Mapping[str, str], error: BaseException) -> Choice | None:
    """Return the outcome of a race that an error or an impatient key stopped; None if too little is known."""
    interrupted = isinstance(error, KeyboardInterrupt)
    if not race.rows or not (race.rounds or interrupted):
        return None
    try:
        return recommend(race, left_out, "it was interrupted" if interrupted else f"it failed: {error}")
    except LimelightError:
        return None


def _list_standings(race: Race, results: Results, p: Mapping[str, float], alike: Sequence[str]) -> Iterator[Standing]:
    """Yield where each method ended.

    Args:
        race: that is over.
        results: its rows.
        p: of those still in the race, against the best.
        alike: those that can't be told from the best.
    """
    dropped = {name: r for r in race.rounds for name in r.dropped}
    pooled = {metric: results.pool(metric) for metric in race.metrics}
    for i, name in enumerate(results.methods):
        rows = [r for r in results.rows if r.method == name]
        yield Standing(
            method=name,
            figures={
                metric: (
                    statistics.estimate(kind, values[i], groups),
                    *statistics.interval(kind, values[i], groups, seed=race.seed),
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
            floor=is_control(race.methods[name]),
        )


def _rank(standing: Standing, metric: str, sign: int, rounds: int) -> tuple[int, bool, float]:
    """Return what sorts methods: those that stayed longest first, and the best of them on top."""
    figure = standing.figures[metric][0]
    return rounds + 1 - standing.dropped if standing.dropped else 0, math.isnan(figure), -sign * figure
