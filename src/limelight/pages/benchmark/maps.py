"""Make the maps of a run again, to show them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from limelight import api, draw
from limelight.api.truth import true_objects
from limelight.bench.plan import load_measured, samples_of
from limelight.bench.recipe_tables import Data
from limelight.data.images import load_image
from limelight.data.samples import Sample
from limelight.errors import InvalidOption, LimelightError
from limelight.files import reason_of
from limelight.model.classifier import Classifier
from limelight.pages.benchmark.run import Run
from limelight.pages.formatting import format_number
from limelight.pages.page import Figure as Picture
from limelight.pages.scores.model import Floats, ModelScores

SIDE = 168
"""Longer side of a picture on the page, pixels."""

MOST_PASSES = 1000
"""Maps that need more passes per picture are not made again for the page."""


@dataclass
class MapMaker:
    """The pictures of a run, and its models to explain them again.

    Attributes:
        run: the run.
        samples: its pictures by name.
        without: models that could not be had again, and why.
    """

    run: Run
    samples: Mapping[str, Sample]
    without: dict[str, str] = field(default_factory=dict[str, str])
    _loaded: tuple[str, Classifier] | None = field(default=None, repr=False)

    def show(self, scores: ModelScores, method: str, images: Sequence[int], values: Floats) -> list[Picture]:
        """Return pictures with the map of a method over them, or alone if it can't be made again.

        Args:
            scores: of the model.
            method: its label.
            images: places among the model's images.
            values: the method's number on every image of the model.
        """
        names = [scores.images[i] for i in images]
        inputs = [load_image(self.samples[name].image) for name in names]
        maps = self._explain(scores, method, images) if images else None
        shown, what = (inputs, "the picture alone") if maps is None else (maps, f"the map of {method}")
        pictures: list[Picture] = []
        for i, name, picture in zip(images, names, shown, strict=True):
            small = picture.copy()
            small.thumbnail((SIDE, SIDE))
            number = format_number(float(values[i]))
            pictures.append(Picture(small, f"{name}, {what}: {number}.", f"{number}\n{name}", photo=True))
        return pictures

    def _explain(self, scores: ModelScores, method: str, images: Sequence[int]) -> list[Image.Image] | None:
        """Return the maps of a method on some images, or None if they can't be made or take too long."""
        if scores.passes[scores.methods.index(method)] > MOST_PASSES:
            return None
        model = self._load_once(scores.model)
        if model is None:
            return None
        try:
            made_by = self.run.recipe.methods_of(scores.model)[method]
            samples = [self.samples[scores.images[i]] for i in images]
            inputs = [sample.image for sample in samples]
            cost = made_by.cost(model, api.as_input(model, inputs[0])[None])
            if cost.forwards + cost.backwards > MOST_PASSES:  # whatever the rows say that it was
                return None
            targets = [int(scores.targets[i]) for i in images]
            explanations = api.explain(model, inputs, method=made_by, target=targets)
            truth = [true_objects(model, sample) for sample in samples]
        except (LimelightError, RuntimeError, ValueError):  # a page without these maps is better than none
            return None
        shown = [e.view(e.usual) for e in explanations]
        return [
            seen if mask is None or not bool(mask.any()) else draw.outline_mask(seen, mask.cpu().numpy())
            for seen, mask in zip(shown, truth, strict=True)
        ]

    def _load_once(self, name: str) -> Classifier | None:
        """Return a model, or note why it can't be had and return None; the last one is kept."""
        if name in self.without:
            return None
        if self._loaded is None or self._loaded[0] != name:
            self._loaded = None
            try:
                run, digest = self.run, self.run.notes.get("weights", {}).get(name, "")
                model = load_measured(run.recipe, name, digest, device=run.device, trust=run.trust)
                self._loaded = name, model
            except (LimelightError, RuntimeError, ValueError) as error:
                self.without[name] = reason_of(error)
                return None
        return self._loaded[1]


def find_maps(run: Run) -> MapMaker | None:
    """Return what makes the maps of a run again; None where its pictures are not at hand.

    Raises:
        LimelightError: pictures were given, and are none, or others.
    """
    noted = run.notes.get("source")
    source = run.data or (Path(noted) if noted and Path(noted).exists() else None)
    if not isinstance(run.recipe.data, Data):
        if run.data is not None:
            raise InvalidOption("of a run of several data sets no maps are made again; leave --data out")
        return None
    if run.recipe.data.mosaics or (source is None and run.recipe.data.dataset != "scenes"):
        return None
    names = {name for scores in run.models for name in scores.images}
    try:
        samples = {s.name: s for s in samples_of(run.recipe, source, names=names)}
    except LimelightError:
        if run.data is None:  # nobody gave it: something else is there by now
            return None
        raise
    lacks = next((name for scores in run.models for name in scores.images if name not in samples), None)
    if lacks is None:
        return MapMaker(run, samples)
    if run.data is None:
        return None
    raise InvalidOption(f"--data {run.data}: the run has a picture {lacks!r} that is not there")
