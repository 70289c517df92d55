"""Several layers for methods that explain one: the mean or the maximum of the layers' own maps."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

import architectures
import limelight as ll
from architectures import images
from limelight.errors import InvalidOption

LAYERS = ("layer1", "layer2")
FUSIBLE = [name for name, card in ll.methods().items() if card.layers in ("one", "penultimate") and not card.base]
FUSIBLE.remove("cam")  # which only knows weights of the last layer; see below


@pytest.fixture(scope="module")
def model() -> ll.Classifier:
    return ll.Classifier(architectures.build("residual").double())


def x(n: int = 2) -> Tensor:
    return images(n).double()


def scaled(m: Tensor) -> Tensor:
    low, high = m.amin((-2, -1), keepdim=True), m.amax((-2, -1), keepdim=True)
    return ((m - low) / (high - low)).nan_to_num(0)  # an empty map is 0


@pytest.mark.parametrize("fuse", ["mean", "max"])
@pytest.mark.parametrize("name", ["grad-cam", "grad-cam++", "score-cam", "cluster-cam", "ablation-cam"])
def test_by_hand(name: str, fuse: str, model: ll.Classifier) -> None:
    """Each layer's map is rectified, resized to the picture, scaled to [0, 1]; then their mean or maximum is."""
    rectified = {"profile": "clipped"} if name == "cluster-cam" else {}
    each: list[Tensor] = []
    for layer in LAYERS:
        raw = ll.method(name, layer=layer).raw(model, x(), 1).relu()
        if raw.shape[-2:] != architectures.SIZE:
            raw = torch.nn.functional.interpolate(raw[:, None], architectures.SIZE, mode="bilinear")[:, 0]
        each.append(scaled(raw))
    expected = torch.stack(each).mean(0) if fuse == "mean" else torch.stack(each).amax(0)
    found = ll.method(name, layer=LAYERS, fuse=fuse, **rectified).run(model, x(), 1)
    torch.testing.assert_close(found.raw, expected)
    torch.testing.assert_close(found.map, scaled(expected).float())
    torch.testing.assert_close(found.details["masks"], torch.stack(each, 1))
    assert found.provenance["layers"] == list(LAYERS)
    assert found.provenance["options"]["fuse"] == fuse


def test_the_mean_is_the_default_and_the_order_does_not_matter(model: ll.Classifier) -> None:
    expected = ll.method("grad-cam", layer=LAYERS, fuse="mean").raw(model, x(), 1)
    for method in (ll.method("grad-cam", layer=LAYERS), ll.method("grad-cam", layer=LAYERS[::-1])):
        assert torch.equal(method.raw(model, x(), 1), expected)
    several = ll.Classifier(model.module, layer=list(LAYERS))
    assert torch.equal(ll.method("grad-cam").raw(several, x(), 1), expected)
    deep, shallow = (ll.method("layer-cam", layer=o).raw(model, x(), 1) for o in (LAYERS, LAYERS[::-1]))
    assert torch.equal(deep, shallow)


def test_one_layer_in_a_tuple_is_one_layer(model: ll.Classifier) -> None:
    plain, alone = (ll.method("grad-cam", layer=o).run(model, x(), 1) for o in ("layer1", ("layer1",)))
    assert torch.equal(plain.raw, alone.raw)
    assert plain.cost == alone.cost


@pytest.mark.parametrize("fuse", ["mean", "max"])
def test_without_rectification_and_scaled_before(fuse: str, model: ll.Classifier) -> None:
    options = {"relu": False, "normalize_at": "feature"}
    each = [ll.method("grad-cam", layer=layer, **options)(model, x(), 1).double() for layer in LAYERS]
    together = torch.stack(each).mean(0) if fuse == "mean" else torch.stack(each).amax(0)
    found = ll.method("grad-cam", layer=LAYERS, fuse=fuse, **options).raw(model, x(), 1)
    torch.testing.assert_close(found, together, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "aop")) for n in FUSIBLE])
def test_every_method(name: str, model: ll.Classifier) -> None:
    """A map in [0, 1], a batch as its images, and the cost that is predicted."""
    method = ll.method(name, layer=LAYERS, **({"n": 2} if name in ("ss-cam", "is-cam") else {}))
    found, predicted = method.run(model, x(), [1, 2]), method.cost(model, x())
    assert found.raw.shape == (2, *architectures.SIZE)
    assert 0 <= found.raw.min() <= found.raw.max() <= 1
    singles = torch.cat([method.raw(model, x()[i : i + 1], t) for i, t in enumerate([1, 2])])
    torch.testing.assert_close(found.raw, singles, rtol=1e-6, atol=1e-8)
    slack = 2.6 if "recording" in method.card.needs else 1 + 1e-9  # as in the battery; dead channels cost nothing
    assert 1 <= found.cost.forwards <= slack * predicted.forwards
    assert found.cost.backwards == pytest.approx(predicted.backwards, rel=slack - 1)


def test_a_method_that_refuses_a_layer_refuses_it_among_others(model: ll.Classifier) -> None:
    with pytest.raises(ll.errors.UnsupportedModel, match="'layer1'"):
        ll.method("cam", layer=LAYERS).run(model, x())


def test_gradient_methods_share_both_passes(model: ll.Classifier) -> None:
    several = ll.method("grad-cam", layer=LAYERS)
    shallow = ll.method("grad-cam", layer=LAYERS[0])
    assert str(several.run(model, x()).cost) == str(several.cost(model, x())) == "1 F + 1 R_t"
    assert several.run(model, x()).cost == shallow.run(model, x()).cost


def test_a_dead_layer_adds_nothing_and_is_named() -> None:
    net = architectures.build("inception").double()
    net.get_submodule("branches.0").register_forward_hook(lambda _m, _i, out: out * 0)
    c, layers = ll.Classifier(net), ("branches.0", "mix")
    for fuse in ("mean", "max"):
        dead = ll.method("grad-cam", layer=layers, fuse=fuse).run(c, x(), 1)
        torch.testing.assert_close(dead.map, ll.method("grad-cam", layer="mix")(c, x(), 1))
        assert not dead.degenerate.any()
        assert any("branches.0" in note and "dead layer" in note for note in dead.notes)


def test_all_layers_dead() -> None:
    net = architectures.build("residual").double()
    for layer in LAYERS:
        net.get_submodule(layer).register_forward_hook(lambda _m, _i, out: out * 0)
    found = ll.method("grad-cam", layer=LAYERS).run(ll.Classifier(net), x(), 1)
    assert found.degenerate.all()
    assert all("layer1" in r and "layer2" in r and "dead" in r for r in found.reasons)


def test_maps_that_are_refined_may_be_fused(model: ll.Classifier) -> None:
    fused = ll.method("aop", base="grad-cam", layer=LAYERS, fuse="max", size=12, warmup=0, optimiser_options={"n": 1})
    assert fused.base is not None
    assert fused.base.options.fuse == "max"
    assert not fused.run(model, x(1), 1).degenerate.any()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("grad-cam", {"layer": "layer2", "fuse": "max"}, "one is given: layer='layer2'"),
        ("grad-cam", {"layer": ("layer2",), "fuse": "mean"}, "one is given"),
        ("rise", {"fuse": "max"}, "not that of a layer"),
        ("lrp", {"fuse": "max"}, "not that of a layer"),
        ("collection-cam", {"fuse": "max"}, "in its own way"),
        ("grad-cam", {"fuse": "min"}, "option fuse"),
    ],
)
def test_refused_when_built(name: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidOption, match=words):
        ll.method(name, **options)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("grad-cam", {"fuse": "max"}, "there is one, 'layer2'"),
        ("grad-cam", {"layer": ("layer2", "layer2")}, "none twice"),
        ("grad-cam", {"layer": ()}, "at least one"),
        ("score-cam", {"layer": LAYERS, "budget": "9 forwards"}, "a budget is for one layer"),
        ("lrp", {"layer": LAYERS}, "stops at one layer, got 2"),
    ],
)
def test_refused_when_run(name: str, options: dict[str, object], words: str, model: ll.Classifier) -> None:
    with pytest.raises(InvalidOption, match=words):
        ll.method(name, **options).run(model, x())


def test_what_is_saved_comes_back(tmp_path: Path, model: ll.Classifier) -> None:
    e = ll.explain(model, x(1)[0], "grad-cam", 1, layer=LAYERS, fuse="max")
    again = ll.Explanation.load(e.save(tmp_path / "e.npz"))
    assert torch.equal(again.map, e.map)
    assert ll.method("grad-cam", **again.settings()["options"]) == ll.method("grad-cam", layer=LAYERS, fuse="max")
    assert e.view("parts").width > 0


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from limelight.cli import main

    picture = tmp_path / "a.png"
    ll.example_image().save(picture)
    words = ["explain", str(picture), "--model", "demo/resnet", "--out", str(tmp_path / "b.json"), "--json"]
    with pytest.raises(SystemExit) as end:
        main([*words, "--layer", "layer3,layer4", "-p", "fuse=max"])
    assert end.value.code in (0, None)
    assert json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "b.json").read_text())["layers"] == ["layer3", "layer4"]
