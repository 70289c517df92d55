"""Propose where objects are: boxes of any class, of which a saliency map's peaks choose."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy import ndimage
from skimage.measure import label
from torch import Tensor, nn

from limelight import draw, files
from limelight.api.explaining import explain
from limelight.api.forecasting import forecast
from limelight.api.inputs import as_input, as_sample, size_of
from limelight.data.images import load_image
from limelight.draw import boxes as drawing
from limelight.engine.method import Method, as_method
from limelight.errors import InvalidOption, MissingTruth
from limelight.model.batches import chunk_size, in_chunks
from limelight.model.classifier import Classifier, as_classifier
from limelight.model.cost import Cost
from limelight.model.targets import TargetLike, class_scores, either_name, understood
from limelight.ops.selective_search import Boxes, ious, selective_search
from limelight.ops.statistics import interval, paired_p
from limelight.progress import Part, passed, watched
from limelight.results.explanation import Explanation
from limelight.text import visible

Floats = npt.NDArray[np.float64]
Window = tuple[float, float, float, float]

WAYS = {
    "peaks": "at the peaks of the map",
    "plain": "as many, without the map",
    "candidates": "the best of all candidates",
}
"""Which boxes are judged, and what they are called."""
ENOUGH = 0.5
"""Overlap (IoU) from which a box counts as found."""


@dataclass(frozen=True, eq=False)
class Proposals:
    """Where one picture may show objects of one class.

    All boxes and peaks are in **pixels of the original, upright picture**, whatever the preprocessing makes of it:
    x to the right, y down, from the upper left corner; ends of boxes are exclusive. (Of a picture that was given as
    a normalised tensor nothing else is known, so they are pixels of that tensor.) Only ``explanation`` and ``map`` are
    at the network's input; ``window`` says where that lies in the picture.

    Attributes:
        explanation: the saliency map, its class, its cost.
        picture: the original, upright picture, (H, W, 3), uint8.
        window: x0, y0, x1, y1 of the part of the picture that the network saw for the map; beyond the picture's
            edges where the preprocessing pads.
        peaks: x, y of the peaks of the map, the centres of its pixels, by falling value, (p, 2); none in an empty map.
        heights: the map at the peaks, (p,).
        candidates: distinct boxes of objects of any class, (n, 4).
        confidences: probability of the class where the network sees nothing but that box, (n,).
        choices: for every peak the index of its box among the candidates, or None if no candidate contains it.
        cost: passes spent: those of the explanation, and one for each candidate.
        seconds: time spent.
    """

    explanation: Explanation
    picture: npt.NDArray[np.uint8]
    window: Window
    peaks: Floats
    heights: Floats
    candidates: Boxes
    confidences: Floats
    choices: tuple[int | None, ...]
    cost: Cost
    seconds: float

    @property
    def map(self) -> Tensor:
        """The finished map at the network's input: (h, w), in [0, 1]."""
        return self.explanation.map

    @cached_property
    def chosen(self) -> tuple[int, ...]:
        """Indices of the proposed candidates, each once, the most confident first."""
        found = {i for i in self.choices if i is not None}
        return tuple(sorted(found, key=lambda i: (-self.confidences[i], i)))

    @property
    def boxes(self) -> Boxes:
        """The proposed boxes, each once, the most confident first: (k, 4)."""
        return self.candidates[list(self.chosen)]

    @cached_property
    def plain_chosen(self) -> tuple[int, ...]:
        """Indices of as many candidates, chosen without the map: those of highest confidence."""
        return tuple(np.argsort(-self.confidences, kind="stable")[: len(self.chosen)].tolist())

    @property
    def plain(self) -> Boxes:
        """The boxes of highest confidence, without the map, as many as are proposed: (k, 4)."""
        return self.candidates[list(self.plain_chosen)]

    @cached_property
    def heat(self) -> npt.NDArray[np.float32]:
        """The map laid on the original picture: (H, W), in [0, 1]; 0 where the network did not look."""
        height, width = self.picture.shape[:2]
        rows, columns = size_of(self.map)
        x0, y0, x1, y1 = self.window
        across = (columns / (x1 - x0), rows / (y1 - y0))
        values = Image.fromarray(self.map.detach().cpu().numpy().astype(np.float32))
        placed = values.transform(
            (width, height),
            Image.Transform.AFFINE,
            (across[0], 0, -x0 * across[0], 0, across[1], -y0 * across[1]),
            Image.Resampling.BILINEAR,
        )
        return np.asarray(placed).clip(0, 1)

    def __repr__(self) -> str:
        peaks = _counted(len(self.peaks), "peak")
        about = f"{self.explanation.method} of {self.explanation.title}"
        return visible(f"Proposals({len(self.boxes)} of {len(self.candidates)} boxes at {peaks} of {about})")

    def overlap(self, truth: npt.ArrayLike) -> dict[str, tuple[float, float]]:
        """Compare with the true boxes.

        Args:
            truth: (m, 4), at least one: x0, y0, x1, y1 in pixels of the original picture.

        Returns:
            For the boxes at the ``peaks``, as many ``plain`` ones and all ``candidates``: the share of true boxes that
            one of them overlaps by an IoU of 0.5 or more, and the mean over true boxes of the best IoU. Both are 0
            where there is no box.

        Raises:
            MissingTruth: no boxes, or not of that shape.
        """
        true = np.asarray(truth, dtype=float)
        if true.ndim != 2 or true.shape[1] != 4 or not len(true):
            raise MissingTruth(f"expected true boxes (m, 4), at least one, got shape {true.shape}")
        found: dict[str, tuple[float, float]] = {}
        for way, boxes in zip(WAYS, (self.boxes, self.plain, self.candidates), strict=True):
            best = ious(true, boxes).max(1, initial=0.0)
            found[way] = float((best >= ENOUGH).mean()), float(best.mean())
        return found

    # -- pictures and files -------------------------------------------------------------------------------

    def panels(self, truth: npt.ArrayLike | None = None, size: int = 384) -> list[draw.Panel]:
        """Return the two pictures of ``view``, to be put on a sheet with others; ``size`` is their longer side."""
        image = Image.fromarray(self.picture)
        marks = [drawing.Outline(box, drawing.TRUE, dashed=True) for box in np.asarray([] if truth is None else truth)]
        points = [(float(x), float(y)) for x, y in self.peaks]
        notes = [
            f"{self.explanation.title} · " + (_counted(len(points), "peak") if points else "no evidence, no peak"),
            "",
        ]
        if truth is not None and len(marks):
            overlap = self.overlap(truth)
            notes = [f"{n}\nbest IoU {overlap[w][1]:z.2f}".strip() for n, w in zip(notes, WAYS, strict=False)]
        shown: list[draw.Panel] = []
        for ground, chosen, colour, crosses, note in (
            (draw.overlay(image, self.heat, alpha=0.6), self.chosen, drawing.CHOSEN, points, notes[0]),
            (image, self.plain_chosen, drawing.PLAIN, [], notes[1]),
        ):
            lines = [drawing.Outline(self.candidates[i], colour, f"{self.confidences[i]:z.2f}") for i in chosen]
            shown.append(
                draw.Panel(drawing.outlined(ground, [*reversed(lines), *marks], crosses, size=size), caption=note)
            )
        return shown

    def view(self, truth: npt.ArrayLike | None = None) -> Image.Image:
        """Draw the boxes with their confidences: those at the map's peaks, and beside them as many without the map.

        Args:
            truth: true boxes (m, 4) in pixels of the original picture, drawn as dashed lines.
        """
        return sheet([self], None if truth is None else [truth])

    def settings(self) -> dict[str, Any]:
        """Return what was found and how, without the boxes that were not chosen, ready for JSON."""
        given = [np.flatnonzero([c == i for c in self.choices]).tolist() for i in self.chosen]

        def listed(chosen: Sequence[int]) -> list[dict[str, Any]]:
            return [{"box": self.candidates[i].tolist(), "confidence": float(self.confidences[i])} for i in chosen]

        height, width = self.picture.shape[:2]
        return {
            **self.explanation.settings(),
            "size": [width, height],
            "window": list(self.window),
            "peaks": [
                {"x": float(x), "y": float(y), "value": float(h), "box": None if c is None else self.chosen.index(c)}
                for (x, y), h, c in zip(self.peaks, self.heights, self.choices, strict=True)
            ],
            "boxes": [{**b, "peaks": p} for b, p in zip(listed(self.chosen), given, strict=True)],
            "plain": listed(self.plain_chosen),
            "candidates": len(self.candidates),
            "cost": {"text": str(self.cost), "forwards": self.cost.forwards, "backwards": self.cost.backwards},
            "seconds": self.seconds,
        }

    def save(self, path: str | Path, truth: npt.ArrayLike | None = None) -> Path:
        """Write the figure (``.png``, with all settings in its metadata), or all numbers (``.json``).

        Args:
            path: of the file.
            truth: as for ``view``.

        Raises:
            InvalidOption: another suffix.
        """
        path = Path(path)
        if path.suffix.lower() not in (".png", ".json"):
            raise InvalidOption(f"cannot write {path.name!r}: the suffix must be .png or .json")
        if path.suffix.lower() == ".png":
            return files.write(path, draw.to_png_bytes(self.view(truth), {"limelight": json.dumps(self.settings())}))
        numbers = {"candidates": self.candidates.tolist(), "confidences": self.confidences.tolist()}
        return files.write(path, json.dumps(self.settings() | numbers, indent=1))

    def _repr_png_(self) -> bytes:
        return draw.to_png_bytes(self.view())


@either_name
def propose(
    classifier: Classifier | nn.Module | str,
    image: Any,
    method: str | Method = "collection-cam",
    target: TargetLike = None,
    *,
    boxes: npt.ArrayLike | None = None,
    radius: int = 16,
    threshold: float = 0.5,
    progress: bool | None = None,
    **options: Any,
) -> Proposals:
    """Propose a box for each peak of a saliency map.

    1. The map of one class is made, and its peaks found; see ``find_peaks``.
    2. Candidate boxes are found, whatever their class, by selective search on the original picture.
    3. Each box is cut out, stretched to the size of the network's input and classified: its confidence is the
       probability of the class.
    4. Each peak gets the box of highest confidence among those that contain it, or none; boxes that several peaks get
       are proposed once. Of boxes of the same confidence the smaller goes first (of given ones, the earlier).

    Args:
        classifier: a ``Classifier``, a module, or a name that ``load`` knows.
        image: a path, PIL picture, array (H, W, 3), normalised tensor (3, H, W), ``Sample`` or ``Scene``.
        method: which map; a name or a method.
        target: None for the predicted class, an index or a label.
        boxes: candidates in place of those of selective search, (n, 4): x0, y0, x1, y1 in pixels of the original,
            upright picture, rounded to whole ones; what sticks out of the picture is cut off.
        radius: peaks are the largest in a square of 2 radius + 1 pixels of the map, at the network's input.
        threshold: least value of a peak; the largest of the map is always one.
        progress: as in ``explain``.
        options: of the method.

    Returns:
        Boxes in pixels of the **original** picture.

    Raises:
        InvalidOption: candidates that are no boxes of the picture, a target that is no class, a radius or threshold
            out of range, or a preprocessing that does more to the geometry than to resize and to crop.
        LimelightError: see ``limelight.errors``.

    Source: Ha and Youn 2022, section IV-F, which shows pictures and gives no numbers: the confidence of a box and what
    a peak is are our reading.
    """
    start = time.perf_counter()
    model = as_classifier(classifier)
    chosen = as_method(method, **options)
    if callable(understood(target, 1)):
        raise InvalidOption("a function of the outputs has no probability in a box; give a class as target")
    _check_peak_options(radius, threshold)
    picture, x, window = _seen(model, as_sample(image).image)
    height, width = picture.shape[:2]
    candidates = selective_search(picture) if boxes is None else _given(boxes, width, height)
    with watched("proposing", progress) as watch:
        n = len(candidates)
        boxed = [Part("candidate boxes", n, n)]
        watch.expect(lambda: forecast(model, x[None], [chosen], more=boxed, pieces=watch.times))
        (explanation,) = explain(model, [x], chosen, target)
        confidences = _confidences(model, picture, candidates, size_of(x), explanation.target)

    pixels, heights = find_peaks(explanation.map.detach().cpu().numpy(), radius, threshold)
    rows, columns = size_of(x)
    x0, y0, x1, y1 = window
    step = np.array([(x1 - x0) / columns, (y1 - y0) / rows])
    peaks = np.asarray((x0, y0) + (pixels + 0.5) * step, dtype=np.float64)
    return Proposals(
        explanation=explanation,
        picture=picture,
        window=window,
        peaks=peaks,
        heights=heights,
        candidates=candidates,
        confidences=confidences,
        choices=tuple(_choose(peak, candidates, confidences) for peak in peaks),
        cost=explanation.cost + Cost(n_forward=len(candidates)),
        seconds=time.perf_counter() - start,
    )


def find_peaks(
    values: npt.NDArray[Any], radius: int = 16, threshold: float = 0.5
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Find the pixels of a map that are the largest around.

    A pixel is a peak if nothing in the square of 2 radius + 1 pixels around it is larger and it is not below the
    threshold. The largest value of the map is a peak whatever the threshold. Of touching peaks, which are equal, one
    is left: the pixel at their centre of mass. A map of zeros has no peak.

    Args:
        values: the map, (H, W), not negative.
        radius: in pixels.
        threshold: in the unit of the map.

    Returns:
        x, y of the peaks by falling value, equal ones in reading order, (p, 2), and their values, (p,).

    Raises:
        InvalidOption: a radius below 0, or a threshold that is not finite.
    """
    _check_peak_options(radius, threshold)
    top = values.max(initial=0.0)
    if not top > 0:
        return np.zeros((0, 2), dtype=np.int64), np.zeros(0)
    around = ndimage.maximum_filter(values, 2 * radius + 1, mode="nearest")
    is_peak = (values == around) & ((values >= threshold) | (values == top))
    labels = np.asarray(label(is_peak, connectivity=2))
    numbers = range(1, int(labels.max()) + 1)
    centres = np.array([np.argwhere(labels == number).mean(0) for number in numbers])
    heights = np.array([values[labels == number][0] for number in numbers], dtype=float)
    pixels = np.floor(centres + 0.5).astype(np.int64)
    order = np.lexsort((pixels[:, 1], pixels[:, 0], -heights))
    return pixels[order][:, ::-1], heights[order]


def sheet(
    proposals: Sequence[Proposals], truths: Sequence[npt.ArrayLike | None] | None = None, *, size: int = 384
) -> Image.Image:
    """Draw several pictures' proposals on one sheet, a row each.

    Args:
        proposals: of the pictures.
        truths: true boxes of each, or None.
        size: longer side of a picture in pixels.
    """
    known = list(truths) if truths is not None else [None] * len(proposals)
    methods = dict.fromkeys(p.explanation.method for p in proposals)
    dashed = " (dashed: the truth)" if any(t is not None and len(np.asarray(t)) for t in known) else ""
    titles = [f"at the peaks of {', '.join(methods)}{dashed}", "as many without the map"]
    return draw.gallery([p.panels(t, size) for p, t in zip(proposals, known, strict=True)], titles=titles, size=size)


def summarise(overlaps: Sequence[Mapping[str, tuple[float, float]]]) -> list[dict[str, Any]]:
    """Summarise what ``Proposals.overlap`` said of each picture.

    Returns:
        For each of ``WAYS``: the means over pictures of both figures with their 95 % bootstrap intervals, and the
        p-value of a paired permutation test against the boxes at the peaks (None for these, or for a single picture).
    """
    rows: list[dict[str, Any]] = []
    for way in WAYS:
        row: dict[str, Any] = {"boxes": way, "images": len(overlaps)}
        for number, name in enumerate(("recall", "iou")):
            values, ours = (np.array([o[w][number] for o in overlaps]) for w in (way, "peaks"))
            ends = interval("mean", values) if len(values) > 1 else (None, None)
            p = paired_p("mean", ours, values) if way != "peaks" and len(values) > 1 else None
            row[name] = {"mean": float(values.mean()), "low": ends[0], "high": ends[1], "p": p}
        rows.append(row)
    return rows


# -- steps -------------------------------------------------------------------------------------------------


def _check_peak_options(radius: int, threshold: float) -> None:
    if radius < 0 or radius != int(radius):
        raise InvalidOption(f"radius = {radius}; a whole number of pixels, from 0 on")
    if not np.isfinite(threshold):
        raise InvalidOption(f"threshold = {threshold}; the map lies in [0, 1]")


def _seen(model: Classifier, image: Any) -> tuple[npt.NDArray[np.uint8], Tensor, Window]:
    """Return the original picture (H, W, 3), the network's input (3, h, w), and where in the picture that lies."""
    if isinstance(image, Tensor):
        x = as_input(model, image)
        rows, columns = size_of(x)
        shown = model.display(x).permute(1, 2, 0).detach().float().cpu().numpy()
        return np.rint(shown * 255).astype(np.uint8), x, (0.0, 0.0, float(columns), float(rows))
    picture = load_image(image)
    return np.asarray(picture), as_input(model, picture), where_seen(model, *picture.size)


def where_seen(model: Classifier, width: int, height: int) -> Window:
    """Find which part of a picture the preprocessing keeps, by giving it pictures whose grey is the position.

    Args:
        model: its preprocessing may be any that resizes, crops and pads.
        width: of the picture in pixels.
        height: of the picture in pixels.

    Returns:
        x0, y0, x1, y1 in pixels of the picture, to within a small part of a pixel of the network's input.

    Raises:
        InvalidOption: the preprocessing turns, mirrors or bends the picture.
    """

    def passed(grey: npt.NDArray[Any]) -> Floats:
        picture = Image.fromarray(np.rint(grey).astype(np.uint8)).convert("RGB")
        return model.display(model.preprocess(picture)).mean(0).double().cpu().numpy() * 255

    there = passed(np.full((height, width), 255.0)) > 250  # the rest is padding
    inner = np.zeros_like(there)
    inner[np.ix_(_middle(there.max(1)), _middle(there.max(0)))] = True
    v, u = np.nonzero(inner & there)
    if min(width, height) < 2 or len(u) < 16 or not (np.ptp(u) and np.ptp(v)):
        return 0.0, 0.0, float(width), float(height)
    # Each of two pictures grows along one axis, and a little along the other, so that rounding to 256 greys evens out.
    gains = np.array([[240 / (width - 1), 15 / (height - 1)], [15 / (width - 1), 240 / (height - 1)]])
    y, x = np.mgrid[:height, :width]
    values = np.stack([passed(across * x + down * y)[v, u] for across, down in gains], 1)
    positions = np.linalg.solve(gains, values.T).T + 0.5
    at = np.stack([u + 0.5, v + 0.5, np.ones(len(u))], 1)
    # Rows: along u, along v, offset; columns: x, y.
    fit = np.asarray(np.linalg.lstsq(at, positions, rcond=None)[0], dtype=np.float64)
    bent = np.abs(at @ fit - positions).max(0)
    if fit[0, 0] <= 0 or fit[1, 1] <= 0 or (bent > 2 + 0.03 * np.array([width, height])).any() or _turned(fit, there):
        raise InvalidOption(
            f"the preprocessing of {model.name} does more than to resize and to crop, so that boxes can't be found "
            "again in the picture; give the normalised tensor (3, H, W)"
        )
    rows, columns = there.shape
    x0, y0 = fit[2]
    ends = (x0, y0, x0 + columns * fit[0, 0], y0 + rows * fit[1, 1])
    x0, y0, x1, y1 = (round(float(end), 2) + 0.0 for end in ends)
    return x0, y0, x1, y1


def _middle(kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Return where something is kept, less the ends, which resizing bends."""
    where = np.flatnonzero(kept)
    return where[len(where) // 10 : len(where) - len(where) // 10]


def _turned(fit: Floats, there: npt.NDArray[np.bool_]) -> bool:
    """Tell whether a straight row of the input is askew in the picture, by more than 3 % of what is seen."""
    rows, columns = there.shape
    return bool(
        abs(fit[0, 1]) * columns > 0.03 * fit[1, 1] * rows or abs(fit[1, 0]) * rows > 0.03 * fit[0, 0] * columns
    )


def _given(boxes: npt.ArrayLike, width: int, height: int) -> Boxes:
    """Check a user's candidates; return them as whole pixels inside the picture, each once, in the same order."""
    values = np.asarray(boxes, dtype=float)
    if values.ndim != 2 or values.shape[1] != 4 or not np.isfinite(values).all():
        raise InvalidOption(f"boxes must be finite numbers (n, 4), x0, y0, x1, y1, got shape {values.shape}")
    placed = np.clip(np.rint(values), 0, (width, height, width, height)).astype(np.int64)
    nothing = np.flatnonzero((placed[:, :2] >= placed[:, 2:]).any(1))
    if len(nothing):
        box = values[nothing[0]].tolist()
        raise InvalidOption(f"the box {box} covers nothing of the picture of {width} x {height}; give x0 < x1, y0 < y1")
    _, first = np.unique(placed, axis=0, return_index=True)
    return placed[np.sort(first)]


def _confidences(
    model: Classifier, picture: npt.NDArray[np.uint8], boxes: Boxes, size: tuple[int, int], target: int
) -> Floats:
    """Return the probability of a class in each box, stretched to the network's input: (n,).

    In double precision, since a sure network gives many boxes a probability that float32 rounds to 1.
    """
    if not len(boxes):
        return np.zeros(0)
    image, (low, high) = Image.fromarray(picture), model.bounds

    def sure(part: slice) -> Tensor:
        cut = [
            np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=tuple(box)))
            for box in boxes[part].tolist()
        ]
        pixels = torch.from_numpy(np.stack(cut)).to(low.device).permute(0, 3, 1, 2)
        passed(len(cut))
        logits = model(low + (pixels.to(low.dtype) / 255) * (high - low)).double()
        return class_scores(logits, torch.full((len(cut),), target, device=logits.device), "prob", model.multilabel)

    trace = model.trace(torch.zeros(1, len(model.mean), *size, device=low.device, dtype=low.dtype))
    return torch.cat(in_chunks(sure, len(boxes), chunk_size(trace.bytes_per_image, low.device))).cpu().numpy()


def _choose(peak: Floats, boxes: Boxes, confidences: Floats) -> int | None:
    """Return the most confident of the boxes that contain a point."""
    holds = ((boxes[:, :2] <= peak) & (peak < boxes[:, 2:])).all(1)
    return int(np.argmax(np.where(holds, confidences, -1.0))) if holds.any() else None


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" + ("" if n == 1 else "s")
