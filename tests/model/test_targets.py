"""Targets in every form in which people hold them."""

import inspect
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import architectures
import limelight as ll
from limelight.api import sanity_strip
from limelight.errors import InvalidOption, LimelightError, UnknownTarget
from limelight.model.targets import Targets

LABELS = list("abcde")


def resolve(target: object, n: int, classes: int, labels: list[str] | None) -> torch.Tensor:
    model = SimpleNamespace(classes=lambda _x: classes, labels=labels)
    found = Targets.parse(target, model, torch.zeros(n, 3, 2, 2)).index
    assert found is not None
    return found


@pytest.fixture(scope="module")
def classifier() -> ll.Classifier:
    return ll.Classifier(architectures.small(len(LABELS)), labels=LABELS, size=16)


X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))

ONE_FOR_ALL = [
    2,
    np.int64(2),
    np.uint8(2),
    np.array(2),
    torch.tensor(2),
    torch.tensor([[2]])[0, 0],
    "c",
    np.str_("c"),
    "2",
]


def short(value: object) -> str:
    """Name a parameter."""
    return f"{type(value).__name__} {value!r}"[:16]


ONE_PER_IMAGE = [
    [1, 2],
    (1, 2),
    range(1, 3),
    np.array([1, 2]),
    np.array([[1], [2]]),
    np.array(["b", "c"]),
    np.array(["b", 2], dtype=object),
    torch.tensor([1, 2]),
    torch.tensor([1, 2], dtype=torch.uint8),
    [torch.tensor(1), torch.tensor([2])],
    [np.int64(1), 2],
    ["b", np.int32(2)],
    pd.Series([1, 2], index=[7, 9]),
    pd.Series([1, 2], dtype="Int64"),
    pd.Series(["b", "c"], dtype="category"),
    pd.Categorical(["b", "c"]),
    pd.Index([1, 2]),
    torch.tensor([1, 2]).to_sparse(),
]


@pytest.mark.parametrize("target", ONE_FOR_ALL, ids=repr)
def test_one_for_all(target: object) -> None:
    assert resolve(target, 2, 5, LABELS).tolist() == [2, 2]


@pytest.mark.parametrize("target", ONE_PER_IMAGE, ids=lambda t: type(t).__name__)
def test_one_per_image(target: object) -> None:
    assert resolve(target, 2, 5, LABELS).tolist() == [1, 2]
    with pytest.raises(InvalidOption, match="2 targets for 3 images"):
        resolve(target, 3, 5, LABELS)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (True, "neither a class index nor a label"),
        (np.array([True, False]), "neither"),
        (2.0, "2.0 is a float"),
        (float("nan"), "nan is a float"),
        ([1, 2.0], "is a float"),
        (np.array([1.0, np.nan]), "is a float"),
        (pd.Series([1.0, None]), "is a float"),
        ([1, None], "target None"),
        ({"a": 1}, "is a dict"),
        ({1, 2}, "is a set"),
        (iter([1, 2]), "give a class index, a label"),
        (b"a", "is a bytes"),
        (np.eye(2), "argmax"),
        (torch.eye(2, 5), "argmax"),
        (torch.eye(2, 5).bfloat16(), "argmax"),
        (torch.tensor([1.0, 2.0]).bfloat16(), "1.0 is a float"),
        (torch.tensor(1.0).to(torch.float8_e5m2), "1.0 is a float"),
        ([torch.tensor(1.0).bfloat16()] * 2, "1.0 is a float"),
        (torch.tensor([1j, 2j]), "neither"),
        ([], "0 targets for 2 images"),
        (np.datetime64("2020-01-01"), "neither"),
    ],
    ids=short,
)
def test_what_is_no_target_is_named(target: object, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        resolve(target, 2, 5, LABELS)


@pytest.mark.parametrize(
    "target", [-1, 5, "5", "-1", "9" * 5000, "x", "²", [0, -1], np.int64(7)], ids=lambda t: str(t)[:9]
)
def test_what_is_no_class_is_named(target: object) -> None:
    with pytest.raises(UnknownTarget, match=r"out of range|there is no class"):
        resolve(target, 2, 5, LABELS)


@pytest.mark.parametrize(
    ("labels", "right"),
    [(LABELS, r"a label, or an index, 0 to 4 \(they are 'a', 'b', 'c', 'd', 'e'\)$"), (None, "an index, 0 to 4$")],
)
@pytest.mark.parametrize("target", ["1.5", "0,1", "", "０"])
def test_what_would_be_a_class_is_said(target: str, labels: list[str] | None, right: str) -> None:
    with pytest.raises(UnknownTarget, match=f"give one class: {right}"):
        resolve(target, 2, 5, labels)


def test_names_of_several_classes() -> None:
    """Capitals tell classes apart where there are such names; a name of two classes is none."""
    labels = ["crane", "Crane", "dog", "dog", "Cat"]
    assert resolve(["crane", "Crane"], 2, 5, labels).tolist() == [0, 1]
    assert resolve("cat", 1, 5, labels).tolist() == [4]
    for ambiguous in ("dog", "DOG", "CRANE"):
        with pytest.raises(UnknownTarget, match="the name of 2 classes"):
            resolve(ambiguous, 1, 5, labels)
    assert resolve("10", 1, 3, ["9", "10", "11"]).tolist() == [1]  # a name that looks like an index


@pytest.mark.parametrize(
    "target", [np.array([1, 2]), pd.Series(["b", "c"]), [torch.tensor(1), np.int64(2)], np.int64(1)]
)
def test_every_verb_takes_them(classifier: ll.Classifier, target: object) -> None:
    scalar = isinstance(target, np.int64)
    want = [1, 1] if scalar else [1, 2]
    method, deletion = ll.method("grad-cam"), ll.metric("deletion", step=64)
    saliency = method.run(classifier, X, target)
    assert saliency.target.tolist() == want
    assert method(classifier, X, target).shape == (2, 16, 16)
    assert method.raw(classifier, X, target).shape == (2, 8, 8)
    assert [e.target for e in ll.explain(classifier, X, target=target)] == want
    rows = ll.evaluate(classifier, X, ["grad-cam"], ["complexity"], targets=target).rows
    assert [r.target for r in rows] == want
    plain = deletion(classifier, X, want, saliency.map)
    assert torch.equal(deletion(classifier, X, target, saliency.map), plain)
    ll.check(classifier, X, "grad-cam", "complexity", at_least=0, targets=target)
    _, results = ll.sanity(classifier, X, ["grad-cam"], targets=target)
    assert [r.target for r in results.rows] == want
    one = target if scalar else target[:1]  # type: ignore[index]
    assert ll.compare(classifier, X[0], ["grad-cam"], ["complexity"], target=one)[0][0][0].target == 1
    assert sanity_strip(classifier, X[0], ["grad-cam"], target=one).width
    assert ll.propose(classifier, X[0], "grad-cam", target=one, boxes=[[0, 0, 8, 8]]).explanation.target == 1
    choice = ll.choose(classifier, X, ["grad-cam", "layer-cam"], "complexity", targets=target)
    assert {r.target for r in choice.results.rows} == set(want)


def test_target_and_targets_are_one(classifier: ll.Classifier) -> None:
    assert ll.explain(classifier, X, targets=[1, 2])[1].target == 2
    assert ll.evaluate(classifier, X, ["grad-cam"], ["complexity"], target=2).rows[0].target == 2
    assert ll.method("grad-cam").run(classifier, X, targets=2).target.tolist() == [2, 2]
    assert ll.metric("complexity")(classifier, X, targets=2, maps=torch.rand(2, 16, 16)).shape == (2,)
    for verb in (ll.explain, ll.evaluate, ll.compare, ll.check, ll.sanity, sanity_strip, ll.propose, ll.choose):
        names = inspect.signature(verb).parameters
        assert "options" in names or {"target", "targets"} <= names.keys(), verb  # for type checkers
        with pytest.raises(InvalidOption, match="two names of one thing"):
            verb(classifier, X, target=1, targets=1)
    with pytest.raises(InvalidOption, match="two names of one thing"):
        ll.explain(classifier, X, "grad-cam", 1, targets=2)


def test_a_function_has_its_own_values_in_a_metric(classifier: ll.Classifier) -> None:
    maps = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(0))
    found = ll.metric("deletion")(classifier, X, lambda z: z.softmax(1)[:, 0], maps)
    torch.testing.assert_close(found, ll.metric("deletion")(classifier, X, 0, maps))
    with pytest.raises(LimelightError, match="this metric is about classes"):
        ll.metric("cross-deletion")(classifier, X, lambda z: z[:, 0], maps)


@pytest.mark.parametrize("name", ["grad-cam", "rise", "ablation-cam"])
def test_a_kind_of_score_is_not_that_of_a_function(name: str, classifier: ll.Classifier) -> None:
    """It is said, and the maps are those without it; where none was asked for, nothing is said."""
    few: dict[str, Any] = {"n_masks": 4} if name == "rise" else {}
    plain, asked = (
        ll.method(name, **few, **own).run(classifier, X, lambda z: z[:, 0]) for own in ({}, {"score": "prob"})
    )
    assert torch.equal(asked.raw, plain.raw)
    assert [note for note in asked.notes if "the target is a function" in note]
    assert not [note for note in plain.notes if "the target is a function" in note]
    of_class = ll.method(name, **few, score="prob").run(classifier, X, 0)
    assert not [note for note in of_class.notes if "the target is a function" in note]
