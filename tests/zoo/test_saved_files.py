"""Classifiers that are saved to files and loaded again."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torchvision import transforms

import limelight as ll
from limelight.errors import InvalidOption, OutOfMemory, UnsupportedModel
from limelight.files import refusing
from limelight.model.classifier import Classifier
from limelight.model.preprocess import Preprocess
from limelight.zoo import load, save
from limelight.zoo.header import HEADER
from same import PICTURE, same_map


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True)),
            *(nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(inplace=True)),
        )
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).mean((2, 3)))


@pytest.mark.parametrize("name", ["torchvision/squeezenet1_1", "timm/test_resnet", "demo/vit"])
def test_zoo_models_come_back(name: str, tmp_path: Path, no_network: Path) -> None:
    if name.startswith("timm"):
        pytest.importorskip("timm", reason="the package timm is not installed")
    torch.manual_seed(0)
    classifier = load(name, weights=None)
    if classifier.labels:
        classifier.labels[0] = "renamed"
    path = save(classifier, tmp_path / "model")
    assert path.suffix == ".safetensors"
    again = load(path)
    for key in ("name", "labels", "mean", "std", "size", "layer"):
        assert getattr(again, key) == getattr(classifier, key)
    torch.testing.assert_close(again.preprocess(PICTURE), classifier.preprocess(PICTURE))
    x = torch.randn(1, 3, classifier.size, classifier.size)
    torch.testing.assert_close(again(x), classifier(x))
    assert load(path, labels=["mine"]).labels == ["mine"]


def rewrite_header(path: Path, change: dict[str, Any]) -> None:
    """Change what stands in a file beside its weights."""
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()[HEADER]) | change
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # is no dict
    save_file(state, path, {HEADER: json.dumps(about)})


def test_a_saved_file_is_weights_too(tmp_path: Path) -> None:
    """With the model's name or without, a file that was saved is the same network: its classes, layer and pictures."""
    names = [f"shape {i}" for i in range(10)]
    plain = load("demo/vgg", labels=names, layer="features.0", multilabel=True)
    function = Preprocess((40, 48), None, plain.mean, plain.std)
    classifier = plain.with_preprocess(replace(plain.inputs.function, function=function))
    path = save(classifier, tmp_path / "model.safetensors")
    alone, named = load(path), load("demo/vgg", weights=path)
    for key in ("name", "labels", "mean", "std", "size", "layer"):
        assert getattr(named, key) == getattr(alone, key) == getattr(classifier, key), key
    assert named.outputs.multilabel
    assert named.preprocess(PICTURE).shape == (3, 40, 48)
    x = torch.randn(1, 3, 128, 128)
    assert torch.equal(named(x), alone(x))
    given = load("demo/vgg", weights=path, labels=names[::-1], layer="features.3", multilabel=False)
    assert (given.labels, given.layer, given.outputs.multilabel) == (names[::-1], ("features.3",), False)
    # Weights of a network that fit another one, such as its sliding form: their classes, not its layer and pictures.
    rewrite_header(path, {"source": {"zoo": "demo", "name": "other"}})
    other = load("demo/vgg", weights=path)
    assert (other.labels, other.layer, other.outputs.multilabel) == (names, None, True)
    assert other.preprocess(PICTURE).shape == (3, 128, 128)
    assert torch.equal(other(x), alone(x))


def test_names_that_are_not_as_many_as_the_classes_are_refused(tmp_path: Path) -> None:
    path = save(load("demo/vgg"), tmp_path / "a.safetensors")
    rewrite_header(path, {"labels": list("abc")})
    x = torch.rand(1, 3, 128, 128)
    for model in (load(path), load("demo/vgg", weights=path)):
        with pytest.raises(InvalidOption, match="3 labels for the 10 classes of demo/vgg; give one for each class"):
            ll.explain(model, x, "grad-cam")
    with pytest.raises(UnsupportedModel, match="do not fit"):
        load("demo/resnet", weights=path)


def test_any_module_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    preprocess = Preprocess(30, 32, (0.5,) * 3, (0.2,) * 3, covered=True)
    labels = list("abcde")
    classifier = Classifier(Net(), size=32, labels=labels, preprocess=preprocess, layer="features.4", name="mine")
    path = save(classifier, tmp_path / "net")
    assert path.suffix == ".pt2"
    again = load(path, trust=True)
    for key in ("name", "labels", "mean", "std", "size", "layer"):
        assert getattr(again, key) == getattr(classifier, key)
    torch.testing.assert_close(again.preprocess(PICTURE), classifier.preprocess(PICTURE))
    for n in (1, 3):
        same_map(classifier, again, torch.randn(n, 3, 32, 32))


@pytest.mark.parametrize(
    "wrong", [{"size": "128"}, {"size": 0}, {"labels": [1]}, {"multilabel": "yes"}, {"layer": 3}], ids=str
)
def test_settings_of_a_file_that_cannot_be_are_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    path = save(load("demo/vgg"), tmp_path / "a.safetensors")
    rewrite_header(path, wrong)
    with pytest.raises(UnsupportedModel, match=f"a.safetensors is damaged, .*{next(iter(wrong))}"):
        load(path)


def test_layers_of_an_exported_program_are_found(tmp_path: Path) -> None:
    torch.manual_seed(0)
    classifier = Classifier(nn.Sequential(Net(), nn.Softmax(1)), size=32)
    again = load(save(classifier, tmp_path / "net.pt2"), trust=True)
    assert again.stages == classifier.stages == ["0.features.2", "0.features"]
    same_map(classifier, again, torch.randn(2, 3, 32, 32))


@pytest.mark.skipif(torch.__version__ < "2.11", reason="may not read its programs again")
def test_programs_of_others(tmp_path: Path) -> None:
    example = torch.zeros(2, 3, 48, 48)
    program = torch.export.export(Net().eval(), (example,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    torch.export.save(program, tmp_path / "theirs.pt2")
    classifier = load(tmp_path / "theirs.pt2", trust=True)
    assert classifier.size == 48
    assert classifier(torch.zeros(1, 3, 48, 48)).shape == (1, 5)


def test_a_program_is_code(tmp_path: Path) -> None:
    path = save(Classifier(Net(), size=32), tmp_path / "net.pt2")
    with pytest.raises(UnsupportedModel, match=r"can do all that you can.*trust=True \(--trust"):
        load(path)
    empty = tmp_path / "empty.pt2"
    empty.write_bytes(b"")
    with pytest.raises(UnsupportedModel, match="trust=True"):  # what it holds is not looked at
        load(empty)


def test_a_header_can_not_ask_for_trust(tmp_path: Path) -> None:
    path = save(load("demo/resnet"), tmp_path / "a")
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()[HEADER])
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    about["source"]["trust"] = True
    save_file(state, path, {HEADER: json.dumps(about)})
    with pytest.raises(UnsupportedModel, match="is damaged"):
        load(path)


@pytest.mark.parametrize(
    "words", ["CUDA out of memory. Tried to allocate 2 GiB", "[enforce fail] can't allocate memory"]
)
def test_running_out_of_memory_is_no_damage(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = save(load("demo/resnet"), tmp_path / "net.safetensors")
    move = nn.Module.to

    def full(module: nn.Module, *given: Any) -> nn.Module:
        if isinstance(given[0], torch.device):
            raise RuntimeError(words)
        return move(module, *given)

    monkeypatch.setattr(nn.Module, "to", full)
    for name in (saved, "demo/resnet"):
        with pytest.raises(OutOfMemory, match=r"memory ran out on cpu while .* was loaded \(") as caught:
            load(name, device="cpu")
        assert "damaged" not in str(caught.value)
    with (
        pytest.raises(OutOfMemory, match="if it should suffice, it is damaged"),
        refusing(UnsupportedModel, "it is damaged"),
    ):
        raise torch.OutOfMemoryError(words)


def test_pickles_need_trust(tmp_path: Path) -> None:
    path = tmp_path / "whole.pt"
    torch.save(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2)), path)
    with pytest.raises(
        UnsupportedModel, match=r"it names torch\.nn\.modules\.[\w.]+$"
    ):  # and nothing of PyTorch's advice
        load(path)
    with pytest.raises(UnsupportedModel, match=r"can run any code.*trust=True"):
        load(path)
    assert load(path, trust=True)(torch.zeros(1, 3, 8, 8)).shape == (1, 2)
    with pytest.raises(UnsupportedModel, match="tensors only"):
        load("torchvision/resnet18", weights=path)


def test_what_is_no_classifier_is_not_saved(tmp_path: Path) -> None:
    for wrong in (torch.nn.Flatten(), "demo/resnet", None):
        with pytest.raises(InvalidOption, match=f"not a {type(wrong).__name__}; an explanation has its own save"):
            save(wrong, tmp_path / "x")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_functions_of_the_user_can_not_be_saved(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="preprocess"):
        save(Classifier(Net(), preprocess=transforms.ToTensor()), tmp_path / "net.pt2")
    with pytest.raises(UnsupportedModel, match=r"\.pt2"):
        save(Classifier(Net()), tmp_path / "net.safetensors")


def small(channels: int, space: int) -> nn.Module:
    conv: Any = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[space - 1]
    pool: Any = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[space - 1]
    return nn.Sequential(conv(channels, 4, 3), nn.ReLU(), pool(1), nn.Flatten(), nn.Linear(4, 3)).eval()


@pytest.mark.parametrize(("channels", "space", "bands"), [(1, 2, None), (5, 2, (0, 2, 4)), (2, 1, None), (1, 3, None)])
def test_networks_of_values_come_back(
    channels: int, space: int, bands: tuple[int, int, int] | None, tmp_path: Path
) -> None:
    """Grey pictures, bands, signals and volumes, with the values that they were normalised by."""
    mean, std = [0.25 * (i + 1) for i in range(channels)], [0.5] * channels
    classifier = ll.Classifier(small(channels, space), size=12, mean=mean, std=std, bands=bands)
    again = ll.load(ll.save(classifier, tmp_path / "a.pt2"), trust=True)
    assert (again.input_size, again.mean, again.std) == ((12,) * space, tuple(mean), tuple(std))
    assert again.inputs.bands == bands
    image = np.random.default_rng(0).random((*(12,) * space, channels), dtype=np.float32)
    first, second = (ll.explain(one, image, "grad-cam", 1) for one in (classifier, again))
    torch.testing.assert_close(first.raw, second.raw)
    other = ll.load(tmp_path / "a.pt2", trust=True, mean=[0.0] * channels, std=[2.0] * channels)
    torch.testing.assert_close(other.inputs.normalise(image), again.inputs.normalise(image / 4 + np.float32(mean)))
    assert other.inputs.bands == bands


def test_a_network_with_its_further_inputs_is_refused(tmp_path: Path) -> None:
    class Two(nn.Module):
        def forward(self, image: torch.Tensor, meta: torch.Tensor) -> torch.Tensor:
            return image.mean((2, 3)) + meta

    classifier = ll.Classifier(Two(), size=8).with_inputs({"meta": torch.zeros(1, 3)})
    with pytest.raises(UnsupportedModel, match=r"Two takes further inputs \(meta\), which no file can hold"):
        ll.save(classifier, tmp_path / "a.pt2")
