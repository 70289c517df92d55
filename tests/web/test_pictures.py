"""Pictures: the strip, thumbnails, and what strangers drop on the page."""

import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from limelight.data.images import load_image
from limelight.errors import InvalidImage, InvalidOption
from limelight.web import decode, pictures
from limelight.web.child import Child
from limelight.web.lane import Lane
from limelight.web.pictures import Picture, Pictures, clean_name, in_folder
from limelight.web.refusal import Refusal

from .client import Answer
from .conftest import Here
from .hostile_pictures import damaged, noise, unusual, written


def drop(here: Here, content: bytes, name: str = "cat.png") -> Answer:
    return here.post("api/pictures", content, headers={"x-name": quote(name)})


def test_a_dropped_picture_comes_first_and_is_what_it_was(here: Here) -> None:
    content = written(noise(size=(300, 200)), "PNG")
    answer = drop(here, content, "ä/../cat\u202e.png")
    assert answer.status == 200
    assert (answer.json["width"], answer.json["height"], answer.json["name"]) == (300, 200, r"cat\u202e.png")
    page = here.get("api/pictures?count=1").json
    assert [one["id"] for one in page["pictures"]] == [answer.json["id"]]
    assert page["total"] == here.get("api/start").json["total_pictures"]
    read = load_image(here.site.pictures.find(answer.json["id"]).file())
    assert np.array_equal(np.asarray(read), np.asarray(load_image(content)))
    with Image.open(io.BytesIO(here.get(f"api/pictures/{answer.json['id']}/thumb").body)) as thumb:
        assert (thumb.format, thumb.size) == ("JPEG", (96, 64))
    files = sorted(here.folder.glob("*.ppm"))
    assert drop(here, content, "again.png").json["id"] == answer.json["id"]
    assert sorted(here.folder.glob("*.ppm")) == files


def test_every_dropped_picture_has_a_process_of_its_own(here: Here) -> None:
    first = here.site.workers.uploads.pid
    for width in (7, 8):  # one is gone for sure when the next has been decoded
        drop(here, written(noise(size=(width, 8)), "PNG"))
    assert here.site.workers.uploads.pid not in (first, None)


def test_thumbnails_of_the_strip(here: Here) -> None:
    shown = here.get("api/pictures?first=2&count=2").json
    assert [one["name"] for one in shown["pictures"]] != []
    for one in shown["pictures"]:
        answer = here.get(f"api/pictures/{one['id']}/thumb")
        assert answer.headers["content-type"] == "image/jpeg"
        with Image.open(io.BytesIO(answer.body)) as thumb:
            assert thumb.size[0] <= 96


@pytest.fixture
def one_decoder(here: Here, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    """A decoder that stays, as starting one for each of many pictures takes long."""

    async def lane() -> Lane:
        one = Lane("the decoder", partial(Child, decode.main), waiting=3, seconds=20)
        await one.open()
        return one

    monkeypatch.setattr(here.site.workers, "uploads", stays := here.run(lane()))
    yield here
    here.run(stays.close())


def test_hostile_pictures(one_decoder: Here) -> None:
    before = one_decoder.site.workers.uploads.pid
    for what, content in damaged():
        answer = drop(one_decoder, content)
        assert answer.status in (400, 500), what
        assert str(one_decoder.folder) not in answer.error, what
    for what, content, size in unusual():
        answer = drop(one_decoder, content, what)
        assert answer.status == 200, (what, answer.body)
        assert (answer.json["width"], answer.json["height"]) == size, what
    assert one_decoder.site.workers.uploads.pid == before
    assert not list(one_decoder.folder.glob("*.upload"))


def test_a_decoder_has_a_limit_of_memory(here: Here) -> None:
    resource = pytest.importorskip("resource", reason="this system has no limits of memory")
    most, _ = resource.prlimit(here.site.workers.thumbs.pid, resource.RLIMIT_AS)
    assert 0 < most < 8 << 30


def test_old_pictures_are_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "UPLOADED", 250)
    here = Pictures([Picture("given", "given", "", tmp_path / "given.png")])
    for i in range(4):
        file = tmp_path / f"{i}.ppm"
        file.write_bytes(bytes(100))
        here.add(Picture(str(i), f"{i}.png", "", file))
    assert [one["id"] for one in here.page(0, 9)] == ["3", "2", "given"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2.ppm", "3.ppm"]
    with pytest.raises(Refusal, match="drop it again"):
        here.find("0")
    monkeypatch.setattr(pictures, "THUMBS", 2)
    for i in range(5):
        here.keep_thumb(str(i), b"")
    assert [here.thumb(str(i)) for i in range(5)] == [None, None, None, b"", b""]


def test_a_folder_is_paged(tmp_path: Path) -> None:
    here = Pictures([Picture(str(i), str(i), "", tmp_path) for i in range(100_000)])
    assert [one["id"] for one in here.page(99_998, 60)] == ["99998", "99999"]
    assert here.page(100_000, 60) == []
    assert len(here.all(200)) == 200
    assert here.all(200)[-1] == "99500"


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(InvalidImage, match="no pictures"):
        in_folder(tmp_path)
    for name in ("star/1.png", "star/2.JPG", "ring/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        noise().save(tmp_path / name, "PNG")
    of_classes = in_folder(tmp_path)
    assert [(one.name, one.label) for one in of_classes] == [
        ("ring/1.png", "ring"),
        ("star/1.png", "star"),
        ("star/2.JPG", "star"),
    ]
    assert len({one.id for one in of_classes}) == 3
    assert [one.id for one in in_folder(tmp_path)] == [one.id for one in of_classes]
    noise().save(tmp_path / "loose.png")
    assert [one.label for one in in_folder(tmp_path)] == [""] * 4
    (tmp_path / "labels.csv").write_text("file,label\nstar/1.png,star\n")
    assert [(one.name, one.label) for one in in_folder(tmp_path)] == [("star/1.png", "star")]
    (tmp_path / "labels.csv").write_text("nonsense\n")
    with pytest.raises(InvalidOption):
        in_folder(tmp_path)
    with pytest.raises(InvalidImage, match="not a folder"):
        in_folder(tmp_path / "absent")


def test_names() -> None:
    assert clean_name("C:\\fotos\\cat.png") == "cat.png"
    assert clean_name("") == "picture"
    assert len(clean_name("x" * 9000)) <= 200
