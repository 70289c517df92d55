"""Scripts of the package quantus with another import."""

from typing import Any

import numpy as np
import pytest

import architectures
from compat.peers import both
from limelight.errors import InvalidMap, InvalidOption, MissingTruth, NotOffered

pytestmark = pytest.mark.filterwarnings("ignore")  # of theirs

Y = np.array([1, 3, 0])
RNG = np.random.default_rng(0)
COLOURS, MAPS = (  # no two of which have one magnitude
    (RNG.permutation(3 * c * 2240).reshape(3, c, 40, 56) + 0.5).astype(np.float32) * RNG.choice([-1, 1], (3, c, 40, 56))
    for c in (3, 1)
)
MASKS = np.zeros((3, 1, 40, 56), bool)
MASKS[:, :, 5:20, 10:30] = True
MASKS[1, 0].flat[MAPS[1].argmax()] = True

METRICS: list[tuple[str, dict[str, Any], Any]] = [
    ("PixelFlipping", {"features_in_step": 560}, COLOURS),
    ("PixelFlipping", {"features_in_step": 560, "abs": True}, COLOURS),
    ("RegionPerturbation", {}, MAPS),
    ("RegionPerturbation", {"order": "lerf", "patch_size": 10, "regions_evaluation": 7}, COLOURS),
    ("PointingGame", {}, MAPS),
    ("RelevanceMassAccuracy", {"abs": True}, MAPS),
    ("AttributionLocalisation", {}, MAPS),
    ("AttributionLocalisation", {"abs": False, "positive_attributions": True}, MAPS),
]


@pytest.mark.parametrize(("name", "how", "maps"), METRICS)
@pytest.mark.parametrize("softmax", [True, False])
def test_equal(name: str, how: dict[str, Any], maps: Any, softmax: bool) -> None:
    scores: list[Any] = []
    for module in both("quantus"):
        metric = getattr(module, name)(disable_warnings=True, **how)
        net, x = architectures.build("plain"), architectures.images(3).numpy()
        scores.append(
            metric(model=net, x_batch=x, y_batch=Y, a_batch=maps, s_batch=MASKS, device="cpu", softmax=softmax)
        )
    theirs, ours = scores
    assert type(ours) is type(theirs) is list
    np.testing.assert_allclose(np.array(ours, float), np.array(theirs, float), rtol=0, atol=1e-6)
    assert np.ptp(np.array(ours, float)) > 0


def test_explanations() -> None:
    """By that package's names; and each package's explanations go into the other's metrics."""
    theirs, ours = both("quantus")
    net, x = architectures.build("plain"), architectures.images(3).numpy()
    for name in ("Saliency", "Gradient", "InputXGradient", "IntegratedGradients", "DeepLift", "Deconvolution"):
        expected = theirs.explain(net, x, Y, method=name, device="cpu")
        np.testing.assert_allclose(
            ours.explain(net, x, Y, method=name), expected, rtol=0, atol=1e-6 * abs(expected).max()
        )
    cams = ours.explain(net, x, Y, method="layer-cam", layer="features.2")
    assert cams.shape == (3, 1, 40, 56)
    batches = {"model": net, "x_batch": x, "y_batch": Y, "s_batch": MASKS, "device": "cpu"}
    kwargs = {"method": "layer-cam", "layer": "features.2"}
    scores = [
        module.RelevanceMassAccuracy(disable_warnings=True)(
            **batches, explain_func=ours.explain, explain_func_kwargs=kwargs
        )
        for module in (theirs, ours)
    ]
    np.testing.assert_allclose(*scores, rtol=0, atol=1e-6)


def test_refused() -> None:
    from limelight.compat import quantus

    batches = {"model": architectures.build("plain"), "x_batch": architectures.images(3).numpy(), "y_batch": Y}
    with pytest.raises(InvalidMap, match="abs=True"):
        quantus.RelevanceMassAccuracy()(**batches, a_batch=MAPS, s_batch=MASKS)
    with pytest.raises(InvalidMap, match="3 colours"):
        quantus.PointingGame()(**batches, a_batch=COLOURS, s_batch=MASKS)
    with pytest.raises(MissingTruth, match="truth"):
        quantus.PointingGame()(**batches, a_batch=MAPS)
    for how in ({"perturb_baseline": "uniform"}, {"return_aggregate": True}, {"perturb_func": len}):
        with pytest.raises(InvalidOption, match=next(iter(how))):
            quantus.PixelFlipping(**how)
    with pytest.raises(InvalidOption, match="channel_first"):
        quantus.PixelFlipping()(**batches, a_batch=MAPS, channel_first=False)
    with pytest.raises(InvalidOption, match="settings of quantus"):
        quantus.explain(
            **{"model": batches["model"], "inputs": batches["x_batch"], "targets": Y}, method="Saliency", n=3
        )
    with pytest.raises(NotOffered, match=r"Sparseness.*metrics"):
        from limelight.compat.quantus import Sparseness  # noqa: F401
