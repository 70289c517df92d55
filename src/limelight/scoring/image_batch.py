"""What all maps of the same images share: the model's scores of the images, and of what takes their place."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from limelight.engine.baselines import Fill, fill_images
from limelight.engine.needs import Copies
from limelight.engine.passes import Passes
from limelight.errors import InvalidOption
from limelight.model.classifier import Classifier
from limelight.model.cost import Meter
from limelight.model.targets import ScoreKind, Targets, find_class
from limelight.scoring.truth import Truth
from limelight.shapes import Images, Index, Logits, Scores

T = TypeVar("T")
PREDICTED = Targets()
"""The predicted class of each image."""


class Memo:
    """What was worked out once."""

    def __init__(self) -> None:
        self._values: dict[object, Any] = {}

    def __call__(self, key: object, work: Callable[[], T]) -> T:
        """Return what ``work`` gives, called the first time only."""
        if key not in self._values:
            self._values[key] = work()
        return self._values[key]


class ImageBatch:
    """Images, the model, and what every number is about.

    Args:
        classifier: the model.
        image: normalised images, (n, c, *space).
        targets: what every number is about; by default the predicted class.
        truth: where the evidence should lie, if known.
        probability: of the target, if it is known already.
        batch_size: inputs per pass; None to fit the memory.
    """

    def __init__(
        self,
        classifier: Classifier,
        image: Images,
        targets: Targets = PREDICTED,
        truth: Truth | None = None,
        *,
        probability: Scores | None = None,
        batch_size: int | None = None,
    ) -> None:
        self.classifier, self.image, self.truth = classifier, image, truth
        self.meter, self.memo = Meter(), Memo()
        self._asked, self._probability, self._batch_size = replace(targets, kind="prob"), probability, batch_size

    def __len__(self) -> int:
        return len(self.image)

    @cached_property
    def targets(self) -> Targets:
        """What every number is about, the classes named."""
        return self._asked if self._asked.index is not None else self._asked.settle(self.logits)

    @property
    def index(self) -> Index:
        """Class of each image, (n,).

        Raises:
            InvalidOption: every number is about a function of the outputs.
        """
        self._expect_class()
        assert self.targets.index is not None
        return self.targets.index

    @property
    def logits(self) -> Logits:
        """Of the clean images, (n, classes).

        Raises:
            InvalidOption: every number is about a function of the outputs.
        """
        self._expect_class()
        return self._logits("clean", self.image)

    def watch(self, index: Index) -> "ImageBatch":
        """Return the same images and passes with numbers about other classes, (n,)."""
        twin = copy.copy(self)
        twin._asked, twin._probability = Targets(index, kind="prob"), None
        vars(twin).pop("targets", None)
        return twin

    def other_class(self, watch: int | str | None) -> Index:
        """Return a class by index or label, or of each image the most probable one that is not explained, (n,).

        Raises:
            UnknownTarget: there is no such class.
            InvalidOption: every number is about a function of the outputs.
        """
        explained, (n, classes) = self.index, self.logits.shape
        if watch is not None:
            return torch.full((n,), find_class(watch, classes, self.classifier.labels), device=explained.device)
        return self.logits.scatter(1, explained[:, None], -torch.inf).argmax(1)

    def clean_score(self, kind: ScoreKind = "prob") -> Scores:
        """Return the target's score on the clean images, (n,); of a function its own value, whatever the kind."""
        if kind == "prob" and self._probability is not None and self._asked.function is None:
            return self._probability
        return self._score("clean", self.image, kind)

    def fill(self, fill: Fill) -> Images:
        """Return what stands where a picture is taken away, (n, c, *space); see ``baselines.Fill``."""
        return self.memo(("fill", fill), lambda: fill_images(self.classifier, self.image, fill))

    def fill_score(self, fill: Fill, kind: ScoreKind = "prob") -> Scores:
        """Return the target's score where all of the picture is taken away, (n,)."""
        return self._score(("fill", fill), self.fill(fill), kind)

    def logits_of(self, copies: Copies, count: int) -> Tensor:
        """Return the logits of changed copies of the images, (n, s, classes); see ``Passes.logits``.

        Raises:
            InvalidOption: every number is about a function of the outputs.
        """
        if self._asked.function is not None:
            raise InvalidOption("this metric compares classes; a function of the outputs is none")
        return self._passes(self._asked).logits(copies, count)

    def scores_of(self, copies: Copies, count: int, kind: ScoreKind | None = None) -> Tensor:
        """Return the target's score on changed copies of the images, (n, s); see ``Passes.scores``.

        A function of the outputs has no probability: its own values stand for one.
        """
        return self._passes(self.targets).scores(copies, count, kind)

    def _score(self, name: object, x: Images, kind: ScoreKind) -> Scores:
        """Return the target's score on pictures in place of the images, one for each."""
        if self._asked.function is None:
            return self.classifier.outputs.score(self._logits(name, x), self.index, kind)
        some = x[:1] if x.stride(0) == 0 else x

        def work() -> Scores:
            passes = Passes(self.classifier, some, self._asked[: len(some)], self.meter, self._batch_size)
            return passes.scores(lambda i, _: some[i], 1, kind)[:, 0]

        return self.memo((name, "score"), work).expand(len(x))

    def _logits(self, name: object, x: Images) -> Logits:
        """Return the logits of pictures in place of the images, (n, classes), passed once."""
        alike = x.stride(0) == 0 and not self.classifier.feed.rows
        some = x[:1] if alike else x  # one picture for all images

        def work() -> Logits:
            passes = Passes(self.classifier, some, self._asked, self.meter, self._batch_size)
            return passes.logits(lambda i, _: some[i], 1)[:, 0]

        return self.memo((name, "logits"), work).expand(len(x), -1)

    def _expect_class(self) -> None:
        if self._asked.function is not None:
            raise InvalidOption("this metric is about classes, and a function of the outputs as target is none")

    def _passes(self, targets: Targets) -> Passes:
        return Passes(self.classifier, self.image, targets, self.meter, self._batch_size)
