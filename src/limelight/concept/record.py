"""Concepts of some pictures: their shares of relevance, maps, crops, figure and files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from limelight import draw, files, markup
from limelight.concept.references import Crop
from limelight.draw.plane import Bands, to_rgb
from limelight.model.cost import Cost
from limelight.ops.blur import smooth
from limelight.ops.scale import divide
from limelight.results.pictures import to_array
from limelight.text import visible

MOST_PICTURES = 8
"""Pictures side by side on a sheet."""
SMOOTH = 1 / 80
"""Standard deviation by which maps are smoothed where they are drawn, in longer sides of the picture."""


@dataclass(frozen=True, eq=False)
class Concept:
    """What a layer sees in some pictures.

    Attributes:
        name: such as ``channel 37 of layer4`` or ``part 2``.
        shares: for each picture its share of the relevance at the layer: what passes it over the sum of all absolute
            values; below 0 it speaks against what is explained.
        maps: for each picture the relevance at the input that passes the layer through this concept alone, (H, W).
        answers: for each picture by how much it answers where: the channel's activation, or the part's coefficient,
            resized to the input, (H, W).
        crops: of reference pictures, those to which it answers most first.
        stability: of a part, the mean cosine similarity with its like in other random starts; None of a channel
            and with a single start.

    Example:
        >>> first = ll.concepts("demo/resnet", ll.example_image(), n=2)[0]
        >>> len(first.shares), first.maps[0].shape
        (1, torch.Size([128, 128]))
    """

    name: str
    shares: tuple[float, ...]
    maps: tuple[Tensor, ...]
    answers: tuple[Tensor, ...]
    crops: tuple[Crop, ...] = ()
    stability: float | None = None


@dataclass(frozen=True, eq=False)
class Concepts(Sequence[Concept]):
    """The concepts of a layer that some pictures have, by falling mean absolute share.

    Attributes:
        concepts: each of them; also ``concepts[0]``.
        layer: where they are.
        by: ``channels`` or ``parts``.
        names: of the pictures.
        images: what the model saw, (c, H, W) in [0, 1] each.
        labels: what is explained of each.
        probabilities: that the model gives it; NaN where a function is explained.
        whole: for each picture the relevance at the input that passes the layer, (H, W).
        explained: of parts, the share of the squared activations that they explain; None of channels.
        notes: what the reader should know.
        left_out: reference pictures that can't be read, by name, and why.
        cost: passes spent, per picture.
        seconds: time spent.
        bands: of pictures of many channels, those that are drawn; see ``Explanation``.

    Example:
        >>> concepts = ll.concepts("demo/resnet", ll.example_image(), n=2)
        >>> len(concepts), concepts.layer, concepts[0].maps[0].shape
        (2, 'layer4', torch.Size([128, 128]))
    """

    concepts: tuple[Concept, ...]
    layer: str
    by: str
    names: tuple[str, ...]
    images: tuple[Tensor, ...]
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    whole: tuple[Tensor, ...]
    explained: float | None
    notes: tuple[str, ...]
    left_out: Mapping[str, str]
    cost: Cost
    seconds: float
    bands: Bands | None = None

    @overload
    def __getitem__(self, index: int) -> Concept: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Concept, ...]: ...
    def __getitem__(self, index: int | slice) -> Concept | tuple[Concept, ...]:
        return self.concepts[index]

    def __len__(self) -> int:
        return len(self.concepts)

    def __repr__(self) -> str:
        pictures = f"{len(self.names)} picture{'s' * (len(self.names) != 1)}"
        return visible(f"Concepts({len(self)} {self.by} of {self.layer} in {pictures})")

    @property
    def titles(self) -> tuple[str, ...]:
        """For each picture the class and its probability, such as ``star 0.97``."""
        pairs = zip(self.labels, self.probabilities, strict=True)
        return tuple(f"{label} {p:z.2f}" if p == p else label for label, p in pairs)

    def to_records(self) -> list[dict[str, Any]]:
        """Return a row for each concept and picture, ready for JSON or a data frame, without maps and crops' pixels.

        Example:
            >>> rows = ll.concepts("demo/resnet", ll.example_image(), n=2).to_records()
            >>> list(rows[0])
            ['concept', 'layer', 'picture', 'label', 'probability', 'share', 'stability', 'crops']
        """
        return [
            {
                "concept": concept.name,
                "layer": self.layer,
                "picture": name,
                "label": self.labels[i],
                "probability": self.probabilities[i] if self.probabilities[i] == self.probabilities[i] else None,
                "share": concept.shares[i],
                "stability": concept.stability,
                "crops": [{"picture": c.picture, "box": list(c.box), "answer": c.answer} for c in concept.crops],
            }
            for concept in self.concepts
            for i, name in enumerate(self.names)
        ]

    def settings(self) -> dict[str, Any]:
        """Return everything but the arrays, ready for JSON."""
        return {
            "layer": self.layer,
            "by": self.by,
            "explained": self.explained,
            "concepts": self.to_records(),
            "notes": list(self.notes),
            "left_out": dict(self.left_out),
            "cost": {"text": str(self.cost), "forwards": self.cost.forwards, "backwards": self.cost.backwards},
            "seconds": self.seconds,
        }

    def view(self) -> Image.Image:
        """Draw the pictures, their whole maps, and a row for each concept: its maps and its crops.

        Red speaks for what is explained, blue against it; each map has its own scale, and the share stands below it.
        """
        shown = range(min(len(self.names), MOST_PICTURES))
        more = len(self.names) - len(shown)
        pictures = [draw.Panel(self._picture(i), self.names[i], self.titles[i]) for i in shown]
        if more:
            pictures[-1] = replace(pictures[-1], title=f"{pictures[-1].title} (and {more} more)")
        whole = [draw.Panel(self._paint(i, self.whole[i]), f"all of {self.layer}" * (not i)) for i in shown]
        rows, sides = ([[*pictures, *whole]], [""]) if len(shown) == 1 else ([pictures, whole], ["", ""])
        answers = next((i for i, concept in enumerate(self.concepts) if concept.crops), None)
        for number, concept in enumerate(self.concepts):
            row = [draw.Panel(self._paint(i, concept.maps[i]), "", f"{concept.shares[i]:+z.1%}") for i in shown]
            crops = [draw.Panel(Image.fromarray(crop.image), "", crop.picture) for crop in concept.crops]
            if number == answers:
                crops[0] = replace(crops[0], title="answers most to")
            rows.append([*row, *crops])
            sides.append(self._say(concept))
        return draw.gallery(rows, row_titles=sides, size=192)

    def _say(self, concept: Concept) -> str:
        """Return what stands beside a concept's row."""
        return concept.name if concept.stability is None else f"{concept.name}\nstability {concept.stability:z.2f}"

    def _picture(self, i: int) -> Image.Image:
        return Image.fromarray(to_rgb(to_array(self.images[i]), self.bands))

    def _paint(self, i: int, relevance: Tensor) -> Image.Image:
        return paint_relevance(self._picture(i), relevance)

    def save(self, path: str | Path) -> Path:
        """Write the figure (``.png``, with all numbers in its metadata), or the numbers (``.json``).

        Raises:
            InvalidOption: another suffix.
        """
        if files.check_suffix(path, ".png", ".json") == ".png":
            return files.write(path, draw.to_png_bytes(self.view(), {"limelight": json.dumps(self.settings())}))
        return files.write(path, json.dumps(self.settings(), indent=1))

    def _repr_png_(self) -> bytes:
        return draw.to_png_bytes(self.view())

    def _repr_html_(self) -> str:
        alt = f"Maps of {len(self)} {self.by} of {self.layer}, and crops of pictures to which they answer"
        return markup.figure(draw.to_address(self.view()), alt, repr(self), *self.notes)


def paint_relevance(picture: Image.Image, relevance: Tensor) -> Image.Image:
    """Return relevance in red and blue over a picture, smoothed: single pixels can't be seen.

    Args:
        picture: of W x H pixels.
        relevance: (H, W), signed; the largest absolute value has the full colour.
    """
    signs = smooth(torch.stack([relevance, -relevance]).float().clamp_min(0), SMOOTH)
    reds, blues = to_array(divide(signs, signs.max()).clamp(0, 1))
    grey = np.asarray(picture.convert("L").convert("RGB")) / 255
    return draw.overlay(draw.overlay((1 + grey) / 2, reds, cmap="Reds", alpha=1.0), blues, cmap="Blues", alpha=1.0)
