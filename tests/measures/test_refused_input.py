"""What metrics refuse: maps, truths, targets, pictures, options and names."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import architectures
import limelight as ll
from limelight.errors import (
    InvalidImage,
    InvalidMap,
    InvalidOption,
    LimelightError,
    MissingTruth,
    UnknownMetric,
    UnknownTarget,
)
from measures.known_models import GAINS, NAN, TOP, TOP_LEFT, ones, says, tensor
from measures.rows import BY_HAND


def assert_refused(error: type[LimelightError], match: str, name: str = "average-drop", **changes: Any) -> None:
    given: dict[str, Any] = {"x": ones(2, 2, n=2), "target": 0, "maps": tensor([TOP, TOP_LEFT])}
    given |= {k: v for k, v in changes.items() if k in given}
    extra = {k: v for k, v in changes.items() if k in ("method", "truth")}
    with pytest.raises(error, match=match):
        ll.metric(name)(says(GAINS), given["x"], given["target"], given["maps"], **extra)


@pytest.mark.parametrize("name", BY_HAND)
def test_refused_maps(name: str) -> None:
    extra = {"truth": tensor([TOP, TOP]), "method": ll.method("fake-cam")}
    for value in (NAN, math.inf):
        bad = tensor([TOP, TOP])
        bad[1, 0, 1] = value
        assert_refused(InvalidMap, "map 1 .*NaN or infinite", name, maps=bad, **extra)
    assert_refused(InvalidMap, r"\(2, 2, 2\), got \(2, 3, 2\)", name, maps=torch.zeros(2, 3, 2), **extra)
    assert_refused(InvalidMap, r"\(2, 2, 2\), got \(1, 2, 2\)", name, maps=torch.zeros(1, 2, 2), **extra)
    assert_refused(InvalidMap, r"\(2, 2, 2\), got \(2, 2, 2, 2\)", name, maps=torch.zeros(2, 2, 2, 2), **extra)
    assert_refused(InvalidMap, "tensor.*got list", name, maps=[TOP, TOP], **extra)


ABOUT_CLASSES = ("cross-deletion", "morf-insertion", "erasure")
"""Metrics that are about which class is predicted, or about another one."""
TRUTHS = ("proportion", "pointing-game", "grid-pg", "outside-inside-ratio", "segmentation-ap")


@pytest.mark.parametrize("name", TRUTHS)
def test_refused_truths(name: str) -> None:
    assert_refused(MissingTruth, f"^{name} needs truth=: a mask or boxes", name)
    masks = r"expected masks \(2, 2, 2\)"
    assert_refused(MissingTruth, masks + r".*got masks \(2, 3, 2\)", name, truth=torch.ones(2, 3, 2))
    assert_refused(MissingTruth, masks + r".*got masks \(1, 2, 2\)", name, truth=torch.ones(1, 2, 2))
    assert_refused(MissingTruth, masks + r".*shape \(2, 2\)", name, truth=torch.ones(2, 2))
    assert_refused(MissingTruth, masks + r".*got masks \(1, 2, 2\)", name, truth=[tensor([[0, 0, 1, 1]])])
    assert_refused(
        MissingTruth, r"boxes \(k, 4\).*got an entry of shape \(1, 3\)", name, truth=[tensor([[0, 0, 1]]), None]
    )
    assert_refused(MissingTruth, "got str", name, truth="box")
    assert_refused(MissingTruth, "x1 <= x2", name, truth=[tensor([[1, 0, 0, 1]]), None])
    assert_refused(MissingTruth, "no pixel.*no shares", name, truth=[tensor([[0.1, 0.1, 0.4, 0.4]]), None])
    labels = ll.Truth(torch.ones(2, 2, 2, dtype=torch.bool), labels=torch.tensor([0]))
    assert_refused(MissingTruth, "1 entries of 'labels' for 2 images", name, truth=labels)


@pytest.mark.parametrize("name", ["coherency", "adcc", "sanity-cascading", "sanity-independent"])
def test_refused_without_a_method(name: str) -> None:
    assert_refused(InvalidOption, f"^{name} explains again: give it method=", name)


@pytest.mark.parametrize("name", BY_HAND)
def test_refused_targets(name: str) -> None:
    extra = {"truth": tensor([TOP, TOP]), "method": ll.method("fake-cam")}
    assert_refused(UnknownTarget, "target 2 .*classes 0 to 1", name, target=2, **extra)
    assert_refused(InvalidOption, "3 targets for 2 images", name, target=[0, 1, 0], **extra)


@pytest.mark.parametrize("name", BY_HAND)
def test_a_function_that_gives_the_class_its_score_is_the_class(name: str) -> None:
    """The function's score stands where the class's does, be it a probability or a logit."""
    metric = ll.metric(name)
    score = getattr(metric.options, "score", "prob")
    model, x = ll.Classifier(architectures.small(2), size=16), ones(16, 16, n=2).float() * torch.linspace(-1, 1, 16)
    maps = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(0))
    given: dict[str, Any] = {"truth": maps > 0.5, "method": ll.method("grad-cam", score=score)}

    def asked(out: Tensor) -> Tensor:
        return out[:, 1] if score == "logit" else out.softmax(1)[:, 1]

    if name in ABOUT_CLASSES:
        with pytest.raises(InvalidOption, match="about classes, and a function of the outputs as target is none"):
            metric(model, x, asked, maps, **given)
    else:
        found, wanted = (metric(model, x, target, maps, **given) for target in (asked, 1))
        torch.testing.assert_close(found, wanted, equal_nan=True)


@pytest.mark.parametrize("name", ["average-drop", "confidence-drop", "adcc"])
def test_a_negative_score_has_no_share(name: str) -> None:
    model, x = ll.Classifier(architectures.small(2), size=16), ones(16, 16, n=2).float()
    maps = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(0))
    assert ll.metric(name)(model, x, lambda output: 0 * output[:, 1] - 1, maps, method="fake-cam").isnan().all()


def test_refused_images() -> None:
    assert_refused(InvalidImage, "NaN or infinite", x=ones(2, 2, n=2) * NAN)
    assert_refused(InvalidImage, r"\(n, 3, H, W\)", x=torch.ones(3, 2, 2))
    assert_refused(InvalidImage, "1 channels", x=torch.ones(2, 1, 2, 2))


@pytest.mark.parametrize("name", BY_HAND)
def test_refused_options(name: str) -> None:
    with pytest.raises(InvalidOption, match=f"{name} has no option 'degenerated'; did you mean degenerate"):
        ll.metric(name, degenerated="skip")
    with pytest.raises(InvalidOption, match=f"{name} has no protocol 'no-such-paper'"):
        ll.metric(name, protocol="no-such-paper")
    with pytest.raises(InvalidOption, match=f"{name}: option degenerate = 'drop'.*'include' or 'skip'"):
        ll.metric(name, degenerate="drop")
    with pytest.raises(InvalidOption, match=f"{name}: option seed = -1"):
        ll.metric(name, seed=-1)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("deletion", "step", 0),
        ("deletion", "step", "W8"),
        ("insertion", "ties", "sorted"),
        ("insertion", "fill", "pink"),
        ("overall", "x_axis", "log"),
        ("average-drop", "space", "lab"),
        ("adcc", "level", "class"),
        ("pointing-game", "tolerance", -1),
        ("grid-pg", "keep", 0),
        ("grid-pg", "keep", 1.5),
        ("morf", "cell", 0),
        ("lerf", "steps", 0),
        ("morf-insertion", "largest", 1.5),
        ("morf-insertion", "canvas", "red"),
        ("road", "percentiles", (0,)),
        ("road", "percentiles", (100,)),
        ("road", "noise", -1),
        ("sanity-cascading", "layers", "some"),
        ("sanity-independent", "similarity", "hog"),
        ("outside-inside-ratio", "normalise", "max"),
    ],
)
def test_refused_values(name: str, option: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match=f"{name}: option {option} = "):
        ll.metric(name, **{option: value})


@pytest.mark.parametrize(
    ("given", "near"), [("deletoin", "deletion"), ("ADCC", "adcc"), ("pointing", "pointing-game"), ("drop", "-drop")]
)
def test_unknown_metrics(given: str, near: str) -> None:
    with pytest.raises(UnknownMetric, match=f"there is no metric '{given}'; did you mean .*{near}"):
        ll.metric(given)
    with pytest.raises(UnknownMetric, match=r"there is no metric 'xyzzy'.*limelight metrics"):
        ll.metric("xyzzy")
