"""The main loop of a child process that works for the page, one job at a time."""

import os
import queue
import signal
import sys
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from limelight.errors import (
    CheckFailed,
    ConservationWarning,
    LimelightError,
    ModelFailed,
    NonFinite,
    OutOfMemory,
    is_out_of_memory,
)
from limelight.files import reason_of
from limelight.web.messages import pack, unpack
from limelight.web.refusal import one_line

PATHS = 1000
"""Pictures of which a worker knows where they are."""

Function = Callable[[Any, dict[str, Any]], Iterable[tuple[str, Mapping[str, Any]]]]


class Stopped(BaseException):
    """Nobody waits for the job any more; no ``except Exception`` holds it up."""


class Post:
    """The jobs that are sent, and what is answered; a thread of its own listens.

    When the server closes the pipe, or dies, this process ends at once.
    """

    def __init__(self, pipe: Connection):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._pipe = pipe
        self._jobs: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._stopped = -1
        self.job = -1
        threading.Thread(target=self._listen, daemon=True).start()

    def next(self) -> dict[str, Any]:
        """Wait for a job."""
        job = self._jobs.get()
        self.job = job["number"]
        return job

    def check(self) -> None:
        """Raise ``Stopped`` if the job is to be stopped."""
        if self._stopped == self.job:
            raise Stopped

    def say(self, kind: str, data: Mapping[str, Any]) -> None:
        """Send a message."""
        self._pipe.send_bytes(pack(kind, data))

    def _listen(self) -> None:
        try:
            while True:
                kind, data = unpack(self._pipe.recv_bytes())
                message = json_object(data)
                if kind == "stop":
                    self._stopped = message["number"]
                else:
                    self._jobs.put(message)
        except (EOFError, OSError):
            os._exit(0)


def json_object(data: bytes) -> dict[str, Any]:
    """Read JSON of an object."""
    import json

    return json.loads(data)


def main(pipe: Connection, models: list[str], loading: dict[str, Any], functions: str) -> None:
    """Work until the server is gone.

    Args:
        pipe: to the server.
        models: names of those to load.
        loading: how, for ``zoo.load``.
        functions: the module that has ``Studio`` and ``FUNCTIONS``.
    """
    post = Post(pipe)
    warnings.simplefilter("ignore", ConservationWarning)  # the page shows it among an explanation's notes
    paths: OrderedDict[str, Path] = OrderedDict()
    try:
        module = import_module(functions)
        studio = module.Studio(models, paths.__getitem__, loading)
    except Exception as error:  # a model of strangers raises anything
        post.say("failed", failure(error))
        return
    _stop_in_passes(post.check)
    post.say("ready", {"memory": memory()})
    while True:
        job = post.next()
        for name, path in job["paths"].items():
            paths[name] = Path(path)
            paths.move_to_end(name)
        while len(paths) > max(PATHS, len(job["paths"])):
            paths.popitem(last=False)
        do(post, module.FUNCTIONS, studio, job)
        post.say("done", {"memory": memory()})


def do(post: Post, functions: Mapping[str, Function], studio: Any, job: dict[str, Any]) -> None:
    """Do a job, and send its events."""
    try:
        for kind, data in functions[job["function"]](studio, job["request"]):
            post.check()
            if "key" in data:
                post.say("key", {"key": data["key"]})
            post.say(kind, data)
    except Stopped:
        pass
    except Exception as error:  # so do models, and a fault of ours is a message too
        post.say("failed", failure(error))


def failure(error: Exception) -> dict[str, Any]:
    """Return the line and the status of HTTP for an exception."""
    if isinstance(error, LimelightError):
        ours = isinstance(error, ModelFailed | NonFinite | OutOfMemory | CheckFailed)
        return {"error": one_line(str(error)), "status": 500 if ours else 400}
    if is_out_of_memory(error):
        return {"error": one_line(f"memory ran out ({reason_of(error)})"), "status": 500}
    return {"error": one_line(f"this failed: {type(error).__name__}: {reason_of(error)}"), "status": 500}


def memory() -> int:
    """Return how many bytes of memory this process holds; 0 where the system doesn't tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def _stop_in_passes(check: Callable[[], None]) -> None:
    """Look before every module that a network runs whether the job is to be stopped."""
    if "torch" in sys.modules:
        from torch.nn.modules.module import register_module_forward_pre_hook

        def look(module: Any, inputs: Any) -> None:
            check()

        register_module_forward_pre_hook(look)
