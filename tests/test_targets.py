"""Functions of a network's raw output: what each gives, for which pictures, and what can't be asked."""

import pickle
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import architectures
import limelight as ll
from limelight import targets
from limelight.errors import InvalidOption, NonFinite, UnknownTarget, UnsupportedModel
from quick import quick

LABELS = ["cat", "dog", "hare", "fox", "owl"]
X = torch.randn(3, 3, 24, 24, generator=torch.Generator().manual_seed(0))
Z = torch.tensor([[3.0, 2.0, -9.0, 1.0], [0.0, 1.0, 2.0, 4.0]])


class Segmenter(nn.Module):
    """Scores of four classes, at half the picture's side, in one of several wrappings."""

    def __init__(self, wrap: Callable[[Tensor], Any] = lambda z: {"out": z}, scale: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.head, self.wrap, self.scale = nn.Conv2d(8, 4, 1), wrap, scale

    def forward(self, x: Tensor) -> Any:
        z = self.head(self.body(x))
        return self.wrap(F.interpolate(z, scale_factor=self.scale))


def classifier(labels: list[str] | None = None) -> ll.Classifier:
    torch.manual_seed(0)
    return ll.Classifier(architectures.small(5), labels=labels, size=24)


# -- classes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (targets.class_(1), [2.0, 1.0]),
        (targets.margin(0, 3), [2.0, -4.0]),
        (targets.finer(0, gamma=0.5, k=2), [3 - 0.5 * 1.5, 0 - 0.5 * 1.5]),
        (targets.finer(0, gamma=0, k=1), [3.0, 0.0]),
        (targets.finer(0, gamma=0.5, others=(2, 1)), [3 - 0.5 * -3.5, 0 - 0.5 * 1.5]),
        (targets.finer(0, gamma=0.5, k=1, weights="softmax"), [3 - 0.5 * 2.0, 0 - 0.5 * 1.0]),
        (targets.regression(2), [-9.0, 2.0]),
        (targets.regression(2, sign=-1), [9.0, -2.0]),
    ],
    ids=repr,
)
def test_of_numbers(target: targets.Target, expected: list[float]) -> None:
    for output in (Z, {"logits": Z}, SimpleNamespace(logits=Z), (Z,)):
        assert target(output).tolist() == expected


@pytest.mark.parametrize("named", [False, True])
def test_a_class_is_that_class(named: bool) -> None:
    c = classifier(LABELS)
    i = "fox" if named else 3
    for name in ("grad-cam", "gradient", "lrp"):
        wanted, found = (ll.method(name).run(c, X, t) for t in (3, targets.class_(i)))
        torch.testing.assert_close(found.raw, wanted.raw)
        torch.testing.assert_close(found.score, wanted.score)
    a, b = (ll.explain(c, X[:1], target=t)[0] for t in (targets.class_(i), targets.margin(i, "cat")))
    assert (a.label, b.label) == ("fox", "fox - cat")
    against = ll.explain(c, X[:1], target=targets.finer(i, others="cat"))[0]
    assert (against.label, against.provenance["function"]) == (
        "fox, finer than cat",
        f"finer({i!r}, gamma=0.6, others=('cat',))",
    )
    assert a.settings()["function"] == f"class_({i!r})"


def test_of_probabilities_it_is_the_logit() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(architectures.small(5), nn.Softmax(1))
    found = ll.method("gradient").run(ll.Classifier(net, size=24), X, targets.margin(3, 0))
    z = net[0](X)
    torch.testing.assert_close(found.score, (z[:, 3] - z[:, 0]).detach(), rtol=1e-4, atol=1e-5)


def test_finer_keeps_the_classes_of_the_clean_picture() -> None:
    c = classifier()
    z = c(X)
    near = (z - z[:, 2:3]).abs()
    near[:, 2] = torch.inf
    others = near.topk(2, largest=False).indices
    asked: list[Tensor] = []

    def written(output: Tensor) -> Tensor:
        asked.append(output)
        rows = others.repeat_interleave(len(output) // 3, 0) if len(output) > 3 else others
        return output[:, 2] - 0.6 * output.gather(1, rows).mean(1)

    for method in (ll.method("grad-cam"), ll.method("occlusion", window=12, stride=12)):
        found, wanted = (method.run(c, X, t) for t in (targets.finer(2, k=2), written))
        torch.testing.assert_close(found.raw, wanted.raw)
    assert max(map(len, asked)) > 3
    base, zero = (ll.method("grad-cam").raw(c, X, t) for t in (2, targets.finer(2, gamma=0)))
    torch.testing.assert_close(zero, base)


# -- segmentation ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrap",
    [lambda z: {"out": z, "aux": 0 * z}, lambda z: z, lambda z: SimpleNamespace(logits=z), lambda z: (z, 0 * z)],
    ids=["torchvision", "tensor", "hugging face", "tuple"],
)
def test_a_region_of_a_segmenter(wrap: Any) -> None:
    c, plain = ll.Classifier(Segmenter(wrap).eval(), size=24), Segmenter(lambda z: z).eval()
    region = torch.zeros(24, 24, dtype=torch.bool)
    region[4:9, 2:13] = True  # of the maps' pixels, twice as large, some lie half inside
    share = F.avg_pool2d(region.float()[None, None], 2)[0, 0]

    def written(z: Tensor) -> Tensor:
        return (z[:, 1] * share).sum((1, 2)) / share.sum()

    for method in (ll.method("grad-cam"), ll.method("occlusion", window=8, stride=8)):
        found = method.run(c, X, targets.mask(1, region.numpy()))
        wanted = method.run(ll.Classifier(plain, size=24), X, written)
        torch.testing.assert_close(found.score, wanted.score)
        torch.testing.assert_close(found.raw, wanted.raw)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, card in ll.methods().items() if not card.tokens_only])
def test_every_method_that_needs_no_class_takes_a_region(name: str) -> None:
    c, region = ll.Classifier(Segmenter().eval(), size=24), torch.zeros(24, 24, dtype=torch.bool)
    region[6:18, 6:18] = True
    method = quick(name)
    if {"class_weights", "logits"} & {*method.needs}:
        with pytest.raises(UnsupportedModel, match="class"):
            method.run(c, X, targets.mask(1, region))
        return
    found = method.run(c, X, targets.mask(1, region))
    assert found.map.shape == (3, 24, 24)
    assert torch.isfinite(found.raw).all()


def test_the_scores_of_pixels_are_no_features() -> None:
    c = ll.Classifier(Segmenter().eval(), size=24)
    assert c.layers(None, X)[0].name == "body"


def test_every_picture_has_its_region() -> None:
    c = ll.Classifier(Segmenter(scale=2).eval(), size=24)
    regions = torch.zeros(3, 24, 24, dtype=torch.bool)
    for i in range(3):
        regions[i, 8 * i : 8 * i + 8] = True
    method = ll.method("occlusion", window=8, stride=8, batch_size=4)
    together = method.raw(c, X, targets.mask(2, regions))
    for i in range(3):
        torch.testing.assert_close(together[i], method.raw(c, X[i : i + 1], targets.mask(2, regions[i]))[0])
    taller = [X[0], F.interpolate(X[1:2], (24, 24))[0], X[2]]
    listed = [e.raw for e in ll.explain(c, taller, method, targets.mask(2, regions))]
    torch.testing.assert_close(torch.stack(listed), together)


def test_where_the_class_wins_on_the_clean_picture() -> None:
    net = Segmenter(scale=2).eval()
    c = ll.Classifier(net, size=24)
    with torch.no_grad():
        wins = net(X)["out"].argmax(1)
    i = int(wins.flatten().bincount().argmax())
    method = ll.method("rise", n_masks=20)
    given, seen = (method.run(c, X, targets.mask(i, region)) for region in (wins == i, None))
    torch.testing.assert_close(seen.raw, given.raw)
    assert (seen.provenance["function"], seen.provenance["label"]) == (f"mask({i})", f"mask of class {i}")
    assert str(seen.cost) == str(given.cost) == "21 F"
    never = next((k for k in range(4) if not bool((wins[0] == k).any())), None)
    if never is not None:
        with pytest.raises(InvalidOption, match=f"class {never} wins nowhere in picture 0; give region="):
            method.run(c, X[:1], targets.mask(never))


def test_probabilities_of_pixels_serve_metrics_that_compare_shares() -> None:
    c = ll.Classifier(Segmenter().eval(), size=24)
    region = torch.ones(24, 24, dtype=torch.bool)
    logit, prob = (targets.mask(1, region, score=s) for s in ("logit", "prob"))  # pyright: ignore
    maps = ll.method("grad-cam")(c, X, prob)
    for name in ("average-drop", "road", "morf", "lerf", "insertion", "deletion", "average-increase"):
        options = {"steps": 3, "repeats": 1} if name in ("morf", "lerf") else {}
        assert torch.isfinite(ll.metric(name, **options)(c, X, prob, maps)).all()
    results = ll.evaluate(c, X, ["grad-cam", "random-map"], ["deletion", "sanity-independent"], prob)
    assert {r.label for r in results.rows} == {"mask of class 1"}
    assert all(r.target == -1 for r in results.rows)
    assert results.columns["deletion"].protocol.endswith("/function")
    alone = ll.metric("deletion")(c, X, prob, maps)
    found = [r.values["deletion"] for r in results.rows if r.method == "grad-cam"]
    torch.testing.assert_close(torch.tensor(found).float(), alone.float())
    shifted = ll.Classifier(Segmenter(lambda z: {"out": z - 50}).eval(), size=24)
    assert ll.metric("average-drop")(shifted, X, logit, maps).isnan().all()  # a share of what is negative


# -- embeddings and numbers --------------------------------------------------------------------------------


def test_similarity_of_embeddings() -> None:
    net = architectures.small(5)[:-1].eval()
    c, reference = ll.Classifier(net, size=24), torch.randn(3, net(X).shape[1])
    found = ll.method("grad-cam").run(c, X, targets.similarity(reference))
    torch.testing.assert_close(found.score, F.cosine_similarity(net(X), reference).detach())
    alone = ll.method("grad-cam").run(c, X[1:2], targets.similarity(reference[1]))
    torch.testing.assert_close(found.raw[1], alone.raw[0])
    assert found.provenance["label"] == "similarity"


def test_a_predicted_number() -> None:
    torch.manual_seed(0)
    c = ll.Classifier(architectures.small(1), size=24)
    up, down = (ll.method("gradient", relu=False).raw(c, X, targets.regression(sign=s)) for s in (1, -1))
    torch.testing.assert_close(up, down)  # its size
    found = ll.method("input-x-gradient").raw(c, X, targets.regression())
    torch.testing.assert_close(-found, ll.method("input-x-gradient").raw(c, X, targets.regression(sign=-1)))


# -- what can't be -----------------------------------------------------------------------------------------

BOTH = torch.ones(2, 24, 24, dtype=torch.bool)


@pytest.mark.parametrize(
    ("make", "error", "shown"),
    [
        (lambda: targets.margin(2, 2), InvalidOption, "is 0 everywhere; give two classes"),
        (lambda: targets.finer(2, k=0), InvalidOption, "k of at least 1"),
        (lambda: targets.finer(2, gamma=-1), InvalidOption, "gamma of at least 0"),
        (lambda: targets.finer(2, others=(1, 2)), InvalidOption, "2 is one of the others"),
        (lambda: targets.finer(2, weights="plain"), InvalidOption, "'uniform' or 'softmax'"),
        (lambda: targets.mask(2, BOTH.float()), InvalidOption, "region is torch.float32; give a boolean tensor"),
        (lambda: targets.mask(2, [[True]]), InvalidOption, "region is list; give a boolean tensor"),
        (lambda: targets.mask(2, ~BOTH), InvalidOption, "the region is empty"),
        (lambda: targets.mask(2, score="p"), InvalidOption, "give 'logit' or 'prob'"),
        (lambda: targets.similarity(torch.zeros(4)), InvalidOption, r"give an embedding \(d,\) or \(n, d\), not 0"),
        (lambda: targets.regression(sign=2), InvalidOption, r"give \+1 or -1"),
    ],
)
def test_what_no_function_can_be_made_of(make: Any, error: type[Exception], shown: str) -> None:
    with pytest.raises(error, match=shown):
        make()


@pytest.mark.parametrize(
    ("net", "target", "error", "shown"),
    [
        ("classes", targets.class_(5), UnknownTarget, "target 5 is out of range; the model has classes 0 to 4"),
        ("classes", targets.class_("wolf"), UnknownTarget, "there is no class 'wolf'"),
        ("classes", targets.finer(1, k=5), InvalidOption, "k = 5; the model has 4 other classes"),
        ("classes", targets.mask(1), UnsupportedModel, r"needs scores of every pixel .*returns \(\d, 5\)"),
        ("classes", targets.regression(7), UnknownTarget, "the model returns 5 numbers per picture, from 0 on"),
        ("classes", targets.similarity(torch.ones(8)), InvalidOption, r"reference has 8 numbers, .* returns has 5"),
        (
            "classes",
            targets.similarity(torch.ones(2, 5)),
            InvalidOption,
            "is for 2 pictures of 3; give one for all, or one for each",
        ),
        ("pixels", targets.class_(1), UnsupportedModel, "not class scores"),
        (
            "pixels",
            targets.regression(),
            UnsupportedModel,
            r"needs numbers \(n, k\); the model returns \(3, 4, 12, 12\)",
        ),
        ("pixels", targets.mask(4), UnknownTarget, "the model has the classes 0 to 3 at every pixel"),
        ("pixels", targets.mask(1, BOTH), InvalidOption, "is for 2 pictures of 3; give one for all, or one for each"),
        ("pixels", targets.mask(1, BOTH[0, 1:]), InvalidOption, r"region of \(23, 24\), where pictures are \(24, 24\)"),
        ("one map", targets.mask(0), InvalidOption, "it can't be told where the class wins; give region="),
    ],
)
def test_what_cannot_be_asked_of_a_network(net: str, target: Any, error: type[Exception], shown: str) -> None:
    made = {
        "classes": lambda: classifier(LABELS),
        "pixels": lambda: ll.Classifier(Segmenter().eval(), size=24),
        "one map": lambda: ll.Classifier(Segmenter(lambda z: z[:, :1]).eval(), size=24),
    }[net]()
    with pytest.raises(error, match=shown):
        ll.explain(made, X, target=target)


def test_views_of_the_picture_have_no_region() -> None:
    c = ll.Classifier(Segmenter().eval(), size=24)
    with pytest.raises(InvalidOption, match="augment shows other views of the picture, where mask of class 1 is not"):
        ll.explain(c, X, target=targets.mask(1, BOTH[0]), augment="flip")


@pytest.mark.parametrize(
    ("function", "error", "shown"),
    [
        (lambda z: z, InvalidOption, r"must return one score per image, \(3,\), got \(3, 5\)"),
        (lambda z: z.mean(), InvalidOption, r"\(3,\), got \(\)"),
        (lambda z: 1.0, InvalidOption, "got float"),
        (lambda z: z[:, 0] * float("nan"), NonFinite, "the target function returned a NaN or infinite score"),
        (lambda z: z.argmax(1).float(), UnsupportedModel, "no gradient passes through the target function"),
        (lambda z: z[:, 0].detach(), UnsupportedModel, "no gradient passes through the target function"),
    ],
    ids=["table", "scalar", "float", "nan", "argmax", "detached"],
)
def test_functions_that_are_none(function: Any, error: type[Exception], shown: str) -> None:
    with pytest.raises(error, match=shown) as told:
        ll.explain(classifier(), X, "grad-cam", function)
    assert "\n" not in str(told.value)


def test_they_can_be_sent_to_other_processes() -> None:
    for target in (targets.class_(1), targets.finer(0, k=2), targets.margin(0, 3), targets.regression(2)):
        again = pickle.loads(pickle.dumps(target))
        assert repr(again) == repr(target)
        assert torch.equal(again(Z), target(Z))
