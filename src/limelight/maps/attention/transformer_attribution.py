"""Transformer attribution."""

from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from limelight.card import register_method
from limelight.errors import UnsupportedModel
from limelight.model.tokens import find_tokens
from limelight.ops.scale import divide
from limelight.relevance.affine_rules import AlphaBeta
from limelight.relevance.attention_rules import Contributions
from limelight.relevance.op import Kind, Op
from limelight.relevance.recording import Recording
from limelight.relevance.rules import Rules
from limelight.relevance.simple_rules import keep, native, split_evenly, take_apart, to_first
from limelight.shapes import Grid

TINY = 1e-9
"""The stabiliser of the authors' code."""


@dataclass(frozen=True)
class BalancedSum(Contributions):
    """Shares of a sum, each branch scaled to |S_a| / (|S_a| + |S_b|) of all R, where S_a is the sum of its share."""

    def __call__(self, op: Op, r: Tensor) -> tuple[Tensor, ...]:
        """Return the relevance of every summand."""
        shares = [s for s in self.share(op, r, range(len(op.inputs))) if s is not None]
        sums = [op.total(s) for s in shares]
        size = sum((s.abs() for s in sums), torch.zeros_like(sums[0]))
        return tuple(s * divide(of.sign() * op.total(r), size) for s, of in zip(shares, sums, strict=True))


RULES = Rules(
    {
        "affine": AlphaBeta(e=TINY, bias="exclude"),
        "add": BalancedSum(TINY),
        "avg_pool": Contributions(TINY),
        "matmul": Contributions(2 * TINY),
        "product": split_evenly,
        "quotient": to_first,
        "softmax": keep,
        "attention": take_apart,
    },
    fuse=False,
)
"""Positive contributions of linear layers without biases; softmax, normalisation and activations hand everything on."""

SLOPES = Rules({**dict.fromkeys(get_args(Kind), native), "attention": take_apart}, fuse=False, rest={})
"""The rules of calculus, inside attention too."""


@register_method(
    "transformer-attribution",
    family="attention",
    cites="chefer2021",
    cost="4 F + 3 R",
    in_short="3 F + 3 R",
    layers="none",
)
def transformer_attribution(recording: Recording, *, start_layer: int = 0) -> Grid:
    """Relevance of attention where its gradient agrees, carried through all blocks.

    C = (I + mean_h (G_L R_L)^+) ... (I + mean_h (G_1 R_1)^+), in the row that the head reads; R_l is the relevance that
    comes to the attention of block l from 1 at the class, G_l the gradient of the score with respect to it.

    Args:
        recording: the recorded pass.
        start_layer: the first block that counts, from 0; below 0 from the end.

    Returns:
        (n, *grid), at least 0.

    Raises:
        UnsupportedModel: the tokens of the network don't all see each other in every block.

    Source: Chefer, Gur and Wolf 2021 (CVPR), section 3; rows are not normalised, as in the authors' code.

    Example:
        >>> explanation = ll.explain("demo/vit", ll.example_image(), "transformer-attribution", target="star")
        >>> explanation.map.shape
        torch.Size([128, 128])
    """
    relevance, gradients = at_attention(recording, RULES), at_attention(recording, SLOPES)
    tokens = find_tokens(recording.classifier, recording.image.detach(), relevance[0].shape[-1])
    row = tokens.read.to(relevance[0]).expand(len(recording.image), 1, -1)
    for r, g in reversed([*zip(relevance, gradients, strict=True)][start_layer:]):
        row = row + row @ (g * r).relu().mean(1)
    return tokens.map(row[:, 0])


def at_attention(recording: Recording, rules: Rules) -> list[Tensor]:
    """Return the relevance that comes to the weights of every attention, (n, heads, tokens, tokens), first to last."""
    function = recording.targets.function is not None
    start = recording.start.outputs if function else recording.logits
    arrived = recording.at_operations(rules, start, recording.seed(recording.start.gradient))
    weights = [r for op, r in reversed(arrived.items()) if op.kind == "softmax" and op.axis == r.ndim - 1 > 1]
    sizes = {tuple(r.shape[-2:]) for r in weights}
    n, name = len(recording.image), recording.classifier.name
    windows = any(r.ndim > 4 or (r.ndim == 4 and len(r) != n) for r in weights)
    if windows or len(sizes) != 1 or any(queries != keys for queries, keys in sizes):
        seen = ", ".join(f"{q} x {k}" for q, k in sorted(sizes)) or "none"
        raise UnsupportedModel(
            "transformer-attribution is defined where all tokens see each other in every block, not in "
            f"{name} (queries x keys: {seen}); grad-cam, attn-lrp and gradients are"
        )
    return [r if r.ndim == 4 else torch.unflatten(r, 0, (n, -1)) for r in weights]
