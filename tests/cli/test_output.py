"""What commands print: tables and numbers."""

import ast
import re
from pathlib import Path

import pytest

import limelight as ll
from limelight.cli import output
from limelight.cli.output import filling, progress
from limelight.core.progress import Forecast, watched


def specs(tree: ast.AST) -> list[str]:
    """Return the formats of numbers in a module: of f-strings, and of places in other strings."""
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FormattedValue) and isinstance(node.format_spec, ast.JoinedStr):
            found += [part.value for part in node.format_spec.values if isinstance(part, ast.Constant)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found += re.findall(r"\{:([^{}]*)\}", node.value)
    return [spec for spec in found if re.search(r"\.\d+[efg%]$", spec)]


def test_no_number_is_a_negative_zero() -> None:
    """What is rounded to 0 has no sign: every format of rounded numbers says ``z``."""
    files = sorted(Path(ll.__file__).parent.rglob("*.py"))
    said = {f"{file.name}: {spec}" for file in files for spec in specs(ast.parse(file.read_text()))}
    assert len(said) > 30
    assert sorted(line for line in said if "z" not in line.rpartition(":")[2]) == []


def test_zeros_have_no_sign(capsys: pytest.CaptureFixture[str]) -> None:
    output.say("{:z.0%} saved, {:z.2f}", -0.001, -0.0)
    output.table(["name", "a", "b"], [["x", -0.0, -0.5]])
    assert re.findall(r"-?\d[\d.%]*", capsys.readouterr().out) == ["0%", "0.00", "0", "-0.5"]


def test_parts_of_what_has_a_bar_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    def part() -> None:
        with watched("a part", True) as watch:
            watch.expect(lambda: Forecast(10, 100.0))
            watch.advance(10)

    with progress([1, 2], "the whole") as items:
        for _ in items:
            part()
    with filling("the whole") as show:
        part()
        show(1, 1, "")
    assert capsys.readouterr().err == ""
    part()
    assert "a part will take about" in capsys.readouterr().err
