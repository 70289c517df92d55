"""Maps worked out by hand, and identities that hold on any network."""

import math

import pytest
import torch
from torch import Tensor, nn

import architectures
import limelight as ll
from limelight.errors import UnsupportedModel


class Layer(nn.Module):
    """Gives fixed activations whatever the image: the maps can be worked out on paper."""

    def __init__(self, acts: Tensor) -> None:
        super().__init__()
        self.register_buffer("acts", acts)

    def forward(self, x: Tensor) -> Tensor:
        return self.acts.expand(len(x), -1, -1, -1) + 0 * x.mean()


class PooledLinear(nn.Module):
    """f = W mean(A) + b."""

    def __init__(self, acts: Tensor, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.layer = Layer(acts)
        self.stem = nn.Conv2d(3, 1, 1)
        self.fc = nn.Linear(*reversed(weight.shape))
        self.fc.weight.data, self.fc.bias.data = weight, bias
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.layer(self.stem(x))).flatten(1))


@pytest.fixture
def gaplin() -> tuple[ll.Classifier, Tensor]:
    """One image, three 2 x 2 channels, w = (2, -1, 1/2), b = 1/4: the class scores 2.25."""
    acts = torch.tensor([[[4.0, 0], [0, 0]], [[0, 2], [0, 2]], [[2, 2], [2, 2]]], dtype=torch.double)[None]
    weight = torch.tensor([[2, -1, 0.5], [0, 0, 0]], dtype=torch.double)
    net = PooledLinear(acts, weight, torch.tensor([0.25, 0], dtype=torch.double)).double()
    c = ll.Classifier(net, layer="layer", reshape=lambda t: t)
    return c, torch.zeros(1, 3, 2, 2, dtype=torch.double)


third = 1 / 3
BY_HAND = {
    "cam": [[9, -1], [1, -1]],
    "grad-cam": [[2.25, -0.25], [0.25, -0.25]],
    "xgrad-cam": [[2.25, -0.25], [0.25, -0.25]],
    "hires-cam": [[2.25, -0.25], [0.25, -0.25]],
    "layer-cam": [[2.25, 0.25], [0.25, 0.25]],
    "wgrad-cam": [[2.5, 0], [0.5, 0]],
    "grad-cam++": [[7 * third, third], [third, third]],
}


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name: str, gaplin: tuple[ll.Classifier, Tensor]) -> None:
    c, x = gaplin
    assert c(x)[0, 0] == 2.25
    raw = ll.method(name).raw(c, x, 0)
    expected = torch.tensor([BY_HAND[name]], dtype=torch.double)
    torch.testing.assert_close(raw, expected, rtol=1e-12, atol=1e-12)


def test_grad_cam_pp_variants_by_hand(gaplin: tuple[ll.Classifier, Tensor]) -> None:
    c, x = gaplin
    acts = c.module.layer.acts[0]
    for variant, w in (
        ("alpha_normalized", (1 / 2, 0, 1 / 8)),
        ("cubed", (1 / 2, 0, 1 / 128)),
        ("elementwise", (1 / 2, 0, 1 / 6)),
    ):
        expected = sum(weight * channel for weight, channel in zip(w, acts, strict=True))
        raw = ll.method("grad-cam++", variant=variant).raw(c, x, 0)
        torch.testing.assert_close(raw[0], expected, rtol=1e-12, atol=1e-12)


def test_finished_by_hand(gaplin: tuple[ll.Classifier, Tensor]) -> None:
    c, x = gaplin
    expected = torch.tensor([[[1, 0], [1 / 9, 0]]])
    torch.testing.assert_close(ll.method("grad-cam")(c, x, 0), expected)
    torch.testing.assert_close(ll.method("wgrad-cam")(c, x, 0), torch.tensor([[[1, 0], [0.2, 0]]]))
    # Without the ReLU the same map spans -0.25 to 2.25.
    torch.testing.assert_close(ll.method("grad-cam", relu=False)(c, x, 0), torch.tensor([[[1, 0], [0.2, 0]]]))


def test_theorem_is_told(gaplin: tuple[ll.Classifier, Tensor]) -> None:
    c, x = gaplin
    for name in ("grad-cam", "xgrad-cam", "hires-cam"):
        assert "by theorem" in ll.method(name).run(c, x, 0).notes[0]
    assert not ll.method("layer-cam").run(c, x, 0).notes


@pytest.fixture(params=range(3))
def random_head(request: pytest.FixtureRequest) -> tuple[ll.Classifier, Tensor]:
    generator = torch.Generator().manual_seed(request.param)
    acts = torch.randn(1, 6, 4, 5, generator=generator, dtype=torch.double).relu() + 0.1
    weight = torch.randn(3, 6, generator=generator, dtype=torch.double)
    bias = torch.randn(3, generator=generator, dtype=torch.double)
    net = PooledLinear(acts, weight, bias).double()
    return ll.Classifier(net, layer="layer", reshape=lambda t: t), torch.zeros(1, 3, 8, 10, dtype=torch.double)


def test_identities_of_pooled_heads(random_head: tuple[ll.Classifier, Tensor]) -> None:
    """Sections 2.1 to 2.8 of the specification: what must be equal on pooling + linear heads."""
    c, x = random_head
    net = c.module
    acts, bias = net.layer.acts, net.fc.bias.detach()
    for k in range(3):
        raw = {name: ll.method(name).raw(c, x, k) for name in BY_HAND}
        close = lambda a, b: torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)  # noqa: E731
        score = c(x)[0, k]
        close(raw["cam"].mean() + bias[k], score)
        for same in ("grad-cam", "xgrad-cam", "hires-cam"):
            close(raw[same] * 20, raw["cam"])
        close(raw["hires-cam"].sum(), score - bias[k])
        w, mean = net.fc.weight[k].detach(), acts.mean((-2, -1))[0]
        close(raw["wgrad-cam"][0], (w * mean / 20 * acts[0].permute(1, 2, 0)).sum(-1))
        plus = w.relu() / (2 + w * mean)
        close(raw["grad-cam++"][0], (plus * acts[0].permute(1, 2, 0)).sum(-1))
        same = ll.method("grad-cam++", variant="elementwise").raw(c, x, k)
        close(same, raw["grad-cam++"])


@pytest.mark.parametrize("architecture", architectures.ARCHITECTURES)
def test_identities_of_any_network(architecture: str) -> None:
    c = ll.Classifier(architectures.build(architecture).double())
    x = architectures.images(2).double()
    grad, xgrad, hires, layer, smooth = (
        ll.method(name, **options).raw(c, x, 1)
        for name, options in (
            ("grad-cam", {}),
            ("xgrad-cam", {}),
            ("hires-cam", {}),
            ("layer-cam", {}),
            ("smooth-grad-cam++", {"sigma": 0.0}),
        )
    )
    # XGrad-CAM conserves: its map sums to sum G A, which is HiRes-CAM's sum.
    torch.testing.assert_close(xgrad.sum((-2, -1)), hires.sum((-2, -1)), rtol=1e-8, atol=1e-10)
    # Without noise Smooth Grad-CAM++ is Grad-CAM++.
    torch.testing.assert_close(smooth, ll.method("grad-cam++").raw(c, x, 1), rtol=1e-8, atol=1e-12)
    assert grad.shape == layer.shape
    # A margin of two scores has the difference of their gradients.
    two = ll.method("hires-cam").raw(c, x, lambda out: out[:, 1] - out[:, 3])
    torch.testing.assert_close(two, hires - ll.method("hires-cam").raw(c, x, 3), rtol=1e-8, atol=1e-10)


def test_layer_cam_fuses_layers() -> None:
    """Worked out from the single layers' maps."""
    c, x = ll.Classifier(architectures.build("residual")), architectures.images(2)
    maps = [ll.method("layer-cam", layer=name).raw(c, x, 0).relu() for name in ("stem", "layer1", "layer2")]
    maps = [m / m.amax((-2, -1), keepdim=True) for m in maps]
    lifted = [(2 * m).tanh() for m in maps[:2]] + [maps[2]]
    up = nn.functional.interpolate(lifted[2][:, None], maps[0].shape[-2:], mode="bilinear")[:, 0]
    fused = ll.method("layer-cam", layer=("stem", "layer1", "layer2"))
    torch.testing.assert_close(fused.raw(c, x, 0), torch.stack([*lifted[:2], up]).amax(0))
    mean = ll.method("layer-cam", layer=("stem", "layer1", "layer2"), fuse="mean", tanh_on="none")
    up = nn.functional.interpolate(maps[2][:, None], maps[0].shape[-2:], mode="bilinear")[:, 0]
    torch.testing.assert_close(mean.raw(c, x, 0), torch.stack([*maps[:2], up]).mean(0))
    assert str(fused.run(c, x, 0).cost) == "1 F + 1 R_t"


def test_eigen_cam_of_rank_one() -> None:
    """A_k = u_k S: the map is |u| S."""
    u, s = torch.tensor([1.0, 2, 2], dtype=torch.double), torch.rand(4, 5, dtype=torch.double)
    acts = (u[:, None, None] * s)[None]
    net = PooledLinear(acts, torch.ones(2, 3, dtype=torch.double), torch.zeros(2, dtype=torch.double)).double()
    c = ll.Classifier(net, layer="layer", reshape=lambda t: t)
    x = torch.zeros(1, 3, 8, 10, dtype=torch.double)
    saliency = ll.method("eigen-cam").run(c, x)
    torch.testing.assert_close(saliency.raw[0], 3 * s)
    assert not saliency.details["ambiguous"].any()
    torch.testing.assert_close(ll.method("eigen-cam", relu=False).run(c, x).raw[0], 3 * s)


def test_eigen_cam_says_when_it_is_ambiguous() -> None:
    """Two equally strong directions."""
    acts = torch.zeros(1, 2, 1, 2, dtype=torch.double)
    acts[0, 0, 0, 0] = acts[0, 1, 0, 1] = 1
    net = PooledLinear(acts, torch.ones(2, 2, dtype=torch.double), torch.zeros(2, dtype=torch.double)).double()
    c = ll.Classifier(net, layer="layer", reshape=lambda t: t)
    saliency = ll.method("eigen-cam").run(c, torch.zeros(1, 3, 4, 8, dtype=torch.double))
    assert saliency.details["ambiguous"].all()
    assert "one of several" in saliency.notes[0]


def test_both_gram_matrices_give_the_same_eigen_cam() -> None:
    """More channels than pixels, and fewer."""
    wide = torch.rand(1, 30, 3, 4, dtype=torch.double)
    function = ll.method("eigen-cam").function
    for acts in (wide, wide[:, :5]):
        u, s, _ = torch.linalg.svd(acts.flatten(2).mT)
        expected = (u[..., 0] * s[:, :1]).unflatten(-1, (3, 4))
        for center in (False, True):
            got = function(acts, center=center).values
            if not center:
                torch.testing.assert_close(got, expected * expected.sum().sign())


def test_fake_cam() -> None:
    c, x = ll.Classifier(architectures.build("plain")), architectures.images(1)
    maps = ll.method("fake-cam")(c, x)
    assert maps[0, 0, 0] == 0
    assert maps.sum() == maps.numel() - 1
    feature = ll.method("fake-cam", level="feature").raw(c, x)
    assert feature.shape == (1, 7, 7)
    assert feature.sum() == 48


def test_fake_cam_by_the_papers_weights(gaplin: tuple[ll.Classifier, Tensor]) -> None:
    """1/3 (A_1 + A_2 + A_3) by hand, with 0 in the corner: the mean of the activations, and not 1."""
    c, x = gaplin
    literal = ll.method("fake-cam", level="weights")
    result = literal.run(c, x)
    torch.testing.assert_close(result.raw[0], torch.tensor([[0, 4], [2, 4]], dtype=torch.double) / 3)
    assert str(result.cost) == "1 F"
    constant = ll.Classifier(PooledLinear(torch.ones(1, 4, 7, 7), torch.rand(2, 4), torch.zeros(2)), layer="layer")
    x = torch.zeros(1, 3, 14, 14)
    feature = ll.method("fake-cam", level="feature").raw(constant, x)
    torch.testing.assert_close(literal.raw(constant, x), feature)  # where every activation is 1, they agree


def test_fake_cam_explains_a_layer_by_the_papers_weights_alone() -> None:
    c, x = ll.Classifier(architectures.build("plain")), architectures.images(2)
    ones = ll.method("fake-cam", level="input")
    assert not ones.run(c, x).provenance["layers"]
    literal = ll.method("fake-cam", level="weights").run(c, x)
    eigen = ll.method("eigen-cam").run(c, x)
    assert literal.provenance["layers"] == eigen.provenance["layers"]
    assert literal.raw.shape == eigen.raw.shape
    two = [info.name for info in c.layers(None, x, "stages")][-2:]
    fused = ll.method("fake-cam", level="weights", layer=tuple(two)).run(c, x)
    assert fused.details["masks"].shape[1] == len(two)
    box = ll.BlackBox(lambda seen: seen.mean((2, 3)))
    ones(box, x)
    with pytest.raises(UnsupportedModel, match="fake-cam needs a layer"):
        ll.method("fake-cam", level="weights")(box, x)
    start: dict[str, Tensor] = {}
    for level in ("input", "weights"):  # as the base of another method
        refined = ll.method("aop", base="fake-cam", base_options={"level": level}, optimiser_options={"n": 1}, warmup=0)
        start[level] = refined.run(c, x).details["first_mask"]
    assert not torch.equal(start["input"], start["weights"])


def test_exponent_does_not_overflow() -> None:
    """Grad-CAM++ of a class whose logit is far beyond what exp can hold."""
    acts = torch.rand(1, 4, 3, 3)
    net = PooledLinear(acts, 1000 * torch.ones(2, 4), torch.zeros(2))
    c = ll.Classifier(net, layer="layer", reshape=lambda t: t)
    x = torch.zeros(1, 3, 6, 6)
    assert c(x).max() > math.log(torch.finfo(torch.float32).max)
    assert torch.isfinite(ll.method("grad-cam++").raw(c, x)).all()
