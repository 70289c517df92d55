"""The pictures that the page can name: drawn scenes or a folder, and what is dropped on it."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limelight.data.images import SUFFIXES, list_images
from limelight.data.samples import read_samples
from limelight.data.synthetic import CLASSES, TEST_SEEDS, scene
from limelight.errors import InvalidImage
from limelight.files import name_in_text
from limelight.text import shorten, visible
from limelight.web.refusal import Refusal

UPLOADS, UPLOADED = 200, 512 << 20
"""Dropped pictures that are kept, and their bytes once they are decoded; of more the oldest are let go."""

THUMBS = 2000
"""Thumbnails that are kept, some kilobytes each."""

SCENES = 24
"""Drawn scenes; each is there with a watermark too."""

LONGEST = 200
"""Characters of a picture's name."""


@dataclass(frozen=True)
class Picture:
    """A picture.

    Attributes:
        id: what the page calls it by.
        name: for people.
        label: of its class, "" if unknown.
        path: of its file; a scene's is written when it is first asked for.
        scene: number of a drawn scene, as in ``ll.example_image``.
        watermark: whether that has one.
        size: width and height of one that was dropped.
        made: whether the file is made when it is wanted, see ``Run.make``, and may be gone again.
    """

    id: str
    name: str
    label: str
    path: Path
    scene: int | None = None
    watermark: bool = False
    size: tuple[int, int] = (0, 0)
    made: bool = False

    def file(self) -> Path:
        """Return the path of the file, which is there now, if it ever was."""
        if self.scene is not None and not self.path.exists():
            from PIL import Image

            drawn = scene(TEST_SEEDS + self.scene, objects=1, watermark=self.watermark)
            Image.fromarray(drawn.image).save(self.path)
        return self.path


def scenes(folder: Path) -> list[Picture]:
    """Return drawn scenes, with and without a watermark; their files will lie in a folder."""
    pictures: list[Picture] = []
    for number in range(SCENES):
        label = CLASSES[scene(TEST_SEEDS + number, objects=1).label]
        for mark in (False, True):
            name = f"scene-{number}" + "-watermark" * mark
            pictures.append(Picture(name, name.replace("-", " "), label, folder / f"{name}.png", number, mark))
    return pictures


def in_folder(folder: Path) -> list[Picture]:
    """Return the pictures in a folder and the folders in it, with their classes where a folder or a table says them.

    Raises:
        InvalidImage: there are none.
        InvalidOption: its ``labels.csv`` can't be understood.
    """
    loose = [path for path in sorted(folder.iterdir()) if path.is_file()] if folder.is_dir() else []
    if (folder / "labels.csv").exists() or (folder.is_dir() and not any(_is_picture(path) for path in loose)):
        read = [(Path(str(one.image)), "" if one.label is None else str(one.label)) for one in read_samples(folder)]
    else:
        read = [(path, "") for path in list_images(folder, recursive=True)]
    labels = {path: label for path, label in reversed(read) if _is_picture(path)}  # the first of several of one file
    if not labels:
        raise InvalidImage(f"no pictures in {folder}; arrays and scans can't be shown here")
    pictures: list[Picture] = []
    for path, label in labels.items():
        inside = name_in_text((path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix())
        digest = hashlib.sha256(inside.encode()).hexdigest()[:32]
        pictures.append(Picture(digest, shorten(inside, LONGEST), label, path))
    return pictures[::-1]


class Pictures:
    """All pictures, and thumbnails of some."""

    def __init__(self, given: Sequence[Picture]):
        self._given = list(given)
        self._by_id = {one.id: one for one in self._given}
        self._uploads: OrderedDict[str, tuple[Picture, int]] = OrderedDict()
        self._thumbs: OrderedDict[str, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._uploads) + len(self._given)

    def page(self, first: int, count: int) -> list[dict[str, Any]]:
        """Return some, those that were dropped before all others, the newest first."""
        uploads = [picture for picture, _ in reversed(self._uploads.values())]
        rest = max(0, first - len(uploads))
        shown = uploads[first : first + count]
        shown += self._given[rest : rest + count - len(shown)]
        return [{"id": one.id, "name": one.name, "label": one.label} for one in shown]

    def find(self, name: str) -> Picture:
        """Return a picture.

        Raises:
            Refusal: there is none, or it has been let go.
        """
        if name in self._uploads:
            self._uploads.move_to_end(name)
            return self._uploads[name][0]
        if name not in self._by_id:
            raise Refusal(404, f"there is no picture {shorten(name, 40)} here any more; drop it again")
        return self._by_id[name]

    def all(self, most: int) -> list[str]:
        """Return the names of so many of those that were given, evenly spread."""
        step = max(1, len(self._given) / most)
        return [self._given[int(i * step)].id for i in range(min(most, len(self._given)))]

    def add(self, picture: Picture) -> None:
        """Keep a picture that was dropped, as the newest, and let go of the oldest where there are too many."""
        before, _ = self._uploads.pop(picture.id, (picture, 0))
        if before.path != picture.path:
            before.path.unlink(missing_ok=True)
        self._uploads[picture.id] = picture, picture.path.stat().st_size
        while len(self._uploads) > UPLOADS or (
            len(self._uploads) > 1 and sum(size for _, size in self._uploads.values()) > UPLOADED
        ):
            _, (old, _) = self._uploads.popitem(last=False)
            old.path.unlink(missing_ok=True)

    def dropped(self, name: str) -> Picture | None:
        """Return the picture of this name that was dropped, if there is one."""
        return self._uploads[name][0] if name in self._uploads else None

    def thumb(self, name: str) -> bytes | None:
        """Return a thumbnail, if it is known."""
        return self._thumbs.get(name)

    def keep_thumb(self, name: str, content: bytes) -> None:
        """Keep a thumbnail for a while."""
        self._thumbs[name] = content
        while len(self._thumbs) > THUMBS:
            self._thumbs.popitem(last=False)


def clean_name(called: str) -> str:
    """Return the last part of a path that a browser says, on one line."""
    return shorten(visible(called.replace("\\", "/").rsplit("/", 1)[-1]), LONGEST) or "picture"


def clean_label(text: str) -> str:
    """Return a name or a class that a run says, on one line."""
    return shorten(visible(text), LONGEST)


def _is_picture(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES)
