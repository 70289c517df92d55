"""What commands print: tables and numbers."""

import ast
import io
import re
from pathlib import Path

import pytest
from rich.console import Console

import limelight as ll
from cli.commands import run
from limelight import cli
from limelight.cli import output
from limelight.cli.files import expand
from limelight.cli.output import filling, progress
from limelight.progress import Forecast, show_progress, spelling


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
        with show_progress("a part", True) as watch:
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


def test_a_forecast_names_options_as_they_are_typed(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("limelight.api.forecasting._seconds", lambda *_: 20.0)
    common = (scene, "-m", "demo/resnet", "--out", tmp_path / "x.png")
    assert run("explain", *common, "--method", "rise", "-p", "n_masks=9") == 0
    assert "rise 10 (set by -p n_masks=9 or -p budget=…)\n" in capsys.readouterr().err
    judged = ("--methods", "grad-cam,rise", "-p", "rise.n_masks=9", "--metrics", "insertion")
    assert run("compare", *common, *judged) == 0
    said = capsys.readouterr().err
    assert "rise 10 (set by -p rise.n_masks=9 or -p rise.budget=…)" in said
    assert "insertion" in said
    assert "steps" not in said  # no option of the command sets it
    assert spelling.get()("rise", "n_masks=9") == "n_masks=9"


@pytest.mark.parametrize("width", [40, 60, 80, *range(82, 130, 3)])
@pytest.mark.parametrize("metrics", [2, 30])
def test_no_width_loses_a_head_or_a_cell(width: int, metrics: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what ``compare``, ``evaluate`` and ``sanity`` tell; a pipe is as wide as a terminal of 80 columns."""
    stream = io.StringIO()
    monkeypatch.setattr(output, "console", Console(width=width, file=stream))
    heads = ["method", *(f"average-drop-{i} {'↑↓'[i % 2]}" for i in range(metrics)), "empty maps", "passes", "seconds"]
    numbers = [f"0.{i:03} [0.1, 0.2]*" for i in range(1, metrics)]
    rows = [[name, 0.5, *numbers, "0", "1 forward, 1 backward", "0.3"] for name in ("attribution-equilibrium", "cam")]
    output.table(heads, rows)
    for cells, line in zip([heads, *rows], stream.getvalue().splitlines(), strict=True):
        assert [cell for cell in map(str, cells) if cell not in line] == []


def test_long_texts_fold_where_names_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(output, "console", Console(width=20, file=stream))
    output.table(["method", "what it does"], [["attribution-equilibrium", "a text of many words " * 20]])
    printed = stream.getvalue().splitlines()
    assert max(map(len, printed)) <= output.WIDEST
    assert " ".join(" ".join(printed).split()).count("a text of many words") == 20


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["explain", "", "-m", "demo/resnet"], "IMAGE is empty"),
        (["explain", "x.png", "", "-m", "demo/resnet"], "IMAGE is empty"),
        (["explain", "x.png", "-m", "demo/resnet", "--trace", ""], "--trace is empty"),
        (["compare", "", "-m", "demo/resnet"], "IMAGE is empty"),
        (["evaluate", "", "-m", "demo/resnet"], "is empty"),
        (["sanity", "x.png", "-m", "demo/resnet", "--out", ""], "--out is empty"),
        (["propose", "", "-m", "demo/resnet"], "is empty"),
        (["choose", "", "-m", "demo/resnet"], "is empty"),
        (["merge", "a", "", "--out", "b"], "RUN… is empty"),
        (["report", ""], "RUN is empty"),
        (["benchmark", "x.toml", "--out", ""], "--out is empty"),
        (["datasets", "--data", ""], "--data is empty"),
        (["demo", "--out", ""], "--out is empty"),
        (
            ["explain", "x.png", "-m", "demo/resnet", "--out", "-"],
            "--out -: nothing is written to standard output ",
        ),
        (["explain", "--strict", "", "-m", "demo/resnet"], "IMAGE is empty"),
        (["demo", "--out="], "--out is empty"),
        (["demo", "--out", "-"], "--out -: nothing is written to standard output "),
    ],
)
def test_paths_that_a_shell_makes_by_mistake(
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as done:
        cli.main(arguments)
    assert done.value.code == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_standard_input_beside_a_folder_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "-").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a picture")))
    (file,) = expand([Path("-")])
    assert file.read_bytes() == b"a picture"
