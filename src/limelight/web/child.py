"""A child process, as the server sees it."""

import asyncio
import contextlib
import json
import multiprocessing
import signal
import threading
from collections.abc import Callable, Generator, Mapping
from typing import Any

from limelight.web.messages import LARGEST, pack, unpack


class Child:
    """A process, what is sent to it, and an inbox of what it says.

    Its last message is ``gone``, with the reason.
    """

    def __init__(self, main: Callable[..., None], *arguments: Any):
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=main, args=(theirs, *arguments), daemon=True)
        with _deaf_to_interrupts():
            self._process.start()
        theirs.close()
        self.inbox: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.reason = ""
        self.ready = False
        self.gone = False
        self.jobs = 0
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def pid(self) -> int | None:
        """Its number."""
        return self._process.pid

    async def send(self, kind: str, data: Mapping[str, Any]) -> None:
        """Send a message; to one that is dead it goes nowhere."""
        message = pack(kind, data)
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._pipe.send_bytes, message)  # waits while a pipe is full

    def kill(self, reason: str) -> None:
        """End it."""
        self.reason = self.reason or reason
        self._process.kill()

    async def until_gone(self) -> None:
        """Wait until it has ended, and throw away what it said before."""
        while (await self.inbox.get())[0] != "gone":
            pass

    def _listen(self) -> None:
        with contextlib.suppress(EOFError, OSError):  # it ended, or said too much
            while True:
                self._post(*unpack(self._pipe.recv_bytes(LARGEST)))
        self._process.kill()
        self._process.join()
        self._pipe.close()
        self.gone = True
        self._post("gone", json.dumps(self.reason or _how_it_ended(self._process.exitcode)).encode())

    def _post(self, kind: str, data: bytes) -> None:
        with contextlib.suppress(RuntimeError):  # the server's loop has ended
            self._loop.call_soon_threadsafe(self.inbox.put_nowait, (kind, data))


def _how_it_ended(code: int | None) -> str:
    if code == -signal.SIGKILL:
        return "it was killed, as systems do when memory runs out"
    if code is not None and code < 0:
        return f"it crashed ({signal.Signals(-code).name})"
    return f"it ended with code {code}"


@contextlib.contextmanager
def _deaf_to_interrupts() -> Generator[None]:
    """Let a process that is started leave Ctrl-C, which the terminal sends to all of them, to the server."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
