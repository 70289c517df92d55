"""Score-CAM and its kin SS-CAM and IS-CAM: closed forms, identities, costs, and other people's code."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import architectures
import limelight as ll
from limelight import errors
from limelight.engine.request import Request
from limelight.engine.rng import Draws
from limelight.ops import min_max, resize
from methods.goldens import TINY, assert_same_map, classifier, golden, inputs


@pytest.mark.parametrize("model", TINY)
def test_score_cam_like_its_authors(model: str) -> None:
    settings, arrays = golden(f"authors-scorecam-{model}")
    c = ll.method("score-cam", layer=settings["target_layer"])
    x = inputs(model)[: len(arrays["saliency"])]
    ours = c.run(classifier(model), x, list(map(int, arrays["target"]))).map
    torch.testing.assert_close(ours, torch.from_numpy(arrays["saliency"])[:, 0], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("theirs", "method", "model"),
    [
        *(("scorecam", "score-cam", m) for m in TINY),
        *(("iscam", "is-cam", m) for m in TINY[1:]),
        pytest.param("iscam", "is-cam", TINY[0], marks=pytest.mark.slow),
        pytest.param("scorecam", "score-cam", "squeezenet", marks=pytest.mark.slow),
    ],
)
def test_score_cam_and_is_cam_like_torchcam(theirs: str, method: str, model: str) -> None:
    settings, arrays = golden(f"torchcam-{theirs}-{model}")
    x = inputs(model)[: 1 if model == "squeezenet" else len(arrays["raw"])]
    m = ll.method(method, layer=settings["target_layer"], profile="torchcam")
    raw = m.raw(classifier(model), x, list(map(int, arrays["target"][: len(x)])))
    assert_same_map(raw, arrays["raw"][: len(x)], 1e-4)


@pytest.mark.parametrize("model", [*TINY, pytest.param("squeezenet", marks=pytest.mark.slow)])
def test_score_cam_like_the_grad_cam_package(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That package resizes channels so that the corners of both grids meet, which nobody else does."""

    def corners(maps: Tensor, size: tuple[int, int]) -> Tensor:
        return F.interpolate(maps[:, None], size, mode="bilinear", align_corners=True)[:, 0]

    monkeypatch.setattr("limelight.maps.gradient_free.score_cam.resize", corners)
    _, arrays = golden(f"gradcam-scorecam-{model}")
    name = next(n for n in arrays.files if n.startswith("raw@"))
    x = inputs(model)[: 1 if model == "squeezenet" else len(arrays[name])]
    m = ll.method("score-cam", layer=name.removeprefix("raw@"), profile="paper", sums="activations")
    raw = m.raw(classifier(model), x, list(map(int, arrays["target"][: len(x)])))
    assert_same_map(raw, arrays[name][: len(x)], 1e-4)


class Replayed(Draws):
    """Draws that hand out stored noise, (copies, channels, 1, H, W)."""

    def __init__(self, noise: Tensor, number: int = 0) -> None:
        super().__init__(0)
        self.noise, self.place = noise, number

    def number(self, number: int) -> "Replayed":
        return Replayed(self.noise, number)

    def normal(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        channel, copy = divmod(self.place, len(self.noise))
        assert shape == tuple(self.noise.shape[2:])
        return self.noise[copy, channel].to(like)


@pytest.mark.parametrize("model", [pytest.param(TINY[0], marks=pytest.mark.slow), *TINY[1:]])
def test_ss_cam_like_torchcam_with_its_noise(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, arrays = golden(f"torchcam-sscam-{model}")
    c, layer = classifier(model), settings["target_layer"]
    copies, sigma = settings["hyper_parameters"]["num_samples"], settings["hyper_parameters"]["std"]
    for i, theirs in enumerate(arrays["raw"]):
        x = inputs(model)[i : i + 1]
        shape = (copies, c.layers([layer], x)[0].channels, 1, *x.shape[-2:])
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(500 + i))
        monkeypatch.setattr(Request, "draws", Replayed(noise))
        m = ll.method("ss-cam", layer=layer, profile="torchcam", n=copies, sigma=sigma)
        assert_same_map(m.raw(c, x, int(arrays["target"][i])), theirs[None], 1e-5)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ss-cam", {"sigma": 0, "mode": "input", "n": 2}), ("score-cam", {})),
        (("ss-cam", {"sigma": 0, "profile": "torchcam", "n": 2}), ("score-cam", {"profile": "torchcam"})),
        (("is-cam", {"n": 1, "schedule": "linear"}), ("score-cam", {"profile": "paper"})),
    ],
)
def test_without_noise_or_path_they_are_score_cam(one: Any, other: Any) -> None:
    c, x = ll.Classifier(architectures.build("plain")), architectures.images(2)
    a, b = (ll.method(name, **options).raw(c, x, 1) for name, options in (one, other))
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


class Given(nn.Module):
    """A layer whose activations are the test's own; the score sees the image only."""

    def __init__(self, acts: Tensor, head: Any) -> None:
        super().__init__()
        self.head = head
        self.register_buffer("acts", acts)
        self.layer = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        acts = self.layer(self.acts.expand(len(x), -1, -1, -1))
        return self.head(x) + 0 * acts.sum((1, 2, 3))[:, None]


def seen_through(acts: Tensor, head: Any) -> ll.Classifier:
    return ll.Classifier(
        Given(acts, head), layer="layer", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), reshape=lambda a: a
    )


def linear_head(x: Tensor) -> Tensor:
    v = torch.linspace(-1, 1, x[0].numel()).to(x).view(x[0].shape)
    score = (v * x).sum((1, 2, 3)) / 10
    return torch.stack([score, -score], 1)


def constant_head(x: Tensor) -> Tensor:
    return torch.tensor([[0.7, 0.1]]).to(x).expand(len(x), -1)


ACTS = torch.rand(1, 4, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

PICTURE = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_increase_over_the_image_itself() -> None:
    """Of a linear score f(0) is 0, so the two kinds of increase differ by f(x); each costs one pass."""
    c = seen_through(ACTS, linear_head)
    both = [ll.method("score-cam", score="logit", profile=p).run(c, PICTURE, 0) for p in ("cic", "cluster-cam")]
    empty, image = (found.details["weights"] for found in both)
    torch.testing.assert_close(image, empty - linear_head(PICTURE)[:, :1], rtol=1e-9, atol=1e-12)
    assert not torch.allclose(image, empty)
    assert [str(found.cost) for found in both] == ["6 F", "6 F"]


@pytest.mark.parametrize("profile", [None, "paper", "cic", "adcc", "torchcam"])
def test_score_cam_of_one_channel_is_that_channel(profile: str | None) -> None:
    one = ACTS[:, :1]
    saliency = ll.method("score-cam", profile=profile).run(seen_through(one, linear_head), PICTURE, 0)
    at = saliency.finish.normalize_at
    sign = float(saliency.details["weights"][0, 0].sign())
    expected = resize(min_max(one[:, 0])[0], (20, 20)) if at == "feature" else min_max(resize(one[:, 0], (20, 20)))[0]
    if sign > 0:
        torch.testing.assert_close(saliency.map.double(), expected, rtol=0, atol=1e-6)
    else:
        assert saliency.degenerate.all()


@pytest.mark.parametrize("profile", [None, "paper", "cic", "adcc", "torchcam"])
def test_score_cam_weights_do_not_depend_on_scale_and_order(profile: str | None) -> None:
    m = ll.method("score-cam", profile=profile)
    w = m.run(seen_through(ACTS, linear_head), PICTURE, 0).details["weights"]
    scaled = m.run(seen_through(3 * ACTS + 0.5, linear_head), PICTURE, 0).details["weights"]
    torch.testing.assert_close(scaled, w, rtol=1e-9, atol=1e-12)
    turned = m.run(seen_through(ACTS.flip(1), linear_head), PICTURE, 0).details["weights"]
    torch.testing.assert_close(turned.flip(1), w, rtol=1e-9, atol=1e-12)


def test_score_cam_of_a_constant_model_adds_up_the_activations() -> None:
    found = ll.method("score-cam").run(seen_through(ACTS, constant_head), PICTURE, 0).map
    expected = min_max(resize(ACTS.sum(1), (20, 20)))[0]
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)


def test_passes_are_those_of_the_cost_table() -> None:
    """8 channels, one of them constant and one 0: K'' = 6 masks, K' = 7 channels that are not 0."""
    acts = torch.rand(1, 8, 5, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    acts[:, 2], acts[:, 5] = 1, 0
    c = seen_through(acts, linear_head)
    for name, options, expected in (
        ("score-cam", {}, "7 F"),
        ("score-cam", {"profile": "cic"}, "8 F"),
        ("score-cam", {"top": 2}, "3 F"),
        ("ss-cam", {"n": 3}, "19 F"),
        ("is-cam", {"n": 4}, "20 F"),  # 1 + 6 (4 - 1) + 1: the empty image is common to all channels
        ("is-cam", {"n": 4, "schedule": "linear"}, "25 F"),
        ("is-cam", {"n": 4, "schedule": "cumulative1"}, "25 F"),
    ):
        assert str(ll.method(name, **options).run(c, PICTURE, 0).cost) == expected, (name, options)
    plain = ll.Classifier(architectures.build("plain"))
    saliency = ll.method("ablation-cam", closed_form=False).run(plain, architectures.images(1))
    assert str(saliency.cost) == f"1 F + {16 - int(saliency.details['skipped'])} F_t"


def test_nothing_to_see_in_constant_channels() -> None:
    c = seen_through(torch.ones(1, 4, 5, 5, dtype=torch.float64), linear_head)
    for name in ("score-cam", "ss-cam", "is-cam"):
        saliency = ll.method(name).run(c, PICTURE, 0)
        assert saliency.degenerate.all()
        assert str(saliency.cost) == "1 F"


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_noise_too_large_for_the_type_is_named(dtype: torch.dtype) -> None:
    """The official deviation is (sigma / range)^2 of the activations: where these are small, no float16 holds it."""
    net, x = architectures.build("plain"), architectures.images(2)
    extent = 1e-3 if dtype == torch.float16 else 1e-20
    with torch.no_grad():
        for p in net.features[6].parameters():
            p.mul_(extent)
    c = ll.Classifier(net.to(dtype))
    with pytest.raises(errors.NonFinite, match=r"a changed copy of image 0: the method's changes reach"):
        ll.method("ss-cam", n=1, top=2)(c, x.to(dtype), 1)
    assert ll.method("ss-cam", n=1, top=2, noise="sigma")(c, x.to(dtype), 1).isfinite().all()


@pytest.mark.parametrize("name", ["ablation-cam", "score-cam", "cluster-cam", "rise"])
def test_half_precision(name: str) -> None:
    """Masks are made in float32; the model gets what it takes."""
    net, x = architectures.build("residual"), architectures.images(1)
    options = {"n_masks": 100} if name == "rise" else {}
    full = ll.method(name, **options).run(ll.Classifier(net), x, 1)
    half = ll.method(name, **options).run(ll.Classifier(net.bfloat16()), x.bfloat16(), 1)
    assert torch.isfinite(half.map).all()
    assert half.map.dtype == torch.float32
    assert float((full.map - half.map).abs().mean()) < 0.15
