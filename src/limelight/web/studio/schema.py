"""The options of a method as a form shows them: kind, range, choices and default of each, from its own types."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo

from limelight.api import manual
from limelight.engine.method import Method
from limelight.engine.request import can_balance

SIDE_ISSUES = frozenset({"batch_size", "strict", "normalize_at", "relu"})
"""Options of all methods that change no raw map, but speed, refusals, and how the page would finish it."""


def options_of(method: Method) -> list[dict[str, Any]]:
    """Return the options of a method, its own first.

    Each is a dictionary of ``name``, ``meaning``, ``kind`` (``number``, ``integer``, ``boolean``, ``choice`` or
    ``text``), ``choices``, ``low``, ``high``, ``default``, ``optional`` (whether it may be null) and ``own``. A text is
    read as JSON where it can be.
    """
    fields, page = type(method.options).model_fields, manual(method)
    entries = [(entry, True) for entry in page.options] + [(entry, False) for entry in page.shared]
    return [
        {"name": entry.name, "meaning": entry.meaning, "own": own} | _describe(method, entry.name, fields[entry.name])
        for entry, own in entries
        if own or _means_something(method, entry.name)
    ]


def _means_something(method: Method, option: str) -> bool:
    """Whether an option that all methods have can change the map of this one."""
    card = method.card
    means = {
        "layer": card.layers != "none" or bool(card.layer_option or card.optimiser),
        "fuse": method.fusible,
        "score": card.class_sensitive,
        "balance": can_balance(method),
        "augment": card.family != "baseline",
        "seed": card.random,
        "budget": card.anytime,
        "profile": bool(card.profiles),
    }
    return means.get(option, option not in SIDE_ISSUES)


def _describe(method: Method, name: str, field: FieldInfo) -> dict[str, Any]:
    leaves = list(_leaves(field.annotation, field.metadata))
    if name == "profile":
        leaves = [_Leaf(Literal, choices=tuple(method.card.profiles)), _Leaf(NoneType)]
    default = None if field.is_required() else _plain(field.default)
    plain = {leaf.kind: leaf for leaf in leaves}
    choices = [choice for leaf in leaves for choice in leaf.choices]
    number = plain.get(float) or plain.get(int)
    if plain.keys() - {NoneType} == {bool}:
        kind, number = "boolean", None
    elif choices and (number is None or isinstance(default, str)):
        kind, number = "choice", None
    elif number is not None and not choices:
        kind = "number" if number.kind is float else "integer"
    else:
        kind, number = "text", None
    return {
        "kind": kind,
        "choices": choices if kind == "choice" else None,
        "low": number and number.low,
        "high": number and number.high,
        "default": default,
        "optional": NoneType in plain,
    }


@dataclass(frozen=True)
class _Leaf:
    """One of the types that a value may have; ``Literal`` for one of some texts."""

    kind: Any
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] = ()


def _leaves(kind: Any, metadata: Sequence[Any]) -> Iterator[_Leaf]:
    """Yield the plain types of which an annotated one is made."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        extra = [m for one in arguments[1:] for m in (one.metadata if isinstance(one, FieldInfo) else [one])]
        yield from _leaves(arguments[0], [*extra, *metadata])
    elif origin is Literal:
        yield _Leaf(Literal, choices=arguments)
    elif origin in (Union, UnionType):
        for one in arguments:
            yield from _leaves(one, metadata)
    elif kind in (int, float):
        yield _Leaf(kind, *_range(kind, metadata))
    else:
        yield _Leaf(origin or kind)


def _range(kind: type, metadata: Sequence[Any]) -> tuple[float | None, float | None]:
    """Return the smallest and the largest number; of fractions that an open end leaves out, the end."""
    bounds: dict[type, Any] = {type(m): m for m in metadata}
    low, high = bounds.get(annotated_types.Ge), bounds.get(annotated_types.Le)
    above, below = bounds.get(annotated_types.Gt), bounds.get(annotated_types.Lt)
    step = 1 if kind is int else 0
    least = low.ge if low else above.gt + step if above else None
    most = high.le if high else below.lt - step if below else None
    return least, most


def _plain(value: Any) -> Any:
    """Return a default as JSON has it."""
    if isinstance(value, tuple):
        return [_plain(one) for one in cast(tuple[Any, ...], value)]
    if value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return repr(value)
