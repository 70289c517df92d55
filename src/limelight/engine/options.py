"""Options are derived from a function's keyword-only parameters: there is no second list of them."""

import inspect
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import pydantic

from limelight.card import BaseCard, Equation
from limelight.errors import MOST_SHOWN, InvalidOption, nearest, show

MOST = 10_000_000
"""The largest count, size or step: more passes, masks or pixels would take weeks, and more memory than there is."""

DEEPEST = 50
"""Levels of tables and lists in one another that options may have."""


class Speaking:
    """An object that is one function with its options, and has the docstring and the signature of that function."""

    function: Equation

    def __post_init__(self) -> None:
        object.__setattr__(self, "__doc__", inspect.getdoc(self.function))

    if not TYPE_CHECKING:  # to a type checker, an attribute that is not there is an error

        def __getattr__(self, name: str) -> Any:
            if name == "__signature__" and "function" in vars(self):
                return inspect.signature(self.function)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


class BaseOptions(pydantic.BaseModel):
    """What all options are: immutable, complete, and the same again in another process."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    def __reduce__(self) -> tuple[Any, ...]:
        # The class was made of a function and is in no module, where another process could find it.
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return _again, (type(self).made_of, values, set(self.model_fields_set))

    made_of: ClassVar[tuple[Any, ...]] = ()


Options = TypeVar("Options", bound=BaseOptions)
_making = threading.Lock()  # two classes for one function, made at the same time, would not be equal


def check_options(
    card: BaseCard, function: Equation, base: type[Options], given: Mapping[str, Any], *, bundle: str
) -> Options:
    """Check what was given against a function's own options and those in ``base`` that all share.

    Args:
        card: of the function.
        function: its keyword-only parameters are its options.
        base: the options that all of its kind have.
        given: by name; a bundle's values stand where nothing else is given.
        bundle: name of the option that names a bundle of the card.

    Raises:
        InvalidOption: no such option or bundle, or a value out of range.
    """
    with _making:
        model = _model(card, function, base)
    unknown = [o for o in given if o not in model.model_fields]
    if unknown:
        known = ", ".join([*card.options, *base.model_fields])
        hint = nearest(unknown[0], model.model_fields)
        raise InvalidOption(f"{card.name} has no option {show(unknown[0], MOST_SHOWN)}{hint} (it has: {known})")
    if given.get(bundle) is not None:
        name = str(given[bundle])
        if name not in card.profiles:
            known = f"it has: {', '.join(card.profiles)}" if card.profiles else "it has none"
            raise InvalidOption(f"{card.name} has no {bundle} {show(name, MOST_SHOWN)} ({known})")
        given = dict(card.profiles[name]) | dict(given)
    check_numbers(given, card.name)
    try:
        made = model(**given)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][:1])
        # Of an option that may be one of several things the first alone would tell a part: what we say, or all names.
        tried = [e for e in error.errors() if e["loc"][:1] == first["loc"][:1]]
        own = [e for e in tried if e["type"] == "value_error"]
        names = [e for e in tried if e["type"] == "literal_error"]
        said = "; ".join(dict.fromkeys(map(why, own or (names if len(names) > 1 else [first]))))
        raise InvalidOption(f"{card.name}: option {where} = {show(first['input'], MOST_SHOWN)}: {said}") from None
    for name, value in made:
        if isinstance(value, int) and abs(value) > MOST and "seed" not in name:
            raise InvalidOption(f"{card.name}: option {name} = {value}: no count or size may be more than {MOST:,}")
    return made


def list_enlarged(card: BaseCard, options: BaseOptions) -> list[str]:
    """Return the numbers that are larger than by default, as they are set: what takes more memory than it might."""
    enlarged: list[str] = []
    for name in (*card.options, "batch_size"):
        value, default = getattr(options, name), type(options).model_fields[name].default
        if type(value) in (int, float) and (default is None or (type(default) in (int, float) and value > default)):
            enlarged.append(f"{name}={value}")
    return enlarged


def why(error: Mapping[str, Any]) -> str:
    """Return what is wrong with a value in one of the details of a ``ValidationError``."""
    said = str(error["msg"]).removeprefix("Value error, ").replace("valid tuple", "list")
    if error["type"] == "string_unicode" or "codec can't encode" in said:
        return "it is no valid text: it holds a byte that is no UTF-8, or half of a pair of characters"
    return said


def check_numbers(given: Any, where: str, name: str = "", depth: int = 0) -> None:
    """Refuse whole numbers of more than 64 bits, which no computation here takes, anywhere in tables and lists.

    Raises:
        InvalidOption: there is one, or tables stand in tables without end.
    """
    if depth > DEEPEST:
        raise InvalidOption(f"{where}: tables or lists in one another, more than {DEEPEST} deep")
    if isinstance(given, int) and not -(1 << 63) <= given < 1 << 63:
        raise InvalidOption(f"{where}: {name.strip('.')} is a number of more than 64 bits")
    if isinstance(given, Mapping):
        for key, value in cast(Mapping[Any, Any], given).items():
            check_numbers(value, where, f"{name}.{key}", depth + 1)
    elif isinstance(given, list | tuple):
        for value in cast(Sequence[Any], given):
            check_numbers(value, where, name, depth + 1)


@cache  # one class per function, so that equal methods compare equal
def _model(card: BaseCard, function: Equation, base: type[Options]) -> type[Options]:
    fields: dict[str, Any] = {name: (base.model_fields[name].annotation, v) for name, v in card.defaults.items()}
    fields |= {
        name: (p.annotation, ... if p.default is p.empty else p.default)
        for name, p in inspect.signature(function).parameters.items()
        if p.kind is p.KEYWORD_ONLY
    }
    model = pydantic.create_model(f"{card.function}_options", __base__=base, **fields)
    model.made_of = (card, function, base)
    return model


def _again(made_of: tuple[Any, ...], values: Mapping[str, Any], given: set[str]) -> BaseOptions:
    """Return options whose values have been checked before."""
    with _making:
        return _model(*made_of).model_construct(given, **values)
