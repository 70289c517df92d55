"""What the explained part of the picture alone is worth: average drop, average increase, confidence drop."""

from limelight.card import register_metric
from limelight.errors import InvalidOption
from limelight.ops import divide
from limelight.scoring.measured import Measured
from limelight.scoring.needs import CleanScore, MaskedScore, Space
from limelight.shapes import Scores


@register_metric(
    "average-drop",
    family="faithfulness",
    cites="chattopadhay2018",
    cost="2 F",
    better="lower",
    profiles={"adcc": {"renormalize": False}, "collection-cam": {}},
)
def average_drop(
    clean_score: CleanScore,
    masked_score: MaskedScore,
    *,
    space: Space = "normalised",
    renormalize: bool = True,
) -> Measured:
    """Share of its probability that the class loses when only the explained part is shown.

    max(0, Y - O) / Y, with Y = p_c(x) and O = p_c(x * E). In [0, 1], lower is better; a probability that
    underflows to 0 has nothing to lose: 0, and is counted in the part ``underflow``.

    Args:
        clean_score: Y.
        masked_score: O.
        space: ``normalised`` fades to the mean colour, ``pixel`` to black.
        renormalize: scale each map to [0, 1] first.

    Source: Chattopadhay et al. 2018; Poppi et al. 2021, section 3; Ha and Youn 2022, eq. 26.

    Example:
        >>> results = ll.evaluate("demo/resnet", [ll.example_image()], ["grad-cam", "random-map"], "average-drop")
        >>> results.summary()["grad-cam", "average-drop"].rank
        1
    """
    y, o = _expect_share(clean_score("prob")), masked_score(space, renormalize)
    return Measured(divide((y - o).clamp_min(0), y), {"underflow": (y == 0).to(y.dtype)})


@register_metric(
    "average-increase",
    family="faithfulness",
    cites="chattopadhay2018",
    cost="2 F",
    better="higher",
    profiles={"adcc": {"renormalize": False}, "collection-cam": {}, "cluster-cam": {}},
)
def average_increase(
    clean_score: CleanScore,
    masked_score: MaskedScore,
    *,
    space: Space = "normalised",
    renormalize: bool = True,
) -> Scores:
    """1 where the explained part alone makes the class more probable than the whole picture, else 0.

    1[O > Y], strictly; higher is better. The mean over images is also known as increase in confidence, or
    increase number.

    Args:
        clean_score: Y = p_c(x).
        masked_score: O = p_c(x * E).
        space: ``normalised`` fades to the mean colour, ``pixel`` to black.
        renormalize: scale each map to [0, 1] first.

    Source: Chattopadhay et al. 2018; Poppi et al. 2021, section 3; Ha and Youn 2022, eq. 27, where the inequality is
    misprinted.

    Example:
        >>> results = ll.evaluate("demo/resnet", [ll.example_image()], "grad-cam", "average-increase")
        >>> results.values("average-increase").item() in (0.0, 1.0)
        True
    """
    y, o = clean_score("prob"), masked_score(space, renormalize)
    return (o > y).to(y.dtype)


@register_metric(
    "confidence-drop",
    family="faithfulness",
    cites="feng2023",
    cost="2 F",
    better="lower",
    low=None,
    profiles={"cluster-cam": {}},
)
def confidence_drop(
    clean_score: CleanScore,
    masked_score: MaskedScore,
    *,
    clip: bool = False,
    space: Space = "normalised",
    renormalize: bool = True,
) -> Scores:
    """Relative drop of the probability when only the explained part is shown; a gain counts as negative.

    (Y - O) / Y, at most 1 and unbounded below; lower is better. With ``clip`` it is the average drop.

    Args:
        clean_score: Y = p_c(x).
        masked_score: O = p_c(x * E).
        clip: count gains as 0.
        space: ``normalised`` fades to the mean colour, ``pixel`` to black.
        renormalize: scale each map to [0, 1] first.

    Source: Feng et al. 2023 (Cluster-CAM), eq. 23 as reconstructed from its text.

    Example:
        >>> metric = ll.metric("confidence-drop", clip=True)
        >>> results = ll.evaluate("demo/resnet", [ll.example_image()], "grad-cam", [metric, "average-drop"])
        >>> abs(results.values("confidence-drop").item() - results.values("average-drop").item()) < 1e-6
        True
    """
    y, o = _expect_share(clean_score("prob")), masked_score(space, renormalize)
    drop = divide(y - o, y)
    return drop.clamp_min(0) if clip else drop


def _expect_share(y: Scores) -> Scores:
    """Return scores of which a share can be lost.

    Raises:
        InvalidOption: a target function gives one below 0.
    """
    if bool((y < 0).any()):
        raise InvalidOption(
            f"a drop is a share of the score, and the target function gives {float(y.min()):.3g}; give one that is not "
            "negative, such as a probability"
        )
    return y
