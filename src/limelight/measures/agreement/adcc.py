"""ADCC: average drop, coherency and complexity in one number."""

from typing import Literal

import torch

from limelight.card import register_metric
from limelight.measures.agreement.coherency import coherency
from limelight.measures.agreement.complexity import complexity
from limelight.measures.faithfulness.drop import average_drop
from limelight.ops import divide
from limelight.scoring.measured import Measured
from limelight.scoring.needs import AsMasks, CleanScore, ExplainMasked, MaskedScore, Space
from limelight.shapes import Scores


@register_metric(
    "adcc",
    family="agreement",
    cites="poppi2021",
    cost="1 F + 1 E",
    better="higher",
    pooling="adcc",
    pooling_option="level",
    mask_options=("space", "renormalize"),
    profiles={"adcc": {"renormalize": False}},
)
def adcc(
    clean_score: CleanScore,
    masked_score: MaskedScore,
    as_masks: AsMasks,
    explain_masked: ExplainMasked,
    *,
    level: Literal["dataset", "image"] = "dataset",
    space: Space = "normalised",
    renormalize: bool = True,
) -> Measured:
    """Harmonic mean of coherency, 1 - complexity and 1 - average drop.

    3 / (1 / Coh + 1 / (1 - Com) + 1 / (1 - AD)); 0 where a term is 0. In [0, 1], higher is better. The masked
    image is passed once for drop and coherency.

    Args:
        clean_score: p_c(x).
        masked_score: p_c(x * E).
        as_masks: E.
        explain_masked: the same method on x * E.
        level: how images become the figure of a data set: averages of the three terms combined once
            (``dataset``, as the paper's tables are), or the mean of the images' own numbers (``image``).
        space: ``normalised`` fades to the mean colour, ``pixel`` to black.
        renormalize: scale each map to [0, 1] first.

    Source: Poppi et al. 2021, eq. 5.

    Example:
        >>> results = ll.evaluate("demo/resnet", [ll.example_image()], ["grad-cam", "fake-cam"], "adcc")
        >>> results.summary()["fake-cam", "adcc"].mean < 0.01  # whatever its drop, a map of ones says nothing
        True
    """
    coh = coherency(as_masks, explain_masked, space=space, renormalize=renormalize).values
    com = complexity(as_masks, renormalize=renormalize)
    drop = average_drop(clean_score, masked_score, space=space, renormalize=renormalize).values
    parts = {"coherency": coh, "complexity": com, "average-drop": drop}
    return Measured(harmonic_mean(coh, 1 - com, 1 - drop), parts)


def harmonic_mean(*terms: Scores) -> Scores:
    """Return n / sum(1 / t), or 0 where a term is not above 0."""
    stacked = torch.stack([t.double() for t in terms])
    mean = len(terms) / divide(torch.ones_like(stacked), stacked, 1.0).sum(0)
    return mean.masked_fill((stacked <= 0).any(0), 0.0).to(terms[0].dtype)
