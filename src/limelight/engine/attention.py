"""What a method of the attention family computes with: the attentions of a pass, and where their tokens lie."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limelight.errors import UnsupportedModel
from limelight.model.attention import Attention
from limelight.model.one_pass import Pass
from limelight.model.tokens import Tokens, find_tokens
from limelight.shapes import Grid


@dataclass(frozen=True)
class Attentions:
    """The attentions of tokens over tokens in a pass, first to last.

    Attributes:
        blocks: those of all tokens over all, (n, heads, tokens, tokens) each.
        pools: those of one query behind them: of a pooling head, or of a class token that comes in late.
        tokens: where the tokens lie, and which of them the head reads.
    """

    blocks: Sequence[Attention]
    pools: Sequence[Attention]
    tokens: Tokens

    def compose(
        self, fuse: Callable[[Attention], Tensor], mix: Callable[[Tensor], Tensor], start_layer: int = 0
    ) -> Grid:
        """Return what the head sees of each patch through all blocks, (n, *grid).

        It is the row of M_L ... M_1 that the head reads, from the last to the first, so that a row is kept and no
        matrix.

        Args:
            fuse: an attention -> one matrix for all its heads, (n, queries, keys).
            mix: such a square matrix -> M, which has the residual connection too.
            start_layer: the first block that counts, from 0; below 0 from the end.
        """
        count, blocks = self.tokens.count, self.blocks[start_layer:]
        row = self._read(fuse, mix)
        for block in reversed(blocks):
            row = row @ mix(fuse(block))
        return self.tokens.map(row[:, 0, -count:])

    def of_last(self, fuse: Callable[[Attention], Tensor]) -> Grid:
        """Return what the head sees of each patch in the last attention alone, (n, *grid)."""
        last = fuse((*self.blocks, *self.pools)[-1])
        row = last[:, 0] if self.pools else self.tokens.read.to(last) @ last
        return self.tokens.map(row[:, -self.tokens.count :])

    def _read(self, fuse: Callable[[Attention], Tensor], mix: Callable[[Tensor], Tensor]) -> Tensor:
        """Return what the head takes of each token behind the blocks, (n, 1, tokens)."""
        count, images = self.tokens.count, len(self.blocks[0].values)
        if not self.pools:
            return self.tokens.read.to(self.blocks[0].values).expand(images, 1, count)
        row = None
        for pool in reversed(self.pools):
            fused = fuse(pool)
            late = fused.shape[2] == count + 1  # a class token, which sees itself too and has a residual connection
            if late:
                fused = torch.cat([fused, fused.new_zeros(images, count, count + 1)], 1)
                fused = mix(fused)
            row = fused[:, :1] if row is None else row @ fused
        assert row is not None
        return row[:, :, -count:]


def read_attentions(clean: Pass, method: str) -> Attentions:
    """Return the attentions of tokens over tokens in a pass.

    Raises:
        UnsupportedModel: there are none, or they are within windows or of changing numbers of tokens.
    """
    name, seen = clean.classifier.name, clean.attention
    if not seen:
        raise UnsupportedModel(f"no attention of tokens over tokens was seen in {name}; {method} is for transformers")
    squares = [a for a in seen if a.tokens[0] == a.tokens[1]]
    windows = max(a.windows for a in seen)
    if windows > 1:
        raise UnsupportedModel(
            f"{method} is not defined where tokens see each other in windows only, as in {name} ({windows} of them in "
            f"{next(a.owner for a in seen if a.windows > 1)!r}); grad-cam, attn-lrp and gradients are"
        )
    last = squares[-1].tokens[0] if squares else 0
    behind = seen[seen.index(squares[-1]) + 1 :] if squares else ()
    pools = [a for a in behind if a.tokens[0] == 1 and a.tokens[1] in (last, last + 1)]
    if len(pools) + len(squares) < len(seen) or any(a.tokens[0] != last for a in squares):
        sizes = ", ".join(dict.fromkeys(f"{q} x {k}" for q, k in (a.tokens for a in seen)))
        raise UnsupportedModel(
            f"{method} is not defined where keys are pooled or the number of tokens changes, as in {name} (queries x "
            f"keys: {sizes}); grad-cam, attn-lrp and gradients are"
        )
    return Attentions(squares, pools, find_tokens(clean.classifier, clean.image, last))
