"""What users and machines do to a run: each is told in one line, and what was finished is safe."""

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from limelight import cli
from limelight.bench.cell import Cell
from limelight.bench.recipe_file import read_recipe
from limelight.bench.run import benchmark
from limelight.bench.store import Store
from limelight.data.synthetic import scene
from limelight.errors import InvalidOption

RECIPE = """
name = "small"
[data]
dataset = "scenes"
n = 3
[models]
names = ["demo/resnet"]
[[methods]]
name = "random-map"
[[methods]]
name = "centre-map"
[[metrics]]
name = "average-drop"
"""
CELLS = 3 * 2
"""Pictures times methods."""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("given", "message"),
    [
        *(({name: n}, f"{name} = ") for name in ("threads", "workers", "limit") for n in (0, -1)),
        *(({name: n}, f"{name} = .*expected 1 to") for name in ("threads", "workers") for n in (10**9, 10**5000)),
        *(({"shard": shard}, "shard = ") for shard in ((2, 2), (-1, 2), (0, 0))),
    ],
)
def test_numbers_out_of_range_are_refused(given: dict[str, Any], message: str, recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match=message):
        benchmark(read_recipe(recipe), tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


def told(*arguments: object) -> tuple[int, str, str]:
    """Return the exit code of a command, and what it printed on either stream."""
    out, err, code = io.StringIO(), io.StringIO(), None
    with redirect_stdout(out), redirect_stderr(err):
        try:
            cli.main([str(a) for a in arguments])
        except SystemExit as left:
            code = left.code
    return (code if isinstance(code, int) else 0), out.getvalue(), err.getvalue()


def refused(*arguments: object) -> str:
    """Return the one line with which a command leaves."""
    code, _, err = told(*arguments)
    return line_of(code, err)


def line_of(code: int, err: str) -> str:
    """Return the only line of what was said; it must be one, and the exit code that of a user's mistake."""
    lines = err.splitlines()
    assert (code, len(lines)) == (2, 1), err
    assert lines[0].startswith("limelight: ")
    assert "Traceback" not in err
    return lines[0]


def measure(recipe: Path, run: Path, *more: object) -> dict[str, int]:
    """Run a recipe and return what was done."""
    code, out, err = told("benchmark", recipe, "--out", run, "--json", *more)
    assert code == 0, err
    return json.loads(out)


def rows(run: Path) -> dict[int, float]:
    """Return the numbers of a run by key."""
    table = Store(run).table(["value"])
    return dict(zip(table["key"].to_pylist(), table["value"].to_pylist(), strict=True))


# -- what can't begin --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (RECIPE.replace("[models]", "[modles]"), ["small.toml", "'modles'", "did you mean models"]),
        (RECIPE + 'levels = "image"\n', ["small.toml", "'levels'", "average-drop"]),
        ("name = \n", ["small.toml is no TOML", "line 1"]),
        (b"\x89PNG\r\n\x1a\n\xff", ["small.toml is no TOML"]),
        (None, ["small.toml can't be read"]),
    ],
    ids=["key", "option", "toml", "bytes", "missing"],
)
def test_a_recipe_that_is_none_makes_no_folder(recipe: Path, text: str | bytes | None, said: Sequence[str]) -> None:
    if text is None:
        recipe.unlink()
    else:
        recipe.write_bytes(text if isinstance(text, bytes) else text.encode())
    line = refused("benchmark", recipe, "--out", recipe.parent / "run")
    assert [part for part in said if part not in line] == [], line
    assert not (recipe.parent / "run").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--shard", "0/4"), "0/4: expected 1 <= I <= N"),
        (("--shard", "5/4"), "5/4: expected 1 <= I <= N"),
        (("--shard", "1/2/3"), "expected I/N"),
        (("--executor", "slurm"), "'slurm'; there are local and ray"),
        (("--limit", "0"), "--limit"),
        (("--data",), "--data"),
        (("--retries", "3"), "--retries"),
    ],
)
def test_an_option_that_is_wrong_makes_no_folder(recipe: Path, options: Sequence[str], said: str) -> None:
    assert said in refused("benchmark", recipe, "--out", recipe.parent / "run", *options)
    assert not (recipe.parent / "run").exists()


def test_pictures_that_are_not_there(recipe: Path) -> None:
    recipe.write_text(RECIPE.replace('"scenes"', '"folder"'), encoding="utf-8")
    run = recipe.parent / "run"
    assert "--data" in refused("benchmark", recipe, "--out", run)
    assert "nowhere" in refused("benchmark", recipe, "--out", run, "--data", recipe.parent / "nowhere")
    (recipe.parent / "bare").mkdir()
    assert "bare" in refused("benchmark", recipe, "--out", run, "--data", recipe.parent / "bare")


def test_a_report_of_what_is_no_run(recipe: Path) -> None:
    folder = recipe.parent
    for path in (folder / "nowhere", folder, recipe):
        assert f"there is no run in {path}" in refused("report", path)
    Store(folder / "run", {"limelight": 1, "recipe": {"name": "a"}})
    assert "is no run of `limelight benchmark`" in refused("report", folder / "run")
    assert not list(folder.rglob("*.html"))


# -- what goes wrong on the way ----------------------------------------------------------------------------


def test_files_that_are_no_pictures_are_counted_and_the_run_goes_on(recipe: Path) -> None:
    pictures = recipe.parent / "pictures"
    pictures.mkdir()
    for i in range(3):
        Image.fromarray(scene(i, objects=1).image).save(pictures / f"{i}.png")
    (pictures / "cut.png").write_bytes((pictures / "0.png").read_bytes()[:900])
    (pictures / "empty.jpg").write_bytes(b"")
    (pictures / "words.png").write_text("no picture", encoding="utf-8")
    recipe.write_text(RECIPE.replace('"scenes"', '"folder"').replace("n = 3", 'n = "all"'), encoding="utf-8")
    run = recipe.parent / "run"
    code, out, err = told("benchmark", recipe, "--out", run, "--data", pictures)
    assert code == 1
    assert all(name in err for name in ("cut.png", "empty.jpg", "words.png"))
    assert "12 cells measured, 6 of them failed" in " ".join(out.split())
    table = Store(run).table(["image", "value", "error"]).to_pylist()
    wrong = {row["image"] for row in table if row["error"]}
    assert wrong == {"cut.png", "empty.jpg", "words.png"}
    assert all(row["image"] in row["error"] and "\n" not in row["error"] for row in table if row["error"])
    assert all(row["value"] == row["value"] for row in table if not row["error"])
    code, out, _ = told("benchmark", recipe, "--out", run, "--json", "--data", pictures)
    again = json.loads(out)
    assert (code, again["finished"], again["before"], set(again["unreadable"])) == (1, 0, 12, wrong)


# -- what happens to a folder ------------------------------------------------------------------------------


@pytest.fixture
def run(recipe: Path) -> Path:
    """A run of two files of rows."""
    run = recipe.parent / "run"
    measure(recipe, run, "--limit", 1)
    assert measure(recipe, run)["before"] == 2
    return run


@pytest.mark.parametrize("harm", ["middle", "end", "start", "cut"])
def test_a_damaged_file_of_rows_is_named_and_measured_again(recipe: Path, run: Path, harm: str) -> None:
    before, victim = rows(run), Store(run).files[0]
    good = victim.read_bytes()
    at = {"middle": len(good) // 3, "end": len(good) - 40, "start": 40, "cut": len(good) // 2}[harm]
    victim.write_bytes(
        good[:at] + (b"" if harm == "cut" else bytes(255 - b for b in good[at : at + 8]) + good[at + 8 :])
    )
    for command in (("benchmark", recipe, "--out", run), ("report", run)):
        line = refused(*command)
        assert str(victim) in line
        assert "remove it, and what it held is measured again" in line
    victim.unlink()
    tally = measure(recipe, run)
    assert 0 < tally["finished"] < CELLS
    assert rows(run) == pytest.approx(before)


@pytest.mark.parametrize("text", ["{", "", "[]", "\0\0\0\0"])
def test_damaged_settings_are_named_and_rows_kept(recipe: Path, run: Path, text: str) -> None:
    before, good = rows(run), (run / "settings.json").read_bytes()
    (run / "settings.json").write_text(text, encoding="utf-8")
    for command in (("benchmark", recipe, "--out", run), ("report", run)):
        assert str(run / "settings.json") in refused(*command)
    (run / "settings.json").write_bytes(good)
    assert measure(recipe, run)["before"] == CELLS
    assert rows(run) == before


@pytest.mark.parametrize(
    ("name", "value"), [("paper", True), ("left_out", "x"), ("versions", None), ("source", 10**30), ("weights", [1])]
)
def test_damaged_notes_are_named(run: Path, name: str, value: object) -> None:
    store = Store(run)
    store.note({**store.notes, name: value})
    line = refused("report", run)
    assert str(run / "notes.json") in line
    assert name in line


def test_a_report_needs_no_pictures(recipe: Path, tmp_path: Path) -> None:
    """The folder that the run noted is empty by now: the page has names only."""
    photos = tmp_path / "photos"
    (photos / "star").mkdir(parents=True)
    for name in "ab":
        Image.fromarray(scene(0).image).save(photos / "star" / f"{name}.png")
    recipe.write_text(RECIPE.replace('"scenes"\nn = 3', '"folder"'), encoding="utf-8")
    measure(recipe, tmp_path / "run", "--data", photos)
    photos.rename(tmp_path / "elsewhere")
    photos.mkdir()
    code, _, err = told("report", tmp_path / "run")
    assert (code, err) == (0, "")
    assert str(photos) in refused("report", tmp_path / "run", "--data", photos)


def test_rows_of_what_the_settings_do_not_name(run: Path) -> None:
    store = Store(run)
    cell = Cell("0", "", key=1, model="demo/resnet", metric="average-drop", values={"average-drop": 0.5})
    store.add([cell])
    line = refused("report", run)
    assert "a method ''" in line


def test_another_recipe_is_kept_out(recipe: Path, run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    recipe.write_text(RECIPE.replace("average-drop", "complexity"), encoding="utf-8")
    line = refused("benchmark", recipe, "--out", run)
    for part in (str(run), "recipe.metrics", "average-drop", "complexity", "give another folder"):
        assert part in line
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


class Evil:
    """A pickle that leaves a trace when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_run_is_data_and_runs_nobodys_code(run: Path) -> None:
    """The settings of a run that somebody sent name a file as its model."""
    trace, model, foreign = run.parent / "ran", run.parent / "model.pt", run.parent / "foreign"
    torch.save(Evil(trace), model)
    own = Store(run)
    store = Store(foreign, json.loads(json.dumps(own.settings).replace("demo/resnet", str(model))))
    rows = [row | {"model": str(model), "curve": ()} for row in own.table().to_pylist()]
    store.add([Cell.from_record(row) for row in rows])
    store.note(own.notes)
    code, _, err = told("report", foreign)
    assert code == 0, err
    page = (foreign / "report.html").read_text()
    assert "the run names files for it, which are opened with" in page
    assert "--trust" in page
    code, _, err = told("merge", foreign, "--out", run.parent / "all")
    assert code == 0, err
    assert not trace.exists()
    assert told("report", foreign, "--trust")[0] == 0
    assert trace.exists()


# -- disks -------------------------------------------------------------------------------------------------


def act(folder: Path) -> dict[str, Any]:
    """Fill a disk and lock it, and return what the commands say; for a process whose mounts are its own."""
    recipe, run, ballast = folder / "small.toml", folder / "disk" / "run", folder / "disk" / "ballast"
    said: dict[str, Any] = {"first": told("benchmark", recipe, "--out", run, "--limit", 1, "--json")}
    before = rows(run)
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1024))
        except OSError:
            pass
    with ballast.open("r+b") as file:
        file.truncate(ballast.stat().st_size // 4096 * 4096 - 4096)  # room for the notes, none for rows
    said["full"] = told("benchmark", recipe, "--out", run)
    said["kept"] = rows(run) == before
    said["began"] = Store(run).notes["limit"] is None  # so that it was the rows for which there was no room
    said["drafts"] = [str(path) for path in run.rglob(".*")]
    ballast.unlink()
    said["again"] = told("benchmark", recipe, "--out", run, "--json")
    before = rows(run)
    subprocess.run(["mount", "-o", "remount,ro", str(folder / "disk")], check=True)
    said["locked"] = [told("benchmark", recipe, "--out", run), told("benchmark", recipe, "--out", run.parent / "new")]
    said["page"] = told("report", run)
    said["readable"] = rows(run) == before
    return said


@pytest.mark.slow
def test_a_full_disk_and_a_read_only_one(recipe: Path) -> None:
    disk = recipe.parent / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size=64k none "{disk}"'
    tries = [["unshare", *how, "sh", "-c"] for how in (["--map-root-user", "--mount"], ["--mount"])]
    reasons: list[str] = []
    for own in tries:
        try:
            done = subprocess.run([*own, mount], capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip("needs unshare and mount, of util-linux")
        if done.returncode == 0:
            break
        reasons.append(done.stderr.strip())
    else:
        pytest.skip(f"needs the right to mount: {'; '.join(reasons)}")
    done = subprocess.run(
        [*own, f'{mount} && exec "$0" "$@"', sys.executable, __file__, str(recipe.parent)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["first"][0] == 0, said["first"]
    code, _, err = said["full"]
    assert "the disk is full; rows that were finished are safe" in line_of(code, err)
    assert said["kept"]
    assert said["began"]
    assert said["drafts"] == []
    again = json.loads(said["again"][1])
    assert (again["before"], again["finished"]) == (2, CELLS - 2)
    for code, _, err in said["locked"]:
        line = line_of(code, err)
        assert f"can't write to {disk}" in line
        assert "Read-only file system" in line
    code, _, err = said["page"]
    assert str(disk) in line_of(code, err)
    assert said["readable"]


if __name__ == "__main__":
    print(json.dumps(act(Path(sys.argv[1]))))
