"""Curves of many names."""

from typing import Any

import numpy as np
import pytest

from limelight.draw import chart


@pytest.mark.parametrize("count", [1, chart.BESIDE, chart.BESIDE + 1, 67])
@pytest.mark.parametrize("length", [6, 60])
@pytest.mark.parametrize("width", [560, 1400])
def test_legends_have_all_names_and_room_for_them(
    count: int, length: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    canvases: list[Any] = []
    render = chart._render
    monkeypatch.setattr(chart, "_render", lambda canvas: (canvases.append(canvas), render(canvas))[1])
    lines = {f"{i:03}".ljust(length, "x"): np.linspace(0, 1, 5) for i in range(count)}
    names = [*lines]
    picture = chart.curves({"one": dict.fromkeys(names[: count // 2], lines[names[0]]), "all": lines}, width=width)
    figure = canvases[0].figure
    box = figure.legends[0].get_window_extent()
    assert 0 <= box.y0 < box.y1 <= picture.height + 1
    assert 0 <= box.x0 < box.x1 <= picture.width + 1
    assert len(figure.legends[0].get_texts()) == count
    looks = {(line.get_color(), str(line._unscaled_dash_pattern)) for line in figure.axes[1].get_lines()}
    assert len(looks) == count
    assert all(axes.get_window_extent().height > 150 for axes in figure.axes)
