"""Cluster-CAM and SC-SM CAM: worked out by hand, counted, and tried on scenes with two objects."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import architectures
import limelight as ll
from limelight.data.synthetic import CLASSES, TEST_SEEDS, scenes
from limelight.maps.cluster.cluster_cam import NEXT_BASE, NEXT_SCISSORS, near_ties
from limelight.ops.clusters import kmeans
from methods.linear_maps import FOUR, V, close, linear

M1, M2 = [[1.0, 0.5], [0, 0]], [[0.0, 1], [0.5, 1]]


def run(given: tuple[ll.Classifier, Tensor], target: Any = 0, **options: Any) -> Any:
    return ll.method("cluster-cam", **{"score": "logit", **options}).run(*given, target)


def test_two_channels_by_hand() -> None:
    """The example of the specification: scores 3.5 and -1.5, base 1, scissors 2, clipped H = (1 0; 0 0)."""
    saliency = run(linear(V, M1, M2), n_clusters=2)
    close(saliency.details["scores"], [[3.5, -1.5]])
    assert (saliency.details["base"], saliency.details["scissors"]) == (0, 1)
    close(saliency.raw, [[[1, -0.5], [-0.5, -1]]])
    close(saliency.map, [[[1, 0.25], [0.25, 0]]])
    close(run(linear(V, M1, M2), n_clusters=2, profile="clipped").map, [[[1, 0], [0, 0]]])


def test_the_other_class_swaps_base_and_scissors() -> None:
    saliency = run(linear(V, M1, M2), 1, n_clusters=2)
    assert (saliency.details["base"], saliency.details["scissors"]) == (1, 0)
    close(saliency.map, [[[0, 0.75], [0.75, 1]]])
    close(run(linear(V, M1, M2), 1, n_clusters=2, profile="clipped").map, [[[0, 0.5], [0.5, 1]]])


def test_every_explanation_says_that_the_method_is_reconstructed() -> None:
    assert "as reconstructed" in run(linear(V, M1, M2)).notes[0]
    assert "as reconstructed" in ll.methods()["cluster-cam"].summary


def test_probability_is_what_is_compared() -> None:
    details = ll.method("cluster-cam", n_clusters=2).run(*linear(V, M1, M2), 0).details
    close(details["scores"], [[1 / (1 + np.exp(-7)), 1 / (1 + np.exp(3))]])  # of scores s and -s


@pytest.mark.parametrize("options", [{}, {"clustering": "spectral"}, {"clustering": "spectral", "similarity": "ssim"}])
def test_four_channels_by_hand(options: dict[str, Any]) -> None:
    """Channels 0 and 2 are near each other, and 1 and 3. The clusters' means are (4 1; 0 0) and (0 0; 1 7)."""
    saliency = run(linear([[1.0, 1], [1, 2]], *FOUR), n_clusters=2, profile="clipped", **options)
    details = saliency.details
    assert details["labels"].tolist() == [[0, 1, 0, 1]]
    close(details["cluster_maps"], [[[[4, 1], [0, 0]], [[0, 0], [1, 7]]]])
    close(details["scores"], [[1.25, 2 + 1 / 7]])
    assert (details["base"], details["scissors"]) == (1, 0)
    close(saliency.raw, [[[-1, -0.25], [1 / 7, 1]]])
    close(saliency.map, [[[0, 0], [1 / 7, 1]]])
    assert str(saliency.cost) == "3 F"
    assert not details["ambiguous"].any()


def test_three_clusters_have_one_base_and_one_scissors() -> None:
    """What is neither is left out."""
    maps = ([[1.0, 0], [0, 0]], [[0.0, 1], [0, 0]], [[0.0, 0], [1, 0]])
    saliency = run(linear([[0.0, 5], [-3, 0]], *maps), n_clusters=4)  # of 3 channels
    close(saliency.details["scores"], [[0, 5, -3]])
    assert (saliency.details["base"], saliency.details["scissors"]) == (1, 2)
    close(saliency.raw, [[[0, 1], [-1, 0]]])


def test_balance() -> None:
    given = linear([[1.0, 1], [1, 2]], *FOUR)
    base, scissors = torch.tensor([[[[0, 0], [1 / 7, 1]]], [[[1, 0.25], [0, 0]]]], dtype=torch.double)
    for beta in (0.0, 0.3, 2.0):
        close(run(given, n_clusters=2, beta=beta).raw, base - beta * scissors)
    for beta in (0.0, 0.3, 1.0):
        expected = beta * base - (1 - beta) * scissors
        close(run(given, n_clusters=2, beta=beta, combine="convex").raw, expected)
    close(run(given, n_clusters=2, beta=0.5, combine="convex").map, run(given, n_clusters=2).map)
    close(run(given, n_clusters=2, beta=0).map, base)  # the mask of the best cluster


def test_literal_readings() -> None:
    """Maps that are not scaled: as masks, in what is subtracted, and both."""
    given = linear([[1.0, 1], [1, 2]], *FOUR)
    unscaled = run(given, n_clusters=2, mask_norm=False)
    close(unscaled.details["scores"], [[5, 15]])
    close(unscaled.raw, [[[-4, -1], [1, 7]]])
    raw = run(given, n_clusters=2, maps="raw")
    close(raw.details["scores"], [[1.25, 2 + 1 / 7]])
    close(raw.raw, [[[-4, -1], [1, 7]]])


def test_maps_are_resized_before_they_are_scaled() -> None:
    """A peak at 2 x 2 is lower at 3 x 3; the mask still reaches 1."""
    c, _ = linear([[1.0] * 3] * 3, *FOUR)
    x = torch.full((1, 1, 3, 3), 2.0, dtype=torch.double)
    saliency = run((c, x), n_clusters=2)
    masks = F.interpolate(saliency.details["cluster_maps"][0][None], (3, 3), mode="bilinear")[0]
    masks = (masks - masks.amin((1, 2), True)) / (masks.amax((1, 2), True) - masks.amin((1, 2), True))
    close(saliency.details["scores"], 2 * masks.sum((1, 2))[None])
    base = int(saliency.details["base"])
    close(saliency.raw, (masks[base] - masks[1 - base])[None])
    assert saliency.map.max() == 1


KINDS: list[dict[str, Any]] = [
    {},
    {"n_clusters": "elbow"},
    {"init": "random_partition"},
    {"clustering": "spectral"},
    {"clustering": "spectral", "similarity": "ssim", "laplacian": "unnormalized"},
]


@pytest.mark.parametrize("options", KINDS)
def test_scale_of_the_activations(options: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(3)
    maps = torch.randn(20, 4, 5, generator=generator, dtype=torch.double).relu()
    v = torch.randn(8, 10, generator=generator, dtype=torch.double).tolist()
    plain, scaled = (run(linear(v, *(factor * maps).tolist()), **options) for factor in (1, 0.037))
    assert torch.equal(plain.details["labels"], scaled.details["labels"])
    assert len(plain.details["labels"].unique()) >= 3
    torch.testing.assert_close(plain.raw, scaled.raw, rtol=0, atol=1e-9)
    assert plain.raw.max() > 0.1


@pytest.mark.parametrize("options", KINDS)
def test_a_batch_is_its_images(options: dict[str, Any]) -> None:
    """Also where the number of clusters differs from image to image, and in chunks."""
    c, x = ll.Classifier(architectures.build("residual")), architectures.images(4)
    x[1] = 0
    method = ll.method("cluster-cam", **options)
    together = method.run(c, x, 2)
    for other in (
        [method.run(c, x[i : i + 1], 2) for i in range(4)],
        [ll.method("cluster-cam", batch_size=3, **options).run(c, x, 2)],
    ):
        for name in ("labels", "base", "scissors"):
            assert torch.equal(together.details[name], torch.cat([one.details[name] for one in other])), name
        for name in ("scores", "cluster_maps"):
            found = torch.cat([one.details[name] for one in other])
            torch.testing.assert_close(together.details[name], found, rtol=1e-4, atol=1e-5, equal_nan=True)


def test_the_seed_matters_to_a_random_partition_only() -> None:
    c, x = ll.Classifier(architectures.build("plain")), architectures.images(3)
    for init, random in (("kmeans++", False), ("random_partition", True)):
        found = [ll.method("cluster-cam", init=init, seed=seed).run(c, x).details["labels"] for seed in range(3)]
        assert (not all(torch.equal(found[0], other) for other in found)) == random


def test_a_consensus_is_the_mean_of_the_maps_of_its_seeds() -> None:
    """Worked out again seed by seed, with numpy's correlations."""
    c, x = ll.Classifier(architectures.build("plain")), architectures.images(3)
    method = ll.method("cluster-cam", n_starts=3, n_init=1)
    found = method.run(c, x, 1)
    acts = c.module.features[:8](x).detach().double()
    maps = torch.stack([by_labels(c, x, acts, seed) for seed in range(3)])
    torch.testing.assert_close(found.raw, maps.mean(0), rtol=1e-4, atol=1e-5)
    pairs = [[np.corrcoef(maps[a, i].flatten(), maps[b, i].flatten())[0, 1] for a, b in PAIRS] for i in range(3)]
    np.testing.assert_allclose(found.details["agreement"], np.mean(pairs, 1), atol=1e-4)
    assert len({round(float(a), 4) for a in found.details["agreement"]}) == 3
    assert method.cost(c, x).n_forward == found.cost.n_forward == 13


PAIRS = ((0, 1), (0, 2), (1, 2))


def by_labels(c: ll.Classifier, x: Tensor, acts: Tensor, seed: int) -> Tensor:
    """The map of class 1 from the clusters of one start of K-means, image by image."""
    maps: list[Tensor] = []
    for image, channels in zip(x, acts, strict=True):
        labels = torch.from_numpy(kmeans(channels.flatten(1).numpy(), 4, seed=seed, n_init=1).labels)
        means = torch.stack([channels[labels == m].mean(0) for m in range(4)]).float()
        masks = F.interpolate(means[None], x.shape[2:], mode="bilinear")[0]
        masks = (masks - masks.amin((1, 2), True)) / (masks.amax((1, 2), True) - masks.amin((1, 2), True))
        scores = c.module(image * masks[:, None]).softmax(1)[:, 1]
        maps.append(masks[scores.argmax()] - masks[scores.argmin()])
    return torch.stack(maps)


def test_starts_that_disagree_are_told() -> None:
    """Of the images that they are about alone, also in chunks; one start says nothing."""
    c, x = ll.Classifier(architectures.build("plain")), list(architectures.images(6))
    for options in ({}, {"batch_size": 2}):
        found = ll.explain(c, x, "cluster-cam", n_starts=3, n_init=1, **options)
        told = [any("disagree" in note for note in e.notes) for e in found]
        assert told == [float(e.details["agreement"]) < 0.9 for e in found]
        assert True in told
        assert False in told
    alone = ll.explain(c, x[0], "cluster-cam")
    assert "agreement" not in alone.details
    assert not any("disagree" in note for note in alone.notes)


@pytest.mark.parametrize(
    ("scores", "base", "scissors"),
    [
        ([0.9, 0.5, 0.1], False, False),
        ([0.9, 0.83, 0.1], True, False),
        ([0.1, 0.17, 0.9], False, True),
        ([0.5, 0.5, 0.5], True, True),
        ([0.9, 0.1, float("nan")], False, False),  # the next to the best of two is the worst
        ([float("nan")] * 3, False, False),
    ],
)
def test_near_ties(scores: list[float], base: bool, scissors: bool) -> None:
    found = near_ties(torch.tensor([scores]))
    assert [bool(found[note]) for note in (NEXT_BASE, NEXT_SCISSORS)] == [base, scissors]


def test_near_ties_are_told_of_the_image_that_has_one() -> None:
    """Scores 0, 5, -3: none. Scores 0, 0.1, 5: the scissors."""
    maps = ([[1.0, 0], [0, 0]], [[0.0, 1], [0, 0]], [[0.0, 0], [1, 0]])
    c, x = linear([[0.0, 5], [-3, 0]], *maps)
    assert "nearly tied" not in " ".join(run((c, x)).notes)
    near = run(linear([[0.0, 5], [0.1, 0]], *maps))
    assert NEXT_SCISSORS in near.notes
    assert NEXT_BASE not in near.notes
    fused = ll.method("cluster-cam", layer=("layer1", "layer2"), fuse="mean")
    several = fused.run(ll.Classifier(architectures.build("residual")), architectures.images(2))
    assert all(len(flags) == 2 for flags in several.flagged.values())


def test_elbow() -> None:
    """Sixteen channels: 3 to 5 clusters, and no more passes than that."""
    c, x = ll.Classifier(architectures.build("plain")), architectures.images(3)
    method = ll.method("cluster-cam", n_clusters="elbow")
    saliency = method.run(c, x)
    assert saliency.details["cluster_maps"].shape[:2] == (3, 5)
    found = saliency.details["labels"].amax(1) + 1
    assert ((found >= 3) & (found <= 5)).all()
    assert method.cost(c, x).n_forward == 6
    assert saliency.cost.n_forward <= 1 + float(found.float().mean())


@pytest.mark.parametrize("options", [{"n_clusters": 3}, {"n_clusters": 5}, {"clustering": "spectral"}])
def test_forwards(options: dict[str, Any]) -> None:
    """1 + M' exactly, with M' the clusters whose map is not constant; counted at the network's door."""
    net = architectures.build("plain")
    dead = torch.ones(16, 1, 1)
    dead[3:9] = 0  # six channels are dead: they make a cluster of their own, whose map is constant
    net.features[-1].register_forward_hook(lambda _m, _i, out: (out + 3) * dead)
    c, x = ll.Classifier(net, layer="features.7"), architectures.images(3)
    c.trace(x)
    passed: list[int] = []
    net.register_forward_hook(lambda _m, inputs, _o: passed.append(len(inputs[0])))
    saliency = ll.method("cluster-cam", **options).run(c, x)
    usable = saliency.details["scores"].isfinite().sum(1)
    assert saliency.details["cluster_maps"].isfinite().all()
    labels, m = saliency.details["labels"], options.get("n_clusters", 4)
    assert (labels[:, 3:9] == labels[:, 3:4]).all()
    assert usable.tolist() == [m - 1] * 3
    assert sum(passed) == 3 * (1 + (m - 1))
    assert saliency.cost.n_forward == m
    assert saliency.cost.backwards == 0
    best = saliency.details["scores"].nan_to_num(-1).argmax(1)
    assert torch.equal(saliency.details["base"], best)
    for i in range(3):
        assert not (labels[i, 3:9] == best[i]).any()


def test_fewer_channels_than_clusters() -> None:
    saliency = run(linear(V, M1, M2), n_clusters=7)
    assert saliency.details["scores"].shape == (1, 2)
    assert saliency.details["labels"].tolist() == [[0, 1]]
    equal = run(linear(V, M1, M1, M2), n_clusters=3)  # and fewer distinct ones
    assert equal.details["labels"].tolist() == [[0, 0, 1]]
    assert equal.details["cluster_maps"][0, 2].isnan().all()
    assert equal.details["scores"][0, 2].isnan()
    close(equal.raw, [[[1, -0.5], [-0.5, -1]]])
    close(equal.map, [[[1, 0.25], [0.25, 0]]])


def test_one_usable_cluster_is_the_map() -> None:
    flat = [[2.0, 2], [2, 2]]
    for given, options in (
        (linear(V, M1, flat), {"n_clusters": 2}),
        (linear(V, M1), {}),
        (linear(V, M1, M1), {"n_clusters": 1}),
    ):
        for combine in ("difference", "convex"):
            saliency = run(given, combine=combine, beta=0.4, **options)
            close(saliency.raw, [M1])
            assert (saliency.details["base"], saliency.details["scissors"]) == (0, -1)
            assert str(saliency.cost) == "2 F"


def test_equal_scores_leave_the_base() -> None:
    saliency = run(linear([[1.0, 1], [1, 1]], [[1.0, 0], [0, 0]], [[0.0, 0], [0, 3]]), n_clusters=2)
    close(saliency.details["scores"], [[1, 1]])
    close(saliency.map, [[[1, 0], [0, 0]]])
    assert saliency.details["scissors"] == -1


@pytest.mark.parametrize("name", ["cluster-cam", "sc-sm-cam"])
def test_nothing_usable(name: str) -> None:
    """Dead channels, and channels that are constant but not 0: an empty map and no pass spent."""
    zero, flat = [[0.0, 0], [0, 0]], [[2.0, 2], [2, 2]]
    for maps in ((zero, zero), (flat, zero), (flat, flat)):
        for option in ({"maps": "raw"} if name == "cluster-cam" else {}, {"normalize_at": "feature"}):
            saliency = ll.method(name, **option).run(*linear(V, *maps))
            assert not saliency.raw.any()
            assert saliency.degenerate.all()
            assert str(saliency.cost) == "1 F"
            assert saliency.details.get("base", torch.tensor(-1)) == -1


@pytest.mark.parametrize("name", ["cluster-cam", "sc-sm-cam"])
def test_half_precision(name: str) -> None:
    """A model in bfloat16 is given images in bfloat16; what is made of its answers is not that coarse."""
    c = ll.Classifier(architectures.build("plain").bfloat16())
    saliency = ll.method(name).run(c, architectures.images(2).bfloat16(), 1)
    assert {v.dtype for v in saliency.details.values() if v.is_floating_point()} == {torch.float32}
    assert saliency.map.amax((1, 2)).tolist() == [1, 1]


def test_ambiguous_eigenvectors_are_reported() -> None:
    """Two equal channels and two other equal ones: of three clusters' two eigenvectors the second is arbitrary."""
    pair = (M1, M1, M2, M2)
    assert run(linear(V, *pair), clustering="spectral").details["labels"].tolist() == [[0, 0, 1, 1]]
    assert not run(linear(V, *pair), clustering="spectral").details["ambiguous"]
    saliency = run(linear(V, *pair), clustering="spectral", n_eigenvectors=2)
    assert saliency.details["ambiguous"]
    assert "one of several" in saliency.notes[1]
    assert not run(linear(V, *pair)).details["ambiguous"]


def test_refused() -> None:
    for name, options in (
        ("cluster-cam", {"n_clusters": 0}),
        ("cluster-cam", {"n_clusters": "knee"}),
        ("cluster-cam", {"beta": -1}),
        ("cluster-cam", {"alpha": 0}),
        ("sc-sm-cam", {"size": 0}),
    ):
        with pytest.raises(ll.errors.InvalidOption, match=next(iter(options))):
            ll.method(name, **options)


@pytest.mark.slow
def test_two_objects_swap_base_and_scissors() -> None:
    """Explaining one object, then the other, turns base and scissors around.

    Measured with the embedded ResNet on 500 scenes of two objects with 2 clusters: in 480 of them (96 %), and in
    474 by spectral clustering; by chance it would be half. For two classes that are not in the picture it is
    27 %. The map of each object has more of its mass on that object than on the other in 94 %. Here are the
    first 40 of these scenes; 37 swap.
    """
    c = ll.load("demo/resnet")
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (c.mean, c.std))
    drawn = scenes(40, seed=2 * TEST_SEEDS, objects=2)
    x = torch.stack([(torch.from_numpy(s.image).permute(2, 0, 1).float() / 255 - mean) / std for s in drawn])
    there = [[o.label for o in s.objects] for s in drawn]
    absent = [[k for k in range(len(CLASSES)) if k not in labels][:2] for labels in there]
    method = ll.method("cluster-cam", n_clusters=2)

    def swaps(pairs: list[list[int]]) -> tuple[float, list[Tensor]]:
        a, b = (method.run(c, x, torch.tensor(pairs)[:, side]) for side in (0, 1))
        crossed = (a.details["base"] == b.details["scissors"]) & (a.details["scissors"] == b.details["base"])
        return float((crossed & (a.details["scissors"] >= 0)).float().mean()), [a.map, b.map]

    share, maps = swaps(there)
    assert share >= 0.8
    assert swaps(absent)[0] <= 0.5
    masks = torch.from_numpy(np.array([[o.mask for o in s.objects] for s in drawn])).float()
    on = torch.stack([(m[:, None] * masks).sum((-2, -1)) for m in maps], 1)  # n explained object
    assert ((on[:, 0, 0] > on[:, 0, 1]) & (on[:, 1, 1] > on[:, 1, 0])).float().mean() >= 0.8
