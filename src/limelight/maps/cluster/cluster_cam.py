"""Cluster-CAM."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from limelight.card import register_method
from limelight.engine.needs import ScoresWhere
from limelight.engine.rng import Draws
from limelight.engine.saliency import Raw
from limelight.ops import divide, min_max, resize
from limelight.ops.arrays import from_numpy
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
from limelight.ops.linalg import vector_norm
from limelight.ops.scale import varies
from limelight.shapes import Acts, Flags, Images, Index

AtLeastOne = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


RECONSTRUCTED = "Cluster-CAM as reconstructed: its paper's equations are lost (see docs/clustering.md)."
NEXT_BASE = "The base is nearly tied: the next cluster's score is within a tenth of the clusters' range."
NEXT_SCISSORS = "The scissors are nearly tied: the next cluster's score is within a tenth of the clusters' range."
DISAGREE = "The starts of K-means disagree: their maps correlate by less than 0.9 on average (details: agreement)."
NEAR, ALIKE = 0.1, 0.9


@register_method(
    "cluster-cam",
    family="clustering CAM",
    cites="feng2023",
    cost="1 F + n_starts * (n_clusters if n_clusters != 'elbow' else (channels - 1).bit_length() + 1) F",
    in_short="1 F + n_starts n_clusters F",
    defaults={"score": "prob", "relu": False},
    profiles={"clipped": {"relu": True}},
    parts=True,
)
def cluster_cam(
    acts: Acts,
    image: Images,
    scores_where: ScoresWhere,
    draws: Draws,
    *,
    clustering: Literal["kmeans", "spectral"] = "kmeans",
    n_clusters: AtLeastOne | Literal["elbow"] = 4,
    init: Init = "kmeans++",
    n_init: AtLeastOne = 10,
    n_starts: AtLeastOne = 1,
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
    minimum to its maximum: 0 where the scissors are brightest, 1 where the base is, and between where neither is.
    The profile ``clipped`` takes the positive part first, as the CAMs do that it is compared with.

    Args:
        acts: A, (n, k, h, w); each image's channels are clustered on their own.
        image: normalised x, (n, 3, H, W).
        scores_where: scores of those changed copies of the images that are wanted.
        draws: random numbers, for a random partition.
        clustering: ``kmeans`` of the channels, or ``spectral``: of their rows in the eigenvectors of a graph.
        n_clusters: M; ``elbow`` takes 3 to ceil(log2 k) + 1, at the knee of the inertia of K-means.
        init: of K-means: the best of ``n_init`` starts with a fixed seed, or one from a random partition, as published.
            Many partitions are nearly as good: with other starts most images of a real network get others.
        n_init: the tightest partition of so many starts of ``kmeans++`` is taken, which costs no pass; of 100 it is
            mostly the same whatever the seed.
        n_starts: a consensus: the mean of the maps of so many seeds, each with its own clusters and passes. Details
            hold their ``agreement``, the mean correlation of every two of these maps, and all else of the first.
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
    every = torch.arange(len(acts), device=acts.device)
    graph: dict[str, Any] = {"similarity": similarity, "tau": tau, "alpha": alpha, "laplacian": laplacian}
    start: dict[str, Any] = {"clustering": clustering, "n_vectors": n_eigenvectors, "n_init": n_init, **graph}
    starts: list[Raw] = []
    for seed in range(n_starts):
        labels, ambiguous = cluster_channels(acts, draws, n_clusters, init, seed=seed, **start)
        means = mean_maps(acts, members(labels, largest_number(n_clusters, acts.shape[1])))
        usable = varies(means)

        def masked(i: Index, m: Index, means: Acts = means) -> Images:
            return image[i] * cluster_masks(means[i, m], size, mask_norm)[:, None].to(image)

        scores = scores_where(masked, usable).to(acts)
        base = scores.masked_fill(~usable, -torch.inf).argmax(1)
        scissors = scores.masked_fill(~usable, torch.inf).argmin(1)
        m_b, m_t = (cluster_masks(means[every, n], size, mask_norm and maps == "masks") for n in (base, scissors))
        h = m_b - beta * m_t if combine == "difference" else beta * m_b - (1 - beta) * m_t
        h = torch.where((base == scissors)[:, None, None], m_b, h)
        details = describe_clusters(labels, means, scores.masked_fill(~usable, torch.nan), base, scissors)
        starts.append(Raw(h.masked_fill(~usable.any(1)[:, None, None], 0.0), details, ambiguous))
    return agree(starts)


def cluster_masks(means: Tensor, size: tuple[int, int], scaled: bool = True) -> Tensor:
    """Turn the maps of clusters (m, h, w) into masks of the image's size, (m, H, W), scaled to [0, 1]."""
    shown = resize(means, size)
    return min_max(shown)[0] if scaled else shown


def describe_clusters(labels: Tensor, means: Acts, scores: Tensor, base: Index, scissors: Index) -> dict[str, Tensor]:
    """Return what stands in the details: NaN for the score of no cluster, -1 for no base and no scissors."""
    return {
        "labels": labels,
        "cluster_maps": means,
        "scores": scores,
        "base": base.masked_fill(scores.isnan().all(1), -1),
        "scissors": scissors.masked_fill(base == scissors, -1),
    }


def agree(starts: Sequence[Raw]) -> Raw:
    """Return the mean of the maps of several starts with the details of the first, and what is to be said of them."""
    first, maps = starts[0], torch.stack([one.values for one in starts])  # starts n H W
    details, flagged = dict(first.details), near_ties(first.details["scores"])
    if len(starts) > 1:
        details["agreement"] = agreement = mean_correlation(maps)
        flagged[DISAGREE] = agreement < ALIKE
    unsure = torch.stack([one.ambiguous for one in starts if one.ambiguous is not None]).any(0)
    return Raw(maps.mean(0), details, unsure, (RECONSTRUCTED,), flagged=flagged)


def near_ties(scores: Tensor) -> dict[str, Flags]:
    """Tell of which images the best or the worst of three or more clusters is hardly better or worse than the next.

    Args:
        scores: (n, clusters), NaN where there is no cluster.
    """
    if scores.shape[1] < 3:  # the next to the best of two is the worst
        return {}
    ranked, count = scores.sort(1).values, (~scores.isnan()).sum(1)  # NaN comes last
    best, second = (ranked.gather(1, (count - i).clamp_min(0)[:, None])[:, 0] for i in (1, 2))
    three_or_more, near = count > 2, NEAR * (best - ranked[:, 0])
    base, scissors = best - second <= near, ranked[:, 1] - ranked[:, 0] <= near
    return {NEXT_BASE: three_or_more & base, NEXT_SCISSORS: three_or_more & scissors}


def mean_correlation(maps: Tensor) -> Tensor:
    """Return the mean correlation of every two of some maps, (maps, n, H, W) -> (n,); of constant maps it is 0."""
    flat = maps.flatten(2).transpose(0, 1)  # n maps HW
    centred = flat - flat.mean(2, keepdim=True)
    unit = divide(centred, vector_norm(centred, 2, 2)[..., None].expand_as(centred))
    pairs = torch.triu_indices(len(maps), len(maps), 1)
    return (unit @ unit.transpose(1, 2))[:, pairs[0], pairs[1]].mean(1)


def seed_of(draws: Draws, init: Init, seed: int = 0) -> int:
    """Draw the seed of K-means; ``kmeans++`` has a fixed one, so that its clusters are those of the image alone."""
    return seed if init == "kmeans++" else int(2**31 * draws.uniform((1,), torch.zeros(())))


def cluster_channels(
    acts: Acts,
    draws: Draws,
    n_clusters: int | Literal["elbow"],
    init: Init,
    clustering: Literal["kmeans", "spectral"] = "spectral",
    *,
    seed: int = 0,
    n_init: int = 10,
    n_vectors: int | None = None,
    **graph: Any,
) -> tuple[Tensor, Flags]:
    """Cluster each image's channels as the options say.

    Args:
        acts: (n, k, h, w).
        draws: random numbers, for a random partition.
        n_clusters: how many clusters, or ``elbow`` to let each image choose.
        init: of K-means.
        clustering: ``kmeans`` or ``spectral``.
        seed: of K-means, for ``kmeans++``.
        n_init: see ``kmeans``.
        n_vectors: of ``spectral`` alone.
        graph: of ``spectral`` alone; its other options.

    Returns:
        As ``cluster``.
    """
    start: dict[str, Any] = {"init": init, "seed": seed_of(draws, init, seed), "n_init": n_init}

    def partition(v: Floats) -> Partition:
        m = elbow(v, **start) if n_clusters == "elbow" else n_clusters
        if clustering == "kmeans":
            return kmeans(v, m, **start)
        return spectral(v, m, n_vectors=n_vectors, **graph, **start)

    return cluster(acts, partition)


def cluster(acts: Acts, partition: Callable[[Floats], Partition]) -> tuple[Tensor, Flags]:
    """Cluster each image's channels, on the CPU in float64.

    Args:
        acts: (n, k, h, w).
        partition: vectors (k, h w) -> their clusters.

    Returns:
        The cluster of each channel, (n, k), and for which images there are others as good, (n,).
    """
    partitions = [partition(v) for v in acts.flatten(2).cpu().double().numpy()]
    labels, ambiguous = (from_numpy(np.stack(column)) for column in zip(*partitions, strict=True))
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
