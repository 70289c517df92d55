"""What the commands print, and how they read their options."""

import json
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from limelight.errors import InvalidOption

T = TypeVar("T")

console = Console()
notes = Console(stderr=True)


def fail(message: str) -> NoReturn:
    """Print one line on the error stream and leave with exit code 2."""
    typer.echo(f"limelight: {' '.join(message.split())}", err=True)
    sys.exit(2)


def print_json(data: Any) -> None:
    """Print results for programs."""
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """Print results for people; numbers stand on the right."""
    rows = [list(row) for row in rows]
    shown = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        header_style="bold",
        padding=(0, 2, 0, 0),
    )
    for i, column in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[i], int | float) for row in rows)
        shown.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row))
    console.print(shown)


@contextmanager
def counted(total: int, what: str) -> Generator[Callable[[int], None]]:
    """Show a bar for work that says itself how much is done."""
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=notes, disable=not notes.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)


@contextmanager
def filling(what: str) -> Generator[Callable[[int, int, str], None]]:
    """Show a bar for work that says how much is done, how much there is, and how it goes."""
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        *Progress.get_default_columns()[:-1],
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    # Chunks may take minutes each: the time that is left is told from all of the last hour.
    with Progress(*columns, console=notes, disable=not notes.is_terminal, speed_estimate_period=3600) as bar:
        task = bar.add_task(what, total=None, note="")
        yield lambda done, total, note: bar.update(task, completed=done, total=total, note=note)


@contextmanager
def progress(items: Sequence[T], what: str) -> Generator[Iterable[T]]:
    """Show a bar on long work, nothing if the error stream is no terminal."""
    from rich.progress import Progress, TimeRemainingColumn

    with Progress(
        *Progress.get_default_columns()[:-1],
        TimeRemainingColumn(),
        console=notes,
        disable=not notes.is_terminal,
    ) as bar:
        yield bar.track(items, description=what)


def parse_parameters(given: Sequence[str]) -> dict[str, Any]:
    """Read ``-p option=value``; a value is JSON if it can be, text otherwise."""
    options: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InvalidOption(f"-p {text!r}: expected option=value, such as -p gamma=2")
        try:
            options[name.replace("-", "_")] = json.loads(value)
        except json.JSONDecodeError:
            options[name.replace("-", "_")] = value
    return options


def split_names(text: str) -> list[str]:
    """Read ``a,b,c``."""
    return [name.strip() for name in text.split(",") if name.strip()]


def expand(images: Sequence[Path]) -> list[Path]:
    """Return files for files and folders of pictures."""
    from limelight.data.images import list_images

    return [file for given in images for file in (list_images(given) if given.is_dir() else [given])]


def load_model(name: str, weights: str, device: str | None) -> Any:
    """Load a model as ``--model``, ``--weights`` and ``--device`` say."""
    from limelight import zoo

    return zoo.load(name, weights=None if weights.lower() == "none" else weights, device=device)


def print_left_out(left_out: Mapping[str, str]) -> None:
    """Say which methods a model can't have, and why."""
    for name, reason in left_out.items():
        console.print(f"[dim]left out: {reason if reason.startswith(name) else f'{name}: {reason}'}[/]")


def evenly(items: Sequence[T], limit: int | None) -> list[T]:
    """Take so many items, evenly spread."""
    count = len(items) if limit is None else min(limit, len(items))
    return [items[i * len(items) // count] for i in range(count)]


QUICK = 100
"""Passes per picture up to which a method is among the ``quick`` ones."""


def method_names(given: str) -> list[str]:
    """Return the names in a ``--methods`` argument: names, ``quick`` or ``all``."""
    import limelight as ll

    return list(ll.methods()) if given in ("quick", "all") else split_names(given)


def not_had(given: str, classifier: Any, image: Any, methods: Sequence[Any], target: Any = None) -> dict[str, str]:
    """Return which of the methods are left out and why; whoever names some gets them, or the error."""
    from limelight import api

    if given not in ("quick", "all"):
        return {}
    return api.refusals(classifier, image, methods, target, QUICK if given == "quick" else None)
