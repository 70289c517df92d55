"""Loading classifiers by name and from files, saving them, and the errors on the way."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torchvision import transforms

from limelight import zoo
from limelight.engine.method import build
from limelight.errors import InvalidOption, OutOfMemory, UnknownModel, UnsupportedModel, WeightsUnavailable
from limelight.files import refusing
from limelight.model.classifier import Classifier
from limelight.model.preprocess import Preprocess
from limelight.zoo import available, load, save
from limelight.zoo.header import HEADER

PICTURE = Image.effect_noise((300, 260), 80).convert("RGB")


@pytest.fixture
def refused() -> list[object]:
    """The connections that somebody tried to make."""
    return []


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refused: list[object]) -> Path:
    """Empty caches, and every connection refused."""

    def refuse(address: object, *_: object, **__: object) -> None:
        refused.append(address)
        raise OSError("no network")

    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return tmp_path


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


def same_map(a: Classifier, b: Classifier, x: torch.Tensor) -> None:
    first, second = (build("grad-cam").run(c, x) for c in (a, b))
    assert first.provenance["layers"] == second.provenance["layers"]
    torch.testing.assert_close(first.raw, second.raw)
    assert first.raw.any()


# -- names --------------------------------------------------------------------------------------------------


def test_torchvision_without_weights_has_the_checkpoints_preprocessing() -> None:
    classifier = load("torchvision/resnet18", weights=None)
    assert classifier.name == "torchvision/resnet18"
    assert classifier.labels is not None
    assert len(classifier.labels) == 1000
    assert classifier.preprocess(PICTURE).shape == (3, 224, 224)
    assert classifier.preprocess(PICTURE.convert("L")).shape == (3, 224, 224)
    assert not classifier.module.training
    assert load("torchvision/resnet18", weights=None, labels=["a"], layer="layer3").layer == ("layer3",)


def test_size_of_the_checkpoint_is_the_size_of_the_module() -> None:
    classifier = load("torchvision/efficientnet_b1", weights=None)
    assert classifier.size == classifier.preprocess(PICTURE).shape[-1] == 240


@pytest.mark.parametrize("name", ["torchvision/googlenet", "torchvision/inception_v3"])
def test_auxiliary_heads_do_not_warn(name: str) -> None:
    load(name, weights=None)  # warnings are errors


def test_timm() -> None:
    pytest.importorskip("timm", reason="the package timm is not installed")
    classifier = load("timm/test_resnet", weights=None)
    assert classifier.size == classifier.preprocess(PICTURE).shape[-1] == 160
    assert classifier.labels is not None
    assert classifier.labels[1] == "goldfish"


def test_hugging_face_folder(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the package transformers is not installed")
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], id2label={0: "cat", 1: "dog", 2: "owl"}
    )
    transformers.ResNetForImageClassification(config).save_pretrained(tmp_path)
    transformers.ViTImageProcessor(
        size={"height": 48, "width": 48}, image_mean=[0.4] * 3, image_std=[0.3] * 3
    ).save_pretrained(tmp_path)
    classifier = load(f"hf/{tmp_path}")
    assert classifier.labels == ["cat", "dog", "owl"]
    assert (classifier.mean, classifier.std, classifier.size) == ((0.4,) * 3, (0.3,) * 3, 48)
    x = classifier.preprocess(PICTURE)[None]
    assert x.shape == (1, 3, 48, 48)
    assert len(load(f"hf/{tmp_path}", weights=None).labels or []) == 3
    again = load(save(classifier, tmp_path / "saved"))  # the folder's settings travel in the file
    assert again.labels == classifier.labels
    torch.testing.assert_close(again.preprocess(PICTURE), x[0])
    same_map(classifier, again, x)


def test_hugging_face_without_a_head_is_refused(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the package transformers is not installed")
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    transformers.ResNetModel(config).save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModel, match="random"):
        load(f"hf/{tmp_path}")


def test_demo() -> None:
    classifier = load("demo/resnet")
    assert classifier.labels is not None
    assert len(classifier.labels) == 10
    assert classifier.preprocess(PICTURE).shape == (3, 128, 128)
    assert available("demo")["demo"] == ["resnet", "vgg", "vit", "hans"]


def test_available() -> None:
    assert "resnet50" in available("torchvision")["torchvision"]
    assert "fcn_resnet50" not in available("torchvision")["torchvision"]
    with pytest.raises(UnknownModel, match="torchvision"):
        available("torchvison")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision/resnet81", "resnet18"),
        ("torchvison/resnet18", "torchvision"),
        ("resnet18", "torchvision/resnet18"),
        ("timm/convnext_ato", "convnext_atto"),
        ("demo/resnt", "resnet"),
        ("hf/no-such-thing", "hf/ORG/NAME"),
        ("hf//no/such/folder", "save_pretrained"),
        ("./nothing.pt2", "there is no file"),
    ],
)
def test_unknown_names_name_the_nearest(name: str, message: str) -> None:
    if name.startswith(("timm", "hf")):
        pytest.importorskip("timm", reason="the package timm is not installed")
    with pytest.raises(UnknownModel, match=message):
        load(name, weights=None)


def test_a_folder_is_called_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("runs", "runs/best"):
        Path(name).mkdir()
        with pytest.raises(UnknownModel, match=rf"^{name} is a folder, not a file; .* or hf/.*/{name} if save_pretr"):
            load(name)


def test_unknown_weights() -> None:
    with pytest.raises(InvalidOption, match="IMAGENET1K_V1"):
        load("torchvision/resnet18", weights="IMAGENET1K_V7")


# -- weights ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [torch.save, lambda state, path: save_file(state, path)])
@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1"])
def test_weights_from_a_file_with_other_classes(
    name: str, write: Callable[[object, Path], None], tmp_path: Path
) -> None:
    from torchvision import models

    source = models.get_model(name, num_classes=7)
    path = tmp_path / ("w.pth" if write is torch.save else "w.safetensors")
    write(source.state_dict(), path)
    classifier = load(f"torchvision/{name}", weights=path)
    assert classifier.labels is None
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(classifier(x), source.eval()(x))


def test_weights_of_training_scripts(tmp_path: Path) -> None:
    from torchvision import models

    state = models.resnet18(num_classes=3).state_dict()
    path = tmp_path / "checkpoint.ckpt"
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3}, path)
    assert load("torchvision/resnet18", weights=path)(torch.zeros(1, 3, 64, 64)).shape == (1, 3)
    with pytest.raises(UnsupportedModel, match=r"load\('torchvision/NAME', weights="):
        load(path)


def test_weights_of_another_model(tmp_path: Path) -> None:
    from torchvision import models

    path = tmp_path / "w.pt"
    torch.save(models.resnet18().state_dict(), path)
    with pytest.raises(UnsupportedModel, match="do not fit"):
        load("torchvision/resnet50", weights=path)
    with pytest.raises(WeightsUnavailable, match="there is no file"):
        load("torchvision/resnet50", weights=tmp_path / "other.pt")


@pytest.mark.parametrize("name", ["torchvision/resnet18", "timm/resnet18", "hf/some-org/some-model"])
@pytest.mark.parametrize("offline", [False, True])
def test_without_network(
    name: str, offline: bool, no_network: Path, refused: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not name.startswith("torchvision"):
        pytest.importorskip("timm", reason="the package timm is not installed")
        constants = pytest.importorskip(
            "huggingface_hub", reason="the package huggingface_hub is not installed"
        ).constants
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(no_network))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    with pytest.raises(WeightsUnavailable, match=r"weights=PATH.*weights=None") as caught:
        load(name)
    assert len(refused) == (0 if offline and "torchvision" not in name else 1)  # no minutes of trying again
    assert str(no_network) in str(caught.value)


def test_a_host_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from limelight.zoo.network import require_host

    give_up, given_up = threading.Event(), threading.Event()

    def slow(*_: object, **__: object) -> None:
        give_up.wait(60)
        given_up.set()
        raise OSError("timed out")

    monkeypatch.setattr("socket.create_connection", slow)
    with pytest.raises(WeightsUnavailable):
        require_host("https://localhost/x", "a model", "somewhere", patience=0.1)
    assert not given_up.is_set()
    give_up.set()
    assert given_up.wait(60)


def test_weights_in_the_cache_need_no_network(no_network: Path) -> None:
    from torchvision import models

    url = models.get_weight("SqueezeNet1_1_Weights.IMAGENET1K_V1").url
    file = no_network / "hub" / "checkpoints" / url.rpartition("/")[2]
    file.parent.mkdir(parents=True)
    torch.save(models.squeezenet1_1().state_dict(), file)
    assert load("torchvision/squeezenet1_1").labels is not None


# -- files --------------------------------------------------------------------------------------------------


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
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()[HEADER]) | wrong
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # is no dict
    save_file(state, path, {HEADER: json.dumps(about)})
    with pytest.raises(UnsupportedModel, match=f"a.safetensors is damaged, .*{next(iter(wrong))}"):
        load(path)


def test_layers_of_an_exported_program_are_found(tmp_path: Path) -> None:
    torch.manual_seed(0)
    classifier = Classifier(nn.Sequential(Net(), nn.Softmax(1)), size=32)
    again = load(save(classifier, tmp_path / "net.pt2"), trust=True)
    assert again.stages == classifier.stages == ["0.features.2", "0.features"]
    same_map(classifier, again, torch.randn(2, 3, 32, 32))


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


def test_code_of_a_repository_needs_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transformers = pytest.importorskip("transformers", reason="the package transformers is not installed")
    transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]).save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    settings |= {
        "model_type": "mine",
        "auto_map": {"AutoConfig": "code.Mine", "AutoModelForImageClassification": "code.Net"},
    }
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "code.py").write_text(
        f"__import__('pathlib').Path({str(tmp_path / 'ran')!r}).touch()\nraise ValueError('code ran')\n"
    )
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # what transformers would ask of whoever sits there
    with pytest.raises(UnsupportedModel, match=r"code that it brings \(code\.Net\).*trust=True"):
        load(f"hf/{tmp_path}", weights=None)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(UnsupportedModel):
        load(f"hf/{tmp_path}", weights=None, trust=True)
    assert (tmp_path / "ran").exists()


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
    ("name", "weights", "free"),
    [
        ("demo/resnet", "DEFAULT", True),
        ("torchvision/resnet18", None, True),
        ("hf/org/name", "DEFAULT", True),
        ("hf//abs/folder", "DEFAULT", False),
        ("hf/./x", "DEFAULT", False),
        ("hf/../x", None, False),
        ("hf/~/x", "DEFAULT", False),
        ("hf/~user/x", "DEFAULT", False),
        ("demo/resnet", "w.pth", False),
        ("torchvision/../x.pt2", "a/b.safetensors", False),
        ("x.pt2", "DEFAULT", False),
        ("./demo/resnet", "DEFAULT", False),
        ("demo", "DEFAULT", False),
    ],
)
def test_names_of_a_zoo_need_no_trust(name: str, weights: str | None, free: bool) -> None:
    assert zoo.needs_no_trust(name, weights) is free


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


def test_names_are_public() -> None:
    assert set(zoo.__all__) == {"available", "load", "needs_no_trust", "save"}
