"""Relevance-CAM: by hand, against its authors, and relevance that adds up at every cut."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import architectures
import limelight as ll
from limelight.maps.propagation.relevance_cam import RULES, contrast
from limelight.relevance.op import Op, divide_by
from limelight.relevance.recording import Recording
from methods import golden_network
from methods.goldens import TINY, classifier, golden, inputs
from methods.known_scores import assert_same


class Pooled(nn.Module):
    """Two maps that are the first two colours, averaged; W = [[1, 1], [1, 0], [0, 2]]."""

    def __init__(self) -> None:
        super().__init__()
        self.maps, self.head = nn.Conv2d(3, 2, 1, bias=False), nn.Linear(2, 3, bias=False)
        self.maps.weight.data = torch.eye(3)[:2, :, None, None]
        self.head.weight.data = torch.tensor([[1.0, 1], [1, 0], [0, 2]])

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.adaptive_avg_pool2d(self.maps(x).relu(), 1).flatten(1))


def test_relevance_cam_worked_example() -> None:
    x = torch.tensor([[1.0, 3], [2, 0], [9, 9]]).view(1, 3, 1, 2)
    c = ll.Classifier(Pooled().eval(), size=2)
    found = ll.method("relevance-cam", layer="maps").raw(c, x, 0)
    torch.testing.assert_close(found, torch.tensor([[[1 / 6, 1 / 2]]]))


@pytest.mark.parametrize("layer", ["2", "4"])
def test_relevance_cam_golden_network(layer: str) -> None:
    method = ll.method("relevance-cam", layer=layer)
    found = method.raw(golden_network.classifier(), golden_network.image(), golden_network.TARGET)
    torch.testing.assert_close(found[0], golden_network.rows("relevance-cam", f"layer {layer}"), rtol=0, atol=1e-9)


@pytest.mark.parametrize("model", TINY)
def test_relevance_cam_authors(model: str) -> None:
    """Where convolutions have biases they are left out here; see the next test."""
    _, arrays = golden(f"authors-relevance_cam-{model}")
    layers = [k[1:] for k in arrays.files if k.startswith("@") and k != "@features.8"]
    assert layers
    for layer in layers:
        method = ll.method("relevance-cam", layer=layer)
        found = method.raw(classifier(model), inputs(model), torch.from_numpy(arrays["target"]))
        assert_same(found, arrays[f"@{layer}"][:, 0])


def test_relevance_cam_authors_with_biases() -> None:
    """Their code has the bias in both halves of the denominator; with that rule alone ours is theirs."""

    def twice_the_bias(op: Op, r: Tensor) -> Tensor:
        b = op.b()
        z = op.forward(op.x.clamp_min(0), "positive", b) + op.forward(op.x.clamp_max(0), "negative", b)
        s = divide_by(r, z)
        return op.x.clamp_min(0) * op.back(s, "positive") + op.x.clamp_max(0) * op.back(s, "negative")

    _, arrays = golden("authors-relevance_cam-tinyvgg")
    c, x, target = classifier("tinyvgg"), inputs("tinyvgg"), torch.from_numpy(arrays["target"])
    (info,) = c.layers(["features.8"], x)
    recording = Recording(c, x, {"features.8": info})
    a, seed = recording.outputs["features.8"].detach(), contrast(recording.logits.detach(), target)
    r = recording.to_layer(RULES.but(conv=twice_the_bias), recording.logits, seed, "features.8")
    assert_same((r.mean((2, 3), keepdim=True) * a).sum(1), arrays["@features.8"][:, 0])
    without = ll.method("relevance-cam", layer="features.8").raw(c, x, target)
    assert_same(without, arrays["@features.8"][:, 0], 0.03)


CUTS = [
    ("plain", ("features.0", "features.1", "features.3", "features.4", "features")),
    ("residual", ("stem", "layer1", "layer2")),
    ("inception", ("stem", "mix.0", "mix")),
]


@pytest.mark.parametrize(("name", "layers"), CUTS)
@pytest.mark.parametrize(("others", "total"), [("1/K", 1 / architectures.CLASSES), ("1/(K-1)", 0.0)])
def test_relevance_adds_up_at_every_cut(name: str, layers: tuple[str, ...], others: Any, total: float) -> None:
    """Where no output is without any positive contribution: all activations are above 0."""
    net = architectures.build(name).double()
    for m in list(net.modules()):
        for child in [n for n, inner in m.named_children() if isinstance(inner, nn.ReLU)]:
            setattr(m, child, nn.Softplus())
    c, x = ll.Classifier(net), architectures.images(2).double()
    for layer in layers:
        saliency = ll.method("relevance-cam", layer=layer, others=others).run(c, x, [1, 4])
        left = saliency.details["relevance_at_end"]
        torch.testing.assert_close(left, torch.full_like(left, total), rtol=0, atol=1e-9)
        assert saliency.raw.abs().amax() > 0
        assert all("grew" in note for note in saliency.notes)  # where amounts cancel; nothing is lost


def test_batch_normalisation_hands_relevance_on() -> None:
    """Also where its scale is negative, which folded into the weights would turn their signs."""

    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.maps, self.mix, self.norm = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
            self.head = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.norm(self.mix(self.maps(x).relu())).relu().mean((2, 3)))

    torch.manual_seed(0)
    net, x = Normed().double().eval(), torch.randn(1, 3, 4, 4).double()
    net.norm.weight.data, net.norm.bias.data = torch.tensor([-1.0, 1, -2, 2]).double(), torch.rand(4).double()
    r = {}
    for layer in ("maps", "norm"):
        c = ll.Classifier(net, size=4)
        recording = Recording(c, x, {layer: c.layers([layer], x)[0]})
        seed = contrast(recording.logits.detach(), torch.tensor([0]))
        r[layer] = recording.to_layer(RULES, recording.logits, seed, layer)
    assert r["norm"].abs().max() > 0
    parts = net.mix.weight[:, :, 0, 0].clamp_min(0)[None, :, :, None, None] * net.maps(x).relu()[:, None]
    share = divide_by(parts, parts.sum(2, keepdim=True).expand_as(parts))
    assert_same(r["maps"], (share * r["norm"][:, :, None]).sum(1).detach(), 1e-12)


@pytest.mark.parametrize(
    ("pool", "shares"),
    [
        (lambda x: F.adaptive_avg_pool2d(x, 1), (0.25, 0.75, 0)),
        (lambda x: x.mean((2, 3)), (0.25, 0.75, 0)),
        (lambda x: F.avg_pool2d(x, (1, 3)), (0.5, 1.5, -1)),
    ],
)
def test_a_mean_over_whole_maps_counts_what_is_above_0(pool: Any, shares: tuple[float, ...]) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 3, 1, bias=False)
            self.first.weight.data = torch.eye(3)[:, :, None, None]

        def forward(self, x: Tensor) -> Tensor:
            return pool(self.first(x)).flatten(1)

    recording = Recording(ll.Classifier(Net().eval(), size=2), torch.tensor([1.0, 3, -2]).expand(1, 3, 1, 3))
    op = next(op for op in recording.ops if op.kind == "avg_pool")
    (found,) = RULES.find(op)[1](op, torch.ones_like(op.y))
    torch.testing.assert_close(found[0, 0, 0], torch.tensor(shares))


def test_relevance_cam_of_a_function_is_refused() -> None:
    with pytest.raises(ll.errors.UnsupportedModel, match="explains a class"):
        ll.method("relevance-cam").run(classifier("tinyvgg"), inputs("tinyvgg")[:1], lambda out: out.sum(1))
