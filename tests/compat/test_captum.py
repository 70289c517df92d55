"""Scripts of the package captum with another import."""

from typing import Any

import pytest
import torch
from torch import nn

import architectures
from compat.peers import both, close, correlation
from limelight.errors import InvalidOption, NotOffered

pytestmark = pytest.mark.filterwarnings("ignore")  # of theirs

BASELINES = 0.1 * torch.randn(2, 3, 40, 56, generator=torch.Generator().manual_seed(0)).double()

EQUAL: list[tuple[str, dict[str, Any]]] = [
    ("Saliency", {}),
    ("Saliency", {"abs": False}),
    ("InputXGradient", {}),
    ("GuidedBackprop", {}),
    ("Deconvolution", {}),
    ("IntegratedGradients", {"n_steps": 4, "return_convergence_delta": True}),
    ("IntegratedGradients", {"n_steps": 4, "method": "riemann_trapezoid", "baselines": BASELINES}),
    ("IntegratedGradients", {"n_steps": 4, "method": "riemann_left", "baselines": BASELINES[:1]}),
    ("IntegratedGradients", {"n_steps": 4, "method": "riemann_middle", "baselines": 0.5}),
    ("DeepLift", {"return_convergence_delta": True}),
    ("DeepLift", {"baselines": BASELINES}),
    ("LayerGradCam", {}),
    ("LayerGradCam", {"relu_attributions": True}),
    ("GuidedGradCam", {"interpolate_mode": "bilinear"}),
    ("Occlusion", {"sliding_window_shapes": (3, 15, 15), "strides": (3, 10, 10)}),
    ("Occlusion", {"sliding_window_shapes": (3, 15, 15), "strides": 10, "baselines": BASELINES}),
]


@pytest.mark.parametrize(("name", "how"), EQUAL)
def test_equal(name: str, how: dict[str, Any]) -> None:
    found: list[Any] = []
    for module in both("captum.attr"):
        net, x = architectures.build("plain").double(), architectures.images(2).double()
        layer = (net.features[2],) if "Cam" in name else ()
        found.append(getattr(module, name)(net, *layer).attribute(x, target=torch.tensor([1, 3]), **how))
    theirs, ours = ([one] if isinstance(one, torch.Tensor) else [*one] for one in found)
    close(ours[0], theirs[0].double(), 1e-6)
    for delta, own in zip(theirs[1:], ours[1:], strict=True):
        torch.testing.assert_close(own, delta.to(own), rtol=1e-3, atol=1e-8)


def test_lrp() -> None:
    found: list[Any] = []
    for module in both("captum.attr"):
        torch.manual_seed(0)
        layers = (
            nn.Conv2d(3, 6, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 4, 3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
        )
        net = nn.Sequential(*layers, nn.Conv2d(4, 3, 1)).double()
        x = torch.rand(2, 3, 16, 16).double()
        found.append(module.LRP(net).attribute(x, target=(1, 0, 0), return_convergence_delta=True))
    (theirs, gap), (ours, own) = found
    close(ours, theirs, 1e-6)
    torch.testing.assert_close(own, gap.detach(), rtol=1e-6, atol=1e-8)


def test_what_is_drawn_by_lot() -> None:
    """Each draws its own numbers: the means of many are alike."""
    net, x = architectures.build("plain").double(), architectures.images(1).double()
    shap, smooth, squares, variances = [], [], [], []
    for module in both("captum.attr"):
        zero = torch.zeros(1, 3, 40, 56).double()
        shap.append(module.GradientShap(net).attribute(x, baselines=zero, n_samples=100, target=1))
        tunnel = module.NoiseTunnel(module.Saliency(net))
        how: dict[str, Any] = {"nt_samples": 40, "stdevs": 0.1, "target": 1, "abs": False}
        smooth.append(tunnel.attribute(x, **how))
        squares.append(tunnel.attribute(x, nt_type="smoothgrad_sq", **how))
        variances.append(tunnel.attribute(x, nt_type="vargrad", **how))
    for pair, least in ((shap, 0.95), (smooth, 0.95), (squares, 0.9), (variances, 0.75)):
        assert correlation(*pair) > least
        assert float(pair[1].abs().mean() / pair[0].abs().mean()) == pytest.approx(1, abs=0.2)


def test_inputs_and_functions_of_any_kind() -> None:
    """Columns of a table, a function of what a network returns, tuples, a target for each input."""
    torch.manual_seed(0)
    net, z = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)), torch.randn(6, 4)
    found: list[Any] = []
    for module in both("captum.attr"):
        alone = module.IntegratedGradients(net).attribute(z, target=[0, 1, 2, 0, 1, 2])
        of_function = module.IntegratedGradients(lambda t: net(t).pow(2).sum(1)).attribute((z,), n_steps=8)
        assert isinstance(of_function, tuple)
        found.append((alone, *of_function))
    for theirs, ours in zip(*found, strict=True):
        close(ours, theirs, 1e-5)


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        ("Saliency", {"additional_forward_args": 3}, "a function of the inputs alone"),
        ("IntegratedGradients", {"method": "simpson"}, "gausslegendre"),
        ("IntegratedGradients", {"baselines": torch.zeros(5)}, "a baseline of shape"),
        ("Saliency", {"target": [1, 2, 3]}, "3 targets for 2 inputs"),
        ("Occlusion", {"sliding_window_shapes": (1, 3, 5)}, "squares over all channels"),
        ("GradientShap", {"baselines": 0, "return_convergence_delta": True}, "which baselines"),
        ("LayerGradCam", {"attr_dim_summation": False}, "channels are added up"),
    ],
)
def test_refused(name: str, how: dict[str, Any], message: str) -> None:
    from limelight.compat.captum import attr

    net, x = architectures.build("plain"), architectures.images(2)
    layer = (net.features[2],) if "Cam" in name else ()
    with pytest.raises(InvalidOption, match=message):
        getattr(attr, name)(net, *layer).attribute(x, **{"target": 1, **how})


def test_refused_methods() -> None:
    from limelight.compat.captum import attr

    with pytest.raises(InvalidOption, match="smooths Saliency"):
        attr.NoiseTunnel(attr.InputXGradient(nn.Identity()))
    with pytest.raises(InvalidOption, match="abs=False"):
        attr.NoiseTunnel(attr.Saliency(nn.Identity())).attribute(torch.ones(1, 2))
    with pytest.raises(InvalidOption, match="2 inputs"):
        attr.Saliency(nn.Identity()).attribute((torch.ones(1), torch.ones(1)))  # type: ignore[arg-type]
    with pytest.raises(NotOffered, match=r"KernelShap.*lime"):
        from limelight.compat.captum.attr import KernelShap  # noqa: F401
