"""Group-CAM."""

from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Int
from pydantic import Field
from torch import Tensor

from limelight.card import register_method
from limelight.engine.baselines import Fill
from limelight.engine.needs import ScoresWhere
from limelight.engine.saliency import Raw
from limelight.model.targets import ScoreKind
from limelight.ops import min_max, resize
from limelight.ops.arrays import from_numpy, integers
from limelight.ops.hierarchy import Labels, Vectors, ward
from limelight.ops.percentile import above_percentile
from limelight.ops.scale import varies
from limelight.shapes import Acts, Images, Index

Grouping = Literal["chunk", "kmeans", "ward"]


@register_method(
    "group-cam",
    family="clustering CAM",
    cites="zhang2021groupcam",
    cost="1 F + 1 R_t + (1 + (n_groups if n_groups < channels else channels)) F",
    in_short="2 F + 1 R_t + n_groups F",
    profiles={
        "paper": {},
        "head": {"theta": None, "positive": True, "sums": "resized"},
    },
)
def group_cam(
    acts: Acts,
    grads: Acts,
    image: Images,
    scores_where: ScoresWhere,
    fill: Callable[[Fill], Images],
    *,
    n_groups: Annotated[int, Field(ge=1)] = 32,
    theta: Annotated[float, Field(ge=0, le=100)] | None = 70.0,
    grouping: Grouping = "chunk",
    mask_score: ScoreKind = "prob",
    positive: bool = False,
    sums: Literal["masks", "resized"] = "masks",
) -> Raw:
    """Groups of Grad-CAM's weighted channels, weighted by how much score each gives back to a blurred image.

    M_g = D(ReLU(sum_{k in g} w_k A_k)) with w_k the mean of G_k, and V_g = U(M_g) makes the mask mm(V_g).
    L = sum_g b_g mm(V_g) with b_g = p_c(x mm(V_g) + x' (1 - mm(V_g))) - p_c(x') and x' the blurred image.
    Groups without a map that varies cost no pass and have weight 0.

    Args:
        acts: A, (n, k, h, w).
        grads: G, the gradient of the score with respect to A.
        image: normalised x, (n, 3, H, W).
        scores_where: scores of those changed copies of the images that are wanted.
        fill: makes the blurred image.
        n_groups: groups of channels.
        theta: D sets to 0 what is not above this percentile of the layer's map; None leaves it out.
        grouping: ``chunk`` takes channels as they come; ``kmeans`` and ``ward`` cluster the w_k A_k.
        mask_score: which scalar p_c is; ``score`` is the one whose gradient is taken.
        positive: take ReLU(b_g).
        sums: what is added up: the ``masks`` or the ``resized`` V_g.

    Returns:
        (n, H, W), signed unless ``positive``. Details: ``groups``, the group of each channel, (n, k);
        ``weights`` b, (n, groups); ``skipped``, how many groups were.

    Source: Zhang et al. 2021 (Group-CAM).

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "group-cam", n_groups=8)
        >>> explanation.details["weights"].shape, str(explanation.cost)
        (torch.Size([8]), '10 F + 1 R_t')
    """
    weighted = grads.mean((-2, -1), keepdim=True) * acts
    labels = group(weighted, n_groups, grouping)
    groups = torch.arange(min(n_groups, acts.shape[1]), device=acts.device)
    member = (labels[:, None] == groups[:, None]).to(acts)  # n g k
    maps = torch.einsum("ngk,nkhw->nghw", member, weighted).relu()
    if theta is not None:
        maps = above_percentile(maps, theta)
    usable = varies(maps)
    blurred, size = fill("gauss-51-50"), (image.shape[-2], image.shape[-1])

    def unblurred(i: Index, g: Index) -> Images:
        m = min_max(resize(maps[i, g], size))[0][:, None]
        return m * image[i] + (1 - m) * blurred[i]

    baseline = scores_where(lambda i, _: blurred[i], usable.any(1, keepdim=True), mask_score)
    b = (scores_where(unblurred, usable, mask_score) - baseline).masked_fill(~usable, 0.0)
    if positive:
        b = b.relu()
    total = torch.zeros_like(image[:, 0])
    for g in integers(groups):
        shown = resize(maps[:, g], size)
        total = total + b[:, g, None, None] * (min_max(shown)[0] if sums == "masks" else shown)
    there = groups <= labels.amax(1, keepdim=True)
    return Raw(total, {"groups": labels, "weights": b, "skipped": (there & ~usable).sum(1)})


def group(weighted: Acts, n_groups: int, grouping: Grouping = "chunk") -> Int[Tensor, "n k"]:
    """Return the group of each channel, numbered from 0; distinct channels may be fewer than the groups wanted."""
    n, k = weighted.shape[:2]
    if grouping == "chunk":
        size = -(-k // n_groups)
        return (torch.arange(k, device=weighted.device) // size).repeat(n, 1)
    labels = [cluster(v, n_groups, grouping) for v in weighted.flatten(2).double().cpu().numpy()]
    return from_numpy(np.stack(labels)).to(weighted.device)


def cluster(vectors: Vectors, n_groups: int, grouping: Literal["kmeans", "ward"]) -> Labels:
    """Return the group of each vector; no more groups than distinct vectors."""
    tree = ward(vectors)
    n_groups = min(n_groups, tree.distinct)
    if grouping == "ward":
        return tree.cut(n_groups)
    from limelight.ops.clusters import fit_kmeans  # slow to import, and only wanted here

    return fit_kmeans(vectors, n_groups)
