"""Several methods and metrics at once: the same numbers as one by one, with fewer passes."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import architectures
import limelight as ll
from architectures import SIZE, images
from limelight import api
from limelight.data.synthetic import scenes, test_split
from limelight.errors import CheckFailed, InvalidImage, InvalidMap, InvalidOption, MissingTruth, UnknownTarget

METHODS = ("grad-cam", "layer-cam", "random-map")
METRICS = ("adcc", "average-drop", "average-increase", "insertion", "deletion", "overall", "complexity", "coherency")


def classifier(name: str = "residual") -> ll.Classifier:
    return ll.Classifier(architectures.build(name))


def count_forwards(c: ll.Classifier) -> list[int]:
    seen: list[int] = []

    def note(_module: nn.Module, inputs: Sequence[Tensor], _output: object) -> None:
        seen.append(len(inputs[0]))

    c.module.register_forward_hook(note)
    return seen


def test_the_same_numbers_as_one_by_one() -> None:
    c, x = classifier(), images()
    together = ll.evaluate(c, x, METHODS, METRICS)
    for name in METHODS:
        method = ll.method(name)
        maps = method(c, x)
        for metric in METRICS:
            alone = ll.metric(metric)(c, x, None, maps, method=method)
            mine = torch.tensor(together.values(metric)[METHODS.index(name)]).float()
            torch.testing.assert_close(mine, alone, rtol=1e-4, atol=1e-5)


def test_calls_are_counted_one_by_one_as_papers_do() -> None:
    """Ablation-CAM calls the network once, and the part behind the layer once per channel that is not dead."""
    c, x = ll.Classifier(architectures.build("plain")), architectures.images(2)
    rows = ll.evaluate(c, x, ["grad-cam", "ablation-cam", "score-cam"], ["complexity"]).rows[:3]
    costs = [ll.method(name).run(c, x).cost for name in ("grad-cam", "ablation-cam", "score-cam")]
    assert [row.calls for row in rows] == [cost.n_forward + cost.n_forward_tail for cost in costs]
    assert [row.calls == row.forwards for row in rows] == [True, False, True]
    assert rows[1].calls > rows[1].forwards


def test_adcc_of_a_gradient_cam_costs_two_forwards_and_two_backwards() -> None:
    c, x = classifier(), images()
    c.trace(x)
    seen = count_forwards(c)
    results = ll.evaluate(c, x, ["grad-cam"], ["adcc", "average-drop", "average-increase", "coherency", "complexity"])
    assert sum(seen) == 2 * len(x)
    row = results.rows[0]
    tail = 1 - c.layers(None, x)[0].before
    assert (row.forwards, row.backwards) == (1, pytest.approx(tail))
    assert row.spent["adcc"] == pytest.approx(1 + tail)
    assert row.spent["average-drop"] == row.spent["coherency"] == 0


def test_curves_share_their_ends_and_each_other() -> None:
    """n steps: 2 (n - 1) passes for the two curves of a method, and three ends for all methods."""
    c, x = classifier(), images()
    c.trace(x)
    seen = count_forwards(c)
    ll.evaluate(c, x, ["cam", "random-map"], ["insertion", "deletion", "overall"])
    steps = -(-SIZE[0] * SIZE[1] // (8 * SIZE[1]))
    clean, blurred, zero = len(x), len(x), 1  # the zero image is the same for all
    assert sum(seen) == 2 * len(x) * 2 * (steps - 1) + clean + blurred + zero


def test_rows_and_settings() -> None:
    c = classifier()
    results = ll.evaluate(
        c, [images(2)[0], images(2)[1]], ["grad-cam", ll.method("layer-cam", gamma=3.0)], ["complexity"]
    )
    assert results.methods == ["grad-cam", "layer-cam"]
    assert results.images == ["image-00000", "image-00001"]
    assert len(results) == 4
    assert results.settings["methods"]["layer-cam"]["gamma"] == 3.0
    assert results.settings["weights"].startswith("sha256:")
    two = ll.evaluate(c, images(1), [ll.method("layer-cam"), ll.method("layer-cam", gamma=3.0)], ["complexity"])
    assert two.methods == ["method('layer-cam')", "method('layer-cam', gamma=3.0)"]
    with pytest.raises(InvalidOption, match="given twice"):
        ll.evaluate(c, images(1), ["cam", "cam"], ["complexity"])


def test_two_protocols_of_one_metric_are_two_columns() -> None:
    c = classifier()
    results = ll.evaluate(c, images(2), ["cam"], ["insertion", ll.metric("insertion", protocol="aop")])
    assert len(results.columns) == 2
    assert len({column.protocol for column in results.columns.values()}) == 2


def test_a_papers_protocol() -> None:
    c = classifier()
    results = ll.evaluate(c, images(2), ["grad-cam++", "smooth-grad-cam++"], ["adcc", "insertion"], protocol="adcc")
    assert results.settings["methods"]["smooth-grad-cam++"]["profile"] == "adcc"
    assert results.settings["methods"]["grad-cam++"]["normalize_at"] == "feature"
    assert "renormalize=false" in results.columns["adcc"].protocol
    with pytest.raises(InvalidOption, match="none of these metrics has a protocol 'aop'"):
        ll.evaluate(c, images(1), ["cam"], ["complexity"], protocol="aop")


def test_progress_and_chunks() -> None:
    c = classifier()
    done: list[int] = []
    many = images(3).repeat(7, 1, 1, 1)
    chunked = ll.evaluate(c, many, ["cam"], ["average-drop"], batch_size=4, on_rows=lambda rows: done.append(len(rows)))
    assert done == [4, 4, 4, 4, 4, 1]
    whole = ll.evaluate(c, many, ["cam"], ["average-drop"])
    assert chunked.values("average-drop") == pytest.approx(whole.values("average-drop"), rel=1e-4, abs=1e-6)


def test_truth_of_scenes_and_labels() -> None:
    some = test_split(6)
    results = ll.evaluate("demo/resnet", some, ["grad-cam"], ["pointing-game", "proportion"], "label")
    assert [r.target for r in results.rows] == [s.label for s in some]
    c = ll.load("demo/resnet")
    x = torch.stack([c.preprocess(Image.fromarray(s.image)) for s in some])
    masks = torch.stack([torch.from_numpy(s.mask_of(s.label)) for s in some])
    direct = ll.evaluate(c, x, ["grad-cam"], ["pointing-game", "proportion"], [s.label for s in some], masks)
    assert direct.values("proportion") == pytest.approx(results.values("proportion"), abs=1e-5)
    with pytest.raises(UnknownTarget, match=r"targets='label', but the true class of image-00000 is not known"):
        ll.evaluate(c, x, ["grad-cam"], ["complexity"], "label")


def test_masks_go_where_the_preprocessing_puts_the_picture() -> None:
    """A resized and cropped picture takes its truth along."""
    net = architectures.build("residual")
    c = ll.Classifier(net, size=64)  # shorter side to 73, centre 64
    (scene,) = scenes(1, size=128)
    results = ll.evaluate(c, [scene], [ll.method("centre-map", spread=50.0)], ["proportion"], 1)
    mask = torch.from_numpy(scene.mask_of(scene.label)).float()[None, None]
    moved = nn.functional.interpolate(mask, (73, 73), mode="bilinear", antialias=True)[0, 0, 4:68, 4:68]
    assert results.values("proportion")[0, 0] == pytest.approx(float(moved.mean()), abs=0.02)


def test_mosaics() -> None:
    cells = ll.mosaics("demo/resnet", test_split(60), count=3, confidence=0.9, seed=1)
    assert len(cells) == 12
    assert len({id(s.image) for s in cells}) == 3
    for start in range(0, 12, 4):
        group = cells[start : start + 4]
        assert len({s.label for s in group}) == 4
        assert (sum(s.mask.astype(int) for s in group) == 1).all()
    found = ll.evaluate("demo/resnet", cells, ["grad-cam", "random-map"], ["grid-pg"], "label").summary()
    assert found["grad-cam", "grid-pg"].mean > 0.4 > found["random-map", "grid-pg"].mean
    assert found["random-map", "grid-pg"].mean == pytest.approx(0.25, abs=0.1)
    with pytest.raises(InvalidOption, match="a mosaic takes 4 classes"):
        ll.mosaics("demo/resnet", test_split(4), confidence=1.0)


def test_errors() -> None:
    c, x = classifier(), images(2)
    cases = (
        (lambda: ll.evaluate(c, [], ["cam"], ["adcc"]), InvalidImage, "list of images is empty"),
        (lambda: ll.evaluate(c, x, [], ["adcc"]), InvalidOption, "list of methods is empty"),
        (lambda: ll.evaluate(c, x, ["cam"], ["proportion"]), MissingTruth, "proportion needs truth="),
        (
            lambda: ll.evaluate(c, x, ["grad-cam"], ["erasure"], lambda out: out[:, 0]),
            InvalidOption,
            "the outputs is none",
        ),
        (lambda: ll.evaluate(c, x, ["cam"], ["adcc"], [1, 2, 3]), InvalidOption, "3 targets for 2 images"),
        (
            lambda: ll.evaluate(c, x, ["cam"], ["proportion"], truth=torch.ones(3, *SIZE)),
            MissingTruth,
            "expected masks",
        ),
        (lambda: ll.metric("adcc")(c, x, None, torch.rand(2, *SIZE)), InvalidOption, "explains again: give it method="),
        (lambda: ll.metric("deletion")(c, x, None, torch.rand(2, 9, 9)), InvalidMap, r"expected one map per image"),
    )
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()


def test_check() -> None:
    pictures = [ll.example_image(i) for i in range(3)]
    figure = ll.check("demo/resnet", pictures, "grad-cam", "insertion", at_least=0.3)
    assert figure.mean > 0.3
    with pytest.raises(
        CheckFailed, match=r"insertion of grad-cam is 0\.\d+ \[.*\] on 3 images, asked for at least 0.999"
    ):
        ll.check("demo/resnet", pictures, "grad-cam", "insertion", at_least=0.999)
    with pytest.raises(AssertionError):
        ll.check("demo/resnet", pictures, "grad-cam", "deletion", at_most=0.001)
    barely = figure.mean - 1e-6
    with pytest.raises(CheckFailed, match="surely"):
        ll.check("demo/resnet", pictures, "grad-cam", "insertion", at_least=barely, sure=True)
    assert ll.check("demo/resnet", pictures, "grad-cam", "sanity-cascading").mean < 0.5
    with pytest.raises(CheckFailed, match=r"asked for at most 0\.5"):
        ll.check("demo/resnet", pictures, "fake-cam", "sanity-cascading")
    with pytest.raises(InvalidOption, match="give at_least= or at_most="):
        ll.check("demo/resnet", pictures, "grad-cam", "insertion")


def test_sanity_verdicts() -> None:
    verdicts, results = ll.sanity("demo/resnet", [ll.example_image(i) for i in range(2)], ["grad-cam", "fake-cam"])
    assert {v.method: v.passed for v in verdicts} == {"grad-cam": True, "fake-cam": False}
    assert "stays" in verdicts[1].reason
    assert len(results.curves("sanity-cascading")["grad-cam"]) == len(results.rows[0].curves["sanity-cascading"])


def test_compare() -> None:
    gallery, results = ll.compare(
        "demo/resnet", ll.example_image(), ["grad-cam", "fake-cam"], ["complexity", "deletion"]
    )
    assert [e.method for e in gallery[0]] == results.methods
    assert results.values("complexity")[1, 0] > 0.99


def test_what_was_finished_is_not_lost(tmp_path: Path) -> None:
    """A broken file, found late, stops the evaluation; the error carries what was done until then."""
    files = [tmp_path / f"{i}.png" for i in range(4)]
    for i, file in enumerate(files):
        ll.example_image(i).save(file)
    files[3].write_bytes(b"no picture")
    with pytest.raises(InvalidImage, match=r"3\.png") as caught:
        ll.evaluate("demo/resnet", files, ["cam", "grad-cam"], ["complexity"], batch_size=2, strict=True)
    finished = caught.value.finished  # type: ignore[attr-defined]
    assert finished.images == ["0.png", "1.png"]
    assert len(finished) == 4

    def impatient(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stopped:
        ll.evaluate("demo/resnet", files[:2], ["cam", "grad-cam"], ["complexity"], on_rows=impatient)
    assert stopped.value.finished.methods == ["cam"]  # type: ignore[attr-defined]


def test_one_name_is_a_list_of_one() -> None:
    c, x = classifier(), images()
    alone = ll.evaluate(c, x, "grad-cam", "adcc")
    assert (alone.methods, list(alone.columns)) == (["grad-cam"], ["adcc"])
    assert (alone.values("adcc") == ll.evaluate(c, x, ["grad-cam"], ["adcc"]).values("adcc")).all()
    gallery, results = ll.compare(c, x[0], ll.method("grad-cam"), ll.metric("adcc"))
    assert [e.method for e in gallery[0]] == results.methods == ["grad-cam"]
    verdicts, _ = ll.sanity(c, x[:1], "random-map")
    assert [v.method for v in verdicts] == ["random-map"]
    api.sanity_strip(c, x[0], "random-map", steps=1)
    for wrong in ({"methods": 3}, {"metrics": None}, {"methods": []}):
        with pytest.raises(InvalidOption, match=r"(methods|metrics)\b.*see limelight\.(methods|metrics)"):
            ll.evaluate(c, x, **wrong)  # type: ignore[arg-type]


def test_a_batch_of_one_is_one_picture() -> None:
    c, x = classifier(), images()
    want = ll.compare(c, x[0], "grad-cam", ())[0][0][0].map
    for one in (x[:1], [x[0]], iter([x[0]])):
        assert torch.equal(ll.compare(c, one, "grad-cam", ())[0][0][0].map, want)
        assert api.plan(c, x[:1], "grad-cam").layers == api.plan(c, x[0], "grad-cam").layers
    assert torch.equal(ll.propose(c, x[:1], "grad-cam", boxes=[[0, 0, 9, 9]]).explanation.map, want)
    for verb in (ll.compare, ll.propose, api.sanity_strip):
        with pytest.raises(InvalidImage, match=r"2 pictures where one .* explain and evaluate take several"):
            verb(c, x[:2], "grad-cam")


def test_a_folder_in_place_of_a_picture(tmp_path: Path) -> None:
    with pytest.raises(InvalidImage, match=r"is a folder; give a list of its pictures, such as sorted\(Path"):
        ll.explain(classifier(), tmp_path)
