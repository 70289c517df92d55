"""What is written appears whole or not at all; what is no regular file is not read."""

import os
import socket
import subprocess
import sys
import threading
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

import architectures
import limelight as ll
from limelight import draw, files
from limelight.bench.cell import Cell
from limelight.bench.recipe_file import read_published, read_recipe
from limelight.bench.recipe_tables import Paper
from limelight.bench.store import Store
from limelight.cli.arguments import parse_parameters
from limelight.data.images import load_image
from limelight.data.reading import text_of
from limelight.data.samples import read_samples
from limelight.errors import CorruptStore, InvalidImage, InvalidOption, UnknownTarget, UnsupportedModel
from limelight.pages.page import Section, write_page
from limelight.results.row import Column, Row
from limelight.results.tables import Results

Writer = Callable[[Path], object]


@contextmanager
def small_files(most: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes, as on a disk that is nearly full."""
    resource = pytest.importorskip("resource", reason="limits of file sizes are those of Unix")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="module")
def writers() -> dict[str, Writer]:
    """Everything that writes a file that a user names."""
    mine = ll.Classifier(architectures.small(2), size=32)
    plain = ll.Classifier(architectures.build("plain"), labels=list("abcde"))
    one = ll.explain(plain, architectures.images(1)[0])
    gallery = ll.explain(plain, architectures.images(1), ["grad-cam", "layer-cam"])
    traced = ll.explain(
        plain, architectures.images(1)[0], "i-gos", n=2, points=2, size=8, warmup=2, watch=lambda _: None
    )
    row = Row("a", "grad-cam", 0, "a", 0.5, "", 0.1, 1.0, 0.0, {"drop": 0.5})
    results = Results([row], {"drop": Column("drop", "drop/1", "lower")})
    picture = Image.effect_noise((64, 64), 80).convert("RGB")
    proposals = ll.propose(plain, picture, "grad-cam", boxes=[[0, 0, 30, 30], [5, 5, 60, 60]])
    return {
        "map.png": one.save,
        "map.npz": one.save,
        "map.json": one.save,
        "gallery.png": gallery.save,
        "film.gif": traced.animate,
        "boxes.png": proposals.save,
        "boxes.json": proposals.save,
        **{f"results.{suffix}": results.save for suffix in ("csv", "json", "md", "parquet")},
        "model.safetensors": lambda path: ll.zoo.save(ll.load("demo/resnet"), path),
        "model.pt2": lambda path: ll.zoo.save(mine, path),
        "page.html": lambda path: write_page(path, "Title", [], [Section("A", ["text"])], ""),
        "run/settings.json": lambda path: Store(path.parent, {"a": "b" * 100}),
        "notes.json": lambda path: Store(path.parent, {}).note({"a": "b" * 100}),
    }


NAMES = (
    *("map.png", "map.npz", "map.json", "gallery.png", "film.gif", "boxes.png", "boxes.json"),
    *("results.csv", "results.json", "results.md", "results.parquet", "model.safetensors", "model.pt2", "page.html"),
    *("run/settings.json", "notes.json"),
)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n == "film.gif" else n for n in NAMES])
def test_nothing_appears_before_it_is_whole(name: str, writers: dict[str, Writer], tmp_path: Path) -> None:
    assert set(writers) == set(NAMES)
    path = tmp_path / name
    with small_files(60), pytest.raises(InvalidOption, match=r"can't write to .*: "):
        writers[name](path)
    assert [p for p in tmp_path.rglob("*") if p.is_file() and p.name != "settings.json"] == []
    assert not path.exists()
    if name != "run/settings.json":  # which is not written again
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"earlier")
        with small_files(60), pytest.raises(InvalidOption):
            writers[name](path)
        assert path.read_bytes() == b"earlier"
    writers[name](path)
    assert path.stat().st_size > 60
    assert not list(tmp_path.rglob(".*"))


def test_rows_of_a_run_appear_whole(tmp_path: Path) -> None:
    store = Store(tmp_path, {})
    cell = Cell("a", "grad-cam", key=1, model="m", metric="drop", values={"drop": 0.5})
    with small_files(60), pytest.raises(InvalidOption, match="rows that were finished are safe there"):
        store.add([cell])
    assert not [p for p in (tmp_path / "rows").rglob("*")]
    store.add([cell])
    assert store.keys().tolist() == [1]


def test_a_file_keeps_its_permissions_and_a_link_stays_one(tmp_path: Path) -> None:
    path, link = tmp_path / "a.txt", tmp_path / "link.txt"
    path.write_text("one")
    path.chmod(0o600)
    link.symlink_to(path)
    files.write(link, "two")
    assert link.is_symlink()
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_no_file_is_not_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").write_text("")
    for name, said in (
        ("pipe.csv", "it is a pipe, and only regular files are written"),
        ("folder.csv", "a folder"),
        ("file/a.csv", "file is no folder"),
    ):
        with pytest.raises(InvalidOption, match=f"can't write to .*{said}"):
            files.write(tmp_path / name, "text")


@pytest.mark.slow
def test_of_several_who_claim_a_name_one_has_it(tmp_path: Path) -> None:
    """Processes that begin runs of different settings in one empty folder at the same moment."""
    act = (
        "import sys, time\n"
        "from limelight.bench.store import Store\n"
        "from limelight.errors import CorruptStore\n"
        "from pathlib import Path\n"
        "Path(sys.argv[2] + '.ready').touch()\n"
        "while not Path(sys.argv[3]).exists(): pass\n"
        "for i in range(20):\n"
        "    try: Store(f'{sys.argv[1]}/{i}', {'who': sys.argv[2]}); print('mine')\n"
        "    except CorruptStore as error: assert 'other settings' in str(error), error; print('theirs')\n"
    )
    go = tmp_path / "go"
    names = [str(tmp_path / f"worker-{i}") for i in range(3)]
    started = [
        subprocess.Popen([sys.executable, "-c", act, str(tmp_path / "runs"), name, str(go)], stdout=subprocess.PIPE)
        for name in names
    ]
    while not all(Path(f"{name}.ready").exists() for name in names):
        assert all(one.poll() is None for one in started)
    go.touch()
    said = [one.communicate()[0].decode().split() for one in started]
    for i in range(20):
        assert [who[i] for who in said].count("mine") == 1
        assert Store(tmp_path / "runs" / str(i)).settings["who"] in names


def test_a_name_is_claimed_without_links_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    for text in ("first", "second"):
        files.write(tmp_path / "a.json", text, new=True)
    assert (tmp_path / "a.json").read_text() == "first"
    # Several at once: whoever sees the file sees all of it, and it stays as it is.
    size, seen = 1 << 20, list[str]()

    def claim(letter: str) -> None:
        for i in range(20):
            files.write(tmp_path / f"{i}", letter * size, new=True)
            seen.append((tmp_path / f"{i}").read_text())

    threads = [threading.Thread(target=claim, args=(letter,)) for letter in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 60
    assert all(len(text) == size and len(set(text)) == 1 for text in seen)
    assert len(list(tmp_path.iterdir())) == 21  # nothing else is left
    # Of one who was stopped in that moment.
    (tmp_path / ".b.claimed").mkdir()
    monkeypatch.setattr(files, "TRIES", 2)
    with pytest.raises(InvalidOption, match=r"\.b\.claimed stays; remove it"):
        files.write(tmp_path / "b", "x", new=True)


# -- reading -----------------------------------------------------------------------------------------------


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for path, said in (
            (tmp_path / "pipe", "it is a pipe"),
            (tmp_path / "socket", "it is a socket"),
            (Path("/dev/zero"), "it is a device"),
            (tmp_path, "it is a folder"),
        ):
            with pytest.raises(OSError, match=said):
                files.open_file(path)
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbfa")
    assert files.text_of(tmp_path / "file") == "a"


# -- what readers are given that is no file, or too much -------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "kind"),
    [
        (lambda path: load_image(path), InvalidImage),
        (lambda path: ll.Explanation.load(path), CorruptStore),
        (lambda path: Results.from_parquet(path), CorruptStore),
        (lambda path: ll.zoo.load(path.with_suffix(".safetensors")), UnsupportedModel),
        (lambda path: ll.zoo.load(path.with_suffix(".pt2"), trust=True), UnsupportedModel),
        (lambda path: ll.zoo.load(path.with_suffix(".pt")), UnsupportedModel),
        (lambda path: ll.load("demo/resnet", weights=path.with_suffix(".pt")), UnsupportedModel),
        (lambda path: ll.load("demo/resnet", labels=path), InvalidOption),
        (lambda path: ll.BlackBox.onnx(path), UnsupportedModel),
        (lambda path: read_recipe(path), InvalidOption),
        (lambda path: read_samples(path), InvalidImage),
        (lambda path: text_of(path), InvalidOption),
        (lambda path: draw.read_png_metadata(path), InvalidImage),
    ],
)
def test_no_reader_waits_for_a_pipe(read: Callable[[Path], object], kind: type[Exception], tmp_path: Path) -> None:
    for suffix in ("", ".safetensors", ".pt2", ".pt"):
        os.mkfifo(tmp_path / f"pipe{suffix}")
    with pytest.raises(kind, match="it is a pipe, and only regular files are read"):
        read(tmp_path / "pipe")


def test_a_pipe_that_is_named_in_a_file_is_not_called_missing(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "settings.json")
    for table, kind in (
        ("file\npipe\n", "a pipe"),
        ("file,mask\na.png,pipe\n", "a pipe"),
        ("file\n/dev/zero\n", "a device"),
    ):
        (tmp_path / "a.csv").write_text(table)
        with pytest.raises(InvalidImage, match=f"line 2: .*it is {kind}, and only regular files are read"):
            read_samples(tmp_path / "a.csv")
    for path in ("/dev/zero", tmp_path / "pipe"):
        with pytest.raises(InvalidOption, match="and only regular files are read"):
            read_recipe(path)
    with pytest.raises(CorruptStore, match="it is a pipe, and only regular files are read"):
        Store(tmp_path)


def test_a_broken_link_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(InvalidImage, match=r"a\.png is a link to .*gone\.png, which is not there"):
        load_image(tmp_path / "a.png")


def test_an_archive_is_refused_by_its_directory(tmp_path: Path) -> None:
    """8 MB that unpack to 8 GB; of programs and weights likewise."""
    path = tmp_path / "a.npz"
    block = bytes(1 << 26)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("raw.npy", "w") as entry:
        for _ in range(4):
            entry.write(block)
    for suffix in ("pt2", "pt"):
        path.with_suffix(f".{suffix}").write_bytes(path.read_bytes())
    tracemalloc.start()
    with pytest.raises(CorruptStore, match=r"unpacks to 268,435,456 bytes, more than 100,000,000; .*max_bytes="):
        ll.Explanation.load(path, max_bytes=100_000_000)
    for suffix in ("pt2", "pt"):
        with pytest.raises(UnsupportedModel, match="unpacks to 268,435,456 bytes"):
            ll.zoo.load(path.with_suffix(f".{suffix}"), trust=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_how_large_a_picture_may_be_is_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (64, 48)).save(path)
    monkeypatch.setenv("LIMELIGHT_MAX_PIXELS", "3071")
    with pytest.raises(InvalidImage, match=r"max_pixels=3,071; .*limelight --max-pixels N.*LIMELIGHT_MAX_PIXELS"):
        load_image(path)
    assert load_image(path, max_pixels=3072).size == (64, 48)
    for wrong in ("many", "-1", "9" * 5000):
        monkeypatch.setenv("LIMELIGHT_MAX_PIXELS", wrong)
        with pytest.raises(InvalidOption, match="expected a number of pixels"):
            load_image(path)


# -- names that are no UTF-8 -----------------------------------------------------------------------------------


def test_names_that_are_no_text_can_be_told_apart() -> None:
    names = [os.fsdecode(b"caf\xe9"), os.fsdecode(b"caf\xe8"), "caf\\xe9", "caf\\\\xe9", "café", "caf\ud800"]
    texts = [files.name_in_text(name) for name in names]
    assert texts[0] == "caf\\xe9"
    assert texts[4] == "café"
    assert len(set(texts)) == len(names)
    for text in texts:
        text.encode()


def test_pictures_whose_names_are_no_text_are_measured_and_stored(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in (b"caf\xe9.png", b"caf\xe8.png"):
        Image.effect_noise((40, 40), 60).convert("RGB").save(folder / os.fsdecode(name))
    plain = ll.Classifier(architectures.build("plain"), labels=list("abcde"))
    results = ll.evaluate(plain, folder, ["random-map"], ["complexity"])
    assert results.images == ["caf\\xe8.png", "caf\\xe9.png"]
    for suffix in ("csv", "json", "md", "parquet"):
        results.save(tmp_path / f"a.{suffix}")
    assert Results.from_parquet(tmp_path / "a.parquet").images == results.images
    store = Store(tmp_path / "run", {})
    ids = {"key": 1, "model": "m", "metric": "drop"}
    store.add([Cell(name, "grad-cam", **ids, error=os.fsdecode(b"\xff")) for name in results.images])
    assert store.table().to_pylist()[0]["error"] == "\\udcff"


# -- numbers and lists without measure -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["9" * 5000, "[" * 20_000, "[" * 20_000 + "]" * 20_000, str(2**64), f"[{2**64}]"], ids=list("abcde")
)
def test_options_of_any_size_are_refused_in_a_line(value: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        ll.method("rise", **parse_parameters([f"n_masks={value}"]))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("value", [10**5000, 2**70, [[10**5000]]], ids=["digits", "bits", "nested"])
def test_numbers_of_any_size_are_refused_in_a_line(value: object) -> None:
    plain = ll.Classifier(architectures.build("plain"), labels=list("abcde"))
    with pytest.raises(InvalidOption) as caught:
        ll.method("rise", n_masks=value)
    assert len(str(caught.value)) < 400
    if isinstance(value, int):
        with pytest.raises(UnknownTarget, match="out of range"):
            ll.explain(plain, architectures.images(1), target=value)
        with pytest.raises(UnknownTarget):
            ll.explain(plain, architectures.images(1), target="9" * 5000)


# -- what a recipe may name ------------------------------------------------------------------------------------


def test_published_numbers_lie_beside_the_recipe_or_are_ours(tmp_path: Path) -> None:
    recipe, folder = read_recipe("adcc-table1"), tmp_path / "mine"
    folder.mkdir()
    path = folder / "mine.toml"
    path.write_text("", encoding="utf-8")
    (tmp_path / "secret.csv").write_text("secret", encoding="utf-8")
    (folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    (folder / "own.csv").write_text("own", encoding="utf-8")
    os.mkfifo(folder / "pipe.csv")

    def named(table: str) -> str:
        return read_published(recipe.model_copy(update={"paper": Paper(table=table)}), path)

    assert named("own.csv") == "own"
    assert named(str(folder / "own.csv")) == "own"
    assert "grad-cam" in named("papers/adcc-table1.csv").lower()  # of a recipe that began as a copy of ours
    for table in ("../secret.csv", str(tmp_path / "secret.csv"), "link.csv", "/etc/hostname", "x/../../secret.csv"):
        with pytest.raises(InvalidOption, match=r"mine\.toml: the paper's numbers .* must lie beside the recipe"):
            named(table)
    for table, said in (
        ("none.csv", "there is no such file"),
        ("pipe.csv", "a pipe"),
        ("a\0b", "null"),
        (".", "folder"),
    ):
        with pytest.raises(InvalidOption, match=said):
            named(table)


def test_what_can_be_no_name_is_not_written(tmp_path: Path) -> None:
    for name in ("a\0b.png", "a\0/b.png"):
        with pytest.raises(InvalidOption, match="no file can have this name"):
            files.write(tmp_path / name, "x")
    assert list(tmp_path.iterdir()) == []


def test_an_option_is_given_once() -> None:
    with pytest.raises(InvalidOption, match="-p 'n_masks' is given twice"):
        parse_parameters(["n_masks=3", "n-masks=4"])
