"""What somebody who waits is told: beforehand how long it will take, meanwhile how much is done.

All of it goes to the error stream. ``progress=None`` shows a bar where somebody looks, in a terminal or a notebook, and
says a line before work of more than half a minute wherever it runs; ``True`` shows how far it is everywhere; ``False``
says nothing.
"""

import sys
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

LONG = 30.0
"""Seconds from which work is announced."""
FIRST = 1.0
"""Seconds of work before a bar appears: what is done sooner needs none."""
PERIOD = 0.2
"""Seconds between two looks of a bar."""


@dataclass(frozen=True)
class Part:
    """What one method or metric adds to the work.

    Attributes:
        name: of the method or metric.
        passes: forward and backward, also through a part of the network.
        work: forward passes through the whole network that take as long.
        options: on which it depends, such as ``n_masks=8000``.
        advice: how it is avoided.
    """

    name: str
    passes: float
    work: float
    options: tuple[str, ...] = ()
    advice: str = ""

    @property
    def remark(self) -> str:
        """What makes it shorter, in the words of whoever asked for it."""
        options = " or ".join(filter(None, (spelling.get()(self.name, option) for option in self.options)))
        return self.advice or (options and f"set by {options}")


spelling: ContextVar[Callable[[str, str], str]] = ContextVar("spelling", default=lambda name, option: option)
"""How whoever asked gives a method or metric of this name an option; "" for not at all."""


@dataclass(frozen=True)
class Forecast:
    """How long work will take.

    Attributes:
        passes: forward and backward.
        seconds: what they will take.
        parts: of which the passes are.
        images: pictures that are worked on.
        at_most: whether it may well end sooner.
    """

    passes: float
    seconds: float
    parts: Sequence[Part] = ()
    images: int = 1
    at_most: bool = False

    def scale(self, factor: int | float) -> "Forecast":
        """Return that of so many times the passes, on the same pictures."""
        parts = [replace(p, passes=factor * p.passes, work=factor * p.work) for p in self.parts]
        return replace(self, passes=factor * self.passes, seconds=factor * self.seconds, parts=parts)

    def repeat(self, times: int) -> "Forecast":
        """Return that of so many times as many pictures."""
        return replace(self.scale(times), images=times * self.images)

    @staticmethod
    def of_all(forecasts: Iterable["Forecast"], images: int) -> "Forecast":
        """Return that of several pieces of work on so many pictures; parts of one name become one."""
        each = list(forecasts)
        parts: dict[str, Part] = {}
        for part in (part for one in each for part in one.parts):
            other = parts.get(part.name)
            parts[part.name] = (
                replace(part, passes=part.passes + other.passes, work=part.work + other.work) if other else part
            )
        return Forecast(sum(f.passes for f in each), sum(f.seconds for f in each), list(parts.values()), images)

    def __str__(self) -> str:
        """Say passes, time and what makes it shorter."""
        by_size = sorted(self.parts, key=lambda part: -part.passes)[:3]
        large = [part for part in by_size if part.passes >= 0.1 * self.passes] or by_size[:1]
        of = ", ".join(f"{part.name} {part.passes:z,.0f}{part.remark and f' ({part.remark})'}" for part in large)
        pictures = f" for {self.images:,} pictures" if self.images > 1 else ""
        about = "at most about" if self.at_most else "about"
        each = self.seconds / max(self.passes, 1)
        taking = duration(each) if each >= 1 else f"{1000 * each:z.3g} ms"
        passes = f"{self.passes:z,.0f} passes of some {taking}{pictures}"
        return f"{about} {duration(self.seconds)}: {passes}; most: {of}"


def duration(seconds: float) -> str:
    """Write a time for people: two digits of seconds, minutes or hours."""
    for unit, length, most in (("s", 1, 100), ("min", 60, 100), ("h", 3600, 48)):
        if seconds < most * length:
            return f"{float(f'{seconds / length:z.2g}'):g} {unit}"
    return f"{float(f'{seconds / 86400:z.2g}'):g} days"


def announce(what: str, expected: Forecast, advice: str = "") -> None:
    """Say on the error stream how long work will take, if that is long, and what makes it shorter."""
    if expected.seconds > LONG:
        end = f"; {advice}" if advice else ""
        print(f"limelight: {what} will take {expected}{end}", file=sys.stderr, flush=True)


class Watch:
    """The work that is being watched: what is expected of it, and how much is done."""

    def __init__(self, what: str, progress: bool | None, times: int) -> None:
        self.what, self.progress, self.times = what, progress, times
        self.done, self.total = 0.0, 0.0
        self._show: Callable[[float, float], None] | None = None
        self._started = self._shown = time.perf_counter()
        self._close: Callable[[float], None] = lambda seconds: None

    def expect(self, forecast: Callable[[], Forecast]) -> None:
        """Say how long it will take if that is long; a bar will run up to its passes. The first forecast counts."""
        if self.progress is False or self.total:
            return
        expected = forecast().repeat(self.times)
        self.total = expected.passes
        announce(self.what, expected)

    def advance(self, passes: int | float) -> None:
        """Tell that so many passes are done."""
        self.done += passes
        now = time.perf_counter()
        if self.progress is False or now - self._started < FIRST or now - self._shown < PERIOD or not self.total:
            return
        self._shown = now
        if self._show is None:
            self._show, self._close = _display(self.what, bool(self.progress))
        self._show(min(self.done, self.total), self.total)

    def end(self) -> None:
        """Close the bar, if there is one."""
        self._close(time.perf_counter() - self._started)


_watch: ContextVar[Watch | None] = ContextVar("watch", default=None)


def count_passes(passes: int | float) -> None:
    """Tell whoever watches that so many pictures went through the model."""
    watch = _watch.get()
    if watch is not None:
        watch.advance(passes)


@contextmanager
def show_progress(what: str, progress: bool | None = None, times: int = 1) -> Generator[Watch]:
    """Watch the work inside; where it is a part of work that is watched already, the whole is what is shown.

    Whoever shows in another way how far the whole is, watches it with ``progress=False``, so that no part speaks. Each
    thread watches for itself.

    Args:
        what: the work, such as ``"explaining"``.
        progress: see above.
        times: how often the work is done of which a part gives the first forecast.
    """
    whole = _watch.get()
    if whole is not None:
        yield whole
        return
    watch = Watch(what, progress, times)
    token = _watch.set(watch)
    try:
        yield watch
    finally:
        _watch.reset(token)
        watch.end()


_Bar = tuple[Callable[[float, float], None], Callable[[float], None]]
"""What shows how much is done, of how much, and what ends it after so many seconds."""


def _display(what: str, everywhere: bool) -> _Bar:
    """Return how progress is shown here, and how that ends."""
    notebook = _notebook()
    if notebook is not None:
        return _in_notebook(notebook, what)
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        return _in_terminal(console, what)
    return (_in_lines(what) if everywhere else lambda done, total: None), lambda seconds: None


def _notebook() -> Any:
    """Return IPython's display module in a kernel, else None."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if not hasattr(shell, "kernel"):
        return None
    import importlib

    return importlib.import_module("IPython.display")


def _in_terminal(console: Any, what: str) -> _Bar:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task(what, total=None)
    bar.start()
    return lambda done, total: bar.update(task, completed=done, total=total), lambda seconds: bar.stop()


def _in_notebook(display: Any, what: str) -> _Bar:
    # An output can't be taken back alone, and an empty one would leave a gap: it becomes a line.
    def page(done: float, total: float) -> Any:
        return display.HTML(f'{what} <progress value="{done:g}" max="{total:g}"></progress> {done / total:z.0%}')

    def end(seconds: float) -> None:
        handle.update(display.HTML(f"{what}: {duration(seconds)}"))

    handle = display.display(page(0, 1), display_id=True)
    return lambda done, total: handle.update(page(done, total)), end


def _in_lines(what: str) -> Callable[[float, float], None]:
    last = [0]

    def show(done: float, total: float) -> None:
        tenths = int(10 * done / total)
        if tenths > last[0]:
            last[0] = tenths
            print(f"limelight: {what}: {tenths * 10} %", file=sys.stderr, flush=True)

    return show
