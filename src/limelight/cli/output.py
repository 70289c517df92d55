"""What the commands print, and how they read their options."""

import atexit
import json
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString, NoReturn, TypeVar

from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from limelight.errors import InvalidImage, InvalidOption, nearest, show
from limelight.progress import show_progress
from limelight.text import numbered, shorten, to_json, visible

if TYPE_CHECKING:
    from limelight.api import Manual
    from limelight.data.samples import Sample

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


def parse_parameters(given: Sequence[str]) -> dict[str, Any]:
    """Read ``-p option=value``; a value is JSON if it can be, text otherwise."""
    options: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InvalidOption(f"-p {show(text)}: expected option=value, such as -p gamma=2")
        name = name.replace("-", "_")
        if name in options:
            raise InvalidOption(f"-p {show(name)} is given twice; give it once")
        try:
            options[name] = json.loads(value)
        except json.JSONDecodeError:
            options[name] = value
        except (ValueError, RecursionError):  # thousands of digits, or of brackets
            raise InvalidOption(f"-p {show(text)}: this is too large a number, or too deep a list") from None
    return options


def parse_parameters_of_each(given: Sequence[str], methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read ``-p option=value`` of all methods and ``-p METHOD.option=value`` of one, which goes before it.

    Returns:
        The options of each method, by its name.

    Raises:
        InvalidOption: a method that is not among them.
    """
    written = {name.replace("-", "_"): name for name in methods}
    of_all: dict[str, Any] = {}
    of_one: dict[str, dict[str, Any]] = {name: {} for name in methods}
    for key, value in parse_parameters(given).items():
        method, dot, option = key.rpartition(".")
        if not dot:
            of_all[option] = value
        elif method in written:
            of_one[written[method]][option] = value
        else:
            hint = nearest(method.replace("_", "-"), methods)
            raise InvalidOption(f"-p {show(key)}: {show(method)} is none of the methods here{hint}")
    return {name: of_all | own for name, own in of_one.items()}


def without_nan(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same with None for NaN, which JSON has not."""
    return {name: None if value != value else value for name, value in values.items()}


def split_names(text: str) -> list[str]:
    """Read ``a,b,c``."""
    return [name.strip() for name in text.split(",") if name.strip()]


MOST_GIVEN = 1 << 30
"""Bytes of a picture that is read from standard input, at most."""


def resolve_input(path: Path) -> Path:
    """Return a picture's path; for ``-`` that of a file, kept until the command ends, of what standard input gives.

    Raises:
        InvalidOption: standard input gives nothing, or without end.
    """
    if str(path) != "-":
        return path
    content = sys.stdin.buffer.read(MOST_GIVEN + 1) if sys.stdin else b""
    if not content or len(content) > MOST_GIVEN:
        amount = f"more than {MOST_GIVEN:,} bytes" if content else "nothing"
        raise InvalidOption(f"standard input (-) gave {amount}, not a picture")
    folder = tempfile.TemporaryDirectory(prefix="limelight-")
    atexit.register(folder.cleanup)
    file = Path(folder.name) / "stdin"
    file.write_bytes(content)
    return file


def parse_layers(text: str) -> str | tuple[str, ...]:
    """Read ``--layer a`` or ``--layer a,b``."""
    names = split_names(text)
    return names[0] if len(names) == 1 else tuple(names)


def expand(images: Sequence[Path]) -> list[Path]:
    """Return files for files and folders of pictures; pictures in folders that Limelight made are named and left out.

    Raises:
        InvalidImage: a folder holds no pictures, or none that Limelight did not make.
    """
    from limelight.data.images import list_images

    files: list[Path] = []
    ours: list[Path] = []
    for one in images:
        if str(one) == "-" or not one.is_dir():
            files.append(resolve_input(one))
            continue
        pictures = list_images(one)
        made = {file for file in pictures if _is_ours(file)}
        if len(made) == len(pictures):
            raise InvalidImage(f"all pictures in {one} are explanations that Limelight made; name those that are meant")
        files += [file for file in pictures if file not in made]
        ours += sorted(made)
    if ours:
        named = ", ".join(map(str, ours[:5])) + (f" and {len(ours) - 5} more" if len(ours) > 5 else "")
        say("[dim]left out, as Limelight made them: {}[/]", named, error=True, wrap=False)
    return files


def _is_ours(file: Path) -> bool:
    """Tell whether a picture holds the settings of an explanation."""
    from limelight.draw import read_png_metadata

    if file.suffix.lower() != ".png":
        return False
    try:
        return "limelight" in read_png_metadata(file)
    except InvalidImage:  # is named when it is to be explained
        return False


def print_left_out(left_out: Mapping[str, str]) -> None:
    """Say which methods a model can't have, and why."""
    for name, reason in left_out.items():
        say("[dim]left out: {}[/]", reason if reason.startswith(name) else f"{name}: {reason}")


def print_unreadable(unreadable: Mapping[str, str]) -> int:
    """Name the pictures that were left out on the error stream; return the exit code, 1 if there are any."""
    for name, reason in unreadable.items():
        say("[yellow]left out: {}[/]", reason if name in reason else f"{name}: {reason}", error=True, wrap=False)
    return 1 if unreadable else 0


def file_names(pictures: Sequence[Path]) -> list[str]:
    """Return a name for the output of each picture, all of them different.

    It is the picture's without the suffix, which stays where it alone tells two apart (x.png, x.jpg); pictures of one
    name have as many of their folders in front as tell them apart (a-x, b-x), and what is left is numbered.
    """
    beside = Counter((path.parent, path.stem.lower()) for path in set(pictures))
    plain = [path.stem if beside[path.parent, path.stem.lower()] == 1 else path.name for path in pictures]
    names = list(plain)
    for depth in range(1, max((len(path.parts) for path in pictures), default=0)):
        counts = Counter(name.lower() for name in names)
        for i, path in enumerate(pictures):
            if counts[names[i].lower()] > 1:
                folders = [part for part in path.parent.parts if part not in (path.anchor, "..")]
                names[i] = "-".join([*folders[-depth:], plain[i]])
    return number_duplicates(names)


def number_duplicates(names: Iterable[str]) -> list[str]:
    """Number the names of files that occur again; those that differ in capitals only are one on some machines."""
    return numbered(names, same=str.lower)


def refuse_overwriting(option: str, written: Iterable[Path | None], read: Iterable[Path | str | None]) -> None:
    """Refuse to write over what is read.

    Args:
        option: that says where to write.
        written: files that will be; None is none.
        read: files that are, in whatever way they are called; of a folder its list of labels.

    Raises:
        InvalidOption: one of them is both.
    """
    there = {(s.st_dev, s.st_ino): file for file in written if file is not None and (s := _status(file))}
    if not there:
        return
    for one in filter(None, read):
        for file in (Path(one), Path(one) / "labels.csv"):
            status = _status(file)
            if status and (status.st_dev, status.st_ino) in there:
                own = there[status.st_dev, status.st_ino]
                raise InvalidOption(f"{option} {own} is a file that is read, {file}; give another name")


def _status(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except (OSError, ValueError):
        return None


def files_of(samples: "Iterable[Sample]") -> Iterator[Path | str]:
    """Yield the files of pictures and masks."""
    for sample in samples:
        yield from (file for file in (sample.image, sample.mask) if isinstance(file, str | Path))


def check_readable(samples: "Iterable[Sample]") -> None:
    """Read every picture and mask, as ``--strict`` asks before there is any work that could be lost.

    Raises:
        InvalidImage: one of them can't be read.
    """
    from limelight.data.images import load_image

    for sample in samples:
        load_image(sample.image)
        if sample.mask is not None:
            sample.truth_mask()


def take_evenly(items: Sequence[T], limit: int | None) -> list[T]:
    """Take so many items, evenly spread."""
    count = len(items) if limit is None else min(limit, len(items))
    return [items[i * len(items) // count] for i in range(count)]


QUICK = 100
"""Passes per picture up to which a method is among the ``quick`` ones."""


def method_names(given: str) -> list[str]:
    """Return the names in a ``--methods`` argument: names, ``quick`` or ``all``."""
    import limelight as ll

    return list(ll.methods()) if given in ("quick", "all") else split_names(given)


def find_unsuitable(
    given: str, classifier: Any, images: Iterable[Any], methods: Sequence[Any], target: Any = None
) -> dict[str, str]:
    """Return which of the methods are left out and why; whoever names some gets them, or the error.

    They are tried on the first of the images that can be read.
    """
    from limelight import api

    if given not in ("quick", "all"):
        return {}
    image = api.first_input(classifier, images)
    return api.refusals(classifier, image, methods, target, QUICK if given == "quick" else None)


def print_manual(page: "Manual") -> None:
    """Print what a method or metric says of itself."""
    card = page.card
    say("[bold]{}[/] ({}): {}", card.name, card.family, page.summary)
    for paragraph in page.body.splitlines():
        say("\n{}", paragraph)
    say("\n[bold]cost[/] per picture: {}", page.cost)
    if page.direction:
        say("[bold]{}[/]", page.direction)
    if page.anytime:
        say("takes a [bold]budget[/], per picture: -p budget='200 forwards', or '0.5 s'")
    say("[bold]paper[/] {}. {}", page.paper, page.link)
    if page.source:
        say("[bold]source[/] {}", page.source)
    heads = ["option", "default", "may be", "what it does"]

    def rows(options: Iterable[Any]) -> list[list[str]]:
        return [[o.name, "required" if o.default is None else o.default, o.choices, o.meaning] for o in options]

    say("")
    table(heads, rows(page.options), title="Its options") if page.options else say("It has no options of its own.")
    say("")
    table(heads, rows(page.shared), title="Options of all")
    for name, bundle in card.profiles.items():
        options = ", ".join(f"{k}={v}" for k, v in bundle.items())
        say("[bold]{} {}[/]: {}", page.bundle, name, options or "the defaults")
    if page.example:
        say("\n[bold]example[/]\n  {}", ">>> import limelight as ll", wrap=False)
        for line in page.example.splitlines():
            say("  {}", line, wrap=False)
    say("\n[bold]command[/]\n  {}", page.command, wrap=False)
