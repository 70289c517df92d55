"""Loading classifiers by name, and the errors on the way."""

import json
from pathlib import Path

import pytest
import torch

from limelight import zoo
from limelight.errors import InvalidOption, UnknownModel, UnsupportedModel
from limelight.zoo import available, load, save
from same import PICTURE, same_map


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
        with pytest.raises(UnknownModel, match=rf"^{name} is a folder without config.json, which"):
            load(name)


def test_unknown_weights() -> None:
    with pytest.raises(InvalidOption, match="IMAGENET1K_V1"):
        load("torchvision/resnet18", weights="IMAGENET1K_V7")


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


def test_names_are_public() -> None:
    assert set(zoo.__all__) == {"available", "is_file_name", "load", "needs_no_trust", "save"}
