"""What a method or metric says of itself to whoever wants to use it, from its docstring, signature and card."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin
from urllib.parse import urlencode

import annotated_types
from pydantic.fields import FieldInfo
from torch import Tensor, nn

from limelight.card import BaseCard, Card, MetricCard
from limelight.engine.method import Method
from limelight.engine.spec import Options
from limelight.model.cost import predict
from limelight.scoring.metric import Metric, MetricOptions

SIDE = 224
"""Pixels along each side of the picture for which passes are counted."""


@dataclass(frozen=True)
class OptionEntry:
    """One option.

    Attributes:
        name: by which it is given.
        meaning: in words.
        choices: what it may be.
        default: as it would be written; None where there is none.
    """

    name: str
    meaning: str
    choices: str
    default: str | None


@dataclass(frozen=True)
class Manual:
    """The page of a method or metric.

    Attributes:
        card: its description.
        summary: what it is, in a sentence.
        body: the equation, and what there is to know.
        options: its own.
        shared: those that all of its kind have.
        direction: which numbers are good, of a metric.
        bundle: what its bundles of options are called.
        anytime: whether it can be given a budget.
        cost: passes per picture, in words.
        paper: authors, title, year.
        link: to the paper.
        source: where in the paper, or in others, it stands.
        example: lines of Python, as one types them after ``import limelight as ll``, with what they print; "" without.
        command: the same for the command line.
    """

    card: BaseCard
    summary: str
    body: str
    options: tuple[OptionEntry, ...]
    shared: tuple[OptionEntry, ...]
    direction: str
    bundle: str
    anytime: bool
    cost: str
    paper: str
    link: str
    source: str
    example: str
    command: str


def manual(of: Method | Metric) -> Manual:
    """Return the page of a method or metric."""
    card, options, shared = of.card, of.options, Options if isinstance(of, Method) else MetricOptions
    said = _read(inspect.getdoc(of.function) or "")
    fields = type(options).model_fields
    of_all = _read(inspect.getdoc(shared) or "").meanings
    own = tuple(_entry(name, fields[name], said.meanings) for name in card.options)
    rest = tuple(_entry(name, fields[name], of_all) for name in shared.model_fields if name not in card.options)
    paper, link = _papers().get(card.cites, (card.cites, ""))
    bundle = "profile" if isinstance(of, Method) else "protocol"
    anytime = isinstance(card, Card) and card.anytime
    return Manual(
        card=card,
        summary=said.summary,
        body=said.body,
        options=own,
        shared=rest,
        direction=_direction(card),
        bundle=bundle,
        anytime=anytime,
        cost=_in_words(of),
        paper=paper,
        link=link,
        source=said.source,
        example=said.example,
        command=_command(card, own),
    )


def _direction(card: BaseCard) -> str:
    if not isinstance(card, MetricCard):
        return ""
    low, high = ("unbounded" if v is None else f"{v:g}" for v in (card.low, card.high))
    return f"{card.better} is better; from {low} to {high}"


# -- the docstring -------------------------------------------------------------------------------------------


SECTIONS = ("Args", "Attributes", "Returns", "Raises", "Warns", "Source", "Example")


@dataclass(frozen=True)
class Said:
    """What a docstring says: its first sentence, what follows it, the meaning of each argument, source and example."""

    summary: str
    body: str
    meanings: Mapping[str, str]
    source: str
    example: str


def _read(text: str) -> Said:
    """Return what a docstring says."""
    head, *sections = re.split(rf"^({'|'.join(SECTIONS)}):", text, flags=re.MULTILINE)
    summary, _, body = head.strip().partition("\n\n")
    paragraphs = (_flowing(part) for part in body.split("\n\n"))
    content = dict(zip(sections[::2], sections[1::2], strict=True))
    meanings: dict[str, str] = {}
    for entry in re.split(r"\n {4}(?=\S)", content.get("Args", "") + content.get("Attributes", "")):
        name, _, meaning = entry.partition(":")
        meanings[name.strip()] = _flowing(meaning)
    return Said(
        _flowing(summary),
        "\n".join(filter(None, paragraphs)),
        meanings,
        _flowing(content.get("Source", "")),
        inspect.cleandoc(content.get("Example", "")),
    )


def _flowing(text: str) -> str:
    """Return a text without the line breaks and the code marks of a docstring."""
    return " ".join(text.replace("``", "").split())


def _entry(name: str, field: FieldInfo, meanings: Mapping[str, str]) -> OptionEntry:
    default = None if field.is_required() else _write(field.default)
    return OptionEntry(name, meanings.get(name, ""), _choices(field.annotation, field.metadata), default)


def _write(value: Any) -> str:
    if not isinstance(value, tuple):
        return repr(value)
    return f"({', '.join(map(_write, cast(tuple[Any, ...], value)))})"


# -- what an option may be -------------------------------------------------------------------------------------

PLAIN: Mapping[Any, str] = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text",
    NoneType: "None",
    Tensor: "a tensor",
    nn.Module: "a module",
}


def _choices(kind: Any, metadata: list[Any]) -> str:
    """Say in words what a value of an annotated type may be."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        extra = [m for one in arguments[1:] for m in (one.metadata if isinstance(one, FieldInfo) else [one])]
        return _choices(arguments[0], [*extra, *metadata])
    if origin is Literal:
        return " or ".join(filter(None, (", ".join(map(repr, arguments[:-1])), repr(arguments[-1]))))
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_choices(one, metadata) for one in arguments))
    if origin is tuple and arguments and arguments[0] is not ...:
        return "an array" if get_origin(arguments[0]) is tuple else f"several, each {_choices(arguments[0], [])}"
    if origin is not None and issubclass(cast(type, origin), Mapping):
        return "a table of options"
    if origin is not None or kind is Any:
        return "a function"
    return PLAIN.get(kind, getattr(kind, "__name__", str(kind))) + (_range(metadata) if kind in (int, float) else "")


def _range(metadata: list[Any]) -> str:
    bounds: dict[type, Any] = {type(m): m for m in metadata}
    words = (
        (annotated_types.Ge, "ge", "at least {:g}"),
        (annotated_types.Gt, "gt", "above {:g}"),
        (annotated_types.Le, "le", "at most {:g}"),
        (annotated_types.Lt, "lt", "below {:g}"),
    )
    said = [text.format(getattr(bounds[kind], name)) for kind, name, text in words if kind in bounds]
    return f", {' and '.join(said)}" if said else ""


# -- cost, paper, example --------------------------------------------------------------------------------------

UNITS = {
    "F": "pass{es} through the network",
    "F_t": "pass{es} through the part behind the layer",
    "R": "pass{es} back to the picture",
    "R_t": "pass{es} back to the layer",
    "E": "explanation{s} more",
}


def _in_words(of: Method | Metric) -> str:
    """Say what the formula of a card means, and what it is by default for a picture of 224 x 224."""
    card = of.card
    terms = re.findall(r"(.+?) (F_t|F|R_t|R|E)(?: \+ |$)", card.passes)
    said = ", ".join(f"{count} {_unit(unit, count != '1')}" for count, unit in terms) or card.passes
    if card.fixed:
        return said
    try:
        size = {"H": SIDE, "W": SIDE}
        cost = of.cost(SIDE, SIDE)[0] if isinstance(of, Metric) else predict(card.cost, of.own_options | size)
    except NameError:  # it depends on the layer
        return said
    total = cost.n_forward + cost.n_forward_tail + cost.n_backward + cost.n_backward_tail
    return f"{said}; by default, for {SIDE} x {SIDE} pixels: {total:g}" if total else said


def _unit(unit: str, many: bool) -> str:
    return UNITS[unit].format(es="es" if many else "", s="s" if many else "")


@cache
def _papers() -> dict[str, tuple[str, str]]:
    """Return authors, title and year, and a link, of every paper in references.bib."""
    package = Path(__file__).parents[1]
    file = next(f for f in (package / "references.bib", package.parents[1] / "references.bib") if f.is_file())
    papers: dict[str, tuple[str, str]] = {}
    for entry in re.split(r"^@", file.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        key = entry[entry.index("{") + 1 : entry.index(",")]
        fields = dict(re.findall(r"(\w+)\s*=\s*\{(.*)\}", re.sub(r"\},\s*(?=\w+\s*=)", "},\n", entry)))
        fields = {name: _plain(value) for name, value in fields.items()}
        search = "https://scholar.google.com/scholar?" + urlencode({"q": fields["title"]})
        link = next((start + fields[name] for name, start in LINKS.items() if name in fields), search)
        authors = [a.partition(",")[0] for a in fields["author"].split(" and ")]
        named = " and ".join(authors) if len(authors) < 3 else f"{authors[0]} and others"
        papers[key] = f"{named} ({fields['year']}): {fields['title']}", link
    return papers


LINKS = {"doi": "https://doi.org/", "eprint": "https://arxiv.org/abs/", "url": ""}
"""What stands in front of each kind of address."""

ACCENTS = {"'": "\u0301", '"': "\u0308", "v": "\u030c", "c": "\u0327"}


def _plain(text: str) -> str:
    """Return a text without the marks of BibTeX."""
    import unicodedata

    text = re.sub(r"\\(['\"vc])\s*\{?(\w)\}?", lambda m: unicodedata.normalize("NFC", m[2] + ACCENTS[m[1]]), text)
    return text.replace("{", "").replace("}", "")


def _command(card: BaseCard, options: tuple[OptionEntry, ...]) -> str:
    """Return a line for the command line, with an option that is a number."""
    if not isinstance(card, Card):
        return f"limelight evaluate photos --metrics {card.name}"
    number = next((o for o in options if o.default and re.fullmatch(r"\d+(\.\d+)?", o.default)), None)
    return f"limelight explain photo.jpg --method {card.name}" + (
        f" -p {number.name}={number.default}" if number else ""
    )
