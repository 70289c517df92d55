"""Which scalar is explained."""

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, cast, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from limelight.errors import MOST_SHOWN, InvalidOption, UnknownTarget, nearest, shown
from limelight.shapes import Index, Logits, Scores
from limelight.text import MOST_DIGITS, whole_number

ScoreKind = Literal["logit", "prob", "logprob", "margin"]


@runtime_checkable
class Column(Protocol):
    """What holds a value per image and becomes an array, such as a Series, an Index or a Categorical of pandas."""

    def __len__(self) -> int: ...
    def __array__(self, *args: Any, **kwargs: Any) -> npt.NDArray[Any]: ...


TargetLike = (
    None
    | int
    | np.integer[Any]
    | str
    | Sequence[Any]
    | npt.NDArray[np.generic]
    | Tensor
    | Column
    | Callable[[Any], Tensor]
)
"""What a user may say: nothing for the predicted class; an index or a label, as Python, NumPy, pandas or PyTorch write
it; one of them per image; or a function of the module's outputs."""
Asked = None | list[int | str] | Callable[[Any], Tensor]
"""What is left of that once it is understood: nothing, a class per image, or a function."""

P = ParamSpec("P")
R = TypeVar("R")


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


def either_name(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function take its ``target`` under the name ``targets`` too, or the other way round.

    A function without ``**options`` names both for type checkers, its own first; it never sees the other.
    """
    names = list(inspect.signature(function).parameters)
    own = next(name for name in names if name in ("target", "targets"))
    other = "targets" if own == "target" else "target"

    @functools.wraps(function)
    def renamed(*args: P.args, **kwargs: P.kwargs) -> R:
        if other in kwargs:
            if own in kwargs or len(args) > names.index(own):
                raise InvalidOption(f"{own}= and {other}= are two names of one thing; give one of them")
            kwargs[own] = kwargs.pop(other)
        return function(*args, **kwargs)

    return renamed


def understood(target: Any, n: int) -> Asked:
    """Return one class index or label per image for whatever a user may give as target; None and functions as they are.

    Args:
        target: see ``TargetLike``; also a NumPy or pandas scalar, an array or tensor of any kind of whole numbers or
            labels, a pandas Series, Index or Categorical, a range.
        n: number of images.

    Raises:
        InvalidOption: something else, not one per image, or an entry that is neither a whole number nor a label.
    """
    if target is None or (callable(target) and not isinstance(target, Tensor | np.ndarray)):
        return cast(Asked, target)
    if isinstance(target, str | int | float | np.generic):
        return [_entry(target)] * n
    if isinstance(target, dict | set | frozenset | bytes) or not hasattr(target, "__len__"):
        raise InvalidOption(
            f"target is a {type(target).__name__}; give a class index, a label, one of them per image, "
            "or a function of the model's outputs"
        )
    if isinstance(target, Tensor):
        plain = (target if target.layout == torch.strided else target.to_dense()).detach().cpu()
        # Of bfloat16 and the like NumPy has none; whatever floats they are, they are told of as such below.
        values: Any = (plain.double() if plain.is_floating_point() else plain).numpy()
    elif isinstance(target, list | tuple | range):  # whose entries may be of several kinds
        values = target
    else:
        values = np.asarray(target)
    if isinstance(values, np.ndarray):
        if values.ndim == 0:
            return [_entry(values[()])] * n
        if values.size != max(values.shape):
            raise InvalidOption(
                f"targets of shape {values.shape} for {n} images; give one class per image, ({n},): "
                "of scores or one-hot rows, that is argmax(1)"
            )
        values = list(values.ravel())
    given = cast(Sequence[Any], values)
    if len(given) != n:
        raise InvalidOption(f"{len(given)} targets for {n} images; give one for all, or one for each")
    return [_entry(one) for one in given]


def _entry(one: Any) -> int | str:
    """Return an index or a label for one entry of what was given."""
    if isinstance(one, Tensor | np.ndarray | np.generic) and math.prod(one.shape) == 1:
        one = one.item()
    if isinstance(one, float):
        raise InvalidOption(f"target {one!r} is a float; a class is a whole number, or a label")
    if isinstance(one, bool) or not isinstance(one, int | str):
        raise InvalidOption(f"target {one!r} is neither a class index nor a label")
    return one


def resolve(target: Any, n: int, classes: int, labels: Sequence[str] | None) -> Index | None:
    """Turn what the user said into one class index per image; None if the prediction is meant.

    Raises:
        UnknownTarget: an index outside [0, classes), or a name that is no label or the label of several classes.
        InvalidOption: not one target per image, or no target at all.
    """
    asked = understood(target, n)
    if asked is None:
        return None
    if not isinstance(asked, list):
        raise InvalidOption("metrics are about a class; a function as target has no probability")
    found = {one: _class(one, classes, labels) for one in set(asked)}
    return torch.tensor([found[one] for one in asked], dtype=torch.long)


def _class(target: int | str, classes: int, labels: Sequence[str] | None) -> int:
    if isinstance(target, str):
        named = _named(target, labels or ())
        if len(named) == 1:
            return named[0]
        if named:
            several = ", ".join(map(str, named[:5])) + (" …" if len(named) > 5 else "")
            raise UnknownTarget(
                f"{shown(target, MOST_SHOWN)} is the name of {len(named)} classes ({several}); give the index"
            )
        digits = target.strip().removeprefix("-")
        number = whole_number(digits)
        if number is None and digits.isascii() and digits.isdecimal():
            raise UnknownTarget(f"target {digits[:MOST_DIGITS]}… is out of range; the model has {classes} classes")
        if number is None:
            last = f"an index, 0 to {classes - 1}"
            if not labels:
                raise UnknownTarget(
                    f"target {shown(target, MOST_SHOWN)}: this model has no label names; give one class: {last}"
                )
            right = nearest(target, labels) or f"; give one class: a label, or {last}"
            raise UnknownTarget(f"there is no class {shown(target, MOST_SHOWN)} among {classes}{right}")
        target = -number if target.strip().startswith("-") else number
    if not 0 <= target < classes:
        raise UnknownTarget(f"target {shown(target)} is out of range; the model has classes 0 to {classes - 1}")
    return target


def _named(target: str, labels: Sequence[str]) -> list[int]:
    """Return the classes of a name; capitals count only where they tell classes apart."""
    exact = [i for i, label in enumerate(labels) if label == target]
    return exact or [i for i, label in enumerate(labels) if label.lower() == target.lower()]
