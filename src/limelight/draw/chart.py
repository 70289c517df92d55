"""Curves as pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from limelight.draw.paint import Array

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#666666", "#8c564b", "#117733", "#882255")
"""Distinguishable with every kind of colour vision; line styles tell them apart in grey."""
_STYLES = ("-", "--", "-.", ":")


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
    figure, canvas = _figure(width, 3.6)
    for axes, (title, lines) in zip(figure.subplots(1, len(charts), squeeze=False)[0], charts.items(), strict=True):
        for name, values in lines.items():
            number = names.index(name)
            axes.plot(
                np.linspace(0, 1, len(values)),
                values,
                color=COLOURS[number % len(COLOURS)],
                linestyle=_STYLES[number // len(COLOURS) % len(_STYLES)],
                label=name,
            )
        axes.set(title=title, xlabel=x_label, ylabel=y_label, xlim=(0, 1), ylim=(0, 1.02))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize="small")
    return _drawn(canvas)


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
    return _drawn(canvas)


class Growing:
    """A curve of a value of every step, drawn up to one of them.

    Args:
        values: of the steps 0, 1, ..., NaN where there is none.
        name: what they are.
        levels: what else to compare them with -> its value.
        width: of the picture, in pixels.
    """

    def __init__(self, values: Array, name: str, levels: Mapping[str, float], width: int) -> None:
        def drawn(colour: str) -> tuple[Image.Image, Array]:
            figure, canvas = _figure(width, 1.7)
            axes = figure.subplots()
            axes.plot(values, color=colour)
            _step_axes(axes, len(values), name, levels)
            picture = _drawn(canvas)
            points = axes.transData.transform(np.stack([np.arange(len(values)), np.nan_to_num(values)], axis=1))
            return picture, points * (1, -1) + (0, picture.height)

        self._there = np.isfinite(values)
        self._faint, _ = drawn("#d8d8d8")
        self._full, self._points = drawn(COLOURS[0])

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


def _drawn(canvas: Any) -> Image.Image:
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _step_axes(axes: Any, steps: int, name: str, levels: Mapping[str, float]) -> None:
    from matplotlib.ticker import MaxNLocator

    last = max(1, steps - 1)
    axes.set(xlabel="step", ylabel=name, xlim=(-0.02 * last, 1.02 * last))
    for text, level in levels.items():
        axes.axhline(level, color="#6b6b6b", linestyle=":", linewidth=1)
        beside = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
        axes.annotate(text.replace(" ", "\n"), (1, level), (4, 0), fontsize=8, **beside)
    if name == "probability":
        axes.set_ylim(-0.03, 1.03)
    low, high = axes.get_ylim()
    least = 0.02 * max(abs(low), abs(high))
    if high - low < least:  # what hardly changes is drawn as a flat line, not as noise
        axes.set_ylim((low + high - least) / 2, (low + high + least) / 2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def stacked(pictures: Sequence[Image.Image], background: str = "white") -> Image.Image:
    """Put pictures under one another."""
    width = max(p.width for p in pictures)
    sheet = Image.new("RGB", (width, sum(p.height for p in pictures)), background)
    top = 0
    for picture in pictures:
        sheet.paste(picture, ((width - picture.width) // 2, top))
        top += picture.height
    return sheet
