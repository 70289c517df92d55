"""Explain the pictures of a data set for their classes: what a worker of an inspection does."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from limelight import api, zoo
from limelight.api.rounds import IMAGES_AT_ONCE, read_sample
from limelight.api.targets import true_classes
from limelight.bench.cell import key_of
from limelight.bench.plan import identity
from limelight.data.collect import open_sample
from limelight.data.datasets import open_dataset
from limelight.data.samples import Sample
from limelight.engine.default_method import default_method
from limelight.engine.method import Method, as_method
from limelight.errors import InvalidImage, InvalidOption, UnknownTarget, UnsupportedModel, show
from limelight.inspection.beside import look_beside
from limelight.inspection.last_layers import LastLayers
from limelight.inspection.record import GRID, MapRow
from limelight.model.classifier import Classifier, as_classifier
from limelight.model.timing import timed_passes
from limelight.ops.arrays import floats, integers

Of = Literal["label", "prediction"]

READERS = 4
"""Threads that read pictures ahead of the model."""
REMEMBERED = 2**28
"""Bytes of pictures that are kept while they are changed and asked about: 300 of 224 x 224."""


@dataclass(frozen=True)
class Task:
    """Pictures to explain, by their places in the data set."""

    places: tuple[int, ...]

    def __str__(self) -> str:
        return f"pictures {self.places[0] + 1} to {self.places[-1] + 1}"


@dataclass(frozen=True)
class Finished:
    """The result of a task.

    Attributes:
        rows: one for each picture.
        seconds: of a worker.
        inside: seconds of those inside the model's passes.
    """

    rows: list[MapRow]
    seconds: float
    inside: float


@dataclass(frozen=True)
class Source:
    """What is inspected.

    Attributes:
        model: a classifier, a module, or a name.
        images: a folder, a csv, or whatever ``as_samples`` takes; the folder of a data set.
        method: of the maps; None for the usual one of the network.
        options: of the method.
        of: explain the class of the label, or the predicted one; None for labels where all are known.
        dataset: name of the data set in the folder; "folder" for pictures of one's own.
        split: of the data set.
        load: how the model is loaded, see ``zoo.load``.
        threads: that a worker on a processor may use.
    """

    model: Any
    images: Any
    method: str | Method | None = None
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    of: Of | None = None
    dataset: str = "folder"
    split: str | None = None
    load: Mapping[str, Any] = field(default_factory=dict[str, Any])
    threads: int | None = None

    def worker(self, device: str | None = None) -> "Worker":
        """Return a worker on a device."""
        return Worker(self, device)


class Worker:
    """Holds the model, and explains the pictures of its tasks.

    Args:
        source: what is inspected.
        device: where the model runs.
    """

    def __init__(self, source: Source, device: str | None = None) -> None:
        self._source, self._device = source, device
        if source.threads:
            torch.set_num_threads(source.threads)

    def ready(self) -> None:
        """Return nothing: a worker that answers has begun."""

    @cached_property
    def model(self) -> Classifier:
        """The network.

        Raises:
            UnsupportedModel: it takes no pictures, or further inputs beside them.
        """
        given = self._source.model
        named = isinstance(given, str)
        load: dict[str, Any] = dict(self._source.load) | ({"device": self._device} if self._device else {})
        model = zoo.load(given, **load) if named else as_classifier(given)
        if len(model.input_size) != 2:
            raise UnsupportedModel(f"{model.name} takes no pictures (n, c, H, W), and inspecting looks at pictures")
        return model

    @cached_property
    def samples(self) -> list[Sample]:
        """The pictures, with what is known of them."""
        source = self._source
        if source.dataset == "folder":
            return api.as_samples(source.images)
        return open_dataset(source.dataset, source.images, source.split, indices=not self.model.labels)

    @cached_property
    def of(self) -> Of:
        """Whether pictures are explained for the class of their label, or the predicted one."""
        if self._source.of not in (None, *get_args(Of)):
            raise InvalidOption(f"of = {show(self._source.of)}; there are {', '.join(get_args(Of))}")
        known = all(sample.label is not None for sample in self.samples)
        if self._source.of == "label" and not known:
            nameless = next(sample.name for sample in self.samples if sample.label is None)
            raise UnknownTarget(f"of='label', but the true class of {nameless} is not known; give of='prediction'")
        return self._source.of or ("label" if known else "prediction")

    @cached_property
    def targets(self) -> list[int] | None:
        """The classes that are explained, by place; None for those that are predicted."""
        if self.of == "prediction":
            return None
        try:
            return integers(true_classes(self.model, self.samples))
        except UnknownTarget as error:
            raise UnknownTarget(f"{error}; or explain what is predicted: of='prediction'") from error

    @cached_property
    def method(self) -> Method:
        """The method of the maps."""
        source = self._source
        if source.method is not None:
            return as_method(source.method, **source.options)
        return default_method(self.model, self.first[None], **source.options)

    @cached_property
    def first(self) -> Tensor:
        """The input of the first picture that can be read, (c, h, w); all others are as large."""
        return api.first_input(self.model, (sample.image for sample in self.samples))

    @cached_property
    def keys(self) -> list[int]:
        """The keys of the pictures' maps: of all that fixes them."""
        fixed = (self.model.weights_hash(), repr(self.method.locate(self.model)), str(GRID))
        targets = self.targets or [-1] * len(self.samples)
        return [key_of(*fixed, str(t), identity(s)) for s, t in zip(self.samples, targets, strict=True)]

    def finish(self, task: Task) -> Finished:
        """Explain the pictures of a task."""
        start = time.perf_counter()
        with timed_passes() as watch:
            rows = [row for read in self._read_ahead(task.places) for row in self._explain(read)]
        return Finished(rows, time.perf_counter() - start, watch.seconds)

    def _read_ahead(self, places: Sequence[int]) -> Iterator[dict[int, "_Read"]]:
        """Yield pictures some at a time, while the next are being read."""
        rounds = [places[i : i + IMAGES_AT_ONCE] for i in range(0, len(places), IMAGES_AT_ONCE)]
        with ThreadPoolExecutor(READERS) as pool:
            ahead = [[pool.submit(self._read, place) for place in part] for part in rounds[:2]]
            for number, part in enumerate(rounds):
                now = ahead.pop(0)
                ahead += [
                    [pool.submit(self._read, place) for place in later] for later in rounds[number + 2 : number + 3]
                ]
                yield {place: one.result() for place, one in zip(part, now, strict=True)}

    def read(self, place: int) -> tuple[Tensor, Tensor | None]:
        """Return a picture as the network's input, (c, h, w), and where its object is there, if that is known."""
        return read_sample(self.model, open_sample(self.samples[place]))

    @cached_property
    def remember(self) -> Callable[[int], tuple[Tensor, Tensor | None]]:
        """``read``, which reads again only what has not been asked for lately."""
        return lru_cache(max(1, REMEMBERED // (self.first.nbytes * 4 // 3)))(self.read)

    def _read(self, place: int) -> "_Read":
        try:
            x, mask = self.read(place)
        except (InvalidImage, InvalidOption) as error:
            return str(error)
        if x.shape != self.first.shape:
            sizes = (" x ".join(map(str, one.shape)) for one in (x, self.first))
            return (
                f"{self.samples[place].name}: its input is {next(sizes)}, the first one's {next(sizes)}; give one size"
            )
        return x, mask

    @cached_property
    def last_layers(self) -> LastLayers:
        """What sees the pictures last."""
        return LastLayers(self.model, self.first[None])

    def _explain(self, read: Mapping[int, "_Read"]) -> Iterator[MapRow]:
        for place, one in read.items():
            if isinstance(one, str):
                yield MapRow(key=self.keys[place], image=self.samples[place].name, error=one)
        inputs = {place: one for place, one in read.items() if not isinstance(one, str)}
        if not inputs:
            return
        targets = None if self.targets is None else [self.targets[place] for place in inputs]
        saliency, seen = self.last_layers.run(self.method, torch.stack([x for x, _ in inputs.values()]), targets)
        cells = F.adaptive_avg_pool2d(saliency.map[:, None], GRID)[:, 0].cpu()
        explained, probability = integers(saliency.target), floats(saliency.probability)
        features = seen.features()
        besides = look_beside(cells, [mask for _, mask in inputs.values()], seen)
        for i, (place, (_, mask)) in enumerate(inputs.items()):
            yield MapRow(
                key=self.keys[place],
                image=self.samples[place].name,
                target=explained[i],
                probability=probability[i],
                outside=_share_outside(saliency.map[i], mask),
                peak=int(cells[i].argmax()) if bool(cells[i].any()) else -1,
                features=tuple(floats(features[i])),
                beside=besides[i],
                map=tuple(floats(cells[i].flatten())),
            )


_Read = tuple[Tensor, Tensor | None] | str


def _share_outside(relevance: Tensor, mask: Tensor | None) -> float:
    """Return the share of a map that lies outside the object, NaN if either is not there."""
    if mask is None:
        return float("nan")
    total = relevance.sum()
    return float((relevance * ~mask.to(relevance.device)).sum() / total) if total > 0 else float("nan")
