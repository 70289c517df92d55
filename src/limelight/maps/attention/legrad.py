"""LeGrad."""

from typing import Literal

import torch

from limelight.card import register_method
from limelight.engine.block_scores import BlockScores, Readout
from limelight.errors import UnsupportedModel
from limelight.model.text_classifier import TextClassifier
from limelight.ops import min_max
from limelight.shapes import Grid

SAYS_NOTHING = 0.8
"""Where the map of an empty text, from 0 to 1, is above it, a text's map is 0."""


@register_method(
    "legrad",
    family="attention",
    cites="bousselham2025",
    cost="2 F + 1 R",
    layers="none",
    profiles={
        "authors": {"start_layer": -2, "reduce": "sum", "norm": False},
        "torchcam": {"reduce": "mean"},
    },
)
def legrad(
    block_scores: BlockScores,
    *,
    start_layer: int = 0,
    readout: Readout | None = None,
    reduce: Literal["mean", "sum"] = "mean",
    norm: bool = True,
    empty: int | str | None = None,
) -> Grid:
    """How each block's attention moves the score that the head gives that block's own tokens.

    L = mean_l mean_h mean_i (ds_l / dA_l[h, i])^+ over blocks l, heads h and queries i, with s_l the head's score of
    the mean of the tokens behind block l. Where the head pools by attention, A is that of the pooling, once for each
    block.

    Args:
        block_scores: gives each block's attention with the gradient of its own score.
        start_layer: the first block that counts, from 0; below 0 from the end.
        readout: what the head is given: the mean of all tokens in the place of each (``mean``), or the tokens
            (``own``); None for the mean, or, where the head pools by attention, the tokens.
        reduce: how blocks are put together.
        norm: whether the tokens pass the last norm before an attention pools them, as the network's own do.
        empty: one of a ``TextClassifier``'s texts that says nothing, such as "a photo". Where its own
            map, from 0 to 1, is above 0.8, this one is 0, as they correct SigLIP; for as many passes again.

    Returns:
        (n, *grid), at least 0.

    Raises:
        UnsupportedModel: ``empty`` is given, and the classes are no texts.

    Source: Bousselham et al. 2025, equations 6 to 8.

    Example:
        >>> explanation = ll.explain("demo/vit", ll.example_image(), "legrad", target="star")
        >>> explanation.map.shape
        torch.Size([128, 128])
    """
    classifier = block_scores.attentions.clean.classifier
    if empty is not None and not isinstance(classifier, TextClassifier):
        raise UnsupportedModel(
            f"legrad, empty={empty!r}: the classes of {classifier.name} are no texts; make it an ll.TextClassifier "
            "with one that says nothing, such as 'a photo', or leave empty out"
        )

    def of(target: int | str | None) -> Grid:
        """Return the map of a class, or of what is explained."""
        blocks = block_scores(readout, start_layer, norm=norm, target=target)
        total = torch.stack([a.gradient.relu().mean((1, 2)) for a in blocks]).sum(0)
        return block_scores.attentions.tokens.map(total / len(blocks) if reduce == "mean" else total)

    return of(None) if empty is None else of(None) * (min_max(of(empty))[0] <= SAYS_NOTHING)
