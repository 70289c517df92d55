"""How pages write numbers, and the examples of the functions that do."""

import doctest
from types import ModuleType

import pytest

from limelight.report import formatting
from limelight.report.benchmark import charts, published


@pytest.mark.parametrize("module", [formatting, published, charts])
def test_examples_say_what_they_give(module: ModuleType) -> None:
    done = doctest.testmod(module)
    assert done.attempted
    assert not done.failed
