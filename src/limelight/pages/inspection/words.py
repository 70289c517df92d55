"""Say what an inspection found, and what it did not."""

from collections.abc import Sequence

from limelight.inspection.findings import ALPHA, MARGIN, Inspection, Strategy, counting
from limelight.inspection.inspect import LATER, REPEATS
from limelight.inspection.trial import Rate, Trial
from limelight.pages.formatting import format_count
from limelight.text import numbered, visible


def name_strategies(strategies: Sequence[Strategy]) -> list[str]:
    """Return a name for each strategy, such as ``star 2``, of which no two are one; the most suspicious is 1."""
    counts: dict[int, int] = {}
    names: list[str] = []
    for strategy in strategies:
        if strategy.source == "class":
            names.append(f"{strategy.label} (all)")
            continue
        counts[strategy.target] = counts.get(strategy.target, 0) + 1
        names.append(f"{strategy.label} {counts[strategy.target]}")
    return numbered(names, "{} ({})")


def conclude(inspection: Inspection) -> str:
    """Say how much is proven, and if nothing is, why."""
    proven, tried = len(inspection.verdicts), sum(bool(one.proofs) for one in inspection.strategies)
    if proven:
        many = "1 strategy is" if proven == 1 else f"{proven} strategies are"
        return f"{many} proven; {tried} {'was' if tried == 1 else 'were'} tried."
    if not inspection.strategies:
        most = inspection.classes[0]
        label, count = f"'{visible(most.label)}'", len(inspection.classes)
        about = f"Of {count:,} classes none has more pictures than {label}" if count > 1 else label
        return f"No strategy is proven, as none was looked for. {about}: {most.note}."
    if not tried:
        refused = [one for one in inspection.strategies if one.untried != LATER]
        why = max(refused, key=lambda one: len(one.members)).untried if refused else LATER
        return f"No strategy is proven, as none could be tried: {why}."
    return (
        f"No strategy is proven. {tried} of {len(inspection.strategies)} were tried, and "
        f"{_most_of(inspection.strategies)}; a verdict takes more than {100 * MARGIN:z.0f} points at the nearer end of "
        f"the interval, and p < {ALPHA:g} after correction. There may be strategies that these trials don't find."
    )


def _most_of(strategies: Sequence[Strategy]) -> str:
    trials = [one for strategy in strategies for proof in strategy.proofs for one in counting(proof)]
    _, most = max(trials, key=lambda one: one[1].difference[0] * (-1 if one[0] == "beyond" else 1))
    return f"the largest effect in a trial that counts is {write_difference(most)} points"


def name_result(strategy: Strategy) -> str:
    """Say in a word or two what became of a strategy."""
    if strategy.untried == REPEATS:
        return "repeats another"
    return "proven" if strategy.verdict else "not proven" if strategy.proofs else "not tried"


def say_result(strategy: Strategy) -> str:
    """Say what is proven of a strategy, or why nothing is."""
    if strategy.verdict:
        return f"{strategy.verdict}."
    return f"{name_result(strategy).capitalize()}: {strategy.untried or _most_of([strategy])}."


def write_rate(rate: Rate) -> str:
    """Write a share with its interval and what it is of."""
    return f"{rate} of {rate.n}"


def write_difference(trial: Trial) -> str:
    """Write a difference of two shares with its interval."""
    mean, low, high = (f"{100 * value:z.0f}".replace("-", "−") for value in trial.difference)
    return f"{'' if mean[0] in '−0' else '+'}{mean} [{low}, {high}]"


def write_share(value: float) -> str:
    """Write a sign, which may not be known."""
    return "–" if value != value else f"{value:z.2f}"


def count_classes(inspection: Inspection) -> str:
    """Say how many pictures of how many classes there are."""
    pictures = sum(len(one.places) for one in inspection.classes)
    count = len(inspection.classes)
    return f"{format_count('picture', pictures)} of {count:,} {'class' if count == 1 else 'classes'}"
