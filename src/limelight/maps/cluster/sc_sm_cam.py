"""SC-SM CAM."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from limelight.card import register_method
from limelight.engine.needs import AblatedScores, ScoresWhere
from limelight.engine.rng import Draws
from limelight.engine.saliency import Raw
from limelight.maps.cluster.cluster_cam import AtLeastOne, NotNegative, Positive, cluster_channels, members
from limelight.ops import divide, min_max, resize
from limelight.ops.clusters import Init, Laplacian, Similarity
from limelight.ops.scale import varies
from limelight.shapes import Acts, Images, Index, Scores

LUMINANCE = (0.299, 0.587, 0.114)


@register_method(
    "sc-sm-cam",
    family="clustering CAM",
    cites="feng2021",
    cost="1 F + ((n_clusters or channels) + 1) F",
    in_short="2 F + n_clusters F",
    defaults={"score": "prob"},
    profiles={"g-sm": {"grouping": "contiguous"}, "self-matching": {"n_clusters": None}},
    parts=True,
)
def sc_sm_cam(
    acts: Acts,
    image: Images,
    pixels: Images,
    score: Scores,
    scores_where: ScoresWhere,
    ablated_scores: AblatedScores,
    layer_at: Callable[[Tensor], tuple[Tensor, Tensor]],
    draws: Draws,
    *,
    grouping: Literal["spectral", "contiguous"] = "spectral",
    n_clusters: AtLeastOne | None = 4,
    weights: Literal["increase", "ablation", "gradcam"] = "increase",
    size: AtLeastOne | None = None,
    init: Init = "kmeans++",
    similarity: Similarity = "distance",
    tau: NotNegative | None = None,
    alpha: Positive | None = None,
    laplacian: Laplacian = "normalized",
    n_eigenvectors: AtLeastOne | None = None,
) -> Raw:
    """Experimental: clusters of channels times the image's brightness, weighted by how much score each adds.

    We don't know the published definition of the weights, nor of the size Q; these are our guess.

    A_n = sum_{k in C_n} A_k, w_n = p_c(x mm(U(A_n))) - p_c(0), L = sum_n w_n U(D(I) U_Q(A_n)): U resizes to the
    image and U_Q to Q x Q, D averages the luminance I over the same cells, mm scales to [0, 1]. Clusters with a
    constant map cost no pass and have weight 0.

    Args:
        acts: A, (n, k, h, w); each image's channels are clustered on their own.
        image: normalised x, (n, 3, H, W).
        pixels: the image in [0, 1], (n, 3, H, W).
        score: of the image, (n,).
        scores_where: scores of those changed copies of the images that are wanted.
        ablated_scores: scores without some of the layer's channels.
        layer_at: gradients at the layer.
        draws: random numbers, for a random partition.
        grouping: ``spectral`` clusters, or ``contiguous`` channels.
        n_clusters: None makes every channel a group of its own (plain self-matching).
        weights: ``increase`` as above; ``ablation`` takes what the score loses without the cluster's channels;
            ``gradcam`` the mean gradient of the cluster, for one pass and back in place of the others.
        size: Q; None for the geometric mean of the layer's and the image's.
        init: of K-means: the best of 10 starts with a fixed seed, or one from a random partition.
        similarity: of two channels; see ``cluster-cam``.
        tau: see ``cluster-cam``.
        alpha: see ``cluster-cam``.
        laplacian: see ``cluster-cam``.
        n_eigenvectors: see ``cluster-cam``.

    Returns:
        (n, H, W), signed. Ambiguous where other eigenvectors would do as well.

    Source: Feng et al. 2021 (SC-SM CAM), Algorithm 1, after their self-matching CAM of the same year.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "sc-sm-cam", n_clusters=3)
        >>> explanation.details["labels"].unique().tolist()
        [0, 1, 2]
    """
    (channels, h, w), (height, width) = acts.shape[1:], image.shape[-2:]
    most = min(n_clusters or channels, channels)
    labels, ambiguous = contiguous_groups(acts, most), None
    if grouping == "spectral" and n_clusters:
        graph: dict[str, Any] = {"similarity": similarity, "tau": tau, "alpha": alpha, "laplacian": laplacian}
        labels, ambiguous = cluster_channels(acts, draws, most, init, n_vectors=n_eigenvectors, **graph)
    member = members(labels, most).to(acts)  # n m k
    merged = torch.einsum("nmk,nkhw->nmhw", member, acts)
    usable = varies(merged)

    def masked(i: Index, m: Index) -> Images:
        return image[i] * min_max(resize(merged[i, m], (height, width)))[0][:, None].to(image)

    if weights == "increase":
        once = usable.any(1, keepdim=True)
        gain = scores_where(masked, usable) - scores_where(lambda i, _: torch.zeros_like(image[i]), once)
    elif weights == "ablation":
        gain = score[:, None] - ablated_scores(usable, member > 0)
    else:
        gain = mean_gradients(layer_at(image[:, None])[1][:, 0], member)
    gain = gain.to(acts).masked_fill(~usable, 0.0)

    q = (size, size) if size else (round((height * h) ** 0.5), round((width * w) ** 0.5))
    total = torch.einsum("nm,nmhw->nhw", gain, merged)  # added up here, as all that follows is linear
    matched = F.interpolate(luminance(pixels)[:, None], q, mode="area")[:, 0].to(acts) * resize(total, q)
    details = {"labels": labels, "cluster_maps": merged, "weights": gain}
    return Raw(resize(matched, (height, width)), details, ambiguous)


def contiguous_groups(acts: Acts, most: int) -> Tensor:
    """Return the group of each channel, (n, k), where equally many neighbours make a group."""
    channels = torch.arange(acts.shape[1], device=acts.device)
    return channels.div(-(-len(channels) // most), rounding_mode="floor").repeat(len(acts), 1)


def mean_gradients(gradients: Acts, member: Tensor) -> Tensor:
    """Return the mean gradient (n, k, h, w) over positions and members (n, clusters, k), (n, clusters)."""
    return divide(torch.einsum("nmk,nk->nm", member, gradients.mean((-2, -1))), member.sum(-1))


def luminance(pixels: Images) -> Tensor:
    """Return how bright images (n, 3, H, W) are seen, (n, H, W); the mean of other numbers of colours."""
    if pixels.shape[1] != len(LUMINANCE):
        return pixels.mean(1)
    return torch.einsum("nchw,c->nhw", pixels, pixels.new_tensor(LUMINANCE))
