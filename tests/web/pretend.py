"""What the processes do, without a network: functions that answer, wait, raise, die or say NaN, as they are asked."""

import base64
import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from limelight.errors import InvalidOption, ModelFailed

Events = Iterator[tuple[str, dict[str, Any]]]


class Studio:
    def __init__(self, models: Sequence[str], read: Callable[[str], Path], loading: Mapping[str, Any]):
        if "broken" in models:
            raise InvalidOption("the model broken is broken")
        self.models, self.read = models, read


def start(studio: Studio, request: dict[str, Any]) -> Events:
    methods = [{"name": "cheap", "cheap": True}, {"name": "dear", "cheap": False}]
    models = [{"name": name} for name in studio.models]
    yield "result", {"version": "0", "models": models, "methods": methods, "metrics": [], "inspected": "b"}


def classify(studio: Studio, request: dict[str, Any]) -> Events:
    size = studio.read(request["picture"]).stat().st_size
    yield "result", {"classes": [], "size": size, "pid": os.getpid(), "find": request["find"]}


def hide(studio: Studio, request: dict[str, Any]) -> Events:
    """Does what the mask says."""
    match request["mask"]:
        case "wait":
            time.sleep(60)
        case "raise":
            raise ModelFailed("the model\nfailed")
        case "fault":
            raise KeyError("fault")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(3)
        case "nothing":
            return
        case _:
            yield "result", {"score": math.nan, "probability": math.inf}


def explain(studio: Studio, request: dict[str, Any]) -> Events:
    for i in range(int(request["options"].get("steps", 1))):
        yield "progress", {"done": i}
        yield "partial", {"map": i, "pid": os.getpid()}
        time.sleep(request["options"].get("seconds", 0))
    yield "result", {"key": f"{request['method']}-{request['picture']}", "pid": os.getpid()}


def compare_hiding(studio: Studio, request: dict[str, Any]) -> Events:
    yield "result", {"pid": os.getpid()}


def shown(studio: Studio, request: dict[str, Any]) -> Events:
    yield "result", {"data": base64.b64encode(b"png").decode(), "type": "image/png"}


def evaluate(studio: Studio, request: dict[str, Any]) -> Events:
    yield "result", {"pictures": [str(studio.read(name)) for name in request["pictures"]]}


FUNCTIONS = {
    "start": start,
    "classify": classify,
    "hide": hide,
    "explain": explain,
    "compare-hiding": compare_hiding,
    "shown": shown,
    "evaluate": evaluate,
}
