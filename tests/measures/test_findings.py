"""What the metrics are for: they find what is known to be so."""

import pytest
import torch
import torchvision

import limelight as ll
from conftest import shared
from limelight.data.synthetic import TEST_SEEDS, scenes
from limelight.results.summary import Summary

BASELINES = ("random-map", "centre-map")


@pytest.fixture(scope="module")
def localisation() -> Summary:
    some = scenes(80, seed=TEST_SEEDS + 5000)
    methods = ["grad-cam", "layer-cam", *BASELINES]
    return ll.evaluate("demo/resnet", some, methods, ["pointing-game", "proportion"], "label").summary()


@pytest.mark.parametrize("metric", ["pointing-game", "proportion"])
@pytest.mark.parametrize("method", ["grad-cam", "layer-cam"])
def test_maps_lie_on_objects_better_than_chance(localisation: Summary, method: str, metric: str) -> None:
    """The intervals of a method and of maps that know nothing do not even touch."""
    for baseline in BASELINES:
        assert localisation[method, metric].low > localisation[baseline, metric].high + 0.05


@pytest.fixture(scope="module")
def squeezenet() -> Summary:
    net = torchvision.models.squeezenet1_0(weights=None)
    net.load_state_dict(torch.load(shared("data", "squeezenet1_0_imagenet.pt"), weights_only=True))
    classifier = ll.Classifier(net, layer="features", size=224)
    pictures = sorted(shared("data", "imagenet-samples").glob("*.jpg"))[:8]
    metrics = ["average-drop", "average-increase", "adcc", "complexity"]
    return ll.evaluate(classifier, pictures, ["fake-cam", "grad-cam"], metrics).summary()


def test_fake_cam_looks_perfect_where_adcc_sees_through_it(squeezenet: Summary) -> None:
    """A map that says nothing has the best drop, and an ADCC of next to nothing (Poppi et al. 2021)."""
    assert squeezenet["fake-cam", "average-drop"].mean < 0.01 < squeezenet["grad-cam", "average-drop"].mean
    assert squeezenet["fake-cam", "adcc"].mean <= 0.001
    assert squeezenet["grad-cam", "adcc"].mean > 0.3
    assert squeezenet["fake-cam", "complexity"].mean > 0.999


@pytest.mark.slow
def test_what_ignores_the_model_fails_the_sanity_check() -> None:
    """A method that shows the picture's edges, as some that pass gradients backwards do, stays what it is."""

    def edges(image: torch.Tensor, acts: torch.Tensor) -> torch.Tensor:
        grey = image.mean(1)
        return (grey - torch.nn.functional.avg_pool2d(grey, 5, 1, 2)).abs()

    ll.register_method("edges", family="test", cites="none", cost="1 F", class_sensitive=False)(edges)
    try:
        pictures = [ll.example_image(i) for i in range(3)]
        cams = ["cam", "grad-cam", "grad-cam++", "xgrad-cam", "hires-cam", "layer-cam", "wgrad-cam"]
        verdicts, _ = ll.sanity("demo/resnet", pictures, ["edges", *cams])
    finally:
        from limelight.card import METHODS

        METHODS.own.pop("edges")
    passed = {v.method: v.passed for v in verdicts}
    assert passed.pop("edges") is False
    assert all(passed.values()), verdicts
