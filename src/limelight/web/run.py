"""The run of a benchmark that the page shows, and the process that reads it."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

from limelight.errors import InvalidOption, LimelightError
from limelight.web import worker
from limelight.web.child import Child
from limelight.web.lane import Job, Lane
from limelight.web.pictures import Picture, clean_label
from limelight.web.refusal import Refusal

WAITING, SECONDS = 128, 600.0
"""Jobs that may wait for the process that reads, and seconds that one may take: runs may have millions of rows."""

ASKED = {
    **dict.fromkeys(("run-picture", "run-leaders", "run-strip"), "run"),
    **dict.fromkeys(("inspection-picture", "inspection-strip"), "inspection"),
}
"""What the page asks of a run, or of an inspection."""

SETTINGS, NOTES = "settings.json", "notes.json"
"""Files of a run, as ``bench.store`` calls them; that module imports PyTorch."""

MARK = "limelight inspect"
"""What the settings of an inspection hold."""

LOADING = ("weights", "device", "trust")
"""Options of loading that a run leaves open."""


class Run:
    """A run's folder, its pictures and models.

    Attributes:
        name: what it is called, also by the command.
        reader: the module of what the process that reads does.
        networks: that of what those of the networks do.

    Args:
        folder: of the run.
        source: where its pictures are now; None for where they were.
        own: a folder of ours, for pictures that are no files.
        reader: another module.
    """

    name: ClassVar[str] = "run"
    reader: ClassVar[str] = "limelight.web.studio.run"
    networks: ClassVar[str] = "limelight.web.studio.of_run"

    def __init__(self, folder: Path, source: Path | None, own: Path, reader: str | None = None):
        self.folder = folder
        self._settings: dict[str, Any] = {
            self.name: str(folder),
            "source": None if source is None else str(source),
            "made": str(own / self.name),
            "networks": [],
        }
        self._lane = Lane(
            f"the reader of the {self.name}",
            lambda: Child(worker.main, [], self._settings, reader or self.reader),
            waiting=WAITING,
            seconds=SECONDS,
        )
        self.about: dict[str, Any] = {}
        self.pictures: list[Picture] = []

    async def open(self) -> None:
        """Read the run.

        Raises:
            LimelightError: there is none, it is damaged, or its pictures can't be shown.
        """
        try:
            await self._lane.open()
            said = json.loads(await self._lane.submit(Job("opened", {})).result())
        except Refusal as error:
            raise LimelightError(error.line) from None
        self.about = said["about"]
        self.pictures = [
            Picture(one, clean_label(name), clean_label(label), Path(path), made=made)
            for one, name, label, path, made in said["pictures"]
        ]

    @property
    def models(self) -> list[str]:
        """Names of the models, as the settings say before they are checked, but for those that were left out."""
        settings, left_out = read_table(self.folder / SETTINGS), read_table(self.folder / NOTES).get("left_out")
        with contextlib.suppress(LookupError, TypeError):  # the process that reads it says what is amiss
            return [str(name) for name in settings["recipe"]["models"]["names"] if name not in (left_out or ())]
        return []

    async def know(self, start: Mapping[str, Any]) -> None:
        """Tell the process what classes the models have, once these are loaded."""
        known = ("name", "labels", "classes")
        self._settings["networks"] = [{key: one.get(key) for key in known} for one in start["models"]]
        try:
            self.about |= json.loads(await self.submit("know", {"models": self._settings["networks"]}).result())
        except Refusal as error:
            raise LimelightError(error.line) from None

    def submit(self, function: str, request: Mapping[str, Any]) -> Job:
        """Ask the process something.

        Raises:
            Refusal: too much waits for it.
        """
        return self._lane.submit(Job(function, request))

    async def make(self, pictures: Sequence[Picture]) -> None:
        """Let the files of pictures be there that are made for us.

        Raises:
            Refusal: one can't be read.
        """
        names = [one.id for one in pictures if one.made]
        if names:
            await self.submit("make", {"pictures": names}).result()

    async def close(self) -> None:
        """End the process."""
        await self._lane.close()


def refuse_beside(run: Path, models: Sequence[str], loading: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a run's models are loaded.

    Raises:
        InvalidOption: there is no run, or something is given that the run fixes.
    """
    if not (run / SETTINGS).exists():
        raise InvalidOption(f"there is no run in {run}: no {SETTINGS}")
    if MARK in read_table(run / SETTINGS):
        raise InvalidOption(f"{run} is an inspection and no run of `limelight benchmark`; say --inspection {run}")
    if models:
        raise InvalidOption("--run brings the models that were measured; leave --model out")
    return say_loading(Run.name, loading)


def say_loading(kind: str, loading: Mapping[str, Any]) -> dict[str, Any]:
    """Return what may be said of loading beside a run or an inspection: ``LOADING``, None where nothing is.

    Raises:
        InvalidOption: something is said that it fixes.
    """
    fixed = [name for name in loading if name not in LOADING]
    if fixed:
        raise InvalidOption(f"--{kind} has its models loaded as they were measured; leave --{fixed[0]} out")
    weights = loading.get("weights", "DEFAULT")
    return {name: loading.get(name) for name in ("device", "trust")} | {
        "weights": None if weights == "DEFAULT" else weights,
        "trust": bool(loading.get("trust")),
    }


def read_table(path: Path) -> dict[str, Any]:
    """Return a table that is written as JSON; an empty one where it can't be read."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        table: Any = json.loads(path.read_bytes())
        return cast(dict[str, Any], table) if isinstance(table, dict) else {}
    return {}
