"""What metrics may ask of one method's maps. Whatever several of them ask for is worked out once."""

from collections.abc import Callable, Iterable
from typing import Literal, Protocol, runtime_checkable

import torch

from limelight.engine.baselines import Fill
from limelight.engine.method import build
from limelight.engine.needs import ScoresOf
from limelight.engine.rng import Draws
from limelight.engine.run import run
from limelight.engine.saliency import Saliency
from limelight.engine.spec import Spec
from limelight.errors import InvalidMap, InvalidOption, MissingTruth
from limelight.model.classifier import Classifier
from limelight.model.targets import Targets
from limelight.ops import min_max, resize
from limelight.ops.arrays import integers
from limelight.ops.order import Step, Ties, pixels_per_step, ranks
from limelight.ops.space import spread
from limelight.scoring.image_batch import ImageBatch, Memo
from limelight.scoring.needs import (
    AsMasks,
    CleanScore,
    CurveOf,
    ExplainedPart,
    ExplainMasked,
    ExplainWithModel,
    FillScore,
    LogitsOf,
    MaskedScore,
    OtherClass,
    ScoreOf,
    Space,
)
from limelight.scoring.truth import Truth
from limelight.shapes import Curve, Flags, Images, Index, Logits, Maps, Scores


@runtime_checkable
class Explainer(Protocol):
    """Explains pictures in a way of its own, outside of the engine."""

    def explain(self, classifier: Classifier, x: Images, targets: Targets) -> Saliency:
        """Return the record of the pictures' maps."""
        ...


class MapBatch:
    """One method's maps of a batch: everything that a metric may name as a positional parameter.

    Metrics ask by parameter name, so a metric's signature is the list of its needs.

    Args:
        batch: the images and the model.
        maps: (n, *space), any real values.
        saliency: the record that the maps come from, if there is one.
        method: explains again, for metrics that ask for it.
        reexplained_masks: the (space, renormalize) in which some metric explains the masked image, so that
            it is passed once for all.
    """

    def __init__(
        self,
        batch: ImageBatch,
        maps: Maps,
        *,
        saliency: Saliency | None = None,
        method: Spec | Explainer | None = None,
        reexplained_masks: Iterable[tuple[Space, bool]] = (),
    ) -> None:
        self.batch = batch
        self._maps = maps
        self._saliency, self._method, self._reexplained_masks = saliency, method, set(reexplained_masks)
        self._memo = Memo()
        self._seed = 0
        self.tail = 1.0  # share of the arithmetic behind the method's layer, for costs

    @property
    def seed(self) -> int:
        """The metric's seed."""
        return self._seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self._seed = seed

    # -- of the images ----------------------------------------------------------------------------------

    @property
    def image(self) -> Images:
        """The normalised images, (n, c, *space)."""
        return self.batch.image

    @property
    def clean_score(self) -> CleanScore:
        """A function: kind of score -> the target's score on the clean images, (n,)."""
        return self.batch.clean_score

    @property
    def truth(self) -> Truth:
        """Where the evidence should lie."""
        if self.batch.truth is None:
            raise MissingTruth("no truth was given")
        return self.batch.truth

    @property
    def labels(self) -> Index:
        """The right class of each image, (n,): the truth's label, or else the explained class."""
        known = self.batch.truth.labels if self.batch.truth is not None else None
        return self.batch.index if known is None else known

    # -- of the maps ------------------------------------------------------------------------------------

    @property
    def maps(self) -> Maps:
        """The maps as they were given, (n, *space)."""
        return self._maps

    @property
    def raw(self) -> Maps:
        """The method's raw maps resized to the images, (n, *space), if known, else the maps as given."""
        if self._saliency is None:
            return self.maps
        return resize(self._saliency.raw, tuple(self.image.shape[2:]))

    @property
    def as_masks(self) -> AsMasks:
        """A function: renormalize -> the maps as masks in [0, 1], (n, *space).

        Negative values become 0. With ``renormalize`` each map is scaled to [0, 1], but for a constant one,
        which stays what it is; without, it must lie in [0, 1] already.
        """

        def as_masks(renormalize: bool = True) -> Maps:
            positive = self.maps.clamp_min(0)
            if not renormalize:
                if float(positive.max()) > 1 + 1e-6:
                    raise InvalidMap(
                        f"maps reach {float(positive.max()):z.3g}; with renormalize=False they must lie in [0, 1]"
                    )
                return positive
            scaled, constant = min_max(positive)
            return torch.where(spread(constant, scaled), positive.clamp_max(1), scaled)

        return as_masks

    # -- of both ----------------------------------------------------------------------------------------

    @property
    def explained_part(self) -> ExplainedPart:
        """A function: space, renormalize -> the images times their maps, (n, c, *space)."""

        def explained_part(space: Space, renormalize: bool) -> Images:
            fill = self.batch.fill("zero" if space == "normalised" else "black")
            e = self.as_masks(renormalize)[:, None].to(self.image.dtype)
            return self.image * e + fill * (1 - e)

        return explained_part

    @property
    def masked_score(self) -> MaskedScore:
        """A function: space, renormalize -> the target's score on the image times the map, (n,)."""

        def masked_score(space: Space = "normalised", renormalize: bool = True) -> Scores:
            passed = (space, renormalize) in self._reexplained_masks and not isinstance(self._method, Explainer)
            if passed:
                again = self.explain_masked(space, renormalize)
                return again.probability if self.batch.targets.function is None else again.score
            part = self.explained_part(space, renormalize)

            return self._memo(("masked", space, renormalize), lambda: self.scores_of(lambda i, _: part[i], 1)[:, 0])

        return masked_score

    @property
    def explain_masked(self) -> ExplainMasked:
        """A function: space, renormalize -> the explanation of the image times its map, same class."""

        def explain_masked(space: Space = "normalised", renormalize: bool = True) -> Saliency:
            return self._memo(
                ("again", space, renormalize), lambda: self._explain(self.explained_part(space, renormalize))
            )

        return explain_masked

    @property
    def explain_with_model(self) -> ExplainWithModel:
        """A function: classifier -> this method's explanation by another model of the same images and class.

        Without a classifier it is that of the model itself.
        """

        def explain_with_model(classifier: Classifier | None = None) -> Saliency:
            if classifier is not None:
                return self._explain(self.image, classifier)
            return self._saliency or self._memo("explanation", lambda: self._explain(self.image))

        return explain_with_model

    @property
    def classifier(self) -> Classifier:
        """The model."""
        return self.batch.classifier

    @property
    def clean_logits(self) -> Callable[[], Logits]:
        """A function: what the model says of the clean images, (n, classes), passed once for all maps."""
        return lambda: self.batch.logits

    @property
    def sees(self) -> Callable[[float], Flags]:
        """A function: least probability -> whether the model gives the explained class that much, (n,).

        Of images where no class has it, whether the class is the model's best guess.
        """

        def sees(least: float) -> Flags:
            logits, score = self.batch.logits, self.classifier.outputs.score
            best = score(logits, logits.argmax(1), "prob")
            return score(logits, self.batch.index, "prob") >= best.clamp_max(least)

        return sees

    @property
    def logits_of(self) -> LogitsOf:
        """A function: copies, count -> logits of changed copies of the images, (n, s, classes)."""
        return self.batch.logits_of

    @property
    def scores_of(self) -> ScoresOf:
        """A function: copies, count, kind -> the target's score on changed copies of the images, (n, s)."""
        return self.batch.scores_of

    @property
    def curve(self) -> CurveOf:
        """A function: direction, fill, step, ties, kind -> scores while pixels change in the map's order.

        They are those of the target, or of the class that is ``watched`` in its place. The result is (n, steps + 1).
        ``deletion`` goes from the image to the fill, ``insertion`` from the fill to the image. Both ends are the same
        for all maps of an image and passed once.
        """

        def curve(
            direction: Literal["deletion", "insertion"],
            fill: Fill,
            step: Step,
            ties: Ties,
            kind: ScoreOf,
            watched: Index | None = None,
        ) -> Curve:
            seed = self.seed if ties == "random" else 0
            batch = self.batch if watched is None else self.batch.watch(watched)

            def work() -> Curve:
                start, end = self.image, batch.fill(fill)
                first, last = batch.clean_score(kind), batch.fill_score(fill, kind)
                if direction == "insertion":
                    start, end, first, last = end, start, last, first
                place = ranks(self.maps, ties, seed)
                pixels = pixels_per_step(step, place.shape[1:])
                steps = -(-place[0].numel() // pixels)

                def frames(i: Index, s: Index) -> Images:
                    changed = place[i] < spread((s + 1) * pixels, place)
                    return torch.where(changed[:, None], end[i], start[i])

                between = [batch.scores_of(frames, steps - 1, kind)] if steps > 1 else []
                return torch.cat([first[:, None], *between, last[:, None]], 1)

            key = None if watched is None else tuple(integers(watched))
            return self._memo(("curve", direction, fill, step, ties, seed, kind, key), work)

        return curve

    @property
    def explained_class(self) -> Index:
        """The class that is explained, (n,)."""
        return self.batch.index

    @property
    def other_class(self) -> OtherClass:
        """A function: watch -> a class by index or label, or the most probable that is not explained, (n,)."""
        return self.batch.other_class

    @property
    def fill(self) -> Callable[[Fill], Images]:
        """A function: fill -> what stands where the picture is taken away, (n, c, *space); see ``baselines.Fill``."""
        return self.batch.fill

    @property
    def fill_score(self) -> FillScore:
        """A function: fill, kind -> the target's score where all of the picture is taken away, (n,)."""
        return self.batch.fill_score

    @property
    def draws(self) -> Draws:
        """Random numbers fixed by the metric's seed; the same for every method."""
        return Draws(self.seed)

    @property
    def explain_with_method(self) -> Callable[[str], Saliency]:
        """A function: name -> another method's explanation of the same images and class."""

        def explain_with_method(name: str) -> Saliency:
            return self.batch.memo(("explained by", name), lambda: self._explain(self.image, method=build(name)))

        return explain_with_method

    @property
    def degenerate(self) -> Flags:
        """Which maps are empty or have the same value everywhere, (n,)."""
        return min_max(self.maps)[1] if self._saliency is None else self._saliency.degenerate

    def _explain(self, x: Images, classifier: Classifier | None = None, method: Spec | None = None) -> Saliency:
        explainer = method or self._method
        if explainer is None:
            raise InvalidOption("this metric explains again: give it method=, the method that made the maps")
        if isinstance(explainer, Explainer):  # whose passes nobody counts
            return explainer.explain(classifier or self.classifier, x, self.batch.targets)
        saliency = run([explainer], classifier or self.classifier, x, self.batch.targets)[0]
        self.tail = saliency.cost.tail
        self.batch.meter.charge(saliency.cost, len(x))
        return saliency


NEEDS_A_METHOD = frozenset({"explain_masked", "explain_with_model"})
"""Needs that explain again."""
