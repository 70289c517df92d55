"""Several explanations side by side."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import architectures
import limelight as ll
from limelight import draw, errors


def drawn_panels(*rows: list[ll.Explanation]) -> list[draw.Panel]:
    """Return what a gallery of these rows shows."""
    panels: list[draw.Panel] = []

    def keep(rows: list[list[draw.Panel]], **_: object) -> Image.Image:
        panels.extend(panel for row in rows for panel in row)
        return Image.new("RGB", (8, 8))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draw, "gallery", keep)
        ll.Gallery(rows).picture()
    return panels


def test_lists_of_pictures_and_methods(tmp_path: Path) -> None:
    c = ll.Classifier(architectures.build("residual"))
    x = architectures.images(3)
    other = architectures.images(1, (48, 40))[0]  # another size: explained in a batch of its own
    pictures = [x[0], other, x[1]]
    many = ll.explain(c, pictures, "grad-cam", [0, 1, 2])
    assert [e.map.shape for e in many] == [(40, 56), (48, 40), (40, 56)]
    assert [e.target for e in many] == [0, 1, 2]
    for e, picture, target in zip(many, pictures, (0, 1, 2), strict=True):
        torch.testing.assert_close(e.raw, ll.explain(c, picture, "grad-cam", target).raw)
    gallery = ll.explain(c, pictures, ["grad-cam", "layer-cam"], 1)
    assert isinstance(gallery, ll.Gallery)
    assert (len(gallery), len(gallery[0])) == (3, 2)
    assert [e.method for e in gallery[1]] == ["grad-cam", "layer-cam"]
    path = gallery.save(tmp_path / "g.png")
    assert len(json.loads(draw.read_png_metadata(path)["limelight"])) == 3
    assert gallery._repr_png_()[:4] == b"\x89PNG"
    assert isinstance(ll.explain(c, x[:2], "grad-cam"), list)
    with pytest.raises(errors.InvalidImage, match="empty"):
        ll.explain(c, [], "grad-cam")
    with pytest.warns(errors.PictureWarning, match=r"1 of 2 .*nothing\.jpg"):
        assert len(ll.explain(c, [x[0], "nothing.jpg"], "grad-cam")) == 1
    with pytest.raises(errors.InvalidImage, match=r"nothing\.jpg"):
        ll.explain(c, [x[0], "nothing.jpg"], "grad-cam", strict=True)
    with pytest.raises(errors.InvalidOption, match="2 targets for 3"):
        ll.explain(c, pictures, "grad-cam", [0, 1])
    with pytest.raises(errors.InvalidOption, match="list of methods is empty"):
        ll.explain(c, x[0], [])


def test_a_sweep_names_what_differs() -> None:
    c, x = ll.Classifier(architectures.build("residual")), architectures.images(1)
    gallery = ll.explain(c, list(x), method=[ll.method("cluster-cam", n_clusters=k) for k in (2, 3)])
    titles = [panel.title for panel in drawn_panels(*gallery.rows)]
    assert titles == ["input", "cluster-cam n_clusters=2", "cluster-cam n_clusters=3"]


def test_each_map_says_what_it_is_of() -> None:
    """The class, and the model where there are several: once where a row shares it, else below each."""
    one, other = (ll.Classifier(architectures.build("residual"), name=name) for name in ("one", "other"))
    x = architectures.images(1)[0]
    a, b, c = (ll.explain(m, x, "grad-cam", target) for m, target in ((one, 0), (one, 2), (other, 0)))
    said = {"classes in a row": [[a, b]], "classes in rows": [[a], [b]], "models": [[a, a], [c, c]], "all": [[b, c]]}
    captions = {name: [panel.caption for panel in drawn_panels(*rows)] for name, rows in said.items()}
    assert captions["classes in a row"] == ["", a.title, b.title]
    assert captions["classes in rows"] == [f"explained: {a.title}", "", f"explained: {b.title}", ""]
    assert captions["models"] == [f"explained: one: {a.title}", "", "", f"explained: other: {c.title}", "", ""]
    assert captions["all"] == ["", f"one: {b.title}", f"other: {c.title}"]
    second = ll.explain(one, x, "layer-cam", 0)
    assert [panel.title for panel in drawn_panels([a], [second], [second])] == [
        *("input", "grad-cam", "input", "layer-cam"),
        *("", ""),
    ]


def test_single_pixels_are_drawn_without_the_picture_that_would_hide_them() -> None:
    c, x = ll.Classifier(architectures.build("residual")), architectures.images(1)[0]
    row = [ll.explain(c, x, name, 1) for name in ("gradient", "grad-cam", "relevance-cam")]
    assert [e.usual for e in row] == ["signed", "overlay", "overlay"]  # relevance at a layer is coarse
    fine, *coarse = (panel.image.tobytes() for panel in drawn_panels(row)[1:])
    assert fine == row[0].view("signed").tobytes() == row[0].panel().image.tobytes()
    assert coarse == [e.overlay().tobytes() for e in row[1:]]


def test_the_truth_is_outlined() -> None:
    """On the picture and on every map of its row, and nowhere else; what is not known is not drawn."""
    c = ll.Classifier(architectures.build("residual"))
    gallery = ll.explain(c, architectures.images(2), ["grad-cam", "layer-cam"], 1)
    mask = torch.zeros(40, 56, dtype=torch.bool)
    mask[10:30, 20:40] = True
    drawn: list[draw.Panel] = []

    def keep(rows: list[list[draw.Panel]], **_: object) -> Image.Image:
        drawn.extend(panel for row in rows for panel in row)
        return Image.new("RGB", (8, 8))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draw, "gallery", keep)
        gallery.picture(truth=[mask, None])
        gallery.picture(truth=[mask.numpy(), torch.zeros_like(mask)])
        gallery.picture()
    first, second, plain = drawn[:6], drawn[6:12], drawn[12:]
    for i, (panel, again, before) in enumerate(zip(first, second, plain, strict=True)):
        assert panel.image.tobytes() == again.image.tobytes()
        changed = (np.asarray(panel.image) != np.asarray(before.image)).any(-1)
        assert changed.any() == (i < 3)
        assert not changed[10:30, 20:40].any()  # inside the line
        if i < 3:
            assert (np.asarray(panel.image)[9, 20:40] == 255).all()
    with pytest.raises(errors.InvalidOption, match="1 masks for 2 rows"):
        gallery.picture(truth=[mask])
    with pytest.raises(errors.InvalidOption, match="the map is 5 x 56"):
        gallery.picture(truth=[mask[10:15], None])
