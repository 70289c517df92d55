"""Explain the same pictures again and again while a network learns."""

import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn

from limelight.api.pictures import as_input, origin_of
from limelight.api.targets import parse_targets, read_targets
from limelight.api.truth import truth_of
from limelight.callbacks.loggers import Files
from limelight.callbacks.record import Record
from limelight.callbacks.undisturbed import same_draws, undisturbed
from limelight.data.collect import as_samples
from limelight.engine.method import Method, as_method
from limelight.engine.run import run
from limelight.errors import InvalidImage, InvalidOption, NonFinite, WatchWarning, show
from limelight.files import reason_of
from limelight.model.classifier import Classifier, as_classifier
from limelight.model.parts import unwrap
from limelight.ops.arrays import floats
from limelight.ops.similarity import spearman
from limelight.results.explanation import Explanation, explanations
from limelight.results.tables import Results
from limelight.scoring.evaluate import as_list, columns, evaluate_batch, label_each
from limelight.scoring.metric import Metric, as_metric

Log = Callable[[Record], Any]
"""Writes a record wherever it goes."""

NOTICED = 0.5
"""Seconds below which no record is too long, however short the epochs of a trial are."""


class Watch:
    """Explain the same pictures every so many epochs, and say how the maps change.

    The training goes on as if nobody had looked: modes, weights, gradients (also those that are None), buffers, hooks
    and the generators of random numbers are afterwards what they were. Maps are made outside of autocast, in the
    weights' own type. Of several processes the first one explains, with its own copy of the network, and the others go
    on. What fails is a ``WatchWarning`` of one line, and the training goes on.

    Args:
        pictures: whatever ``evaluate`` takes: a folder, a list of paths or pictures, normalised tensors (n, 3, H, W).
        targets: a class, one per picture, ``"label"`` for the true ones, or a function of the network's outputs. None
            for the predicted class, which may be another one in every epoch; then the maps change with it.
        method: a name, or a method.
        metrics: names or metrics that judge every map.
        every: how many epochs lie between two records; those are recorded whose number it divides.
        log: where records go: a folder (see ``Files``), or functions of a ``Record``, such as ``TensorBoard()``.
        classifier: makes of the network what is explained, ``lambda net: ll.Classifier(net, labels=…, mean=…)``, or
            finds it in what is trained, ``lambda lit: lit.net``. None for ``limelight.Classifier`` of all of it.
        most_share: of the training's time; where a record takes more, and half a second, a ``WatchWarning`` says so
            once.
        options: of the method.

    Raises:
        LimelightError: something is given that can't be, whatever the network.

    Example:
        >>> from limelight.callbacks import Watch
        >>> convolution, head = torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(144, 2)
        >>> net = torch.nn.Sequential(convolution, torch.nn.ReLU(), torch.nn.Flatten(), head)
        >>> watch = Watch(torch.randn(2, 3, 8, 8), [0, 1], every=2, most_share=1)
        >>> for epoch in range(3):  # each of them would train the network
        ...     record = watch(net, epoch)
        ...     print(epoch, record and record.rank_correlations)
        0 (nan, nan)
        1 None
        2 (1.0, 1.0)
    """

    def __init__(
        self,
        pictures: Any,
        targets: Any = None,
        *,
        method: str | Method = "grad-cam",
        metrics: str | Metric | Sequence[str | Metric] = (),
        every: int = 1,
        log: str | Path | Log | Iterable[str | Path | Log] = (),
        classifier: Callable[[Any], Classifier | nn.Module] | None = None,
        most_share: float = 0.05,
        **options: Any,
    ) -> None:
        self.samples = as_samples(pictures)
        if not self.samples:
            raise InvalidImage("the list of pictures is empty")
        if targets != "label" if isinstance(targets, str) else True:
            parse_targets(self.samples, targets)
        if type(every) is not int or every < 1:
            raise InvalidOption(f"every = {show(every)}: expected a number of epochs, from 1")
        if not most_share > 0:
            raise InvalidOption(f"most_share = {show(most_share)}: expected a share above 0, such as 0.05")
        if classifier is not None and not callable(classifier):
            raise InvalidOption(f"classifier = {show(classifier)}: expected a function of the network; see Watch")
        self.targets, self.every, self.most_share = targets, every, most_share
        self.method = as_method(method, **options)
        self.metrics = label_each([as_metric(m) for m in as_list(metrics, "metrics")]) if metrics else {}
        self.logs = _read_logs(log)
        self.failures = 0
        self._classifier = classifier
        self._maps: Tensor | None = None
        self._since = nan
        self._share_is_said = False

    def __call__(self, model: nn.Module | Classifier, epoch: int, *, log: Sequence[Log] = ()) -> Record | None:
        """Explain the pictures, if it is the epoch's turn, and log what comes of them.

        Args:
            model: the network as it is, wrapped or not.
            epoch: its number.
            log: further functions of the record, for this call.

        Returns:
            The record; None in epochs between, and in all processes but the first.
        """
        if epoch % self.every or not _is_first():
            return None
        with same_draws():
            start, logs = time.perf_counter(), [*self.logs, *log]
            record = self._record(model, epoch, drawn=bool(logs))
            timed = self._take_time(record, start)
            for one in logs:
                try:
                    one(timed)
                except Exception as error:  # a full disk, a server that does not answer
                    self._fail(f"epoch {epoch}: {type(one).__name__} could not log: {reason_of(error)}")
            record = replace(self._take_time(record, start), failures=self.failures)
            self._since = time.perf_counter()
        if record.share > self.most_share and record.seconds > NOTICED and not self._share_is_said:
            self._share_is_said = True
            _warn(
                f"epoch {epoch}: explaining took {record.seconds:z.2g} s, {record.share:z.0%} of the training's time, "
                f"more than {self.most_share:z.0%}; raise every={self.every} or most_share, or watch fewer pictures"
            )
        return record

    def check(self, model: nn.Module | Classifier) -> None:
        """Explain the pictures once before the training, so that what is wrong is refused now and not after an epoch.

        Callbacks of trainers do so. The first record's share of time counts from here.

        Raises:
            LimelightError: the network lacks the class, the layer or whatever else is needed; a picture can't be read.
        """
        if _is_first():
            with same_draws(), suppress(NonFinite):  # which may come to an end in training
                made, _ = self._explain(model)
                maps = _stack(made)
                spearman(maps, maps)  # imports SciPy, and the picture fonts, in no epoch's time
                _ = self.logs and Record(-1, tuple(made)).picture
            self._since = time.perf_counter()

    def _record(self, model: nn.Module | Classifier, epoch: int, *, drawn: bool) -> Record:
        """Return what comes of the pictures, with its picture drawn if somebody is to log it; or what went wrong."""
        try:
            made, results = self._explain(model)
            maps = _stack(made)
            known = self._maps is not None and self._maps.shape == maps.shape
            similar = spearman(maps, cast(Tensor, self._maps)) if known else torch.full((len(maps),), nan)
            record = Record(epoch, tuple(made), results, tuple(floats(similar)), failures=self.failures)
            _ = drawn and record.picture
        except Exception as error:  # whatever is wrong, it is not worth the training
            reason = reason_of(error)
            self._fail(f"epoch {epoch}: the pictures could not be explained: {reason}")
            return Record(epoch, failure=reason, failures=self.failures)
        self._maps = maps
        empty = [e.reason for e in made if e.degenerate]
        if empty:
            _warn(f"epoch {epoch}: {len(empty)} of {len(made)} maps are empty: {empty[0]}")
        return record

    def _explain(self, model: nn.Module | Classifier) -> tuple[list[Explanation], Results]:
        """Return the explanation of each picture, and the metrics' numbers."""
        module = model.module if isinstance(model, Classifier) else unwrap(model)
        with undisturbed(module):
            given = model if isinstance(model, Classifier) or self._classifier is None else self._classifier(module)
            classifier = as_classifier(given)
            inputs = [as_input(classifier, s.image) for s in self.samples]
            if len({x.shape for x in inputs}) > 1:
                raise InvalidImage("the pictures are inputs of several sizes; give those of one size to each Watch")
            x, name = torch.stack(inputs), self.method.name
            asked = read_targets(classifier, self.samples, self.targets)
            truth = truth_of(classifier, self.samples, x, self.metrics.values())
            saliencies = run([self.method], classifier, x, asked)
            made = [
                replace(e, **origin_of(classifier, s.image))
                for e, s in zip(explanations(saliencies[0], classifier, x, name), self.samples, strict=True)
            ]
            names, method = [s.name for s in self.samples], {name: self.method}
            rows = evaluate_batch(classifier, x, asked, method, self.metrics, truth, names, saliencies=saliencies)
            return made, Results(rows, columns(self.metrics, of_function=callable(asked)))

    def _take_time(self, record: Record, start: float) -> Record:
        now = time.perf_counter()
        return replace(record, seconds=now - start, share=(now - start) / (now - self._since))

    def _fail(self, what: str) -> None:
        self.failures += 1
        _warn(what)


def _stack(made: Sequence[Explanation]) -> Tensor:
    """Return the maps in memory, (n, *space)."""
    return torch.stack([e.map.cpu() for e in made])


def _warn(what: str) -> None:
    warnings.warn(" ".join(what.split()), WatchWarning, stacklevel=3)


def _is_first() -> bool:
    """Tell whether this process is the only one, or the first of several that train together."""
    return not (distributed.is_available() and distributed.is_initialized() and distributed.get_rank())


def _read_logs(log: Any) -> list[Log]:
    """Return the functions that write a record; a folder is written by ``Files``.

    Raises:
        InvalidOption: one is neither.
    """
    logs: list[Log] = []
    for one in [log] if callable(log) or isinstance(log, str | Path) else log:
        if not callable(one) and not isinstance(one, str | Path):
            raise InvalidOption(
                f"log = {show(one)}: expected a folder, or a function of a Record, such as TensorBoard()"
            )
        logs.append(one if callable(one) else Files(one))
    return logs
