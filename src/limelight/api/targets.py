"""Read what is to be explained of each picture, and the true class of each."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from limelight.api.pictures import first_input
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
        unknown = next((s.name for s in samples if s.label is None), None)
        if unknown is not None:
            raise UnknownTarget(f"targets='label', but the true class of {unknown} is not known")
        if not model.labels and any(s.classes for s in samples):
            model.trace(first_input(model, (s.image for s in samples))[None])  # counts the classes
        return [_class_of(model, s) for s in samples]
    return parse_target(targets, len(samples))


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
    """Return the label, or for a model whose classes have no names the place of its folder among the folders.

    Raises:
        UnknownTarget: there are not as many folders as classes, or their names are other numbers.
    """
    label, folders = sample.label, sample.classes
    assert label is not None
    if model.labels or isinstance(label, int) or label not in folders:
        return label
    shown = f"{', '.join(folders[:5])}{' …' if len(folders) > 5 else ''}"
    numbers = [whole_number(name) for name in folders]
    plain = None not in numbers
    if len(folders) != model.classes():
        if plain:
            return label
        raise UnknownTarget(
            f"{sample.name}: the {model.classes()} classes of {model.name} have no names, and there are {len(folders)} "
            f"folders of classes ({shown}); give labels= to Classifier, or a folder for every class"
        )
    if plain and numbers != list(range(len(folders))):
        last = str(len(folders) - 1)
        raise UnknownTarget(
            f"the folders ({shown}) are numbers that, sorted as text, are other classes than they say; give labels= to "
            f"Classifier, or call them {'0'.zfill(len(last))} to {last}, in the order of the classes"
        )
    return folders.index(label)
