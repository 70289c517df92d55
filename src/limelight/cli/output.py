"""What the commands print."""

import re
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, LiteralString, NoReturn, TypeVar

from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from limelight.progress import show_progress
from limelight.text import shorten, to_json, visible

if TYPE_CHECKING:
    pass


T = TypeVar("T")

WIDEST = 240
"""Columns that a table with long texts takes at most where the terminal is too narrow for its words."""

LONGEST_NAME = 60
"""Characters of a name in a table that is never broken."""

SHORT = 24
"""Characters of words in a table, such as a number with its interval, that are never broken."""

LONGEST = 2000
"""Characters of an error's line; what is longer quotes something that nobody reads."""

console = Console()

notes = Console(stderr=True)


def style(template: LiteralString, *values: object) -> Text:
    """Return a styled text: markup of our own with places, and what stands in them, which is plain text.

    No markup, emoji or link of a value has an effect, and what is unseen in it is shown.

    Args:
        template: markup with a ``{}`` for each value, which may have a format such as ``{:z.2f}``.
        values: of any origin.
    """
    styled, whole, given, end = Text.from_markup(template, emoji=False), Text(), iter(values), 0
    for place in re.finditer(r"\{(?::([^{}]*))?\}", styled.plain):
        start = place.start()
        text = visible(format(next(given), place[1] or ""))
        whole.append_text(styled[end:start]).append(text, styled.get_style_at_offset(console, start))
        end = place.end()
    return whole.append_text(styled[end:])


def say(template: LiteralString, *values: object, wrap: bool = True, error: bool = False) -> None:
    """Print a line for people, see ``style``.

    Args:
        template: of our own.
        values: of any origin.
        wrap: whether it is broken between words where it is wider than the terminal; paths had better not be.
        error: whether it goes to the error stream.
    """
    (notes if error else console).print(style(template, *values), soft_wrap=not wrap)


def fail(message: str) -> NoReturn:
    """Print one line on the error stream and leave with exit code 2."""
    print(f"limelight: {visible(shorten(' '.join(message.split()), LONGEST))}", file=sys.stderr)
    sys.exit(2)


def print_json(data: Any) -> None:
    """Print results for programs."""
    print(to_json(data, ascii_only="utf" not in (getattr(sys.stdout, "encoding", None) or "utf-8").lower()))


def table(
    columns: Sequence[str | Text], rows: Iterable[Sequence[float | str | Text]], title: str | None = None
) -> None:
    """Print results for people; numbers stand on the right.

    Args:
        columns: heads.
        rows: cells; a ``str`` is plain text of any origin, a ``Text`` (see ``style``) has a style.
        title: stands above.
    """
    rows = [list(row) for row in rows]
    shown = Table(
        title=title if title is None else _cell(title),
        title_justify="left",
        title_style="bold",
        box=None,
        header_style="bold",
        padding=(0, 2, 0, 0),
    )
    texts = [[_cell(cells[i]) for cells in (columns, *rows)] for i in range(len(columns))]
    lengths = [max(text.cell_len for text in column) for column in texts]

    def stay_whole(i: int) -> None:
        shown.columns[i].no_wrap, shown.columns[i].min_width = True, lengths[i]

    for i, column in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[i], int | float) for row in rows)
        word = max((cell_len(word) for text in texts[i] for word in text.plain.split()), default=0)
        shown.add_column(
            _cell(column),
            justify="right" if numbers else "left",
            overflow="fold",
            min_width=min(word, LONGEST_NAME),  # Rich's own share of a narrow terminal breaks words
        )
        names = all(len(text.plain.split()) < 2 for text in texts[i][1:])  # are searched for, and typed again
        if lengths[i] <= (LONGEST_NAME if names else SHORT):
            stay_whole(i)
    for row in rows:
        shown.add_row(*map(_cell, row))
    # Where not even the longest words fit, a terminal wraps the lines: words in pieces would say nothing.
    free = console.options.update(max_width=100 * WIDEST)
    if Measurement.get(console, free, shown).minimum > console.width:
        for i in range(len(columns)):
            if lengths[i] <= LONGEST_NAME:
                stay_whole(i)
        needed = Measurement.get(console, free, shown)
        shown.width = min(needed.maximum, max(needed.minimum, WIDEST))
    console.print(shown, crop=False)


def _cell(value: float | str | Text) -> Text:
    if isinstance(value, Text):
        return value
    return Text(f"{value:z.3g}" if isinstance(value, float) else visible(value, keep="\n"))


def _bar(*more: Any, **settings: Any) -> Any:
    """Return a bar on the error stream, nothing if that is no terminal."""
    from rich.progress import Progress, TextColumn, TimeRemainingColumn

    what = TextColumn("{task.description}", style="progress.description", markup=False)
    columns = (what, *Progress.get_default_columns()[1:-1], *more, TimeRemainingColumn())
    return Progress(*columns, console=notes, disable=not notes.is_terminal, **settings)


@contextmanager
def filling(what: str) -> Generator[Callable[[int, int, str], None]]:
    """Show a bar for work that says how much is done, how much there is, and how it goes; its parts show none."""
    from rich.progress import MofNCompleteColumn, TextColumn

    note = TextColumn("{task.fields[note]}", markup=False)
    # Chunks may take minutes each: the time that is left is estimated from all of the last hour.
    with show_progress(what, False), _bar(MofNCompleteColumn(), note, speed_estimate_period=3600) as bar:
        task = bar.add_task(visible(what), total=None, note="")
        yield lambda done, total, note: bar.update(task, completed=done, total=total, note=visible(note))


@contextmanager
def progress(items: Sequence[T], what: str) -> Generator[Iterable[T]]:
    """Show a bar on long work, whose parts show none; nothing if the error stream is no terminal."""
    with show_progress(what, False), _bar() as bar:
        yield bar.track(items, description=visible(what))


def without_nan(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same with None for NaN, which JSON has not."""
    return {name: None if value != value else value for name, value in values.items()}


def print_left_out(left_out: Mapping[str, str]) -> None:
    """Say which methods a model can't have, and why."""
    for name, reason in left_out.items():
        say("[dim]left out: {}[/]", reason if reason.startswith(name) else f"{name}: {reason}")


def print_unreadable(unreadable: Mapping[str, str]) -> int:
    """Name the pictures that were left out on the error stream; return the exit code, 1 if there are any."""
    for name, reason in unreadable.items():
        say("[yellow]left out: {}[/]", reason if name in reason else f"{name}: {reason}", error=True, wrap=False)
    return 1 if unreadable else 0
