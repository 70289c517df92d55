"""Methods of the attention family against the programs of their authors, through the fused kernel and without it."""

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import limelight as ll
from conftest import npz, script, shared
from limelight import ops
from limelight.errors import UnknownTarget, UnsupportedModel

TOLERANCE = 1e-6  # of the largest value, in float64; what is stored is in float32


@cache
def arrays(name: str) -> Any:
    return npz("golden", f"vit-{name}.npz")


@cache
def net(name: str, fused: bool = False) -> nn.Module:
    models = script(shared("golden", "models_vit.py"))
    module = models.load(name, shared("golden", "models_vit.npz"), torch.float64)
    return models.set_fused(module, fused)


@cache
def inputs() -> tuple[Tensor, dict[str, Tensor]]:
    given = npz("golden", "inputs_vit.npz")
    x = script(shared("golden", "models_vit.py")).preprocess(given["u8"], torch.float64)
    return x, {name: torch.from_numpy(given[name]).long() for name in ("target", "second", "tokens")}


class Asked(nn.Module):
    """An image tower, asked about texts: cosines, maybe scaled."""

    def __init__(self, tower: nn.Module, texts: Tensor, scale: float = 1.0) -> None:
        super().__init__()
        self.tower, self.scale = tower, scale
        self.register_buffer("texts", texts)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * F.normalize(self.tower(x), dim=-1) @ self.texts.T


def clip(scaled: bool = False) -> ll.Classifier:
    both = net("tinyclip")
    texts = F.normalize(both.encode_text(inputs()[1]["tokens"]), dim=-1).detach()
    return ll.Classifier(Asked(both.visual, texts, both.logit_scale.exp().item() if scaled else 1.0).eval(), size=64)


def assert_equal(raw: Tensor, expected: Any) -> None:
    expected = torch.as_tensor(expected).to(raw)
    torch.testing.assert_close(raw / expected.abs().max(), expected / expected.abs().max(), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("fused", [False, True])
def test_on_a_classifier(fused: bool) -> None:
    c, (x, classes) = ll.Classifier(net("tinyvit", fused), size=64), inputs()

    def raw(name: str, which: str = "target", **options: Any) -> Tensor:
        return ll.method(name, **options).raw(c, x, classes[which])

    assert_equal(raw("raw-attention"), arrays("raw_attention-tinyvit")["last_mean"])
    rollout = arrays("rollout-tinyvit")
    assert_equal(raw("attention-rollout"), rollout["cls_to_patches"])
    assert_equal(raw("attention-rollout", start_layer=2), rollout["chefer_rollout_start2"])
    for which in ("target", "second"):
        assert_equal(raw("generic-attention", which), arrays("chefer_generic-tinyvit")[f"cls_to_patches_{which}"])
        legrad = arrays("legrad-tinyvit")
        assert_equal(raw("legrad", which), legrad[f"all_{which}"])
        assert_equal(raw("legrad", which, start_layer=-2), legrad[f"last2_{which}"])
        own = legrad[f"own_cls_readout_per_block_{which}"]
        assert_equal(raw("legrad", which, readout="own"), own.mean(1))


def test_rollout_of_vit_explain() -> None:
    """Its program divides each map by its largest value."""
    c, (x, _) = ll.Classifier(net("tinyvit"), size=64), inputs()
    given = arrays("rollout_vitexplain-tinyvit")
    for name in given.files:
        heads, _, share = name.partition("_discard")
        raw = ll.method("attention-rollout", profile="vit-explain", heads=heads, discard=float(share)).raw(c, x)
        assert_equal(raw / raw.amax((1, 2), keepdim=True), given[name])


@pytest.mark.parametrize("text", range(2))
def test_on_clip(text: int) -> None:
    x = inputs()[0]
    for name, options, scaled, (file, array) in [
        ("generic-attention", {"profile": "clip-notebook"}, True, ("chefer_generic_clip", "image_last1")),
        ("generic-attention", {}, True, ("chefer_generic_clip", "image_all")),
        ("legrad", {"profile": "authors"}, False, ("legrad_clip", "sum_last2")),
        ("legrad", {"reduce": "sum"}, False, ("legrad_clip", "sum_all")),
        ("grad-eclip", {}, False, ("grad_eclip", "own_multi_head")),
        ("grad-eclip", {"profile": "authors"}, False, ("grad_eclip", "notebook_last1")),
        ("grad-eclip", {"profile": "authors", "last": 2}, False, ("grad_eclip", "notebook_last2")),
        ("grad-eclip", {"profile": "script"}, False, ("grad_eclip", "script")),
        ("grad-eclip", {"heads": "one", "similarity": False}, False, ("grad_eclip", "script_without_similarity")),
    ]:
        raw = ll.method(name, **options).raw(clip(scaled), x, text)
        assert_equal(raw, arrays(f"{file}-tinyclip")[array][:, text])


def test_on_a_head_that_pools_by_attention() -> None:
    texts = torch.from_numpy(npz("golden", "inputs_vit.npz")["map_text"]).double()
    c = ll.TextClassifier(net("tinymap"), texts, ["a finch", "a dog", "a photo of a"], scale=1.0, size=64)
    x, given = inputs()[0], arrays("legrad_siglip-tinymap")
    for text in range(2):
        assert_equal(ll.method("legrad", profile="authors").raw(c, x, text), given[f"sum_from2_text{text}"])
        assert_equal(ll.method("legrad", reduce="sum", norm=False).raw(c, x, text), given[f"sum_from0_text{text}"])
        corrected = ll.method("legrad", profile="authors", empty="a photo of a").raw(c, x, text)
        assert_equal(ops.min_max(corrected)[0], given[f"corrected_from2_text{text}"])  # theirs is scaled from 0 to 1
    first, empty = (ll.method("legrad", score="prob").raw(c, x[:1], text) for text in (0, 2))
    corrected = ll.method("legrad", score="prob", empty=2).raw(c, x[:1], 0)
    assert corrected.equal(first * (ops.min_max(empty)[0] <= 0.8))


def test_an_empty_text_is_one_of_the_texts() -> None:
    texts = ll.TextClassifier(net("tinyclip").visual, torch.eye(2, 32), ["a finch", "a dog"], size=64)
    for c, error, why in [
        (clip(), UnsupportedModel, "the classes of Asked are no texts; make it an ll.TextClassifier"),
        (texts, UnknownTarget, "no class 'a photo of a' among 2"),
    ]:
        with pytest.raises(error, match=why):
            ll.method("legrad", empty="a photo of a").raw(c, inputs()[0][:1].to(c.dtype), 0)


def test_tokens_beside_what_the_head_reads() -> None:
    """A tower that hands out its tokens too: the head reads those of another layer."""

    class Tower(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net("tinymap")

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            tokens = self.net.norm(self.net.blocks(self.net.patch_embed(x) + self.net.pos_embed))
            return tokens, tokens.mean(1)

    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tower = Tower()

        def forward(self, x: Tensor) -> Tensor:
            return self.tower(x)[1]

    c = ll.Classifier(Head().eval(), size=64)
    total = ll.method("attention-rollout").raw(c, inputs()[0][:1]).sum()
    torch.testing.assert_close(total, torch.ones((), dtype=torch.float64))
