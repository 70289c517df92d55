"""What networks return: class scores in any wrapping, or other structures, of which a function makes a score."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import limelight as ll
from limelight.errors import UnsupportedModel
from limelight.model.outputs import Choice, class_scores, last_operation, numbers, of_first

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
        (SCORES, torch.ones(2, 8, 4, 4)),
        [SCORES],
        {"logits": SCORES, "loss": SCORES.sum()},
        {"x": SCORES[..., None, None]},
    ],
    ids=["tensor", "tuple", "list", "named", "1 x 1"],
)
def test_class_scores_are_found(output: Any) -> None:
    assert torch.equal(class_scores(output, 2), SCORES)
    assert [torch.equal(t, SCORES[:1]) for t in of_first(output, 2)] == [True]


FEATURES = torch.ones(2, 8)


@pytest.mark.parametrize(
    ("output", "labels"),
    [
        ((FEATURES, SCORES), 5),
        ((SCORES, FEATURES), 5),
        ({"embedding": FEATURES, "classes": SCORES}, 5),
        ((torch.ones(2, 8, 4, 4), SCORES), 5),
        ((torch.tensor(1.0), SCORES), 5),
        ((FEATURES, SCORES[:, :1]), 2),
    ],
    ids=["behind", "before", "named", "behind maps", "behind a loss", "one column for two"],
)
def test_labels_tell_class_scores_from_features(output: Any, labels: int) -> None:
    expected = SCORES if labels == 5 else SCORES[:, :1]
    assert torch.equal(class_scores(output, 2, Choice(labels=labels)), expected)
    one = {k: v[:1] if v.ndim else v for k, v in output.items()} if isinstance(output, dict) else None
    one = one or tuple(t[:1] if t.ndim else t for t in output)
    assert torch.equal(class_scores(one, 1, Choice(labels=labels)), expected[:1])


@pytest.mark.parametrize(
    ("output", "labels", "shown"),
    [
        ((FEATURES, SCORES), 0, r"returns 0 \(2, 8\), 1 \(2, 5\); say it, such as output=1"),
        ((FEATURES, SCORES), 3, r"and none has 3 columns; say it"),
        ((SCORES, SCORES + 1), 5, r"and several have 5 columns; say it"),
        (
            {"a": torch.ones(2, 8, 4, 4), "b": SCORES},
            0,
            r"'a' \(2, 8, 4, 4\), 'b' \(2, 5\); say it, such as output='b'",
        ),
        ((torch.tensor(1.0), SCORES), 0, r"returns 0 \(\), 1 \(2, 5\); say it"),
    ],
    ids=["no labels", "no fit", "two fit", "not the first", "a loss"],
)
def test_what_cannot_be_told_is_asked(output: Any, labels: int, shown: str) -> None:
    with pytest.raises(UnsupportedModel, match=shown):
        class_scores(output, 2, Choice(labels=labels))


@pytest.mark.parametrize(
    "pick", [1, -1, "b", lambda output: output["b"]], ids=["index", "from the end", "key", "function"]
)
def test_class_scores_are_picked(pick: Any) -> None:
    output: Any = {"a": FEATURES, "b": SCORES} if pick == "b" or callable(pick) else (FEATURES, SCORES)
    assert torch.equal(class_scores(output, 2, Choice(pick)), SCORES)


@pytest.mark.parametrize(
    ("pick", "output", "shown"),
    [
        (
            "logit",
            {"a": FEATURES, "b": SCORES},
            "output='logit' is no part of what the model returns, which has 'a', 'b'",
        ),
        (2, (FEATURES, SCORES), "which has the indices 0 to 1"),
        ("a", SCORES, r"which is \(2, 5\)"),
        (0, (torch.ones(2, 8, 4, 4), SCORES), r"output=0 is \(2, 8, 4, 4\), not class scores"),
    ],
    ids=["key", "index", "of a tensor", "a map"],
)
def test_a_wrong_pick_is_told(pick: Any, output: Any, shown: str) -> None:
    with pytest.raises(UnsupportedModel, match=shown):
        class_scores(output, 2, Choice(pick))


ENDS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "sigmoid": (torch.sigmoid, "Sigmoid"),
    "in place": (lambda z: (z * 1).sigmoid_(), "Sigmoid"),
    "view": (lambda z: z.sigmoid().flatten().view(2, 5), "Sigmoid"),
    "type": (lambda z: z.double().sigmoid().float()[:, 1:].squeeze(), "Sigmoid"),
    "clamped": (lambda z: z.sigmoid().clamp(1e-6, 1 - 1e-6), "Sigmoid"),
    "several heads": (lambda z: torch.cat([torch.sigmoid(z[:, :2]), torch.sigmoid(z[:, 2:])], 1), "Sigmoid"),
    "averaged": (lambda z: torch.stack([z.sigmoid(), (z + 1).sigmoid()]).mean(0), "Sigmoid"),
    "softmax": (lambda z: z.softmax(1)[:, 1:], "Softmax"),
    "logarithm": (lambda z: F.log_softmax(z, 1), "LogSoftmax"),
    "of a softmax": (lambda z: z.softmax(1).log(), "Log"),
    "two kinds": (lambda z: torch.cat([z.sigmoid(), z.softmax(1)], 1), ""),
    "linear": (lambda z: z[:, :3], "Addmm"),
    "detached": (lambda z: z.sigmoid().detach(), ""),
}


@pytest.mark.parametrize(("end", "name"), ENDS.values(), ids=ENDS)
def test_the_last_operation_is_seen(end: Callable[[Tensor], Tensor], name: str) -> None:
    assert last_operation(end(nn.Linear(8, 5)(FEATURES))) == name


class Ending(nn.Module):
    """A small classifier with something behind it."""

    def __init__(self, classes: int, end: Callable[[Tensor], Any], bias: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.f = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.gate, self.head, self.end = nn.Sigmoid(), nn.Linear(8, classes), end
        nn.init.constant_(self.head.bias, bias)

    def forward(self, x: Tensor) -> Any:
        a = self.f(x)
        z = self.head(a)
        return self.end(z * (self.gate(a).sum(1, keepdim=True) > -1))  # the last module that runs is a sigmoid


def plain(net: Ending) -> Tensor:
    with torch.no_grad():
        return net.head(net.f(X))


@pytest.mark.parametrize(
    ("classes", "end", "multilabel"),
    [
        (5, torch.sigmoid, True),
        (5, lambda z: z.softmax(1), False),
        (5, lambda z: F.log_softmax(z, 1), False),
        (5, lambda z: z.softmax(1).log(), False),
        (5, lambda z: z @ torch.eye(5), False),
    ],
    ids=["sigmoid", "softmax", "log-softmax", "log of softmax", "logits"],
)
def test_functional_probabilities_become_logits(classes: int, end: Any, multilabel: bool) -> None:
    net = Ending(classes, end).eval()
    c = ll.Classifier(net, size=32)
    c.trace(X)
    assert c.outputs.multilabel == multilabel
    found, wanted = c(X), plain(net)
    torch.testing.assert_close(found.log_softmax(1), wanted.log_softmax(1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("end", [torch.sigmoid, lambda z: z.double().sigmoid()[:, 0]], ids=["sigmoid", "slice"])
def test_one_functional_probability_is_two_classes(end: Any) -> None:
    net = Ending(1, end, bias=-2.0).eval()
    c = ll.Classifier(net, size=32)
    e = ll.explain(c, X)[0]
    assert e.target == 0
    torch.testing.assert_close(1 - e.probability, float(plain(net)[0].sigmoid()), atol=1e-5, rtol=1e-5)


def test_one_number_that_may_be_a_probability_is_asked_about() -> None:
    class Hidden(Ending):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                return super().forward(x)

    net, other = Hidden(1, torch.sigmoid, bias=-2.0).eval(), Ending(1, lambda z: 1 - z.sigmoid()).eval()
    net.gate = other.gate = nn.Identity()
    with pytest.raises(UnsupportedModel, match="say whether it is a probability, outputs='probabilities' or 'logits'"):
        ll.explain(ll.Classifier(other, size=32), X)
    with pytest.raises(UnsupportedModel, match="one number between 0 and 1"):
        ll.method("occlusion", window=16, stride=16).run(ll.Classifier(net, size=32), X)
    for outputs, target in (("probabilities", 0), ("logits", 1)):
        c = ll.Classifier(net, size=32, outputs=outputs)  # pyright: ignore[reportArgumentType]
        assert ll.method("occlusion", window=16, stride=16).run(c, X).target.tolist() == [target] * 2
    function: Callable[[Any], Tensor] = lambda output: output[:, 0]  # noqa: E731
    assert ll.method("occlusion", window=16, stride=16).run(ll.Classifier(net, size=32), X, function)


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
    torch.testing.assert_close(ll.metric(metric)(c, X, region, maps), measured.values)  # by default the same


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


class Both(WithLoss):
    """Features, and the scores that are made of them."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.f[:-1](x), self.f(x)


@pytest.mark.parametrize("pick", [1, -1, lambda output: output[1]], ids=["index", "from the end", "function"])
def test_a_classifier_is_told_where_its_scores_are(pick: Any) -> None:
    net = Both().eval()
    c, plain = ll.Classifier(net, size=32, output=pick), ll.Classifier(net.f, size=32)
    torch.testing.assert_close(c(X), plain(X))
    for name in ("grad-cam", "lrp", "occlusion", "integrated-gradients", "score-cam", "ablation-cam"):
        options = {"window": 16, "stride": 16} if name == "occlusion" else {}
        found, wanted = (ll.method(name, **options).run(one, X) for one in (c, plain))
        torch.testing.assert_close(found.raw, wanted.raw)
        assert found.target.tolist() == wanted.target.tolist()
    maps = torch.rand(2, 32, 32)
    torch.testing.assert_close(ll.metric("deletion")(c, X, None, maps), ll.metric("deletion")(plain, X, None, maps))


def test_features_are_told_from_scores_by_the_labels_or_asked_about() -> None:
    net = Both().eval()
    e = ll.explain(ll.Classifier(net, labels=list("abcde"), size=32), X)[0]
    assert e.label == "abcde"[int(net(X)[1][0].argmax())]
    for labels in (None, list("abc")):
        with pytest.raises(UnsupportedModel, match=r"returns 0 \(\d, 8\), 1 \(\d, 5\).*say it, such as output=1"):
            ll.explain(ll.Classifier(net, labels=labels, size=32), X)
    with pytest.raises(UnsupportedModel, match=r"output=2 is no part .* the indices 0 to 1"):
        ll.explain(ll.Classifier(net, output=2, size=32), X)


@pytest.mark.slow
def test_where_the_scores_are_is_saved_with_the_network(tmp_path: Path) -> None:
    net = Both().eval()
    ll.save(ll.Classifier(net, size=32, output=1), tmp_path / "both.pt2")
    again = ll.load(tmp_path / "both.pt2", trust=True)
    torch.testing.assert_close(again(X), net(X)[1].detach())
    with pytest.raises(UnsupportedModel, match="is a function, which can't be saved"):
        ll.save(ll.Classifier(net, size=32, output=lambda output: output[1]), tmp_path / "function.pt2")
