"""Proposed boxes of one picture: their values, figure and file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from limelight import draw, files
from limelight.api.overlap import BOX_SETS, compare_boxes
from limelight.draw import boxes as drawing
from limelight.model.cost import Cost
from limelight.model.window import Floats, Window, place_on_picture
from limelight.ops.selective_search import Boxes
from limelight.results.explanation import Explanation
from limelight.text import visible


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

    Example:
        >>> boxes = [(67, 47, 117, 95), (0, 0, 50, 50)]  # in place of those of selective search
        >>> proposals = ll.propose("demo/resnet", ll.example_image(), "grad-cam", boxes=boxes)
        >>> proposals.boxes.tolist(), proposals.map.shape
        ([[67, 47, 117, 95]], torch.Size([128, 128]))
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
        indices = {i for i in self.choices if i is not None}
        return tuple(sorted(indices, key=lambda i: (-self.confidences[i], i)))

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
    def map_on_picture(self) -> npt.NDArray[np.float32]:
        """The map laid on the original picture: (H, W), in [0, 1]; 0 where the network did not look."""
        height, width = self.picture.shape[:2]
        return place_on_picture(self.map.detach().cpu().numpy(), self.window, width, height).clip(0, 1)

    def __repr__(self) -> str:
        peaks = count_of(len(self.peaks), "peak")
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

        Example:
            >>> boxes = [(67, 47, 117, 95), (0, 0, 50, 50)]  # in place of those of selective search
            >>> proposals = ll.propose("demo/resnet", ll.example_image(), "grad-cam", boxes=boxes)
            >>> proposals.overlap([(67, 47, 117, 95)])["peaks"]  # found, and with an IoU of 1
            (1.0, 1.0)
        """
        return compare_boxes({"peaks": self.boxes, "plain": self.plain, "candidates": self.candidates}, truth)

    # -- pictures and files -------------------------------------------------------------------------------

    def panels(self, truth: npt.ArrayLike | None = None, size: int = 384) -> list[draw.Panel]:
        """Return the two pictures of ``view``, to be put on a sheet with others; ``size`` is their longer side."""
        image = Image.fromarray(self.picture)
        marks = [drawing.Outline(box, drawing.TRUE, dashed=True) for box in np.asarray([] if truth is None else truth)]
        points = [(float(x), float(y)) for x, y in self.peaks]
        notes = [
            f"{self.explanation.title} · " + (count_of(len(points), "peak") if points else "no evidence, no peak"),
            "",
        ]
        if truth is not None and len(marks):
            overlap = self.overlap(truth)
            notes = [f"{n}\nbest IoU {overlap[w][1]:z.2f}".strip() for n, w in zip(notes, BOX_SETS, strict=False)]
        shown: list[draw.Panel] = []
        for ground, chosen, colour, crosses, note in (
            (draw.overlay(image, self.map_on_picture, alpha=0.6), self.chosen, drawing.CHOSEN, points, notes[0]),
            (image, self.plain_chosen, drawing.PLAIN, [], notes[1]),
        ):
            lines = [drawing.Outline(self.candidates[i], colour, f"{self.confidences[i]:z.2f}") for i in chosen]
            shown.append(
                draw.Panel(drawing.outline(ground, [*reversed(lines), *marks], crosses, size=size), caption=note)
            )
        return shown

    def view(self, truth: npt.ArrayLike | None = None) -> Image.Image:
        """Draw the boxes with their confidences: those at the map's peaks, and beside them as many without the map.

        Args:
            truth: true boxes (m, 4) in pixels of the original picture, drawn as dashed lines.
        """
        return draw_sheet([self], None if truth is None else [truth])

    def settings(self) -> dict[str, Any]:
        """Return what was found and how, without the boxes that were not chosen, ready for JSON."""
        given = [np.flatnonzero([c == i for c in self.choices]).tolist() for i in self.chosen]

        def list_chosen(chosen: Sequence[int]) -> list[dict[str, Any]]:
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
            "boxes": [{**b, "peaks": p} for b, p in zip(list_chosen(self.chosen), given, strict=True)],
            "plain": list_chosen(self.plain_chosen),
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
        if files.check_suffix(path, ".png", ".json") == ".png":
            return files.write(path, draw.to_png_bytes(self.view(truth), {"limelight": json.dumps(self.settings())}))
        numbers = {"candidates": self.candidates.tolist(), "confidences": self.confidences.tolist()}
        return files.write(path, json.dumps(self.settings() | numbers, indent=1))

    def _repr_png_(self) -> bytes:
        return draw.to_png_bytes(self.view())


def draw_sheet(
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


def count_of(n: int, what: str) -> str:
    """Say how many there are, in the singular for one."""
    return f"{n} {what}" + ("" if n == 1 else "s")
