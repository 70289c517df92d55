"""Scripts of the package zennit with another import."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torchvision.models.resnet import BasicBlock, ResNet

import architectures
from compat.peers import both, close
from limelight.errors import InvalidOption, NotOffered

pytestmark = pytest.mark.filterwarnings("ignore")  # of theirs

COMPOSITES: dict[str, dict[str, Any]] = {
    "EpsilonPlus": {"epsilon": 0.01},
    "EpsilonPlusFlat": {},
    "EpsilonAlpha2Beta1": {"stabilizer": 1e-4},
    "EpsilonAlpha2Beta1Flat": {},
    "EpsilonGammaBox": {"low": torch.full((1, 3, 1, 1), -3.0).double(), "high": torch.full((1, 3, 1, 1), 3.0).double()},
    "ExcitationBackprop": {},
    "GuidedBackprop": {},
    "DeconvNet": {},
}
ROWS = torch.eye(5).double()[[1, 3]]
STARTS: tuple[torch.Tensor | Callable[[Any], Any] | None, ...] = (ROWS, lambda output: ROWS * output, None)


@pytest.mark.parametrize("name", COMPOSITES)
def test_equal(name: str) -> None:
    """At each start the outputs, and the relevance of every value."""
    found: list[list[Any]] = []
    for attribution, composites, canonizers in zip(
        both("zennit.attribution"), both("zennit.composites"), both("zennit.canonizers"), strict=True
    ):
        net, x = architectures.build("plain").double(), architectures.images(2).double()
        composite = getattr(composites, name)(canonizers=[canonizers.SequentialMergeBatchNorm()], **COMPOSITES[name])
        with attribution.Gradient(model=net, composite=composite) as attributor:
            found.append([one for start in STARTS for one in attributor(x, start)])
    for theirs, ours in zip(*found, strict=True):
        close(ours, theirs, 1e-9)


def test_residual_network() -> None:
    """Their canonizers divide by a normalisation's epsilon twice, which shows in the fourth digit."""
    found: list[Any] = []
    for attribution, composites, zoo in zip(
        both("zennit.attribution"), both("zennit.composites"), both("zennit.torchvision"), strict=True
    ):
        torch.manual_seed(0)
        net, x = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=5).eval(), architectures.images(1)
        composite = composites.EpsilonPlusFlat(canonizers=[zoo.ResNetCanonizer()])
        with attribution.Gradient(model=net, composite=composite) as attributor:
            found.append(attributor(x, torch.eye(5)[[2]])[1])
    close(found[1], found[0], 1e-3)


def test_gradient() -> None:
    modules, net = both("zennit.attribution"), architectures.build("residual")
    found = [module.Gradient(net, attr_output=ROWS.float())(architectures.images(2))[1] for module in modules]
    close(found[1], found[0], 1e-5)


def test_refused() -> None:
    from limelight.compat.zennit import attribution, composites

    with pytest.raises(InvalidOption, match=r"layer_map.*overrides"):
        composites.EpsilonPlus(layer_map=[])
    with pytest.raises(InvalidOption, match="create_graph"):
        attribution.Gradient(architectures.build("plain"), create_graph=True)
    with pytest.raises(NotOffered, match=r"SmoothGrad.*NoiseTunnel"):
        from limelight.compat.zennit.attribution import SmoothGrad  # noqa: F401
