"""Rules for the operations of transformers, and the tables of AttnLRP and CP-LRP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from limelight.errors import InvalidOption
from limelight.relevance.affine_rules import Epsilon
from limelight.relevance.op import Op, at_least_float32, divide_by
from limelight.relevance.rule import TINY, Rule, absorbing
from limelight.relevance.simple_rules import joined, native, nothing, split_evenly, take_apart, to_first

AttentionRule = Literal["attn-lrp", "constant"]
"""What is done with the weights of attention."""


@absorbing
def linearised_softmax(op: Op, r: Tensor) -> Tensor:
    """R'_i = x_i (R_i - s_i sum_j R_j): the gradient times the input x, of which masked entries count as 0.

    The remainder of this expansion of the softmax s at x, sum_j R_j (1 - (x_j - sum_k s_k x_k)), is absorbed.

    Source: Achtibat et al. 2024, section 3.
    """
    s, x = op.y, op.x.nan_to_num(torch.nan, torch.inf, 0.0)
    op.audit_amount("remainder", r * (1 - x + (s * x).sum(op.axis, keepdim=True)))
    return x * (r - s * r.sum(op.axis, keepdim=True))


@dataclass(frozen=True)
class Contributions:
    """R' = x . J^T (R / (d z + e)): each input's share of an output z that is affine, or linear in d inputs alike.

    J is the derivative of z with respect to the input x, of a normalisation with its spread held constant. A sum of
    products of two activations hands each half. Constants in z keep their share, such as the bias of a normalisation.

    Source: Achtibat et al. 2024, section 3; normalisation as in its authors' code.

    Attributes:
        e: stabiliser; 0 gives nothing where z = 0.
        sign_aware: False adds e whatever the sign of z.
    """

    e: int | float = 0.0
    sign_aware: bool = False
    absorbs = True

    def __call__(self, op: Op, r: Tensor) -> tuple[Tensor | None, ...]:
        """Return the relevance of every input."""
        if op.kind == "norm" and op.held is None:  # without a mean and bias: linear but for its spread
            return (r,)
        return self.share(op, r, range(len(op.inputs)))

    def share(self, op: Op, r: Tensor, moving: Sequence[int]) -> tuple[Tensor | None, ...]:
        """Share R among some of the inputs, the others being constants."""
        xs = [at_least_float32(x).detach() for x in op.inputs]
        for i in moving:
            xs[i].requires_grad_()
        with torch.enable_grad():
            y = (op.held or op.call)(*xs)
        z = y.detach() * (len(moving) if op.kind == "matmul" else 1)
        if op.kind == "shift":
            z = z.masked_fill(z.isinf(), 1.0)  # masked scores, to which no relevance comes
        if self.e == 0:
            op.audit_dead_ends(r, z)
        s = divide_by(r, z, self.e) if self.sign_aware or self.e == 0 else r / (z + self.e)
        gradients = dict(zip(moving, torch.autograd.grad(y, [xs[i] for i in moving], s), strict=True))
        shares = tuple(x.detach() * gradients[i] if i in gradients else None for i, x in enumerate(xs))
        if op.kind in ("norm", "batch_norm", "shift") or op.function == "baddbmm":
            kept = op.sum_per_image(s * z) - sum(op.sum_per_image(t) for t in shares if t is not None)
            op.audit["biases" if "norm" in op.kind else "constants"] = kept
        return shares


@dataclass(frozen=True)
class ValuesOnly(Contributions):
    """Contributions, where the weights of attention are constants: all of R goes to the values they weigh.

    Source: Ali et al. 2022.
    """

    def __call__(self, op: Op, r: Tensor) -> tuple[Tensor | None, ...]:
        """Return the relevance of every input."""
        return self.share(op, r, range(len(op.inputs)) if op.gate is None else [1 - op.gate])


@dataclass(frozen=True)
class SignedGamma:
    """``Gamma`` in its generalised form, in one pass less each way: (x w)+ = (x w + |x w|) / 2.

    R' = ((1 + g/2) x w + g/2 sgn z |x w|) . R / ((1 + g/2) z + g/2 sgn z Z), where Z is the sum of all |x w|, with |b|.

    Attributes:
        gamma: g, at least 0; z-plus for very large ones.
        e: stabiliser.
    """

    gamma: float = 0.25
    e: int | float = TINY
    absorbs = True

    def __post_init__(self) -> None:
        if self.gamma < 0:
            raise InvalidOption(f"gamma = {self.gamma:g} is below 0")

    def __call__(self, op: Op, r: Tensor) -> Tensor:
        """Return the relevance of the input."""
        half, x, z, b = self.gamma / 2, op.x, op.y, op.b()
        sizes = op.forward(x.abs(), "absolute", op.b("absolute"))
        share = divide_by(r, (1 + half) * z.abs() + half * sizes, self.e)
        s, t = (1 + half) * z.sign() * share, half * z.sign().abs() * share
        if b is not None:
            op.audit_biases(s, b)
            op.audit_biases(t, b.abs())
        return x * op.back(s) + x.abs() * op.back(t, "absolute")


def attention_table(
    attention: AttentionRule = "attn-lrp",
    gamma_conv: float = 0.25,
    gamma_linear: float = 0.05,
    *,
    explicit: bool = False,
) -> Mapping[str, Rule]:
    """Return a table of rules for transformers.

    Args:
        attention: ``attn-lrp`` passes through the softmax to queries and keys; ``constant`` holds the weights of
            attention constant and hands all to the values, as CP-LRP.
        gamma_conv: of the rule for convolutions; 0 is the epsilon-rule.
        gamma_linear: of the rule for linear layers.
        explicit: with the stabilisers of the first publication, which are added without a look at the sign; without
            them relevance is input times gradient of the same rules, as later.
    """
    e, tiny = (1e-6, 1e-8) if explicit else (0.0, 0.0)

    def affine(gamma: float) -> Rule:
        """Return the rule for an affine operation."""
        return SignedGamma(gamma) if gamma else Epsilon(e, sign_aware=not explicit)

    constant = attention == "constant"
    return {
        "conv": affine(gamma_conv),
        "linear": affine(gamma_linear),
        "norm": Contributions(e),
        "batch_norm": Contributions(e),
        "avg_pool": Contributions(e),
        "add": Contributions(tiny),
        "shift": Contributions(tiny),
        "cat": joined,
        "product": split_evenly,
        "quotient": to_first,
        "statistic": native,
        "matmul": ValuesOnly(tiny) if constant else Contributions(tiny),
        "softmax": nothing if constant else linearised_softmax,
        "attention": take_apart,
    }
