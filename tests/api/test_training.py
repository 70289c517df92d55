"""The last layer that is trained: its steps against the calculus, its outcome against another solver, its files."""

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import limelight as ll
from conftest import shared
from data.small_files import picture, text
from limelight.api import features, fitting
from limelight.api.fitting import Schedule, fit
from limelight.data.samples import Sample
from limelight.errors import InvalidImage, InvalidOption, NonFinite, UnsupportedModel
from limelight.model.last_layer import draw_linear, find_last_layer, read_features
from limelight.model.preprocess import Preprocess

COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five pictures each of three colours, a folder per colour."""
    draws = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        for i in range(5):
            pixels = np.clip(np.array(colour) + draws.normal(0, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
            (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path / "photos"


def train(images: Any, out: Path, model: Any = "demo/resnet", **options: Any) -> ll.TrainedHead:
    return ll.train_head(model, images, out, **({"resize": (32, 32), "epochs": 12, "progress": False} | options))


def random_data(n: int = 40, several: bool = False) -> fitting.Data:
    draws = torch.Generator().manual_seed(1)
    truth = torch.randint(0, 3, (n,), generator=draws)
    return torch.randn(n, 1, 5, generator=draws), nn.functional.one_hot(truth).float() if several else truth


def test_a_step_is_the_gradient_of_the_cross_entropy(tmp_path: Path) -> None:
    """For a softmax it is (p - y) x^T averaged over the pictures, by hand."""
    data, head = random_data(), draw_linear(5, 3, seed=2)
    before = head.weight.detach().clone().double(), head.bias.detach().clone().double()
    x, y = data[0][:, 0].double(), nn.functional.one_hot(data[1]).double()
    p = (x @ before[0].T + before[1]).softmax(1)
    fit(head, data, data, Schedule(epochs=1, rate=0.5, momentum=0, batch_size=40), tmp_path / "state.pt")
    assert torch.allclose(head.weight.double(), before[0] - 0.5 * (p - y).T @ x / 40, atol=1e-6)
    assert torch.allclose(head.bias.double(), before[1] - 0.5 * (p - y).mean(0), atol=1e-6)


def test_a_step_of_several_classes_is_that_of_sigmoids(tmp_path: Path) -> None:
    data, head = random_data(several=True), draw_linear(5, 3, seed=2)
    before = head.weight.detach().clone().double(), head.bias.detach().clone().double()
    x = data[0][:, 0].double()
    p = (x @ before[0].T + before[1]).sigmoid()
    fit(head, data, data, Schedule(epochs=1, rate=0.5, momentum=0, batch_size=40), tmp_path / "state.pt")
    expected = before[0] - 0.5 * (p - data[1].double()).T @ x / (40 * 3)  # a mean over pictures and classes
    assert torch.allclose(head.weight.double(), expected, atol=1e-6)


def test_the_papers_rates_and_epochs(tmp_path: Path) -> None:
    history, kept = fit(draw_linear(5, 3, 0), random_data(), random_data(), Schedule(), tmp_path / "state.pt")
    rates = [0.01] * 30 + [0.001] * 30 + [0.0001] * 30 + [0.00001] * 5
    assert [epoch.rate for epoch in history] == pytest.approx(rates)
    assert (len(history), kept) == (95, 95)


def test_what_is_said_of_several_classes(tmp_path: Path) -> None:
    """Of the five classes said to be there four are, of the six that are there four are found."""
    head = draw_linear(2, 2, 0)
    with torch.no_grad():
        head.weight.copy_(torch.eye(2))
        head.bias.zero_()
    scores = torch.tensor([[1.0, -1.0], [2.0, 3.0], [-1.0, 0.5], [1.0, -2.0]])
    truth = torch.tensor([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    plan = Schedule(epochs=1, rate=1e-12, momentum=0)
    epoch = fit(head, (scores[:, None], truth), (scores[:, None], truth), plan, tmp_path / "state.pt")[0][0]
    assert (epoch.precision, epoch.recall) == (4 / 5, 4 / 6)
    assert math.isnan(epoch.accuracy)
    assert epoch.test_loss == pytest.approx(float(nn.functional.binary_cross_entropy(scores.sigmoid(), truth)))


@pytest.mark.parametrize("keep", ["last", "best"])
def test_a_training_that_was_stopped_ends_as_one_in_one_go(tmp_path: Path, keep: Any) -> None:
    views = torch.randn(30, 2, 5, generator=torch.Generator().manual_seed(3))
    data, test = (views, random_data(30)[1]), random_data(20)
    whole, parted = draw_linear(5, 3, 0), draw_linear(5, 3, 0)
    plan = {"keep": keep, "rate": 0.3, "decay_every": 3, "batch_size": 7}
    history = fit(whole, data, test, Schedule(epochs=8, **plan), tmp_path / "whole.pt")
    fit(parted, data, test, Schedule(epochs=5, **plan), tmp_path / "parted.pt")
    again = fit(parted, data, test, Schedule(epochs=8, **plan), tmp_path / "parted.pt")
    assert repr(again) == repr(history)  # NaN is unlike itself
    assert torch.equal(whole.weight, parted.weight)
    assert torch.equal(whole.bias, parted.bias)
    if keep == "best":
        assert history[1] == min(history[0], key=lambda epoch: epoch.test_loss).epoch


def test_another_schedule_or_damage_begins_anew(tmp_path: Path) -> None:
    state, data = tmp_path / "state.pt", random_data()
    fit(draw_linear(5, 3, 0), data, data, Schedule(epochs=3), state)
    for change in (lambda: None, lambda: state.write_bytes(b"no state")):
        change()
        again = fit(draw_linear(5, 3, 0), data, data, Schedule(epochs=3, rate=0.02), state)[0]
        fresh = fit(draw_linear(5, 3, 0), data, data, Schedule(epochs=3, rate=0.02), tmp_path / "fresh.pt")[0]
        assert repr(again) == repr(fresh)


def test_the_least_loss_is_the_first_of_equals(tmp_path: Path) -> None:
    """Where all test losses are the same, the epoch that is named is the one whose layer is kept."""
    data, head = random_data(), draw_linear(5, 3, 0)
    first = draw_linear(5, 3, 0)
    plan = {"rate": 1e-3, "momentum": 0.0, "decay": 1e-30, "decay_every": 1, "keep": "best"}
    history, kept = fit(head, data, data, Schedule(epochs=4, **plan), tmp_path / "state.pt")
    assert len({epoch.test_loss for epoch in history}) == 1
    assert kept == 1
    fit(first, data, data, Schedule(epochs=1, **plan), tmp_path / "one.pt")
    assert torch.equal(head.weight, first.weight)


def test_a_class_more_begins_anew(tmp_path: Path) -> None:
    """A class without pictures leaves the data as they were, but not the layer."""
    data = random_data()
    fit(draw_linear(5, 3, 0), data, data, Schedule(epochs=2), tmp_path / "state.pt")
    assert len(fit(draw_linear(5, 4, 0), data, data, Schedule(epochs=2), tmp_path / "state.pt")[0]) == 2


def test_random_numbers_of_the_program_are_left_alone(tmp_path: Path) -> None:
    classifier = ll.load("demo/resnet")
    one = features.Picture(ll.example_image(), "star", (0,))
    before = torch.get_rng_state()
    features.cache_features(classifier, "fc", [one], tmp_path, progress=False)
    fit(draw_linear(5, 3, 0), random_data(), random_data(), Schedule(epochs=2), tmp_path / "state.pt")
    assert torch.equal(torch.get_rng_state(), before)


def test_too_high_a_rate_is_said(tmp_path: Path) -> None:
    with pytest.raises(NonFinite, match="rate"):
        fit(draw_linear(5, 3, 0), random_data(), random_data(), Schedule(rate=1e38), tmp_path / "state.pt")


def test_colours_are_learned_and_the_file_explains(folder: Path, tmp_path: Path) -> None:
    trained = train(folder, tmp_path / "colours.safetensors", epochs=40, rate=0.1)
    assert trained.counts == (12, 3)
    assert trained.epochs[-1].accuracy == 1
    again = ll.load(trained.path)
    assert again.labels == sorted(COLOURS)
    with Image.open(folder / "green/0.png") as image:
        x = again.preprocess(image)[None]
        assert torch.equal(x, trained.classifier.preprocess(image)[None])
        assert x.shape == (1, 3, 32, 32)  # resized as in training
    assert torch.equal(again(x), trained.classifier(x))
    named = ll.load("demo/resnet", weights=trained.path)
    assert named.labels == again.labels
    assert torch.equal(named.preprocess(Image.open(folder / "green/0.png"))[None], x)
    assert torch.equal(named(x), again(x))
    explanation = ll.explain(again, folder / "green/0.png", "grad-cam")
    assert explanation.label == "green"


def test_the_rest_of_the_network_is_as_it_was(folder: Path, tmp_path: Path) -> None:
    before = ll.load("demo/resnet")
    hashed = before.weights_hash()
    trained = train(folder, tmp_path / "colours.safetensors", before)
    assert before.weights_hash() == hashed
    old, new = before.module.state_dict(), trained.classifier.module.state_dict()
    assert {name for name in old if old[name].shape != new[name].shape} == {"fc.weight", "fc.bias"}
    assert all(torch.equal(old[name], new[name]) for name in old if not name.startswith("fc."))


def test_features_are_computed_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = train(folder, tmp_path / "colours.safetensors")

    def refuse(*_: Any) -> None:
        raise AssertionError("a picture passed the network again")

    with monkeypatch.context() as patched:
        patched.setattr(features, "read_features", refuse)
        again = train(folder, tmp_path / "colours.safetensors", epochs=14)
        assert repr(again.epochs[:12]) == repr(first.epochs)
    files = sorted((tmp_path / "colours.safetensors.training/features").iterdir())
    damaged = files[0]
    damaged.write_bytes(b"no features")
    assert repr(train(folder, tmp_path / "colours.safetensors").epochs) == repr(first.epochs)
    changed = folder / "red/0.png"
    os.utime(changed, ns=(0, 0))
    with monkeypatch.context() as patched:
        patched.setattr(features, "read_features", refuse)
        with pytest.raises(AssertionError, match="passed the network again"):
            train(folder, tmp_path / "colours.safetensors")


def test_mirror_images_are_a_second_view(tmp_path: Path) -> None:
    classifier = ll.load("demo/resnet")
    x = classifier.preprocess(ll.example_image())[None]
    layer = find_last_layer(classifier, x)
    assert layer == "fc"
    one = features.Picture(ll.example_image(), "star", (0,))
    views = features.cache_features(classifier, layer, [one], tmp_path, mirror=True, progress=False)
    assert torch.allclose(views[0, 0], read_features(classifier, layer, x)[0], atol=1e-5)
    assert torch.allclose(views[0, 1], read_features(classifier, layer, x.flip(-1))[0], atol=1e-5)
    scores = classifier.module.get_submodule("fc")(views[0, :1])
    assert torch.allclose(scores, classifier(x), atol=1e-6)


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Three pictures with two classes, one with both, in COCO's own format; numbers in an order of their own."""
    for split in ("train", "val"):
        images = [{"id": i, "file_name": f"{i:012}.jpg", "width": 40, "height": 30} for i in range(4)]
        owners = [(0, 18), (1, 1), (2, 18), (2, 1)]  # and nothing on the fourth
        boxes = [
            {"id": i, "image_id": one, "category_id": c, "bbox": [1, 2, 9, 9], "iscrowd": 0, "segmentation": []}
            for i, (one, c) in enumerate(owners)
        ]
        whole = {
            "images": images,
            "annotations": boxes,
            "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "zebra"}],
        }
        text(tmp_path / f"annotations/instances_{split}2017.json", json.dumps(whole))
        for i in range(4):
            picture(tmp_path / f"{split}2017/{i:012}.jpg", (40, 30 + i))
    return tmp_path


def test_several_classes_of_coco(coco: Path, tmp_path: Path) -> None:
    trained = train(coco, tmp_path / "coco.safetensors", dataset="coco2017", multilabel=True, keep="best", mirror=True)
    assert trained.counts == (3, 3)  # the split val is tested with; a picture without objects is left out
    again = ll.load(trained.path)
    assert again.labels == ["zebra", "dog"]  # by their numbers
    assert again.outputs.multilabel
    assert not math.isnan(trained.epochs[-1].recall)
    with pytest.raises(InvalidOption, match=r"1 of 6 pictures|2 of 6 pictures.*--multilabel"):
        train(coco, tmp_path / "coco.safetensors", dataset="coco2017")


def test_classes_are_in_the_data_sets_order(tmp_path: Path) -> None:
    base = tmp_path / "CUB_200_2011"
    names = ("2.Zebra_Finch", "1.Albatross")
    files = [f"{name}/{i}.jpg" for name in names for i in range(2)]
    text(base / "images.txt", "".join(f"{i} {file}\n" for i, file in enumerate(files, 1)))
    text(base / "classes.txt", "1 2.Zebra_Finch\n2 1.Albatross\n")
    text(base / "image_class_labels.txt", "1 1\n2 1\n3 2\n4 2\n")
    text(base / "train_test_split.txt", "1 1\n2 0\n3 1\n4 0\n")
    text(base / "bounding_boxes.txt", "".join(f"{i} 1 1 5 5\n" for i in range(1, 5)))
    for number, file in enumerate(files):
        picture(base / "images" / file, (40 + number, 30))
    trained = train(tmp_path, tmp_path / "birds.safetensors", dataset="cub200", epochs=2)
    assert trained.classifier.labels == list(names)
    assert trained.counts == (2, 2)


def bad(folder: Path) -> Iterator[tuple[dict[str, Any], type[Exception], str]]:
    yield {"epochs": 0}, InvalidOption, "epochs = 0: expected from 1"
    yield {"momentum": 1.0}, InvalidOption, "momentum"
    yield {"epochs": 1.5}, InvalidOption, "epochs = 1.5: expected a whole number"
    yield {"workers": -1}, InvalidOption, "workers = -1: expected from 0"
    yield {"out": Path("/dev/null/head.safetensors")}, InvalidOption, "head.safetensors can't be written"
    yield {"rates": 1}, InvalidOption, "no option 'rates'.*rate"
    yield {"test": 1.5}, InvalidOption, "share"
    yield {"test": 0, "keep": "best"}, InvalidOption, "keep='best' needs pictures"
    yield {"model": "torchvision/squeezenet1_0"}, UnsupportedModel, r"classifier\.1 \(Conv2d\)"
    yield {"images": folder / "red"}, InvalidOption, "has no class|two classes"
    yield {"dataset": "cub300"}, InvalidOption, "cub200"
    yield {"out": folder.parent / "head.pt2"}, UnsupportedModel, r"\.safetensors"


@pytest.mark.parametrize("case", range(12))
def test_what_is_refused(folder: Path, tmp_path: Path, case: int) -> None:
    options, kind, message = list(bad(folder))[case]
    if options.get("model"):
        options["model"] = ll.load(options["model"], weights=None)
    out, images = options.pop("out", tmp_path / "head.safetensors"), options.pop("images", folder)
    with pytest.raises(kind, match=message):
        train(images, out, **options)
    assert not out.exists()


def test_a_picture_that_cannot_be_read_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "red/9.png").write_bytes(b"no picture")
    with pytest.raises(InvalidImage, match=r"9\.png"):
        train(folder, tmp_path / "head.safetensors")


def test_a_picture_that_is_not_there_is_named(tmp_path: Path) -> None:
    samples = [Sample(ll.example_image(), "a", "even"), Sample("gone.png", "b", "odd")]
    with pytest.raises(InvalidImage, match=r"gone\.png can't be read: No such file"):
        train(samples, tmp_path / "head.safetensors", test=0)


@pytest.mark.slow
def test_an_error_of_another_process_is_told_as_one_of_this(folder: Path, tmp_path: Path) -> None:
    (folder / "red/9.png").write_bytes(b"no picture")
    with pytest.raises(InvalidImage, match=r"^\S*9\.png"):
        train(folder, tmp_path / "head.safetensors", workers=1)


def test_every_class_keeps_a_picture_to_train_on(tmp_path: Path) -> None:
    samples = [Sample(ll.example_image(i), str(i), ("even", "odd")[i % 2]) for i in range(4)]
    assert train(samples, tmp_path / "head.safetensors", test=0.9, epochs=1).counts == (2, 2)
    with pytest.raises(InvalidOption, match="some classes are names, such as even, and some numbers"):
        train([*samples, Sample(ll.example_image(4), "4", 1)], tmp_path / "head.safetensors")


@pytest.mark.slow
def test_the_network_keeps_its_form(tmp_path: Path) -> None:
    """The size of its pictures, where no preprocessing tells it, and how its layers' outputs become maps."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
    x = torch.rand(4, 3, 24, 24)
    samples = [Sample(one, str(i), ("even", "odd")[i % 2]) for i, one in enumerate(x)]
    plain = ll.Classifier(net, preprocess=Preprocess(None, None), size=24)
    trained = train(samples, tmp_path / "net.pt2", plain, test=0, epochs=1, resize=None)
    assert trained.classifier.input_size == (24, 24)
    assert ll.load(trained.path, trust=True).input_size == (24, 24)
    odd = ll.Classifier(net, preprocess=Preprocess(None, None), size=24, reshape=lambda t: t)
    with pytest.raises(UnsupportedModel, match="reshape= is a function of yours"):
        train(samples, tmp_path / "odd.pt2", odd, test=0, resize=None)


@pytest.mark.slow
def test_a_trunk_of_cifar_gets_its_own_head_back(tmp_path: Path) -> None:
    """On features of a trained network the accuracy is that of its own last layer, and of another solver's."""
    from safetensors.torch import load_file
    from sklearn.linear_model import LogisticRegression

    from methods.goldens import CifarResNet

    file = shared("data", "cifar10_resnet56.safetensors")
    with np.load(shared("data", "cifar10_test200.npz")) as data:
        images, labels, classes = data["images"], data["labels"], [str(name) for name in data["classes"]]
    net = CifarResNet(9)
    net.load_state_dict(load_file(file))
    classifier = ll.Classifier(net.eval(), preprocess=Preprocess(None, None), size=32)
    samples = [
        Sample(one, str(i), f"{label} {classes[label]}")
        for i, (one, label) in enumerate(zip(images, labels, strict=True))
    ]
    trained = train(samples, tmp_path / "cifar", classifier, test=0.4, epochs=95, resize=None)
    names = [label.split()[1] for label in trained.classifier.labels or []]
    assert names == classes
    x = torch.stack([classifier.preprocess(Image.fromarray(one)) for one in images])
    own = float((classifier(x).argmax(1) == torch.from_numpy(labels)).double().mean())
    assert own == pytest.approx(0.86, abs=0.01)  # as shared/data/README.md says
    assert trained.epochs[-1].accuracy > own - 0.1
    found = features.cache_features(classifier, "linear", [features.Picture(o, "", ()) for o in images], tmp_path)
    feature = found[:, 0].numpy()
    part = np.arange(len(feature)) % 20 < 12
    other = LogisticRegression(max_iter=2000).fit(feature[part], labels[part]).score(feature[~part], labels[~part])
    assert trained.epochs[-1].accuracy == pytest.approx(other, abs=0.1)
    assert ll.load(trained.path, trust=True).labels == trained.classifier.labels
