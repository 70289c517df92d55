"""A fill by name, as a number, a tensor or a function, wherever one is taken."""

import json
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import limelight as ll
from limelight.core.fills import described, filled
from limelight.errors import InvalidOption, ProtocolMismatch

X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
MAPS = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(1))


def dim(x: Tensor) -> Tensor:
    return x / 2


def network() -> ll.Classifier:
    torch.manual_seed(0)
    body = (nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    return ll.Classifier(nn.Sequential(*body).eval(), size=16)


COLOUR = torch.tensor([0.5, -1.0, 0.25])
FORMS: list[tuple[Any, Tensor]] = [
    (0.5, torch.full_like(X, 0.5)),
    (0, torch.zeros_like(X)),
    (np.float32(0.5), torch.full_like(X, 0.5)),
    (COLOUR, COLOUR.view(3, 1, 1).expand_as(X)),
    (COLOUR.tolist(), COLOUR.view(3, 1, 1).expand_as(X)),
    (COLOUR.view(3, 1, 1).numpy(), COLOUR.view(3, 1, 1).expand_as(X)),
    (X[0].flip(-1), X[:1].flip(-1).expand_as(X)),
    (X[:1].flip(-1), X[:1].flip(-1).expand_as(X)),
    (dim, X / 2),
    (torch.zeros_like, torch.zeros_like(X)),
]


@pytest.mark.parametrize(("fill", "want"), FORMS, ids=[str(i) for i in range(len(FORMS))])
def test_forms(fill: Any, want: Tensor) -> None:
    classifier = network()
    made = ll.metric("deletion", fill=fill, step=64)
    assert torch.equal(filled(classifier, X, made.options.fill), want)  # type: ignore[attr-defined]
    curve = made.measure(classifier, X, 0, MAPS).curve
    assert curve is not None
    torch.testing.assert_close(curve[:, -1], classifier(want).softmax(1)[:, 0])  # all is taken away
    hidden = ll.method("occlusion", window=16, stride=16, baseline=fill).evidence(classifier, X, 0)
    lost = classifier(X).softmax(1)[:, 0] - classifier(want).softmax(1)[:, 0]
    torch.testing.assert_close(hidden, lost[:, None, None].expand(2, 16, 16))
    gone = ll.metric("morf", cell=16, replace_by=fill, score="prob").measure(classifier, X, 0, MAPS).curve
    assert gone is not None
    torch.testing.assert_close(gone[:, -1], curve[:, -1])
    for name, option, more in (
        ("emp", "baseline", {"n": 2, "size": 4}),
        ("i-gos", "baseline", {"n": 2, "size": 4}),
        ("lime", "baseline", {"n_samples": 4}),
        ("input-x-gradient", "reference", {}),
        ("deeplift", "baseline", {}),
    ):
        assert ll.method(name, **{option: fill}, **more)(classifier, X, 0).shape == (2, 16, 16)
    if not isinstance(fill, list):  # which may be several baselines
        raw = ll.method("integrated-gradients", n=2, baseline=fill).evidence(classifier, X, 0)
        two = ll.method("integrated-gradients", n=2, baseline=(fill, fill)).evidence(classifier, X, 0)
        torch.testing.assert_close(raw, two)


@pytest.mark.parametrize(
    "fill",
    [True, float("nan"), torch.tensor([1.0, torch.inf, 0]), "pink", {"a": 1}, None, [[1, 2], [3]], X.tolist()],
)
def test_what_is_no_fill(fill: Any) -> None:
    for make in (lambda: ll.metric("deletion", fill=fill), lambda: ll.method("occlusion", baseline=fill)):
        with pytest.raises(InvalidOption, match=r"option (fill|baseline)"):
            make()


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (torch.zeros(3, 8, 8), r"a baseline of shape \(3, 8, 8\) for images of \(3, 16, 16\)"),
        (torch.zeros(4), r"\(4, 1, 1\)"),
        (lambda x: x[:1], r"of the images' shape, \(2, 3, 16, 16\), got \(1, 3, 16, 16\)"),
        (lambda x: x * torch.nan, "finite"),
        (lambda x: 0, "got int"),
    ],
)
def test_fills_that_do_not_fit(fill: Any, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        ll.metric("insertion", fill=fill)(network(), X, 0, MAPS)
    with pytest.raises(InvalidOption, match=message):
        ll.method("occlusion", baseline=fill)(network(), X, 0)


def test_a_picture_for_each_image_is_refused_for_chunks_would_mix_them_up() -> None:
    with pytest.raises(InvalidOption, match=r"2 pictures; a fill is one picture .* or a function"):
        ll.metric("deletion", fill=X)
    several = torch.cat([X, X.flip(-1)])
    for fill in (X[0], dim):
        method = ll.method("occlusion", window=16, stride=16, baseline=fill)
        apart = ll.method("occlusion", window=16, stride=16, baseline=fill, batch_size=2)
        torch.testing.assert_close(apart(network(), several, 0), method(network(), several, 0))


def test_greys_or_a_colour() -> None:
    def evidence(baseline: Any) -> Tensor:
        return ll.method("integrated-gradients", n=2, baseline=baseline).evidence(network(), X, 0)

    with pytest.raises(InvalidOption, match="3 greys or one colour"):
        evidence([0.1, 0.2, 0.3])
    values = torch.tensor([0.1, 0.2, 0.3])
    greys = torch.stack([evidence(float(v)) for v in values]).mean(0)
    torch.testing.assert_close(evidence(values.view(3, 1, 1, 1)), greys)
    assert not torch.allclose(evidence(values), greys)


def test_two_fills_never_share_a_protocol() -> None:
    shifts = [lambda x, by=by: x + by for by in (0.0, 1.0)]

    def by(amount: float) -> Any:
        return lambda x: x + amount

    fills: list[Any] = [
        *("zero", "black", 0, 0.1, 0.1 + 1e-12, 0.123456789, 0.12345678),
        *(
            COLOUR,
            COLOUR + 1e-6,
            X[0],
            X[0] + 1e-6,
            dim,
            *shifts,
            by(1.0),
            by(2.0),
            lambda x: x * 2,
            lambda x: x * 3,
        ),
    ]
    ids = [ll.metric("deletion", fill=fill).protocol for fill in fills]
    assert len(set(ids)) == len(ids)
    assert max(map(len, ids)) < 150
    assert [ll.metric("deletion", fill=fill).protocol for fill in fills] == ids
    assert described(dim).startswith("dim-")
    judges = [{"deletion": ll.metric("deletion", fill=fill, step=64)} for fill in (0.1, dim)]
    one, other = (ll.evaluate(network(), X, ["grad-cam"], judge) for judge in judges)
    with pytest.raises(ProtocolMismatch):
        _ = one + other


def test_settings_can_be_kept() -> None:
    for fill in (0.5, COLOUR, X[0], dim):
        method, metric = (
            ll.method("occlusion", window=16, stride=16, baseline=fill),
            ll.metric("deletion", fill=fill, step=64),
        )
        results = ll.evaluate(network(), X, [method], [metric])
        kept = json.loads(json.dumps(results.settings))["methods"]["occlusion"]["baseline"]
        if fill is dim:
            assert kept.startswith("dim-")
        else:
            assert ll.method("occlusion", window=16, stride=16, baseline=kept) == method
        assert pickle.loads(pickle.dumps(results.settings)) == results.settings
        told = ll.explain(network(), X, method)[0].settings()["options"]["baseline"]
        assert json.loads(json.dumps(told)) == kept
