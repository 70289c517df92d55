"""Read what is to be explained of each picture, and the true class of each."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from limelight.data.collect import label_samples
from limelight.data.items import refuse_shuffled
from limelight.data.samples import Label, Sample
from limelight.errors import UnknownTarget
from limelight.model.classifier import Classifier
from limelight.model.targets import Aimed, Asked, find_class, parse_target
from limelight.shapes import Index
from limelight.text import whole_number


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
    if isinstance(asked, Aimed):
        return asked.of(torch.tensor(list(places)))
    return asked if asked is None or callable(asked) else [asked[i] for i in places]


def true_classes(model: Classifier, samples: Sequence[Sample]) -> Index:
    """Return the true class of each picture, all of which are known, (n,).

    Raises:
        UnknownTarget: the model has no class of that name, or its classes have no names.
    """
    labels = [_class_of(model, s) for s in samples]
    numbers = {label: find_class(label, model.classes(), model.labels) for label in set(labels)}
    return torch.tensor([numbers[label] for label in labels])


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
