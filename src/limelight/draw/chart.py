"""Curves as pictures."""

import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from limelight.draw.assets import escape
from limelight.draw.paint import Array

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#666666", "#8c564b", "#117733", "#882255")
"""Distinguishable with every kind of colour vision; line styles tell them apart in grey."""
_STYLES = ("-", "--", "-.", ":", (0, (8, 2)), (0, (8, 2, 2, 2)), (0, (1, 4)))
BESIDE = 16
"""Names in a legend at the right of charts, at most; that of more, or of long ones, is below them."""


def curves(
    charts: Mapping[str, Mapping[str, Sequence[float] | Any]],
    *,
    x_label: str = "share of pixels",
    y_label: str = "probability",
    width: int = 1000,
) -> Image.Image:
    """Draw one chart per title, with a line per name, from 0 to 1 on both axes.

    Args:
        charts: title -> name -> values at equal distances.
        x_label: what runs from 0 to 1.
        y_label: what the values are.
        width: of the picture, in pixels.
    """
    names = list(dict.fromkeys(name for lines in charts.values() for name in lines))
    entry = 85 + 7 * max(len(escape(name)) for name in names)  # pixels of a name with its line, about
    below = len(names) > BESIDE or 2 * entry > width
    columns = max(1, width // entry) if below else 1
    figure, canvas = _figure(width, 3.6 + 0.2 * -(-len(names) // columns) * below)
    for axes, (title, lines) in zip(figure.subplots(1, len(charts), squeeze=False)[0], charts.items(), strict=True):
        for name, values in lines.items():
            number = names.index(name)
            axes.plot(
                np.linspace(0, 1, len(values)),
                values,
                color=COLOURS[number % len(COLOURS)],
                linestyle=_STYLES[number // len(COLOURS) % len(_STYLES)],
                label=escape(name),
            )
        axes.set(
            title=escape(title),
            xlabel=escape(x_label),
            ylabel=escape(y_label),
            xlim=(0, 1),
            ylim=(0, 1.02),
        )
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    lines = {label: line for axes in figure.axes for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    place = "outside lower left" if below else "outside right upper"
    figure.legend([*lines.values()], [*lines], loc=place, ncols=columns, frameon=False, fontsize="small")
    return _render(canvas)


def courses(
    charts: Mapping[str, Array],
    marked: Sequence[int],
    *,
    levels: Mapping[str, Mapping[str, float]] | None = None,
    width: int = 1000,
) -> Image.Image:
    """Draw one chart per name: a value of every step, with a dot at the marked ones.

    Args:
        charts: name -> values of the steps 0, 1, ..., NaN where there is none; those of a ``probability`` are shown
            from 0 to 1.
        marked: numbers of steps.
        levels: name of a chart -> what else to compare it with -> its value.
        width: of the picture, in pixels.
    """
    figure, canvas = _figure(width, 2.8)
    row = figure.subplots(1, len(charts), squeeze=False)[0]
    for axes, colour, (name, values) in zip(row, COLOURS, charts.items(), strict=False):
        axes.plot(values, color=colour)
        axes.plot(marked, values[list(marked)], "o", color=colour, markersize=5)
        _step_axes(axes, len(values), name, (levels or {}).get(name, {}))
    return _render(canvas)


class GrowingCurve:
    """A curve of a value of every step, drawn up to one of them.

    Args:
        values: of the steps 0, 1, ..., NaN where there is none.
        name: what they are.
        levels: what else to compare them with -> its value.
        width: of the picture, in pixels.
    """

    def __init__(self, values: Array, name: str, levels: Mapping[str, float], width: int) -> None:
        def render(colour: str) -> tuple[Image.Image, Array]:
            figure, canvas = _figure(width, 1.7)
            axes = figure.subplots()
            axes.plot(values, color=colour)
            _step_axes(axes, len(values), name, levels)
            picture = _render(canvas)
            points = axes.transData.transform(np.stack([np.arange(len(values)), np.nan_to_num(values)], axis=1))
            return picture, points * (1, -1) + (0, picture.height)

        self._there = np.isfinite(values)
        self._faint, _ = render("#d8d8d8")
        self._full, self._points = render(COLOURS[0])

    def until(self, step: int) -> Image.Image:
        """Return the picture with the curve up to a step, the rest of it faint, and a dot at the step."""
        picture = self._full.copy()
        x, y = self._points[step]
        rest = (round(x), 0, picture.width, picture.height)
        picture.paste(self._faint.crop(rest), rest)
        if self._there[step]:
            ImageDraw.Draw(picture).ellipse((x - 4, y - 4, x + 4, y + 4), COLOURS[0])
        return picture


def _figure(width: int, height: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 100, height), dpi=100, layout="constrained")
    return figure, FigureCanvasAgg(figure)


def _render(canvas: Any) -> Image.Image:
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _step_axes(axes: Any, steps: int, name: str, levels: Mapping[str, float]) -> None:
    from matplotlib.ticker import MaxNLocator

    last = max(1, steps - 1)
    axes.set(xlabel="step", ylabel=escape(name), xlim=(-0.02 * last, 1.02 * last))
    for text, level in levels.items():
        axes.axhline(level, color="#6b6b6b", linestyle=":", linewidth=1)
        beside = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
        axes.annotate(escape(text).replace(" ", "\n"), (1, level), (4, 0), fontsize=8, **beside)
    if name == "probability":
        axes.set_ylim(-0.03, 1.03)
    low, high = axes.get_ylim()
    least = 0.02 * max(abs(low), abs(high))
    if high - low < least:  # what hardly changes is drawn as a flat line, not as noise
        axes.set_ylim((low + high - least) / 2, (low + high + least) / 2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def stack(pictures: Sequence[Image.Image], background: str = "white") -> Image.Image:
    """Put pictures under one another."""
    width = max(p.width for p in pictures)
    sheet = Image.new("RGB", (width, sum(p.height for p in pictures)), background)
    top = 0
    for picture in pictures:
        sheet.paste(picture, ((width - picture.width) // 2, top))
        top += picture.height
    return sheet


# -- drawings that follow a light or dark page ----------------------------------------------------------------

_INK, _SOFT = "#1c1d17", "#575a4b"
_DARK = {
    _INK: "#eceee2",
    _SOFT: "#aeb19f",
    **dict(
        zip(
            COLOURS,
            [
                "#5aaee6",
                "#f08b4b",
                "#3fc99b",
                "#e2a6c8",
                "#94d2f5",
                "#f2bd45",
                "#aaaaaa",
                "#cf988c",
                "#63c47e",
                "#e07fa6",
            ],
            strict=True,
        )
    ),
}
"""Each colour of a drawing, and what it is on dark ground."""
_MARKS = "osD^vPX<>p"
WIDE = 480
"""Width of a drawing, pixels; small enough for its words to be read on a phone."""


STRIP = 50
"""Dots in a row of ``distributions`` at most."""


def tradeoff(
    points: Mapping[str, tuple[float, float, float, float]],
    *,
    x_label: str,
    y_label: str,
    front: Sequence[str] = (),
) -> tuple[str, tuple[int, int]]:
    """Draw what methods reach against what they cost, on a logarithmic axis.

    Methods of the same cost, to two digits, stand side by side.

    Args:
        points: name -> cost, figure, and the ends of its interval (NaN for none).
        x_label: what the cost is.
        y_label: what the figure is.
        front: methods that no other beats in both, from cheap to dear; a line joins them.

    Returns:
        An SVG document, and its size in pixels.
    """
    with _plain():
        height = 3.3 + 0.23 * -(-len(points) // 3)
        figure, axes = _axes(height)
        if len(front) > 1:
            axes.step(*zip(*(points[n][:2] for n in front), strict=True), where="post", color=_SOFT, lw=1, ls=":")
        costs = {name: float(f"{point[0]:z.2g}") for name, point in points.items()}
        reach, placed = max(costs.values()) / min(costs.values()) * 2.25, list[float]()
        for number, (name, (cost, value, low, high)) in enumerate(points.items()):
            alike = [other for other in costs if costs[other] == costs[name]]
            cost *= reach ** ((alike.index(name) - (len(alike) - 1) / 2) * min(0.028, 0.3 / len(alike)))
            placed.append(cost)
            colour, mark = COLOURS[number % len(COLOURS)], _MARKS[(number + number // len(_MARKS)) % len(_MARKS)]
            ends = None if low != low else [[max(0.0, value - low)], [max(0.0, high - value)]]
            axes.errorbar([cost], [value], ends, fmt=mark, color=colour, ms=6.5, elinewidth=1.2, label=_label(name))
        axes.set(xlabel=_label(x_label), ylabel=_label(y_label), xscale="log")
        _log_ticks(axes, placed)
        _legend(figure, axes)
        return _svg(figure)


def bands(
    lines: Mapping[str, tuple[Array, Array]], *, x_label: str = "share of pixels", y_label: str = "probability"
) -> tuple[str, tuple[int, int]]:
    """Draw a line per name from 0 to 1, and a band around it.

    Args:
        lines: name -> values at equal distances, and half the width of the band at each (NaN for none).
        x_label: what runs from 0 to 1.
        y_label: what the values are.

    Returns:
        An SVG document, and its size in pixels.
    """
    with _plain():
        figure, axes = _axes(3.3 + 0.23 * -(-len(lines) // 3))
        for number, (name, (values, half)) in enumerate(lines.items()):
            colour, style = COLOURS[number % len(COLOURS)], _STYLES[number // len(COLOURS) % len(_STYLES)]
            x = np.linspace(0, 1, len(values))
            axes.fill_between(x, values - half, values + half, color=colour, alpha=0.16, lw=0)
            axes.plot(x, values, color=colour, ls=style, lw=1.7, label=_label(name))
        axes.set(xlabel=_label(x_label), ylabel=_label(y_label), xlim=(0, 1))
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        _legend(figure, axes)
        return _svg(figure)


def race(
    lines: Mapping[str, Sequence[tuple[int, float]]], *, gone: Sequence[str], x_label: str, y_label: str
) -> tuple[str, tuple[int, int]]:
    """Draw how the figures of methods went while more and more pictures were judged, on a logarithmic axis.

    Args:
        lines: name -> pictures judged so far and the figure on these, from the first to the last.
        gone: methods that were dropped, whose lines end with a cross.
        x_label: what is counted.
        y_label: what the figure is.

    Returns:
        An SVG document, and its size in pixels.
    """
    with _plain():
        figure, axes = _axes(3.6 + 0.23 * -(-len(lines) // 3))
        for number, (name, points) in enumerate(lines.items()):
            colour, style = COLOURS[number % len(COLOURS)], _STYLES[number // len(COLOURS) % len(_STYLES)]
            x, y = zip(*points, strict=True)
            axes.plot(
                x, y, color=colour, ls=style, lw=1.5, marker=_MARKS[number % len(_MARKS)], ms=3.5, label=_label(name)
            )
            if name in gone:
                axes.plot(x[-1:], y[-1:], "x", color=colour, ms=9, mew=2)
        ends = sorted({x for points in lines.values() for x, _ in points})
        axes.set(xlabel=_label(x_label), ylabel=_label(y_label), xscale="log")
        axes.set_xticks(ends, [f"{x:,}" for x in ends])
        axes.minorticks_off()
        axes.set_xlim(ends[0] / 1.15, ends[-1] * 1.15)
        _legend(figure, axes)
        return _svg(figure)


def distributions(values: Mapping[str, Array], *, label: str) -> tuple[str, tuple[int, int]]:
    """Draw how the numbers of images are spread: a row per name.

    A thick line holds the middle half of the images and a thin one nine in ten; a mark stands at the mean. Behind
    them lies a dot per image, or so many of them, evenly chosen by their rank.

    Args:
        values: name -> a number per image, at least one, without NaN.
        label: what the numbers are.

    Returns:
        An SVG document, and its size in pixels.
    """
    with _plain():
        figure, axes = _axes(0.85 + 0.4 * len(values))
        for row, numbers in enumerate(values.values()):
            colour = COLOURS[row % len(COLOURS)]
            ordered = np.sort(numbers)
            shown = ordered[np.linspace(0, len(ordered) - 1, min(STRIP, len(ordered))).round().astype(int)]
            lift = row + 0.17 + 0.22 * (np.arange(len(shown)) * 0.618 % 1)
            axes.plot(shown, lift, ".", color=colour, ms=3, alpha=0.55, mew=0)
            p5, p25, p75, p95 = np.quantile(ordered, [0.05, 0.25, 0.75, 0.95])
            axes.hlines(row, p5, p95, color=colour, lw=1.2)
            axes.hlines(row, p25, p75, color=colour, lw=5)
            axes.plot([ordered.mean()], [row], "D", ms=5, mfc=_INK, mec="none")
        axes.set(
            xlabel=_label(label),
            yticks=range(len(values)),
            yticklabels=[_label(name, 32) for name in values],
            ylim=(len(values) - 0.5, -0.6),
        )
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        return _svg(figure)


def histogram(values: Mapping[str, Array], *, label: str, bins: int = 20) -> tuple[str, tuple[int, int]]:
    """Draw how many images have which number: a line of steps per name.

    Args:
        values: name -> a number per image, at least one, in [0, 1].
        label: what the numbers are.
        bins: of equal width, from 0 to 1.

    Returns:
        An SVG document, and its size in pixels.
    """
    edges = np.linspace(0, 1, bins + 1)
    with _plain():
        figure, axes = _axes(3.4)
        for row, (name, numbers) in enumerate(values.items()):
            share = np.histogram(numbers, edges)[0] / len(numbers)
            axes.stairs(share, edges, color=COLOURS[row % len(COLOURS)], lw=1.6, label=_label(name, 32))
        axes.set(xlabel=_label(label), ylabel="share of pictures", xlim=(0, 1), ylim=(0, None))
        _legend(figure, axes)
        return _svg(figure)


_SETTINGS = threading.Lock()


@contextmanager
def _plain() -> Generator[None]:
    """Settings under which words stay words, and the same numbers give the same bytes; they belong to all threads."""
    from matplotlib import rc_context  # pyright: ignore[reportUnknownVariableType]

    ink = dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.labelcolor", "ytick.labelcolor"), _INK
    )
    plain: Any = {
        **ink,
        "xtick.color": _SOFT,
        "ytick.color": _SOFT,
        "font.size": 10.5,
        "font.family": "DejaVu Sans",
        "svg.fonttype": "none",
        "svg.hashsalt": "limelight",
    }
    with _SETTINGS, rc_context(plain):
        yield


def _axes(height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDE / 100, height), dpi=100, layout="constrained", facecolor="none")
    axes: Any = figure.subplots()
    axes.set_facecolor("none")
    axes.grid(color=_SOFT, alpha=0.25, lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _legend(figure: Any, axes: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    columns = 2 if max(map(len, labels), default=0) > 18 else 3
    figure.legend(
        handles, labels, loc="outside lower left", ncols=columns, frameon=False, fontsize=9, columnspacing=1.2,
        handletextpad=0.5, handlelength=1.6, borderaxespad=0.2,
    )  # fmt: skip


def _log_ticks(axes: Any, costs: Sequence[float]) -> None:
    """Put numbers that people read at 1, 2 and 5 of each power of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    def written(cost: float, _place: int | None) -> str:
        return f"{cost:z,.0f}" if cost >= 10 else f"{cost:z.3g}"

    low, high = min(costs), max(costs)
    axes.set_xlim(low / 1.5, high * 1.5)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 300 * low else (1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(written))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _label(text: str, most: int = 60) -> str:
    """Return a label that a browser draws."""
    return escape(text, most, drawn_here=False)


def _svg(figure: Any) -> tuple[str, tuple[int, int]]:
    """Return a figure as SVG whose colours are those of the page around it, and its size in pixels."""
    import io
    import warnings

    from matplotlib.backends.backend_svg import FigureCanvasSVG

    file = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # the reader's browser has more fonts
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(file, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    light, dark = (
        "".join(f"--{colour[1:]}:{shade};" for colour, shade in some)
        for some in (zip(_DARK, _DARK, strict=True), _DARK.items())
    )
    for colour in _DARK:
        text = text.replace(colour, f"var(--{colour[1:]})")
    style = f"<style>svg{{{light}}}@media(prefers-color-scheme:dark){{svg{{{dark}}}}}</style>"
    head = text.index(">", text.index("<svg")) + 1
    width, height = figure.get_size_inches() * 100
    return text[:head] + style + text[head:], (round(width), round(height))
