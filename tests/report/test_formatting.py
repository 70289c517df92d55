"""How pages write numbers, and the examples of the functions that do."""

import doctest
from types import ModuleType

import pytest

from limelight.report import formatting, front
from limelight.report.benchmark import published


@pytest.mark.parametrize("module", [formatting, front, published])
def test_examples_say_what_they_give(module: ModuleType) -> None:
    done = doctest.testmod(module)
    assert done.attempted
    assert not done.failed
