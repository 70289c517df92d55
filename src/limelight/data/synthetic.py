"""Scenes whose truth is known by construction.

Coloured 128 x 128 pictures of one to three objects on textured, cluttered ground. The ten classes differ in
shape alone: colour, texture, size and orientation are drawn freely and tell nothing. Every object comes with
the exact mask of its visible pixels, so that a metric can be told whether a map lies where it should.

A scene depends on its seed and arguments only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from limelight.errors import InvalidOption, nearest, show

Mask = npt.NDArray[np.bool_]
Plane = npt.NDArray[np.floating[Any]]
Points = npt.NDArray[np.float64]
Box = tuple[int, int, int, int]

TEST_SEEDS = 1_000_000_000
"""Seeds from here on belong to the test split; training uses smaller ones."""

MOST_SCENES = 100_000
"""Of drawn scenes, each of which takes 64 KB of memory and some milliseconds."""

MOST_PIXELS = 4096
"""Of a scene's side."""

_FINE = 3  # supersampling for smooth edges


def _ring(radius: float, n: int = 48) -> Points:
    angle = np.linspace(0, 2 * np.pi, n)
    return radius * np.stack([np.cos(angle), np.sin(angle)], 1)


def _regular(corners: int) -> Points:
    return _ring(1.0, corners + 1)[:-1]


def _star() -> Points:
    radius = np.where(np.arange(10) % 2 == 0, 1.05, 0.43)[:, None]
    return radius * _regular(10)


def _cross() -> Points:
    a, b = 0.33, 0.95
    arm = np.array([(a, b), (a, a), (b, a)])
    return np.concatenate([arm * (1, 1), arm[::-1] * (1, -1), arm * (-1, -1), arm[::-1] * (-1, 1)])


def _heart() -> Points:
    t = np.linspace(0, 2 * np.pi, 60)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x, -y - 2.0], 1) / 16.0


def _arrow() -> Points:
    half = np.array([(1.05, 0.0), (0.2, 0.8), (0.2, 0.3), (-1.0, 0.3)])
    return np.concatenate([half, half[::-1] * (1, -1)])


def _bolt() -> Points:
    half = np.array([(0.35, -1.1), (-0.62, 0.15), (-0.05, 0.15)])
    return np.concatenate([half, -half])


_OUTLINES: dict[str, Callable[[], Points]] = {
    "circle": lambda: _ring(0.95),
    "square": lambda: _ring(1.15, 5)[:-1],
    "triangle": lambda: _regular(3) * 1.15,
    "star": _star,
    "cross": _cross,
    "crescent": lambda: _ring(1.0),
    "heart": _heart,
    "ring": lambda: _ring(1.0),
    "arrow": _arrow,
    "bolt": _bolt,
}

_HOLES: dict[str, Points] = {"ring": _ring(0.54), "crescent": _ring(0.76) + np.array([0.42, 0.0])}

CLASSES: tuple[str, ...] = tuple(_OUTLINES)
"""Names of the classes; the index is the label."""


@dataclass(frozen=True)
class SceneObject:
    """One object of a scene.

    Attributes:
        label: index in ``CLASSES``.
        mask: its visible pixels, (H, W).
        box: x1, y1, x2, y2 around them, ends exclusive.
    """

    label: int
    mask: Mask
    box: Box

    @property
    def name(self) -> str:
        """Name of the class."""
        return CLASSES[self.label]


@dataclass(frozen=True)
class Scene:
    """A picture and its truth.

    Attributes:
        image: (H, W, 3), uint8.
        objects: largest first.
        watermark: box of the stamp, or None.
    """

    image: npt.NDArray[np.uint8]
    objects: tuple[SceneObject, ...]
    watermark: Box | None = None

    @property
    def label(self) -> int:
        """Class of the largest object."""
        return self.objects[0].label

    def mask_of(self, label: int) -> Mask:
        """Return the visible pixels of all objects of a class, (H, W)."""
        masks = [o.mask for o in self.objects if o.label == label]
        return np.logical_or.reduce(masks) if masks else np.zeros(self.image.shape[:2], dtype=np.bool_)


def scene(
    seed: int,
    *,
    objects: int | None = None,
    labels: Sequence[int | str] | None = None,
    watermark: bool = False,
    size: int = 128,
) -> Scene:
    """Draw a scene.

    Args:
        seed: not negative.
        objects: how many, 1 to 3; None draws the number.
        labels: their classes, by name or index; None draws distinct ones.
        watermark: whether a stamp is put into the lower left corner.
        size: side in pixels, 64 to 4096.

    Raises:
        InvalidOption: an argument out of range, or an unknown class.
    """
    chosen = None if labels is None else [_label(label) for label in labels]
    if chosen is not None and objects is None:
        objects = len(chosen)
    if objects is not None and not 1 <= objects <= 3:
        raise InvalidOption(f"a scene has 1 to 3 objects, not {objects}")
    if chosen is not None and len(chosen) != objects:
        raise InvalidOption(f"{len(chosen)} labels for {objects} objects; give one for each")
    if seed < 0 or not 64 <= size <= MOST_PIXELS:
        raise InvalidOption(
            f"seed {show(seed)} and size {show(size)}: no negative seed, a size of at least 64, at most {MOST_PIXELS}"
        )

    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 4))
    drawn = rng.permutation(len(CLASSES))  # always drawn: the rest is then the same whatever was asked for
    count = count if objects is None else objects
    chosen = [int(label) for label in drawn[:count]] if chosen is None else chosen

    canvas = _ground(rng, size)
    for _ in range(int(rng.integers(3, 9))):
        _add_clutter(canvas, rng, size)
    truth: list[tuple[int, Mask]] = []
    for centre, radius, label in zip(*_places(rng, count, size), chosen, strict=True):
        solid, hole = _draw_shape(CLASSES[label], centre, radius, rng, size)
        cover = solid * (1 - hole)
        canvas = _paint_object(canvas, cover, rng, size)
        mask = cover > 0.5
        truth = [(other, seen & ~mask) for other, seen in truth] + [(label, mask)]
    if rng.random() < 0.35:
        canvas, truth = _occlude(canvas, truth, rng, size)
    noise = rng.normal(0, rng.uniform(0, 0.03), canvas.shape)
    image = (np.clip(canvas + noise, 0, 1) * 255).round().astype(np.uint8)
    stamp_seed = int(rng.integers(2**31))  # drawn in any case: the picture below the stamp is the same
    box: Box | None = None
    if watermark:
        image, box = stamp(image, stamp_seed)
    visible = [SceneObject(label, mask, _box(mask)) for label, mask in truth if mask.any()]
    visible.sort(key=lambda o: -int(o.mask.sum()))
    return Scene(image, tuple(visible), box)


def scenes(
    n: int,
    *,
    seed: int = 0,
    objects: int | None = None,
    labels: Sequence[int | str] | None = None,
    watermark: bool = False,
    size: int = 128,
) -> list[Scene]:
    """Draw the scenes of ``n`` consecutive seeds; see ``scene`` for the other arguments.

    Raises:
        InvalidOption: ``n`` is negative or above ``MOST_SCENES``, or an argument that ``scene`` refuses.
    """
    if not 0 <= n <= MOST_SCENES:
        raise InvalidOption(f"scenes may be 0 to {MOST_SCENES:,}, not {show(n)}")
    return [scene(seed + i, objects=objects, labels=labels, watermark=watermark, size=size) for i in range(n)]


def test_split(n: int = 500, *, objects: int = 1, watermark: bool = False) -> list[Scene]:
    """Draw the fixed test scenes, whose seeds (``TEST_SEEDS`` and above) no training uses."""
    return scenes(n, seed=TEST_SEEDS * objects, objects=objects, watermark=watermark)


test_split.__test__ = False  # pyright: ignore[reportFunctionMemberAccess]  # pytest takes it for a test


def _label(label: int | str) -> int:
    if isinstance(label, str):
        if label not in CLASSES:
            raise InvalidOption(f"there is no class {label!r}{nearest(label, CLASSES)}")
        return CLASSES.index(label)
    if not 0 <= label < len(CLASSES):
        raise InvalidOption(f"label {label} is out of range; there are classes 0 to {len(CLASSES) - 1}")
    return int(label)


def _box(mask: Mask) -> Box:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def stamp(image: npt.NDArray[np.uint8], seed: int) -> tuple[npt.NDArray[np.uint8], Box]:
    """Put the watermark, half transparent, into the lower left corner.

    Args:
        image: (H, W, 3), square; it is not changed.
        seed: moves the watermark by a few pixels.

    Returns:
        The picture and the box outside which it is untouched.
    """
    rng, size = np.random.default_rng(seed), image.shape[0]
    width, height = 40, 13
    left, bottom = 3 + int(rng.integers(5)), size - 3 - int(rng.integers(5))
    box = (left, bottom - height, left + width, bottom)
    layer = Image.new("RGBA", (size, size))
    pen = ImageDraw.Draw(layer)
    pen.rounded_rectangle((box[0], box[1], box[2] - 1, box[3] - 1), 3, fill=(10, 10, 10, 150))
    pen.text(
        (left + width / 2, bottom - height / 2),
        "© PHOTO",
        (255, 255, 255, 235),
        ImageFont.load_default(9),
        "mm",
    )
    stamped = Image.alpha_composite(Image.fromarray(image).convert("RGBA"), layer).convert("RGB")
    result = image.copy()
    x1, y1, x2, y2 = box
    result[y1:y2, x1:x2] = np.asarray(stamped)[y1:y2, x1:x2]
    return result, box


# -- drawing ---------------------------------------------------------------------------------------------


def _colour(rng: np.random.Generator) -> Plane:
    return rng.uniform(0.05, 0.95, 3).astype(np.float32)


def _noise(rng: np.random.Generator, size: int, cells: int) -> Plane:
    """Smooth noise in [0, 1] with about ``cells`` blobs along a side."""
    coarse = rng.random((cells + 1, cells + 1), dtype=np.float32)
    picture = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(picture), 0, 1)


def _texture(rng: np.random.Generator, size: int) -> Plane:
    """One of several patterns in [0, 1], (H, W)."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    angle = rng.uniform(0, 2 * np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = -x * np.sin(angle) + y * np.cos(angle)
    waves = rng.uniform(4, 14)
    kind = int(rng.integers(6))
    if kind == 0:
        return _noise(rng, size, 3)
    if kind == 1:
        weights = (0.5, 0.3, 0.2)
        return np.sum([w * _noise(rng, size, c) for w, c in zip(weights, (4, 9, 22), strict=True)], 0)
    if kind == 2:
        return 0.5 + 0.5 * np.sin(2 * np.pi * waves * along)
    if kind == 3:
        return ((np.floor(along * waves) + np.floor(across * waves)) % 2).astype(np.float32)
    if kind == 4:
        return (along - along.min()) / (along.max() - along.min())
    return (np.cos(2 * np.pi * waves * along) * np.cos(2 * np.pi * waves * across) > 0.4).astype(np.float32)


def _ground(rng: np.random.Generator, size: int) -> Plane:
    a, b = _colour(rng), _colour(rng)
    b = a + (b - a) * rng.uniform(0.25, 0.6)  # keep the ground calmer than the objects
    pattern = 0.7 * _texture(rng, size) + 0.3 * _noise(rng, size, 16)
    return (a + (b - a) * pattern[..., None]).astype(np.float32)


def _add_clutter(canvas: Plane, rng: np.random.Generator, size: int) -> None:
    """Put a speck, a line or a shapeless blob on the ground: things that are no class."""
    layer = Image.new("L", (size * 2, size * 2))
    pen = ImageDraw.Draw(layer)
    at = rng.uniform(0, 2 * size, 2)
    kind = int(rng.integers(3))
    if kind == 0:
        for dx, dy in rng.normal(0, size / 9, (int(rng.integers(3, 9)), 2)):
            r = rng.uniform(1.5, 4)
            pen.ellipse((at[0] + dx - r, at[1] + dy - r, at[0] + dx + r, at[1] + dy + r), fill=255)
    elif kind == 1:
        to = at + rng.normal(0, size / 2, 2)
        pen.line((*at, *to), fill=255, width=int(rng.integers(2, 6)))
    else:
        angle = np.linspace(0, 2 * np.pi, 14)[:-1]
        radius = rng.uniform(4, 13) * rng.uniform(0.5, 1.3, 13)
        pen.polygon(
            [(at[0] + r * np.cos(t), at[1] + r * np.sin(t)) for r, t in zip(radius, angle, strict=True)],
            fill=255,
        )
    cover = np.asarray(layer.resize((size, size), Image.Resampling.BOX), dtype=np.float32)[..., None] / 255
    canvas += (_colour(rng) - canvas) * cover * rng.uniform(0.35, 0.9)


def _places(rng: np.random.Generator, count: int, size: int) -> tuple[list[Points], list[float]]:
    """Choose centres and radii of objects that hardly overlap."""
    low, high = {1: (0.15, 0.27), 2: (0.14, 0.20), 3: (0.12, 0.165)}[count]
    centres: list[Points] = []
    radii: list[float] = []
    for _ in range(count):
        radius = float(rng.uniform(low, high) * size)
        best, room = rng.uniform(radius, size - radius, 2), -np.inf
        for _ in range(30):
            at = rng.uniform(0.95 * radius, size - 0.95 * radius, 2)
            gaps = [float(np.hypot(*(at - c))) - radius - r for c, r in zip(centres, radii, strict=True)]
            free = min(gaps, default=np.inf)
            if free > room:
                best, room = at, free
            if room > 0:
                break
        centres.append(best)
        radii.append(radius)
    return centres, radii


def _draw_shape(name: str, centre: Points, radius: float, rng: np.random.Generator, size: int) -> tuple[Plane, Plane]:
    """Return coverage in [0, 1] of the outline and of its hole, (H, W) each."""
    angle, squeeze = rng.uniform(0, 2 * np.pi), rng.uniform(0.88, 1.0)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])

    def fill(points: Points) -> Plane:
        layer = Image.new("L", (size * _FINE, size * _FINE))
        placed = ((points * (1, squeeze)) @ turn * radius + centre) * _FINE
        ImageDraw.Draw(layer).polygon([(float(x), float(y)) for x, y in placed], fill=255)
        return np.asarray(layer.resize((size, size), Image.Resampling.BOX), dtype=np.float32) / 255

    hole = fill(_HOLES[name]) if name in _HOLES else np.zeros((size, size), np.float32)
    return fill(_OUTLINES[name]()), hole


def _paint_object(canvas: Plane, cover: Plane, rng: np.random.Generator, size: int) -> Plane:
    """Lay a coloured, textured object with a soft shadow on the canvas."""
    inside = cover > 0.5
    ground = canvas[inside].mean(0) if inside.any() else canvas.mean((0, 1))
    colours = [_colour(rng) for _ in range(12)]
    base = max(colours[: int(rng.integers(3, 9))], key=lambda c: float(np.abs(c - ground).sum()))
    second = base + (colours[-1] - base) * rng.uniform(0, 0.45)
    surface = base + (second - base) * _texture(rng, size)[..., None]
    if rng.random() < 0.6:
        blurred = Image.fromarray((cover * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(2.5))
        shadow = np.roll(np.asarray(blurred, dtype=np.float32) / 255, (2, 2), (0, 1))[..., None]
        canvas = canvas * (1 - 0.35 * shadow)
    return (canvas + (surface - canvas) * cover[..., None]).astype(np.float32)


def _occlude(
    canvas: Plane, truth: list[tuple[int, Mask]], rng: np.random.Generator, size: int
) -> tuple[Plane, list[tuple[int, Mask]]]:
    """Lay a bar over a part of an object, a third of any of them at most."""
    layer = Image.new("L", (size * 2, size * 2))
    x1, y1, x2, y2 = _box(truth[int(rng.integers(len(truth)))][1])
    through = np.array([rng.uniform(x1, x2), rng.uniform(y1, y2)]) * 2
    angle, width = rng.uniform(0, np.pi), int(rng.integers(8, 20))
    reach = np.array([np.cos(angle), np.sin(angle)]) * 4 * size
    ImageDraw.Draw(layer).line((*(through - reach), *(through + reach)), fill=255, width=width)
    cover = np.asarray(layer.resize((size, size), Image.Resampling.BOX), dtype=np.float32) / 255
    hidden = cover > 0.5
    surface = _colour(rng) + (0.3 * (_texture(rng, size) - 0.5))[..., None]
    if any(int((mask & hidden).sum()) > 0.33 * int(mask.sum()) for _, mask in truth):
        return canvas, truth
    canvas = canvas + (surface - canvas) * cover[..., None]
    return canvas.astype(np.float32), [(label, mask & ~hidden) for label, mask in truth]
