"""The processes in which networks run: a quick one, and for each model one for what takes long."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from limelight.web import decode, worker
from limelight.web.child import Child
from limelight.web.lane import Job, Lane

QUICK_WAITING, HEAVY_WAITING, DECODE_WAITING = 128, 16, 500
"""Jobs that may wait."""

QUICK_SECONDS, DECODE_SECONDS = 120.0, 30.0
"""A job may take; one in a heavy lane takes as long as the page wants it."""

HEAVY = {"curves", "trust", "evaluate"}
"""What takes long, besides dear methods."""

SOON = 2.0
"""Seconds after a first map, until the process starts that what takes long will want."""

REST = 600.0
"""Seconds without a job after which a process for what takes long ends, and gives its memory back."""

KEYS = 1000
"""Explanations of which it is known which process has them."""

STUDIO = "limelight.web.studio"
"""The module of what the processes do."""


class Workers:
    """All processes."""

    def __init__(self, models: Sequence[str], loading: Mapping[str, Any], functions: str = STUDIO):
        """Start none yet.

        Args:
            models: names.
            loading: how they are loaded, for ``zoo.load``.
            functions: the module that has ``Studio`` and ``FUNCTIONS``.
        """
        self.models = list(models)
        self.cheap: set[str] = set()
        self._arguments = dict(loading), functions
        self.quick = Lane(
            "the worker",
            lambda: self._start(self.models),
            waiting=QUICK_WAITING,
            seconds=QUICK_SECONDS,
            made=self._remember,
        )
        self.uploads = self._decoder("the decoder", 1)
        self.thumbs = self._decoder("the decoder of thumbnails", 1000)
        self._heavy: dict[str, Lane] = {}
        self._owners: OrderedDict[str, Lane] = OrderedDict()

    def submit(self, function: str, request: Mapping[str, Any], paths: Mapping[str, str]) -> Job:
        """Give a job to the process that is for it.

        Raises:
            Refusal: too many wait there.
        """
        job = self._lane(function, request).submit(Job(function, request, paths))
        if function == "explain":  # whoever explains will ask how far to trust it
            asyncio.get_running_loop().call_later(SOON, self.heavy(request["model"]).warm_up)
        return job

    async def close(self) -> None:
        """End all processes."""
        await asyncio.gather(*(lane.close() for lane in (self.quick, self.uploads, self.thumbs, *self._heavy.values())))

    def heavy(self, model: str) -> Lane:
        """Return the lane for a model's long jobs; its process starts with the first."""
        if model not in self._heavy:
            self._heavy[model] = Lane(
                f"the worker of {model}",
                lambda: self._start([model]),
                waiting=HEAVY_WAITING,
                warm=False,
                rest=REST,
                made=self._remember,
            )
        return self._heavy[model]

    def _lane(self, function: str, request: Mapping[str, Any]) -> Lane:
        if function in HEAVY or (function == "explain" and request["method"] not in self.cheap):
            return self.heavy(request["model"])
        return self._owners.get(request.get("explanation", ""), self.quick)

    def _remember(self, key: str, lane: Lane) -> None:
        self._owners[key] = lane
        while len(self._owners) > KEYS:
            self._owners.popitem(last=False)

    @staticmethod
    def _decoder(name: str, most_jobs: int) -> Lane:
        start = partial(Child, decode.main)
        return Lane(name, start, waiting=DECODE_WAITING, seconds=DECODE_SECONDS, most_jobs=most_jobs)

    def _start(self, models: Sequence[str]) -> Child:
        return Child(worker.main, list(models), *self._arguments)
