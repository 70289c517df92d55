"""What the page is told, against direct calls of the library."""

import base64
import io
import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

import limelight as ll
from limelight import cli
from limelight.errors import (
    InvalidImage,
    InvalidOption,
    LimelightError,
    NonFinite,
    UnknownLayer,
    UnknownModel,
    UnsupportedModel,
)
from limelight.measures.randomisation.sanity import layer_order
from limelight.ops.impute import impute
from limelight.web.studio import FUNCTIONS, Studio
from limelight.web.studio.hiding import inpaint

SIDE = 128


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures")
    for i in range(3):
        ll.example_image(i).save(path / f"scene-{i}.png")
    ll.example_image(2, watermark=True).save(path / "scene-2-watermark.png")
    ll.example_image(4).rotate(90).save(path / "photo.png")
    (path / "broken.png").write_bytes(b"no picture")
    return path


@pytest.fixture(scope="module")
def studio(folder: Path) -> Studio:
    paths = {path.stem.removeprefix("scene-"): path for path in folder.iterdir()}
    return Studio(["demo/resnet", "demo/vit"], paths.__getitem__)


def ask(studio: Studio, function: str, **request: Any) -> Any:
    """Return the result, which must be plain JSON, and the last event."""
    events = list(FUNCTIONS[function](studio, {"model": "demo/resnet", "picture": "1"} | request))
    json.dumps(events, allow_nan=False)
    assert [kind for kind, _ in events if kind == "result"] == ["result"] == [events[-1][0]]
    return events[-1][1]


def values(told: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Read a map as the page does."""
    data = np.frombuffer(base64.b64decode(told["data"]), "<f2").astype(np.float64)
    return (data * told["scale"]).reshape(told["shape"])


def same(told: Mapping[str, Any], raw: torch.Tensor) -> bool:
    """Whether a map is the given one, but for half precision."""
    wanted = raw.double().numpy()
    assert told["low"] <= told["high"]
    return bool(np.abs(values(told) - wanted).max() <= np.abs(wanted).max() * 2**-11)


def painted(rows: slice | None) -> str:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    if rows is not None:
        mask[rows] = 255
    return base64.b64encode(mask.tobytes()).decode()


# -- what there is -----------------------------------------------------------------------------------------


def test_start(studio: Studio) -> None:
    told = ask(studio, "start")
    resnet, vit = told["models"]
    assert (resnet["attention"], vit["attention"]) == (False, True)
    assert resnet["layers"] == ["layer1", "layer2", "layer3", "layer4"]
    assert (resnet["size"], resnet["classes"], resnet["labels"][3]) == ([SIDE, SIDE], 10, "star")
    assert 0 < resnet["seconds_per_pass"] < 1
    assert [m["name"] for m in told["methods"]] == list(ll.methods())
    by_name = {m["name"]: m for m in told["methods"]}
    assert [by_name[n]["signed"] for n in ("grad-cam", "attention-rollout", "lrp")] == [True, False, True]
    assert [by_name[n]["cheap"] for n in ("grad-cam", "rise")] == [True, False]
    assert "pointing-game" not in {m["name"] for m in told["metrics"]} >= {"adcc", "insertion"}


def test_classify(studio: Studio) -> None:
    classifier = ll.load("demo/resnet")
    logits = classifier(classifier.preprocess(ll.example_image(1))[None])
    told = ask(studio, "classify", top=3)
    assert [c["index"] for c in told["classes"]] == logits[0].topk(3).indices.tolist()
    assert [c["probability"] for c in told["classes"]] == pytest.approx(logits.softmax(1)[0].topk(3).values.tolist())
    assert [c["score"] for c in told["classes"]] == pytest.approx(logits[0].topk(3).values.tolist())
    assert {c["label"] for c in ask(studio, "classify", find="CR")["classes"]} == {"cross", "crescent"}


def test_shown(studio: Studio) -> None:
    told = ask(studio, "shown")
    picture = Image.open(io.BytesIO(base64.b64decode(told["data"])))
    assert np.abs(np.asarray(picture, int) - np.asarray(ll.example_image(1), int)).max() <= 1


def test_prices(studio: Studio) -> None:
    prices = ask(studio, "prices")["prices"]
    assert prices["grad-cam"]["passes"] == 2
    assert prices["rise"]["seconds"] > 100 * prices["grad-cam"]["seconds"] > 0
    assert "legrad" not in prices
    assert "legrad" in ask(studio, "prices", model="demo/vit")["prices"]


# -- explanations ------------------------------------------------------------------------------------------

ASKED: list[dict[str, Any]] = [
    {"method": "grad-cam"},
    {"method": "layer-cam", "options": {"layer": "layer2", "gamma": 1.5, "fuse": None}},
    {"method": "grad-cam", "options": {"layer": "layer3, layer4", "fuse": "max"}, "target": {"class": 2}},
    {"method": "gradient", "options": {"reduce": "sum", "seed": 3}, "target": {"class": 1, "against": 4}},
    {"method": "hires-cam", "target": {"against": 4, "kind": "finer"}},
    {"method": "smooth-grad", "options": {"n": 2, "seed": 5}, "picture": "photo"},
    {"method": "integrated-gradients", "options": {"n": 2, "baseline": '["black", 0.5]'}},
    {"method": "lrp", "options": {"score": "prob"}, "picture": "2-watermark"},
    {"method": "generic-attention", "model": "demo/vit", "target": {"class": 3}},
]


@pytest.mark.parametrize("asked", ASKED, ids=lambda a: a["method"])
def test_python_makes_the_same_map(studio: Studio, asked: dict[str, Any]) -> None:
    told = ask(studio, "explain", **asked)
    namespace: dict[str, Any] = {}
    exec(told["python"], namespace)  # that is what it is for
    explanation = namespace["explanation"]
    kept = studio.kept[told["key"]].saliency
    assert torch.equal(explanation.raw, kept.raw[0])
    assert ("example_image" in told["python"]) == (asked.get("picture") != "photo")
    assert same(told["map"], explanation.raw)
    assert (told["label"], told["score"]) == (explanation.label, explanation.score)
    assert 0 <= told["probability"] <= 1


def test_code_loads_the_network_as_the_page_did(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    loading = {"weights": "DEFAULT", "device": None, "trust": False, "size": (64, 80), "labels": list("abcdefghij")}
    other = Studio(["demo/resnet"], {"0": folder / "scene-1.png"}.__getitem__, {**loading, "mean": (0.5, 0.4, 0.3)})
    told = ask(other, "explain", picture="0", method="grad-cam")
    names: dict[str, Any] = {}
    exec(told["python"], names)
    assert same(told["map"], names["explanation"].raw)
    assert names["explanation"].label == told["label"] in "abcdefghij"
    draw, _, command = told["command"].partition(" && ")
    exec(shlex.split(draw)[2], {})
    with pytest.raises(SystemExit):
        cli.main([*shlex.split(command)[1:], "--out", "map.npz"])
    assert ll.Explanation.load("map.npz").raw.equal(names["explanation"].raw)


COMMANDS: list[dict[str, Any]] = [
    {"method": "score-cam", "options": {"top": 4, "layer": "layer3", "over": "zero"}, "target": {"class": 1}},
    {"method": "gradient", "target": {"class": 1, "against": 4}},
    {"method": "hires-cam", "target": {"against": 4, "kind": "finer"}},
]


@pytest.mark.parametrize("asked", COMMANDS, ids=lambda a: a["method"])
def test_command_makes_the_same_map(
    studio: Studio, asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = ask(studio, "explain", **asked)
    draw, _, command = told["command"].partition(" && ")
    monkeypatch.chdir(tmp_path)
    exec(shlex.split(draw)[2], {})  # that is what it is for
    with pytest.raises(SystemExit) as done:
        cli.main([*shlex.split(command)[1:], "--out", "map.npz"])
    assert done.value.code == 0
    assert torch.equal(ll.Explanation.load("map.npz").raw, studio.kept[told["key"]].saliency.raw[0])


def test_only_drawn_scenes_are_called_so(studio: Studio, folder: Path) -> None:
    ll.example_image(2).rotate(90).save(folder / "scene-7.png")
    paths = Studio(["demo/resnet"], {"1": folder / "scene-7.png"}.__getitem__)
    assert "scene-7.png" in ask(paths, "explain", method="grad-cam")["python"]
    assert "'mine.png'" in ask(paths, "explain", method="grad-cam", name="mine.png")["python"]


def test_dear_methods_tell_what_they_have(studio: Studio) -> None:
    request = {"model": "demo/resnet", "picture": "1", "method": "rise", "options": {"n_masks": 80}}
    events = list(FUNCTIONS["explain"](studio, request))
    assert [kind for kind, _ in events] == ["progress", "partial", "partial", "result"]
    parts = [data for kind, data in events if kind != "progress"]
    assert [part["final"] for part in parts] == [False, False, True]
    assert sum(part["passes"] for part in parts[:-1]) < 0.35 * parts[-1]["passes"]
    budget = ll.explain("demo/resnet", ll.example_image(1), "rise", n_masks=80, budget="21 forwards")
    assert same(parts[1]["map"], budget.raw)
    again = list(FUNCTIONS["explain"](studio, request))
    assert [kind for kind, _ in again] == ["result"]
    assert again[0][1]["map"] == parts[2]["map"]


def test_forgotten_explanations_are_made_again(studio: Studio) -> None:
    told = ask(studio, "explain", method="grad-cam", target={"class": 6})
    again = {"method": "grad-cam", "target": {"class": 6}, "options": {}}
    first = ask(studio, "compare-hiding", explanation=told["key"], area=0.2)
    del studio.kept[told["key"]]
    assert ask(studio, "compare-hiding", explanation=told["key"], again=again, area=0.2) == first
    studio.kept.clear()
    with pytest.raises(InvalidOption, match="kept no longer"):
        ask(studio, "curves", explanation=told["key"])


# -- the brush ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fill", ["blur", "mean", "inpaint", "black"])
def test_hide_all_or_nothing(studio: Studio, fill: str) -> None:
    nothing = ask(studio, "hide", mask=painted(None), fill=fill)
    assert {k: nothing[k] for k in ("score", "probability")} == nothing["before"]
    assert ask(studio, "hide", mask=painted(slice(None)), mode="keep", fill=fill)["score"] == nothing["score"]
    classifier = ll.load("demo/resnet")
    x = classifier.preprocess(ll.example_image(1))[None]
    black, _ = classifier.bounds
    wanted = {"black": black.expand_as(x), "mean": x.mean((2, 3), keepdim=True).expand_as(x), "inpaint": 0 * x}
    everything = ask(studio, "hide", mask=painted(slice(None)), fill=fill)
    if fill in wanted:
        assert everything["score"] == pytest.approx(float(classifier(wanted[fill])[0, 3]), abs=1e-4)
    assert everything["score"] < nothing["score"] - 1
    assert {c["index"] for c in ask(studio, "classify")["classes"]} <= {c["index"] for c in everything["classes"]}


@pytest.mark.parametrize("at", [(slice(30, 60), slice(40, 50)), (slice(0, 20), slice(100, 128)), (slice(9, 9),) * 2])
def test_only_a_rectangle_is_inpainted(at: tuple[slice, slice]) -> None:
    x = torch.randn(1, 3, 128, 128).cumsum(2)
    hidden = torch.zeros(3, 128, 128, dtype=torch.bool)
    hidden[:, *at] = True
    hidden[1, 70, 70] = True
    hidden[2, ::40, ::30] = True
    x = x.expand(3, -1, -1, -1)
    torch.testing.assert_close(inpaint(x, hidden), impute(x, ~hidden), rtol=1e-5, atol=1e-4)


def test_hide_a_part_against_a_class(studio: Studio) -> None:
    told = ask(studio, "hide", mask=painted(slice(0, 40)), fill="black", target={"class": 3, "against": 1})
    classifier = ll.load("demo/resnet")
    x = classifier.preprocess(ll.example_image(1))[None]
    x[:, :, :40] = classifier.bounds[0]
    logits = classifier(x)[0]
    assert told["score"] == pytest.approx(float(logits[3] - logits[1]), abs=1e-4)
    assert told["probability"] == pytest.approx(float(logits.softmax(0)[3]), abs=1e-5)
    shown = Image.open(io.BytesIO(base64.b64decode(told["shown"].partition(",")[2])))
    assert not np.asarray(shown)[:40].any()
    assert np.asarray(shown)[40:].any()


def test_hide_what_the_map_says(studio: Studio) -> None:
    key = ask(studio, "explain", method="grad-cam")["key"]
    for area in (0.0, 1.0):
        told = ask(studio, "compare-hiding", explanation=key, area=area, fill="mean")
        whole = ask(studio, "hide", mask=painted(slice(None) if area else None), fill="mean")
        for part in (told["map"], told["random"]):
            assert part["score"] == pytest.approx(whole["score"], abs=1e-4)
    told = ask(studio, "compare-hiding", explanation=key, area=0.15)
    assert told["map"]["probability"] < told["random"]["low"] <= told["random"]["probability"] <= told["random"]["high"]


def test_curves(studio: Studio) -> None:
    told = ask(studio, "curves", explanation=ask(studio, "explain", method="grad-cam")["key"], fill="mean")
    ends = ask(studio, "hide", mask=painted(slice(None)), fill="mean")
    before, after = ends["before"]["probability"], ends["probability"]
    assert [told["deletion"][0], told["insertion"][-1]] == pytest.approx([before] * 2, abs=1e-5)
    assert [told["deletion"][-1], told["insertion"][0]] == pytest.approx([after] * 2, abs=1e-5)
    assert (told["steps"][0], told["steps"][-1], len(told["steps"])) == (0, 1, len(told["deletion"]))
    metric = ll.metric("deletion", fill="mean")
    results = ll.evaluate("demo/resnet", [ll.example_image(1)], ["grad-cam", "random-map"], metric)
    areas = [told["deletion_area"], told["random_deletion_area"]]
    assert areas == pytest.approx(results.values("deletion")[:, 0].tolist(), abs=1e-5)


# -- inside ------------------------------------------------------------------------------------------------


@pytest.fixture
def passes() -> Iterator[list[int]]:
    """How often the residual network's first layer ran."""
    count = [0]

    def see(module: nn.Module, _: Any) -> None:
        count[0] += isinstance(module, nn.Conv2d) and module.in_channels == 3

    hook = register_module_forward_pre_hook(see)
    yield count
    hook.remove()


def test_layers_share_a_pass(studio: Studio, passes: list[int]) -> None:
    ask(studio, "classify")
    passes[0] = 0
    told = ask(studio, "layers", method="hires-cam", target={"class": 2})["layers"]
    assert passes == [1]
    for layer in told:
        one = ll.explain("demo/resnet", ll.example_image(1), "hires-cam", 2, layer=layer["name"])
        assert np.abs(values(layer["map"]) - one.raw.numpy()).max() <= np.abs(one.raw.numpy()).max() * 1e-3
    with pytest.raises(InvalidOption, match="explains no layer"):
        ask(studio, "layers", method="rise")


def test_tokens(studio: Studio) -> None:
    told = ask(studio, "tokens", model="demo/vit", token=[2, 5], layer="blocks.1")
    assert (told["grid"], told["layers"], told["layer"]) == ([8, 8], [f"blocks.{i}" for i in range(3)], "blocks.1")
    classifier = ll.load("demo/vit")
    with torch.no_grad():
        z = seen_by(classifier, "blocks.1.norm1")
    attention = classifier.module.get_submodule("blocks.1.attn")
    q, k = attention.qkv(z).unflatten(2, (3, told["heads"], -1)).permute(2, 0, 3, 1, 4)[:2]  # type: ignore[operator]
    weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)[0].mean(0).detach()
    place = 1 + 2 * 8 + 5
    assert same(told["attention"], weights[place, 1:].view(8, 8))
    assert same(told["received"], weights[1:, place].view(8, 8))
    assert told["relevance"]["low"] >= -1e-6 < 1e-12 < told["relevance"]["high"]


def seen_by(classifier: ll.Classifier, name: str) -> torch.Tensor:
    """Return what a module gives for the picture."""
    outputs: list[torch.Tensor] = []
    hook = classifier.module.get_submodule(name).register_forward_hook(lambda _m, _i, y: outputs.append(y))
    classifier(classifier.preprocess(ll.example_image(1))[None])
    hook.remove()
    return outputs[-1]


def test_relevance_of_what_the_head_reads_is_that_of_the_method(studio: Studio) -> None:
    """The class token, asked like a patch, must give the map of generic attention."""
    from limelight.maps.attention.generic_attention import generic_attention
    from limelight.web.studio.asked import Target
    from limelight.web.studio.inside import attentions_of

    look = studio.look({"model": "demo/vit", "picture": "1"})
    seen = attentions_of(look, Target(3, None, "margin", given=True))
    wanted = ll.explain("demo/vit", ll.example_image(1), "generic-attention", 3).raw
    torch.testing.assert_close(generic_attention(seen.up_to(2, 0))[0], wanted)


# -- trust -------------------------------------------------------------------------------------------------


def test_trust(studio: Studio) -> None:
    told = ask(studio, "trust", explanation=ask(studio, "explain", method="grad-cam")["key"])
    methods = ["grad-cam", "random-map", "centre-map"]
    names = [m["name"] for m in told["metrics"]]
    results = ll.evaluate("demo/resnet", [ll.example_image(1)], methods, names)
    for metric in told["metrics"]:
        mine = [metric["value"], metric["random"]["value"], metric["centre"]["value"]]
        assert mine == pytest.approx(results.values(metric["name"])[:, 0].tolist(), abs=1e-5)
    adcc = told["metrics"][0]["text"]
    assert adcc.startswith("better than a random map: yes (")
    sanity = ll.evaluate("demo/resnet", [ll.example_image(1)], "grad-cam", "sanity-cascading")
    classifier = ll.load("demo/resnet")
    order = layer_order(classifier, classifier.preprocess(ll.example_image(1))[None], "affine")
    curve = dict(zip(order, sanity.curves("sanity-cascading")["grad-cam"].tolist(), strict=True))
    assert [s["layer"] for s in told["sanity"]][::2] == [order[0], order[-1]]
    for step in told["sanity"]:
        assert step["correlation"] == pytest.approx(curve[step["layer"]], abs=1e-4)


def test_trust_a_difference_of_classes(studio: Studio) -> None:
    key = ask(studio, "explain", method="grad-cam", target={"class": 3, "against": 5})["key"]
    told = ask(studio, "trust", explanation=key)
    assert {m["high"] for m in told["metrics"]} == {None}


def test_evaluate(studio: Studio) -> None:
    request = {"pictures": ["0", "1", "broken"], "methods": ["grad-cam"], "metrics": ["complexity"]}
    told = ask(studio, "evaluate", **request)
    pictures = [ll.example_image(i) for i in range(2)]
    summary = ll.evaluate("demo/resnet", pictures, ["grad-cam", "random-map", "centre-map"], "complexity").summary()
    assert [r["method"] for r in told["rows"]] == [f.method for f in summary]
    assert [r["value"] for r in told["rows"]] == pytest.approx([f.mean for f in summary])
    assert [r["high"] - r["low"] for r in told["rows"]] == pytest.approx([f.high - f.low for f in summary], abs=1e-6)
    assert [r["n"] for r in told["rows"]] == [f.images for f in summary] == [2, 2, 2]
    best = next(r for r in told["rows"] if r["best"])
    assert (best["method"], "not distinguishable" in best["text"]) == ("grad-cam", True)
    assert list(told["unread"]) == ["broken"]
    events = FUNCTIONS["evaluate"](studio, {"model": "demo/resnet", **request})
    assert next(events) == ("progress", {"done": 0, "total": 3, "seconds_left": None})
    assert next(events)[1]["done"] == 1  # and here it can be left


# -- files -------------------------------------------------------------------------------------------------


def test_export(studio: Studio, tmp_path: Path) -> None:
    told = ask(studio, "explain", method="grad-cam")
    for kind in ("png", "svg", "npz", "json"):
        file = ask(studio, "export", explanation=told["key"], kind=kind)
        data = base64.b64decode(file["data"])
        assert file["name"] == f"grad-cam.{kind}"
        if kind == "npz":
            (tmp_path / "a.npz").write_bytes(data)
            assert same(told["map"], ll.Explanation.load(tmp_path / "a.npz").raw)
        start = {"png": b"\x89PNG", "svg": b"<svg ", "npz": b"PK", "json": b"{"}[kind]
        assert data.startswith(start)


# -- what can't be -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "request_", "error", "shown"),
    [
        ("classify", {"model": "demo/vgg"}, UnknownModel, "none of the models here"),
        ("classify", {"model": 3}, InvalidOption, "give a text"),
        ("classify", {"picture": "../../etc/passwd"}, InvalidImage, "there is no picture"),
        ("classify", {"picture": "broken"}, InvalidImage, "broken.png"),
        ("classify", {"top": 0}, InvalidOption, "give 1 to 1000"),
        ("classify", {"top": True}, InvalidOption, "give a whole number"),
        ("explain", {}, InvalidOption, "method is missing"),
        ("explain", {"method": "grad-cam", "options": {"gamma": 2}}, InvalidOption, "has no option"),
        ("explain", {"method": "grad-cam", "options": []}, InvalidOption, "give a table"),
        ("explain", {"method": "grad-cam", "target": {"class": 10}}, LimelightError, "classes 0 to 9"),
        ("explain", {"method": "grad-cam", "target": {"class": 3, "against": 3}}, InvalidOption, "against itself"),
        ("explain", {"method": "legrad"}, UnsupportedModel, "is for transformers"),
        ("hide", {"mask": "???"}, InvalidOption, "base64"),
        ("hide", {"mask": "AAAA"}, InvalidOption, "3 bytes; give one for each of 128 x 128"),
        ("hide", {"mask": "", "fill": "pink"}, InvalidOption, "there are blur, mean, inpaint, black"),
        ("tokens", {"token": [0, 0]}, UnsupportedModel, "is for transformers"),
        ("tokens", {"model": "demo/vit", "token": [8, 0]}, InvalidOption, "in a grid of 8 x 8"),
        ("tokens", {"model": "demo/vit", "token": [0, 0], "layer": "stem"}, UnknownLayer, "they are blocks.0"),
        (
            "evaluate",
            {"pictures": ["1"], "methods": ["grad-cam"], "metrics": ["proportion"]},
            InvalidOption,
            "lies",
        ),
        ("evaluate", {"pictures": ["broken"], "methods": ["grad-cam"], "metrics": ["adcc"]}, InvalidImage, "none of 1"),
        ("evaluate", {"pictures": "all", "methods": ["grad-cam"], "metrics": ["adcc"]}, InvalidOption, "give a list"),
    ],
)
def test_refusals(
    studio: Studio, function: str, request_: dict[str, Any], error: type[LimelightError], shown: str
) -> None:
    with pytest.raises(error, match=shown) as caught:
        ask(studio, function, **request_)
    assert "\n" not in str(caught.value)


def test_curves_of_one_fill(studio: Studio) -> None:
    key = ask(studio, "explain", method="grad-cam")["key"]
    with pytest.raises(InvalidOption, match="blur, mean, black"):
        ask(studio, "curves", explanation=key, fill="inpaint")


def test_a_network_that_gives_nan(folder: Path) -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3)) * torch.nan

    broken = ll.Classifier(Broken(), size=16, name="broken")
    studio = Studio([broken], lambda _: folder / "scene-1.png")
    with pytest.raises(NonFinite):
        ask(studio, "classify", model="broken")


def test_the_latest_are_kept() -> None:
    from limelight.web.studio.studio import Latest

    latest: Latest[int] = Latest(2)
    made = [latest.keep(key, lambda key=key: key * 10) for key in (1, 2, 1, 3, 1)]
    assert made == [10, 20, 10, 30, 10]
    assert list(latest) == [3, 1]
