"""What a rule of relevance propagation is, and what it may say of itself.

A rule is a function of an operation and of the relevance R at its output, complete and at least float32. It
returns the relevance of the input, or a tuple with that of each input. With z = W x + b,

    def z_rule(op, r):
        return op.x * op.back(divide_by(r, op.y))

is one. By an attribute it may say what it does by definition, and is held to that:

- ``absorbs``: it may hand on less (or more) than it was given, into biases, stabilisers and dead denominators;
- ``law(op, r, incoming, size)``: the total that it hands on, and the most absolute relevance (inf: any), per image,
  given R, its sum and its absolute sum; without one it hands on what came, and what grows is warned of;
- ``resets``: that total has nothing to do with what came.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, Literal, Protocol, TypeVar, cast, runtime_checkable

import torch
from torch import Tensor

from limelight.relevance.op import Op
from limelight.shapes import Scores

Relevance = Tensor | Sequence[Tensor | None]
"""That of the only (or first) input, or of each; None is none."""

Rule = Callable[[Op, Tensor], Relevance]
"""An operation and the relevance at its output -> the relevance of its inputs."""

AffineRule = Callable[[Op, Tensor], Tensor]
"""A rule for operations with one input."""

Bias = Literal["include", "exclude"]
"""Whether a rule's denominator has the bias, which then absorbs relevance."""

TINY = 1e-6
"""The customary stabiliser."""


@runtime_checkable
class Division(Protocol):
    """Divides relevance by denominators that may be 0, such as ``divide_by``."""

    def __call__(self, r: Tensor, z: Tensor, e: int | float, /) -> Tensor:
        """Return R / z, with a stabiliser e."""
        ...


@runtime_checkable
class HasLaw(Protocol):
    """A rule that fixes the total that it hands on."""

    def law(self, op: Op, r: Tensor, incoming: Scores, size: Scores) -> tuple[Scores, Scores]:
        """Return the total that it hands on, and the most absolute relevance, of each image.

        Args:
            op: the operation.
            r: relevance at its output.
            incoming: the sum of R, (n,).
            size: the sum of |R|, (n,).
        """
        ...


def as_shares(result: Relevance) -> list[Tensor | None]:
    """Return what a rule gave as the relevance of each of the inputs that it is about."""
    return list(result) if isinstance(result, tuple | list) else [cast(Tensor, result)]


OneRule = TypeVar("OneRule", bound=Callable[[Op, Tensor], Any])


def absorbing(rule: OneRule) -> OneRule:
    """Mark a function as a rule that may lose relevance by its definition."""
    rule.absorbs = True  # pyright: ignore[reportFunctionMemberAccess, reportAttributeAccessIssue]
    return rule


def absorbs(rule: Rule) -> bool:
    """Return whether a rule may hand on less, or more, than came, by its definition."""
    return bool(getattr(rule, "absorbs", False))


def resets(rule: Rule) -> bool:
    """Return whether the total that a rule hands on has nothing to do with what came."""
    return bool(getattr(rule, "resets", False))


def law_of(rule: Rule, op: Op, r: Tensor, incoming: Scores, size: Scores) -> tuple[Scores, Scores]:
    """Return a rule's law: the total that it hands on, by default what came, and the most absolute relevance or NaN."""
    return rule.law(op, r, incoming, size) if isinstance(rule, HasLaw) else (incoming, torch.full_like(size, torch.nan))


def title(rule: Rule) -> str:
    """Return a rule's name, with the settings that are not its defaults."""
    if hasattr(rule, "__name__"):
        return rule.__name__
    try:
        known = [f for f in fields(cast(Any, rule)) if f.repr and isinstance(getattr(rule, f.name), int | float | str)]
    except TypeError:  # a rule of the user's own
        return str(rule)
    own = [f"{f.name}={getattr(rule, f.name)}" for f in known if getattr(rule, f.name) != f.default]
    return type(rule).__name__ + (f"({', '.join(own)})" if own else "")


def is_own(rule: Rule) -> bool:
    """Return whether a rule is one of the library's own."""
    module = cast(str, getattr(rule, "__module__", None) or type(rule).__module__)
    return module.partition(".")[0] == "limelight"
