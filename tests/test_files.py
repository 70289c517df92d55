"""What is written appears whole or not at all; what is no regular file is not read."""

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from torch import nn

import architectures
import limelight as ll
from limelight import files
from limelight.bench.store import Cell, Store
from limelight.core.results import Column, Results, Row
from limelight.errors import InvalidOption
from limelight.report.page import Section, write_page

Writer = Callable[[Path], object]


@contextmanager
def small_files(most: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes, as on a disk that is nearly full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="module")
def writers() -> dict[str, Writer]:
    """Everything that writes a file that a user names."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    mine = ll.Classifier(net, size=32)
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


@pytest.mark.parametrize("name", NAMES)
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
    cell = Cell(1, "a", "m", "grad-cam", "drop", 0.5)
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
    for name, said in (("pipe.csv", "a pipe"), ("folder.csv", "a folder"), ("file/a.csv", "file is no folder")):
        with pytest.raises(InvalidOption, match=f"can't write to .*{said}"):
            files.write(tmp_path / name, "text")


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
                files.opened(path)
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbfa")
    assert files.text_of(tmp_path / "file") == "a"
