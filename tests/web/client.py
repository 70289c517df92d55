"""Asks the application without a network, as a page would, also one that goes away."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message

TOKEN, PORT = "token-of-the-tests", 8123


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The one line of a refusal, which must be nothing else."""
        said = self.json
        assert set(said) == {"error"}, said
        line = said["error"]
        assert line
        assert len(line.splitlines()) == 1
        assert len(line) <= 500
        assert "Traceback" not in line
        return line

    @property
    def events(self) -> list[tuple[str, Any]]:
        blocks = [block.split("\n") for block in self.body.decode().split("\n\n") if block]
        return [(kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for kind, data in blocks]


async def ask(
    app: ASGIApp,
    method: str,
    path: str,
    body: Any = b"",
    headers: dict[str, str] | None = None,
    *,
    token: str = TOKEN,
    host: str | None = f"127.0.0.1:{PORT}",
    stay: float | None = None,
    said_length: bool = True,
) -> Answer:
    """Ask, and go away after so many seconds; a body that is no bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    path, _, query = path.partition("?")
    given = {"host": host, **({"content-length": str(len(content))} if said_length else {}), **(headers or {})}
    messages: list[Message] = []
    chunks = [content[i : i + 65536] for i in range(0, len(content), 65536)] or [b""]

    async def receive() -> Message:
        if chunks:
            return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}
        await asyncio.sleep(3600 if stay is None else stay)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        messages.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": f"/{token}/{path}",
        "raw_path": b"",
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(k.encode(), v.encode("latin-1")) for k, v in given.items() if v is not None],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", PORT),
    }
    await app(scope, receive, send)
    start, *rest = messages
    assert start["type"] == "http.response.start"
    answered = {key.decode(): value.decode() for key, value in start["headers"]}
    return Answer(start["status"], answered, b"".join(one.get("body", b"") for one in rest))
