"""Sheets and animations of optimisations."""

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import architectures
import limelight as ll
from limelight import cli, errors
from limelight.data.synthetic import test_split
from limelight.draw import chart, trace
from limelight.ops.blur import gaussian_blur

GREY = np.full((40, 56, 3), 128, np.uint8)
WHITE = (255, 255, 255)


def course(steps: int, shown: int, score: np.ndarray | None = None) -> trace.Course:
    """Return a course in which a bar of heat grows, and the score falls."""
    shots = []
    for n in trace.spread_steps(steps, shown):
        heat = np.zeros((40, 56))
        heat[:, : 1 + 55 * n // max(1, steps - 1)] = 1
        shots.append(trace.Shot(n, heat, np.where(heat[..., None] > 0, 0, GREY).astype(np.uint8)))
    falling = np.linspace(1, 0, steps) if score is None else score
    return trace.Course(GREY, shots, falling, falling + 0.1, 1.0, "descent · bee 1.00", "probability")


def frames(data: bytes | Path) -> Iterator[Image.Image]:
    with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as film:
        for number in range(film.n_frames):
            film.seek(number)
            yield film.convert("RGB")


def test_spread_has_both_ends() -> None:
    assert trace.spread_steps(16, 6) == [0, 3, 6, 9, 12, 15]
    assert trace.spread_steps(4, 6) == [0, 1, 2, 3]
    assert trace.spread_steps(1, 6) == [0]
    long = trace.spread_steps(301, 60)
    assert (len(long), long[0], long[-1]) == (60, 0, 300)
    assert set(np.diff(long)) == {5, 6}


def test_animation_has_a_frame_per_step_and_loops() -> None:
    data = trace.animation(course(11, 60), "about it")
    with Image.open(io.BytesIO(data)) as film:
        assert (film.n_frames, film.info["loop"], film.info["comment"]) == (11, 0, b"about it")
        shown = film.info["duration"]
        film.seek(10)
        assert 80 <= shown < film.info["duration"]  # it stands at the end
    pictures = list(frames(data))
    assert len({picture.size for picture in pictures}) == 1
    assert {picture.getpixel((1, 1)) for picture in pictures} == {WHITE}
    # What the model sees is grey, and black where the bar is.
    dark = [int((np.asarray(p)[60:200, 250:460].max(2) < 40).sum()) for p in pictures]
    assert sorted(dark) == dark
    assert dark[0] < 0.1 * dark[-1]


@pytest.mark.slow
def test_animation_of_many_steps_is_small() -> None:
    data = trace.animation(course(400, 60))
    assert len(list(frames(data))) == 60
    assert len(data) < 3e6


def test_curve_grows_up_to_the_step() -> None:
    curve = chart.GrowingCurve(np.linspace(1, 0, 11), "probability", {}, 480)

    def blue(step: int) -> np.ndarray:
        red, green, sky = np.asarray(curve.until(step), int).transpose(2, 0, 1)
        return (sky - red > 100) & (sky > green)

    columns = [np.flatnonzero(blue(step).any(0)) for step in range(11)]
    reached = [int(c.max()) for c in columns]
    assert np.diff(reached).min() > 0
    assert max(np.diff(np.diff(reached[:-1]))) <= 1  # steps are equally far apart
    assert len({int(c.min()) for c in columns[1:]}) == 1  # they begin where the first does
    rows = [np.flatnonzero(blue(step)[:, reached[step] - 4]).mean() for step in range(11)]
    assert np.diff(rows).min() > 0  # the probability falls


@pytest.mark.slow
def test_steps_without_a_score_are_drawn() -> None:
    lost = course(5, 60, np.array([0.9, 0.5, 0.4, 0.3, np.nan]))
    assert len(list(frames(trace.animation(lost)))) == 5
    assert trace.storyboard(lost).width > 5 * 224
    assert trace.storyboard(course(1, 6)).width >= 720
    assert len(list(frames(trace.animation(course(1, 6))))) == 1


def test_storyboard_shows_six_steps_over_the_curves() -> None:
    sheet = trace.storyboard(course(16, 6))
    assert sheet.width > 6 * 224
    assert sheet.height > 2 * 160 + 250
    assert np.asarray(sheet)[:4].min() == np.asarray(sheet)[-2:].min() == 255
    longest = replace(course(16, 6), heading="a very long name " * 40)
    assert trace.storyboard(longest).size == sheet.size


# -- of explanations ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def classifier() -> ll.Classifier:
    return ll.Classifier(architectures.build("plain"), labels=["ant", "bee", "cat", "dog", "eel"], name="plain")


@pytest.fixture(scope="module")
def explanation(classifier: ll.Classifier) -> ll.Explanation:
    return ll.explain(classifier, architectures.images(1)[0], "i-gos", "cat", n=4, points=2, size=7)


def test_view_and_animation_of_an_explanation(explanation: ll.Explanation, tmp_path: Path) -> None:
    sheet = explanation.view("trace")
    assert sheet.width > 5 * 224
    path = explanation.save(tmp_path / "x.png", view="trace")
    with Image.open(path) as saved:
        assert saved.size == sheet.size
    film = explanation.animate(tmp_path / "deep" / "x.gif")
    with Image.open(film) as moving:
        assert moving.n_frames <= 5  # frames that are equal become one
        assert json.loads(moving.info["comment"])["limelight"]["options"]["points"] == 2


def test_shots_are_what_the_masks_leave(explanation: ll.Explanation) -> None:
    masks = torch.ones(3, 7, 7)
    masks[1] = 0.5
    masks[2] = torch.nan
    values = torch.tensor([0.9, 0.2, torch.nan])
    details = {"trace_masks": masks, "trace_score": values, "trace_objective": values}
    seen = replace(explanation, details=details)._course(6)
    assert [shot.step for shot in seen.shots] == [0, 1]
    assert len(seen.score) == len(seen.objective) == 2
    assert seen.whole == pytest.approx(explanation.score)
    original = np.asarray(explanation.view("image"), int)
    assert np.abs(np.asarray(seen.shots[0].seen, int) - original).max() <= 1
    np.testing.assert_allclose(seen.shots[1].change, 0.5, rtol=1e-6)
    away = np.asarray(seen.shots[1].seen, int).std((0, 1))
    assert (away < original.std((0, 1))).all()  # half of it is blurred


@pytest.mark.parametrize(
    ("options", "hot", "kept", "changed"),
    [  # for a mask of 3/4: how hot it is, how much of the picture is kept, and what is said
        ({}, 0.25, 0.75, "taken away"),
        ({"game": "insertion"}, 0.25, 0.25, "shown"),
        ({"optimiser": "emp", "optimiser_options": {"game": "insertion"}}, 0.25, 0.25, "shown"),
        ({"optimiser": "extremal-perturbation", "optimiser_options": None}, 0.75, 0.75, "shown"),
        ({"optimiser": "extremal-perturbation", "variant": "delete"}, 0.75, 0.25, "taken away"),
    ],
)
def test_heat_is_the_map_and_the_model_sees_what_is_left(
    explanation: ll.Explanation, options: dict[str, Any], hot: float, kept: float, changed: str
) -> None:
    # Two areas, of which the first is shown.
    details = {"trace_masks": torch.full((2, 1, 5, 5), 0.75)}
    details["trace_masks"][1] = 0
    details |= {"trace_score": torch.ones(2, 1), "trace_objective": torch.ones(2, 1)}
    course = replace(explanation, details=details, provenance={"options": options})._course(6)
    assert "the first of 2 areas" in course.heading
    np.testing.assert_allclose(course.shots[0].change, hot, rtol=1e-6)
    picture, blurred = explanation.image, gaussian_blur(explanation.image[None])[0]
    seen = (kept * picture + (1 - kept) * blurred).permute(1, 2, 0).numpy() * 255
    np.testing.assert_allclose(course.shots[0].seen, seen, atol=0.51)
    assert course.changed == changed


@pytest.mark.slow
def test_trace_survives_saving(explanation: ll.Explanation, tmp_path: Path) -> None:
    again = ll.Explanation.load(explanation.save(tmp_path / "x.npz"))
    for name in ("trace_masks", "trace_score", "trace_objective"):
        assert torch.equal(again.details[name].nan_to_num(-1), explanation.details[name].nan_to_num(-1))
    assert explanation.animate(tmp_path / "a.gif").read_bytes()[:6] == b"GIF89a"
    assert np.array_equal(np.asarray(again.view("trace")), np.asarray(explanation.view("trace")))


@pytest.mark.slow
def test_emp_shows_its_last_mask_without_a_score(classifier: ll.Classifier, tmp_path: Path) -> None:
    e = ll.explain(classifier, architectures.images(1)[0], "emp", n=3, size=7, init="ones")
    masks = e.details["trace_masks"]
    torch.testing.assert_close(masks[-1], e.details["mask"])
    assert [shot.step for shot in e._course(6).shots] == [0, 1, 2, 3]
    assert np.isnan(e._course(6).score[-1])
    assert e.animate(tmp_path / "x.gif").exists()


def test_methods_without_a_trace_say_so(classifier: ll.Classifier, tmp_path: Path) -> None:
    e = ll.explain(classifier, architectures.images(1)[0], "grad-cam")
    for show in (lambda: e.view("trace"), lambda: e.animate(tmp_path / "x.gif")):
        with pytest.raises(errors.InvalidOption, match=r"grad-cam keeps no trace; .*i-gos.* do"):
            show()
    assert not list(tmp_path.iterdir())


def test_wrong_suffixes_empty_traces_and_galleries(explanation: ll.Explanation, tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidOption, match=r"'x\.png': an animation is saved as \.gif"):
        explanation.animate(tmp_path / "x.png")
    nothing = {k: v * torch.nan for k, v in explanation.details.items() if k.startswith("trace")}
    with pytest.raises(errors.InvalidOption, match="took no step"):
        replace(explanation, details=nothing).view("trace")
    with pytest.raises(errors.InvalidOption, match="trace of one explanation is a sheet already"):
        ll.Gallery([[explanation]]).picture("trace")
    assert not list(tmp_path.iterdir())


# -- on the command line -------------------------------------------------------------------------------------------

MODEL = ("--model", "demo/resnet", "--method", "i-gos", "-p", "n=2", "-p", "points=2")


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "scene.png"
    Image.fromarray(test_split(1)[0].image).save(path)
    return path


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as done:
        cli.main([str(a) for a in arguments])
    code = done.value.code
    return code if isinstance(code, int) else 0


@pytest.mark.slow
def test_writes_an_animation_and_a_sheet(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, film = tmp_path / "x.png", tmp_path / "deep" / "x.gif"
    assert run("explain", scene, *MODEL, "--view", "trace", "--out", out, "--trace", film) == 0
    with Image.open(film) as moving:
        assert 1 < moving.n_frames <= 3
        assert moving.width > 2 * 224
    with Image.open(out) as sheet:
        assert sheet.width > 3 * 224
    assert "x.gif" in "".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_a_folder_gets_one_per_picture(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures, films = tmp_path / "pictures", tmp_path / "films"
    pictures.mkdir()
    for name in ("a", "b"):
        Image.open(scene).save(pictures / f"{name}.jpg")
    assert run("explain", pictures, *MODEL, "--out", tmp_path / "maps", "--trace", films, "--json") == 0
    results = json.loads(capsys.readouterr().out)
    assert [r["trace"] for r in results] == [str(films / f"{name}.i-gos.gif") for name in ("a", "b")]
    assert all(Path(r["trace"]).exists() for r in results)
    assert run("explain", pictures, *MODEL, "--trace", tmp_path / "one.gif") == 2
    assert "--trace" in (said := capsys.readouterr().err)
    assert "give a folder" in said


def test_what_has_no_trace_is_refused_at_once(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = ("--model", "there/is/no/model")  # it is not even looked for
    for asked in (("--trace", "x.gif"), ("--view", "trace")):
        assert run("explain", scene, *other, "--method", "grad-cam", *asked) == 2
        said = capsys.readouterr().err
        assert "grad-cam keeps no trace" in said
        assert "i-gos" in said
    assert run("explain", scene, *other, "--method", "i-gos", "--trace", "x.png") == 2
    assert "an animation is a .gif" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["scene.png"]
