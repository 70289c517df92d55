"""Train a network's last layer for other classes, as papers do for data sets that ImageNet's networks don't know.

The rest of the network stays as it is and in evaluation mode, so that what it makes of a picture is computed once.
"""

import copy
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from limelight import files, zoo
from limelight.api.features import cache_features
from limelight.api.fitting import Data, Epoch, Schedule, fit
from limelight.api.labelled import Picture, hold_out, index_classes, open_labelled
from limelight.api.pictures import first_input
from limelight.data.collect import as_samples
from limelight.data.datasets import DATASETS
from limelight.errors import InvalidOption, nearest
from limelight.model.classifier import Classifier, as_classifier
from limelight.model.hooks import duplicate
from limelight.model.last_layer import draw_linear, find_last_layer
from limelight.model.parts import put_part
from limelight.model.preprocess import Preprocess
from limelight.zoo.recipe import Transform

SHARE = 0.2
"""Of the pictures of each class that are held out to test with, where nothing else is said."""


@dataclass(frozen=True)
class TrainedHead:
    """A network with a new last layer.

    Attributes:
        classifier: the network, which knows the classes' names.
        path: the file, which ``limelight.load`` takes.
        epochs: what came of each.
        kept: the number of the epoch whose layer it has.
        counts: how many pictures it was trained on, and tested with.

    Example:
        >>> from limelight.data.samples import Sample
        >>> pictures = [Sample(ll.example_image(i), str(i), ("even", "odd")[i % 2]) for i in range(4)]
        >>> ll.train_head("demo/resnet", pictures, "parity.safetensors", test=0, epochs=5)
        TrainedHead(parity.safetensors, epoch 5 of 5)
    """

    classifier: Classifier
    path: Path
    epochs: list[Epoch]
    kept: int
    counts: tuple[int, int]

    def __repr__(self) -> str:
        best = self.epochs[self.kept - 1]
        scores = {"accuracy": best.accuracy, "precision": best.precision, "recall": best.recall}
        figures = ", ".join(f"{name} {value:z.3f}" for name, value in scores.items() if not math.isnan(value))
        return f"TrainedHead({self.path}, epoch {self.kept} of {len(self.epochs)}{figures and ', '}{figures})"


def train_head(
    model: str | Classifier | nn.Module,
    images: Any,
    out: str | Path,
    *,
    test: Any = None,
    dataset: str = "folder",
    split: str = "train",
    multilabel: bool = False,
    resize: tuple[int, int] | None = None,
    mirror: bool = False,
    workers: int = 0,
    progress: bool | None = None,
    **schedule: Any,
) -> TrainedHead:
    """Train the last layer of a network for other classes, and save the network.

    The layers before it keep their weights and are in evaluation mode (no dropout, batch norm as it was trained), so
    that each picture passes them once. What they make of it, and the state after every epoch, is kept in
    ``OUT.training``: a training that was stopped goes on when it is started again, and ends as if it had never been.

    Args:
        model: a name, a classifier or a module; its class scores must be the output of a linear layer.
        images: a folder per class, a csv with labels, or a list of samples; the folder of ``dataset``, if one is named.
            A picture with several rows or samples has several classes; one of a data set that shows none is left out.
        out: the file to write: ``.safetensors`` for a model of a zoo, ``.pt2`` for another module.
        test: pictures to test with after every epoch: as ``images``; or a share of them, held out class by class;
            or the name of a split of ``dataset``; 0 for none. None is the data set's first other split, or 0.2.
        dataset: one of ``limelight datasets``; ``"folder"`` for pictures of your own.
        split: of ``dataset``, to train on.
        multilabel: whether a picture may show several classes: each gets a sigmoid and a binary cross-entropy, where
            else all share a softmax and its cross-entropy.
        resize: (rows, columns) that pictures are resized to without a crop; the saved network does so too. None for
            the network's own preprocessing.
        mirror: train on mirror images too: each epoch draws, picture by picture, one of both.
        workers: processes that read pictures beside this one.
        progress: as in ``explain``.
        schedule: ``epochs``, ``rate``, ``decay``, ``decay_every``, ``momentum``, ``weight_decay``, ``batch_size``,
            ``keep``, ``seed``: see ``limelight.api.fitting.Schedule``.

    Returns:
        The network with what came of each epoch.

    Raises:
        InvalidOption: an option that there is not or that is out of range; pictures without classes, or with
            several where one is expected.
        InvalidImage: a picture can't be read.
        UnsupportedModel: the network does not end in a linear layer, or can't be saved.
        NonFinite: the loss grew beyond all numbers.

    Source: Ha and Youn 2022, sec. IV (schedule); Zhang et al. 2021, sec. 4 (``multilabel`` for COCO).

    Example:
        >>> from limelight.data.samples import Sample
        >>> pictures = [Sample(ll.example_image(i), str(i), ("even", "odd")[i % 2]) for i in range(4)]
        >>> trained = ll.train_head("demo/resnet", pictures, "parity.safetensors", test=0, epochs=5)
        >>> ll.load(trained.path).labels
        ['even', 'odd']
    """
    plan = _read_schedule(schedule)
    if workers < 0:
        raise InvalidOption(f"workers = {workers}: expected from 0")
    out = Path(out)
    classifier = _resize_without_crop(as_classifier(model), resize)
    train, held_out, classes = _open(images, test, dataset, split, plan.seed)
    if not multilabel:
        _check_single([*train, *held_out])
    layer = find_last_layer(classifier, first_input(classifier, [train[0].image])[None])
    head = draw_linear(cast(nn.Linear, classifier.module.get_submodule(layer)).in_features, len(classes), plan.seed)
    _check_saving(_with_head(classifier, layer, head, classes, multilabel), out)
    folder = out.with_name(f"{out.name}.training")

    def features_of(pictures: Sequence[Picture], mirror: bool) -> Data:
        how: dict[str, Any] = {"batch_size": plan.batch_size, "workers": workers, "progress": progress}
        features = cache_features(classifier, layer, pictures, folder / "features", mirror=mirror, **how)
        return features, _truth(pictures, len(classes), multilabel)

    data = features_of(train, mirror), features_of(held_out, False)
    history, kept = fit(head.to(classifier.device), *data, plan, folder / "state.pt", progress)
    twin = _with_head(classifier, layer, head, classes, multilabel)
    return TrainedHead(twin, zoo.save(twin, out), history, kept, (len(train), len(held_out)))


def _read_schedule(given: Mapping[str, Any]) -> Schedule:
    known = [field.name for field in fields(Schedule)]
    for name in given:
        if name not in known:
            raise InvalidOption(f"train_head has no option {name!r}{nearest(name, known)}")
    return Schedule(**given)


def _resize_without_crop(classifier: Classifier, size: tuple[int, int] | None) -> Classifier:
    """Let a network get its pictures resized whatever their proportions, and be saved so."""
    if size is None:
        return classifier
    function, before = Preprocess(size, None, classifier.mean, classifier.std), classifier.inputs.function
    return classifier.with_preprocess(replace(before, function=function) if isinstance(before, Transform) else function)


def _open(
    images: Any, test: Any, dataset: str, split: str, seed: int
) -> tuple[list[Picture], list[Picture], list[str]]:
    """Return the pictures to train on, those to test with, and the names of the classes."""
    own = dataset == "folder"
    splits = () if own or dataset not in DATASETS else DATASETS[dataset].splits
    pictures, classes = open_labelled(images, dataset, None if own or dataset.startswith("wds:") else split)
    if test is None:
        test = next((one for one in splits if one != split), SHARE)
    if isinstance(test, int | float):
        if not 0 <= test < 1:
            raise InvalidOption(f"test = {test}: a share of the pictures is from 0 to below 1")
        train, held_out = hold_out(pictures, float(test), seed)
        return train, held_out, classes
    if own:
        return pictures, index_classes(as_samples(test), classes), classes
    return pictures, open_labelled(images, dataset, str(test))[0], classes


def _check_single(pictures: Sequence[Picture]) -> None:
    ambiguous = next((picture for picture in pictures if len(picture.classes) > 1), None)
    if ambiguous is not None:
        count = sum(len(picture.classes) > 1 for picture in pictures)
        raise InvalidOption(
            f"{count} of {len(pictures)} pictures have several classes, such as {ambiguous.name}; "
            "say multilabel=True (--multilabel), so that each class gets a probability of its own"
        )


def _truth(pictures: Sequence[Picture], classes: int, multilabel: bool) -> Tensor:
    """Return the class of each picture, (n,), or for several of them 1 where a class is there, (n, classes)."""
    if not multilabel:
        return torch.tensor([picture.classes[0] for picture in pictures], dtype=torch.long)
    there = torch.zeros(len(pictures), classes)
    for row, picture in zip(there, pictures, strict=True):
        row[list(picture.classes)] = 1
    return there


def _with_head(
    classifier: Classifier, layer: str, head: nn.Linear, classes: Sequence[str], multilabel: bool
) -> Classifier:
    """Return a network that differs from another one in its last layer and its classes."""
    module = duplicate(classifier.module)
    old = next(module.get_submodule(layer).parameters())
    put_part(module, layer, copy.deepcopy(head).to(old.device, old.dtype).requires_grad_(old.requires_grad))
    return Classifier(
        module,
        preprocess=classifier.inputs.function,
        labels=list(classes),
        mean=classifier.mean,
        std=classifier.std,
        size=classifier.input_size,
        layer=classifier.layer,
        reshape=classifier._reshape,  # pyright: ignore[reportPrivateUsage]
        multilabel=multilabel,
        name=classifier.name,
    )


def _check_saving(classifier: Classifier, out: Path) -> None:
    """Save and load the network before it is trained for what may be hours.

    Raises:
        UnsupportedModel: it can't be.
        InvalidOption: the file can't be written.
    """
    with files.refusing(InvalidOption, f"{out} can't be written"):
        out.parent.mkdir(parents=True, exist_ok=True)
        trial = tempfile.TemporaryDirectory(dir=out.parent, prefix=".")
    with trial as folder:
        zoo.load(zoo.save(classifier, Path(folder) / out.name), trust=True)
