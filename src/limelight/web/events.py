"""Answers that wait for a job: a stream of events, or one result; either stops the job when the page goes away."""

import asyncio
from collections.abc import Awaitable
from contextlib import aclosing
from typing import TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from limelight.web.lane import Job
from limelight.web.refusal import Refusal

T = TypeVar("T")


class EventStream(Response):
    """Server-sent events of a job."""

    media_type = "text/event-stream"

    def __init__(self, job: Job):
        super().__init__()
        del self.headers["content-length"]
        self.job = job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them as they come."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await unless_gone(receive, self._send_all(send))

    async def _send_all(self, send: Send) -> None:
        async with aclosing(self.job.events()) as events:
            async for kind, data in events:
                event = b"event: %b\ndata: %b\n\n" % (kind.encode(), data)
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def unless_gone(receive: Receive, work: Awaitable[T]) -> T | None:
    """Do something until it is done, or until nobody waits any more; then it is left, and None returns."""
    answer, gone = asyncio.ensure_future(work), asyncio.ensure_future(_until_gone(receive))
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        return await answer if answer.done() else None
    finally:
        answer.cancel()
        gone.cancel()


async def wanted(receive: Receive, work: Awaitable[T]) -> T:
    """Do something that a page waits for.

    Raises:
        Refusal: it can't be done, or nobody waits any more.
    """
    result = await unless_gone(receive, work)
    if result is None:
        raise Refusal(499, "the page went away")
    return result


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
