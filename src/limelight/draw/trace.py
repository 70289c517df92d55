"""Pictures of an optimisation: a sheet of some of its steps, and an animation of them."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from limelight.draw import chart
from limelight.draw.assets import font, make_legible
from limelight.draw.paint import Array, Picture, overlay
from limelight.draw.sheet import Panel, gallery

__all__ = ["Course", "Shot", "animation", "film", "spread_steps", "storyboard"]

_SIZE = 224
"""Longer side of every picture, in pixels."""
_LONG, _LAST = 6000, 2000
"""How long an animation runs, and stands at its end, in milliseconds."""


@dataclass(frozen=True)
class Shot:
    """One step that is shown.

    Attributes:
        step: its number, from 0.
        change: where the picture is changed, (H, W) in [0, 1].
        seen: what the model is shown, (H, W, 3).
    """

    step: int
    change: Array
    seen: Picture


@dataclass(frozen=True)
class Course:
    """How an optimisation went.

    Attributes:
        image: the picture that it works on, (H, W, 3).
        shots: the steps that are shown.
        score: of what the model sees at every step, shown or not; NaN where it is unknown.
        objective: what is minimised, of every step.
        whole: score of the picture itself.
        heading: what is explained, and how.
        unit: what the score is, such as ``probability``.
        changed: what happens to the picture where it is hot.
    """

    image: Picture
    shots: Sequence[Shot]
    score: Array
    objective: Array
    whole: float
    heading: str
    unit: str = "score"
    changed: str = "taken away"

    @property
    def levels(self) -> dict[str, float]:
        """What the score is compared with."""
        return {"whole picture": self.whole}

    def write_score(self, step: int) -> str:
        """Return the score of a step in words."""
        return f"{self.unit} {_number(self.score[step])}"


def spread_steps(count: int, most: int) -> list[int]:
    """Return the numbers of at most ``most`` of ``count`` steps, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()


def storyboard(course: Course) -> Image.Image:
    """Show steps side by side, where each changes the picture and what the model sees then; below, the curves."""
    hot = [Panel(overlay(course.image, shot.change)) for shot in course.shots]
    seen = [
        Panel(
            _picture(shot.seen),
            caption=f"{course.write_score(n := shot.step)}\nobjective {_number(course.objective[n])}",
        )
        for shot in course.shots
    ]
    steps = [shot.step for shot in course.shots]
    rows = [course.changed, "what the model sees"]
    sheet = gallery([hot, seen], titles=[f"step {n}" for n in steps], row_titles=rows, size=_SIZE)
    width = max(sheet.width, 720)
    curves = {course.unit: course.score, "objective (minimised)": course.objective}
    charts = chart.courses(curves, steps, levels={course.unit: course.levels}, width=width)
    return chart.stack([_line(course.heading, width), sheet, charts])


def animation(course: Course, comment: str = "") -> bytes:
    """Return an animated GIF that loops: each step's picture, what the model sees then, and its score on the curve.

    Args:
        course: what is shown; a frame for each of its shots.
        comment: text that is kept in the file.
    """
    last = len(course.score) - 1
    width = _beside(course, course.shots[0]).width
    curve = chart.GrowingCurve(course.score, course.unit, course.levels, width)
    frames = [
        chart.stack(
            [
                _line(course.heading, width),
                _beside(course, shot),
                _line(f"step {shot.step} of {last} · {course.write_score(shot.step)}", width),
                curve.until(shot.step),
            ]
        )
        for shot in course.shots
    ]
    return film(frames, int(np.clip(_LONG / len(frames), 80, 500)), last=_LAST, comment=comment)


def film(frames: Sequence[Image.Image], each: int, *, last: int | None = None, comment: str = "") -> bytes:
    """Return an animated GIF that loops.

    Args:
        frames: of one size.
        each: how long a frame stands, in milliseconds.
        last: how long the last one does; None for as long as the others.
        comment: text that is kept in the file.
    """
    # One palette without dithering: pixels that stay keep their colour, so that only changes are stored.
    some = chart.stack([frames[i] for i in spread_steps(len(frames), 4)])
    palette = some.quantize(256, Image.Quantize.MEDIANCUT, kmeans=3)
    colours = np.reshape(palette.getpalette() or [], (-1, 3))
    colours[colours.min(1) > 240] = 255  # the paper
    palette.putpalette(colours.ravel().tolist())
    first, *others = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    out = io.BytesIO()
    first.save(
        out,
        "GIF",
        save_all=True,
        append_images=others,
        duration=[each] * len(others) + [each if last is None else last],
        loop=0,
        comment=comment.encode(),
    )
    return out.getvalue()


def _beside(course: Course, shot: Shot) -> Image.Image:
    """Show where a step changes the picture, and beside it what the model sees then."""
    hot = Panel(overlay(course.image, shot.change), course.changed)
    return gallery([[hot, Panel(_picture(shot.seen), "what the model sees")]], size=_SIZE)


def _picture(values: Picture) -> Image.Image:
    return values if isinstance(values, Image.Image) else Image.fromarray(values)


def _number(value: float) -> str:
    """Write a number whose width hardly changes while it does."""
    if value != value:
        return "not measured"
    return f"{value:z.3f}" if abs(value) < 100 else f"{value:z.3g}"


def _line(text: str, width: int) -> Image.Image:
    """Write a line in the middle of a white band."""
    band = Image.new("RGB", (width, 28), "white")
    face, text = font(14, bold=True), make_legible(text)
    while text and face.getlength(text) > width - 24:
        text = f"{text.rstrip('…')[:-1]}…"
    ImageDraw.Draw(band).text((width / 2, 16), text, "#1a1a1a", face, "mm")
    return band
