"""Mosaics for the grid pointing game."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limelight.api.forecasting import forecast
from limelight.api.pictures import as_input
from limelight.api.targets import true_classes
from limelight.api.unreadable import Unreadable
from limelight.data.collect import as_samples, label_samples
from limelight.data.samples import Sample
from limelight.engine.passes import Passes
from limelight.errors import InvalidOption
from limelight.model.classifier import Classifier, as_classifier
from limelight.model.cost import Meter
from limelight.model.targets import Targets
from limelight.ops.arrays import integers
from limelight.progress import Part, show_progress
from limelight.shapes import Images, Index


def mosaics(
    classifier: Classifier | nn.Module | str | Sequence[Classifier],
    images: Any,
    *,
    n: int = 2,
    count: int = 500,
    confidence: float = 0.99,
    seed: int = 0,
    strict: bool = False,
    progress: bool | None = None,
) -> list[Sample]:
    """Build n x n mosaics of pictures about which the model is sure and right, for the metric ``grid-pg``.

    All classes in a mosaic are distinct, and every picture is used at most once. A mosaic is one picture to
    the model, so the model must take inputs of n times its usual size.

    Args:
        classifier: the model, or several that all have to be sure.
        images: labelled pictures, see ``evaluate``.
        n: pictures per side.
        count: mosaics; fewer where the pictures don't suffice.
        confidence: least probability of the true class.
        seed: of the drawing.
        strict: refuse a picture that can't be read; else it is left out, with a warning.
        progress: as in ``explain``.

    Returns:
        A sample per cell: the mosaic as the network's input, the cell's class as label, the cell as mask.

    Raises:
        InvalidOption: pictures without label, of several sizes, or too few sure ones for a single mosaic.

    Source: Böhle et al. 2021, section 4.

    Example:
        >>> from limelight.data.synthetic import test_split
        >>> cells = ll.mosaics("demo/resnet", test_split(12), count=1, confidence=0.5)
        >>> len(cells), cells[0].image.shape  # four cells of one mosaic
        (4, torch.Size([3, 256, 256]))
    """
    given = [*classifier] if isinstance(classifier, Sequence) and not isinstance(classifier, str) else [classifier]
    models = [as_classifier(c) for c in given]
    samples = label_samples(as_samples(images))
    unknown = next((s.name for s in samples if s.label is None), None)
    if unknown is not None:
        raise InvalidOption(f"mosaics need the true class of every picture; that of {unknown} is not known")
    unreadable = Unreadable(strict)
    tried = [unreadable.try_read(s.name, lambda s=s: as_input(models[0], s.image)) for s in samples]
    unreadable.tell(len(samples))
    samples = [s for s, x in zip(samples, tried, strict=True) if x is not None]
    inputs = torch.stack(_same_size([x for x in tried if x is not None]))
    models[0].trace(inputs[:1].to(models[0].device))  # counts the classes
    labels = true_classes(models[0], samples)
    sure = torch.ones(len(samples), dtype=torch.bool)

    with show_progress("looking for sure pictures", progress) as watch:
        for model in models:
            x, n_all = inputs[:1].to(model.device), len(samples) * len(models)
            watch.expect(lambda m=model, x=x, n=n_all: forecast(m, x, [], more=[Part("pictures", n, n)]))
            logits = _classify(model, inputs)
            sure &= (logits.argmax(1) == labels) & (logits.softmax(1).gather(1, labels[:, None])[:, 0] >= confidence)
    cells: list[Sample] = []
    for number, chosen in enumerate(_draw(labels, sure, n * n, count, seed)):
        rows = [torch.cat([inputs[i] for i in chosen[r * n : (r + 1) * n]], 2) for r in range(n)]
        picture = torch.cat(rows, 1)
        height, width = inputs.shape[-2:]
        for cell, i in enumerate(chosen):
            mask = np.zeros(tuple(picture.shape[-2:]), dtype=bool)
            top, left = cell // n * height, cell % n * width
            mask[top : top + height, left : left + width] = True
            name = f"mosaic-{number:04d}/{cell // n}-{cell % n}"
            cells.append(Sample(picture, name, label=int(labels[i]), mask=mask))
    if not cells:
        raise InvalidOption(
            f"{int(sure.sum())} of {len(samples)} pictures are recognised with at least {confidence:g}, of "
            f"{len(set(integers(labels[sure])))} classes; a mosaic takes {n * n} classes"
        )
    return cells


def _same_size(inputs: list[Tensor]) -> list[Tensor]:
    sizes = {tuple(x.shape) for x in inputs}
    if len(sizes) > 1:
        raise InvalidOption(f"the cells of a mosaic must have one size, got {sorted(sizes)}")
    return [x.cpu() for x in inputs]


def _classify(model: Classifier, inputs: Tensor) -> Tensor:
    """Return the logits of pictures that wait in memory, (n, classes), there too."""

    def fetch(_images: Index, numbers: Index) -> Images:
        return inputs[numbers.cpu()].to(model.device)

    first = model.to_batch(inputs[:1].to(model.device))
    return Passes(model, first, Targets(), Meter()).logits(fetch, len(inputs))[0].cpu()


def _draw(labels: Tensor, sure: Tensor, cells: int, count: int, seed: int) -> list[list[int]]:
    """Draw groups of pictures of distinct classes, none twice, from the classes that have most left."""
    rng = np.random.default_rng(seed)
    left: dict[int, list[int]] = {}
    for i in rng.permutation(np.flatnonzero(sure.numpy())).tolist():
        left.setdefault(int(labels[i]), []).append(i)
    groups: list[list[int]] = []
    while len(groups) < count:
        classes = [c for c in rng.permutation(sorted(left)).tolist() if left[c]]
        if len(classes) < cells:
            break
        classes.sort(key=lambda c: -len(left[c]))  # stable: among equals the order is random
        groups.append([left[c].pop() for c in rng.permutation(classes[:cells]).tolist()])
    return groups
