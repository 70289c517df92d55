"""Write tests/public_names.txt: every name that users may rely on, with its parameters and their defaults.

python tools/public_names.py     # and read the difference before it is committed

A line that goes away or changes is a change that breaks somebody's program, if a version with it has been released:
see RELEASING.md.
"""

import importlib
import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import typer.main

import limelight as ll
from limelight import cli
from limelight.card import BaseCard

PAGE = Path(__file__).parents[1] / "tests" / "public_names.txt"
MODULES = ("limelight", "limelight.errors", "limelight.rules", "limelight.targets")
PACKAGES = ("limelight.compat",)
"""Those of which every module is public."""


def main() -> None:
    PAGE.write_text(inventory(), encoding="utf-8")
    print(PAGE)


def inventory() -> str:
    """Return the list: modules, methods, metrics, commands."""
    parts = {name: [*names_of(importlib.import_module(name))] for name in public_modules()}
    for title, cards in (("methods", ll.methods()), ("metrics", ll.metrics())):
        parts[title] = [settings(card) for _, card in sorted(cards.items()) if card.module.startswith("limelight.")]
    parts["commands"] = [*commands()]
    return "\n".join(f"[{title}]\n" + "".join(f"{line}\n" for line in lines) for title, lines in parts.items() if lines)


def public_modules() -> list[str]:
    """Return the names of all public modules, those of packages that there are not left out."""
    names = [*MODULES]
    for name in PACKAGES:
        if importlib.util.find_spec(name) is not None:
            inside = pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}.")
            names += [name, *(m.name for m in inside if not any(part[0] == "_" for part in m.name.split(".")))]
    return names


def names_of(module: ModuleType) -> Iterator[str]:
    """Yield a line for each of a module's public names, and one for each public name in its classes."""
    for name in sorted(module.__all__ if hasattr(module, "__all__") else own_names(module)):
        thing = getattr(module, name)
        if isinstance(thing, ModuleType):
            yield f"{name}: module"
        elif inspect.isclass(thing):
            bases = ", ".join(base.__name__ for base in thing.__bases__)
            yield f"class {name}({bases})" if issubclass(thing, BaseException) else f"class {name}{signature(thing)}"
            yield from (f"    {member}" for member in members(thing))
        else:
            yield f"{name}{signature(thing)}" if callable(thing) else name


def own_names(module: ModuleType) -> list[str]:
    """Return the names of what is defined in a module without a list of its public names."""
    things = {name: thing for name, thing in vars(module).items() if name[0] != "_"}
    return [name for name, thing in things.items() if getattr(thing, "__module__", None) == module.__name__]


def members(of: type) -> Iterator[str]:
    """Yield what a class and its bases in Limelight have: methods with their parameters, and attributes."""
    homes = [base for base in of.__mro__ if base.__module__.split(".")[0] == "limelight"]
    for name in sorted({name for base in homes for name in vars(base) if name[0] != "_"}):
        thing = inspect.getattr_static(of, name)
        function = getattr(thing, "__func__", thing)  # of a class or static method
        yield f".{name}{signature(function) if inspect.isfunction(function) else ''}"


def signature(function: Callable[..., Any]) -> str:
    """Return parameters and defaults, as in "(model, *, seed=0)", without types, which Pythons write differently."""
    bare = inspect.Parameter.empty
    try:
        found = inspect.signature(function)
    except ValueError:  # of a type
        return ""
    parameters = [p.replace(annotation=bare, default=plain(p.default)) for p in found.parameters.values()]
    return str(inspect.Signature(parameters))


def settings(card: BaseCard) -> str:
    """Return a method's or metric's own options and the names of its profiles."""
    options = ", ".join(f"{name}={value}" for name, value in card.options.items())
    profiles = f"; profile: {' '.join(card.profiles)}" if card.profiles else ""
    return f"{card.name}({options}{profiles})"


def plain(value: Any) -> Any:
    """Return a default that is written alike in every process: a function's or an object's name for itself."""
    if value is inspect.Parameter.empty:
        return value
    if inspect.isroutine(value) or inspect.isclass(value):
        return _Name(value.__name__)
    return _Name(type(value).__name__) if re.search(r" at 0x[0-9a-f]+", repr(value)) else value


class _Name(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def commands() -> Iterator[str]:
    """Yield the command line: each command with its arguments and options."""
    group: Any = typer.main.get_command(cli.app)
    for name, command in sorted(group.commands.items()):
        shown = (p.opts[0].upper() if p.param_type_name == "argument" else "/".join(p.opts) for p in command.params)
        yield " ".join((f"limelight {name}", *shown))


if __name__ == "__main__":
    main()
