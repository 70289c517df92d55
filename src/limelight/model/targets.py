"""Which scalar is explained."""

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, Protocol, TypeVar, cast, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from limelight.errors import MOST_SHOWN, InvalidOption, NonFinite, UnknownTarget, UnsupportedModel, nearest, show
from limelight.model.boundary import expect_way_back, replace_tensors, tensors_of
from limelight.model.classifier import Classifier
from limelight.model.outputs import Outputs, ScoreKind
from limelight.ops.arrays import is_array
from limelight.shapes import Images, Index, Logits, Originals, Scores
from limelight.text import MOST_DIGITS, whole_number


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
"""The same, understood as far as it can be without the model: nothing, a class per image, or a function."""

MOST_LISTED = 10
"""Labels of classes up to which a message tells all of them."""


@runtime_checkable
class Aimed(Protocol):
    """A function of a network's outputs that knows its pictures; see ``limelight.targets``."""

    @property
    def placed(self) -> bool:
        """Whether it is about a place in the picture."""
        ...

    @property
    def pictures(self) -> int:
        """Number of pictures that it has something for; 1 where that is for all."""
        ...

    def __call__(self, output: Any) -> Scores:
        """Return one score per picture, (n,)."""
        ...

    def aim(self, classifier: Classifier, x: Images) -> "Aimed":
        """Return the same for one network and pictures, which it may be asked of."""
        ...

    def of(self, images: slice | Index) -> "Aimed":
        """Return the same for some of the pictures, or for copies of them: by number, (m,)."""
        ...


P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Targets:
    """What is explained of every image of a batch: a class, or a function of what the model returns.

    Attributes:
        index: class of each image, (n,); None for the predicted one, as long as no pass has shown it; -1 where a
            function is explained.
        function: takes what the model returns for m images, whatever its structure, and gives m scores.
        kind: which score of the class.
        clean: class scores of the images, (n, classes), as soon as a pass has shown them: ``finer`` sees by them what
            classes are nearest, also for changed copies of the images.
    """

    index: Index | None = None
    function: Callable[[Any], Tensor] | None = None
    kind: ScoreKind = "logit"
    clean: Logits | None = None

    @classmethod
    def parse(cls, target: "TargetLike | Targets", classifier: Classifier, x: Images) -> "Targets":
        """Understand what a user says about a batch of images.

        Args:
            target: see ``TargetLike``; what is understood already, stays as it is.
            classifier: the model, whose classes and labels are meant.
            x: the images, (n, c, *space).

        Raises:
            UnknownTarget: an index outside [0, classes), or a name that is no label or the label of several classes.
            InvalidOption: not one target per image, or something else.
        """
        if isinstance(target, Targets):
            return target
        asked = parse_target(target, len(x))
        if asked is None:
            return cls()
        if callable(asked):
            aimed = asked.aim(classifier, x) if isinstance(asked, Aimed) else asked
            return cls(torch.full((len(x),), -1, device=x.device), aimed)
        classes = classifier.classes(x)
        index_of = {one: find_class(one, classes, classifier.labels) for one in set(asked)}
        return cls(torch.tensor([index_of[one] for one in asked], device=x.device))

    def __getitem__(self, images: slice | Index) -> "Targets":
        function = self.function
        if function is not None and isinstance(function, Aimed):
            function = function.of(images)
        index, clean = (None if rows is None else rows[images] for rows in (self.index, self.clean))
        return replace(self, index=index, function=function, clean=clean)

    def settle(self, logits: Logits | None) -> "Targets":
        """Return the same with the class scores of the images, and the predicted classes where none were named."""
        if self.clean is not None or logits is None:
            return self
        return replace(self, index=logits.argmax(1) if self.index is None else self.index, clean=logits.detach())

    def read(
        self,
        classifier: Classifier,
        output: Any,
        x: Originals,
        images: Index | None = None,
        copies: Images | None = None,
    ) -> tuple[Scores, Logits | None]:
        """Return the score of each row of what the model returned, (m,), and of classes the logits, (m, classes).

        Args:
            classifier: the model.
            output: what it returned.
            x: the images.
            images: of changed copies of them: which image each is one of, (m,); these targets are theirs.
            copies: what the model was given, before that was rounded to its precision.

        Raises:
            NonFinite: a score is NaN or infinite.
            InvalidOption: the function gives something else than one score per image.
            UnsupportedModel: there are no class scores, or the function cuts the gradient.
        """
        if self.function is not None:
            return self._call(classifier, output), None
        logits = classifier.outputs.logits(output, len(x) if images is None else len(images))
        logits = classifier.require_finite(logits, x, images, copies)
        return self.settle(logits).score(classifier.outputs, logits), logits

    def score(self, outputs: Outputs, logits: Logits) -> Scores:
        """Return the score of each row's class, (m,), for logits (m, classes), at least in single precision."""
        assert self.index is not None
        wide = logits if logits.dtype == torch.float64 else logits.float()  # a softmax in half precision is coarse
        return outputs.score(wide, self.index, self.kind, self.clean)

    def linearise(self, output: Any) -> tuple[Tensor, Tensor]:
        """Return the numbers in the output that the function reads, and its gradient with respect to them.

        Returns:
            The numbers, (n, m), through which a gradient passes to the image; and the gradient of each row's score.

        Raises:
            UnsupportedModel: there are none, or they have no row for each image.
        """
        assert self.function is not None and self.index is not None
        read = [t for t in tensors_of(output) if t.requires_grad]
        # Of the output as it is, one tensor may have been made of another, and count twice.
        alone = {id(t): t.detach().requires_grad_() for t in read}
        with torch.enable_grad():
            score = self.function(replace_tensors(output, alone)).sum()
            leaves = [alone[id(t)] for t in read]
            gradients = (
                torch.autograd.grad(score, leaves, allow_unused=True) if score.requires_grad else [None] * len(read)
            )
            used = [(t, g) for t, g in zip(read, gradients, strict=True) if g is not None]
            if not used:
                raise UnsupportedModel("the target function reads nothing of the outputs, where relevance starts")
            n = len(self.index)
            if n > 1 and any(not t.ndim or len(t) != n for t, _ in used):
                raise UnsupportedModel(
                    "the target function reads outputs that have no row for each image, so that their relevance can't "
                    "be told apart; explain one image at a time"
                )
            return torch.cat([t.reshape(n, -1) for t, _ in used], 1), torch.cat([g.reshape(n, -1) for _, g in used], 1)

    def _call(self, classifier: Classifier, output: Any) -> Scores:
        assert self.function is not None and self.index is not None
        score = self.function(output)
        if not isinstance(score, Tensor) or score.shape != self.index.shape:  # pyright: ignore[reportUnnecessaryIsInstance]
            what = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__  # pyright: ignore
            raise InvalidOption(
                f"the target function must return one score per image, ({len(self.index)},), got {what}"
            )
        if not bool(torch.isfinite(score).all()):
            raise NonFinite("the target function returned a NaN or infinite score")
        expect_way_back(classifier.module, output, score)
        return score


def accept_either_name(function: Callable[P, R]) -> Callable[P, R]:
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


def parse_target(target: Any, n: int) -> Asked:
    """Return one class index or label per image for whatever a user may give as target; None and functions as they are.

    Args:
        target: see ``TargetLike``; also a NumPy or pandas scalar, an array or tensor of any kind of whole numbers or
            labels, a pandas Series, Index or Categorical, a range.
        n: number of images.

    Raises:
        InvalidOption: something else, not one per image, or an entry that is neither a whole number nor a label.
    """
    if isinstance(target, Aimed) and target.pictures not in (1, n):
        raise InvalidOption(f"{target!r} is for {target.pictures} pictures of {n}; give one for all, or one for each")
    if target is None or (callable(target) and not isinstance(target, Tensor) and not is_array(target)):
        return cast(Asked, target)
    if isinstance(target, str | int | float | np.generic):
        return [_entry(target)] * n
    kind = type(target).__name__
    if isinstance(target, dict | set | frozenset | bytes) or not hasattr(target, "__len__"):
        raise InvalidOption(
            f"target is a {kind}; give a class index, a label, one of them per image, "
            "or a function of the model's outputs"
        )
    if isinstance(target, Tensor):
        plain = (target if target.layout == torch.strided else target.to_dense()).detach().cpu()
        # Of bfloat16 and the like NumPy has none; whatever floats they are, they are told of as such below.
        values = (plain.double() if plain.is_floating_point() else plain).numpy()
    elif isinstance(target, list | tuple | range):  # whose entries may be of several kinds
        values = cast(Sequence[Any], target)
    else:
        values = np.asarray(target)
    if is_array(values):
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
    if (isinstance(one, Tensor | np.generic) or is_array(one)) and math.prod(one.shape) == 1:
        one = cast(Any, one.item())
    if isinstance(one, float):
        raise InvalidOption(f"target {one!r} is a float; a class is a whole number, or a label")
    if isinstance(one, bool) or not isinstance(one, int | str):
        raise InvalidOption(f"target {one!r} is neither a class index nor a label")
    return one


def find_class(target: int | str, classes: int, labels: Sequence[str] | None) -> int:
    """Return the index of a class that is given by index or label.

    Raises:
        UnknownTarget: an index outside [0, classes), or a name that is no label or the label of several classes.
    """
    if isinstance(target, str):
        named = _find_named(target, labels or ())
        if len(named) == 1:
            return named[0]
        if named:
            indices = ", ".join(map(str, named[:5])) + (" …" if len(named) > 5 else "")
            raise UnknownTarget(
                f"{show(target, MOST_SHOWN)} is the name of {len(named)} classes ({indices}); give the index"
            )
        digits = target.strip().removeprefix("-")
        number = whole_number(digits)
        if number is None and digits.isascii() and digits.isdecimal():
            raise UnknownTarget(f"target {digits[:MOST_DIGITS]}… is out of range; the model has {classes} classes")
        if number is None:
            last = f"an index, 0 to {classes - 1}"
            if not labels:
                raise UnknownTarget(
                    f"target {show(target, MOST_SHOWN)}: this model has no label names; give one class: {last}"
                )
            right = nearest(target, labels) or f"; give one class: a label, or {last}"
            if len(labels) <= MOST_LISTED:
                right += f" (they are {', '.join(show(label, MOST_SHOWN) for label in labels)})"
            raise UnknownTarget(f"there is no class {show(target, MOST_SHOWN)} among {classes}{right}")
        target = -number if target.strip().startswith("-") else number
    if not 0 <= target < classes:
        raise UnknownTarget(f"target {show(target)} is out of range; the model has classes 0 to {classes - 1}")
    return target


def _find_named(target: str, labels: Sequence[str]) -> list[int]:
    """Return the classes of a name; capitals count only where they tell classes apart."""
    exact = [i for i, label in enumerate(labels) if label == target]
    return exact or [i for i, label in enumerate(labels) if label.lower() == target.lower()]
