"""An explanation of one image by one method: its map, its pictures and its files."""

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args, overload

import numpy as np
import pydantic
import torch
from PIL import Image
from torch import Tensor

from limelight import draw, files
from limelight.card import METHODS
from limelight.draw import trace
from limelight.engine.saliency import Finish, Saliency
from limelight.errors import CorruptStore, InvalidOption
from limelight.model.classifier import Classifier
from limelight.model.cost import Cost, check_recorded
from limelight.ops.blur import gaussian_blur
from limelight.relevance.audit import OPERATIONS, read_batch, read_image
from limelight.relevance.audit import notes as notes_of
from limelight.relevance.conservation import Conservation
from limelight.text import visible

LONGEST_LINE = 6
"""Pictures side by side before a gallery of one image goes on in the next line."""

MAX_BYTES = 1 << 30
"""Bytes to which a saved explanation may unpack, unless the caller says otherwise."""

View = Literal["overlay", "map", "signed", "contour", "image", "parts", "trace"]
SHEETS = ("parts", "trace")
"""Views that have their own titles."""
PARTS = ("masks", "cluster_maps", "maps")
"""Details that hold the maps of which a map is made, (parts, h, w), NaN where there is none."""
FRAMES = 60
"""Steps of an optimisation that an animation shows, at most."""
UNITS = {"prob": "probability", "logprob": "log-probability"}
"""Scores by another name than in the options."""


@dataclass(frozen=True)
class Explanation:
    """Why a model gave one image its score.

    Attributes:
        evidence: the method's own map, (h, w), signed, before scaling.
        image: what the model saw, (3, H, W) in [0, 1].
        finish: how ``map`` is made of ``evidence``.
        target: index of the explained class, -1 where a function is explained.
        label: its name.
        score: the scalar that was explained.
        probability: of the explained class.
        method: name of the method.
        reason: why the map is empty, or "".
        notes: what the reader should know.
        cost: passes spent, measured.
        seconds: time spent, shared passes counted in full.
        details: what the method chose on the way.
        provenance: everything needed to make the same map again.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "grad-cam")
        >>> explanation.label, explanation.map.shape, str(explanation.cost)
        ('star', torch.Size([128, 128]), '1 F + 1 R_t')
    """

    evidence: Tensor
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

    @cached_property
    def map(self) -> Tensor:
        """The finished map: (H, W), float32 in [0, 1]."""
        return self.finish(self.evidence[None])[0][0].float()

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

    def __repr__(self) -> str:
        empty = f", empty: {self.reason}" if self.reason else ""
        return visible(f"Explanation({self.method} of {self.title}, {tuple(self.map.shape)}{empty})")

    # -- pictures -----------------------------------------------------------------------------------------

    def overlay(self, **style: Any) -> Image.Image:
        """Return the map as heat over the picture; ``style`` is that of ``draw.overlay``.

        Example:
            >>> ll.explain("demo/resnet", ll.example_image(), "grad-cam").overlay(alpha=0.3).size
            (128, 128)
        """
        return draw.overlay(_pixels(self.image), _array(self.map), **style)

    def view(self, kind: View = "overlay") -> Image.Image:
        """Return one of the pictures of this explanation.

        Args:
            kind: ``overlay``; ``map`` alone; ``signed``, the evidence for (red) and against (blue) with a
                symmetric scale; ``contour`` around the top tenth of the area; ``image``, the input itself;
                ``parts``, a sheet of the maps of which this one is made, for methods that keep them; ``trace``, one
                of the steps of the optimisation that made it, with its score and its objective.

        Raises:
            InvalidOption: there is no such view, or the method keeps no parts or no trace.

        Example:
            >>> ll.explain("demo/resnet", ll.example_image(), "grad-cam").view("contour").size
            (128, 128)
        """
        pixels = _pixels(self.image)
        if kind == "overlay":
            return self.overlay()
        if kind == "parts":
            panels = [draw.Panel(self.view("image"), "input", self.title), draw.Panel(self.overlay(), self.method)]
            panels += self.parts()
            return draw.gallery([panels[i : i + LONGEST_LINE] for i in range(0, len(panels), LONGEST_LINE)])
        if kind == "trace":
            return trace.storyboard(self._course(LONGEST_LINE))
        if kind == "map":
            return Image.fromarray(draw.colorize(_array(self.map)))
        if kind == "signed":
            signed = replace(self.finish, relu=False)
            full = torch.nn.functional.interpolate(
                self.evidence[None, None].float(), signed.size, mode="bilinear", align_corners=False
            )
            return draw.signed(_array(full[0, 0]))
        if kind == "contour":
            if self.degenerate:
                return Image.fromarray(pixels)
            return draw.contour(pixels, _array(self.map))
        if kind == "image":
            return Image.fromarray(pixels)
        raise InvalidOption(f"there is no view {kind!r}; there are {', '.join(get_args(View))}")

    def parts(self) -> list[draw.Panel]:
        """Return the maps of which this one is made, by falling score; base and scissors are framed.

        Raises:
            InvalidOption: the method keeps no such maps.
        """
        kept = next((self.details[name] for name in PARTS if name in self.details), None)
        if kept is None:
            raise InvalidOption(f"{self.method} keeps no parts; cluster-cam, collection-cam and group-cam do")
        there = [i for i in range(len(kept)) if bool(torch.isfinite(kept[i]).all())]
        worth = next((name for name in ("scores", "mic", "weights") if name in self.details), None)
        if worth:
            value = self.details[worth]
            there = sorted((i for i in there if bool(torch.isfinite(value[i]))), key=lambda i: -float(value[i]))
        full = Finish(self.finish.size)
        panels: list[draw.Panel] = []
        for i in there:
            roles = [role for role in ("base", "scissors") if role in self.details and int(self.details[role]) == i]
            picture = draw.overlay(_pixels(self.image), _array(full(kept[i][None])[0][0]))
            caption = f"{worth.rstrip('s')} {float(self.details[worth][i]):z.3g}" if worth else ""
            title = f"part {i + 1}"
            if "mask_layer" in self.details:
                title += f" · {self.provenance['layers'][int(self.details['mask_layer'][i])]}"
            panels.append(draw.Panel(picture, " and ".join(roles) or title, caption, frame=bool(roles)))
        return panels

    def _course(self, most: int) -> trace.Course:
        """Return how the mask went, with at most so many steps to show."""
        if "trace_masks" not in self.details:
            raise InvalidOption(f"{self.method} keeps no trace; {', '.join(tracing())} do")
        masks, score, objective = (self.details[f"trace_{kind}"] for kind in ("masks", "score", "objective"))
        heading = f"{self.method} · {self.title}"
        if masks.ndim == 4:
            heading += f" · the first of {len(masks)} areas"
            masks, score, objective = masks[0], score[0], objective[0]
        there = masks.isfinite().all(-1).all(-1).nonzero()[:, 0]  # NaN after the last step
        if not len(there):
            raise InvalidOption(f"{self.method} took no step; nothing was traced")
        numbers = [int(there[i]) for i in trace.spread(len(there), most)]
        mask = torch.nn.functional.interpolate(
            masks[numbers][:, None].float(), self.finish.size, mode="bilinear", align_corners=True
        ).clamp(0, 1)
        hot, shown = _seen_where(mask, self.provenance.get("options", {}), self.method)
        image = self.image[None].to(hot)
        # A blur stands for whatever the method puts in the place of the picture.
        seen = torch.lerp(image, gaussian_blur(image), 1 - hot if shown else hot)
        steps = numbers[-1] + 1
        kind = self.provenance.get("options", {}).get("score", "score")
        return trace.Course(
            image=_pixels(self.image),
            shots=[trace.Shot(n, _array(h[0]), _pixels(s)) for n, h, s in zip(numbers, hot, seen, strict=True)],
            score=_array(score[:steps]),
            objective=_array(objective[:steps]),
            whole=self.score,
            heading=heading,
            unit="score" if self.target < 0 else UNITS.get(kind, str(kind)),
            changed="shown" if shown else "taken away",
        )

    def animate(self, path: str | Path) -> Path:
        """Write the optimisation that made the map as a GIF that loops.

        Each frame shows where the mask takes the picture away, what the model sees then (a blur stands for whatever the
        method puts there), and the score. Of more than 60 steps, 60 are shown.

        Args:
            path: of the file, ``.gif``.

        Raises:
            InvalidOption: another suffix, or a method that keeps no trace.
        """
        path = Path(path)
        if path.suffix.lower() != ".gif":
            raise InvalidOption(f"cannot write {path.name!r}: an animation is saved as .gif")
        film = trace.animation(self._course(FRAMES), json.dumps({"limelight": self.settings()}))
        return files.write(path, film)

    def panel(self, kind: View = "overlay", title: str | None = None) -> draw.Panel:
        """Return a picture with its title, for a gallery."""
        caption = "no evidence" if self.degenerate else self.title
        return draw.Panel(self.view(kind), title=self.method if title is None else title, caption=caption)

    def _titled(self, view: View) -> Image.Image:
        caption = f"{self.method} · no evidence" if self.degenerate else self.method
        return draw.annotate(self.view(view), title=self.title, caption=caption, size=320)

    def _repr_png_(self) -> bytes:
        return draw.to_png_bytes(self._titled("overlay"))

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
        }

    def save(self, path: str | Path, view: View = "overlay", *, titled: bool = True) -> Path:
        """Write the explanation; the suffix says how.

        ``.png`` is a picture (with label, score and method written on it if ``titled``, at the input's size
        if not) with all settings in its metadata, ``.npz`` the arrays and settings (read it
        again with ``Explanation.load``), ``.json`` the settings and the evidence as numbers.

        Raises:
            InvalidOption: another suffix.

        Example:
            >>> path = ll.explain("demo/resnet", ll.example_image(), "grad-cam").save("star.npz")
            >>> ll.Explanation.load(path).label
            'star'
        """
        path = Path(path)
        settings = self.settings()
        suffix = path.suffix.lower()
        if suffix not in (".png", ".npz", ".json"):
            raise InvalidOption(f"cannot write {path.name!r}: the suffix must be .png, .npz or .json")
        if suffix == ".png":
            picture = self._titled(view) if titled and view not in SHEETS else self.view(view)
            return files.write(path, draw.to_png_bytes(picture, {"limelight": json.dumps(settings)}))
        if suffix == ".json":
            return files.write(path, json.dumps(settings | {"evidence": self.evidence.tolist()}, indent=1))
        arrays: dict[str, Any] = {f"details/{k}": v for k, v in self.details.items() if isinstance(v, Tensor)}
        arrays |= {"map": self.map, "evidence": self.evidence, "image": self.image}
        numbers = {name: value.detach().cpu().numpy() for name, value in arrays.items()}
        passed = {k: v for k, v in self.details.items() if k == OPERATIONS}
        record = json.dumps(settings | passed | _finish_record(self.finish))
        with files.whole(path) as draft, draft.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, settings=np.array(record), **numbers)
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
        with files.refusing(CorruptStore, f"{path} can't be read as an explanation"), files.opened(path) as file:
            with zipfile.ZipFile(file) as archive:
                files.check_unpacked(archive, max_bytes, "if that is right, load it with a larger max_bytes=")
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                record = _Record.model_validate_json(str(arrays["settings"]))
                tensors = {name: torch.from_numpy(arrays[name]) for name in arrays.files if name != "settings"}
            return record.explanation(tensors)


class _Record(pydantic.BaseModel):
    """What a saved explanation says beside its arrays; read back, it may say anything."""

    model_config = pydantic.ConfigDict(extra="allow", strict=True, allow_inf_nan=False)

    class Spent(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(strict=True)
        forwards: float
        backwards: float

    class Finished(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(strict=True)
        size: tuple[int, int]
        relu: bool
        normalize_at: Literal["input", "feature"]

    target: int
    label: str
    score: float
    probability: float | None
    reason: str
    notes: tuple[str, ...]
    cost: Spent
    seconds: float
    method: str
    finish: Finished
    relevance_operations: tuple[str, ...] | None = None

    def explanation(self, arrays: Mapping[str, Tensor]) -> Explanation:
        """Put it together with the arrays.

        Raises:
            ValueError: they don't belong together.
        """
        probability = float("nan") if self.probability is None else self.probability
        check_recorded(
            {"target": self.target, "probability": probability, "seconds": self.seconds, **self.cost.model_dump()}
        )
        evidence, image, size = arrays["evidence"], arrays["image"], self.finish.size
        floating = evidence.is_floating_point() and image.is_floating_point()
        if evidence.ndim != 2 or 0 in evidence.shape or image.shape[1:] != size or image.ndim != 3 or not floating:
            raise ValueError(f"evidence {tuple(evidence.shape)}, image {tuple(image.shape)}, size {size} don't fit")
        if not bool(evidence.isfinite().all()):
            raise ValueError("the evidence is not finite")
        details: dict[str, Any] = {k.removeprefix("details/"): v for k, v in arrays.items() if k.startswith("details/")}
        if self.relevance_operations is not None:
            details[OPERATIONS] = self.relevance_operations
        read_image(details)  # or the books are damaged
        return Explanation(
            evidence=evidence,
            image=image,
            finish=Finish(size, self.finish.relu, self.finish.normalize_at),
            target=self.target,
            label=self.label,
            score=self.score,
            probability=probability,
            method=self.method,
            reason=self.reason,
            notes=self.notes,
            cost=Cost(n_forward=self.cost.forwards, n_backward=self.cost.backwards),
            seconds=self.seconds,
            details=details,
            provenance={"method": self.method} | (self.model_extra or {}),
        )


def _finish_record(finish: Finish) -> dict[str, Any]:
    return {"finish": {"size": list(finish.size), "relu": finish.relu, "normalize_at": finish.normalize_at}}


def _array(values: Tensor) -> Any:
    return values.detach().float().cpu().numpy()


def _pixels(image: Tensor) -> Any:
    return (_array(image).transpose(1, 2, 0) * 255).round().astype(np.uint8)


def explanations(saliency: Saliency, classifier: Classifier, x: Tensor, method: str) -> list[Explanation]:
    """Split a batch's record into one explanation per image."""
    result: list[Explanation] = []
    books = read_batch(saliency.details)
    of_books = {note for one in books for note in notes_of(one)}
    for i, target in enumerate(saliency.target.tolist()):
        own = notes_of(books[i]) if books else ()
        result.append(
            Explanation(
                evidence=saliency.raw[i],
                image=classifier.display(x[i]).float(),
                finish=saliency.finish,
                target=target,
                label=label_of(classifier, target),
                score=float(saliency.score[i]),
                probability=float(saliency.probability[i]),
                method=method,
                reason=saliency.reasons[i],
                notes=(*(note for note in saliency.notes if note not in of_books), *own),
                cost=saliency.cost,
                seconds=saliency.seconds,
                details={k: v[i] if isinstance(v, Tensor) else v for k, v in saliency.details.items()},
                provenance=dict(saliency.provenance),
            )
        )
    return result


def _seen_where(mask: Tensor, options: Mapping[str, Any], method: str) -> tuple[Tensor, bool]:
    """Return what is highlighted of a mask, and whether the model is shown that, or all but that."""
    method = options.get("optimiser", method)
    options = {**options, **(options.get("optimiser_options") or {})}
    if method == "extremal-perturbation":  # its map is the mask, not 1 - mask
        return mask, options.get("variant") != "delete"
    return 1 - mask, options.get("game") == "insertion"


def tracing() -> list[str]:
    """Return the names of the methods that keep a trace: those that can be watched."""
    return [name for name, card in METHODS.cards().items() if "watch" in card.options]


def label_of(classifier: Classifier, target: int) -> str:
    """Name a class, or say that a function is explained."""
    if target < 0:
        return "custom score"
    if classifier.labels and target < len(classifier.labels):
        return classifier.labels[target]
    return f"class {target}"


class Gallery(Sequence["list[Explanation]"]):
    """Several methods on one or more images: a row per image, a column per method.

    Example:
        >>> gallery = ll.explain("demo/resnet", ll.example_image(), ["grad-cam", "layer-cam"])
        >>> gallery
        Gallery(1 images x grad-cam, layer-cam)
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
        return visible(f"Gallery({len(self.rows)} images x {methods})")

    def picture(self, kind: View = "overlay", captions: Mapping[str, str] | None = None) -> Image.Image:
        """Return all maps in one picture, the input in the first column.

        Args:
            kind: see ``Explanation.view``.
            captions: what stands under a method's map, by name.

        Example:
            >>> gallery = ll.explain("demo/resnet", ll.example_image(), ["grad-cam", "layer-cam"])
            >>> gallery.picture("contour").mode
            'RGB'
        """
        said = captions or {}
        if kind in SHEETS:
            raise InvalidOption(f"the {kind} of one explanation is a sheet already: explanation.view({kind!r})")
        rows: list[list[draw.Panel]] = []
        for i, row in enumerate(self.rows):
            alone = len(self.rows) == 1
            panels = [draw.Panel(row[0].view("image"), title="input" if i == 0 else "", caption=row[0].title)]
            panels += [
                draw.Panel(
                    e.view(kind),
                    title=_title(e, row) if i == 0 else "",
                    caption=_remark(e, row[0]) or said.get(e.method, ""),
                )
                for e in row
            ]
            # One picture explained in many ways fills several lines; several pictures keep a line each.
            width = min(len(panels), LONGEST_LINE) if alone else len(panels)
            rows += [panels[start : start + width] for start in range(0, len(panels), width)]
        return draw.gallery(rows)

    def save(self, path: str | Path, kind: View = "overlay") -> Path:
        """Write the gallery as PNG, with the settings of every map in the metadata."""
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise InvalidOption(f"cannot write {path.name!r}: a gallery is saved as .png")
        settings = json.dumps([[e.settings() for e in row] for row in self.rows])
        return files.write(path, draw.to_png_bytes(self.picture(kind), {"limelight": settings}))

    def _repr_png_(self) -> bytes:
        return draw.to_png_bytes(self.picture())


def _title(explanation: Explanation, row: Sequence[Explanation]) -> str:
    """Name the method, and what sets it apart from others of the same name in the row."""
    twins = [e.provenance.get("options", {}) for e in row if e.method == explanation.method]
    own = explanation.provenance.get("options", {})
    apart = [k for k in own if own[k] is not None and any(t.get(k) != own[k] for t in twins)]
    return " ".join([explanation.method, *(f"{k}={own[k]}" for k in apart)])


def _remark(explanation: Explanation, first: Explanation) -> str:
    if explanation.degenerate:
        return "no evidence"
    return "" if explanation.title == first.title else explanation.title
