"""A fill by name, as a number, a tensor or a function, wherever one is taken."""

import functools as ft
import json
import pickle
import re
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import architectures
import limelight as ll
from limelight.engine.baselines import fill_images, plain
from limelight.engine.content import describe
from limelight.errors import InvalidOption, ProtocolMismatch
from limelight.model.targets import Targets
from limelight.scoring.image_batch import ImageBatch

X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
MAPS = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(1))


def dim(x: Tensor) -> Tensor:
    return x / 2


def network() -> ll.Classifier:
    return ll.Classifier(architectures.small(), size=16)


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
    assert torch.equal(fill_images(classifier, X, made.options.fill), want)  # type: ignore[attr-defined]
    curve = made.measure(classifier, X, 0, MAPS).curve
    assert curve is not None
    torch.testing.assert_close(curve[:, -1], classifier(want).softmax(1)[:, 0])  # all is taken away
    hidden = ll.method("occlusion", window=16, stride=16, baseline=fill).raw(classifier, X, 0)
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
        raw = ll.method("integrated-gradients", n=2, baseline=fill).raw(classifier, X, 0)
        two = ll.method("integrated-gradients", n=2, baseline=(fill, fill)).raw(classifier, X, 0)
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


def test_one_fill_for_all_images_costs_one_pass() -> None:
    fills: list[Any] = ["zero", "black", "white", 0.5, COLOUR, X[0], "mean", dim]
    classifier = network()
    for fill in map(plain, fills):
        batch = ImageBatch(classifier, X, Targets(torch.tensor([0, 1])))
        found, passes = batch.fill_score(fill), batch.meter.per_image(1, 1.0).forwards
        assert passes == (2 if fill == "mean" or fill is dim else 1)
        want = classifier(fill_images(classifier, X, fill)).softmax(1)
        torch.testing.assert_close(found, want[[0, 1], [0, 1]])


def test_greys_or_a_colour() -> None:
    def evidence(baseline: Any) -> Tensor:
        return ll.method("integrated-gradients", n=2, baseline=baseline).raw(network(), X, 0)

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
    assert describe(dim).startswith("dim-")
    judges = [{"deletion": ll.metric("deletion", fill=fill, step=64)} for fill in (0.1, dim)]
    one, other = (ll.evaluate(network(), X, ["grad-cam"], judge) for judge in judges)
    with pytest.raises(ProtocolMismatch):
        _ = one + other


FUNCTIONS = """
import functools
import numpy as np
import torch

SCALE = 2

class Shift:
    def __init__(self, by): self.by = by
    def apply(self, x): return x + self.by
    def __call__(self, x): return self.apply(x)

class Turn(Shift):
    def apply(self, x): return x * self.by

class Bare:
    __slots__ = ("by",)
    def __init__(self, by): self.by = by
    def __call__(self, x): return x + self.by

def nested(by): return lambda x: [y for y in (lambda z: z + by)(x[None])][0]
def nested_too(by): return lambda x: [y for y in (lambda z: z - by)(x[None])][0]
def scaled(x): return x * SCALE
def helped(x): return scaled(x)
def recursive(x): return x if x.ndim else recursive(x)
def sets(x): return x if len(x) in {"a", "b", "c", 1} else x * 0
def cached(by): return functools.lru_cache(lambda x: x + by)
def attributed(x): return x * attributed.by
attributed.by = 3

torch.manual_seed(0)
FILLS = [
    Shift(5).apply, Shift(50).apply, Turn(5).apply, Shift(5), Shift(50), Turn(5), Bare(5), Bare(50),
    Shift(torch.zeros(3)), Shift(torch.ones(3)), Shift(np.zeros((3, 1, 1))), Shift(torch.zeros(3).bfloat16()),
    nested(1), nested(2), nested_too(1), cached(1), cached(2),
    functools.partial(torch.mul, other=2), functools.partial(torch.mul, other=3), functools.partial(torch.add, other=2),
    torch.nn.ReLU(), torch.nn.Threshold(0.1, 0), torch.nn.Threshold(0.2, 0),
    torch.nn.Conv2d(3, 3, 1), torch.nn.Conv2d(3, 3, 1),
    lambda x, by=1: x + by, lambda x, by=2: x + by, lambda x, *, by=1: x + by,
    scaled, helped, recursive, sets, attributed, torch.zeros_like, torch.ones_like, torch.Tensor.relu,
    torch.zeros(3, 1, 1).add, torch.ones(3, 1, 1).add, staticmethod(scaled),
]
"""


def test_functions_are_told_apart_by_what_they_do_in_every_process() -> None:
    code = f"{FUNCTIONS}\nfrom limelight.engine.content import describe\nprint(*map(describe, FILLS), sep='\\n')"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    first: dict[str, Any] = {"__name__": "__main__"}
    names: dict[str, Any] = {"__name__": "__main__"}
    for made in (first, names):  # anew, in another place
        exec(FUNCTIONS, made)
        assert [describe(fill) for fill in made["FILLS"]] == there
    assert len(set(there)) == len(there)
    names["SCALE"] = 4
    changed = [i for i, fill in enumerate(names["FILLS"]) if describe(fill) != there[i]]
    assert [names["FILLS"][i] for i in changed[:2]] == [names["scaled"], names["helped"]]
    assert len(changed) == 3


def test_what_can_not_be_looked_into_is_itself_and_no_other() -> None:
    locks = [threading.Lock() for _ in range(3)]
    made = [lambda x, lock=lock: x for lock in locks]
    assert len({describe(fill) for fill in made}) == 3
    assert describe(made[0]) == describe(made[0])
    del made[0], locks[0]
    assert len({describe(lambda x, lock=lock: x) for lock in [*locks, threading.Lock()]}) == 3


def test_names_of_rows_hold_no_numbers_of_pictures_and_no_addresses() -> None:
    noise = torch.randn(3, 16, 16)
    for fill in (dim, noise, nn.Identity(), ft.partial(torch.mul, other=2), X.mul):
        for made in (ll.method("occlusion", baseline=fill), ll.metric("deletion", fill=fill)):
            assert len(repr(made)) < 100
            assert " at 0x" not in repr(made)
    assert repr(ll.method("occlusion", baseline=dim)) == f"method('occlusion', baseline=<{describe(dim)}>)"
    assert repr(ll.metric("deletion", fill=0.5, step=64)) == "metric('deletion', fill=0.5, step=64)"
    ruled = ll.method("lrp", rules={"conv": lambda op, r: op.native(r)})
    assert re.fullmatch(r"method\('lrp', rules=\{'conv': <.*<lambda>-[0-9a-f]{12}>\}\)", repr(ruled))


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


@pytest.mark.parametrize(
    ("baseline", "said"), [("blak", "'black'"), (float("nan"), "a finite number"), (True, "a finite number")]
)
def test_all_that_a_fill_may_be_is_named(baseline: object, said: str) -> None:
    with pytest.raises(InvalidOption, match=said):
        ll.method("lime", baseline=baseline)
