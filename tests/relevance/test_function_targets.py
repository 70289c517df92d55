"""Relevance of a function of the outputs: it starts at the outputs z with z df/dz."""

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import limelight as ll
from limelight.errors import InvalidOption, UnsupportedModel

METHODS = (
    "lrp", "lrp-epsilon-plus", "lrp-alpha2-beta1", "lrp-comp", "rap", "excitation-backprop", "c-excitation-backprop",
)  # fmt: skip


def small(classes: int = 5) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, classes),
    ).eval()  # fmt: skip


def pictures(n: int = 2) -> Tensor:
    return torch.randn(n, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Both(NamedTuple):
    features: Tensor
    logits: Tensor


class Own:
    """An output of a class that PyTorch knows nothing of."""

    def __init__(self, features: Tensor, logits: Tensor) -> None:
        self.features, self.logits = features, logits


class Returns(nn.Module):
    """A classifier that returns what a function makes of its features and logits."""

    def __init__(self, form: Any) -> None:
        super().__init__()
        net = small()
        self.trunk, self.head, self.form = net[:-1], net[-1], form

    def forward(self, x: Tensor) -> Any:
        features = self.trunk(x)
        return self.form(features, self.head(features))


class Segmenter(nn.Module):
    """A map of scores for each of four classes, as large as the picture."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU()), nn.Conv2d(8, 4, 1, bias=False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"out": F.interpolate(self.head(self.body(x)), size=x.shape[-2:], mode="bilinear")}


@pytest.mark.parametrize("method", METHODS)
def test_the_logit_as_a_function_is_the_class(method: str) -> None:
    c, x = ll.Classifier(small(), size=16), pictures()
    assert torch.equal(ll.method(method).raw(c, x, lambda z: z[:, 3]), ll.method(method).raw(c, x, 3))


@pytest.mark.parametrize("form", [Both, Own, lambda f, z: {"f": f, "z": (z, f)}, lambda f, z: [f, z]])
def test_outputs_that_are_made_of_one_another_count_once(form: Any) -> None:
    """The features stand among the outputs, and the function reads the logits that are made of them."""
    read = {Both: lambda o: o.logits[:, 3], Own: lambda o: o.logits[:, 3]}.get(
        form, lambda o: (o["z"][0] if isinstance(o, dict) else o[1])[:, 3]
    )
    x = pictures()
    expected = ll.method("lrp").raw(ll.Classifier(small(), size=16), x, 3)
    assert torch.equal(ll.method("lrp").raw(ll.Classifier(Returns(form), size=16), x, read), expected)


def test_relevance_of_a_sum_is_the_sum_of_relevances() -> None:
    """Relevance is linear where it starts: of 2 z_1 - z_3 it is twice that of z_1 less that of z_3."""
    c, x = ll.Classifier(small().double(), size=16), pictures().double()
    lrp = ll.method("lrp", init="logit")
    expected = 2 * lrp.raw(c, x, 1) - lrp.raw(c, x, 3)
    torch.testing.assert_close(lrp.raw(c, x, lambda z: 2 * z[:, 1] - z[:, 3]), expected)


def test_of_a_curved_function_it_starts_with_the_gradient() -> None:
    """f = z_1 z_2 has z df/dz = (z_1 z_2, z_1 z_2) at both."""
    net, x = small().double(), pictures().double()
    c, lrp, z = ll.Classifier(net, size=16), ll.method("lrp", init="one"), net(x).detach()
    by_z = [lrp.raw(c, x, i) * z[:, i, None, None] for i in range(3)]
    expected = z[:, 2, None, None] * by_z[1] + z[:, 1, None, None] * by_z[2]
    lrp = ll.method("lrp", init="logit")
    torch.testing.assert_close(lrp.raw(c, x, lambda z: z[:, 1] * z[:, 2]), expected)


def test_a_region_of_a_segmenter() -> None:
    """Without biases, every rule that shares all of the relevance hands the score itself to the pixels."""
    net, x = Segmenter().double(), pictures().double()
    net.body[0].bias = None
    c = ll.Classifier(net, size=16)
    target = lambda o: o["out"][:, 2, 4:9, 5:12].mean((1, 2))  # noqa: E731
    maps = ll.method("lrp", init="logit", rules={"first": "epsilon(0)", "affine": "epsilon(0)"}).raw(c, x, target)
    torch.testing.assert_close(maps.sum((1, 2)), target(net(x)).detach())
    assert not maps[:, [0, *range(10, 16)]].any(), "rows that the region does not see"


def test_outputs_without_a_row_for_each_image() -> None:
    c = ll.Classifier(Returns(lambda _f, z: {"z": z, "mean": z.mean(0)}), size=16)
    one = ll.method("lrp").raw(c, pictures(1), lambda o: o["mean"][3:4])
    torch.testing.assert_close(one, ll.method("lrp").raw(ll.Classifier(small(), size=16), pictures(1), 3))
    with pytest.raises(UnsupportedModel, match=r"no row for each image.*one image at a time"):
        ll.method("lrp").raw(c, pictures(), lambda o: o["z"][:, 1] + o["mean"][3])


def test_a_function_that_falls_where_an_output_rises_is_no_probability() -> None:
    c = ll.Classifier(small(), size=16)
    with pytest.raises(InvalidOption, match="lrp explains any function"):
        ll.method("excitation-backprop").raw(c, pictures(), lambda z: z[:, 1] - z[:, 3])


def test_a_function_has_no_hostile_classes() -> None:
    c = ll.Classifier(small(), size=16)
    with pytest.raises(InvalidOption, match="a function of the outputs has none"):
        ll.method("rsp", hostile=(1,)).raw(c, pictures(), lambda z: z[:, 3])


def test_a_function_that_reads_no_output() -> None:
    """Gradient methods explain what the network kept on its way; relevance starts at its outputs."""
    net = small()
    kept: list[Tensor] = []
    net[3].register_forward_hook(lambda _m, _i, out: kept.append(out))
    c, read = ll.Classifier(net, size=16), lambda _z: kept[-1].mean((1, 2, 3))
    assert ll.method("gradient").raw(c, pictures(), read).shape == (2, 16, 16)
    with pytest.raises(UnsupportedModel, match="reads nothing of the outputs"):
        ll.method("lrp").raw(c, pictures(), read)
