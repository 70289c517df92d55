"""What a user holds: pictures, files, galleries."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import architectures
import limelight as ll
from limelight import draw, errors


@pytest.fixture(scope="module")
def explanation() -> ll.Explanation:
    c = ll.Classifier(architectures.build("plain"), labels=["ant", "bee", "cat", "dog", "eel"], name="plain")
    return ll.explain(c, architectures.images(1)[0], "smooth-grad-cam++", "cat", n=2, seed=3)


def test_says_what_it_is(explanation: ll.Explanation) -> None:
    assert explanation.label == "cat"
    assert explanation.target == 2
    assert explanation.map.shape == architectures.SIZE
    assert explanation.evidence.shape == (10, 14)
    assert explanation.image.shape == (3, *architectures.SIZE)
    assert str(explanation.cost) == "3 F + 2 R_t"
    assert explanation.cost.forwards == 3
    assert 0 < explanation.cost.backwards < 2  # the way from the layer on is shorter than from the input
    assert explanation.seconds > 0
    assert repr(explanation).startswith("Explanation(smooth-grad-cam++ of cat")


def test_provenance_is_complete(explanation: ll.Explanation) -> None:
    settings = explanation.settings()
    assert settings["options"] | {"n": 2, "seed": 3, "sigma": 0.3, "layer": None} == settings["options"]
    assert settings["layers"] == ["features"]
    assert settings["weights"].startswith("sha256:")
    assert settings["versions"]["torch"] == str(torch.__version__)
    assert settings["protocol"] == "relu/minmax@input/bilinear"
    assert json.loads(json.dumps(settings)) == settings


def test_survives_saving(explanation: ll.Explanation, tmp_path: Path) -> None:
    again = ll.Explanation.load(explanation.save(tmp_path / "deep" / "x.npz"))
    assert torch.equal(again.map, explanation.map)
    assert torch.equal(again.evidence, explanation.evidence)
    ours, theirs = explanation.settings(), again.settings()
    assert {k: v for k, v in theirs.items() if k != "cost"} == {k: v for k, v in ours.items() if k != "cost"}
    assert theirs["cost"]["forwards"] == ours["cost"]["forwards"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"target": "2"},
        {"target": -2},
        {"score": float("nan")},
        {"score": "1.5"},
        {"probability": float("nan")},
        {"probability": 1.5},
        {"seconds": -1},
        {"seconds": float("inf")},
        {"cost": {"forwards": -3, "backwards": 0}},
        {"cost": {"forwards": 1, "backwards": "2"}},
        {"finish": {"size": [-20, 28], "relu": True, "normalize_at": "input"}},
        {"notes": "none"},
    ],
    ids=str,
)
def test_numbers_that_no_explanation_has_are_refused(
    explanation: ll.Explanation, wrong: dict[str, Any], tmp_path: Path
) -> None:
    path = explanation.save(tmp_path / "x.npz")
    with np.load(path) as arrays:
        kept = dict(arrays)
    np.savez(path, **kept | {"settings": np.array(json.dumps(json.loads(str(kept["settings"])) | wrong))})
    name = next(iter(wrong))
    said = {"cost": "wards", "finish": "size"}.get(name, name)
    with pytest.raises(errors.CorruptStore, match=f"x.npz can't be read as an explanation: .*{said}"):
        ll.Explanation.load(path)


def test_png_carries_its_settings(explanation: ll.Explanation, tmp_path: Path) -> None:
    path = explanation.save(tmp_path / "x.png", titled=False)
    settings = json.loads(draw.read_png_metadata(path)["limelight"])
    assert settings["method"] == "smooth-grad-cam++"
    assert settings["options"]["seed"] == 3
    with Image.open(path) as picture:
        assert picture.size == architectures.SIZE[::-1]
    with Image.open(explanation.save(tmp_path / "y.png", view="map")) as titled:
        assert titled.height > titled.width * architectures.SIZE[0] / architectures.SIZE[1]  # room for the title


def test_json_has_the_evidence(explanation: ll.Explanation, tmp_path: Path) -> None:
    data = json.loads(explanation.save(tmp_path / "x.json").read_text())
    np.testing.assert_allclose(data["evidence"], explanation.evidence.numpy(), rtol=1e-6)


def test_unknown_suffix_writes_nothing(explanation: ll.Explanation, tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidOption, match=r"\.png, \.npz or \.json"):
        explanation.save(tmp_path / "new" / "x.tiff")
    assert not list(tmp_path.iterdir())


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


def test_lists_of_pictures_and_methods(tmp_path: Path) -> None:
    c = ll.Classifier(architectures.build("residual"))
    x = architectures.images(3)
    other = architectures.images(1, (48, 40))[0]  # another size: explained in a batch of its own
    pictures = [x[0], other, x[1]]
    many = ll.explain(c, pictures, "grad-cam", [0, 1, 2])
    assert [e.map.shape for e in many] == [(40, 56), (48, 40), (40, 56)]
    assert [e.target for e in many] == [0, 1, 2]
    for e, picture, target in zip(many, pictures, (0, 1, 2), strict=True):
        torch.testing.assert_close(e.evidence, ll.explain(c, picture, "grad-cam", target).evidence)
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


def test_pictures_of_every_kind(tmp_path: Path) -> None:
    c = ll.Classifier(architectures.build("residual"), size=48)
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    picture.save(tmp_path / "p.png")
    expected = ll.explain(c, picture).evidence
    for same in (pixels, tmp_path / "p.png", str(tmp_path / "p.png"), torch.from_numpy(pixels).permute(2, 0, 1)):
        torch.testing.assert_close(ll.explain(c, same).evidence, expected)
    with pytest.raises(errors.InvalidImage, match="channels last"):
        ll.explain(c, pixels.transpose(2, 0, 1))


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


def test_a_method_without_parts_says_so() -> None:
    e = ll.explain(ll.Classifier(architectures.build("residual")), architectures.images(1)[0])
    with pytest.raises(ll.errors.InvalidOption, match="grad-cam keeps no parts"):
        e.view("parts")


def test_a_sweep_names_what_differs() -> None:
    c, x = ll.Classifier(architectures.build("residual")), architectures.images(1)
    gallery = ll.explain(c, list(x), method=[ll.method("cluster-cam", n_clusters=k) for k in (2, 3)])
    titles: list[str] = []

    def keep(rows: list[list[draw.Panel]], **_: object) -> Image.Image:
        titles.extend(panel.title for row in rows for panel in row)
        return Image.new("RGB", (8, 8))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draw, "gallery", keep)
        gallery.picture()
    assert titles == ["input", "cluster-cam n_clusters=2", "cluster-cam n_clusters=3"]
