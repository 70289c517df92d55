"""What is drawn of an explanation."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import architectures
import limelight as ll
from limelight import draw
from limelight.card import METHODS
from methods.battery import FEWER
from results.one_explanation import explain_once


@pytest.fixture(scope="module")
def explanation() -> ll.Explanation:
    return explain_once()


@pytest.mark.parametrize("view", ["overlay", "map", "signed", "contour", "image"])
def test_views(explanation: ll.Explanation, view: str) -> None:
    assert explanation.view(view).size == architectures.SIZE[::-1]  # type: ignore[arg-type]


def test_overlay_shows_the_map(explanation: ll.Explanation) -> None:
    plain, lit = np.asarray(explanation.view("image"), int), np.asarray(explanation.overlay(), int)
    changed = np.abs(plain - lit).sum(2)
    values = explanation.map.numpy()
    assert changed[values == 0].max(initial=0) == 0
    assert changed[values > 0.5].min() > 0


def test_shows_itself_in_a_notebook(explanation: ll.Explanation) -> None:
    assert explanation._repr_png_().startswith(b"\x89PNG")


def test_empty_map_is_not_drawn_as_evidence() -> None:
    net = architectures.build("residual")
    net.fc.weight.data.fill_(-1)
    e = ll.explain(ll.Classifier(net), architectures.images(1)[0], "grad-cam", 0)
    assert e.degenerate
    assert "no positive evidence" in repr(e)
    assert e.panel().caption == "no evidence"
    for view in ("overlay", "contour"):
        assert np.array_equal(np.asarray(e.view(view)), np.asarray(e.view("image")))


def test_parts_are_drawn_with_their_scores(tmp_path: Path) -> None:
    e = ll.explain(ll.Classifier(architectures.build("residual")), architectures.images(1)[0], "cluster-cam")
    panels: list[draw.Panel] = []

    def keep(rows: list[list[draw.Panel]], **_: object) -> Image.Image:
        panels.extend(panel for row in rows for panel in row)
        return Image.new("RGB", (8, 8))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draw, "gallery", keep)
        e.view("parts")
    scores = e.details["scores"]
    parts = panels[2:]
    assert len(parts) == int(scores.isfinite().sum())
    assert parts[0].title.startswith("base")
    assert parts[0].frame
    assert parts[-1].title.endswith("scissors")
    shown = [float(p.caption.removeprefix("score ")) for p in parts]
    assert shown == sorted(shown, reverse=True)
    assert e.save(tmp_path / "parts.png", view="parts").exists()


def test_pictures_under_the_masks_are_what_was_scored() -> None:
    """Dark where the mask takes the picture away: picture times mask, whose range is all of 0 to 1, also below 0."""
    net = architectures.build("residual")
    net.layer2.register_forward_hook(lambda _m, _i, out: out - out.mean((2, 3), keepdim=True))
    e = ll.explain(ll.Classifier(net, layer="layer2"), architectures.images(1)[0], "cluster-cam")
    maps = e.details["cluster_maps"]
    assert maps.min() < 0
    best = int(e.details["base"])
    full = torch.nn.functional.interpolate(maps[best][None, None], e.map.shape, mode="bilinear")[0, 0]
    mask = (full - full.min()) / (full.max() - full.min())
    shown, over = (e.parts(masked=masked)[0] for masked in (True, False))
    np.testing.assert_allclose(np.asarray(shown.image), (e.image * mask * 255).permute(1, 2, 0), atol=1)
    assert (shown.title, shown.caption) == (over.title, over.caption)
    assert e.view("masked").size == e.view("parts").size


def test_parts_of_several_layers_tell_layer_group_and_weight() -> None:
    c = ll.load("demo/resnet")
    e = ll.explain(c, ll.example_image(), ll.method("collection-cam", max_groups=3))
    names = e.provenance["layers"]
    parts = e.parts()
    weight, layer, group = (e.details[name] for name in ("weights", "mask_layer", "mask_group"))
    order = sorted((i for i in range(len(weight)) if weight[i] > 0), key=lambda i: -float(weight[i]))
    assert [p.title for p in parts] == [f"{names[int(layer[i])]}, group {int(group[i]) + 1}" for i in order]
    assert [p.caption.split(" · ")[0] for p in parts] == [f"weight {float(weight[i]):.3f}" for i in order]


DEAR = {name: pytest.mark.slow for name in ("emp", "xrai")}


@pytest.mark.parametrize("name", [pytest.param(name, marks=DEAR.get(name, ())) for name in ll.methods()])
def test_a_method_without_parts_names_those_that_have_some(name: str) -> None:
    """What the message says of each method is what the method does."""
    classifier = ll.Classifier(architectures.build("tokens" if ll.methods()[name].tokens_only else "residual"))
    card, options = METHODS.find(name), FEWER.get(name, {})
    e = ll.explain(classifier, architectures.images(1)[0], name, **options)
    if card.parts:
        assert e.parts()
        return
    with pytest.raises(ll.errors.InvalidOption, match=f"{re.escape(name)} keeps no parts; these do: ") as refused:
        e.view("parts")
    always, fused, stopped = str(refused.value).partition("do: ")[2].split("; ")
    assert always.split(", ") == [card.name for card in METHODS.cards().values() if card.parts]
    assert fused == "methods of one layer that are given several"
    given: list[dict[str, Any]] = [{"stop": "stem"}] if name in stopped.removeprefix("with stop= ").split(", ") else []
    if ll.method(name).fusible and name != "cam":  # CAM explains the last layer alone
        given.append({"layer": ["layer1", "layer2"]})
    for more in given:
        assert ll.explain(classifier, architectures.images(1)[0], name, **options, **more).parts(), more
