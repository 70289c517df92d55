"""Show strategies: their pictures, how suspicious they are, and what happened when they were tried."""

from collections.abc import Mapping, Sequence
from dataclasses import fields

from limelight.bench.wording import write_p
from limelight.inspection.findings import Signs, Strategy
from limelight.inspection.proof import Proof
from limelight.inspection.trial import Rate, Reply, Trial
from limelight.inspection.words import name_evidence
from limelight.pages.inspection.concepts import show_parts
from limelight.pages.inspection.pictures import Thumbnails
from limelight.pages.inspection.words import name_result, say_result, write_difference, write_rate, write_share
from limelight.pages.page import Block, Details, Figures, Table, Value

DONE = {
    "clean": "unchanged",
    "taken": "patch filled in from around it",
    "beyond": "patch filled in, the object left alone",
    "same_class": "other pictures of the class, patch filled in",
    "others": "other classes, unchanged",
    "pasted": "other classes, one picture's patch pasted",
    "rival": "the same, against patches of the class's other pictures",
    "common": "other classes, the common patch pasted",
    "beside": "other classes, pasted what lies beside one picture's object",
}
"""What was done in each part of a proof."""

SOURCES: Mapping[str, str] = {
    "spectral": "cluster of maps",
    "density": "dense group of maps",
    "features": "alike in features",
    "beside": "alike beside the objects",
    "class": "whole class",
}


def list_trials(strategy: Strategy, proof: Proof) -> Table:
    """Return all rates of a proof, with their intervals."""
    held = strategy.basis if strategy.proofs[0] is proof else ()
    rows: list[list[str | Value]] = []
    for name in [*DONE, *(field.name for field in fields(proof) if field.name not in DONE)]:
        part = getattr(proof, name, None)
        if isinstance(part, Reply):
            rows.append([DONE.get(name, name), _whole(write_rate(part.rate)), "–", "–", "–", _percent(part.rate)])
        elif isinstance(part, Trial):
            rates = [_whole(write_rate(rate)) for rate in (part.changed, part.control)]
            difference = Value(_whole(write_difference(part)), strong=name in held)
            p = _whole(write_p(part.p).removeprefix("p ").removeprefix("= "))
            probability = _whole(f"{_percent(part.changed)} against {_percent(part.control)}")
            rows.append([DONE.get(name, name), *rates, difference, p, probability])
    return Table(
        f"The evidence: {name_evidence(proof.frame)}; {float(proof.frame.region.float().mean()):z.0%} of the picture. "
        f"How many pictures the network takes for '{strategy.label}', 95 % intervals in brackets.",
        ["what was done", "taken for the class", "the control", "difference, points", "p", "mean probability"],
        rows,
    )


def _percent(rate: Rate) -> str:
    return f"{rate.probability:z.0%}"


def _whole(text: str) -> str:
    """Return a text that is not broken into lines."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def show_strategy(strategy: Strategy, thumbnails: Thumbnails, most: int) -> list[Block]:
    """Return what is proven of a strategy, its pictures, what it is beside where, and its trials."""
    trials = [list_trials(strategy, proof) for proof in strategy.proofs]
    more = [Details("Tried in another frame, too", trials[1:])] if trials[1:] else []
    pictures = Figures(thumbnails.show(strategy, most), small=True)
    return [say_result(strategy), pictures, *show_parts(strategy, thumbnails), *trials[:1], *more]


def list_strategies(strategies: Sequence[Strategy], names: Sequence[str]) -> Table:
    """Return the strategies of a class, with their signs and whether they were tried."""
    signs = [field.name for field in fields(Signs)]
    rows = [
        [
            name,
            Value(_whole(name_result(one)), strong=bool(one.verdict)),
            _whole(SOURCES[one.source]),
            f"{len(one.members):,}",
            f"{one.share:z.0%}",
            *(write_share(getattr(one.signs, sign)) for sign in signs),
            write_share(one.signs.suspicion),
        ]
        for one, name in zip(strategies, names, strict=True)
    ]
    of = f" of '{strategies[0].label}'" if strategies else ""
    return Table(
        f"Strategies{of}, proven ones first, then the most suspicious. Signs are in [0, 1]; suspicion is their mean.",
        ["strategy", "result", "kind", "pictures", "of the class", *signs, "suspicion"],
        rows,
    )
