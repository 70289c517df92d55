"""The sentences that go with a recommendation: why this method, and what to know before it is trusted."""

import math
from collections.abc import Iterator, Mapping, Sequence

from limelight.bench.candidates import is_control
from limelight.bench.choice import SAME_COST, Choice, Standing
from limelight.bench.race import Race
from limelight.bench.wording import write_count, write_p


def give_reason(
    name: str,
    best: str,
    alike: Sequence[str],
    standings: Mapping[str, Standing],
    metric: str,
    left: int,
    alpha: float,
) -> str:
    """Return why a method is recommended, in a sentence.

    Args:
        name: of the method.
        best: the method with the best figure.
        alike: those that can't be told from the best.
        standings: where each method ended.
        metric: that decides.
        left: methods still in the race that may be recommended.
        alpha: level of the tests.
    """
    pictures = write_count("picture", standings[name].pictures)
    figure = {n: f"{standings[n].figures[metric][0]:z.3f}" for n in (name, best)}
    passes = {n: _write_passes(standings[n]) for n in (name, best)}
    if name != best:
        return (
            f"{name}: as good as the best ({best}) as far as {pictures} can tell, {figure[name]} against "
            f"{figure[best]} by {metric} ({write_p(standings[name].p)}), at {passes[name]} per picture instead of "
            f"{passes[best]}."
        )
    start = f"{name}: the best by {metric} on {pictures} ({figure[name]} at {passes[name]} per picture)"
    if len(alike) > 1:
        others = [n for n in alike if n != name]
        if len(others) == 1:
            return f"{start}; {others[0]}, which can't be told from it, does not cost much less."
        return f"{start}; none of the {len(others)} that can't be told from it costs much less."
    if left > 1:
        return f"{start}, and ahead of the {left - 1} others still in the race (p < {alpha:g} for each alone)."
    return f"{start}; every other method is clearly worse."


def list_cautions(race: Race, choice: Choice, alike: int) -> Iterator[str]:
    """Yield what should be known before the recommended method is trusted, a sentence each.

    Args:
        race: that is over.
        choice: its outcome.
        alike: how many methods can't be told from the best.
    """
    yield from _compare_with_floor(race, choice)
    yield from _ask_for_pictures(race, alike)
    yield from _name_cheaper(choice)
    recommended = choice[choice.recommended]
    if recommended.empty:
        yield f"{recommended.empty} of the {recommended.pictures} maps of {recommended.method} are empty."


def _compare_with_floor(race: Race, choice: Choice) -> Iterator[str]:
    """Yield what says that maps which know nothing may be as good."""
    name = choice.recommended
    controls = [n for n in race.methods if is_control(race.methods[n])]
    for control in controls:
        ahead, p = race.deciding_values([name, control]).compare(name, control, race.seed)
        # One-sided and corrected for the number of floors.
        if not (ahead > 0 and p / 2 * len(controls) < race.alpha):
            figures = " against ".join(f"{choice[n].figures[choice.metric][0]:z.3f}" for n in (name, control))
            yield (
                f"{name} is not clearly better than {control}, which knows nothing of the picture: {figures} by "
                f"{choice.metric}, {write_p(p)}."
            )


def _ask_for_pictures(race: Race, alike: int) -> Iterator[str]:
    """Yield what more pictures might show."""
    if race.tests * 0.5**race.seen >= race.alpha:
        least = math.floor(math.log2(race.tests / race.alpha)) + 1
        yield (
            f"{write_count('picture', race.seen)} are too few for anything to be dropped from this race, however "
            f"clear: it takes {least}."
        )
    if alike > 1 and race.seen < len(race.pictures):
        yield (
            f"{race.seen} of {len(race.pictures)} pictures were judged; with more of them the {alike} methods that "
            "can't be told apart might be."
        )


def _name_cheaper(choice: Choice) -> Iterator[str]:
    """Yield which method to take if passes matter more."""
    name = choice.recommended
    kept = [s for s in choice.standings if not s.dropped and not s.floor and s.method != name]
    cheaper = next((s for s in kept if SAME_COST * s.passes < choice[name].passes), None)
    if cheaper is not None:
        yield (
            f"If passes matter more: {cheaper.method} reaches {cheaper.figures[choice.metric][0]:z.3f} at "
            f"{_write_passes(cheaper)} per picture."
        )


def _write_passes(standing: Standing) -> str:
    return write_count("pass", float(f"{standing.passes:z.3g}"))
