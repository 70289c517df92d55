"""Which scalar is explained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from limelight.errors import InvalidOption, UnknownTarget, nearest
from limelight.shapes import Index, Logits, Scores

ScoreKind = Literal["logit", "prob", "logprob", "margin"]
TargetLike = None | int | str | Sequence[int | str] | Tensor | Callable[[Any], Tensor]


@dataclass(frozen=True)
class Target:
    """The class of every image of a batch, or a function of the model's outputs.

    Attributes:
        index: class of each image, -1 where a function is explained.
        function: takes the module's own outputs for m inputs and returns m scores.
    """

    index: Index
    function: Callable[[Any], Tensor] | None = None

    def __getitem__(self, images: slice) -> "Target":
        return Target(self.index[images], self.function)

    def repeated(self, times: int) -> "Target":
        """Return the target for inputs that come ``times`` per image."""
        return Target(self.index.repeat_interleave(times), self.function)


def class_scores(logits: Logits, index: Index, kind: ScoreKind, multilabel: bool = False) -> Scores:
    """Return the score of one class per row.

    Args:
        logits: shape (m, classes).
        index: shape (m,).
        kind: ``logit``; ``prob``, the softmax (sigmoid for multi-label models); ``logprob``, its logarithm;
            ``margin``, the logit minus the largest other logit.
        multilabel: whether classes are independent.
    """
    if kind == "margin":
        others = logits.scatter(1, index[:, None], -torch.inf).amax(1)
        return logits.gather(1, index[:, None])[:, 0] - others
    if kind == "logprob":
        logits = torch.nn.functional.logsigmoid(logits) if multilabel else logits.log_softmax(1)
    elif kind == "prob":
        logits = logits.sigmoid() if multilabel else logits.softmax(1)
    return logits.gather(1, index[:, None])[:, 0]


def resolve(target: TargetLike, n: int, classes: int, labels: Sequence[str] | None) -> Index | None:
    """Turn what the user said into one class index per image; None if the prediction is meant.

    Raises:
        UnknownTarget: an index outside [0, classes), or a name that is no label.
        InvalidOption: not one target per image.
    """
    if target is None:
        return None
    if isinstance(target, int | str):
        given: list[Any] = [target] * n
    elif isinstance(target, Tensor):
        given = target.flatten().tolist() * (n if target.ndim == 0 else 1)
    elif isinstance(target, Sequence):
        given = list(target)
    else:
        raise InvalidOption(
            f"target is a {type(target).__name__}; give a class index, a label, one of them per image, "
            "or a function of the model's outputs"
        )
    if len(given) != n:
        raise InvalidOption(f"{len(given)} targets for {n} images; give one for all, or one for each")
    return torch.tensor([_class(t, classes, labels) for t in given])


def _class(target: Any, classes: int, labels: Sequence[str] | None) -> int:
    if isinstance(target, str):
        if labels and target in labels:
            return list(labels).index(target)
        if target.lstrip("-").isdigit():
            target = int(target)
        elif not labels:
            raise UnknownTarget(f"target {target!r}: this model has no label names; give an index below {classes}")
        else:
            lower = [label.lower() for label in labels]
            if lower.count(target.lower()) == 1:
                return lower.index(target.lower())
            raise UnknownTarget(f"there is no class {target!r} among {classes}{nearest(target, labels)}")
    if isinstance(target, bool) or not isinstance(target, int):
        raise InvalidOption(f"target {target!r} is neither a class index nor a label")
    if not 0 <= target < classes:
        raise UnknownTarget(f"target {target} is out of range; the model has classes 0 to {classes - 1}")
    return target
