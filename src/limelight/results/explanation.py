"""An explanation of one image by one method: its map, its pictures and its files."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops
from torch import Tensor

from limelight import draw, files, markup
from limelight.card import METHODS
from limelight.draw import trace
from limelight.draw.paint import GREEN
from limelight.draw.plane import COMPONENTS, MOST_CURVES, Bands, Plane, to_rgb
from limelight.engine.saliency import Finish, Saliency
from limelight.errors import InvalidOption
from limelight.model.classifier import Classifier
from limelight.model.cost import Cost
from limelight.ops.arrays import integers, rows
from limelight.ops.scale import resize
from limelight.relevance.audit import conservation_notes, read_batch, read_image
from limelight.relevance.conservation import Conservation
from limelight.results.explanation_file import MAX_BYTES, read_npz, write_npz
from limelight.results.optimisation import FRAMES, read_course
from limelight.results.original import Ground, On, Original
from limelight.results.pictures import LONGEST_LINE, draw_parts, to_array, wrap
from limelight.results.slices_page import write_page
from limelight.results.viewer import in_notebook, show, tell_map
from limelight.results.volume_file import write_volume
from limelight.text import visible

if TYPE_CHECKING:
    from anywidget import AnyWidget

View = Literal["overlay", "map", "signed", "contour", "image", "slices", "parts", "masked", "trace"]

SHEETS = ("slices", "parts", "masked", "trace")
"""Views that have their own titles."""

FRAME = 120
"""How long a slice stands in an animation, in milliseconds."""
MOST_SLICES = 12
"""Slices of a volume on one sheet."""

EMPTY = "no evidence"
"""What stands under an empty map."""


@dataclass(frozen=True)
class Explanation:
    """Why a model gave one image its score.

    Attributes:
        raw: the method's own map, (*layer), signed, before scaling.
        image: what the model saw, (c, *space) in [0, 1].
        finish: how ``map`` is made of ``raw``.
        target: index of the explained class, -1 where a function is explained.
        label: name of the explained class.
        score: the scalar that was explained.
        probability: that the model gives the explained class; NaN where a function is explained.
        method: name of the method.
        reason: why the map is empty, or "".
        notes: what the reader should know.
        cost: passes that were spent.
        seconds: time spent, shared passes counted in full.
        details: what the method chose on the way.
        provenance: everything needed to make the same map again.
        bands: of an image of many channels, those that are drawn as red, green and blue; None for the first three
            principal components.
        affine: of a volume from a NIfTI file where its voxels are in space, (4, 4); None for all else.
        original: the picture as it was taken; None for tensors, signals, volumes, open files and items of data sets,
            which may differ when read again, and for explanations that were saved or sent elsewhere.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "grad-cam")
        >>> explanation.label, explanation.map.shape, str(explanation.cost)
        ('star', torch.Size([128, 128]), '1 F + 1 R_t')
    """

    raw: Tensor
    image: Tensor
    finish: Finish
    target: int
    label: str
    score: float
    probability: float
    method: str
    reason: str
    notes: tuple[str, ...]
    cost: Cost
    seconds: float
    details: dict[str, Any]
    provenance: dict[str, Any]
    bands: Bands | None = None
    affine: npt.NDArray[np.float64] | None = None
    original: Original | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"original": None}  # it has the user's preprocessing, of any kind

    @cached_property
    def map(self) -> Tensor:
        """The finished map: (*space), float32 in [0, 1]."""
        return self.finish(self.raw[None])[0][0].float()

    @cached_property
    def conservation(self) -> Conservation | None:
        """Where relevance came from and went, operation by operation; None for methods that pass none."""
        return read_image(self.details)

    @property
    def degenerate(self) -> bool:
        """Whether the map is empty; ``reason`` says why."""
        return bool(self.reason)

    @property
    def title(self) -> str:
        """The class and its probability, such as ``star 0.97``."""
        return f"{self.label} {self.probability:z.2f}" if self.probability == self.probability else self.label

    @property
    def usual(self) -> View:
        """How it is drawn unless somebody says: single pixels, which a picture would hide, without it, by sign."""
        card = METHODS.cards().get(self.provenance.get("method", ""))
        single_pixels = self.image.ndim == 3 and self.raw.shape == self.image.shape[1:]
        fine = card is not None and card.fine and single_pixels and not self.degenerate
        return "signed" if fine else "overlay"

    def __repr__(self) -> str:
        empty = f", empty: {self.reason}" if self.reason else ""
        return visible(f"Explanation({self.method} of {self.title}, {tuple(self.map.shape)}{empty})")

    # -- pictures -----------------------------------------------------------------------------------------

    def overlay(self, on: On = "input", **style: Any) -> Image.Image:
        """Return the map as colours over the picture.

        Args:
            on: see ``view``.
            style: that of ``draw.overlay``.

        Example:
            >>> ll.explain("demo/resnet", ll.example_image(), "grad-cam").overlay(alpha=0.3).size
            (128, 128)
        """
        ground = self.ground(on)
        placed = ground.map(to_array(self.map))
        if self.image.ndim == 2:  # the curves of a signal stay black, also where the map is brightest
            colours = draw.overlay(np.full_like(ground.pixels, 255), placed, **style)
            return ImageChops.multiply(colours, Image.fromarray(ground.pixels))
        return ground.shade(draw.overlay(ground.pixels, placed.clip(0, 1), **style))

    def ground(self, on: On = "input") -> Ground:
        """Return what maps are laid on, see ``view``.

        Raises:
            InvalidOption: nothing is known of the original, or the preprocessing bent it.
        """
        match on:
            case "input":
                return Ground(self.plane.image(to_array(self.image)), self.plane.map)
            case "original" if self.original is not None:
                return self.original.ground
            case "original":
                raise InvalidOption(
                    "on='original': there is none of a tensor, a signal, a volume, an open file or an item of a data "
                    "set, nor of an explanation that was saved; explain the picture itself, or its path"
                )
            case _:
                raise InvalidOption(f"on = {on!r}; there are {', '.join(get_args(On))}")

    @cached_property
    def plane(self) -> Plane:
        """How the image and its map are laid out in pictures: a volume as the three planes through its maximum."""
        return Plane.at_maximum(to_array(self.map), self.bands)

    def _drawn(self, on: On) -> str:
        """Return what is said below a picture of how it was drawn."""
        channels = len(self.image)
        said: list[str] = []
        if self.image.ndim == 4:
            said.append(f"planes through {', '.join(map(str, self.plane.through))}")
        if self.bands:
            said.append(f"bands {', '.join(map(str, self.bands))}")
        elif channels not in (1, 3) and self.image.ndim > 2:
            said.append(COMPONENTS)
        if self.image.ndim == 2 and channels > MOST_CURVES:
            said.append(f"the first {MOST_CURVES} of {channels} channels")
        if on == "original" and not self.ground(on).whole:
            said.append("dark: not seen by the network")
        return "".join(f" · {one}" for one in said)

    @overload
    def view(self, kind: None = None, on: Literal["input"] = "input") -> "Image.Image | AnyWidget": ...
    @overload
    def view(self, kind: None = None, *, on: Literal["original"]) -> Image.Image: ...
    @overload
    def view(self, kind: View, on: On = "input") -> Image.Image: ...
    def view(self, kind: View | None = None, on: On = "input") -> "Image.Image | AnyWidget":
        """Return one of the pictures of this explanation, or the viewer of a notebook.

        Args:
            kind: None for the viewer in a notebook (extra ``notebook``), where colours, strength and threshold are
                changed by hand and a cross-hair tells values; elsewhere, and of volumes and signals, for ``overlay``,
                or ``signed`` of methods whose maps are of single pixels. ``overlay``; ``map`` alone; ``signed``, the
                raw map with a symmetric scale, red for the class and blue against it; ``contour`` around the top tenth
                of the area; ``image``, the input itself; ``slices`` of a volume, or frames of a video, evenly spread;
                ``parts``, a sheet of the maps of which this one is made, for methods that keep them; ``masked``, the
                same with the pictures under the maps, dark where they were taken away (the network saw its mean colour
                there); ``trace``, one of the steps of the optimisation that made it, with its score and its objective.
            on: ``input``, what the network saw, or ``original``, the whole picture at its own size, dark where the
                network did not look; not for those that are sheets.

        Raises:
            InvalidOption: there is no such view, the method keeps no parts or no trace, or there is no original.

        Example:
            >>> ll.explain("demo/resnet", ll.example_image(), "grad-cam").view("contour").size
            (128, 128)
        """
        if kind is None and on == "input":
            return show_rows([[self]], lambda: self.view(self.usual), self._repr_png_)
        if kind in SHEETS and on != "input":
            raise InvalidOption(f"the {kind} are drawn on the network's input; leave on={on!r} out")
        match kind or self.usual:
            case "overlay":
                return self.overlay(on)
            case "map":
                ground = self.ground(on)
                return ground.shade(Image.fromarray(draw.colorize(ground.map(to_array(self.map)).clip(0, 1))))
            case "signed":
                ground, full = self.ground(on), resize(self.raw[None].float(), self.finish.size)[0]
                return ground.shade(draw.signed(ground.map(to_array(full))))
            case "contour":
                if self.degenerate:
                    return self.view("image", on)
                ground, top = self.ground(on), draw.top_region(to_array(self.map))
                return ground.shade(
                    draw.outline_mask(
                        ground.pixels, ground.region(top), color=GREEN, width=max(2, max(ground.pixels.shape) // 250)
                    )
                )
            case "image":
                ground = self.ground(on)
                return ground.shade(Image.fromarray(ground.pixels))
            case "slices":
                return draw.gallery(wrap([draw.Panel(picture, f"{i}") for i, picture in self.slices(MOST_SLICES)]))
            case "parts" | "masked":
                panels = [draw.Panel(self.view("image"), "input", self.title), draw.Panel(self.overlay(), self.method)]
                return draw.gallery(wrap([*panels, *self.parts(masked=kind == "masked")]))
            case "trace":
                return trace.storyboard(self._course(LONGEST_LINE))
            case _:
                raise InvalidOption(f"there is no view {kind!r}; there are {', '.join(get_args(View))}")

    def parts(self, *, masked: bool = False) -> list[draw.Panel]:
        """Return the maps of which this one is made, by falling score; base and scissors are framed.

        Args:
            masked: the picture under each map, instead of the map over the picture.

        Raises:
            InvalidOption: the method keeps no such maps.
        """
        layers = self.provenance.get("layers", ())
        return draw_parts(
            self.details, self.image, self.finish, self.plane, method=self.method, layers=layers, masked=masked
        )

    def slices(self, most: int | None = None) -> list[tuple[int, Image.Image]]:
        """Return the slices of a volume along its first axis, or the frames of a video, with the map over them.

        Args:
            most: so many of them at most, evenly spread; None for all.

        Returns:
            The number of each, and its picture.

        Raises:
            InvalidOption: the image is no volume.

        Example:
            >>> import torch
            >>> net = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(432, 2))
            >>> scan = torch.randn(1, 8, 8, 8)
            >>> len(ll.explain(ll.Classifier(net, size=8), scan, target=1).slices(4))
            4
        """
        if self.image.ndim != 4:
            raise InvalidOption(f"slices are of volumes and videos, and this image has shape {tuple(self.image.shape)}")
        colours, map_on_plane = to_rgb(to_array(self.image), self.bands), to_array(self.map)
        numbers = trace.spread_steps(len(map_on_plane), len(map_on_plane) if most is None else most)
        return [(i, draw.overlay(colours[i], map_on_plane[i])) for i in numbers]

    def _course(self, most: int) -> trace.Course:
        """Return how the mask went, with at most so many steps to show."""
        return read_course(
            self.details,
            self.image,
            self.plane,
            self.provenance.get("options", {}),
            method=self.method,
            title=self.title,
            score=self.score,
            of_class=self.target >= 0,
            most=most,
        )

    def animate(self, path: str | Path) -> Path:
        """Write a GIF that loops: a volume slice by slice or a video frame by frame, with the map over it.

        Of a picture it is the optimisation that made the map. Each frame shows where the mask takes the picture away,
        what the model sees then (a blur stands for whatever the method puts there), and the score. Of more than 60
        steps, 60 are shown.

        Args:
            path: of the file, ``.gif``.

        Raises:
            InvalidOption: another suffix, or of a picture a method that keeps no trace.
        """
        path = Path(path)
        if path.suffix.lower() != ".gif":
            raise InvalidOption(f"cannot write {path.name!r}: an animation is saved as .gif")
        comment = json.dumps({"limelight": self.settings()})
        if self.image.ndim == 4:
            film = trace.film([draw.enlarge(picture, 224) for _, picture in self.slices()], FRAME, comment=comment)
        else:
            film = trace.animation(self._course(FRAMES), comment)
        return files.write(path, film)

    def _page(self) -> str:
        """Return a page with a slider through the slices of a volume."""
        map_on_plane = [picture for _, picture in self.slices()]
        bare = [Image.fromarray(colours) for colours in to_rgb(to_array(self.image), self.bands)]
        return write_page(self.title, self.method, bare, map_on_plane, self.plane.through[0])

    def panel(self, kind: View | None = None, title: str | None = None, on: On = "input") -> draw.Panel:
        """Return a picture with its title, for a gallery."""
        caption = EMPTY if self.degenerate else self.title
        return draw.Panel(
            self.view(kind or self.usual, on), title=self.method if title is None else title, caption=caption
        )

    @property
    def _side(self) -> int:
        """Longer side of a picture with words, pixels."""
        return 720 if self.image.ndim != 3 else 320  # planes and curves are wide

    def _annotate(self, kind: View, on: On = "input") -> Image.Image:
        """Return a picture with label, score and method written on it."""
        caption = f"{self.method} · {EMPTY}" if self.degenerate else self.method
        size = self._side if on == "input" else 0
        return draw.annotate(self.view(kind, on), title=self.title, caption=caption + self._drawn(on), size=size)

    def _repr_html_(self) -> str:
        shown = draw.enlarge(self.view(self.usual), self._side)
        alt = f"The map of {self.method}{' over what the model saw' if self.usual == 'overlay' else ''}"
        notes = f"{self.method}{self._drawn('input')}", self.reason, *self.notes
        return markup.figure(draw.to_address(shown), alt, self.title, *notes)

    def _repr_png_(self) -> bytes:
        return draw.to_png_bytes(self._annotate(self.usual))

    # -- files --------------------------------------------------------------------------------------------

    def settings(self) -> dict[str, Any]:
        """Return everything but the arrays, ready for JSON."""
        return {
            **{k: str(v) if k == "weights" else v for k, v in self.provenance.items()},
            "target": self.target,
            "label": self.label,
            "score": self.score,
            "probability": self.probability if self.probability == self.probability else None,
            "reason": self.reason,
            "notes": list(self.notes),
            "cost": {
                "text": str(self.cost),
                "forwards": self.cost.forwards,
                "backwards": self.cost.backwards,
            },
            "seconds": self.seconds,
            **({"bands": self.bands} if self.bands else {}),
        }

    def save(self, path: str | Path, view: View | None = None, *, titled: bool = True, on: On = "input") -> Path:
        """Write the explanation; the suffix says how.

        ``.png`` is a picture with all settings in its metadata (with label, score and method written on it if
        ``titled``, at the size of what it is ``on`` if not; see ``view``), ``.npz`` the arrays and settings (read it
        again with ``Explanation.load``), ``.json`` the settings and the raw map as numbers, ``.gif`` what ``animate``
        makes, ``.html`` a page with a slider through the slices of a volume, ``.nii`` and ``.nii.gz`` the map of a
        volume with the affine of its file.

        Raises:
            InvalidOption: another suffix, or ``on`` the original what is no PNG.

        Example:
            >>> path = ll.explain("demo/resnet", ll.example_image(), "grad-cam").save("star.npz")
            >>> ll.Explanation.load(path).label
            'star'
        """
        path = Path(path)
        view = view or self.usual
        suffix = files.check_suffix(path, ".png", ".npz", ".json", ".gif", ".html", ".nii", ".gz")
        if on != "input" and suffix != ".png":
            raise InvalidOption(f"{path.name!r}: on={on!r} is of pictures (.png); other files keep what the model saw")
        match suffix:
            case ".png":
                picture = self._annotate(view, on) if titled and view not in SHEETS else self.view(view, on)
                place = {"on": on, "window": self.original.window} if on == "original" and self.original else {}
                files.write(path, draw.to_png_bytes(picture, {"limelight": json.dumps(self.settings() | place)}))
            case ".json":
                files.write(path, json.dumps(self.settings() | {"raw": rows(self.raw)}, indent=1))
            case ".gif":
                self.animate(path)
            case ".nii" | ".gz":
                write_volume(path, to_array(self.map), self.affine)
            case ".html":
                files.write(path, self._page().encode())
            case _:
                arrays = {"map": self.map, "raw": self.raw, "image": self.image}
                write_npz(path, arrays, self.settings(), self.finish, self.details)
        return path

    @staticmethod
    def load(path: str | Path, *, max_bytes: int = MAX_BYTES) -> "Explanation":
        """Read an explanation that was saved as ``.npz``.

        Args:
            path: of the file.
            max_bytes: to which it may unpack; seen in its directory, before anything is unpacked.

        Raises:
            CorruptStore: it can't be read, is no saved explanation, damaged or too large.
        """
        return Explanation(**read_npz(path, max_bytes))


def titles_of(rows: Sequence[Sequence[Explanation]]) -> list[list[str]]:
    """Return what each explanation is of: the class, and the model where there are several."""
    models = {e.provenance.get("model", "") for row in rows for e in row}
    return [
        [f"{e.provenance.get('model', '')}: {e.title}" if len(models) > 1 else e.title for e in row] for row in rows
    ]


def show_rows(
    rows: Sequence[Sequence[Explanation]], picture: Callable[[], Image.Image], still: Callable[[], bytes]
) -> "Image.Image | AnyWidget":
    """Return the viewer of some images' maps, a row for each, in a notebook; else a picture, see ``viewer.show``."""
    flat = all(e.image.ndim == 3 and e.raw.ndim == 2 for row in rows for e in row)
    if not (rows and flat and in_notebook()):
        return picture()
    return show([_tell_row(*both) for both in zip(rows, titles_of(rows), strict=True)], picture, still)


def _tell_row(row: Sequence[Explanation], titles: Sequence[str]) -> dict[str, Any]:
    """Return an image and its maps as the viewer reads them."""
    first, cards = row[0], METHODS.cards()
    maps = [
        {
            "method": visible(e.method),
            "title": visible(title),
            "map": tell_map(e.raw),
            "signed": (card := cards.get(e.provenance.get("method", ""))) is not None and card.fine,
            "passes": e.cost.passes,
            "seconds": e.seconds,
            "degenerate": e.degenerate,
            "reason": visible(e.reason),
            "notes": [visible(note) for note in e.notes],
        }
        for e, title in zip(row, titles, strict=True)
    ]
    return {"picture": draw.to_address(first.view("image")), "size": list(first.image.shape[1:]), "maps": maps}


def explanations(saliency: Saliency, classifier: Classifier, x: Tensor, method: str) -> list[Explanation]:
    """Split a batch's record into one explanation per image."""
    split: list[Explanation] = []
    labels = [label_of(classifier, target, saliency) for target in integers(saliency.target)]
    balances = read_batch(saliency.details)
    notes_of_one = {note for balance in balances for note in conservation_notes(balance)}
    for i, target in enumerate(integers(saliency.target)):
        own = conservation_notes(balances[i]) if balances else ()
        split.append(
            Explanation(
                raw=saliency.raw[i],
                image=classifier.display(x[i]).float(),
                finish=saliency.finish,
                target=target,
                label=labels[i],
                score=float(saliency.score[i]),
                probability=float(saliency.probability[i]),
                method=method,
                reason=saliency.reasons[i],
                notes=(*(note for note in saliency.notes_of(i) if note not in notes_of_one), *own),
                cost=saliency.cost,
                seconds=saliency.seconds,
                details={k: v[i] if isinstance(v, Tensor) else v for k, v in saliency.details.items()},
                provenance=dict(saliency.provenance),
                bands=classifier.inputs.bands,
            )
        )
    return split


def label_of(classifier: Classifier, target: int, saliency: Saliency | None = None) -> str:
    """Name a class, or the function that is explained."""
    if target < 0:
        return "custom score" if saliency is None else saliency.provenance.get("label", "custom score")
    if classifier.labels and target < len(classifier.labels):
        return classifier.labels[target]
    return f"class {target}"
