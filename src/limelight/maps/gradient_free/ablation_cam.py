"""Ablation-CAM."""

from typing import Literal

from limelight.card import register_method
from limelight.engine.needs import AblatedScores
from limelight.engine.saliency import Raw
from limelight.ops import divide
from limelight.ops.space import spread
from limelight.shapes import Acts, Scores


@register_method("ablation-cam", family="gradient-free CAM", cites="ramaswamy2020", cost="1 F + channels F_t")
def ablation_cam(
    acts: Acts,
    score: Scores,
    ablated_scores: AblatedScores,
    *,
    denominator: Literal["abs", "signed", "none"] = "abs",
    closed_form: bool = True,
) -> Raw:
    """Channels weighted by how much of the score is lost without them.

    w_k = (y - y_k) / y, L = sum_k w_k A_k, where y_k is the score with A_k = 0. A channel that is 0 already
    costs no pass.

    Args:
        acts: A, (n, k, *place).
        score: y, (n,).
        ablated_scores: y_k of channels.
        denominator: |y|; ``signed``, y as printed, which turns the map around where y < 0; ``none``.
        closed_form: where the layer feeds a linear operation, subtract each channel's part from its result
            and go on from there. It is exact; without it what follows the layer runs for every channel.

    Returns:
        (n, *place), signed.

    Source: Ramaswamy et al. 2020.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "ablation-cam")
        >>> str(explanation.cost)  # what follows the layer is linear, so no channel takes a pass
        '1 F'
    """
    wanted = (acts != 0).flatten(2).any(-1)
    lost = score[:, None] - ablated_scores(wanted, closed_form=closed_form)
    scale = {"abs": score.abs(), "signed": score, "none": score.new_ones(len(score))}[denominator]
    w = divide(lost, scale[:, None].expand_as(lost), lost)
    return Raw((spread(w, acts).to(acts) * acts).sum(1), {"weights": w, "skipped": (~wanted).sum(1)})
