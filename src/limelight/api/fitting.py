"""Fit a linear layer to features by stochastic gradient descent; a training that was stopped goes on."""

import hashlib
import math
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from limelight import files
from limelight.errors import InvalidOption, NonFinite, UnsupportedModel
from limelight.progress import Forecast, show_progress
from limelight.zoo.weights import open_archive

Views = Float[Tensor, "n views features"]
Data = tuple[Views, Tensor]
"""Features, and the truth: classes (n,), or which of several there are (n, classes)."""


@dataclass(frozen=True)
class Schedule:
    """How a last layer is trained: stochastic gradient descent whose rate falls by steps.

    The defaults are those of Ha and Youn 2022 (95 epochs; a rate of 0.01, a tenth of it after every 30); what they
    leave open, which is batch, momentum and decay of weights, is ours.

    Attributes:
        epochs: passes over all pictures.
        rate: learning rate, above 0.
        decay: what the rate is multiplied by at each step, above 0 and at most 1.
        decay_every: epochs between two steps.
        momentum: of the gradient, from 0 to below 1.
        weight_decay: of the weights, from 0.
        batch_size: pictures of a step.
        keep: the layer of the ``last`` epoch, or of the ``best``: that with the least loss in the test.
        seed: draws the first weights, the order of the pictures, which are mirrored and which are held out.
    """

    epochs: int = 95
    rate: float = 0.01
    decay: float = 0.1
    decay_every: int = 30
    momentum: float = 0.9
    weight_decay: float = 0.0
    batch_size: int = 64
    keep: Literal["last", "best"] = "last"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "decay_every", "batch_size", "seed"):
            if type(getattr(self, name)) is not int:
                raise InvalidOption(f"{name} = {getattr(self, name)!r}: expected a whole number")
        right = {
            "epochs": (self.epochs >= 1, "from 1"),
            "rate": (0 < self.rate < math.inf, "above 0"),
            "decay": (0 < self.decay <= 1, "above 0 and at most 1"),
            "decay_every": (self.decay_every >= 1, "from 1"),
            "momentum": (0 <= self.momentum < 1, "from 0 to below 1"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "from 0"),
            "batch_size": (self.batch_size >= 1, "from 1"),
            "keep": (self.keep in ("last", "best"), "'last' or 'best'"),
            "seed": (self.seed >= 0, "from 0"),
        }
        for name, (fits, range_) in right.items():
            if not fits:
                raise InvalidOption(f"{name} = {getattr(self, name)!r}: expected {range_}")


@dataclass(frozen=True)
class Epoch:
    """What came of one pass over all pictures; NaN for what there is not.

    Attributes:
        epoch: its number, from 1.
        rate: the learning rate.
        loss: mean over the pictures that were trained on, while the layer changed.
        test_loss: of the pictures that were held out; so are the others.
        accuracy: share of them whose class has the highest score; of one class per picture.
        precision: share of the classes said to be there (probability above one half) that are; of several.
        recall: share of the classes that are there that are said to be; of several.
    """

    epoch: int
    rate: float
    loss: float
    test_loss: float = math.nan
    accuracy: float = math.nan
    precision: float = math.nan
    recall: float = math.nan


def fit(
    head: nn.Linear, train: Data, test: Data, schedule: Schedule, state: Path, progress: bool | None = None
) -> tuple[list[Epoch], int]:
    """Train a linear layer, and leave in it the weights that are to be kept.

    Several classes per picture are learned by binary cross-entropies of sigmoids, one by the cross-entropy of a
    softmax. What is drawn in an epoch depends on the seed and its number alone, so that a training that goes on from a
    file is the same as one in one go.

    Args:
        head: on the device where it is trained.
        train: what it is trained on.
        test: what it is tested with; may be empty.
        schedule: of the training.
        state: the file of the training's state, read if it is of this training, and written after each epoch.
        progress: see ``limelight.progress``.

    Returns:
        What came of each epoch, and the number of that whose weights the layer has.

    Raises:
        NonFinite: the loss grew beyond all numbers.
    """
    if schedule.keep == "best" and not len(test[0]):
        raise InvalidOption("keep='best' needs pictures to test with; leave test=0 out, or keep the last epoch")
    loss_of = nn.BCEWithLogitsLoss() if train[1].ndim == 2 else nn.CrossEntropyLoss()
    optimiser = torch.optim.SGD(
        head.parameters(), lr=schedule.rate, momentum=schedule.momentum, weight_decay=schedule.weight_decay
    )
    scheduler = torch.optim.lr_scheduler.StepLR(optimiser, schedule.decay_every, schedule.decay)
    key = _key(head, train, test, schedule)
    history, best = list[Epoch](), None
    saved = _read(state, key, schedule.epochs, head.weight.device)
    if saved is not None:
        history, best = [Epoch(**epoch) for epoch in saved["history"]], saved["best"]
        for part, name in ((head, "head"), (optimiser, "optimiser"), (scheduler, "scheduler")):
            part.load_state_dict(saved[name])
    with show_progress("training", progress) as watch, torch.inference_mode(False), torch.enable_grad():
        while len(history) < schedule.epochs:
            number, rate, begun = len(history) + 1, scheduler.get_last_lr()[0], time.perf_counter()
            total = torch.zeros((), device=head.weight.device)
            for features, truth in _batches(train, schedule, number, head.weight.device):
                optimiser.zero_grad()
                loss = loss_of(head(features), truth)
                loss.backward()
                optimiser.step()  # pyright: ignore[reportUnknownMemberType]
                total += loss.detach() * len(truth)
            scheduler.step()
            mean = float(total) / len(train[0])
            if not math.isfinite(mean):
                raise NonFinite(f"the loss of epoch {number} is {mean}; the rate of {rate:g} may be too high")
            least = min((epoch.test_loss for epoch in history), default=math.inf)
            history.append(replace(_test(head, test, loss_of), epoch=number, rate=rate, loss=mean))
            if schedule.keep == "best" and history[-1].test_loss < least:
                best = {name: weights.clone() for name, weights in head.state_dict().items()}
            _write(state, key, history, best, head=head, optimiser=optimiser, scheduler=scheduler)
            seconds = (time.perf_counter() - begun) * (schedule.epochs - number + 1)
            watch.expect(lambda left=schedule.epochs - number + 1, took=seconds: Forecast(left, took))
            watch.advance(1)
    if best is None:
        return history, len(history)
    head.load_state_dict(best)
    return history, min(history, key=lambda epoch: epoch.test_loss).epoch


def _batches(train: Data, schedule: Schedule, epoch: int, device: torch.device) -> Iterator[Data]:
    """Shuffle the pictures, and take one view of each, in batches."""
    draws, (views, truth) = torch.Generator().manual_seed(schedule.seed * 1_000_003 + epoch), train
    for rows in torch.split(torch.randperm(len(views), generator=draws), schedule.batch_size):
        drawn = torch.randint(views.shape[1], (len(rows),), generator=draws)
        yield views[rows, drawn].to(device), truth[rows].to(device)


def _test(head: nn.Linear, test: Data, loss_of: nn.Module) -> Epoch:
    """Test with the pictures themselves, not their mirror images."""
    if not len(test[0]):
        return Epoch(0, 0, 0)
    with torch.no_grad():
        scores = torch.cat([head(part[:, 0].to(head.weight.device)).cpu() for part in torch.split(test[0], 4096)])
    truth, loss = test[1], float(loss_of(scores, test[1]))
    if truth.ndim == 1:
        return Epoch(0, 0, 0, loss, accuracy=float((scores.argmax(1) == truth).double().mean()))
    said = scores > 0
    right = float((said & (truth > 0)).sum())
    there, named = float(truth.sum()), float(said.sum())
    return Epoch(
        0,
        0,
        0,
        loss,
        precision=right / named if named else math.nan,
        recall=right / there if there else math.nan,
    )


# -- the state of a training -----------------------------------------------------------------------------------------


def _key(head: nn.Linear, train: Data, test: Data, schedule: Schedule) -> str:
    """Tell trainings apart: by their classes, their data and all of their schedule but how long it is."""
    digest = hashlib.sha256(f"{tuple(head.weight.shape)} {asdict(schedule) | {'epochs': 0}}".encode())
    for tensor in (*train, *test):
        digest.update(f"{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def _write(path: Path, key: str, history: list[Epoch], best: Any, **parts: Any) -> None:
    content = {"key": key, "history": [asdict(epoch) for epoch in history], "best": best}
    with files.whole(path) as draft:
        torch.save(content | {name: part.state_dict() for name, part in parts.items()}, draft)


def _read(path: Path, key: str, epochs: int, device: torch.device) -> Any:
    """Return the state in a file if it is one of this training, not yet beyond its end; else None: it begins anew."""
    if not files.exists(path):
        return None
    with suppress(UnsupportedModel), open_archive(path, f"{path} is damaged") as file:
        saved: Any = torch.load(file, map_location=device, weights_only=True)
        if saved["key"] == key and len(saved["history"]) <= epochs:
            return saved
    return None
