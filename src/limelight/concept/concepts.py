"""Which concepts of a layer make a prediction, where they are in the picture, and what else they answer to."""

import math
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from limelight.api.forecasting import forecast
from limelight.api.pictures import as_input
from limelight.api.rounds import images_at_once
from limelight.api.targets import asked_at, parse_targets
from limelight.api.unreadable import Unreadable
from limelight.concept.basis import Basis, By, Parts, find_channels, find_parts
from limelight.concept.look import Batch, Look, Settings, look
from limelight.concept.record import Concept, Concepts
from limelight.concept.references import Crop, RankedBy, find_crops
from limelight.data.collect import as_samples, list_pictures, samples_of
from limelight.data.samples import Sample
from limelight.engine.budget import limits
from limelight.errors import ConservationWarning, InvalidImage, InvalidOption, UnsupportedModel, show
from limelight.model.batches import name_out_of_memory
from limelight.model.classifier import Classifier, as_classifier
from limelight.model.cost import Meter
from limelight.model.layer_choice import LayerLike
from limelight.model.memory import RECORDED, refuse
from limelight.model.preserve import preserve_state
from limelight.model.targets import Asked, TargetLike, Targets, accept_either_name
from limelight.ops.arrays import floats, integers
from limelight.ops.scale import divide, resize
from limelight.ops.space import size_of
from limelight.progress import Forecast, Part, show_progress
from limelight.relevance.composites import COMPOSITES, Composite
from limelight.results.explanation import label_of
from limelight.shapes import Images, Index, Scores


@dataclass(frozen=True, eq=False)
class Shares:
    """Concepts of n pictures, as arrays.

    Attributes:
        basis: what the concepts are, by falling mean absolute share.
        shares: of the relevance at the layer, (n, c).
        maps: of each picture the relevance at the input through each concept alone, (c, H, W).
        answers: of each picture by how much each concept answers, (c, h, w) at the layer; see ``Concept``.
        whole: of each picture the relevance at the input that passes the layer, (H, W).
        target: explained class, -1 where a function is explained, (n,).
        probability: of it, (n,); NaN where a function is explained.
        notes: for each picture, what the reader should know.
        warnings: what is wrong about any.
    """

    basis: Basis
    shares: Tensor
    maps: tuple[Tensor, ...]
    answers: tuple[Tensor, ...]
    whole: tuple[Tensor, ...]
    target: Index
    probability: Scores
    notes: tuple[tuple[str, ...], ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Search:
    """Which concepts are wanted.

    Attributes:
        n: how many.
        by: channels of the layer, or parts of its activations.
        seed: of the factorisation's first random start.
        starts: how many starts there are.
        batch_size: pictures that pass together; None to fit the memory.
    """

    n: int = 5
    by: By = "channels"
    seed: int = 0
    starts: int = 5
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if self.by not in get_args(By):
            raise InvalidOption(f"by = {show(self.by)}; there are {', '.join(get_args(By))}")
        for name, least in (("n", 1), ("starts", 1), ("seed", 0), ("batch_size", 1)):
            _check_number(name, getattr(self, name), least)


@accept_either_name
@name_out_of_memory
def concepts(
    classifier: Classifier | nn.Module | str,
    pictures: Any,
    *,
    n: int = 5,
    layer: LayerLike | None = None,
    target: TargetLike = None,
    by: By = "channels",
    reference: Any = None,
    crops: int = 4,
    crops_by: RankedBy = "relevance",
    composite: Composite | None = None,
    seed: int = 0,
    starts: int = 5,
    budget: str | None = None,
    batch_size: int | None = None,
    strict: bool = False,
    progress: bool | None = None,
    targets: TargetLike = None,
) -> Concepts:
    """Say which concepts of a layer make a prediction, where they are in the picture, and what else they answer to.

    Relevance is passed back to the layer by the rules of ``lrp``. A concept is a channel of the layer, or a part: one
    of n components whose sum makes its activations, none of them below 0. What of the relevance is the concept's alone
    is passed on to the picture, which is its map. The maps of all channels add up to the relevance that passes the
    layer.

    A network of which nothing can be recorded (scripted, a black box) has no relevance and is refused, rather than
    given gradients under the same name; an operation without a rule hands on its gradient with a warning, as in
    ``lrp``.

    Args:
        classifier: a ``Classifier``, a module, or a name that ``load`` knows.
        pictures: one or several, as in ``explain``, or a folder of them. Several have their concepts in common.
        n: how many: those of the largest absolute share in the mean of the pictures; parts are all there are.
        layer: where the concepts are; None for the last with a spatial map. Relevance that goes past it, as along the
            skip connection of a residual block, is no concept's.
        target: as in ``explain``.
        targets: another name of ``target``.
        by: ``"channels"`` or ``"parts"``.
        reference: pictures from which crops are cut, as ``pictures``; None for these themselves.
        crops: how many for each concept.
        crops_by: where a concept answers most: ``"relevance"``, its share of that of the class which the model gives
            the reference picture (of a target that is a function, of that); or ``"activation"``.
        composite: the rules, a published table; see ``lrp``.
        seed: of the parts.
        starts: random starts of the parts, the best of which counts and is compared with the others.
        budget: after so much no more reference pictures are looked at: ``"500 forwards"`` or ``"60 s"``.
        batch_size: pictures that pass together; None to fit the memory.
        strict: refuse a picture that can't be read, and operations without a rule.
        progress: as in ``explain``.

    Raises:
        InvalidOption: more concepts than there are, several layers, or an option out of its range.
        LimelightError: see ``limelight.errors``.

    Source: Achtibat et al. 2023 for channels, their maps and references; Collins et al. 2018 for parts.

    Example:
        >>> concepts = ll.concepts("demo/resnet", ll.example_image(), n=3)
        >>> concepts.save("concepts.png").name
        'concepts.png'
    """
    begun, meter = time.perf_counter(), Meter()
    search = Search(n, by, seed, starts, batch_size)
    _check(crops, crops_by, composite, budget)
    model, unreadable, left_out = as_classifier(classifier), Unreadable(strict), Unreadable(strict)
    samples, others = _samples(pictures), None if reference is None else _samples(reference)
    asked = parse_targets(samples, target)

    def read(some: Sequence[Sample], asked: Asked, size: int, failed: Unreadable) -> Iterator[Batch]:
        """Yield the pictures that can be read."""
        for places, x in _read(model, some, size, failed):
            settings = settings_for(model, layer, composite, meter, x, strict=strict)
            targets = Targets.parse(asked_at(asked, places), model, x)
            yield from Batch(settings, x, targets, [some[i].name for i in places]).split(batch_size)

    with preserve_state(model.module), show_progress("finding concepts", progress) as watch:
        batches = [*read(samples, asked, len(samples), unreadable)]
        unreadable.tell(len(samples))
        count = len(samples if others is None else others)
        watch.expect(lambda: _forecast(batches, search, count * (crops > 0), crops, crops_by))
        shares = _find(batches, search)
        of_reference = asked if callable(asked) else None  # of classes each picture has its own
        rounds = batches if others is None else read(others, of_reference, images_at_once(batch_size), left_out)
        cut, remarks = find_crops(shares.basis, rounds, crops, crops_by, budget)
        left_out.tell(count)
    return _put_together(search, batches, shares, cut, remarks, left_out, time.perf_counter() - begun)


def concepts_of(
    classifier: Classifier,
    x: Images,
    target: TargetLike | Targets = None,
    *,
    layer: LayerLike | None = None,
    n: int = 5,
    by: By = "channels",
    composite: Composite | None = None,
    seed: int = 0,
    starts: int = 5,
    batch_size: int | None = None,
    strict: bool = False,
) -> Shares:
    """Return the concepts of a batch as arrays; see ``concepts``.

    Args:
        classifier: the model.
        x: normalised pictures, (n, c, H, W).
        target: see ``concepts``, as are all others.
        layer: the layer.
        n: how many concepts.
        by: channels or parts.
        composite: the rules.
        seed: of the parts.
        starts: of the parts.
        batch_size: pictures that pass together.
        strict: refuse operations without a rule.
    """
    search = Search(n, by, seed, starts, batch_size)
    with preserve_state(classifier.module):
        x = classifier.to_batch(x)
        settings = settings_for(classifier, layer, composite, Meter(), x, strict=strict)
        batch = Batch(settings, x, Targets.parse(target, classifier, x))
        return _find([*batch.split(batch_size)], search)


def settings_for(
    classifier: Classifier,
    layer: LayerLike | None,
    composite: Composite | None,
    meter: Meter,
    x: Images,
    *,
    strict: bool,
) -> Settings:
    """Return how a layer is looked at in pictures of the size of x.

    Raises:
        UnsupportedModel: they are no pictures, or the model has no layers that can be looked at.
        InvalidOption: several layers.
    """
    if x.ndim != 4:
        raise UnsupportedModel(f"concepts are of pictures (n, c, H, W), not of inputs of shape {tuple(x.shape)}")
    infos = classifier.layers(None if layer is None else classifier.layer_names(layer), x)
    if len(infos) != 1:
        raise InvalidOption(f"concepts are of one layer, got {len(infos)}: {', '.join(info.name for info in infos)}")
    refuse(x[:1], RECORDED * classifier.trace(x).bytes_per_image, "a pass that is recorded for relevance")
    return Settings(classifier, infos[0], composite, meter, strict)


def _check_number(name: str, value: object, least: int) -> None:
    """Refuse what is no whole number from the least on; a batch size may be None."""
    if value is None and name == "batch_size":
        return
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**31:
        raise InvalidOption(f"{name} = {show(value)}: expected a whole number of at least {least}")


def _check(crops: int, crops_by: str, composite: str | None, budget: str | None) -> None:
    """Refuse options of ``concepts`` that make no sense, before anything is loaded."""
    _check_number("crops", crops, 0)
    if crops_by not in get_args(RankedBy):
        raise InvalidOption(f"crops_by = {show(crops_by)}; there are {', '.join(get_args(RankedBy))}")
    if composite is not None and composite not in COMPOSITES:
        raise InvalidOption(f"composite = {show(composite)}; there are {', '.join(COMPOSITES)}")
    if budget is not None and (not isinstance(budget, str) or min(limits(budget)) == math.inf):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidOption(f'budget = {show(budget)}: it is "500 forwards" or "60 s"')


def _samples(pictures: Any) -> list[Sample]:
    """Return a sample for each picture of a folder, of whatever holds several, or of one.

    Raises:
        InvalidImage: there are none.
    """
    if isinstance(pictures, str | Path) and Path(pictures).is_dir():
        return as_samples(pictures)
    held = list_pictures(pictures)
    samples = samples_of([pictures] if held is None else held)
    if not samples:
        raise InvalidImage("the list of pictures is empty")
    return samples


def _read(
    model: Classifier, samples: Sequence[Sample], size: int, unreadable: Unreadable
) -> Iterator[tuple[list[int], Images]]:
    """Load so many pictures at a time, and yield the places and inputs of those of one size."""
    for start in range(0, len(samples), size):
        some = range(start, min(len(samples), start + size))
        tried = {i: unreadable.try_read(samples[i].name, lambda i=i: as_input(model, samples[i].image)) for i in some}
        inputs = {i: x for i, x in tried.items() if x is not None}
        for shape in dict.fromkeys(tuple(x.shape) for x in inputs.values()):
            places = [i for i, x in inputs.items() if tuple(x.shape) == shape]
            yield places, model.to_batch(torch.stack([inputs[i] for i in places]))


def _forecast(batches: Sequence[Batch], search: Search, references: int, crops: int, crops_by: RankedBy) -> Forecast:
    """Return how long it will take: relevance of each picture, back through each concept, and of the references."""
    count, cut_out = sum(len(batch.x) for batch in batches), min(crops, references) * search.n
    looks = Part("concepts", count * (4 + search.n), count * (4 + 2 * search.n), (f"n={search.n}",))
    each = 1 if crops_by == "activation" else 2
    passes = each * references + 3 * cut_out
    more = Part("crops", passes, passes + 2 * cut_out, (f"crops={crops}", "budget=…"))
    first = batches[0]
    return forecast(first.settings.classifier.take(slice(0, 1)), first.x[:1], [], more=[looks, more], images=count)


def _find(batches: Sequence[Batch], search: Search) -> Shares:
    """Find the concepts that pictures have in common, and where they are.

    A first look tells which they are; a second one, unless all pictures pass together, where.
    """

    @lru_cache(maxsize=1)
    def look_at(i: int) -> Look:
        """Return the last look, if it was at this batch."""
        return look(batches[i])

    looks = map(look_at, range(len(batches)))
    name, prefix = batches[0].settings.layer.name, batches[0].settings.prefix
    if search.by == "parts":
        acts = [one.acts for one in looks]
        basis: Basis = find_parts(acts, search.n, prefix, name, seed=search.seed, starts=search.starts)
    else:
        shares = [divide(one.relevance.sum(2), one.relevance.abs().sum((1, 2))[:, None]) for one in looks]
        basis = find_channels(torch.cat(shares), search.n, name, prefix)
    return _order(basis, [_share(basis, look_at(i)) for i in range(len(batches))])


def _share(basis: Basis, seen: Look) -> Shares:
    """Return how the relevance of a batch is shared among concepts."""
    masks = basis.masks(seen.acts)
    assert seen.whole is not None and seen.clean.targets.index is not None
    return Shares(
        basis,
        torch.stack([seen.share(mask) for mask in masks], 1),
        tuple(seen.condition(masks)),
        tuple(torch.unflatten(basis.answers(seen.acts), 2, seen.settings.layout.grid)),
        tuple(seen.whole),
        seen.clean.targets.index,
        seen.clean.probability,
        seen.notes,
        seen.warnings,
    )


def _order(basis: Basis, each: Sequence[Shares]) -> Shares:
    """Put the shares of batches together, the concepts by falling mean absolute share."""
    shares = torch.cat([one.shares for one in each])
    order = integers(shares.abs().mean(0).sort(descending=True, stable=True).indices)
    return Shares(
        basis.take(order),
        shares[:, order],
        tuple(maps[order] for one in each for maps in one.maps),
        tuple(answers[order] for one in each for answers in one.answers),
        tuple(whole for one in each for whole in one.whole),
        torch.cat([one.target for one in each]),
        torch.cat([one.probability for one in each]),
        tuple(notes for one in each for notes in one.notes),
        tuple(dict.fromkeys(warning for one in each for warning in one.warnings)),
    )


def _put_together(
    search: Search,
    batches: Sequence[Batch],
    shares: Shares,
    crops: Sequence[Sequence[Crop]],
    remarks: Sequence[str],
    left_out: Unreadable,
    seconds: float,
) -> Concepts:
    """Return the record of what was found, and warn of what is wrong about it."""
    basis, settings = shares.basis, batches[0].settings
    classifier, count = settings.classifier, len(shares.maps)
    for warning in shares.warnings:
        warnings.warn(f"concepts: {warning}", ConservationWarning, stacklevel=5)
    parts = basis if isinstance(basis, Parts) else None
    sizes = [size_of(batch.x) for batch in batches for _ in batch.x]
    record = [
        Concept(
            name,
            tuple(floats(shares.shares[:, c])),
            tuple(maps[c] for maps in shares.maps),
            tuple(resize(a[c][None], size)[0] for a, size in zip(shares.answers, sizes, strict=True)),
            tuple(crops[c]),
            parts.stability[c] if parts and search.starts > 1 else None,
        )
        for c, name in enumerate(basis.names)
    ]
    notes = [note for one in shares.notes for note in one]
    return Concepts(
        tuple(record),
        layer=settings.layer.name,
        by="parts" if parts else "channels",
        names=tuple(name for batch in batches for name in batch.names),
        images=tuple(classifier.display(x).float() for batch in batches for x in batch.x),
        labels=tuple(label_of(classifier, target) for target in integers(shares.target)),
        probabilities=tuple(floats(shares.probability)),
        whole=shares.whole,
        explained=parts.explained if parts else None,
        notes=tuple(dict.fromkeys([*(parts.notes if parts else ()), *remarks, *notes])),
        left_out=dict(left_out),
        cost=settings.meter.per_image(count, 1 - settings.layer.before),
        seconds=seconds,
        bands=classifier.inputs.bands,
    )
