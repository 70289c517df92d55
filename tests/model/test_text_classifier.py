"""Texts as classes of a pair of towers, which are any two functions."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import limelight as ll
from conftest import npz, script, shared
from limelight.errors import InvalidOption, LimelightError, NonFinite, UnknownTarget, UnsupportedModel

CHOICE = ["a", "b", "c"]


class Tower(nn.Sequential):
    """A picture's vector: the mean of a convolution's maps."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def vectors(texts: list[str]) -> Tensor:
    """A text's vector, of its letters."""
    return torch.tensor([[len(t), t.count("a"), t.count("b"), 1.0 + t.count(" ")] for t in texts])


def make(texts: Any = ("a", "bb"), tower: Any = vectors, image: Any = None, **options: Any) -> ll.TextClassifier:
    return ll.TextClassifier(image or Tower(), tower, texts, size=16, **options)


def test_clip_of_the_golden_similarities() -> None:
    """The authors' cosines; the image tower is a method of the network that has both."""
    arrays, module = npz("golden", "inputs_vit.npz"), script(shared("golden", "models_vit.py"))
    net = module.load("tinyclip", shared("golden", "models_vit.npz"))
    tokens = torch.from_numpy(arrays["tokens"])
    before = {name: (p, p.detach().clone()) for name, p in net.named_parameters()}
    net.train()
    classifier = ll.TextClassifier(
        net.encode_image,
        lambda texts: net.encode_text(tokens[[CHOICE.index(text) for text in texts]]),
        CHOICE,
        mean=module.MEAN,
        std=module.STD,
        size=64,
    )
    x = module.preprocess(arrays["u8"])
    np.testing.assert_allclose(classifier(x).numpy() / 100, arrays["clip_similarity"], atol=1e-5)
    two = classifier.with_texts(["c", "a"])
    np.testing.assert_allclose(two(x).numpy() / 100, arrays["clip_similarity"][:, [2, 0]], atol=1e-5)
    (layer,) = classifier.layers(None, x[:1])
    assert layer.name.startswith("image.visual.transformer.resblocks.3.")
    assert ll.explain(classifier, x[:1], "grad-cam", "b")[0].label == "b"
    assert net.training
    for name, p in net.named_parameters():
        assert p is before[name][0]
        assert p.grad is None
        assert torch.equal(p, before[name][1])


def test_score_of_templates_is_the_cosine_with_their_mean_direction() -> None:
    tower = Tower()
    classifier = make(["ab", "b a"], image=tower, templates=["{}", "a {} b"], scale=7.0, bias=-2.0)
    u = [v / v.norm() for v in vectors(["ab", "a ab b", "b a", "a b a b"]).double()]
    t = torch.stack([(u[0] + u[1]) / (u[0] + u[1]).norm(), (u[2] + u[3]) / (u[2] + u[3]).norm()])
    x = torch.rand(2, 3, 16, 16)
    f = tower(x).double()
    torch.testing.assert_close(
        classifier(x).double(), 7 * (f / f.norm(dim=1, keepdim=True)) @ t.T - 2, atol=1e-5, rtol=0
    )
    assert classifier.labels == ["ab", "b a"]
    assert classifier.outputs.multilabel  # as with SigLIP, whose scores have a bias
    assert not make(bias=-2.0, multilabel=False).outputs.multilabel


def test_texts_are_embedded_once() -> None:
    calls: list[list[str]] = []

    def counted(texts: list[str]) -> Tensor:
        calls.append(texts)
        return vectors(texts)

    classifier = make(tower=counted)
    ll.explain(classifier, torch.rand(1, 3, 16, 16), "rise", "bb", n_masks=4)
    assert calls == [["a", "bb"]]
    assert dict(classifier.module.named_buffers()).keys() == {"texts", "scale", "bias"}
    assert classifier.with_texts(["ab", "b"], ["the {}"]).labels == ["ab", "b"]
    assert calls[1:] == [["the ab", "the b"]]
    many = [f"a{i}" for i in range(600)]
    assert make(many, counted)(torch.rand(1, 3, 16, 16)).shape == (1, 600)
    assert [len(call) for call in calls[2:]] == [256, 256, 88]


def test_a_tower_of_texts_is_asked_in_evaluation_mode() -> None:
    tower = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.9))
    tower.forward = lambda texts: tower[1](tower[0](vectors(texts)))  # type: ignore[method-assign]
    first, second = (make(tower=tower).module.get_buffer("texts") for _ in range(2))
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert tower.training


def test_one_text_is_told_from_its_opposite_by_a_sigmoid() -> None:
    classifier, x = make(["ab"], scale=3.0, bias=0.5), torch.rand(1, 3, 16, 16)
    assert classifier.labels == ["not ab", "ab"]
    z = classifier.module(x)
    torch.testing.assert_close(classifier(x).softmax(1)[0, 1], z.sigmoid()[0, 0])
    with pytest.raises(InvalidOption, match="softmax over one is always 1"):
        make(["ab"])


def test_a_target_that_is_no_text_names_the_texts() -> None:
    with pytest.raises(UnknownTarget, match=r"no class 'a bird' among 2.*'a', 'bb'"):
        ll.explain(make(), torch.rand(1, 3, 16, 16), "grad-cam", "a bird")


def test_half_precision() -> None:
    classifier = make(image=Tower().bfloat16())
    assert classifier(torch.rand(1, 3, 16, 16)).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"texts": "a cat"}, InvalidOption, "texts is 'a cat'; give a list"),
        ({"texts": []}, InvalidOption, "texts has nothing in it"),
        ({"texts": ["a", " "]}, InvalidOption, "' '"),
        ({"texts": ["a", 3]}, InvalidOption, "3"),
        ({"texts": ["a", "b", "a"]}, InvalidOption, "'a' is there twice"),
        ({"templates": ["a photo"]}, InvalidOption, "'a photo' has no {}"),
        ({"templates": ["a {}"], "tower": torch.eye(2, 4)}, InvalidOption, "templates need a text tower"),
        ({"tower": torch.eye(3, 4)}, UnsupportedModel, r"a tensor \(3, 4\) for 2 texts"),
        ({"tower": lambda texts: texts}, UnsupportedModel, "a vector for each"),
        ({"tower": lambda texts: 0 * vectors(texts)}, NonFinite, "length 0 for 'a'"),
        ({"tower": lambda texts: vectors(texts) / 0}, NonFinite, "for 'a'"),
        ({"image": lambda x: x.mean((2, 3))}, UnsupportedModel, "a function; give a torch.nn.Module"),
    ],
)
def test_refused(options: dict[str, Any], error: type[LimelightError], message: str) -> None:
    with pytest.raises(error, match=message):
        make(**options)


def test_vectors_of_two_lengths_are_told() -> None:
    with pytest.raises(UnsupportedModel, match=r"image tower gives \(1, 4\).*texts are \(2, 5\)"):
        make(tower=torch.eye(2, 5))(torch.rand(1, 3, 16, 16))


def test_vectors_in_place_of_a_tower() -> None:
    ready, x = make(tower=vectors(["a", "bb"])), torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(ready(x), make(image=ready.module.get_submodule("image"))(x))
    with pytest.raises(UnsupportedModel, match="no text tower to embed others"):
        ready.with_texts(["c", "d"])


def test_several_things_of_a_tower() -> None:
    """Of several the first is the vector, as of towers that also return their tokens."""

    class Both(Tower):
        def forward(self, x: Tensor) -> Any:
            return F.normalize(super().forward(x)), x

    tower = Both()
    plain = make(image=nn.Sequential(*tower))
    x = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(make(image=tower)(x), plain(x))
