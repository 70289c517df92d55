"""A child process and the jobs that wait for it."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from itertools import count
from typing import Any

from limelight.web.child import Child
from limelight.web.messages import pack, unpack
from limelight.web.refusal import Refusal, one_line

GRACE = 10.0
"""Seconds in which a job that is to stop must do so, or its process is killed."""

WAITING_EVENTS = 32
"""Of a job that nobody has taken; further progress and partial results are left out until some are."""

GROWTH = 2 << 30
"""Bytes that a process may hold more than when it was ready, before it is replaced."""

Event = tuple[str, bytes]
"""A word (``queued``, ``progress``, ``partial``, ``result`` or ``failed``) and JSON."""


class Job:
    """A piece of work, and the events of it, of which the last is ``result`` or ``failed``."""

    _numbers = count()

    def __init__(self, function: str, request: Mapping[str, Any], paths: Mapping[str, str] | None = None):
        self.number = next(self._numbers)
        self.message = {"number": self.number, "function": function, "request": request, "paths": paths or {}}
        self.stopped = False
        self.ended = False
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._on_stop: Callable[[], None] | None = None

    def put(self, kind: str, data: bytes) -> None:
        """Add an event."""
        if kind in ("result", "failed"):
            self.ended = True
        elif self._events.qsize() >= WAITING_EVENTS:
            return
        self._events.put_nowait((kind, data))

    def fail(self, status: int, line: str) -> None:
        """End it with a reason."""
        if not self.ended:
            self.put(*unpack(pack("failed", {"error": one_line(line), "status": status})))

    def stop(self) -> None:
        """Say that nobody waits for it."""
        if not (self.stopped or self.ended):
            self.stopped = True
            if self._on_stop:
                self._on_stop()

    def when_stopped(self, call: Callable[[], None]) -> None:
        """Let something be called when it is stopped."""
        self._on_stop = call

    async def events(self) -> AsyncGenerator[Event]:
        """Yield the events as they come; who goes on with something else before the last one stops the job."""
        kind = ""
        try:
            while kind not in ("result", "failed"):
                kind, data = await self._events.get()
                yield kind, data
        finally:
            self.stop()

    async def result(self) -> bytes:
        """Wait for the result.

        Raises:
            Refusal: it failed.
        """
        async for kind, data in self.events():
            if kind == "result":
                return data
            if kind == "failed":
                error = json.loads(data)
                raise Refusal(error["status"], error["error"])
        raise AssertionError


class Lane:
    """A child process that does one job at a time, and is replaced when it dies, is worn out or does not stop."""

    def __init__(
        self,
        name: str,
        start: Callable[[], Child],
        *,
        waiting: int,
        seconds: float | None = None,
        most_jobs: int = 20_000,
        warm: bool = True,
        rest: float | None = None,
        made: "Callable[[str, Lane], None]" = lambda key, lane: None,
    ):
        """Start nothing yet.

        Args:
            name: for messages.
            start: starts the process.
            waiting: jobs that may wait.
            seconds: a job may take.
            most_jobs: of one process.
            warm: whether the next process starts before there is a job for it.
            rest: seconds without a job after which the process ends; None for never.
            made: is called with the key of every explanation that was made here.
        """
        self.name, self._start, self._waiting, self._seconds = name, start, waiting, seconds
        self._most_jobs, self._warm, self._rest, self._made = most_jobs, warm, rest, made
        self._line: deque[Job] = deque()
        self._arrived = asyncio.Event()
        self._now: Job | None = None
        self._child: Child | None = None
        self._base = 0
        self._task = asyncio.create_task(self._work())

    @property
    def pid(self) -> int | None:
        """Number of the process, if there is one."""
        return self._child.pid if self._child else None

    def submit(self, job: Job) -> Job:
        """Put a job into the line.

        Raises:
            Refusal: the line is full.
        """
        if self._closed:
            raise Refusal(503, "the server is closing")
        if len(self._line) + (self._now is not None) > self._waiting:  # one of them runs, or is about to
            raise Refusal(429, f"{self.name} is busy: {self._waiting} jobs wait already; try again in a while")
        job.when_stopped(lambda: self._stop(job))
        self._line.append(job)
        self._arrived.set()
        if (self._now and not self._now.ended) or len(self._line) > 1:
            self._tell_place(job, len(self._line))
        return job

    def warm_up(self) -> None:
        """Start the process, if there is none, and wait for nothing."""
        if not self._closed:
            self._child = self._child or self._start()
            self._arrived.set()  # the rest begins anew

    @property
    def _closed(self) -> bool:
        return self._task.done() or self._task.cancelling() > 0

    async def open(self) -> None:
        """Start the process and wait until it is ready.

        Raises:
            Refusal: it can't be.
        """
        await self._ready()

    async def close(self) -> None:
        """End the process and all jobs."""
        self._task.cancel()
        for job in (self._now, *self._line):
            if job is not None:
                job.fail(503, "the server is closing")
        if self._child:
            self._child.kill("the server is closing")
            await self._child.until_gone()
            self._child = None

    async def _work(self) -> None:
        while True:
            try:
                await asyncio.wait_for(self._arrived.wait(), self._rest)
            except TimeoutError:
                self._end()
                continue
            self._arrived.clear()
            while self._line:
                self._now = self._line.popleft()
                self._tell_places()
                await self._do(self._now)
                self._now = None

    def _end(self) -> None:
        """Let go of the memory of a process that nobody uses; the next job starts another."""
        if self._child:
            self._child.kill("nobody used it")
            self._child = None

    async def _do(self, job: Job) -> None:
        try:
            child = await self._ready()
        except Refusal as error:
            return job.fail(error.status, error.line)
        if job.stopped:
            return None
        limit = self._limit(child)
        await child.send("do", job.message)
        while (message := await child.inbox.get())[0] not in ("done", "gone"):
            kind, data = message
            if kind == "key":
                self._made(json.loads(data)["key"], self)
            else:
                job.put(kind, data)
        if limit:
            limit.cancel()
        self._settle(child, job, *message)
        return None

    def _settle(self, child: Child, job: Job, kind: str, data: bytes) -> None:
        """After a job: go on with the process, or replace it."""
        child.jobs += 1
        said = json.loads(data)
        if kind == "gone":
            job.fail(503, f"{self.name} died ({said}) and is started anew; try again")
        else:
            job.fail(500, f"{self.name} gave no result")
            if child.jobs < self._most_jobs and said["memory"] - self._base < GROWTH:
                return
            child.kill("it was worn out")
        self._child = self._start() if self._warm else None

    async def _ready(self) -> Child:
        if self._child is None or (self._child.ready and self._child.gone):  # it may have died while it had no job
            self._child = self._start()
        child = self._child
        while not child.ready:
            kind, data = await child.inbox.get()
            said = json.loads(data)
            if kind == "ready":
                child.ready, self._base = True, said["memory"]
                break
            self._child = None
            child.kill("it could not start")
            if kind == "gone":
                raise Refusal(503, f"{self.name} can't be started: {said}")
            raise Refusal(said["status"], said["error"])
        return child

    def _stop(self, job: Job) -> None:
        if job in self._line:
            self._line.remove(job)
            self._tell_places()
        elif job is self._now and (child := self._child) and child.ready:
            self._stopping = asyncio.ensure_future(self._stop_now(child, job))

    async def _stop_now(self, child: Child, job: Job) -> None:
        await child.send("stop", {"number": job.number})
        await asyncio.sleep(GRACE)
        if job is self._now:
            child.kill("it did not stop")

    def _limit(self, child: Child) -> asyncio.TimerHandle | None:
        if self._seconds is None:
            return None
        reason = f"it took more than {self._seconds:g} s"
        return asyncio.get_running_loop().call_later(self._seconds, child.kill, reason)

    def _tell_places(self) -> None:
        for place, job in enumerate(self._line, 1):
            self._tell_place(job, place)

    @staticmethod
    def _tell_place(job: Job, place: int) -> None:
        job.put(*unpack(pack("queued", {"ahead": place})))
