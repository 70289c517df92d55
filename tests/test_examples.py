"""Examples in docstrings: each runs, and whatever is public has one."""

import ast
import doctest
import functools
import importlib
import inspect
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import limelight as ll
from limelight import loader
from limelight.card import METHODS, METRICS
from limelight.zoo import load

ROOT = Path(ll.__file__).parent


def docstrings(body: list[ast.stmt], where: str) -> Iterator[tuple[str, str]]:
    """Yield the dotted name and the docstring of every function and class in the source, nested ones too."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            name = f"{where}.{node.name}"
            yield name, ast.get_docstring(node) or ""
            yield from docstrings(node.body, name)


def examples() -> dict[str, tuple[str, str]]:
    """Return the module and the docstring of whatever has an example, by its dotted name."""
    found: dict[str, tuple[str, str]] = {}
    for file in sorted(ROOT.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        if ">>>" in text:
            parts = file.relative_to(ROOT.parent).with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            tree = ast.parse(text)
            every = [(module, ast.get_docstring(tree) or ""), *docstrings(tree.body, module)]
            found |= {name: (module, text) for name, text in every if ">>>" in text}
    return found


EXAMPLES = examples()


def public() -> dict[str, str]:
    """Return where the docstring of everything public stands: names of the package, methods and metrics."""
    named = {name: getattr(ll, name) for name in ll.__all__}
    shipped = [c for cards in (METHODS, METRICS) for c in cards.cards().values() if c.module.startswith("limelight.")]
    return {
        name: f"{one.__module__}.{one.__qualname__}" for name, one in named.items() if not inspect.ismodule(one)
    } | {card.name: f"{card.module}.{card.function}" for card in shipped}


PUBLIC = public()


def run(name: str, text: str, names: Mapping[str, Any]) -> str:
    """Run the examples of a docstring, and return what went wrong."""
    test = doctest.DocTestParser().get_doctest(text, {**names, "__name__": "__main__"}, name, None, None)
    said: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", ll.errors.ConservationWarning)  # an example is no place for one
        doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    return "".join(said)


@pytest.fixture(scope="module", autouse=True)
def loaded_once() -> Iterator[None]:
    """Models that examples name are loaded once for all."""
    loader.register_loader(functools.cache(load))
    yield
    loader.register_loader(load)


@pytest.fixture
def tidied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Files, methods and metrics that an example makes are gone afterwards."""
    monkeypatch.chdir(tmp_path)
    yield
    for registry in (METHODS, METRICS):
        for name in [name for name, (card, _) in registry.own.items() if card.module == "__main__"]:
            del registry.own[name]


@pytest.mark.usefixtures("tidied")
@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_run(name: str) -> None:
    module, text = EXAMPLES[name]
    inner = {} if name in PUBLIC.values() else vars(importlib.import_module(module))
    wrong = run(name, text, {**inner, "ll": ll})  # what is public can be copied as it stands
    assert not wrong, wrong


@pytest.mark.parametrize("name", PUBLIC)
def test_whatever_is_public_has_an_example(name: str) -> None:
    assert PUBLIC[name] in EXAMPLES, f"{name}: no example in the docstring of {PUBLIC[name]}"


def test_a_wrong_example_is_told() -> None:
    assert "Expected:" in run("wrong", ">>> len(ll.methods()) > 1\nFalse", {"ll": ll})
