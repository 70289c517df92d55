"""The pictures of a run or an inspection: where they are now, and files of those that are none."""

import shutil
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from limelight import files
from limelight.data.collect import as_picture, open_sample
from limelight.data.images import ARRAYS, load_image
from limelight.data.samples import Sample
from limelight.errors import InvalidOption
from limelight.text import file_name

Events = Iterator[tuple[str, dict[str, Any]]]
Request = Mapping[str, Any]

MADE, MADE_BYTES = 500, 1 << 30
"""Pictures that are no files, of which some are written; of more the oldest are removed."""


class Pictured:
    """Has pictures.

    Args:
        samples: the pictures.
        ids: by which the page calls them.
        made: a folder of our own.
    """

    kind: ClassVar[str]

    def __init__(self, samples: Sequence[Sample], ids: Sequence[str], made: Path) -> None:
        self.samples, self.ids, self._made = samples, ids, made
        self.by_id = {one: i for i, one in enumerate(ids)}
        self._written: OrderedDict[Path, int] = OrderedDict()

    def place(self, picture: str) -> int:
        """Return a picture's place.

        Raises:
            InvalidOption: it is none of these.
        """
        if picture not in self.by_id:
            raise InvalidOption(f"this picture is none of the {self.kind}'s")
        return self.by_id[picture]

    def sample(self, place: int) -> Sample:
        """Return a picture with its content."""
        return self.samples[place]

    def path(self, place: int) -> tuple[str, bool]:
        """Return where a picture's file is, and whether that is of our making."""
        sample = self.samples[place]
        if isinstance(sample.image, str | Path):
            return str(Path(sample.image).absolute()), False
        return str(self._made / self.ids[place] / f"{file_name(sample.name.removesuffix('.png'))}.png"), True

    def make(self, place: int) -> None:
        """Write a picture that is no file.

        Raises:
            InvalidImage: it can't be read.
        """
        path = Path(self.path(place)[0])
        if not path.exists():
            picture = load_image(as_picture(open_sample(self.sample(place)).image))
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)
        self._written.setdefault(path, path.stat().st_size)
        self._written.move_to_end(path)
        while len(self._written) > MADE or (len(self._written) > 1 and sum(self._written.values()) > MADE_BYTES):
            shutil.rmtree(self._written.popitem(last=False)[0].parent, ignore_errors=True)


def make(studio: Pictured, request: Request) -> Events:
    """Write pictures that are no files."""
    for picture in request["pictures"]:
        studio.make(studio.place(picture))
    yield "result", {}


def find_source(kind: str, dataset: str, noted: str | None, given: str | None) -> Path | None:
    """Return where the pictures of a run or an inspection are; None where the data set says so itself.

    Raises:
        InvalidOption: nobody says it, they are not there, or they are drawn.
    """
    if dataset == "scenes":
        if given is not None:
            raise InvalidOption(f"the {kind}'s pictures are drawn; leave --folder out")
        return None
    source = given or noted
    if source is None and ":" in dataset:
        return None
    if source is None:
        raise InvalidOption(f"the {kind} does not say where its pictures are; say it with --folder")
    if not files.exists(source):
        rest = "" if given else "; say with --folder where they are now"
        raise InvalidOption(f"the {kind}'s pictures are not in {source}{rest}")
    return Path(source)


def refuse_arrays(kind: str, samples: Sequence[Sample]) -> None:
    """Refuse what browsers can't show.

    Raises:
        InvalidOption: a sample is an array or a scan.
    """
    for sample in samples:
        if isinstance(sample.image, str | Path) and str(sample.image).lower().endswith(ARRAYS):
            raise InvalidOption(f"the {kind}'s pictures are arrays or scans ({sample.name}), which can't be shown here")
