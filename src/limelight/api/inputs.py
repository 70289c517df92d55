"""What users may give: models, pictures, targets, truth."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from limelight.data.collect import MARK, as_picture, label_samples, open_sample
from limelight.data.images import ImageSource, load_image
from limelight.data.items import refuse_shuffled
from limelight.data.samples import Label, Sample
from limelight.errors import InvalidImage, InvalidOption, PictureWarning, UnknownTarget, show
from limelight.model.classifier import Classifier
from limelight.model.targets import Asked, find_class, parse_target
from limelight.ops.arrays import from_numpy
from limelight.scoring.metric import Metric
from limelight.scoring.truth import Truth
from limelight.shapes import Index
from limelight.text import numbered, whole_number

T = TypeVar("T")

IMAGES_AT_ONCE = 16
"""Pictures per round of an evaluation: enough to share passes, few enough to report progress."""

MOST_AT_ONCE = 1024
"""Pictures that are read at once, however many may go together."""


class Unreadable(dict[str, str]):
    """Pictures that can't be read, by name, and why; each counts, also of one name.

    Args:
        strict: raise at the first, in place of leaving it out.
    """

    def __init__(self, strict: bool = False) -> None:
        super().__init__()
        self.strict = strict

    def try_read(self, name: str, read: Callable[[], T]) -> T | None:
        """Return what a picture gives, or None where it can't be read.

        Raises:
            InvalidImage: it can't, and ``strict`` is asked for.
        """
        try:
            return read()
        except InvalidImage as error:
            if self.strict:
                raise
            self[numbered([*self, name], MARK)[-1] if name in self else name] = str(error)
            return None

    def tell(self, count: int) -> None:
        """Warn of what was left out of so many pictures.

        Raises:
            InvalidImage: all of them were.
        """
        if not self:
            return
        reasons = list(self.values())
        if len(self) == count:
            raise InvalidImage(reasons[0] if count == 1 else f"none of {count} pictures can be read: {reasons[0]}")
        said = "; ".join(reason if name in reason else f"{name}: {reason}" for name, reason in list(self.items())[:5])
        more = f"; and {len(self) - 5} more" if len(self) > 5 else ""
        warnings.warn(
            f"{len(self)} of {count} pictures can't be read and were left out: {said}{more}",
            PictureWarning,
            stacklevel=4,
        )


def images_at_once(batch_size: int | None) -> int:
    """Return how many pictures to read at once.

    Raises:
        InvalidOption: a batch of none.
    """
    if batch_size is not None and batch_size < 1:
        raise InvalidOption(f"batch_size = {show(batch_size)}: expected at least 1, or None to fit the memory")
    return IMAGES_AT_ONCE if batch_size is None else min(batch_size, MOST_AT_ONCE)


def read_in_rounds(
    model: Classifier, samples: Sequence[Sample], size: int, unreadable: Unreadable
) -> Iterator[tuple[list[int], list[Sample], Tensor, list[Tensor | None]]]:
    """Load some pictures and their masks at a time; those of one size go together.

    Yields:
        Their places, what is known of them now that they are read, the inputs and the masks.
    """

    def read(sample: Sample) -> tuple[Sample, Tensor, Tensor | None]:
        there = open_sample(sample)
        x, mask = read_sample(model, there)
        return replace(there, image=x if there.image is not sample.image else sample.image), x, mask

    for start in range(0, len(samples), size):
        numbers = range(start, min(len(samples), start + size))
        tried = {i: unreadable.try_read(samples[i].name, lambda i=i: read(samples[i])) for i in numbers}
        inputs = {i: one for i, one in tried.items() if one is not None}
        for shape in dict.fromkeys(tuple(x.shape) for _, x, _ in inputs.values()):
            where = [i for i, (_, x, _) in inputs.items() if tuple(x.shape) == shape]
            there, xs, masks = zip(*(inputs[i] for i in where), strict=True)
            yield where, [*there], torch.stack(xs), [*masks]


def first_input(classifier: Classifier, images: Iterable[Any]) -> Tensor:
    """Return the first picture that can be read as the network's input, (3, H, W).

    Raises:
        InvalidImage: none can.
    """
    unreadable, count = Unreadable(), 0
    for image in images:
        count += 1
        x = unreadable.try_read(f"picture {count}", lambda image=image: as_input(classifier, image))
        if x is not None:
            return x
    unreadable.tell(count)
    raise InvalidImage("the list of images is empty")


def as_input(classifier: Classifier, image: Any) -> Tensor:
    """Return the network's input for anything that is a picture: (3, H, W), on the model's device."""
    picture: Tensor | ImageSource = as_picture(image)
    if isinstance(picture, Tensor):
        if picture.ndim != 3:
            raise InvalidImage(f"a tensor must be a normalised image (3, H, W), got shape {tuple(picture.shape)}")
        if not bool(torch.isfinite(picture).all()):
            raise InvalidImage("an image has values that are NaN or infinite")
        return classifier.to_weights(picture)
    if isinstance(picture, np.ndarray) and picture.ndim == 3 and picture.shape[0] in (3, 4) and picture.shape[2] > 4:
        raise InvalidImage(f"an array must have channels last (H, W, 3), got shape {picture.shape}")
    return classifier.to_weights(classifier.preprocess(load_image(picture)))


def read_targets(model: Classifier, samples: Sequence[Sample], targets: Any) -> Asked:
    """Return the class of each picture for whatever was given as targets; ``"label"`` is the true one.

    Raises:
        UnknownTarget: the true class of some picture is not known.
        InvalidOption: not one target per picture, or none at all.
    """
    if isinstance(targets, str) and targets == "label" and not (model.labels and "label" in model.labels):
        samples = label_samples(samples)
        unknown = next((s.name for s in samples if s.label is None), None)
        if unknown is not None:
            raise UnknownTarget(f"targets='label', but the true class of {unknown} is not known")
        if not model.labels and any(s.classes for s in samples):
            model.trace(first_input(model, (s.image for s in samples))[None])  # counts the classes
        return [_class_of(model, s) for s in samples]
    return parse_targets(samples, targets)


def parse_targets(samples: Sequence[Sample], targets: Any) -> Asked:
    """Return what is asked about each picture, as ``parse_target`` understands it.

    Raises:
        InvalidOption: not one target per picture, or one for each of a ``DataLoader`` that shuffles.
    """
    asked = parse_target(targets, len(samples))
    if asked is not None and not callable(asked) and len({*asked}) > 1:
        refuse_shuffled((s.image for s in samples), "target")
    return asked


def asked_at(asked: Asked, places: Iterable[int]) -> Asked:
    """Return what is explained of the pictures at some places among those that were asked about."""
    return asked if asked is None or callable(asked) else [asked[i] for i in places]


def true_classes(model: Classifier, samples: Sequence[Sample]) -> Index:
    """Return the true class of each picture, all of which are known, (n,).

    Raises:
        UnknownTarget: the model has no class of that name, or its classes have no names.
    """
    labels = [_class_of(model, s) for s in samples]
    found = {label: find_class(label, model.classes(), model.labels) for label in set(labels)}
    return torch.tensor([found[label] for label in labels])


def _class_of(model: Classifier, sample: Sample) -> Label:
    """Return the label as the model understands it.

    For a model whose classes have no names that is the place of a picture's folder among the folders. A data set's
    number of a class is taken by the class's name where the model has one of its names, and else is the model's too.

    Raises:
        UnknownTarget: there are not as many folders, or names, as classes, or their names are other numbers.
    """
    label, names = sample.label, sample.classes
    assert label is not None
    if isinstance(label, int) and names:
        return _class_of_number(model, sample, label)
    if model.labels or isinstance(label, int) or label not in names:
        return label
    shown = f"{', '.join(names[:5])}{' …' if len(names) > 5 else ''}"
    numbers = [whole_number(name) for name in names]
    plain = None not in numbers
    if len(names) != model.classes():
        if plain:
            return label
        raise UnknownTarget(
            f"{sample.name}: the {model.classes()} classes of {model.name} have no names, and there are {len(names)} "
            f"folders of classes ({shown}); give labels= to Classifier, or a folder for every class"
        )
    if plain and numbers != list(range(len(names))):
        last = str(len(names) - 1)
        raise UnknownTarget(
            f"the folders ({shown}) are numbers that, sorted as text, are other classes than they say; give labels= to "
            f"Classifier, or call them {'0'.zfill(len(last))} to {last}, in the order of the classes"
        )
    return names.index(label)


def _class_of_number(model: Classifier, sample: Sample, number: int) -> Label:
    """Return the model's class for the number that a data set with names of its classes gives a picture.

    Raises:
        UnknownTarget: the model has none of these names, and another number of classes.
    """
    names, known = sample.classes, {label.lower() for label in model.labels or ()}
    if any(name.lower() in known for name in names) and number < len(names):
        return names[number]
    if len(names) == model.classes():
        return number
    shown = f"{', '.join(names[:5])}{' …' if len(names) > 5 else ''}"
    raise UnknownTarget(
        f"{sample.name}: the data set has {len(names)} classes ({shown}), and {model.name} has {model.classes()}, none "
        "of these names; give targets as the model counts its classes, or labels= to Classifier"
    )


def read_truth(truth: Any, model: Classifier, samples: Sequence[Sample]) -> Truth:
    """Understand the truth of all pictures, which is about the network's inputs."""
    refuse_shuffled((s.image for s in samples), "truth")
    size = size_of(first_input(model, (s.image for s in samples)))
    return Truth.of(truth, len(samples), size, torch.device("cpu"))


def truth_of(
    model: Classifier,
    samples: Sequence[Sample],
    x: Tensor,
    judges: Iterable[Metric] = (),
    masks: Sequence[Tensor | None] | None = None,
) -> Truth | None:
    """Carry masks and boxes of the original pictures to where the preprocessing puts them.

    Args:
        model: its preprocessing.
        samples: the pictures.
        x: as the network's input.
        judges: metrics, of which some may need the true classes.
        masks: what ``true_mask`` gave for them; None to ask it now.

    Raises:
        UnknownTarget: one of the metrics needs the true classes, and they can't be told.
    """
    masks = [true_mask(model, s) for s in samples] if masks is None else masks
    if all(m is None for m in masks) and all(s.label is None for s in samples):
        return None
    size = x.shape[-2:]
    placed = [torch.zeros(size, dtype=torch.bool) if m is None else m for m in masks]
    labels = [s.label for s in samples]
    known = None
    if all(label is not None for label in labels):
        model.trace(x)
        try:
            known = true_classes(model, samples)
        except UnknownTarget:
            if any("labels" in judge.card.needs for judge in judges):
                raise
    others = None if any(s.others is None for s in samples) else torch.tensor([bool(s.others) for s in samples])
    difficult = torch.tensor([s.difficult for s in samples])
    asked = any(getattr(judge.options, "at", "") == "original" for judge in judges)
    truth = Truth(torch.stack(placed), difficult, others, known, _originals(model, samples) if asked else None)
    return Truth.of(truth, len(x), (int(size[0]), int(size[1])), x.device)


def _originals(model: Classifier, samples: Sequence[Sample]) -> tuple[Tensor, ...]:
    """Return where the class is in the original pictures, (h, w) each.

    Raises:
        InvalidOption: the network does not see the whole of them.
    """
    pictures = any(not isinstance(s.image, Tensor) for s in samples)
    if pictures and not model.inputs.whole:
        raise InvalidOption(
            f"at='original' needs the whole picture as the input of {model.name}, whose preprocessing crops it, or is "
            "not known not to; give one without (a recipe's center_crop = 0), or leave at= out"
        )
    masks = [s.truth_mask() for s in samples]
    return tuple(from_numpy(np.array(m if m is not None else [[0]])) != 0 for m in masks)


def true_mask(model: Classifier, sample: Sample) -> Tensor | None:
    """Preprocess a mask as if it were a picture: whatever resizes and crops the one moves the other along."""
    mask = sample.truth_mask()
    if mask is None:
        return None
    if isinstance(sample.image, Tensor):  # is the network's input, and the mask is of its pixels
        return from_numpy(np.array(mask)) != 0
    white = model.preprocess(mask.convert("RGB"))
    return model.display(white).mean(0) > 0.5


def read_sample(model: Classifier, sample: Sample) -> tuple[Tensor, Tensor | None]:
    """Return the network's input for a sample, (3, H, W), and its mask there, (H, W), if there is one.

    Raises:
        InvalidImage: one of them can't be read.
    """
    return as_input(model, sample.image), true_mask(model, sample)


def size_of(x: Tensor) -> tuple[int, int]:
    """Return (H, W)."""
    return int(x.shape[-2]), int(x.shape[-1])
