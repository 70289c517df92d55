"""What a network returns, and how it is read: class scores, or any structure that a function of the user's takes."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from limelight.errors import UnsupportedModel
from limelight.model.boundary import tensors_of
from limelight.shapes import Index, Logits, Scores

ScoreKind = Literal["logit", "prob", "logprob", "margin", "rest", "finer"]
"""Which score of a class is explained; see ``Outputs.score``."""
Weights = Literal["uniform", "softmax"]
"""How similar classes are weighed; see ``finer``."""
NAMES = ("logits", "out", "scores")
"""Under which a mapping may hold the class scores."""
Pick = str | int | Callable[[Any], Tensor]
"""Where in its outputs a network has its class scores: under a key, at an index, or what a function makes of them."""


@dataclass(frozen=True)
class Choice:
    """Which part of what a network returns are its class scores.

    Attributes:
        output: what the user says; None where they are to be found.
        labels: number of the classes' names, by which scores are told from features; 0 where there are none.
    """

    output: Pick | None = None
    labels: int = 0

    def find(self, output: Any, n: int) -> Any:
        """Return the class scores in whatever a network returned for n images, as they are; None if there are none.

        Raises:
            UnsupportedModel: there is no such key or index, or several tensors may be the class scores.
        """
        if self.output is not None:
            return _pick(output, self.output)
        if hasattr(output, "logits"):
            return output.logits
        if isinstance(output, Mapping):
            parts = dict(cast(Mapping[Any, Any], output))
            named = next((parts[name] for name in NAMES if name in parts), None)
            return self._tell(parts, n) if named is None else named
        if isinstance(output, list | tuple):
            return self._tell(dict(enumerate(cast(Sequence[Any], output))), n)
        return output

    def _tell(self, parts: Mapping[Any, Any], n: int) -> Any:
        """Return the only part that can be the class scores; the first one, if none of the others can.

        Raises:
            UnsupportedModel: several can, or one can that is not the first.
        """
        alone = len(parts) == 1  # a scalar among others is a loss
        rows = {key: as_rows(part, n) for key, part in parts.items() if alone or getattr(part, "ndim", 0)}
        able = {key: t.shape[1] for key, t in rows.items() if t is not None and t.ndim == 2 and len(t) == n}
        fit = [key for key, columns in able.items() if max(2, columns) == self.labels]
        if len(fit) == 1:
            return parts[fit[0]]
        first = next(iter(parts), None)
        if not able or list(able) == [first]:
            lost = not alone and isinstance(parts.get(first), Tensor) and not parts[first].ndim
            return None if lost else parts.get(first)
        shown = ", ".join(f"{key!r} {_shape(part)}" for key, part in parts.items())
        few = f", and {'none has' if not fit else 'several have'} {self.labels} columns" if self.labels else ""
        raise UnsupportedModel(
            f"which of the model's outputs are class scores (n, classes)? It returns {shown}{few}; say it, such as "
            f"output={list(able)[-1]!r}, or give target= a function of its outputs"
        )


FOUND = Choice()
"""Nobody says where the class scores are."""


@dataclass(frozen=True)
class Outputs:
    """How a network's class scores are read.

    Attributes:
        probabilities: whether it returns probabilities, which are turned back to logits.
        multilabel: whether the classes are independent, so that a probability is a sigmoid and no softmax.
        choice: where the class scores are.
        unclear: why it can't be told whether they are probabilities; "" if it can.
    """

    probabilities: bool = False
    multilabel: bool = False
    choice: Choice = field(default=FOUND, repr=False)
    unclear: str = field(default="", repr=False)

    def logits(self, output: Any, n: int) -> Logits:
        """Return the logits (n, classes) in whatever the network returned for n images.

        Raises:
            UnsupportedModel: there are no class scores in it, or not one row per image.
        """
        values = class_scores(output, n, self.choice)
        if self.unclear:
            raise UnsupportedModel(self.unclear)
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
            return numbers(output, n, self.choice)

    def score(self, logits: Logits, index: Index, kind: ScoreKind, clean: Logits | None = None) -> Scores:
        """Return the score of one class per row.

        Args:
            logits: (m, classes).
            index: the classes, (m,).
            kind: ``logit``; ``prob``, the softmax (sigmoid for multi-label models); ``logprob``, its logarithm;
                ``margin``, the logit minus the largest other logit; ``rest``, the logit plus the logarithm of the
                probability (ReST: Cai 2025); ``finer``, the logit minus those of the three nearest classes, weighed by
                their probabilities (Finer-CAM: Zhang et al. 2025).
            clean: logits of the pictures of which each row is a changed copy, (m, classes), which say what classes are
                nearest; None where the rows are about the pictures themselves.
        """
        if kind == "finer":
            similar = nearest_classes(logits if clean is None else clean, index, min(3, logits.shape[1] - 1))
            return finer(logits, index, similar, 1.0, "softmax")
        y = logits.gather(1, index[:, None])[:, 0]
        if kind == "margin":
            return y - logits.scatter(1, index[:, None], -torch.inf).amax(1)
        if kind in ("logprob", "rest"):
            logs = torch.nn.functional.logsigmoid(logits) if self.multilabel else logits.log_softmax(1)
            return logs.gather(1, index[:, None])[:, 0] + (y if kind == "rest" else 0)
        if kind == "prob":
            return (logits.sigmoid() if self.multilabel else logits.softmax(1)).gather(1, index[:, None])[:, 0]
        return y


def nearest_classes(logits: Logits, index: Index, k: int) -> Tensor:
    """Return the k classes whose logits are nearest to that of one class per row, nearest first: (m, k)."""
    away = (logits.detach() - logits.detach().gather(1, index[:, None])).abs()
    return away.scatter(1, index[:, None], torch.inf).argsort(dim=1, stable=True)[:, :k]


def finer(logits: Logits, index: Index, similar: Tensor, gamma: int | float, weights: Weights) -> Scores:
    """Return y_c - gamma sum_d w_d y_d, (m,), for a class c per row and the classes d that are similar to it.

    Args:
        logits: y, (m, classes).
        index: c, (m,).
        similar: d, (m, k).
        gamma: how much the others count.
        weights: w: ``uniform``, 1 / k; ``softmax``, p_d / sum_d p_d of the probabilities p, through which the gradient
            flows. That is the softmax over the classes d alone.
    """
    others = logits.gather(1, similar)
    mean = others.mean(1) if weights == "uniform" else (others.softmax(1) * others).sum(1)
    return logits.gather(1, index[:, None])[:, 0] - gamma * mean


@dataclass(frozen=True)
class Ending:
    """What a pass showed of how a network's class scores are made.

    Attributes:
        module: kind of the module that ran last.
        operation: what made the scores; "" where that can't be seen.
        columns: their number; 0 if there are none.
        looks_like_probabilities: whether they add up to 1, or a single one lies between 0 and 1.
    """

    module: str = ""
    operation: str = ""
    columns: int = 0
    looks_like_probabilities: bool = False

    @property
    def last(self) -> str:
        """What was last, as far as it tells whether scores are probabilities."""
        return self.operation if self.operation in TOLD else self.module


def find_outputs(
    module: nn.Module,
    ending: Ending,
    outputs: Literal["logits", "probabilities"] | None,
    multilabel: bool | None,
    choice: Choice = FOUND,
) -> Outputs:
    """Return how class scores are read: as it was said, or else as a pass has shown it.

    Args:
        module: the network, which may tell its kind of problem.
        ending: what a pass has shown.
        outputs: what the user says that they are.
        multilabel: what the user says of the classes.
        choice: which part of the outputs they are.
    """
    last, single = ending.last, ending.columns == 1
    sigmoid = last == "Sigmoid"
    config = getattr(module, "config", None)
    seen = sigmoid or getattr(config, "problem_type", None) == "multi_label_classification"
    independent = (seen if multilabel is None else multilabel) and not single  # one number is told from its opposite
    if outputs is not None or last in PROBABILITIES:
        return Outputs(outputs != "logits", independent, choice)
    if single and ending.looks_like_probabilities and last not in TOLD:
        return Outputs(False, independent, choice, UNCLEAR)
    return Outputs(ending.looks_like_probabilities and not single, independent, choice)


def class_scores(output: Any, n: int, choice: Choice = FOUND) -> Tensor:
    """Return the class scores in whatever a network returned for n images, as they are: (n, classes).

    Raises:
        UnsupportedModel: there are none, it can't be told which they are, or they are not one row per image.
    """
    part = choice.find(output, n)
    scores = as_rows(part, n)
    if isinstance(scores, Tensor) and scores.is_inference():  # which could not be written to
        scores = scores.clone()
    if scores is None or scores.ndim != 2:
        given = _shape(output if part is None else part)
        what = f"output={choice.output!r} is" if choice.output is not None else "the model returns"
        raise UnsupportedModel(f"{what} {given}, not class scores (n, classes); give target= a function of its outputs")
    if scores.dtype == torch.bool or scores.is_complex():
        raise UnsupportedModel(
            f"the model's scores are {str(scores.dtype).removeprefix('torch.')}; class scores are real numbers"
        )
    if len(scores) != n:
        raise UnsupportedModel(
            f"the model answers {len(scores)} rows of scores for {n} images; it must give one per image"
        )
    return scores


def as_rows(part: Any, n: int) -> Tensor | None:
    """Return a tensor with a row for each of n images, where that can be seen in it; None for what is no tensor."""
    if not isinstance(part, Tensor) or (not part.ndim and n > 1):
        return None
    if part.ndim > 3 and {*part.shape[2:]} == {1}:
        return part.flatten(1)
    if part.ndim < 2 and n == 1:  # a module that squeezes
        return part.reshape(1, -1)
    return part[:, None] if part.ndim == 1 else part


def _pick(output: Any, pick: Pick) -> Any:
    """Return the part of the outputs that the user means.

    Raises:
        UnsupportedModel: there is no such part.
    """
    if not isinstance(pick, str | int):
        return pick(output)
    try:
        return output[pick]
    except (KeyError, IndexError, TypeError):
        if isinstance(pick, str) and hasattr(output, pick):
            return getattr(output, pick)
    if isinstance(output, Mapping):
        there = f"has {', '.join(map(repr, cast(Mapping[Any, Any], output)))}"
    elif isinstance(output, list | tuple):
        there = f"has the indices 0 to {len(cast(Sequence[Any], output)) - 1}"
    else:
        there = f"is {_shape(output)}"
    raise UnsupportedModel(f"output={pick!r} is no part of what the model returns, which {there}")


def _shape(part: Any) -> str:
    return str(tuple(part.shape)) if isinstance(part, Tensor) else type(part).__name__


ROUTES = re.compile(
    "(Unsafe|Reshape)?(View|Alias|Copy|Clone|Slice|Select|Squeeze|Unsqueeze|Expand|Permute|Transpose|T|Index)"
    "|AsStrided|ToCopy|IndexSelect|Gather|Split|SplitWithSizes|Unbind|Cat|Stack"
    "|Clamp|ClampMin|ClampMax|Mean|AvgPool.*|AdaptiveAvgPool.*"
)
"""Operations that only route numbers, keep them in their range, or average them."""
PROBABILITIES = frozenset({"Sigmoid", "Softmax", "SafeSoftmax"})
"""Operations and modules that give probabilities."""
TOLD = PROBABILITIES | {
    *("Addmm", "Mm", "Addbmm", "Baddbmm", "Bmm", "Addmv", "Mv", "Dot", "Convolution"),
    *("LogSoftmax", "Log", "LogSigmoid"),  # log-probabilities are logits
    *("Relu", "LeakyRelu", "Elu", "Gelu", "Silu", "Softplus"),  # go beyond 1
}
"""Operations that tell whether what they give are probabilities."""
UNCLEAR = (
    "the model gives one number between 0 and 1, and what made it can't be seen: say whether it is a probability, "
    "outputs='probabilities' or 'logits'"
)


def last_operation(scores: Tensor) -> str:
    """Return the operation that gave numbers, such as ``Sigmoid``; "" without a graph, or where it was several.

    It is looked for through what only routes numbers: views, slices, changes of type.
    """
    return _operation(scores.grad_fn)


def _operation(node: Any) -> str:
    while node is not None:
        name = re.sub(r"Backward\d*$", "", str(node.name()))
        behind: list[Any] = [step[0] for step in node.next_functions if step[0] is not None]
        if not ROUTES.fullmatch(name) or not behind:
            return name
        if len(behind) > 1:
            operations = {_operation(before) for before in behind}
            return operations.pop() if len(operations) == 1 else ""
        node = behind[0]
    return ""


def numbers(output: Any, n: int, choice: Choice = FOUND) -> list[Tensor]:
    """Return the class scores in what a network returned for n images; where there are none, other real numbers.

    These are the first map, be it of a segmenter that returns several, or else all.

    Raises:
        UnsupportedModel: there are no numbers in it.
    """
    try:
        return [class_scores(output, n, choice)]
    except UnsupportedModel:
        tensors = _real(output)
        if not tensors:
            raise
        return next(([t] for t in tensors if t.ndim > 2 and len(t) == n), tensors)


def of_first(output: Any, n: int, choice: Choice = FOUND) -> list[Tensor]:
    """Return the numbers about the first of n images: their first rows, or those in the first entry of a list.

    What has no row for each image, such as a loss, is about none.
    """
    if isinstance(output, list | tuple):
        entries = cast(Sequence[Any], output)
        if len(entries) == n and not isinstance(entries[0], Tensor):
            return _real(entries[0])
    return [t[:1] for t in numbers(output, n, choice) if t.ndim and len(t) == n]


def same_but_for_rounding(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    """Tell whether two networks returned the same numbers."""
    return [t.shape for t in ours] == [t.shape for t in theirs] and all(
        torch.allclose(a.double(), b.double(), rtol=1e-3, atol=1e-3 * float(b.abs().max()))
        for a, b in zip(ours, theirs, strict=True)
        if b.numel()
    )


def _real(output: Any) -> list[Tensor]:
    return [t for t in tensors_of(output) if t.is_floating_point()]
