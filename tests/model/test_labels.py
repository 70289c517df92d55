"""Names of classes in every form in which they are kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import architectures
import limelight as ll
from limelight.errors import InvalidOption, UnknownTarget
from limelight.model.labels import read_labels

NAMES = ["cat", "dog", "car"]
X = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "labels",
    [
        NAMES,
        tuple(NAMES),
        np.array(NAMES),
        pd.Series(NAMES, index=[5, 6, 7]),
        pd.Index(NAMES),
        dict(enumerate(NAMES)),
        {2: "car", 0: "cat", 1: "dog"},
        {"0": "cat", "2": "car", "1": "dog"},
        {np.int64(i): name for i, name in enumerate(NAMES)},
        {"cat": 0, "car": 2, "dog": 1},
        dict.fromkeys(NAMES).keys(),
    ],
    ids=lambda labels: type(labels).__name__,
)
def test_forms(labels: Any) -> None:
    assert ll.Classifier(architectures.small(3), labels=labels).labels == NAMES


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({0: "a", 2: "b"}, "class 1 has no name"),
        ({1: "a", 2: "b"}, "class 0 has no name"),
        ({-1: "a", 0: "b"}, "the key -1"),
        ({0.5: "a"}, "the key 0.5"),
        ({0: "a", "0": "b"}, "an index twice"),
        ({"a": 0, "b": 0}, "an index twice"),
        ([1.5, "a"], "the name of class 0 is 1.5"),
        (["a", None], "the name of class 1 is None"),
        (5, "labels are a int"),
        ({"a"}, "labels are a set"),
        ("nowhere.txt", "there is no file 'nowhere.txt'"),
    ],
    ids=repr,
)
def test_what_is_no_list_of_names(labels: Any, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        read_labels(labels)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "cat\ndog\ncar\n\n"),
        ("b.txt", "\ufeffcat\r\ndog\r\n car"),
        ("c.json", '["cat", "dog", "car"]'),
        ("d.json", '{"0": ["n1", "cat"], "1": ["n2", "dog"], "2": ["n3", "car"]}'),
        ("e.json", '{"cat": 0, "dog": 1, "car": 2}'),
        ("config.json", '{"id2label": {"0": "cat", "1": "dog", "2": "car"}, "label2id": {"cat": 0}, "depths": [3]}'),
        ("f.csv", "cat\ndog\ncar"),
        ("g.csv", "0,cat\n1,dog\n2,car"),
        ("h.CSV", 'index, name\n1, "dog"\n0, cat\n2, car'),
        ("i.csv", "cat,0\ndog,1\ncar,2"),
        ("j.txt", "0,cat\n1,dog\n2,car"),
        ("k.txt", "2: car\n0: cat\n1: dog"),
        ("l.txt", "0 cat\n1\tdog\n2 ; car".replace(" ;", ";")),
    ],
)
def test_files(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    assert read_labels(tmp_path / name) == read_labels(str(tmp_path / name)) == NAMES


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("a.csv", "0,tench, Tinca tinca\n1,great white", ["tench, Tinca tinca", "great white"]),
        ("b.csv", 'name,index\n"tench, Tinca",0', ["tench, Tinca"]),
        ("c.csv", "tench, Tinca tinca\ngreat white", ["tench, Tinca tinca", "great white"]),
        ("d.csv", "7\n0", ["7", "0"]),
        ("e.txt", "747 jet\n0 jet", ["747 jet", "0 jet"]),
        ("f.txt", "tench, Tinca tinca\n1,a", ["tench, Tinca tinca", "1,a"]),
    ],
)
def test_names_beside_an_index(tmp_path: Path, name: str, text: str, names: list[str]) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_labels(tmp_path / name) == names


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"cat\n\ncar", "line 2 is empty"),
        ("b.txt", b"\xff\xfe", "can't read"),
        ("c.json", b"{", "can't read"),
        ("d.json", b"[" * 20_000, "can't read"),
        ("e.json", b"9" * 5_000, "can't read"),
        ("f.json", b"3", "holds a int"),
        ("g.json", b'{"id2label": {"0": "a", "2": "b"}}', "class 1 has no name"),
        ("h.csv", b"0,a\n0,b", "not an index and a name for each class; .*csv with index,name"),
        ("i.csv", b"n01,tench\nn02,shark", "not an index and a name"),
        ("j.csv", b"0,a\n2,b", "class 1 has no name"),
        ("k.csv", b"0,\n1,b", "not an index and a name"),
        ("l.csv", b'"' + b"a" * 200_000, "can't read"),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidOption, match=message):
        read_labels(tmp_path / name)


def test_they_are_counted() -> None:
    with pytest.raises(InvalidOption, match="2 labels for the 3 classes"):
        ll.explain(ll.Classifier(architectures.small(3), labels=NAMES[:2]), X)
    with pytest.raises(InvalidOption, match=r"3 labels for the 2 classes .*a single output is read as two"):
        ll.Classifier(architectures.small(1), labels=NAMES)(X)
    with pytest.raises(InvalidOption, match="3 labels for the 4 classes"):
        ll.explain(ll.BlackBox(lambda x: torch.rand(len(x), 4), labels=NAMES), X, method="occlusion", window=8)
    assert ll.explain(ll.Classifier(architectures.small(1), labels=["no", "yes"]), X, target="yes")[0].target == 1


def test_a_name_of_two_classes_is_no_target() -> None:
    classifier = ll.Classifier(architectures.small(3), labels=["crane", "dog", "crane"])  # two cranes, as in ImageNet
    assert ll.explain(classifier, X, target=2)[0].label == "crane"
    with pytest.raises(UnknownTarget, match="the name of 2 classes"):
        ll.explain(classifier, X, target="crane")


# -- folders of classes -----------------------------------------------------------------------------------


def folders(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        Image.effect_noise((16, 16), 50).convert("RGB").save(root / name / "1.png")
    return root


def judged(outputs: int, root: Path, labels: Any = None, metric: str = "complexity", **options: Any) -> list[int]:
    classifier = ll.Classifier(architectures.small(outputs), labels=labels, size=16)
    return [r.target for r in ll.evaluate(classifier, root, ["grad-cam"], [metric], **options).rows]


def test_nobody_needs_the_names_of_classes_that_nobody_asked_for(tmp_path: Path) -> None:
    folders(tmp_path, "ant", "bee")
    for labels in (None, ["wasp", "hornet", "fly"]):
        assert len(judged(3, tmp_path, labels)) == 2
        for options in ({"targets": "label"}, {"metric": "morf-insertion"}):  # which is about the true class
            with pytest.raises(UnknownTarget):
                judged(3, tmp_path, labels, **options)


def test_as_many_folders_as_classes_are_the_classes_in_order(tmp_path: Path) -> None:
    folders(tmp_path, "bee", "ant", "cow")
    (tmp_path / ".hidden").mkdir()
    assert judged(3, tmp_path, targets="label") == [0, 1, 2]
    assert judged(3, tmp_path, ["bee", "cow", "ant"], targets="label") == [2, 0, 1]  # names go first
    with pytest.raises(UnknownTarget, match="5 classes of Sequential have no names, and there are 3 folders"):
        judged(5, tmp_path, targets="label")
    samples = ll.api.as_samples(tmp_path)  # type: ignore[attr-defined]
    classifier = ll.Classifier(architectures.small(3), size=16)
    rows = ll.evaluate(classifier, samples[2:], ["grad-cam"], ["complexity"], targets="label").rows  # some of them
    assert [r.target for r in rows] == [2]


def test_folders_that_are_numbers(tmp_path: Path) -> None:
    folders(tmp_path, "1", "0")
    assert judged(2, tmp_path, targets="label") == judged(7, tmp_path, targets="label") == [0, 1]
    folders(tmp_path, "10")  # sorts before 2
    assert judged(11, tmp_path, targets="label") == [0, 1, 10]
    with pytest.raises(UnknownTarget, match="sorted as text"):
        judged(3, tmp_path, targets="label")


def test_folders_that_count_from_one_are_told_what_to_be_called(tmp_path: Path) -> None:
    folders(tmp_path / "from one", *map(str, range(1, 11)))
    folders(tmp_path / "as told", *map(str, range(10)))
    with pytest.raises(UnknownTarget, match="or call them 0 to 9, in the order"):
        judged(10, tmp_path / "from one", targets="label")
    assert judged(10, tmp_path / "as told", targets="label") == list(range(10))
