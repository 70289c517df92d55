"""A run, or an inspection, of two pictures, of which one is a file that is made when it is wanted."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from limelight.errors import CorruptStore

Events = Iterator[tuple[str, dict[str, Any]]]


class Studio:
    def __init__(self, models: Sequence[str], read: Callable[[str], Path], told: Mapping[str, Any]):
        self.made = Path(told["made"]) / "1" / "made.png"


def opened(studio: Studio, request: dict[str, Any]) -> Events:
    about = {"models": {"a": [], "b": []}, "metrics": []}
    yield (
        "result",
        {
            "about": about,
            "pictures": [("0", "lost\nline", "x", "/lost.png", False), ("1", "made", "y", str(studio.made), True)],
        },
    )


def know(studio: Studio, request: dict[str, Any]) -> Events:
    yield "result", {"judged": [one["name"] for one in request["models"]]}


def make(studio: Studio, request: dict[str, Any]) -> Events:
    studio.made.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(studio.made)
    yield "result", {}


def picture(studio: Studio, request: dict[str, Any]) -> Events:
    yield "result", request


def leaders(studio: Studio, request: dict[str, Any]) -> Events:
    raise CorruptStore("the run\nis damaged")
    yield


FUNCTIONS = {
    "opened": opened,
    "know": know,
    "make": make,
    "run-picture": picture,
    "run-leaders": leaders,
    "inspection-picture": picture,
}
