"""Rules for affine operations, z = W x + b: what of the relevance R of the outputs each input gets, R'.

Contributions are x_i w_ij; ``op.forward`` sums them over the inputs, ``op.back`` hands shares back to them.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from limelight.errors import InvalidOption
from limelight.relevance.affine import Part
from limelight.relevance.op import Op, divide_by
from limelight.relevance.rule import TINY, Bias, Division


@dataclass(frozen=True)
class Epsilon:
    """R' = x . W^T (R / (z + e sgn z)); the z-rule for e = 0.

    Source: Bach et al. 2015, eqs. 56 and 58.

    Attributes:
        e: stabiliser; larger ones absorb small relevance.
        rms: add this share of the root mean square of z to it.
        bias: whether z has the bias, which then absorbs relevance.
        sign_aware: False adds e whatever the sign of z, as the tutorial of Montavon et al. 2019 does.
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
            op.audit_biases(s, op.b())
        return op.x * op.back(s)


@dataclass(frozen=True)
class AlphaBeta:
    """alpha times the positive contributions less beta times the negative ones; z-plus is alpha 1, beta 0.

    R' = (alpha (x w)+ / z+ - beta (x w)- / z-) . R with z+ and z- the sums of the positive and of the negative
    contributions.

    Source: Bach et al. 2015, eq. 60; z-plus is that of Montavon et al. 2017.

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
        """Whether it may lose relevance: to a bias, or, for a beta, where all contributions have one sign."""
        return self.bias == "include" or self.beta > 0

    def __call__(self, op: Op, r: Tensor) -> Tensor:
        """Return the relevance of the input."""
        if not self.beta:
            return self._share(op, r, "positive", "negative")
        positive = self._share(op, self.alpha * r, "positive", "negative")
        return positive + self._share(op, -self.beta * r, "negative", "positive")

    def _share(self, op: Op, r: Tensor, same: Part, other: Part) -> Tensor:
        """Share R among the contributions of one sign.

        Inputs above 0 make them with weights of that sign (``same``), inputs below 0 with weights of the other.
        """
        up, down = op.x.clamp_min(0), None if op.nonnegative else op.x.clamp_max(0)
        b = op.b(same) if self.bias == "include" else None
        z = op.forward(up, same, b)
        if down is not None:
            z = z + op.forward(down, other)
        if self.e == 0:
            op.audit_dead_ends(r, z)
        s = divide_by(r, z, self.e)
        op.audit_biases(s, b)
        share = up * op.back(s, same)
        return share if down is None else share + down * op.back(s, other)


@dataclass(frozen=True)
class Gamma:
    """Contributions that agree with the output's sign count (1 + gamma) times, so that its denominator can't vanish.

    With z+ the sum of the positive contributions and z- that of the negative ones, z = z+ + z-:

        R' = (x w + gamma (x w)+) . R / (z + gamma z+)  where z > 0
        R' = (x w + gamma (x w)-) . R / (z + gamma z-)  where z < 0

    The classic form takes the first line for every output and W+ for (x w)+, whatever the sign of x. On inputs that
    are not negative and outputs above 0 both are the same; where outputs are below 0, as at the end of a residual
    branch, the denominators of the classic form cross 0 and relevance grows without bound.

    Source: the classic form is that of Montavon et al. 2019, section 10.2.

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
            op.audit_biases(s, b1)
            return op.x * op.back(s, w1)
        up, down = op.x.clamp_min(0), None if op.nonnegative else op.x.clamp_max(0)
        z = op.y if with_bias else op.forward(op.x)
        z_plus = op.forward(up, "positive", op.b("positive") if with_bias else None)
        if down is not None:
            z_plus = z_plus + op.forward(down, "negative")
        w2 = op.w() + g * op.w("negative")
        # z- is z - z+; where z < 0 both terms of z + g z- = (1 + g) z - g z+ have one sign, so nothing cancels.
        s = divide_by(r * (z > 0), z + g * z_plus, self.e)
        t = divide_by(r * (z < 0), (1 + g) * z - g * z_plus, self.e)
        b = op.b() if with_bias else None
        if b is not None:
            op.audit_biases(s, b + g * b.clamp_min(0))
            op.audit_biases(t, b + g * b.clamp_max(0))
        share = up * (op.back(s, w1) + op.back(t, w2))
        return share if down is None else share + down * (op.back(s, w2) + op.back(t, w1))


@dataclass(frozen=True)
class Box:
    """z^B for inputs between bounds: R' = (x - l) . W+^T s + (x - h) . W-^T s, s = R / (W+ (x - l) + W- (x - h)).

    The usual form, W x - W+ l - W- h, is the same but for rounding, which leaves no exact zeros.

    Source: Montavon et al. 2017, the rule for pixels.

    Attributes:
        bounds: lowest and highest value, broadcast to the input; None for those of each image.
        e: stabiliser; 0 gives nothing where the denominator is 0.
        divide: R, z and e -> s.
    """

    bounds: tuple[Tensor | float, Tensor | float] | None = None
    e: int | float = 0.0
    divide: Division = field(default=divide_by, repr=False)

    def __call__(self, op: Op, r: Tensor) -> Tensor:
        """Return the relevance of the input."""
        x = op.x
        if self.bounds is None:
            wide = (-1, *[1] * (x.ndim - 1))
            bounds = x.flatten(1).amin(1).view(wide), x.flatten(1).amax(1).view(wide)
        else:
            bounds = self.bounds
        low, high = (x - torch.as_tensor(b, dtype=x.dtype, device=x.device) for b in bounds)
        op.audit_bounds(low, high)
        s = self.divide(r, op.forward(low, "positive") + op.forward(high, "negative"), self.e)
        return low * op.back(s, "positive") + high * op.back(s, "negative")


@dataclass(frozen=True)
class Squared:
    """w^2: shares in proportion to the squared weights, whatever the input.

    Source: Montavon et al. 2017, the rule for inputs that may be any number.

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
        op.audit_biases(s, b)
        return op.back(s, "squared")


@dataclass(frozen=True)
class Flat:
    """Shares evenly over the receptive field.

    Source: Lapuschkin et al. 2019, "Unmasking Clever Hans predictors and assessing what machines really learn".

    Attributes:
        e: stabiliser.
    """

    e: int | float = TINY

    def __call__(self, op: Op, r: Tensor) -> Tensor:
        """Return the relevance of the input."""
        return op.back(divide_by(r, op.forward(torch.ones_like(op.x), "ones"), self.e), "ones")
