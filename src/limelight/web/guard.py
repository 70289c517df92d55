"""What stands before the page: its address, who asks, and how much.

A page of another site can make a browser ask this server (and by a name of its own, which it lets point here, read the
answer), so the host and the origin must be ours, and the path must begin with a token that only the terminal shows.
"""

import hmac
from collections.abc import Iterable

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limelight.web.refusal import Refusal

LARGEST_UPLOAD = 32 << 20
"""Bytes of a picture."""

LARGEST_REQUEST = 8 << 20
"""Bytes of all else: a mask of a large picture is the longest."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """Refuse what is not asked by our own page, and give every answer the headers that keep it here."""

    def __init__(self, app: ASGIApp, token: str, port: int):
        self.app, self.token = app, token.encode()
        self.hosts = {f"{name}:{port}".encode() for name in ("127.0.0.1", "localhost")}
        if port == 80:
            self.hosts |= {b"127.0.0.1", b"localhost"}
        self.origins = {b"http://" + host for host in self.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close"})
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            started = True
            await send(_with_headers(message, static))

        path = scope["path"].encode("utf-8", "surrogatepass")
        rest = path[len(self.token) + 1 :]
        static = not rest.startswith(b"/api/")
        limit = LARGEST_UPLOAD if rest == b"/api/pictures" else LARGEST_REQUEST
        refusal = self._refuse(scope, path, rest, limit)
        if refusal:
            return await JSONResponse({"error": refusal[1]}, refusal[0])(scope, receive, answer)
        inner = {**scope, "path": rest.decode("utf-8", "surrogatepass"), "raw_path": rest}
        try:
            return await self.app(inner, _at_most(limit, receive), answer)
        except Refusal as error:  # of a body that grew too large, if the application lets it pass
            if not started:
                await JSONResponse({"error": error.line}, error.status)(scope, receive, answer)
        return None

    def _refuse(self, scope: Scope, path: bytes, rest: bytes, limit: int) -> tuple[int, str] | None:
        headers = list(scope["headers"])
        hosts, origins, sites = (_values(headers, name) for name in (b"host", b"origin", b"sec-fetch-site"))
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:
            return 403, "this server answers only at the address that it has printed"
        if any(one not in self.origins for one in origins) or any(
            one not in (b"same-origin", b"none") for one in sites
        ):
            return 403, "another page asked; copy the address from the terminal into the browser"
        if not path.startswith(b"/") or not hmac.compare_digest(path[1 : len(self.token) + 1], self.token):
            return 404, "there is nothing here; the whole address is in the terminal"
        if not rest.startswith(b"/"):
            return 404, "there is nothing here; the address ends with /"
        if b"\0" in rest:  # which no file has in its name
            return 404, "there is nothing here"
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return 405, "only GET and POST are answered"
        lengths = _values(headers, b"content-length")
        if any(not one.isdigit() or len(one) > 18 for one in lengths):
            return 400, "the length of the request is no number"
        if any(int(one) > limit for one in lengths):
            return 413, f"this is larger than {limit >> 20} MB"
        return None


def _values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for key, value in headers if key.lower() == name]


def _at_most(limit: int, receive: Receive) -> Receive:
    """Count the bytes of a body whose length was not said, or not truly."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise Refusal(413, f"this is larger than {limit >> 20} MB")
        return message

    return counted


def _with_headers(message: Message, static: bool) -> Message:
    if message["type"] != "http.response.start":
        return message
    ours = HEADERS | {"cache-control": "no-cache" if static else "no-store"}
    kept = [(key, value) for key, value in message.get("headers", []) if key.lower().decode("latin-1") not in ours]
    return {**message, "headers": [*kept, *((key.encode(), value.encode()) for key, value in ours.items())]}
