"""What networks return: class scores in any wrapping, or other structures, of which a function makes a score."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import limelight as ll
from limelight.errors import UnsupportedModel
from limelight.model.outputs import class_scores, numbers, of_first

SCORES = torch.arange(10.0).view(2, 5)
X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Segmenter(nn.Module):
    """Scores of four classes at every pixel, in a dictionary, with those of a second head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
        self.head, self.second = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        z = self.body(x)
        return {name: F.interpolate(head(z), x.shape[-2:]) for name, head in (("out", self.head), ("aux", self.second))}


class Detector(nn.Module):
    """A list of boxes and their scores for each image, as many as there are bright pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        bright = [one.mean(0).flatten() for one in x]
        kept = [b[b > 1] * self.weight for b in bright]
        return [{"boxes": b[:, None].expand(-1, 4), "labels": b.long(), "scores": b.sigmoid()} for b in kept]


class WithLoss(nn.Module):
    """A loss, and the scores that it is the loss of."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.f = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.f(x)
        return z.square().mean(), z


def region(output: Any) -> Tensor:
    return output["out"][:, 2, 8:24, 8:24].mean((1, 2))


def best(output: Any) -> Tensor:
    return torch.stack([d["scores"].max() if len(d["scores"]) else torch.tensor(0.0) for d in output])


@pytest.mark.parametrize(
    "output",
    [
        SCORES,
        (SCORES, SCORES[:, :2]),
        [SCORES],
        {"logits": SCORES, "loss": SCORES.sum()},
        {"x": SCORES[..., None, None]},
    ],
    ids=["tensor", "tuple", "list", "named", "1 x 1"],
)
def test_class_scores_are_found(output: Any) -> None:
    assert torch.equal(class_scores(output, 2), SCORES)
    assert [torch.equal(t, SCORES[:1]) for t in of_first(output, 2)] == [True]


@pytest.mark.parametrize(
    ("output", "shapes", "first"),
    [
        ({"out": torch.ones(2, 4, 6, 6), "aux": torch.ones(2, 4, 6, 6)}, [(2, 4, 6, 6)], [(1, 4, 6, 6)]),
        ((torch.tensor(1.0), SCORES), [(), (2, 5)], [(1, 5)]),
        ([{"a": torch.ones(3)}, {"a": torch.ones(7)}], [(3,), (7,)], [(3,)]),
    ],
    ids=["maps", "loss", "lists of any length"],
)
def test_other_numbers_are_found(output: Any, shapes: list[Any], first: list[Any]) -> None:
    with pytest.raises(UnsupportedModel, match="target= a function"):
        class_scores(output, 2)
    assert [tuple(t.shape) for t in numbers(output, 2)] == shapes
    assert [tuple(t.shape) for t in of_first(output, 2)] == first


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("grad-cam", {}),
        ("score-cam", {}),
        ("ablation-cam", {}),
        ("gradient", {}),
        ("guided-backprop", {}),
        ("rise", {"n_masks": 12}),
        ("occlusion", {"window": 16, "stride": 16}),
        ("cluster-cam", {}),
        ("integrated-gradients", {"n": 4}),
    ],
)
def test_a_region_of_a_segmenter(method: str, options: dict[str, Any]) -> None:
    """The network that returns the region's mean as its class gets the same map."""

    class Region(nn.Module):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            score = region(self.net(x))
            return torch.stack([score, -score], 1)

    net, layer = Segmenter().eval(), {"layer": "body.2"} if ll.methods()[method].layers != "none" else {}
    inner = {"layer": "net.body.2"} if layer else {}
    found = ll.method(method, **options, **layer).run(ll.Classifier(net, size=32), X, region)
    wanted = ll.method(method, score="logit", **options, **inner).run(ll.Classifier(Region(net), size=32), X, 0)
    torch.testing.assert_close(found.raw, wanted.raw)
    torch.testing.assert_close(found.score, wanted.score)
    assert found.probability.isnan().all()


@pytest.mark.parametrize("metric", ["deletion", "insertion"])
def test_curves_of_a_region_of_a_segmenter(metric: str) -> None:
    c, maps = (
        ll.Classifier(Segmenter().eval(), size=32),
        torch.rand(2, 32, 32, generator=torch.Generator().manual_seed(1)),
    )
    measured = ll.metric(metric, score="logit").measure(c, X, region, maps)
    assert measured.curve is not None
    ends = (measured.curve[:, 0], measured.curve[:, -1])
    torch.testing.assert_close(ends[metric == "insertion"], region(c.module(X)).detach())
    assert torch.equal(ll.metric(metric)(c, X, region, maps), measured.values)  # of a probability there is none


def test_boxes_of_a_detector() -> None:
    c = ll.Classifier(Detector().eval(), size=32)
    found = ll.method("occlusion", window=8, stride=8).run(c, X, best)
    torch.testing.assert_close(found.score, best(c.module(X)).detach())
    assert found.raw.flatten(1).any(1).all()
    with pytest.raises(UnsupportedModel, match="target= a function"):
        ll.method("occlusion").run(c, X, 0)


@pytest.mark.parametrize("target", [None, 2])
def test_a_loss_is_no_class_score(target: int | None) -> None:
    c = ll.Classifier(WithLoss().eval(), size=32)
    for x in (X, X[:1]):
        with pytest.raises(UnsupportedModel, match="target= a function"):
            ll.method("grad-cam").run(c, x, target)
    function: Callable[[Any], Tensor] = lambda output: output[1][:, 2]  # noqa: E731
    found = ll.method("grad-cam").run(c, X, function)
    assert not c.alone
    wanted = ll.method("grad-cam").run(ll.Classifier(c.module.f, size=32), X, 2)  # pyright: ignore
    torch.testing.assert_close(found.raw, wanted.raw)
