"""The page of the five papers: every row has a command that there is, and every recipe has a row."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from limelight import cli

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
OVERVIEW = (ROOT / "recipes" / "README.md").read_text(encoding="utf-8")
RECIPES = {path.stem for path in (ROOT / "recipes").glob("*.toml")}
OF_NO_PAPER = {"demo"}
COMMANDS: dict[str, Any] = typer.main.get_command(cli.app).commands  # pyright: ignore


def rows(text: str) -> list[list[str]]:
    """Return the cells of all tables' rows, without headings."""
    lines = [line.strip().strip("|") for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r" \| ?", line)] for line in lines]
    return [row for row in cells if row[1] != "recipe or command" and set(row[0]) != {"-"}]


def code(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


@pytest.mark.parametrize("row", rows(PAGE), ids=lambda row: row[0][:40])
def test_a_row_has_a_recipe_or_a_command_and_says_what_came_out(row: list[str]) -> None:
    assert len(row) == 5
    assert all(row)
    (given,) = code(row[1])
    assert given in RECIPES or given.startswith("limelight ")


def test_every_recipe_of_a_paper_has_one_row() -> None:
    named = [code(row[1])[0] for row in rows(PAGE)]
    assert sorted(name for name in named if not name.startswith("limelight ")) == sorted(RECIPES - OF_NO_PAPER)


def test_the_overview_of_recipes_lists_the_same() -> None:
    listed = [code(row[0])[0] for row in rows(OVERVIEW.partition("## All recipes")[2]) if code(row[0])]
    assert sorted(listed) == sorted(RECIPES)


def commands() -> list[str]:
    """The page's commands, in its text and in blocks."""
    inline = [span for span in code(PAGE) if span.startswith("limelight ")]
    return inline + re.findall(r"^limelight .+$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_page_exists_with_its_options(line: str) -> None:
    _, name, *words = shlex.split(line)
    known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known
    if name == "benchmark":
        assert words[0] in RECIPES


def test_names_of_recipes_in_the_text_are_recipes() -> None:
    prefixes = {name.partition("-")[0] for name in RECIPES - OF_NO_PAPER}
    named = {
        span for span in code(PAGE) if re.fullmatch(rf"({'|'.join(prefixes)})-[a-z0-9-]*(table|fig)[a-z0-9-]*", span)
    }
    assert named <= RECIPES
