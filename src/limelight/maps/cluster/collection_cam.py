"""Collection-CAM."""

from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from limelight.card import register_method
from limelight.engine.needs import ScoresWhere
from limelight.engine.saliency import Raw
from limelight.errors import InvalidOption
from limelight.maps.cluster.cluster_cam import members
from limelight.maps.gradient_free.score_cam import weigh
from limelight.model.one_pass import Stage
from limelight.ops import divide, min_max, resize
from limelight.ops.arrays import from_numpy
from limelight.ops.hierarchy import dsra, ward, ward_doubled
from limelight.ops.percentile import above_percentile
from limelight.ops.scale import varies
from limelight.shapes import Acts, Images

Statistics = Float[Tensor, "n k features"]
Partitions = Int[Tensor, "n k"]


@register_method(
    "collection-cam",
    family="clustering CAM",
    cites="ha2022",
    cost="1 F + 1 R_t + (layers * max_groups + report_mic_baseline) F",
    in_short="1 F + 1 R_t + masks F",
    layers="stages",
    parts=True,
)
def collection_cam(
    stages: list[Stage],
    image: Images,
    scores_where: ScoresWhere,
    *,
    min_groups: Annotated[int, Field(ge=1)] = 2,
    max_groups: Annotated[int, Field(ge=1)] = 10,
    theta: Annotated[float, Field(ge=0, le=100)] | None = 0.1,
    theta_unit: Literal["fraction", "percentile"] = "fraction",
    upsample_first: bool = False,
    standardize: bool = False,
    singletons: Literal["equation", "algorithm"] = "equation",
    report_mic_baseline: bool = False,
) -> Raw:
    """Masks of groups of similar channels in several layers, weighted by the score of the image seen through each.

    The channels of a layer are grouped by psi_k = (mean A_k, std A_k, mean G_k, std G_k) with Ward's criterion
    (eqs. 10, 11), into as many groups as separate best by DSRA (eqs. 12 to 16). A group C makes a mask
    M = mm(D(U(ReLU(sum_{k in C} B_k)))), where B_k = A_k [G_k > 0], or mean(G_k) A_k in the deepest layer
    (eqs. 17 to 22). Over the masks of all layers, L = sum_i a_i M_i with a = softmax(MIC) and
    MIC_i = f_c(x M_i) - f_c(0) (eqs. 23 to 25), where f_c(0) cancels. Constant masks cost no pass.

    Args:
        stages: activations A and gradients G of each layer, shallow to deep.
        image: normalised x, (n, 3, H, W).
        scores_where: scores of those changed copies of the images that are wanted.
        min_groups: per layer. The paper names no range, but the best partition of all is that into single
            channels.
        max_groups: per layer; never more than there are distinct psi.
        theta: D sets to 0 what is not above this percentile of a mask; None leaves it out. The paper's 0.1
            can be read in two ways.
        theta_unit: ``fraction`` reads 0.1 as the 10th percentile, ``percentile`` to the letter.
        upsample_first: take the ReLU after U (the paper's Algorithm 1) in place of before (its equations).
        standardize: divide each entry of psi by its spread over the channels. As printed, gradients are too
            small to matter.
        singletons: how far apart two single channels are when grouping starts: ``equation`` by eq. 11, which is
            Ward's criterion; ``algorithm`` twice that, as line 3 of the paper's Algorithm 1 has it to the letter.
            The groups differ.
        report_mic_baseline: subtract f_c(0) from the MIC in the details, for one more pass.

    Returns:
        (n, H, W), not negative. Details: ``partition``, the group of each channel, (n, layers, k);
        ``group_counts``, (n, layers); ``dsra`` of 1, 2, ... groups, (n, layers, sizes), NaN for sizes that are
        out of range; ``masks``, (n, m, H, W), with their ``mask_layer``, ``mask_group`` (-1 for none), ``mic``
        (NaN for none) and ``weights``, (n, m); ``skipped``, how many groups make a constant mask.

    Source: Ha and Youn 2022, eqs. 10 to 25.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "collection-cam", max_groups=3)
        >>> round(float(explanation.details["weights"].sum()), 3)
        1.0
    """
    size, n_groups = (image.shape[-2], image.shape[-1]), most_groups(stages, min_groups, max_groups)
    percent = percentile_of(theta, theta_unit)
    groupings: list[tuple[Tensor, Tensor]] = []
    layer_masks: list[Tensor] = []
    for stage in stages:
        acts, grads = stage.acts, gradients_of(stage)
        labels, separation = group(statistics(acts, grads, standardize), min_groups, max_groups, singletons)
        b = grads.mean((-2, -1), keepdim=True) * acts if stage is stages[-1] else (grads > 0).to(acts) * acts
        sums = torch.einsum("ngk,nkhw->nghw", members(labels, n_groups).to(acts), b)
        shown = resize(sums, size).relu() if upsample_first else resize(sums.relu(), size)
        shown = shown if percent is None else above_percentile(shown, percent)
        layer_masks.append(min_max(shown.flatten(0, 1))[0].view_as(shown))
        groupings.append((labels, separation))

    masks = torch.cat(layer_masks, 1)  # n m H W
    usable = varies(masks)
    scores = scores_where(lambda i, j: image[i] * masks[i, j][:, None], usable)
    weights = weigh(scores, usable, "softmax")
    mic = scores.masked_fill(~usable, torch.nan)
    if report_mic_baseline:
        mic = mic - scores_where(lambda i, _: torch.zeros_like(image[i]), usable.new_ones(len(image), 1))
    details = describe_groups(groupings, usable, masks, mic, weights)
    return Raw(torch.einsum("nm,nmhw->nhw", weights, masks), details)


def percentile_of(theta: float | None, unit: Literal["fraction", "percentile"]) -> float | None:
    """Return the percentile that theta names, from 0 to 100, or None for none.

    Raises:
        InvalidOption: a fraction above 1.
    """
    if theta is not None and unit == "fraction" and theta > 1:
        raise InvalidOption(
            f"collection-cam: theta = {theta} is no fraction; for a percentile: theta_unit='percentile'"
        )
    return None if theta is None else theta * (100 if unit == "fraction" else 1)


def most_groups(stages: list[Stage], min_groups: int, max_groups: int) -> int:
    """Return how many groups a layer can have at most.

    Raises:
        InvalidOption: more groups at least than at most.
    """
    if max_groups < min_groups:
        raise InvalidOption(f"collection-cam: max_groups = {max_groups} is less than min_groups = {min_groups}")
    return min(max_groups, max(stage.acts.shape[1] for stage in stages))


def gradients_of(stage: Stage) -> Acts:
    """Return the gradients of a layer, which this method always asks for."""
    assert stage.grads is not None
    return stage.grads


def describe_groups(
    groupings: list[tuple[Tensor, Tensor]], usable: Tensor, masks: Tensor, mic: Tensor, weights: Tensor
) -> dict[str, Tensor]:
    """Return the details of an explanation: the groups of all layers, and what became of their masks.

    Args:
        groupings: partition and separation of each layer, as ``group`` returns them.
        usable: which masks are not constant, (n, m), m = layers * groups.
        masks: (n, m, H, W).
        mic: of the masks, (n, m).
        weights: of the masks, (n, m).
    """
    most = max(labels.shape[1] for labels, _ in groupings)
    padded = [F.pad(labels, (0, most - labels.shape[1]), value=-1) for labels, _ in groupings]
    partition = torch.stack(padded, 1)  # n layers k
    counts = partition.amax(-1) + 1
    layers = torch.arange(len(groupings), device=usable.device)[:, None]
    groups = torch.arange(usable.shape[1] // len(groupings), device=usable.device)
    none = groups >= counts[..., None]  # n layers g
    return {
        "partition": partition,
        "group_counts": counts,
        "dsra": torch.stack([separation for _, separation in groupings], 1),
        "masks": masks,
        "mask_layer": layers.expand_as(none).masked_fill(none, -1).flatten(1),
        "mask_group": groups.expand_as(none).masked_fill(none, -1).flatten(1),
        "mic": mic,
        "weights": weights,
        "skipped": (~usable & ~none.flatten(1)).sum(1),
    }


def statistics(acts: Acts, grads: Acts, standardize: bool = False) -> Statistics:
    """Describe each channel by the mean and spread of its activations and of its gradient, in float64."""

    def moments(maps: Acts) -> tuple[Tensor, Tensor]:
        flat = maps.flatten(2).double()
        # The gradient of a pooled layer is constant: rounding must not pass for spread.
        return flat.mean(-1), flat.std(-1, correction=0).masked_fill(~varies(maps), 0.0)

    psi = torch.stack([*moments(acts), *moments(grads)], -1)
    if standardize:
        constant = ~varies(psi.mT[:, :, None])  # n features
        z = divide(psi - psi.mean(1, keepdim=True), psi.std(1, correction=0, keepdim=True))
        psi = z.masked_fill(constant[:, None], 0.0)
    return psi


def group(
    psi: Statistics, min_groups: int, max_groups: int, singletons: Literal["equation", "algorithm"] = "equation"
) -> tuple[Partitions, Float[Tensor, "n sizes"]]:
    """Return the best partition of each image's channels, and the DSRA of those of every size."""
    labels, separations = np.empty(psi.shape[:2], int), np.full((len(psi), max_groups), np.nan)
    for i, vectors in enumerate(psi.cpu().numpy()):
        tree = ward(vectors) if singletons == "equation" else ward_doubled(vectors)
        sizes = range(min(min_groups, tree.distinct), min(max_groups, tree.distinct) + 1)
        partitions = [tree.cut(k) for k in sizes]
        separation = [dsra(vectors, p) for p in partitions]
        labels[i] = partitions[np.argmax(separation)]  # the smallest of equally good ones
        separations[i, sizes.start - 1 : sizes.stop - 1] = separation
    return from_numpy(labels).to(psi.device), from_numpy(separations).to(psi.device)
