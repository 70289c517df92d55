"""Relevance that is lost, made or grows on the way, and the rules' own laws."""

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from limelight.errors import ConservationWarning
from limelight.relevance.conservation import GROWN
from limelight.relevance.op import Op
from relevance.accounts import PLUS, account, chain


def times(factor: float, *, absorbs: bool = False) -> Any:
    def rule(op: Op, r: Tensor) -> Tensor:
        return factor * PLUS(op, r)

    rule.absorbs = absorbs
    return rule


def apart(factor: float) -> Any:
    """Keeps the sum, and makes much of it that cancels."""

    def rule(op: Op, r: Tensor) -> Tensor:
        found = PLUS(op, r)
        sign = torch.tensor([1.0, -1.0]).double().view(1, 2, 1, 1)
        return found + factor * found.abs() * sign - (factor * found.abs() * sign).mean((1, 2, 3), keepdim=True)

    rule.absorbs = True
    return rule


@pytest.mark.parametrize("factor", [0.5, 0.97, 1.03, 2.0, 1e10])
def test_losses_and_gains_are_measured_against_what_entered(factor: float) -> None:
    """However much there is on the way: a gain of 1e10 does not set its own tolerance."""
    with pytest.warns(ConservationWarning, match=r"relevance was (lost|made) at conv2d in 6 \(rule rule\)"):
        found, _ = account(chain(), overrides={"6": times(factor)})
    assert found.violation == pytest.approx(1 - factor, rel=1e-3)
    assert next(iter(found.lost)).startswith("conv2d in 6")


def test_small_losses_add_up() -> None:
    with pytest.warns(ConservationWarning, match=r"3\.?\d*% of the relevance was lost, most at conv2d"):
        account(chain(), overrides={str(i): times(0.992) for i in (2, 4, 6, 8)})


def test_growth_is_warned_of_whatever_the_rule() -> None:
    """Also of a rule that may absorb, and also where the sum stays."""
    with pytest.warns(ConservationWarning, match=r"relevance grew 2\.?\d*e\+03-fold, most at conv2d in 4 \(rule\)"):
        found, notes = account(chain(), overrides={"4": apart(2000.0)})
    assert found.grew > GROWN
    assert "grew" in notes[-1]
    assert found.at_end == pytest.approx(1, abs=1e-3)


def test_growth_below_the_factor_is_told_not_warned_of() -> None:
    found, notes = account(chain(), overrides={"4": apart(3.0)})
    assert 2 < found.grew < 5
    assert "grew" in str(found)
    assert not notes


def test_growth_above_tenfold_is_noted() -> None:
    found, notes = account(chain(), overrides={"4": apart(20.0)})
    assert 15 < found.grew < 25
    assert "grew" in notes[-1]


class Lawful:
    """Hands on twice what came."""

    def __init__(self, does: float) -> None:
        self.does = does

    def __call__(self, op: Op, r: Tensor) -> Tensor:
        return self.does * PLUS(op, r)

    def law(self, op: Op, r: Tensor, incoming: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * incoming, 2 * size


def test_a_rule_is_held_to_its_own_law() -> None:
    found, notes = account(chain(depth=9), overrides={str(2 * i): Lawful(2) for i in range(1, 10)})
    assert found.at_end == pytest.approx(512, rel=1e-3)
    assert found.by_law == pytest.approx(-511, rel=1e-3)
    assert found.grew == pytest.approx(512, rel=1e-3)
    assert found.beyond == pytest.approx(1, rel=1e-3)
    assert "by the rules' own law" in notes[-1]
    numbers = Lawful(2)
    numbers.law = lambda op, r, incoming, size: (2.0, 2)  # type: ignore[method-assign,assignment,return-value]
    found, _ = account(chain(depth=1), overrides={"2": numbers})
    assert found.by_law == pytest.approx(-1, rel=1e-3)
    numbers.law = lambda op, r, incoming, size: (torch.nan, 2)  # type: ignore[method-assign,assignment,return-value]
    with pytest.warns(ConservationWarning, match="nan% of the relevance was"):
        assert not account(chain(depth=1), overrides={"2": numbers})[0].lawful
    with pytest.warns(ConservationWarning, match=r"25% of the relevance was made at conv2d in 2"):
        account(chain(depth=1), overrides={"2": Lawful(2.5)})


def test_what_rounding_takes_is_told_and_warned_of_beyond_a_share() -> None:
    """A law that sets no bound to amounts that cancel: 1e13 of them may hide a gain."""

    class Unbounded(Lawful):
        def __init__(self, more: float) -> None:
            self.more = more

        def __call__(self, op: Op, r: Tensor) -> Tensor:
            much = torch.zeros_like(op.x)
            much[:, 0, 0, 0], much[:, 1, 0, 0] = 1e13, -1e13
            return PLUS(op, r) + much + self.more / much[0].numel()

        def law(self, op: Op, r: Tensor, incoming: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
            return incoming, torch.full_like(size, torch.inf)

    found, notes = account(chain(depth=1), overrides={"2": Unbounded(0.5)})
    assert found.rounded == pytest.approx(-0.5, abs=0.01)
    assert "50% made by rounding" in notes[-1]
    with pytest.warns(ConservationWarning, match="% of the relevance was made by rounding"):
        account(chain(depth=1), overrides={"2": Unbounded(2.0)})


def test_laws_of_what_comes_later_excuse_no_growth() -> None:
    """It grows to 400 times, shrinks again, and only then meets rules that may double it: 2^7 times in all."""
    own = {"20": times(20, absorbs=True), "18": times(20, absorbs=True)}
    own |= {"16": times(1 / 20, absorbs=True), "14": times(1 / 20, absorbs=True)}
    laws = {str(2 * i): Lawful(1) for i in range(7)}
    with pytest.warns(ConservationWarning, match="relevance grew 400-fold"):
        found, _ = account(chain(depth=10), overrides=own | laws)
    assert found.beyond == pytest.approx(400, rel=1e-2)


def test_small_losses_of_several_kinds_are_told_where_they_add_up() -> None:
    found, _ = account(chain(), overrides={"4": times(0.993)})
    assert "lost" not in str(found)
    both = replace(found, at_end=found.at_end - 0.006 * found.size, strayed=0.006 * found.size)
    assert not both.lawful
    assert re.search(r"0\.6\d*% past the layer or onto padding; 0\.7\d*% lost against the rules' law", str(both))
