"""What a method says about itself, readable without importing it.

A method is a function with a decorator. All that the decorator is given are literals, so a listing reads
them from the source text and never pays for the import of PyTorch.
"""

import ast
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from limelight.errors import UnknownMethod, nearest

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Card:
    """The description of one method.

    Attributes:
        name: the public name, such as ``grad-cam``.
        family: the group under which it is listed.
        cites: key in ``references.bib``.
        cost: passes per image in the notation of the cost table, such as ``(n + 1) F + n R_t``; F is a
            forward pass of the whole network, F_t of the part behind the layer, R a backward pass to the
            input, R_t to the layer. Names of options may stand in it.
        layers: ``"one"`` (a layer), ``"several"`` (one or more), ``"stages"`` (the pyramid, unless told
            otherwise) or ``"none"``.
        random: whether it draws random numbers.
        class_sensitive: whether the map depends on the target.
        profiles: bundles of options by name, each of which reproduces one published pipeline.
        summary: first line of the docstring.
        needs: the evidence that it asks for (its positional parameters).
        options: name of each option -> its default, as source text.
        module: where the function lives.
        function: its name there.
    """

    name: str
    family: str
    cites: str
    cost: str
    layers: str = "one"
    random: bool = False
    class_sensitive: bool = True
    profiles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]], hash=False)
    summary: str = ""
    needs: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    module: str = ""
    function: str = ""


_registered: dict[str, tuple[Card, Callable[..., Any]]] = {}


def register_method(name: str, **description: Any) -> Callable[[Function], Function]:
    """Make a function a method: ``@register_method("my-cam", family=…, cites=…, cost=…)``.

    The positional parameters of the function name the evidence that it wants; its keyword-only parameters
    are its options. See ``Card`` for the description.
    """

    def attach(function: Function) -> Function:
        parameters = inspect.signature(function).parameters.values()
        empty = inspect.Parameter.empty
        card = Card(
            name,
            **description,
            summary=(inspect.getdoc(function) or "").partition("\n")[0],
            needs=tuple(p.name for p in parameters if p.kind != p.KEYWORD_ONLY),
            options={
                p.name: "required" if p.default is empty else repr(p.default)
                for p in parameters
                if p.kind == p.KEYWORD_ONLY
            },
            module=function.__module__,
            function=function.__name__,
        )
        _registered[name] = (card, function)
        return function

    return attach


def _card_of_source(node: ast.FunctionDef, description: dict[str, Any], module: str) -> Card:
    defaults = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    return Card(
        **description,
        summary=(ast.get_docstring(node) or "").partition("\n")[0],
        needs=tuple(a.arg for a in (*node.args.posonlyargs, *node.args.args)),
        options={a.arg: ast.unparse(d) if d is not None else "required" for a, d in defaults},
        module=module,
        function=node.name,
    )


def _read(file: Path, module: str) -> Iterable[Card]:
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.FunctionDef):
            continue
        for call in node.decorator_list:
            if isinstance(call, ast.Call) and ast.unparse(call.func) == register_method.__name__:
                described = {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg}
                yield _card_of_source(node, {"name": ast.literal_eval(call.args[0]), **described}, module)


@cache
def _shipped() -> dict[str, Card]:
    root = Path(__file__).parent
    cards: dict[str, Card] = {}
    for file in sorted((root / "maps").rglob("*.py")):
        module = ".".join(("limelight", *file.relative_to(root).with_suffix("").parts))
        cards |= {card.name: card for card in _read(file, module)}
    return cards


def methods() -> dict[str, Card]:
    """Return every method's card by name: those that ship, in reading order, then the user's own."""
    return _shipped() | {name: card for name, (card, _) in _registered.items()}


def find(name: str) -> Card:
    """Return a method's card.

    Raises:
        UnknownMethod: no method has this name; the message names the nearest.
    """
    known = methods()
    if name not in known:
        raise UnknownMethod(f"there is no method {name!r}{nearest(name, known) or '; see: limelight methods'}")
    return known[name]


def load_method(name: str) -> tuple[Card, Callable[..., Any]]:
    """Return a method's card and function, importing its module if need be.

    Raises:
        UnknownMethod: no method has this name; the message names the nearest.
    """
    card = find(name)
    if name not in _registered:
        importlib.import_module(card.module)
    return _registered[name]
