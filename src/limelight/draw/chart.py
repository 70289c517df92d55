"""Curves as pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

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
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for lines in charts.values() for name in lines))
    figure = Figure(figsize=(width / 100, 3.6), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
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
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])


def stacked(pictures: Sequence[Image.Image], background: str = "white") -> Image.Image:
    """Put pictures under one another."""
    width = max(p.width for p in pictures)
    sheet = Image.new("RGB", (width, sum(p.height for p in pictures)), background)
    top = 0
    for picture in pictures:
        sheet.paste(picture, ((width - picture.width) // 2, top))
        top += picture.height
    return sheet
