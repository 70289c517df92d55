"""What records the calls of a network, as a handler of such calls sees it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, TypedDict, Unpack, runtime_checkable

from torch import Tensor, overrides

from limelight.relevance.affine import Convolution, Product
from limelight.relevance.op import Arithmetic, Compute, Kind, Op, Positions


@runtime_checkable
class TorchFunction(Protocol):
    """Any function or tensor method of PyTorch that a network may call, such as ``conv2d`` or ``Tensor.add_``."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return whatever this function returns for its own arguments."""
        ...


@cache
def name_of(func: TorchFunction) -> str:
    """Return the name under which users know a function, such as ``conv2d`` or ``add_``."""
    known = overrides.resolve_name(func)  # pyright: ignore[reportUnknownMemberType]
    full = known or getattr(func, "__name__", str(func))
    parts = full.split(".")
    return parts[-2] if parts[-1] == "__get__" else parts[-1]


@dataclass
class TensorInfo:
    """What is known of a tensor that depends on the image.

    Attributes:
        depth: the largest number of affine operations on a way from the image.
        number: how many calls came before it.
        nonnegative: whether it is, because of what made it.
        owner: the module that made it.
        op: the recorded call that made it.
        made_by: name of the function that made it.
        gate: name of the function that made it a gate or weights (``sigmoid``, ``softmax``), also if scaled or shifted.
        source: the tensor of which this function made it.
        returned: whether a function with a gradient of its own may be about to return it, an input, as it is.
    """

    depth: int = 0
    number: int = 0
    nonnegative: bool = False
    owner: str = ""
    op: Op | None = None
    made_by: str = ""
    gate: str = ""
    source: Tensor | None = None
    returned: bool = False


NO_RULE = "no rule is known for it"
"""What may be the matter with a call."""


@dataclass(frozen=True)
class Unruled:
    """A call that depends on the image and for which there is no rule.

    Attributes:
        function: its name.
        owner: dotted name of the module that called it.
        number: how many calls came before it.
        why: what is the matter.
        hidden: whether no call in it can be seen.
    """

    function: str
    owner: str
    number: int
    why: str
    hidden: bool = False

    @classmethod
    def at(cls, op: Op) -> "Unruled":
        """Return what is said of an operation for which a table has no rule."""
        return cls(op.function, op.owner, op.number, NO_RULE)

    def __str__(self) -> str:
        return f"{self.function} in {self.owner}" if self.owner else self.function


Computation = Callable[[Tensor], Tensor] | Callable[[Tensor, Tensor], Tensor] | Compute
"""Computes the result of a call from as many tensors as it has operands that depend on the image."""


class Facts(TypedDict, total=False):
    """What some kinds of operation have and others don't; see ``Op``."""

    affine: Convolution | Product
    weight: Tensor
    bias: Tensor | None
    scale: Tensor
    gate: int
    axis: int
    windows: Callable[[Tensor], Tensor]
    positions: Positions
    held: Compute | None


@runtime_checkable
class Recorder(Protocol):
    """Turns calls of a network into operations, in the order in which they are made.

    Attributes:
        ops: the operations so far.
        spent: counts their arithmetic.
    """

    ops: list[Op]
    spent: Arithmetic

    def info(self, t: object) -> TensorInfo | None:
        """Return what is known of a tensor, or None if it does not depend on the image."""
        ...

    def call_natively(self, func: TorchFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make a call that keeps its own gradient: one that routes, or one without a rule."""
        ...

    def record(
        self,
        kind: Kind,
        func: TorchFunction,
        inputs: Sequence[Tensor],
        call: Computation,
        *,
        overwrites: bool = False,
        nonnegative: bool = False,
        parts: Computation | None = None,
        **facts: Unpack[Facts],
    ) -> Tensor:
        """Make a call and enter it as an operation.

        Args:
            kind: what it is.
            func: what was called.
            inputs: the operands that depend on the image.
            call: computes the result from them.
            overwrites: whether the first input is replaced by the result.
            nonnegative: whether the result is known to be.
            parts: computes the result from them by other calls, which are recorded once a rule asks for them.
            facts: what only operations of this kind have.
        """
        ...


@runtime_checkable
class Handler(Protocol):
    """Records the calls of some functions as operations."""

    def __call__(
        self, recorder: Recorder, func: TorchFunction, args: tuple[Any, ...], kwargs: dict[str, Any], /
    ) -> Any:
        """Return the result of a call, or ``NotImplemented`` if it has to keep its own gradient.

        Args:
            recorder: where the call is recorded.
            func: what was called.
            args: its positional arguments, of which at least one tensor depends on the image, or one in kwargs.
            kwargs: its arguments by name.
        """
        ...
