"""What is read from the options of the commands."""

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from limelight.errors import InvalidOption, nearest, show

if TYPE_CHECKING:
    from limelight.model.targets import TargetLike

T = TypeVar("T")


def parse_parameters(given: Sequence[str]) -> dict[str, Any]:
    """Read ``-p option=value``; a value is JSON if it can be, text otherwise."""
    options: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InvalidOption(f"-p {show(text)}: expected option=value, such as -p gamma=2")
        name = name.replace("-", "_")
        if name in options:
            raise InvalidOption(f"-p {show(name)} is given twice; give it once")
        try:
            options[name] = json.loads(value)
        except json.JSONDecodeError:
            options[name] = value
        except (ValueError, RecursionError):  # thousands of digits, or of brackets
            raise InvalidOption(f"-p {show(text)}: this is too large a number, or too deep a list") from None
    return options


def parse_parameters_of_each(given: Sequence[str], methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read ``-p option=value`` of all methods and ``-p METHOD.option=value`` of one, which goes before it.

    Returns:
        The options of each method, by its name.

    Raises:
        InvalidOption: a method that is not among them.
    """
    written = {name.replace("-", "_"): name for name in methods}
    of_all: dict[str, Any] = {}
    of_one: dict[str, dict[str, Any]] = {name: {} for name in methods}
    for key, value in parse_parameters(given).items():
        method, dot, option = key.rpartition(".")
        if not dot:
            of_all[option] = value
        elif method in written:
            of_one[written[method]][option] = value
        else:
            hint = nearest(method.replace("_", "-"), methods)
            raise InvalidOption(f"-p {show(key)}: {show(method)} is none of the methods here{hint}")
    return {name: of_all | own for name, own in of_one.items()}


def parse_target(target: str | None, against: str | None, finer: bool) -> "TargetLike":
    """Read ``--target``, ``--against`` and ``--finer``: a class, or its score less that of another."""
    if against is None:
        if finer:
            raise InvalidOption("--finer says how a class stands against another; name that with --against")
        return target
    if target is None:
        raise InvalidOption(f"--against {show(against)}: what is to be explained against it? Name it with --target")
    from limelight import targets

    return targets.finer(target, others=against) if finer else targets.margin(target, against)


def split_names(text: str) -> list[str]:
    """Read ``a,b,c``."""
    return [name.strip() for name in text.split(",") if name.strip()]


def parse_layers(text: str) -> str | tuple[str, ...]:
    """Read ``--layer a`` or ``--layer a,b``."""
    names = split_names(text)
    return names[0] if len(names) == 1 else tuple(names)


def take_evenly(items: Sequence[T], limit: int | None) -> list[T]:
    """Take so many items, evenly spread."""
    count = len(items) if limit is None else min(limit, len(items))
    return [items[i * len(items) // count] for i in range(count)]


QUICK = 100
"""Passes per picture up to which a method is among the ``quick`` ones."""


def method_names(given: str) -> list[str]:
    """Return the names in a ``--methods`` argument: names, ``quick`` or ``all``."""
    import limelight as ll

    return list(ll.methods()) if given in ("quick", "all") else split_names(given)


def find_unsuitable(
    given: str, classifier: Any, images: Iterable[Any], methods: Sequence[Any], target: Any = None
) -> dict[str, str]:
    """Return which of the methods are left out and why; whoever names some gets them, or the error.

    They are tried on the first of the images that can be read.
    """
    from limelight import api

    if given not in ("quick", "all"):
        return {}
    image = api.first_input(classifier, images)
    return api.refusals(classifier, image, methods, target, QUICK if given == "quick" else None)
