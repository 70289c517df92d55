"""Cluster-CAM."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from limelight.card import register_method
from limelight.engine.needs import ScoresOf
from limelight.engine.rng import Draws
from limelight.engine.saliency import Raw
from limelight.ops import min_max, resize
from limelight.ops.clusters import (
    Floats,
    Init,
    Laplacian,
    Partition,
    Similarity,
    elbow,
    kmeans,
    most_clusters,
    spectral,
)
from limelight.ops.scale import varies
from limelight.shapes import Acts, Flags, Images, Index, Maps

AtLeastOne = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


RECONSTRUCTED = "Cluster-CAM as reconstructed: its paper's equations are lost (see docs/clustering.md)."


@register_method(
    "cluster-cam",
    family="clustering CAM",
    cites="feng2023",
    cost="1 F + (n_clusters if n_clusters != 'elbow' else (channels - 1).bit_length() + 1) F",
    in_short="1 F + n_clusters F",
    defaults={"score": "prob", "relu": False},
    profiles={"clipped": {"relu": True}},
)
def cluster_cam(
    acts: Acts,
    image: Images,
    scores_of: ScoresOf,
    draws: Draws,
    *,
    clustering: Literal["kmeans", "spectral"] = "kmeans",
    n_clusters: AtLeastOne | Literal["elbow"] = 4,
    init: Init = "kmeans++",
    similarity: Similarity = "distance",
    tau: NotNegative | None = None,
    alpha: Positive | None = None,
    laplacian: Laplacian = "normalized",
    n_eigenvectors: AtLeastOne | None = None,
    mask_norm: bool = True,
    beta: NotNegative = 1.0,
    combine: Literal["difference", "convex"] = "difference",
    maps: Literal["masks", "raw"] = "masks",
) -> Raw:
    """The map of the most useful cluster of channels minus that of the least useful one, as reconstructed.

    R_n = mean_{k in C_n} A_k, m_n = mm(U(R_n)), s_n = p_c(x m_n); base b = argmax s_n, scissors t = argmin s_n,
    H = m_b - beta m_t (eqs. 18 to 22): U resizes to the image, mm scales to [0, 1]. Clusters with a constant
    map cost no pass and are neither.

    The equations are lost; these are readings of the text around them. It names no ReLU, so H is scaled from its
    minimum to its maximum: where the base is dark and the scissors are bright the map is 0, where neither is, not.
    The profile ``clipped`` takes the positive part first, as the CAMs do that it is compared with.

    Args:
        acts: A, (n, k, h, w); each image's channels are clustered on their own.
        image: normalised x, (n, 3, H, W).
        scores_of: scores of changed copies of the images.
        draws: random numbers, for a random partition.
        clustering: ``kmeans`` of the channels, or ``spectral``: of their rows in the eigenvectors of a graph.
        n_clusters: M; ``elbow`` takes 3 to ceil(log2 k) + 1, at the knee of the inertia of K-means.
        init: of K-means: the best of 10 starts with a fixed seed, or one from a random partition, as published.
            Many partitions are nearly as good: with other starts most images of a real network get others.
        similarity: of two channels; the graph's weights are exp(-r^2 / alpha) for Euclidean distances r and
            exp(-(1 - s)^2 / alpha) for structural similarities s.
        tau: no edge where r is above or s below; None keeps all.
        alpha: None for the mean of r^2, or of (1 - s)^2, over all pairs.
        laplacian: of the graph.
        n_eigenvectors: independent of the number of clusters; None for M - 1. Two clusters from one
            eigenvector are its signs.
        mask_norm: off, U(R_n) itself is multiplied with the image, which is the literal reading.
        beta: balance: how much of the scissors is taken away.
        combine: ``convex``: beta m_b - (1 - beta) m_t, for beta from 0 to 1.
        maps: what they are taken from: the masks, or ``raw`` U(R_n).

    Returns:
        (n, H, W), signed; the base alone where it is the scissors too. Ambiguous where other eigenvectors
        would do as well.

    Source: Feng et al. 2023, eqs. 11 to 22, as reconstructed from their text.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "cluster-cam", n_clusters=3)
        >>> explanation.details["scores"].shape, str(explanation.cost)
        (torch.Size([3]), '4 F')
    """
    size = (image.shape[-2], image.shape[-1])
    graph: dict[str, Any] = {"similarity": similarity, "tau": tau, "alpha": alpha, "laplacian": laplacian}
    labels, ambiguous = cluster_channels(acts, draws, n_clusters, init, clustering, n_vectors=n_eigenvectors, **graph)
    means = mean_maps(acts, members(labels, largest_number(n_clusters, acts.shape[1])))
    usable = varies(means)

    def resized(i: Index, m: Index) -> Maps:
        return resize(means[i, m], size)

    def masks(i: Index, m: Index) -> Maps:
        return min_max(resized(i, m))[0] if mask_norm else resized(i, m)

    scores = scores_of(lambda i, m: image[i] * masks(i, m)[:, None].to(image), usable).to(acts)
    base = scores.masked_fill(~usable, -torch.inf).argmax(1)
    scissors = scores.masked_fill(~usable, torch.inf).argmin(1)
    every = torch.arange(len(acts), device=acts.device)
    shown = masks if maps == "masks" else resized
    m_b, m_t = shown(every, base), shown(every, scissors)
    h = m_b - beta * m_t if combine == "difference" else beta * m_b - (1 - beta) * m_t
    alone, none = base == scissors, ~usable.any(1)
    h = torch.where(alone[:, None, None], m_b, h).masked_fill(none[:, None, None], 0.0)
    details = describe_clusters(labels, means, scores.masked_fill(~usable, torch.nan), base, scissors)
    return Raw(h, details, ambiguous, (RECONSTRUCTED,))


def describe_clusters(labels: Tensor, means: Acts, scores: Tensor, base: Index, scissors: Index) -> dict[str, Tensor]:
    """Return what stands in the details: NaN for the score of no cluster, -1 for no base and no scissors."""
    return {
        "labels": labels,
        "cluster_maps": means,
        "scores": scores,
        "base": base.masked_fill(scores.isnan().all(1), -1),
        "scissors": scissors.masked_fill(base == scissors, -1),
    }


def seed_of(draws: Draws, init: Init) -> int:
    """Draw the seed of K-means; ``kmeans++`` has a fixed one, so that its clusters are those of the image alone."""
    return 0 if init == "kmeans++" else int(2**31 * draws.uniform((1,), torch.zeros(())))


def cluster_channels(
    acts: Acts,
    draws: Draws,
    n_clusters: int | Literal["elbow"],
    init: Init,
    clustering: Literal["kmeans", "spectral"] = "spectral",
    **graph: Any,
) -> tuple[Tensor, Flags]:
    """Cluster each image's channels as the options say.

    Args:
        acts: (n, k, h, w).
        draws: random numbers, for a random partition.
        n_clusters: how many clusters, or ``elbow`` to let each image choose.
        init: of K-means.
        clustering: ``kmeans`` or ``spectral``.
        graph: of ``spectral`` alone; its other options.

    Returns:
        As ``cluster``.
    """
    start: dict[str, Any] = {"init": init, "seed": seed_of(draws, init)}

    def partition(v: Floats) -> Partition:
        m = elbow(v, **start) if n_clusters == "elbow" else n_clusters
        if clustering == "kmeans":
            return kmeans(v, m, **start)
        return spectral(v, m, **graph, **start)

    return cluster(acts, partition)


def cluster(acts: Acts, partition: Callable[[Floats], Partition]) -> tuple[Tensor, Flags]:
    """Cluster each image's channels, on the CPU in float64.

    Args:
        acts: (n, k, h, w).
        partition: vectors (k, h w) -> their clusters.

    Returns:
        The cluster of each channel, (n, k), and for which images there are others as good, (n,).
    """
    found = [partition(v) for v in acts.flatten(2).cpu().double().numpy()]
    labels, ambiguous = (torch.from_numpy(np.stack(column)) for column in zip(*found, strict=True))
    return labels.to(acts.device), ambiguous.to(acts.device)


def largest_number(n_clusters: int | Literal["elbow"], channels: int) -> int:
    """Return how many clusters an image can have at most."""
    return min(channels, most_clusters(channels) if n_clusters == "elbow" else n_clusters)


def mean_maps(acts: Acts, member: Tensor) -> Tensor:
    """Return the mean activation of each cluster, (n, clusters, h, w), NaN where it has no member (n, clusters, k)."""
    weights = member.to(acts)
    return torch.einsum("nmk,nkhw->nmhw", weights, acts) / weights.sum(-1)[..., None, None]


def members(labels: Tensor, n_clusters: int) -> Tensor:
    """Tell which channels each cluster has: (n, k) -> (n, clusters, k)."""
    return labels[:, None] == torch.arange(n_clusters, device=labels.device)[:, None]
