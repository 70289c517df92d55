"""Rules of relevance propagation, and tables of them.

A rule is a function of an operation and of the relevance R at its output, complete and at least float32. It
returns the relevance of the input, or a tuple with that of each input. With z = W x + b,

    def z_rule(op, r):
        return op.x * op.back(divide_by(r, op.y))

is one. A table names a rule for each operation or place: ``{"first": ..., "conv": ..., "linear": ...}``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from torch import Tensor

from limelight.errors import InvalidOption
from limelight.relevance.op import Op, divide_by

Rule = Callable[[Op, Tensor], Any]
Bias = Literal["include", "exclude"]

TINY = 1e-6
"""The customary stabiliser."""


# -- operations without weights ---------------------------------------------------------------------------


def native(op: Op, r: Tensor) -> tuple[Tensor, ...]:
    """The operation's own gradient. It conserves where an operation only chooses or joins."""
    return op.native(r)


def keep(op: Op, r: Tensor) -> Tensor:
    """R' = R."""
    return r if r.shape == op.inputs[0].shape else r.sum_to_size(op.inputs[0].shape)


def only_active(op: Op, r: Tensor) -> Tensor:
    """R' = R where the input and its scale are not 0."""
    return r if op.scale is None else r * (op.x * op.scale != 0)


only_active.absorbs = True  # pyright: ignore[reportFunctionMemberAccess]


def to_signal(op: Op, r: Tensor) -> tuple[Tensor | None, ...]:
    """All to the signal of a gated product, nothing to the gate."""
    signal = 1 - (op.gate or 0)
    shares: list[Tensor | None] = [None, None]
    shares[signal] = r.sum_to_size(op.inputs[signal].shape)
    return tuple(shares)


@dataclass(frozen=True)
class Proportional:
    """Each input gets what it contributed to the sum or mean: R'_i = x_i R / z, stabilised.

    A maximum is treated as if it were the mean of its window.

    Attributes:
        e: stabiliser; 0 gives nothing where z = 0.
        shift: added to the inputs.
        clamp: leave negative inputs out.
    """

    e: int | float = TINY
    shift: float = 0.0
    clamp: bool = False

    def __call__(self, op: Op, r: Tensor) -> tuple[Tensor, ...]:
        """Return the relevance of the input."""
        xs = [x if x.dtype == torch.float64 else x.float() for x in op.inputs]
        if self.clamp:
            xs = [x.clamp_min(0) for x in xs]
        if self.shift:
            xs = [x + self.shift for x in xs]
        with torch.enable_grad():
            xs = [x.detach().requires_grad_() for x in xs]
            z = op.average(*xs)
        if self.e == 0:
            op.at_dead_ends(r, z.detach())
        shares = torch.autograd.grad(z, xs, divide_by(r, z.detach(), self.e))
        return tuple(x.detach() * s for x, s in zip(xs, shares, strict=True))


# -- affine operations ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Epsilon:
    """R' = x . W^T (R / (z + e sgn z)); the z-rule for e = 0.

    Attributes:
        e: stabiliser; larger ones absorb small relevance.
        rms: add this share of the root mean square of z to it.
        bias: whether z has the bias, which then absorbs relevance.
        sign_aware: False adds e whatever the sign of z, as a tutorial does.
    """

    e: int | float = TINY
    rms: float = 0.0
    bias: Bias = "include"
    sign_aware: bool = True
    absorbs = True

    def __call__(self, op: Op, r: Tensor) -> Tensor:
        """Return the relevance of the input."""
        z = op.y if self.bias == "include" else op.forward(op.x)
        e: float | Tensor = self.e
        if self.rms:
            e = e + self.rms * z.flatten(1).square().mean(1).sqrt().view(-1, *[1] * (z.ndim - 1))
        s = divide_by(r, z, e) if self.sign_aware else r / (z + e)
        if self.bias == "include":
            op.into_biases(s, op.b())
        return op.x * op.back(s)


@dataclass(frozen=True)
class AlphaBeta:
    """alpha times the positive contributions less beta times the negative ones; z-plus is alpha 1, beta 0.

    Attributes:
        alpha: at least 0.
        beta: alpha - 1.
        e: stabiliser; 0 gives nothing where the denominator is 0.
        bias: whether the denominators have its positive and negative part.
    """

    alpha: int | float = 1.0
    beta: int | float = 0.0
    e: int | float = TINY
    bias: Bias = "include"

    def __post_init__(self) -> None:
        if self.alpha < 0 or self.beta < 0 or abs(self.alpha - self.beta - 1) > 1e-9:
            raise InvalidOption(
                f"alpha = {self.alpha:g} and beta = {self.beta:g}: both must be at least 0 and alpha - beta = 1"
            )

    @property
    def absorbs(self) -> bool:
        """A bias absorbs; so does an output with contributions of one sign only, where beta is not 0."""
        return self.bias == "include" or self.beta > 0

    def __call__(self, op: Op, r: Tensor) -> Tensor:
        """Return the relevance of the input."""
        if not self.beta:
            return self._share(op, r, "positive", "negative")
        helped = self._share(op, self.alpha * r, "positive", "negative")
        return helped + self._share(op, -self.beta * r, "negative", "positive")

    def _share(self, op: Op, r: Tensor, same: Any, other: Any) -> Tensor:
        up, down = op.x.clamp_min(0), None if op.nonnegative else op.x.clamp_max(0)
        b = op.b(same) if self.bias == "include" else None
        z = op.forward(up, same, b)
        if down is not None:
            z = z + op.forward(down, other)
        if self.e == 0:
            op.at_dead_ends(r, z)
        s = divide_by(r, z, self.e)
        op.into_biases(s, b)
        found = up * op.back(s, same)
        return found if down is None else found + down * op.back(s, other)


@dataclass(frozen=True)
class Gamma:
    """Contributions that agree with the output's sign count (1 + gamma) times, so that its denominator can't vanish.

    With z+ the sum of the positive contributions and z- that of the negative ones, z = z+ + z-:

        R' = (x w + gamma (x w)+) . R / (z + gamma z+)  where z > 0
        R' = (x w + gamma (x w)-) . R / (z + gamma z-)  where z < 0

    The classic form takes the first line for every output and W+ for (x w)+, whatever the sign of x. On inputs that
    are not negative and outputs above 0 both are the same; where outputs are below 0, as at the end of a residual
    branch, the denominators of the classic form cross 0 and relevance grows without bound.

    Attributes:
        gamma: at least 0; z-plus for very large ones.
        e: stabiliser.
        classic: take the classic form.
        bias: whether the denominators have it.
    """

    gamma: float = 0.25
    e: int | float = TINY
    classic: bool = False
    bias: Bias = "include"
    absorbs = True

    def __post_init__(self) -> None:
        if self.gamma < 0:
            raise InvalidOption(f"gamma = {self.gamma:g} is below 0")

    def __call__(self, op: Op, r: Tensor) -> Tensor:
        """Return the relevance of the input."""
        g, with_bias = self.gamma, self.bias == "include"
        w1 = op.w() + g * op.w("positive")
        if self.classic:
            b = op.b() if with_bias else None
            b1 = None if b is None else b + g * b.clamp_min(0)
            s = divide_by(r, op.forward(op.x, w1, b1), self.e)
            op.into_biases(s, b1)
            return op.x * op.back(s, w1)
        up, down = op.x.clamp_min(0), None if op.nonnegative else op.x.clamp_max(0)
        z = op.y if with_bias else op.forward(op.x)
        helps = op.forward(up, "positive", op.b("positive") if with_bias else None)
        if down is not None:
            helps = helps + op.forward(down, "negative")
        w2 = op.w() + g * op.w("negative")
        # What hurts is z - helps; where z < 0 both terms of (1 + g) z - g helps have one sign, so nothing cancels.
        s = divide_by(r * (z > 0), z + g * helps, self.e)
        t = divide_by(r * (z < 0), (1 + g) * z - g * helps, self.e)
        b = op.b() if with_bias else None
        if b is not None:
            op.into_biases(s, b + g * b.clamp_min(0))
            op.into_biases(t, b + g * b.clamp_max(0))
        found = up * (op.back(s, w1) + op.back(t, w2))
        return found if down is None else found + down * (op.back(s, w2) + op.back(t, w1))


@dataclass(frozen=True)
class Box:
    """z^B for inputs between bounds: R' = (x - l) . W+^T s + (x - h) . W-^T s, s = R / (W+ (x - l) + W- (x - h)).

    The usual form, W x - W+ l - W- h, is the same but for rounding, which leaves no exact zeros.

    Attributes:
        bounds: lowest and highest value, broadcast to the input; None for those of each image.
        e: stabiliser; 0 gives nothing where the denominator is 0.
        divide: R, z and e -> s.
    """

    bounds: tuple[Tensor | float, Tensor | float] | None = None
    e: int | float = 0.0
    divide: Callable[..., Tensor] = field(default=divide_by, repr=False)

    def __call__(self, op: Op, r: Tensor) -> Tensor:
        """Return the relevance of the input."""
        x = op.x
        if self.bounds is None:
            wide = (-1, *[1] * (x.ndim - 1))
            bounds = x.flatten(1).amin(1).view(wide), x.flatten(1).amax(1).view(wide)
        else:
            bounds = self.bounds
        low, high = (x - torch.as_tensor(b, dtype=x.dtype, device=x.device) for b in bounds)
        op.within_bounds(low, high)
        s = self.divide(r, op.forward(low, "positive") + op.forward(high, "negative"), self.e)
        return low * op.back(s, "positive") + high * op.back(s, "negative")


@dataclass(frozen=True)
class Squared:
    """w^2: in proportion to the squared weights, whatever the input.

    Attributes:
        e: stabiliser.
        bias: whether the denominator has b^2.
    """

    e: int | float = TINY
    bias: Bias = "include"

    @property
    def absorbs(self) -> bool:
        """Whether b^2 absorbs."""
        return self.bias == "include"

    def __call__(self, op: Op, r: Tensor) -> Tensor:
        """Return the relevance of the input."""
        b = op.b("squared") if self.bias == "include" else None
        s = divide_by(r, op.forward(torch.ones_like(op.x), "squared", b), self.e)
        op.into_biases(s, b)
        return op.back(s, "squared")


@dataclass(frozen=True)
class Flat:
    """Evenly over the receptive field.

    Attributes:
        e: stabiliser.
    """

    e: int | float = TINY

    def __call__(self, op: Op, r: Tensor) -> Tensor:
        """Return the relevance of the input."""
        return op.back(divide_by(r, op.forward(torch.ones_like(op.x), "ones"), self.e), "ones")


NAMED: Mapping[str, Callable[..., Rule]] = {
    "z": lambda: Epsilon(0.0),
    "epsilon": Epsilon,
    "z-plus": AlphaBeta,
    "alpha-beta": AlphaBeta,
    "gamma": Gamma,
    "classic-gamma": lambda gamma=0.25: Gamma(gamma, classic=True),
    "flat": Flat,
    "w-squared": Squared,
    "z-box": lambda *bounds: Box((bounds[0], bounds[1]) if bounds else None, TINY),
    "gradient": lambda: native,
    "proportional": Proportional,
    "keep": lambda: keep,
}
"""Rules by name, for settings that are written down: ``gamma``, or with numbers ``gamma(0.25)``."""


def rule_of(given: str | Rule) -> Rule:
    """Return a rule for its name, such as ``alpha-beta(2, 1)``; a rule itself is handed through.

    Raises:
        InvalidOption: no rule has this name, or not these numbers.
    """
    if not isinstance(given, str):
        return given
    name, opened, numbers = given.strip().partition("(")
    if name.strip() not in NAMED or bool(opened) != numbers.endswith(")"):
        raise InvalidOption(
            f"there is no rule {given!r}; there are {', '.join(NAMED)}, some with numbers, as in gamma(0.25), "
            "and functions (op, r) of your own"
        )
    try:
        return NAMED[name.strip()](*(float(n) for n in numbers[:-1].split(",") if n.strip()))
    except (ValueError, TypeError) as error:
        raise InvalidOption(f"rule {given!r}: {error}") from None


# -- tables -----------------------------------------------------------------------------------------------

COMMON: Mapping[str, Rule] = {
    "affine": Epsilon(),
    "batch_norm": keep,
    "norm": keep,
    "activation": keep,
    "max_pool": native,
    "avg_pool": Proportional(),
    "add": Proportional(),
    "multiply": to_signal,
    "scale": keep,
    "cat": native,
}
"""What is done where a table says nothing."""


@dataclass(frozen=True)
class Rules:
    """A table of rules.

    Attributes:
        table: rules by place: ``first`` and ``last`` affine operation on the way, ``shallow`` convolutions (whose
            output is at least a quarter of the image's size), or a kind: ``conv``, ``linear``, ``affine`` for both,
            ``batch_norm``, ``norm``, ``activation``, ``max_pool``, ``avg_pool``, ``add``, ``multiply``, ``scale``,
            ``cat``. The most special entry counts.
        fold: treat a batch normalisation and the affine operation right before it as one affine operation.
        overrides: rules for affine operations by name of their module, where ``*`` stands for anything.
        rest: what is done where the table says nothing.
    """

    table: Mapping[str, Rule] = field(default_factory=dict[str, Rule])
    fold: bool = True
    overrides: Mapping[str, Rule] = field(default_factory=dict[str, Rule])
    rest: Mapping[str, Rule] = field(default_factory=lambda: COMMON)

    def find(self, op: Op) -> tuple[Op, Rule]:
        """Return the operation to which relevance goes (a folded pair in place of its normalisation) and its rule."""
        if self.fold and op.pair is not None:
            return op.pair, self._of(op.pair)
        return op, self._of(op)

    def _of(self, op: Op) -> Rule:
        if op.affine is not None:
            for pattern, rule in self.overrides.items():
                if fnmatchcase(op.owner, pattern):
                    return rule
        for table in (self.table, self.rest):
            for place in op.places:
                if place in table:
                    return table[place]
        return native

    def but(self, **changes: Rule) -> "Rules":
        """Return a copy with other rules at some places."""
        return replace(self, table={**self.table, **changes})


GRADIENT = Rules(fold=False, rest={})
"""The rules of calculus: every operation hands on its own gradient."""
