"""Arguments of calls, in the order and length in which a handler needs them."""

from collections.abc import Sequence
from typing import Any, cast


def arrange(args: tuple[Any, ...], kwargs: dict[str, Any], names: str, defaults: Sequence[Any]) -> list[Any]:
    """Return arguments in the order of names, of which the last ones have defaults."""
    order = names.split()
    values = dict(zip(order[len(order) - len(defaults) :], defaults, strict=True))
    values |= dict(zip(order, args, strict=False)) | kwargs
    return [values[name] for name in order]


def one_per_axis(value: Any, n: int) -> list[int]:
    """Return a setting, one number for all of n axes or one for each, as a list."""
    given = cast(Sequence[Any], value) if isinstance(value, list | tuple) else (value,)
    return [int(v) for v in given] * (n // len(given))
