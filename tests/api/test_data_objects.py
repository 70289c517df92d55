"""Pictures in data sets of PyTorch and Hugging Face, in tables of pandas, in pairs and batches."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset
from torchvision import transforms
from torchvision.datasets import ImageFolder

import limelight as ll
from limelight.data.collect import as_samples


def small(classes: int = 5, **given: Any) -> ll.Classifier:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes)
    )
    return ll.Classifier(net.eval(), size=8, **given)


def explained(source: Any, classifier: ll.Classifier | None = None, targets: Any = "label") -> dict[str, int]:
    """Return the explained class of each picture."""
    results = ll.evaluate(classifier or small(), source, ["grad-cam"], ["complexity"], targets=targets)
    return {row.image: row.target for row in results.rows}


def tensors(n: int = 4) -> TensorDataset:
    torch.manual_seed(1)
    return TensorDataset(torch.randn(n, 3, 8, 8), torch.arange(n))


class Rows(Dataset[Any]):
    """A data set of a user's own, which counts how often it is read."""

    def __init__(self, rows: list[Any]) -> None:
        self.rows, self.read = rows, list[int]()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Any:
        self.read.append(number)
        row = self.rows[number]
        if isinstance(row, Exception):
            raise row
        return row


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter([tensors()[i] for i in range(4)])


def as_dicts(items: list[Any]) -> dict[str, Any]:
    return {"pixel_values": torch.stack([x for x, _ in items]), "labels": torch.tensor([int(y) for _, y in items])}


SOURCES: dict[str, tuple[Callable[[TensorDataset], Any], list[int]]] = {
    "data set": (lambda data: data, [0, 1, 2, 3]),
    "subset": (lambda data: Subset(data, [3, 1]), [3, 1]),
    "subset of a subset": (lambda data: Subset(Subset(data, [3, 1, 0]), [2, 0]), [0, 3]),
    "several in one": (lambda data: ConcatDataset([data, Subset(data, [2])]), [0, 1, 2, 3, 2]),
    "loader": (lambda data: DataLoader(data, batch_size=3), [0, 1, 2, 3]),
    "loader that drops": (lambda data: DataLoader(data, batch_size=3, drop_last=True), [0, 1, 2]),
    "loader without batches": (lambda data: DataLoader(data, batch_size=None), [0, 1, 2, 3]),
    "loader of some": (lambda data: DataLoader(data, sampler=[2, 0]), [2, 0]),
    "loader that shuffles": (lambda data: DataLoader(data, batch_size=3, shuffle=True), [0, 1, 2, 3]),
    "loader of dicts": (lambda data: DataLoader(data, batch_size=3, collate_fn=as_dicts), [0, 1, 2, 3]),
    "loader of a stream": (lambda _: DataLoader(Stream(), batch_size=3), [0, 1, 2, 3]),
    "stream": (lambda _: Stream(), [0, 1, 2, 3]),
    "pairs": (list, [0, 1, 2, 3]),
    "batches": (lambda data: list(DataLoader(data, batch_size=3)), [0, 1, 2, 3]),
    "batches that come one by one": (lambda data: iter(DataLoader(data, batch_size=3)), [0, 1, 2, 3]),
    "one batch": (lambda data: next(iter(DataLoader(data, batch_size=3))), [0, 1, 2]),
    "pictures and classes": (lambda data: data.tensors, [0, 1, 2, 3]),
    "a batch as dict": (lambda data: as_dicts([data[i] for i in range(4)]), [0, 1, 2, 3]),
    "dicts": (lambda data: [{"image": x, "label": int(y), "id": 7} for x, y in data], [0, 1, 2, 3]),
}


@pytest.mark.parametrize("name", SOURCES)
def test_data_sets_of_torch_are_read_with_their_classes(name: str) -> None:
    source, classes = SOURCES[name]
    found = explained(source(tensors()))
    assert [*found.values()] == classes
    assert len(found) == len(classes)


def test_the_same_pictures_are_explained_however_they_come() -> None:
    data, net = tensors(), small()
    want = ll.explain(net, data.tensors[0], "gradient")
    for source in (data, DataLoader(data, batch_size=3), list(data), DataLoader(data, shuffle=True)):
        for one, other in zip(ll.explain(net, source, "gradient"), want, strict=True):
            torch.testing.assert_close(one.map, other.map)
    torch.testing.assert_close(ll.explain(net, data[2], "gradient").map, want[2].map)  # one picture, not a list


def test_nothing_is_read_before_its_turn() -> None:
    data = Rows([(torch.randn(3, 8, 8), i % 5) for i in range(100)])
    samples = as_samples(data)
    assert len(samples) == 100
    assert not data.read
    seen: list[int] = []
    ll.evaluate(small(), data, "grad-cam", "complexity", batch_size=10, on_rows=lambda _: seen.append(len(data.read)))
    assert seen == [*range(10, 101, 10)]  # a round at a time, each picture once


def test_an_item_that_cannot_be_read_is_named_and_left_out() -> None:
    data = Rows([(torch.randn(3, 8, 8), 1), OSError("the disk is gone"), {"picture_of": 3}, (torch.randn(3, 8, 8), 2)])
    with pytest.warns(ll.errors.PictureWarning, match=r"2 of 4 .*image-00001: item 1 .*OSError: the disk is gone"):
        found = explained(data, targets=None)
    assert [*found] == ["image-00000", "image-00003"]
    with pytest.raises(ll.errors.InvalidImage, match="item 1 of the data set can't be read: OSError"):
        ll.evaluate(small(), data, "grad-cam", "complexity", strict=True)


def test_what_a_shuffling_loader_belongs_to_is_not_guessed() -> None:
    loader = DataLoader(tensors(), batch_size=2, shuffle=True)
    assert [e.target for e in ll.explain(small(), loader, target=3)] == [3] * 4
    for given in ({"targets": [0, 1, 2, 3]}, {"truth": torch.ones(4, 8, 8)}):
        with pytest.raises(ll.errors.InvalidOption, match="the DataLoader shuffles"):
            ll.evaluate(small(), loader, "grad-cam", "complexity", **given)
    with pytest.raises(ll.errors.InvalidOption, match="the DataLoader shuffles"):
        ll.explain(small(), loader, target=[0, 1, 2, 3])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.new("RGB", (9, 8), (80 * i, 40, 200)).save(tmp_path / name / f"{i}.png")
    return tmp_path


TO_TENSOR = transforms.Compose([transforms.Resize((8, 8)), transforms.ToTensor()])


@pytest.mark.parametrize("transform", [None, TO_TENSOR, transforms.PILToTensor(), np.asarray], ids=str)
@pytest.mark.parametrize("labels", [None, ["bee", "ant"], ["n1", "n2"]], ids=str)
def test_a_folder_of_torchvision(folder: Path, transform: Any, labels: list[str] | None) -> None:
    """Numbers of classes are the model's, unless names say otherwise."""
    found = explained(ImageFolder(folder, transform), small(2, labels=labels))
    assert [*found.values()] == ([1, 1, 0, 0] if labels and "ant" in labels else [0, 0, 1, 1])


def test_classes_of_a_data_set_that_are_not_the_models_are_refused(folder: Path) -> None:
    with pytest.raises(ll.errors.UnknownTarget, match=r"has 2 classes \(ant, bee\), and Sequential has 5"):
        explained(ImageFolder(folder))
    turned = ImageFolder(folder, target_transform=lambda y: 1 - y)
    assert [*explained(turned, small(2)).values()] == [1, 1, 0, 0]
    wrong = Rows([(torch.randn(3, 8, 8), 1)])
    wrong.targets = [2]  # type: ignore[attr-defined]
    with pytest.raises(ll.errors.InvalidOption, match="the item says class 1, and the data set's targets say 2"):
        explained(wrong)


def test_targets_that_are_no_classes_are_left_alone() -> None:
    """Boxes, masks, several labels: what a picture brings along is not taken for its class."""
    x = torch.randn(3, 8, 8)
    for said in ({"boxes": []}, torch.tensor([0, 1, 1]), Image.new("L", (8, 8)), torch.ones(8, 8), 0.5, None):
        assert len(explained(Rows([(x, said), (x, said)]), targets=None)) == 2
        with pytest.raises(ll.errors.UnknownTarget, match="the true class of image-00000 is not known"):
            explained(Rows([(x, said), (x, said)]))


def test_data_sets_of_hugging_face(folder: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the package datasets, of the extra data")
    files = sorted(map(str, folder.glob("*/*.png")))
    kinds = {"photo": datasets.Image(), "kind": datasets.ClassLabel(names=["bee", "ant"])}
    table = datasets.Dataset.from_dict({"photo": files, "kind": [0, 1, 0, 1]}, features=datasets.Features(kinds))

    def normalise(rows: dict[str, Any]) -> dict[str, Any]:
        return {"pixel_values": [TO_TENSOR(one) for one in rows["photo"]], "labels": rows["kind"]}

    ready = table.with_transform(normalise)
    for source in (table, ready, DataLoader(ready, batch_size=3)):
        assert [*explained(source, small(2)).values()] == [0, 1, 0, 1]
        assert [*explained(source, small(2, labels=["ant", "bee"])).values()] == [1, 0, 1, 0]
    assert [*explained(table.select([3, 2]), small(2)).values()] == [1, 0]
    assert len(explained(table.remove_columns("kind"), targets=None)) == 4
    assert len(explained(table.to_pandas().rename(columns={"photo": "image"}), targets=None)) == 4
    with pytest.raises(ll.errors.InvalidImage, match="DatasetDict of train, test: give one of them"):
        explained(datasets.DatasetDict(train=table, test=table))
    Path(files[1]).write_bytes(b"no picture")
    with pytest.warns(ll.errors.PictureWarning, match="1 of 4 pictures"):
        assert [*explained(table, small(2)).values()] == [0, 0, 1]


def test_tables_of_pandas(folder: Path) -> None:
    files = sorted(map(str, folder.glob("*/*.png")))
    frame = pd.DataFrame({"Path": files, "label": [0, 1, np.nan, 1]})
    assert [*explained(frame.dropna()).values()] == [0, 1, 1]
    assert len(explained(frame, targets=None)) == len(explained(frame["Path"], targets=None)) == 4
    assert [*explained(list(zip(files, [3, 2, 1, 0], strict=True))).values()] == [3, 2, 1, 0]
    pictures = pd.DataFrame({"image": [Image.open(file) for file in files], "label": list("abca")})
    assert [*explained(pictures, small(3, labels=list("cba"))).values()] == [2, 1, 0, 2]
    boxes = pd.DataFrame({"file": files[:1], "label": [1], "x1": [0], "y1": [0], "x2": [4], "y2": [4]})
    (sample,) = as_samples(boxes)
    assert sample.boxes == ((0, 0, 4, 4),)
    for wrong, said in (
        (pd.DataFrame({"a": [1]}), "there is no column 'file'"),
        (frame.assign(Path="x"), "row 0: there is no file"),
    ):
        with pytest.raises(ll.errors.LimelightError, match=said):
            as_samples(wrong)


def test_a_head_is_trained_on_a_data_set(folder: Path, tmp_path: Path) -> None:
    trained = ll.train_head(small(7), ImageFolder(folder), tmp_path / "out" / "head", test=0, epochs=1)
    assert trained.classifier.labels == ["ant", "bee"]
