"""What methods and metrics say of themselves, from their docstrings, signatures and cards."""

import inspect
import pickle
import re

import pytest

import limelight as ll
from limelight.api import manual

ALL = [*(("method", name) for name in ll.methods()), *(("metric", name) for name in ll.metrics())]


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_option_is_explained(kind: str, name: str) -> None:
    of = getattr(ll, kind)(name)
    page = manual(of)
    assert [o.name for o in page.options] == list(of.card.options)
    assert not {o.name for o in page.options} & {o.name for o in page.shared}
    for option in (*page.options, *page.shared):
        assert option.meaning
        assert option.choices
        assert "<" not in option.choices  # no name of a class of Python's
        assert "``" not in option.meaning
    assert page.summary == of.card.summary.replace("``", "")
    assert page.link.startswith("https://")
    assert "(" in page.paper
    assert page.source
    assert "``" not in page.source
    assert page.cost
    assert name in page.command
    assert page.example.startswith(">>> ")
    assert name in page.example
    assert page.example in inspect.cleandoc(of.__doc__ or "").replace("\n    ", "\n")
    assert (of.__doc__ or "").startswith(of.card.summary)
    assert inspect.signature(of) == inspect.signature(of.function)
    assert inspect.signature(type(of)).parameters.keys() >= {"card", "function", "options"}
    assert pickle.loads(pickle.dumps(of)).__doc__ == of.__doc__


def test_ranges_and_choices_in_words() -> None:
    pages = {name: {o.name: o for o in manual(ll.method(name)).options} for name in ("rise", "i-gos", "aop", "lrp")}
    assert pages["rise"]["p"].choices == "a number, above 0 and below 1"
    assert pages["rise"]["norm"].choices == "'p' or 'coverage'"
    assert pages["rise"]["n_masks"].default == "8000"
    assert "a function" in pages["i-gos"]["baseline"].choices
    assert "'zero', 'black'" in pages["i-gos"]["baseline"].choices
    assert pages["aop"]["base_options"].choices == "a table of options or None"
    page = {o.name: o for o in manual(ll.method("rsp")).options}
    assert page["hostile"].choices == "several, each a whole number, at least 0"


def test_costs_in_words() -> None:
    assert manual(ll.method("rise")).cost.endswith("by default, for 224 x 224 pixels: 8001")
    assert manual(ll.method("grad-cam")).cost == "1 pass through the network, 1 pass back to the layer"
    assert "channels passes through the network" in manual(ll.method("score-cam")).cost
    assert "224 x 224" not in manual(ll.method("score-cam")).cost  # that is known of a layer only
    assert manual(ll.metric("insertion")).cost.endswith("for 224 x 224 pixels: 29")


def test_a_method_of_the_users_own_is_explained() -> None:
    @ll.register_method("plain-mean", family="test", cites="unheard-of", cost="1 F")
    def plain_mean(acts, *, power: float = 1.0):  # type: ignore[no-untyped-def]
        """Mean of the activations.

        Args:
            acts: A.
            power: to which
                they are raised.
        """
        return (acts**power).mean(1)

    try:
        page = manual(ll.method("plain-mean"))
    finally:
        ll.card.METHODS.own.pop("plain-mean")
    (option,) = page.options
    assert (option.meaning, option.choices, option.default) == ("to which they are raised.", "a number", "1.0")
    assert page.paper == "unheard-of"
    assert not page.link


def test_the_lists_print_as_tables() -> None:
    for cards in (ll.methods(), ll.metrics()):
        lines = repr(cards).splitlines()
        assert len(lines) == len(cards)
        assert all(line.startswith(name) for line, name in zip(lines, cards, strict=True))
        assert max(map(len, lines)) <= 140


def test_a_card_is_a_line() -> None:
    assert repr(ll.methods()["grad-cam"]) == "Card(grad-cam: Channels weighted by their mean gradient. 1 F + 1 R_t)"
    assert re.fullmatch(
        r"Card\(layer-cam: .* 1 F \+ 1 R_t; gamma=2.0, fuse='max', .*\)", repr(ll.methods()["layer-cam"])
    )
