"""Who may ask: the address, the token, the host, the origin, and how much."""

import asyncio
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from limelight.web.guard import LARGEST_REQUEST, LARGEST_UPLOAD, Guard

from .client import PORT, TOKEN, Answer, ask


async def inner(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the path, when it has read all."""
    while (await receive()).get("more_body"):
        pass
    await PlainTextResponse(scope["path"], headers={"cache-control": "public", "x-own": "1"})(scope, receive, send)


def asked(method: str = "GET", path: str = "api/start", **given: Any) -> Answer:
    return asyncio.run(ask(Guard(inner, TOKEN, PORT), method, path, **given))


def test_our_own_page_is_answered_with_the_headers_that_keep_it_here() -> None:
    answer = asked(headers={"origin": f"http://localhost:{PORT}", "sec-fetch-site": "same-origin"})
    assert (answer.status, answer.body) == (200, b"/api/start")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-own"] == "1"
    assert asked(path="app.js").headers["cache-control"] == "no-cache"
    assert asked(host=f"LOCALHOST:{PORT}").status == 200


@pytest.mark.parametrize(
    ("status", "given"),
    [
        (403, {"host": f"evil.example:{PORT}"}),  # a name that its owner lets point here
        (403, {"host": "127.0.0.1"}),
        (403, {"host": f"127.0.0.1:{PORT + 1}"}),
        (403, {"host": f"127.0.0.1.evil.example:{PORT}"}),
        (403, {"host": None}),
        (403, {"headers": {"Host": f"127.0.0.1:{PORT}"}}),  # twice
        (403, {"headers": {"origin": "http://evil.example"}}),
        (403, {"headers": {"origin": "null"}}),
        (403, {"headers": {"origin": f"https://127.0.0.1:{PORT}"}}),
        (403, {"headers": {"sec-fetch-site": "cross-site"}}),
        (403, {"headers": {"sec-fetch-site": "same-site"}}),  # another port of this machine
        (404, {"token": ""}),
        (404, {"token": TOKEN[:-1]}),
        (404, {"token": TOKEN + "x"}),
        (404, {"token": TOKEN.upper()}),
        (404, {"token": "\udcff"}),
        (404, {"token": "x/../" + TOKEN}),
        (405, {"method": "DELETE"}),
        (405, {"method": "OPTIONS"}),
        (400, {"headers": {"content-length": "-1"}, "said_length": False}),
        (400, {"headers": {"content-length": "9" * 30}, "said_length": False}),
        (413, {"headers": {"content-length": str(LARGEST_REQUEST + 1)}, "said_length": False}),
        (413, {"path": "api/pictures", "headers": {"content-length": str(LARGEST_UPLOAD + 1)}, "said_length": False}),
    ],
)
def test_others_get_one_clear_line(status: int, given: dict[str, Any]) -> None:
    answer = asked(**given)
    assert answer.status == status
    assert answer.error
    assert TOKEN not in answer.error
    assert "content-security-policy" in answer.headers


def test_a_body_that_is_longer_than_it_says() -> None:
    long = b"x" * (LARGEST_REQUEST + 1)
    assert asked("POST", body=long, said_length=False).status == 413
    assert asked("POST", body=long, headers={"content-length": "3"}, said_length=False).status == 413
    assert asked("POST", path="api/pictures", body=long, said_length=False).status == 200


def test_a_web_socket_is_not_answered() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Guard(inner, TOKEN, PORT)({"type": "websocket", "path": f"/{TOKEN}/"}, None, send))  # type: ignore[arg-type]
    assert [one["type"] for one in sent] == ["websocket.close"]
