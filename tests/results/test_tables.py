"""Numbers per image, and runs put together."""

import pytest

import limelight as ll
from limelight.errors import InvalidOption, ProtocolMismatch
from limelight.results.row import Column
from limelight.results.tables import Results
from results.drawn_results import HIGHER, make_results, make_row


def test_numbers_of_two_protocols_never_meet() -> None:
    one, other = make_results({"a": [0.1]}), make_results({"b": [0.2]}, Column("insertion", "insertion/2W", "higher"))
    with pytest.raises(ProtocolMismatch, match=r"insertion/8W and insertion/2W"):
        _ = one + other
    with pytest.raises(ProtocolMismatch, match="only one of the two results has deletion"):
        _ = one + Results([make_row("1", "a", deletion=0.1)], {"deletion": Column("deletion", "x", "lower")})
    with pytest.raises(ProtocolMismatch, match="two models"):
        _ = one + Results([make_row("9", "a", insertion=0.1)], {"insertion": HIGHER}, {"model": "another"})
    both = one + make_results({"b": [0.2]})
    assert both.methods == ["a", "b"]


def test_the_same_pair_twice_is_an_error() -> None:
    with pytest.raises(InvalidOption, match="1 pairs of image and method appear more than once"):
        _ = make_results({"a": [0.1]}) + make_results({"a": [0.1]})
    with pytest.raises(InvalidOption, match=r"'insertio' was not measured; did you mean insertion"):
        make_results({"a": [0.1]}).values("insertio")


def test_public_name() -> None:
    assert ll.Results is Results
