"""Attribution Equilibrium: relevance that positive and negative evidence share in fixed amounts at every layer."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import prod
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from limelight.card import register_method
from limelight.engine.saliency import Raw
from limelight.ops.space import axes
from limelight.relevance.affine_rules import Box
from limelight.relevance.op import Op, divide_by
from limelight.relevance.recording import Recording
from limelight.relevance.rules import Rules
from limelight.relevance.simple_rules import native, only_active
from limelight.shapes import Acts, Scores

ChannelMixing = Literal["height1", "pointwise"]
RatioIn = Literal["c", "all"]
SHIFT = 1e-9
"""What pools add to their inputs, so that windows of zeros hand relevance on too."""


# -- where propagation begins ------------------------------------------------------------------------------


def feature_map(recording: Recording, layer: str, acts: Acts, grads: Acts) -> tuple[Tensor, Tensor, Tensor]:
    """Return the map before the final pooling, where propagation begins, with its values and gradient (n, k, *place).

    That is the layer; where the layer only holds the maxima of windows that tile an earlier map, as the last one
    of a VGG does, it is that map. Overlapping windows (AlexNet) make a map of their own.
    """
    info = recording.info(recording.outputs[layer])
    if info is not None and info.source is not None:
        at = info.source.data_ptr()
        pools = (op for op in recording.ops if op.kind == "max_pool" and op.function == info.made_by)
        pool = next((op for op in pools if op.inputs[0].data_ptr() == at), None)
        if pool is not None and _tiles(pool):
            return info.source, pool.x, pool.native(grads)[0]
    return recording.maps(layer), acts, grads


def _tiles(pool: Op) -> bool:
    """Return whether no two windows share a position: each sees one value only of what their means hand back."""
    x = pool.x[:1, :1]
    with torch.enable_grad():
        x = x.clone().requires_grad_()
        (shares,) = torch.autograd.grad(pool.average(x).sum(), x)
    return torch.allclose(pool.call(shares), pool.average(shares))


def contributions(acts: Acts, grads: Acts) -> Acts:
    """Return alpha_k A_k, where alpha_k is the mean of the gradient over all positions."""
    return grads.mean(axes(grads, 2), keepdim=True) * acts


def sections(relevance: Acts) -> dict[str, Tensor]:
    """Return the positive and the negative relevance, each summed over channels, (n, 2, *place), not negative."""
    return {"sections": torch.stack([relevance.clamp_min(0).sum(1), -relevance.clamp_max(0).sum(1)], 1)}


# -- rules -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Equilibrium:
    """R' = C + A + B, from relevance that is first balanced: P and N, of total 1 and -1.

    With the masks m+ of inputs above 0 and m0 of the others, and D(a, b) = a / b, 0 where b = 0:

        C = x+ . |W|^T D(ratio P + N, |W| x+), less 1 in all, evenly where C is not 0
        A = m+ . |W|^T D(P, |W| m+)
        B = m0 . |W|^T D(N, |W| m0)

    A convolution that only mixes channels takes the ratio 1, and nothing off C. With ``ratio_in="all"`` every
    convolution begins with P of total ratio, for all terms.

    Attributes:
        ratio: positive relevance in C for one part of negative.
        use_c: whether there is C, by activation and weight.
        use_a: whether there is A, by weight, for active inputs.
        use_b: whether there is B, by weight, for inactive inputs.
        use_shift: whether 1 is taken off C.
        channel_mixing: which convolutions only mix channels.
        keep_mass: scale R' by the mean amount of positive and negative relevance that came.
        ratio_in: whether the ratio counts in C, or in all terms.
    """

    ratio: float = 1.0
    use_c: bool = True
    use_a: bool = True
    use_b: bool = True
    use_shift: bool = True
    channel_mixing: ChannelMixing = "height1"
    keep_mass: bool = False
    ratio_in: RatioIn = "c"

    @property
    def resets(self) -> bool:
        """Whether amounts are fixed, whatever came."""
        return not self.keep_mass

    def __call__(self, op: Op, r: Tensor) -> Tensor:
        """Return the relevance of the input."""
        x = op.x
        helps, hurts = r.clamp_min(0), r.clamp_max(0)
        up, down = op.total(helps), -op.total(hurts)
        p, n = helps / up.masked_fill(up == 0, 1), hurts / down.masked_fill(down == 0, 1)
        mixes = self._mixes(op)
        in_c, in_all = self._ratios(mixes)
        p = in_all * p
        terms: list[tuple[Tensor, Tensor]] = []
        if self.use_c:
            terms.append((x if op.nonnegative else x.clamp_min(0), in_c * p + n))
        if self.use_a:
            terms.append(((x > 0).to(x), p))
        if self.use_b:
            terms.append(((x <= 0).to(x), n))
        if not terms:
            return torch.zeros_like(x)
        # One forward and one backward for all terms. A denominator is 0 exactly where no input counts: |W| m0 must
        # not be had as |W| 1 - |W| m+, which rounds.
        inputs = torch.cat([x for x, _ in terms])
        s = torch.cat([s for _, s in terms]).div_(op.forward(inputs, "absolute")).nan_to_num_(0, 0, 0)
        shares = op.back(s, "absolute").mul_(inputs).chunk(len(terms))
        if self.use_c and self.use_shift and not mixes:
            reached = (shares[0] != 0).to(x)
            shares[0].sub_(reached / op.total(reached).clamp_min(1))
        share = sum(shares[1:], shares[0])
        return share * (up + down) / 2 if self.keep_mass else share

    def law(self, op: Op, r: Tensor, incoming: Scores, size: Scores) -> tuple[Scores, Scores]:
        """Return fixed amounts, whatever came."""
        up, down = ((op.size_per_image(part) > 0).to(size) for part in (r.clamp_min(0), r.clamp_max(0)))
        mixes = self._mixes(op)
        in_c, in_all = self._ratios(mixes)
        up = in_all * up
        off = float(self.use_c and self.use_shift and not mixes)
        total = self.use_c * (in_c * up - down) - off + self.use_a * up - self.use_b * down
        most = self.use_c * (in_c * up + down) + off + self.use_a * up + self.use_b * down
        kept = size / 2 if self.keep_mass else torch.ones_like(size)
        return total * kept, most * kept

    def _ratios(self, mixes: bool) -> tuple[float, float]:
        """Return what multiplies P in C alone, and in all terms."""
        if self.ratio_in == "all":
            return 1.0, self.ratio
        return 1.0 if mixes else self.ratio, 1.0

    def _mixes(self, op: Op) -> bool:
        """Return whether an operation only mixes channels."""
        if op.kind != "conv" or self.channel_mixing == "height1":
            return op.kernel_height == 1
        return prod(op.w().shape[2:]) == 1


@dataclass(frozen=True)
class Pool:
    """R' = v . pool^T (R / pool(v)) for v = x + 1e-9: a mean shares out, a maximum hands on to its winner.

    Attributes:
        clamp: leave negative inputs out.
    """

    clamp: bool = True

    def __call__(self, op: Op, r: Tensor) -> Tensor:
        """Return the relevance of the input."""
        v = (op.x.clamp_min(0) if self.clamp and not op.nonnegative else op.x) + SHIFT
        with torch.enable_grad():
            v.requires_grad_()
            z = op.call(v)
        (s,) = torch.autograd.grad(z, v, divide_by(r, z.detach()))
        return v.detach() * s


def main_branch(op: Op, r: Tensor) -> tuple[Tensor | None, ...]:
    """Hand all to the operand behind more affine operations, nothing to the shortcut."""
    shares: list[Tensor | None] = [None] * len(op.inputs)
    main = op.depths.index(max(op.depths))
    shares[main] = r.sum_to_size(op.inputs[main].shape)
    return tuple(shares)


@dataclass(frozen=True)
class Balanced:
    """Each operand's share is proportional to its values, and its total to the absolute total of that share."""

    absorbs = True

    def __call__(self, op: Op, r: Tensor) -> tuple[Tensor, ...]:
        """Return the relevance of the operands."""
        shares = [x * s for x, s in zip(op.inputs, op.native(divide_by(r, op.y)), strict=True)]
        totals = [op.total(share) for share in shares]
        mass = sum((t.abs() for t in totals), torch.zeros_like(totals[0]))
        scales = [divide_by(t.abs() * op.total(r), mass * t) for t in totals]
        return tuple(share * scale for share, scale in zip(shares, scales, strict=True))


@dataclass(frozen=True)
class Concatenation:
    """Each operand its part, where it is not 0; where a dense block closes, its input gets nothing.

    Attributes:
        blocks: the modules whose concatenation closes a dense block.
        keep: give the input of a dense block its part too.
    """

    blocks: frozenset[str] = frozenset()
    keep: bool = False
    absorbs = True

    def __call__(self, op: Op, r: Tensor) -> tuple[Tensor | None, ...]:
        """Return the relevance of the inputs."""
        parts = native(op, r)
        inside = any(op.owner.startswith(f"{block}.") for block in self.blocks)
        if inside or max(op.depths) == 0:  # in a dense layer, or of colours
            return parts
        shares: list[Tensor | None] = [s * (x != 0) for s, x in zip(parts, op.inputs, strict=True)]
        if op.owner in self.blocks and not self.keep:
            shares[0] = None
        return tuple(shares)


def dense_blocks(recording: Recording, patterns: tuple[str, ...] = ()) -> frozenset[str]:
    """Return the modules that join their input with what all of their children made of it, or that match a pattern."""
    return frozenset(
        op.owner
        for op in recording.ops
        if op.kind == "cat" and (_closes(recording, op) or any(fnmatchcase(op.owner, p) for p in patterns))
    )


def _closes(recording: Recording, op: Op) -> bool:
    """Return whether a concatenation joins a module's input with what each of its children made of it."""
    if not op.owner or len(op.origins) < 2 or op.origins[0].startswith(f"{op.owner}."):
        return False
    children = [
        f"{op.owner}.{name}" for name, _ in recording.classifier.module.get_submodule(op.owner).named_children()
    ]
    return len(children) == len(op.origins) - 1 and all(
        origin == child or origin.startswith(f"{child}.")
        for child, origin in zip(children, op.origins[1:], strict=True)
    )


# -- the method --------------------------------------------------------------------------------------------


@register_method(
    "attribution-equilibrium",
    family="propagation",
    cites="nam2024",
    cost="4 F + 3 R + 1 R_t",
    layers="one",
)
def attribution_equilibrium(
    recording: Recording,
    acts: Acts,
    grads: Acts,
    layer: str,
    *,
    ratio: Annotated[float, Field(ge=1, le=2)] = 1.0,
    use_c: bool = True,
    use_a: bool = True,
    use_b: bool = True,
    use_shift: bool = True,
    residual: Literal["main", "balanced"] = "main",
    dense_input_share: Literal["drop", "keep"] = "drop",
    dense_block: tuple[str, ...] = (),
    channel_mixing: ChannelMixing = "height1",
    bounds: Literal["image", "data"] = "image",
    keep_mass: bool = False,
    ratio_in: RatioIn = "c",
    stop: str | None = None,
) -> Raw:
    """Relevance handed down from a layer, positive and negative in a fixed ratio at every operation.

    R begins at the layer as alpha_k A_k over its absolute total, with alpha_k the mean gradient of channel k. Every
    convolution balances it and hands it on by ``Equilibrium``, the first one by z^B. The total of the map is therefore
    a constant (ratio - 2 where there is one way to the image) and says nothing of the score.

    Args:
        recording: the recorded pass.
        acts: activations of the layer, (n, k, *place).
        grads: gradient of the score with respect to them, (n, k, *place).
        layer: name of the layer; where it only holds the maxima of windows that tile a map, propagation begins at
            that map.
        ratio: positive relevance that survives a layer for one part of negative; less makes maps sparser.
        use_c: whether activation times weight counts.
        use_a: whether active inputs share positive relevance by weight alone.
        use_b: whether inactive inputs share negative relevance by weight alone.
        use_shift: whether every layer takes 1 off, evenly from all that contribute.
        residual: where branches are added, all to the main one, the one with more layers; or shares by total.
        dense_input_share: what becomes of the share of a dense block's input.
        dense_block: patterns of the names of modules that close dense blocks and are not recognised as such.
        channel_mixing: which convolutions only mix channels: those whose kernels are one high, or one pixel.
        bounds: lowest and highest value at the first convolution: those in the image, or black and white.
        keep_mass: let every convolution keep the amount of relevance that came to it.
        ratio_in: where the ratio counts: in C, as in the code; or before all terms, as the paper has it (eqs. 8 and
            9), which makes the total 2 ratio - 3. That convolutions that only mix channels then take it too is a
            reading.
        stop: a layer nearer to the image, where relevance stops; None for the image itself.

    Returns:
        (n, *space), signed, and the start map summed over channels. With ``stop`` (n, *place) of that layer, and its
        positive and its negative section, each summed over channels, as parts.

    Source: Nam and Lee 2024, eqs. 5 to 15, as reconstructed from the authors' code.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "attribution-equilibrium", ratio=1.2)
        >>> round(float(explanation.raw.sum()), 2)  # ratio - 2
        -0.8
    """
    begin, values, gradient = feature_map(recording, layer, acts, grads)
    start = contributions(values, gradient)
    total = recording.ops[0].total(start).abs()
    start = start / total.masked_fill(total == 0, 1)
    rule = Equilibrium(ratio, use_c, use_a, use_b, use_shift, channel_mixing, keep_mass, ratio_in)
    pool = Pool()
    rules = Rules(
        {
            "first": Box(None if bounds == "image" else recording.classifier.bounds),
            "affine": rule,
            "batch_norm": only_active,
            "max_pool": pool,
            "avg_pool": pool,
            "add": main_branch if residual == "main" else Balanced(),
            "cat": Concatenation(dense_blocks(recording, dense_block), dense_input_share == "keep"),
        },
        fuse=False,
    )
    relevance = recording.to_stop(rules, begin, start, stop)
    return Raw(relevance.sum(1), {"start": start.sum(1)} | ({} if stop is None else sections(relevance)))
