"""Attentions with the gradient of a score of their own: what the head makes of the tokens right behind each block."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from limelight.engine.attention import Attentions
from limelight.errors import UnsupportedModel
from limelight.model.attention import Attention, watch_attention
from limelight.model.boundary import differentiate
from limelight.model.cost import Meter
from limelight.model.head import Head
from limelight.model.layer_hooks import watch_layers
from limelight.model.one_pass import Pass
from limelight.model.preserve import preserve_state
from limelight.model.targets import Targets
from limelight.model.windows import block_of

Readout = Literal["mean", "own"]
"""What the head is given of a block's tokens: their mean in each one's place, or they themselves."""


@dataclass(frozen=True)
class BlockScores:
    """Scores the tokens behind each block by the network's own head.

    Attributes:
        attentions: those of the pass.
        meter: counts the passes.
    """

    attentions: Attentions
    meter: Meter

    def __call__(
        self, readout: Readout | None, first: int, *, norm: bool, target: int | str | None = None
    ) -> tuple[Attention, ...]:
        """Return the attentions of blocks, each with the gradient of its own score.

        Where the head pools by attention, it is that attention, once for each block.

        Args:
            readout: what the head is given; None for the mean, or, where it pools by attention, the tokens.
            first: the first block, from 0; below 0 from the end.
            norm: whether the tokens pass what stands between the last block and the pooling, such as a norm.
            target: a class in place of what is explained, by the same score.
        """
        clean, attentions = self.attentions.clean, self.attentions
        attentions.refuse_parts()
        classifier, module, x = clean.classifier, clean.classifier.module, clean.image
        owners = [a.owner for a in clean.attention]
        blocks = [block_of(a.owner, owners) for a in attentions.blocks]
        readout = readout or ("own" if attentions.pools else "mean")
        head = _head(clean, blocks[-1], norm)
        targets = clean.targets
        if target is not None:
            targets = replace(Targets.parse(target, classifier, x), kind=targets.kind).settle(clean.logits)
        with preserve_state(module):
            image = x.detach().clone().requires_grad_()
            watched = watch_layers(classifier.modules(blocks), gradients=True, graph_from_image=True)
            with watched as hooks, watch_attention(module, len(x)) as watch:
                classifier.forward(image.clone())
            # Every block's way back is gone once; what the head takes, for each of them, is next to nothing.
            self.meter.add(forward=len(x), backward=len(x))
            seen = {a.owner: (a, watch.outputs[name]) for name, a in watch.seen.items()}
            return tuple(
                self._of_block(head, targets, hooks.outputs[block], seen[a.owner], readout)
                for block, a in list(zip(blocks, attentions.blocks, strict=True))[first:]
            )

    def _of_block(
        self, head: Head, targets: Targets, tokens: Tensor, of_block: tuple[Attention, Tensor], readout: Readout
    ) -> Attention:
        """Return one block's attention, or that of the pooling head, with the gradient of its score."""
        clean = self.attentions.clean
        axis = 1 if len(tokens) == len(clean.image) else 0
        module = clean.classifier.module
        with torch.enable_grad(), watch_attention(module, len(clean.image), bool(self.attentions.pools)) as pooling:
            given = tokens.mean(axis, keepdim=True).expand_as(tokens) if readout == "mean" else tokens
            output = head(given, gradients=True)
            score, _ = targets.read(clean.classifier, output, clean.image)
            a, y = of_block
            if pooling.seen:
                a, y = list(pooling.seen.values())[-1], list(pooling.outputs.values())[-1]
            (gradient,) = differentiate(module, clean.image, score.sum(), [y], keep=True)
        return a.with_gradient(gradient)


def _head(clean: Pass, block: str, norm: bool) -> Head:
    """Return the part of the network behind the last block, or behind all that goes on from it token by token.

    Raises:
        UnsupportedModel: something bypasses the blocks.
    """
    classifier, x = clean.classifier, clean.image
    key = ("head", block, norm, *x.shape[1:])
    if key not in classifier.memo:
        layers = classifier.trace(x).layers
        last = next(i for i, layer in reversed(list(enumerate(layers))) if layer.name == block)
        behind = [layer.name for layer in layers[last:] if layer.shape == layers[last].shape]
        classifier.memo[key] = Head(classifier, block if norm else behind[-1], x[:1])
    head = classifier.memo[key]
    if not head.exact:
        raise UnsupportedModel(
            f"{classifier.name} has something that bypasses {block!r}, so that its head can't be asked about the "
            "tokens of single blocks"
        )
    return head
