"""Several explanations side by side."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from limelight import draw, files
from limelight.errors import InvalidOption
from limelight.results.explanation import EMPTY, SHEETS, Explanation, View, show_rows, titles_of
from limelight.results.original import On
from limelight.results.pictures import wrap
from limelight.text import visible

if TYPE_CHECKING:
    from anywidget import AnyWidget


class Gallery(Sequence["list[Explanation]"]):
    """Several methods on one or more images: a row per image, a column per method.

    Args:
        rows: the explanations of each image.

    Example:
        >>> gallery = ll.explain("demo/resnet", ll.example_image(), ["grad-cam", "layer-cam"])
        >>> gallery
        Gallery(1 image x grad-cam, layer-cam)
        >>> gallery.save("star.png").name
        'star.png'
    """

    def __init__(self, rows: Sequence[Sequence[Explanation]]) -> None:
        self.rows = [list(row) for row in rows]

    @overload
    def __getitem__(self, index: int) -> list[Explanation]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[Explanation]]: ...
    def __getitem__(self, index: int | slice) -> list[Explanation] | list[list[Explanation]]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[list[Explanation]]:
        return iter(self.rows)

    def __repr__(self) -> str:
        methods = ", ".join(e.method for e in self.rows[0]) if self.rows else ""
        return visible(f"Gallery({len(self.rows)} image{'s' * (len(self.rows) != 1)} x {methods})")

    def picture(
        self,
        kind: View | None = None,
        captions: Mapping[str, str] | None = None,
        truth: Sequence[Tensor | npt.NDArray[Any] | None] | None = None,
        on: On = "input",
    ) -> Image.Image:
        """Return all maps in one picture, the input in the first column, with the class below it that a row is of.

        Where the maps of a row are of several classes, or models, each has its own below it.

        Args:
            kind: see ``Explanation.view``; None for what is usual of each method.
            captions: what stands under a method's map, by name.
            truth: for each row where its class is, (*space) at the size of the maps, or each of its objects,
                (objects, *space), or None; their edges are drawn.
            on: what maps and truth are laid on, see ``Explanation.view``.

        Raises:
            InvalidOption: there is no such view, it is a sheet by itself, a truth that does not fit, or no original.

        Example:
            >>> gallery = ll.explain("demo/resnet", ll.example_image(), ["grad-cam", "layer-cam"])
            >>> gallery.picture("contour").mode
            'RGB'
        """
        if kind in SHEETS:
            raise InvalidOption(f"the {kind} of one explanation is a sheet already: explanation.view({kind!r})")
        if truth is not None and len(truth) != len(self.rows):
            raise InvalidOption(f"truth has {len(truth)} masks for {len(self.rows)} rows; give one for each, or None")
        lines: list[Sequence[draw.Panel]] = []
        heads: list[str] = []
        for i, (row, titles) in enumerate(zip(self.rows, titles_of(self.rows), strict=True)):
            mask = None if truth is None else truth[i]
            above, heads = heads, ["input", *(_name_among(e, row) for e in row)]
            names = iter(heads if heads != above else [""] * len(heads))
            shared = f"explained: {titles[0]}" if len({*titles}) == 1 else ""
            panels = [draw.Panel(_outlined(row[0], "image", mask, on), next(names), shared)]
            for e, title in zip(row, titles, strict=True):
                said = "" if shared else title, EMPTY if e.degenerate else (captions or {}).get(e.method, "")
                shown = _outlined(e, kind or e.usual, mask, on)
                panels.append(draw.Panel(shown, next(names), " · ".join(filter(None, said))))
            # One picture explained in many ways fills several lines; several pictures keep a line each.
            lines += wrap(panels) if len(self.rows) == 1 else [panels]
        flat = all(e.image.ndim == 3 for row in self.rows for e in row)
        return draw.gallery(lines, size=224 if flat else 448)  # planes and curves are wide

    def save(self, path: str | Path, kind: View | None = None, on: On = "input") -> Path:
        """Write the gallery as PNG, with the settings of every map in the metadata; see ``picture``.

        Raises:
            InvalidOption: another suffix.
        """
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise InvalidOption(f"cannot write {path.name!r}: a gallery is saved as .png")
        settings = json.dumps([[e.settings() for e in row] for row in self.rows])
        return files.write(path, draw.to_png_bytes(self.picture(kind, on=on), {"limelight": settings}))

    def view(self) -> "Image.Image | AnyWidget":
        """Return the viewer in a notebook, with one cross-hair for all maps of a picture; else the picture.

        See ``Explanation.view``; of volumes and signals it is the picture everywhere.
        """
        return show_rows(self.rows, self.picture, self._repr_png_)

    def _repr_png_(self) -> bytes:
        return draw.to_png_bytes(self.picture())


def _outlined(explanation: Explanation, kind: View, mask: Tensor | npt.NDArray[Any] | None, on: On) -> Image.Image:
    """Return a view, with the edge of where the class is, if that is known and anywhere."""
    seen = explanation.view(kind, on)
    inside = None if mask is None else np.asarray(mask.cpu() if isinstance(mask, Tensor) else mask)
    if inside is None or not inside.any():
        return seen
    objects = inside if inside.ndim == explanation.image.ndim else inside[None]
    ground = explanation.ground(on)
    return draw.outline_mask(seen, np.stack([ground.region(one) for one in objects]))


def _name_among(explanation: Explanation, row: Sequence[Explanation]) -> str:
    """Name the method, and what sets it apart from others of the same name in the row."""
    twins = [e.provenance.get("options", {}) for e in row if e.method == explanation.method]
    own = explanation.provenance.get("options", {})
    apart = [k for k in own if own[k] is not None and any(t.get(k) != own[k] for t in twins)]
    return " ".join([explanation.method, *(f"{k}={own[k]}" for k in apart)])
