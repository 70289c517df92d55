"""What a method of the attention family computes with: the attentions of a pass, and where their tokens lie."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from limelight.errors import UnsupportedModel
from limelight.model.attention import Attention
from limelight.model.beside import find_beside
from limelight.model.cost import Meter
from limelight.model.one_pass import Pass, pass_images
from limelight.model.tokens import Tokens, find_tokens
from limelight.model.windows import block_of, place_windows
from limelight.shapes import Grid


@dataclass(frozen=True)
class Attentions:
    """The attentions of tokens over tokens in a pass.

    Attributes:
        method: who asks, for messages.
        clean: the pass.
        blocks: those with as many queries as keys, first to last.
        pools: those of one query behind them: of a pooling head, or of a class token that comes in late.
        others: those of more keys than queries before, or fewer.
    """

    method: str
    clean: Pass
    blocks: tuple[Attention, ...]
    pools: tuple[Attention, ...]
    others: tuple[Attention, ...]

    @cached_property
    def tokens(self) -> Tokens:
        """Where the tokens of the last block lie, and which of them the head reads."""
        (last,) = self._on_picture(self.blocks[-1:])
        count = last.tokens[0] if last.places is None else int(last.places.max()) + 1
        return find_tokens(self.clean.classifier, self.clean.image, count)

    def on_picture(self) -> tuple[Attention, ...]:
        """Return the blocks' attentions with the tokens of windows in their places in the picture.

        Raises:
            UnsupportedModel: where they lie can't be told.
        """
        return self._on_picture(self.blocks)

    def _on_picture(self, some: Sequence[Attention]) -> tuple[Attention, ...]:
        return place_windows(self.clean.classifier, self.clean.image, some)

    def last(self, count: int) -> tuple[Attention, ...]:
        """Return the last attentions, of blocks and of pooling heads."""
        return (*self.blocks, *self.pools)[-count:]

    def of_last(self, fuse: Callable[[Attention], Tensor]) -> Grid:
        """Return what the head sees of each patch in the last attention alone, (n, *grid)."""
        last = fuse((*self._on_picture(self.blocks[-1:]), *self.pools)[-1])
        row = last[:, 0] if self.pools else self.tokens.read.to(last) @ last
        return self.tokens.map(row)

    def up_to(self, block: int, token: int) -> "Attentions":
        """Return the same as if a block were the last, and all that is read behind it were one token."""
        twin = replace(self, blocks=self.blocks[: block + 1], pools=())
        read = F.one_hot(torch.tensor(token), self.tokens.count).float()
        vars(twin)["tokens"] = replace(self.tokens, read=read)
        return twin

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

        Raises:
            UnsupportedModel: tokens see each other in windows only, or their number changes.
        """
        self.refuse_parts()
        row = self._read(fuse, mix)
        for block in reversed(self.blocks[start_layer:]):
            row = row @ mix(fuse(block))
        return self.tokens.map(row[:, 0])

    def refuse_parts(self) -> None:
        """Refuse a network whose tokens don't all see each other in all its blocks.

        Raises:
            UnsupportedModel: tokens see each other in windows only, or they change from block to block.
        """
        name, count = self.clean.classifier.name, self.blocks[-1].tokens[0]
        instead = "grad-cam, attn-lrp and gradients are"
        windows = next((a for a in self.blocks if a.windows > 1), None)
        if windows is not None:
            where = f"{windows.windows} of them in {windows.owner!r}"
            raise UnsupportedModel(
                f"{self.method} is not defined where tokens see each other in windows only, as in {name} ({where}); "
                f"{instead}"
            )
        if self.others or any(a.tokens[0] != count for a in self.blocks) or not self._end_well(count):
            seen = self.clean.attention
            sizes = ", ".join(dict.fromkeys(f"{q} x {k}" for q, k in (a.tokens for a in seen)))
            raise UnsupportedModel(
                f"{self.method} is not defined where keys are pooled or the number of tokens changes, as in {name} "
                f"(queries x keys: {sizes}); {instead}"
            )

        owners = [a.owner for a in self.clean.attention]
        layers = {layer.name: layer.shape for layer in self.clean.classifier.trace(self.clean.image).layers}
        blocks = [b for b in (block_of(a.owner, owners) for a in self.blocks) if b in layers]
        other = next((b for b in blocks if layers[b] != layers[blocks[-1]]), None)
        if other is not None:
            raise UnsupportedModel(
                f"{self.method} is not defined where blocks have other tokens, as in {name} ({other!r} and "
                f"{blocks[-1]!r}: {layers[other]} and {layers[blocks[-1]]}); {instead}"
            )

    def _end_well(self, count: int) -> bool:
        """Whether each last attention of one query is over the blocks' tokens, maybe with the query's own."""
        return all(a.tokens[1] in (count, count + 1) for a in self.pools)

    def _read(self, fuse: Callable[[Attention], Tensor], mix: Callable[[Tensor], Tensor]) -> Tensor:
        """Return what the head takes of each token behind the blocks, (n, 1, tokens)."""
        count, images = self.tokens.count, len(self.blocks[0].values)
        if not self.pools:
            return self.tokens.read.to(self.blocks[0].weights).expand(images, 1, count)
        late = (
            self.pools[0].tokens[1] == count + 1
        )  # a class token, which sees itself too and has a residual connection
        row = fuse(self.pools[-1]) if not late else F.one_hot(torch.tensor(0), count + 1)[None, None]
        for pool in reversed(self.pools) if late else ():
            fused = fuse(pool)
            row = row.to(fused) @ mix(F.pad(fused, (0, 0, 0, count)))
        return row[:, :, -count:]


def attend_with_one_head(clean: Pass, method: str, last: int, meter: Meter) -> Attentions:
    """Return the attentions of another pass, in which the last ones have one head of the full width, with gradients."""
    numbers = range(len(clean.attention) - last, len(clean.attention))
    changed = pass_images(
        clean.classifier,
        clean.image,
        clean.targets,
        {},
        layer_gradients=False,
        attention=True,
        attention_gradients=True,
        one_head=numbers,
        meter=meter,
    )
    return read_attentions(changed, method)


def read_attentions(clean: Pass, method: str) -> Attentions:
    """Return the attentions of tokens over tokens in a pass.

    Raises:
        UnsupportedModel: there are none, or they run beside each other.
    """
    seen, classifier = clean.attention, clean.classifier
    squares = [a for a in seen if a.tokens[0] == a.tokens[1] > 1]
    if not squares:
        raise UnsupportedModel(
            f"no attention of tokens over tokens was seen in {classifier.name}; {method} is for transformers"
        )
    if beside := find_beside(classifier, clean.image):
        where = f"{beside[0]!r} has two" if beside[0] == beside[1] else f"{beside[0]!r} and {beside[1]!r}"
        raise UnsupportedModel(
            f"{method} is not defined where attentions run beside each other, as in {classifier.name} ({where}); "
            "grad-cam, attn-lrp and gradients are"
        )
    pools = tuple(a for a in seen[seen.index(squares[-1]) + 1 :] if a.tokens[0] == 1)
    others = tuple(a for a in seen if a not in squares and a not in pools)
    return Attentions(method, clean, tuple(squares), pools, others)


OneHead = Callable[[int], Attentions]
"""How many of the last attentions have one head of the full width -> the attentions of such a pass."""
