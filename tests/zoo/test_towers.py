"""Pairs of towers, of pictures and of texts, from zoos: CLIP, SigLIP and OpenCLIP."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import limelight as ll
from limelight import cli
from limelight.cli.options import Loading
from limelight.errors import InvalidOption, MissingExtra, UnknownModel, UnsupportedModel, WeightsUnavailable
from limelight.model.text_classifier import features_of
from limelight.zoo import load, save
from quick import quick
from same import PICTURE, same_map
from tiny_towers import LENGTH
from tiny_towers import save as save_tiny

TEXTS = ["a photo of a cat", "a dog", "red circle"]


@pytest.fixture(scope="module", params=["clip", "siglip"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Any]:
    pytest.importorskip("transformers", reason="the package transformers is not installed")
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, str(folder), save_tiny(request.param, folder)


def own_scores(folder: str, model: Any, texts: list[str]) -> torch.Tensor:
    """The model's own answer to the inputs of its own processor."""
    import transformers

    processor = (
        transformers.AutoTokenizer.from_pretrained(folder),
        transformers.AutoImageProcessor.from_pretrained(folder),
    )
    filled = {"padding": "max_length", "max_length": LENGTH}
    inputs = processor[0](texts, return_tensors="pt", return_token_type_ids=False, **filled)
    inputs = {**inputs, **processor[1](PICTURE, return_tensors="pt")}
    with torch.no_grad():
        return model(**inputs).logits_per_image


def test_scores_are_the_models_own(pair: tuple[str, str, Any]) -> None:
    kind, folder, model = pair
    classifier = load(folder, texts=TEXTS)
    assert isinstance(classifier, ll.TextClassifier)
    x = classifier.preprocess(PICTURE)[None]
    theirs = own_scores(folder, model, TEXTS)
    torch.testing.assert_close(classifier(x), theirs, atol=1e-4, rtol=1e-5)
    assert classifier.labels == TEXTS
    prob = classifier.outputs.score(classifier(x), torch.tensor([1]), "prob")
    torch.testing.assert_close(
        prob, (theirs.softmax(1) if kind == "clip" else theirs.sigmoid())[:, 1], atol=1e-5, rtol=0
    )
    assert classifier.mean == pytest.approx((0.5,) * 3 if kind == "siglip" else (0.48145466, 0.4578275, 0.40821073))
    assert not any(name.startswith(("image.text", "image.logit")) for name in classifier.module.state_dict())
    other = classifier.with_texts(["cat", "red dog"])
    torch.testing.assert_close(other(x), own_scores(folder, model, ["cat", "red dog"]), atol=1e-4, rtol=1e-5)


def test_it_is_explained_as_any_other(pair: tuple[str, str, Any]) -> None:
    """Grad-CAM of the last block by hand, on the model itself; and the start of deletion's curve."""
    kind, folder, model = pair
    classifier = load(folder, texts=TEXTS)
    x = classifier.preprocess(PICTURE)[None]
    (layer,) = classifier.layers(None, x)
    last = {"clip": "vision_model.encoder.layers.2.layer_norm1", "siglip": "vision_model.post_layernorm"}[kind]
    assert layer.name == f"image.{last}"
    kept: list[torch.Tensor] = []
    handle = model.get_submodule(last).register_forward_hook(lambda _m, _x, y: kept.append(y))
    features = features_of(model.get_image_features(x))
    handle.remove()
    text = classifier.module.get_buffer("texts")[1]
    score = (features @ text / features.norm()).sum() * model.logit_scale.exp()
    (g,) = torch.autograd.grad(score, kept[0])
    a, g = (t[0, -16:].detach() for t in (kept[0], g))  # 16 patches, behind the class token where there is one
    explained = ll.method("grad-cam").run(classifier, x, "a dog")
    torch.testing.assert_close(explained.raw[0].flatten(), (a * g.mean(0)).sum(1), atol=1e-4, rtol=1e-4)
    assert ll.explain(classifier, PICTURE, quick("rise"), "red circle").map.shape == (32, 32)
    judged = ll.metric("deletion", step=256, fill="zero").measure(classifier, x, "a dog", explained.map)
    assert judged.curve is not None
    with torch.no_grad():
        ends = classifier.module(torch.cat([x, torch.zeros_like(x)]))
    ends = (ends.softmax(1) if kind == "clip" else ends.sigmoid())[:, 1]
    torch.testing.assert_close(judged.curve[0, [0, -1]], ends, atol=1e-5, rtol=0)


def test_saved_without_its_text_tower(pair: tuple[str, str, Any], tmp_path: Path) -> None:
    _, folder, _ = pair
    classifier = load(folder, texts=["cat", "dog"], templates=["a photo of a {}", "a drawing of a {}"])
    path = save(classifier, tmp_path / "saved")
    again = load(path)
    x = classifier.preprocess(PICTURE)[None]
    assert again.labels == ["cat", "dog"]
    assert again.outputs == classifier.outputs
    torch.testing.assert_close(again(again.preprocess(PICTURE)[None]), classifier(x))
    same_map(classifier, again, x)
    assert load(f"hf/{folder}", weights=path).labels == ["cat", "dog"]
    for name, weights in ((path, "DEFAULT"), (f"hf/{folder}", path)):
        with pytest.raises(InvalidOption, match="has no text tower"):
            load(name, weights=weights, texts=["a", "b"])
    with pytest.raises(UnsupportedModel, match="no text tower"):
        again.with_texts(["a", "b"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("pair", ["siglip"], indirect=True)
def test_random_weights_and_a_file_of_them(pair: tuple[str, str, Any], tmp_path: Path) -> None:
    _, folder, model = pair
    assert load(folder, texts=TEXTS, weights=None).classes() == 3
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    classifier = load(folder, texts=TEXTS, weights=tmp_path / "weights.pt")
    x = classifier.preprocess(PICTURE)[None]
    torch.testing.assert_close(classifier(x), load(folder, texts=TEXTS)(x))


@pytest.mark.parametrize("pair", ["clip"], indirect=True)
def test_texts_where_they_belong(pair: tuple[str, str, Any]) -> None:
    _, folder, _ = pair
    with pytest.raises(InvalidOption, match=r"pair of towers.*texts="):
        load(folder)
    with pytest.raises(InvalidOption, match=f"too long; the text tower reads {LENGTH} tokens"):
        load(folder, texts=["a dog", "a cat " * LENGTH])
    with pytest.raises(InvalidOption, match="texts is None"):
        load(folder, templates=["a {}"])
    with pytest.raises(InvalidOption, match="demo/resnet has no text tower"):
        load("demo/resnet", texts=TEXTS)
    with pytest.raises(InvalidOption, match=r"scores of .* are logits"):
        load(folder, texts=TEXTS, outputs="probabilities")


def test_a_classifier_without_text_tower_takes_no_texts(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the package transformers is not installed")
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1])
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    with pytest.raises(UnknownModel, match="is a resnet, for which transformers has no pair of towers"):
        load(tmp_path, texts=TEXTS)


def test_options_of_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "texts").write_text("a dog, red\na cat\n")
    given = Loading(texts=str(tmp_path / "texts"), templates="a {}, the {}").given
    assert given == {"texts": ["a dog, red", "a cat"], "templates": ["a {}", "the {}"]}
    assert Loading(texts="a cat").given == {"texts": ["a cat"]}


@pytest.mark.slow
@pytest.mark.parametrize("pair", ["clip"], indirect=True)
def test_command_line(pair: tuple[str, str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, folder, _ = pair
    PICTURE.save(tmp_path / "photo.png")
    (tmp_path / "texts.txt").write_text("dog, red\ncat\n")
    shared = ("explain", f"{tmp_path}/photo.png", "--model", folder, "--out", f"{tmp_path}/out.png", "--json")
    asked = (
        ("--texts", "a cat, red circle", "--target", "red circle"),
        ("--texts", f"{tmp_path}/texts.txt", "--target", "cat"),
    )
    for more, label in zip(asked, ("red circle", "cat"), strict=True):
        with pytest.raises(SystemExit) as done:
            cli.main([*shared, *more, "--templates", "a photo of a {}"])
        assert not done.value.code
        assert json.loads(capsys.readouterr().out)[0]["label"] == label
    for more, message in (((), "--texts"), (("--texts", "a cat,a dog", "--target", "a bird"), "'a cat', 'a dog'")):
        with pytest.raises(SystemExit) as done:
            cli.main([*shared, *more])
        assert done.value.code
        assert message in " ".join(capsys.readouterr().err.split())


TINY = {
    "embed_dim": 8,
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}
IMAGE_TOWERS = {
    "tiny-vit": {"image_size": 32, "layers": 2, "width": 16, "patch_size": 8, "head_width": 8},
    "tiny-resnet": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "last"), [("tiny-vit", "transformer.resblocks.1."), ("tiny-resnet", "layer4")])
def test_open_clip(name: str, last: str, tmp_path: Path) -> None:
    open_clip = pytest.importorskip("open_clip", reason="the package open_clip_torch is not installed")
    (tmp_path / f"{name}.json").write_text(json.dumps(TINY | {"vision_cfg": IMAGE_TOWERS[name]}))
    open_clip.add_model_config(tmp_path)
    model = open_clip.create_model(name).eval()
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    classifier = load(f"open_clip/{name}", weights=tmp_path / "weights.pt", texts=TEXTS)
    x = classifier.preprocess(PICTURE)[None]
    with torch.no_grad():
        image, text, scale = model(x, open_clip.get_tokenizer(name)(TEXTS))
    torch.testing.assert_close(classifier(x), scale * image @ text.T, atol=1e-4, rtol=1e-5)
    assert classifier.mean == pytest.approx(open_clip.OPENAI_DATASET_MEAN)
    (layer,) = classifier.layers(None, x)
    assert layer.name.startswith(f"image.{last}")
    same_map(classifier, load(save(classifier, tmp_path / "saved")), x)
    for method in ("rise", "occlusion"):
        assert ll.explain(classifier, PICTURE, quick(method), "a dog").map.isfinite().all()
    with pytest.raises(InvalidOption, match="pair of towers"):
        load(f"open_clip/{name}")
    with pytest.raises(InvalidOption, match="too long; the text tower reads 12 tokens"):
        load(f"open_clip/{name}", weights=None, texts=["a dog " * 12, "a cat"])
    with pytest.raises(InvalidOption, match="no weights 'laion'"):
        load(f"open_clip/{name}", weights="laion", texts=TEXTS)


def test_open_clip_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(MissingExtra, match=r"open_clip_torch is not installed.*limelight\[clip\]"):
        load("open_clip/ViT-B-32", texts=TEXTS)


@pytest.mark.slow
def test_open_clip_without_a_network(no_network: Path) -> None:
    pytest.importorskip("open_clip", reason="the package open_clip_torch is not installed")
    with pytest.raises(WeightsUnavailable, match=r"weights of open_clip/ViT-B-32.*open_clip_model\.safetensors"):
        load("open_clip/ViT-B-32", weights="laion2b_s34b_b79k", texts=TEXTS)
    with pytest.raises(UnknownModel, match="ViT-B-32"):
        load("open_clip/ViT-B-33", texts=TEXTS)
