"""One damaged picture among many costs one row, and pictures of one name keep files and rows of their own."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import limelight as ll
from cli.commands import run
from limelight import zoo
from limelight.api import as_samples
from limelight.cli.files import file_names, number_duplicates
from limelight.data import images
from limelight.data.samples import Sample
from limelight.data.synthetic import test_split
from limelight.errors import InvalidImage, PictureWarning
from limelight.pages.choose import save

MODEL = ("--model", "demo/resnet")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures; the first of four files is cut off."""
    folder = tmp_path_factory.mktemp("pictures")
    for i, scene in enumerate(test_split(4)):
        Image.fromarray(scene.image).save(folder / f"{i}.png")
    damage(folder / "0.png")
    return folder


def test_what_holds_for_all_pictures_is_said_once_and_our_own_pictures_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for i, scene in enumerate(test_split(2)):
        Image.fromarray(scene.image).save(tmp_path / f"{i}.png")
    made = {f"{i}.grad-cam.png" for i in range(2)}
    for again in (False, True):
        assert run("explain", tmp_path, *MODEL) == 0
        told = capsys.readouterr()
        assert " ".join(told.out.split()).count("the same map by theorem") == 1
        assert all((name in told.err) == again for name in made)
        assert {path.name for path in tmp_path.iterdir()} == {"0.png", "1.png", *made}
    assert run("explain", tmp_path / "0.grad-cam.png", *MODEL) == 0  # somebody may mean it
    for name in ("0.png", "1.png"):
        (tmp_path / name).unlink()
    assert run("explain", tmp_path, *MODEL) == 2
    assert "are explanations that Limelight made" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--threads", "--workers"])
def test_numbers_that_would_take_all_memory_are_refused(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("benchmark", "demo", "--out", tmp_path / "run", option, 10**9) == 2
    assert f"{option[2:]} = 1000000000: expected 1 to" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def damage(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


@pytest.fixture(scope="module")
def hopeless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hopeless")
    for i in range(2):
        (folder / f"{i}.png").write_bytes(b"no picture")
    return folder


RECIPE = """
name = "one method"
[models]
names = ["demo/resnet"]
[[methods]]
name = "grad-cam"
[[metrics]]
name = "complexity"
"""


def commands(folder: Path, out: Path) -> dict[str, tuple[object, ...]]:
    (out / "recipe.toml").write_text(RECIPE)
    return {
        "explain": ("explain", folder, *MODEL, "--out", out / "maps"),
        "evaluate": ("evaluate", folder, *MODEL, "--metrics", "complexity", "--out", out / "rows.csv"),
        "evaluate quick": ("evaluate", folder, *MODEL, "--methods", "quick", "--metrics", "complexity"),
        "sanity": ("sanity", folder, *MODEL, "--out", out / "sanity.png"),
        "propose": ("propose", folder, *MODEL, "--method", "grad-cam", "--out", out / "boxes"),
        "choose": ("choose", folder, *MODEL, "--methods", "grad-cam,layer-cam", "--metrics", "complexity"),
        "benchmark": ("benchmark", out / "recipe.toml", "--data", folder, "--out", out / "run"),
    }


NAMES = ["explain", "evaluate", "sanity", "propose", "choose", "benchmark"]


@pytest.mark.parametrize("name", [*NAMES, pytest.param("evaluate quick", marks=pytest.mark.slow)])
def test_a_damaged_picture_is_named_and_left_out(
    name: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*commands(pictures, tmp_path)[name]) == 1
    said = capsys.readouterr().err
    assert said.count("left out") == 1
    assert "0.png is a damaged or unsupported picture" in said
    if name == "explain":
        assert {p.name for p in (tmp_path / "maps").iterdir()} == {f"{i}.grad-cam.png" for i in (1, 2, 3)}
    elif name == "evaluate":
        assert len((tmp_path / "rows.csv").read_text().splitlines()) == 4
    elif name == "propose":
        assert len(list((tmp_path / "boxes").iterdir())) == 3
    elif name == "benchmark":
        for more, code in (((), 1), (("--retry",), 1), (("--strict",), 2)):  # what failed is there, and is told again
            assert run(*commands(pictures, tmp_path)[name], *more) == code
            assert capsys.readouterr().err.count("0.png is a damaged or unsupported picture") == 1
        before = (tmp_path / "run" / "settings.json").read_bytes()
        assert run("report", tmp_path / "run", "--out", tmp_path / "run" / "settings.json") == 2
        assert "is a file that is read" in capsys.readouterr().err
        assert (tmp_path / "run" / "settings.json").read_bytes() == before


@pytest.mark.parametrize("name", NAMES)
def test_strict_refuses_it(
    name: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before there is any work: the damaged picture is the last, and no model is loaded; a benchmark keeps its rows."""
    (tmp_path / "pictures").mkdir()
    for i, file in enumerate(reversed(sorted(pictures.iterdir()))):
        (tmp_path / "pictures" / f"{i}.png").write_bytes(file.read_bytes())
    command = commands(tmp_path / "pictures", tmp_path)[name]
    if name != "benchmark":
        monkeypatch.setattr(zoo, "load", None)
    for more in ((), ("--dry-run",)) if name == "explain" else ((),):
        assert run(*command, "--strict", *more) == 2
        assert "3.png is a damaged or unsupported picture" in capsys.readouterr().err


@pytest.mark.parametrize("name", NAMES[:-1])
def test_if_all_are_damaged_it_is_an_error(
    name: str, hopeless: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*commands(hopeless, tmp_path)[name]) == 2
    assert "none of 2 pictures can be read" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["explain", "sanity", "propose"])
def test_json_names_what_is_left_out(
    name: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*commands(pictures, tmp_path)[name], "--json") == 1
    found = json.loads(capsys.readouterr().out)
    left_out = {e["image"]: e["error"] for e in found if "error" in e} if name == "explain" else found["unreadable"]
    ((picture, why),) = left_out.items()
    assert picture.endswith("0.png")
    assert "damaged" in why


# -- in Python ----------------------------------------------------------------------------------------------


def test_verbs_warn_and_go_on(pictures: Path, tmp_path: Path) -> None:
    files = sorted(pictures.iterdir())
    classifier = ll.load("demo/resnet")
    with pytest.warns(PictureWarning, match=r"1 of 4 pictures can't be read and were left out: .*0\.png"):
        found = ll.explain(classifier, files, target=[0, 1, 2, 3])
    assert [e.target for e in found] == [1, 2, 3]
    with pytest.warns(PictureWarning):
        assert len(ll.explain(classifier, files, ["grad-cam", "layer-cam"])) == 3
    masks = torch.zeros(4, 128, 128)
    for i in range(4):
        masks[i, : 16 * (i + 1)] = 1
    with pytest.warns(PictureWarning, match=r"0\.png"):
        results = ll.evaluate(classifier, pictures, ["centre-map"], ["proportion"], [0, 1, 2, 3], truth=masks)
    assert [(r.image, r.target) for r in results.rows] == [("1.png", 1), ("2.png", 2), ("3.png", 3)]
    shares = [r.values["proportion"] for r in results.rows]
    assert shares == sorted(shares)  # each with its own mask
    assert list(results.settings["unreadable"]) == ["0.png"]
    assert "- 0.png: " in results.save(tmp_path / "rows.md").read_text()
    with pytest.warns(PictureWarning):
        assert ll.check(classifier, pictures, "grad-cam", "complexity", at_least=0).images == 3
    with pytest.warns(PictureWarning):
        choice = ll.choose(classifier, files, ["grad-cam", "layer-cam"], "complexity")
    assert (choice.given, choice.pictures, list(choice.unreadable)) == (3, 3, ["0.png"])
    assert "0.png is a damaged" in save(choice, tmp_path / "choice.html").read_text()
    strict: Any
    for strict in (
        lambda: ll.explain(classifier, files, strict=True),
        lambda: ll.evaluate(classifier, pictures, ["grad-cam"], ["complexity"], strict=True),
        lambda: ll.check(classifier, pictures, "grad-cam", "complexity", at_least=0, strict=True),
        lambda: ll.choose(classifier, files, ["grad-cam", "layer-cam"], "complexity", strict=True),
        lambda: ll.explain(classifier, files[0]),
        lambda: ll.evaluate(classifier, files[:1], ["grad-cam"], ["complexity"]),
    ):
        with pytest.raises(InvalidImage, match=r"0\.png is a damaged"):
            strict()


def test_each_of_one_name_counts(hopeless: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classifier, missing, good = ll.load("demo/resnet"), "missing.png", pictures / "1.png"
    for verb in (ll.explain, ll.evaluate):
        with pytest.raises(InvalidImage, match="none of 2 pictures can be read: there is no file missing"):
            verb(classifier, [missing, missing])
        with pytest.warns(PictureWarning, match="2 of 3 pictures can't be read and were left out: .*; missing"):
            found: Any = verb(classifier, [missing, missing, good])
        assert len(getattr(found, "images", found)) == 1
    assert run("explain", hopeless / "0.png", hopeless / "0.png", *MODEL) == 2
    assert "none of 2 pictures can be read" in capsys.readouterr().err


def test_a_warning_that_is_an_error_loses_no_work(pictures: Path) -> None:
    verbs: Any = (
        lambda: ll.evaluate("demo/resnet", pictures, ["grad-cam"], ["complexity"]),
        lambda: ll.choose("demo/resnet", pictures, ["grad-cam", "layer-cam"], "complexity"),
    )
    for verb in verbs:
        with warnings.catch_warnings():
            warnings.simplefilter("error", PictureWarning)
            with pytest.raises(PictureWarning) as stopped:
                verb()
        finished: Any = stopped.value
        assert len(getattr(finished.finished, "results", finished.finished).images) == 3


def test_tensors_and_masks_that_are_no_good_are_left_out_too(tmp_path: Path) -> None:
    classifier = ll.load("demo/resnet")
    x = torch.randn(3, 3, 64, 64)
    x[1, 0, 0, 0] = torch.nan
    with pytest.warns(PictureWarning, match="image-00001: .*NaN or infinite"):
        rows = ll.evaluate(classifier, x, ["grad-cam"], ["complexity"]).rows
    assert [r.image for r in rows] == ["image-00000", "image-00002"]
    scene = test_split(1)[0].image
    mask = np.zeros(scene.shape[:2], np.uint8)
    mask[:9] = 1
    samples = [Sample(scene, "good", mask=mask), Sample(scene, "bad", mask=mask[1:])]
    with pytest.warns(PictureWarning, match="bad: the mask is"):
        rows = ll.evaluate(classifier, samples, ["grad-cam"], ["proportion"]).rows
    assert [r.image for r in rows] == ["good"]


def test_a_race_with_a_budget_passes_over_damaged_pictures(tmp_path: Path) -> None:
    for i, scene in enumerate(test_split(9)):
        Image.fromarray(scene.image).save(tmp_path / f"{i}.png")
        if i % 3 == 0:
            damage(tmp_path / f"{i}.png")
    with pytest.warns(PictureWarning, match="3 of"):
        choice = ll.choose(
            "demo/resnet", tmp_path, ["grad-cam", "layer-cam"], "complexity", budget="500 forwards", first=2
        )
    assert choice.pictures == choice.given == 6
    assert len(choice.unreadable) == 3


def test_every_picture_is_decoded_once(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read, seen = images._read, list[str]()

    def noted(file: Any, name: str, *settings: Any) -> Image.Image:
        seen.append(Path(name).name)
        return read(file, name, *settings)

    monkeypatch.setattr(images, "_read", noted)
    with pytest.warns(PictureWarning):
        ll.choose("demo/resnet", pictures, ["grad-cam", "layer-cam"], "complexity", progress=False)
    assert sorted(seen) == [f"{i}.png" for i in range(4)]
    seen.clear()
    assert run("propose", pictures, *MODEL, "--method", "grad-cam") == 1
    assert sorted(seen) == [f"{i}.png" for i in range(4)]


# -- names --------------------------------------------------------------------------------------------------


def test_pictures_of_one_name_keep_their_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scene = Image.fromarray(test_split(1)[0].image)
    files = ["a/x.png", "b/x.png", "b/x.jpg", "x.png"]
    for file in files:
        Path(file).parent.mkdir(exist_ok=True)
        scene.save(file)
    assert run("explain", *files, *MODEL, "--out", "maps") == 0
    assert len(list(Path("maps").iterdir())) == 4
    assert run("explain", "a/x.png", "b/x.png", *MODEL) == 0
    assert {p.name for p in Path().glob("*.grad-cam.png")} == {"a-x.grad-cam.png", "b-x.grad-cam.png"}
    assert run("propose", *files, *MODEL, "--method", "grad-cam", "--out", "boxes") == 0
    assert len(list(Path("boxes").iterdir())) == 4
    before = Path("x.png").read_bytes()
    for command in ("explain", "compare", "sanity"):
        assert run(command, "x.png", *MODEL, "--out", "x.png") == 2
    assert Path("x.png").read_bytes() == before


def test_no_command_writes_over_what_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    scene = Image.fromarray(test_split(1)[0].image)
    for name in ("a.png", "b.png", "a.propose.png", "film.gif", "photos/cat.png"):
        scene.save(name)
    Path("list.csv").write_text("file,mask\na.png,b.png\n")
    Path("photos/labels.csv").write_text("file\ncat.png\n")
    Path("photos/other.png").hardlink_to("photos/cat.png")
    before = {file: file.read_bytes() for file in sorted(Path().rglob("*.*"))}
    steps = ("--method", "i-gos", "--trace", "film.gif")
    for arguments in (
        ("explain", "film.gif", *MODEL, *steps, "--out", "map.png"),
        ("explain", "a.png", *MODEL, "--out", "photos/../a.png"),
        ("compare", "a.png", *MODEL, "--out", "a.png"),
        ("evaluate", "list.csv", *MODEL, "--out", "list.csv"),
        ("evaluate", "photos", *MODEL, "--out", "photos/labels.csv"),
        ("sanity", "photos", *MODEL, "--out", "photos/other.png"),
        ("sanity", "list.csv", *MODEL, "--out", "b.png"),
        ("propose", "a.png", "a.propose.png", *MODEL, "--out", "."),
    ):
        assert run(*arguments) == 2
        assert "is a file that is read" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in sorted(Path().rglob("*.*"))} == before


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["x.png", "y.png"], ["x", "y"]),
        (["a/x.png", "b/x.png"], ["a-x", "b-x"]),
        (["x.png", "x.jpg"], ["x.png", "x.jpg"]),
        (["X.png", "x.jpg"], ["X.png", "x.jpg"]),
        (["c/a/x.png", "d/a/x.png"], ["c-a-x", "d-a-x"]),
        (["x.png", "x.png"], ["x", "x-2"]),
        (["a/x.png", "a-x.png", "x.png"], ["a-x", "a-x-2", "x"]),
        (["../x.png", "x.png"], ["x", "x-2"]),
        ([], []),
    ],
)
def test_names_of_files(given: list[str], names: list[str]) -> None:
    found = file_names([Path(one) for one in given])
    assert len({name.lower() for name in found}) == len(given)
    assert found == names
    assert number_duplicates(["x", "X", "x-2", "x"]) == ["x", "X-3", "x-2", "x-4"]


def test_names_of_rows(tmp_path: Path) -> None:
    scene = Image.fromarray(test_split(1)[0].image)
    for file in ("a/x.png", "b/x.png"):
        (tmp_path / file).parent.mkdir()
        scene.save(tmp_path / file)
    one, other = tmp_path / "a/x.png", tmp_path / "b/x.png"
    assert [s.name for s in as_samples([one, other])] == [str(one), str(other)]
    assert [s.name for s in as_samples([one, one])] == [str(one), f"{one} (2)"]
    arrays = [Sample(np.zeros((8, 8, 3), np.uint8), "x"), Sample(np.zeros((8, 8, 3), np.uint8), "x")]
    assert [s.name for s in as_samples([*arrays, Sample(1, "x (2)")])] == ["x", "x (3)", "x (2)"]
    # A row of a file called x#a, and one of a file x with several classes.
    scene.save(tmp_path / "x#a.png")
    (tmp_path / "list.csv").write_text("file,label\na/x.png,b#c\na/x.png,d\nb/x.png,1\n")
    assert len({s.name for s in as_samples(tmp_path / "list.csv")}) == 3
    results = ll.evaluate("demo/resnet", [one, other], ["grad-cam"], ["complexity"])
    assert len(results.images) == 2
    assert json.dumps(results.images)
