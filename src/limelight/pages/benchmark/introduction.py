"""Say what a run measured, and how far it tells which method to trust."""

from collections import Counter
from collections.abc import Sequence

from limelight.card import METHODS
from limelight.pages.benchmark.run import Run
from limelight.pages.formatting import format_count, join_names
from limelight.pages.page import Block, Facts


def introduce(run: Run) -> list[Block]:
    """Say what was measured, and in how many comparisons it shows which method is best."""
    images = max((len(scores.images) for scores in run.models), default=0)
    methods = list(dict.fromkeys(m for scores in run.models for m in scores.methods))
    cells = sum(int(scores.there.sum()) for scores in run.models)
    failed = sum(failure.cells for failure in run.failures)
    target = {"top1": "predicted", "label": "true"}[run.recipe.target]
    text = (
        f"{format_count('picture', images)}, each explained for its {target} class on "
        f"{format_count('model', len(run.models))} by {format_count('method', len(methods))}, judged by "
        f"{format_count('metric', len(run.columns))}: {format_count('number', cells)}"
        + (f"; {failed:,} more failed." if failed else ".")
    )
    facts = _count_leaders(run)
    return [*([run.about] if run.about else []), text, *([Facts(facts)] if facts else [])]


def _count_leaders(run: Run) -> list[tuple[str, str]]:
    """Count in how many comparisons, of one metric on one model each, which methods may be the best."""
    comparisons = [
        [m for m in scores.methods if summary[m, metric].like_best]
        for scores, summary in run.by_model
        for metric in scores.columns
        if sum(summary[m, metric].rank > 0 for m in scores.methods) > 1
    ]
    if not comparisons:
        return []
    controls = _controls(run)
    return [
        _most_often_best(comparisons),
        _alone_at_the_top(comparisons),
        *([_controls_among_the_best(comparisons, controls)] if controls else []),
    ]


def _most_often_best(comparisons: Sequence[Sequence[str]]) -> tuple[str, str]:
    """Name the methods that are like the best most often."""
    often = Counter(name for names in comparisons for name in names)
    most = max(often.values())
    first = [name for name, count in often.items() if count == most]
    return (
        f"{most} of {len(comparisons)}",
        f"comparisons (one metric on one model) find {join_names([f'`{name}`' for name in first[:3]])}"
        f"{f' and {len(first) - 3} more' if len(first) > 3 else ''} best, or not distinguishable from the best; "
        "no method more often",
    )


def _alone_at_the_top(comparisons: Sequence[Sequence[str]]) -> tuple[str, str]:
    """Count the comparisons with one clear leader, and name the leaders."""
    alone = Counter(names[0] for names in comparisons if len(names) == 1)
    leaders = ", ".join(f"`{name}` in {count}" for name, count in alone.most_common(3))
    return (
        f"{alone.total()} of {len(comparisons)}",
        f"{'has' if alone.total() == 1 else 'have'} one clear leader"
        + (f": {leaders}" if alone else "; everywhere several methods may be the best"),
    )


def _controls(run: Run) -> set[str]:
    """Return the labels of the methods that know nothing of the model."""
    cards = METHODS.cards()
    return {e.label or e.name for e in run.recipe.methods if e.name in cards and cards[e.name].family == "baseline"}


def _controls_among_the_best(comparisons: Sequence[Sequence[str]], controls: set[str]) -> tuple[str, str]:
    """Count the comparisons that can't tell a method that knows nothing of the model from the best."""
    blind = [names for names in comparisons if controls.intersection(names)]
    among = [f"`{name}`" for name in dict.fromkeys(m for names in comparisons for m in names) if name in controls]
    text = (
        f"can’t tell even {' or '.join(among)} from the best, so they don’t say which to trust"
        if among
        else "can’t tell a map that knows nothing of the model from the best"
    )
    return f"{len(blind)} of {len(comparisons)}", text
