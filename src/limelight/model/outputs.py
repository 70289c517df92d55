"""What a network returns, and how it is read: class scores, or any structure that a function of the user's takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from limelight.errors import UnsupportedModel
from limelight.model.boundary import tensors_of
from limelight.shapes import Index, Logits, Scores

ScoreKind = Literal["logit", "prob", "logprob", "margin"]
"""Which score of a class is explained; see ``Outputs.score``."""
NAMES = ("logits", "out", "scores")
"""Under which a mapping may hold the class scores."""


@dataclass(frozen=True)
class Outputs:
    """How a network's class scores are read.

    Attributes:
        probabilities: whether it returns probabilities, which are turned back to logits.
        multilabel: whether the classes are independent, so that a probability is a sigmoid and no softmax.
    """

    probabilities: bool = False
    multilabel: bool = False

    def logits(self, output: Any, n: int) -> Logits:
        """Return the logits (n, classes) in whatever the network returned for n images.

        Raises:
            UnsupportedModel: there are no class scores in it, or not one row per image.
        """
        values = class_scores(output, n)
        if self.probabilities:
            binary = self.multilabel or values.shape[1] == 1
            tiny = torch.finfo(values.dtype).tiny
            values = values.logit(1e-7) if binary else values.clamp_min(tiny).log()
        if values.shape[1] == 1:  # softmax of (-z/2, z/2) is (1 - sigmoid z, sigmoid z)
            values = torch.cat([-values / 2, values / 2], 1)
        return values

    def numbers(self, output: Any, n: int) -> list[Tensor]:
        """Return the logits in what the network returned for n images; where there are none, see ``numbers``."""
        try:
            return [self.logits(output, n)]
        except UnsupportedModel:
            return numbers(output, n)

    def score(self, logits: Logits, index: Index, kind: ScoreKind) -> Scores:
        """Return the score of one class per row.

        Args:
            logits: (m, classes).
            index: the classes, (m,).
            kind: ``logit``; ``prob``, the softmax (sigmoid for multi-label models); ``logprob``, its logarithm;
                ``margin``, the logit minus the largest other logit.
        """
        if kind == "margin":
            others = logits.scatter(1, index[:, None], -torch.inf).amax(1)
            return logits.gather(1, index[:, None])[:, 0] - others
        if kind == "logprob":
            logits = torch.nn.functional.logsigmoid(logits) if self.multilabel else logits.log_softmax(1)
        elif kind == "prob":
            logits = logits.sigmoid() if self.multilabel else logits.softmax(1)
        return logits.gather(1, index[:, None])[:, 0]


def find_outputs(
    module: nn.Module,
    last_module: str,
    looks_like_probabilities: bool,
    outputs: Literal["logits", "probabilities"] | None,
    multilabel: bool | None,
) -> Outputs:
    """Return how class scores are read: as it was said, or else as a pass has shown it.

    Args:
        module: the network, which may tell its kind of problem.
        last_module: kind of the module that ran last; "" if no pass was made.
        looks_like_probabilities: whether the scores of a pass add up to 1.
        outputs: what the user says that they are.
        multilabel: what the user says of the classes.
    """
    sigmoid = last_module == "Sigmoid"
    config = getattr(module, "config", None)
    seen = sigmoid or getattr(config, "problem_type", None) == "multi_label_classification"
    independent = seen if multilabel is None else multilabel
    if outputs is not None:
        return Outputs(outputs == "probabilities", independent)
    if last_module == "LogSoftmax":  # log-probabilities are logits
        return Outputs(False, independent)
    return Outputs(sigmoid or last_module == "Softmax" or looks_like_probabilities, independent)


def class_scores(output: Any, n: int) -> Tensor:
    """Return the class scores in whatever a network returned for n images, as they are: (n, classes).

    Raises:
        UnsupportedModel: there are none, or not one row per image.
    """
    scores: Any = output
    if hasattr(output, "logits"):
        scores = output.logits
    elif isinstance(output, Mapping):
        named = cast(Mapping[Any, Any], output)
        scores = next((named[k] for k in NAMES if k in named), None)
        if scores is None:
            scores = next(iter(named.values()), None)
    elif isinstance(output, list | tuple):
        entries = cast(Sequence[Any], output)
        scores = entries[0] if entries else None
        if isinstance(scores, Tensor) and not scores.ndim and len(entries) > 1:
            scores = None  # a loss, beside whatever it is the loss of
    if isinstance(scores, Tensor):
        if scores.is_inference():  # which could not be written to
            scores = scores.clone()
        if scores.ndim == 4 and scores.shape[2:] == (1, 1):
            scores = scores.flatten(1)
        if scores.ndim < 2 and n == 1:  # a module that squeezes
            scores = scores.reshape(1, -1)
        if scores.ndim == 1:
            scores = scores[:, None]
    if not isinstance(scores, Tensor) or scores.ndim != 2:
        given = cast(Any, output) if scores is None else scores
        what = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
        raise UnsupportedModel(
            f"the model returns {what}, not class scores (n, classes); give target= a function of its outputs"
        )
    if scores.dtype == torch.bool or scores.is_complex():
        raise UnsupportedModel(
            f"the model's scores are {str(scores.dtype).removeprefix('torch.')}; class scores are real numbers"
        )
    if len(scores) != n:
        raise UnsupportedModel(
            f"the model answers {len(scores)} rows of scores for {n} images; it must give one per image"
        )
    return scores


def numbers(output: Any, n: int) -> list[Tensor]:
    """Return the class scores in what a network returned for n images; where there are none, other real numbers.

    These are the first map, be it of a segmenter that returns several, or else all.

    Raises:
        UnsupportedModel: there are no numbers in it.
    """
    try:
        return [class_scores(output, n)]
    except UnsupportedModel:
        tensors = _real(output)
        if not tensors:
            raise
        return next(([t] for t in tensors if t.ndim > 2 and len(t) == n), tensors)


def of_first(output: Any, n: int) -> list[Tensor]:
    """Return the numbers about the first of n images: their first rows, or those in the first entry of a list.

    What has no row for each image, such as a loss, is about none.
    """
    if isinstance(output, list | tuple):
        entries = cast(Sequence[Any], output)
        if len(entries) == n and not isinstance(entries[0], Tensor):
            return _real(entries[0])
    return [t[:1] for t in numbers(output, n) if t.ndim and len(t) == n]


def same_but_for_rounding(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    """Tell whether two networks returned the same numbers."""
    return [t.shape for t in ours] == [t.shape for t in theirs] and all(
        torch.allclose(a.double(), b.double(), rtol=1e-3, atol=1e-3 * float(b.abs().max()))
        for a, b in zip(ours, theirs, strict=True)
        if b.numel()
    )


def _real(output: Any) -> list[Tensor]:
    return [t for t in tensors_of(output) if t.is_floating_point()]
