"""The addresses of the page, and what each answers."""

import base64
import json
import mimetypes
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from limelight.web import requests as ask
from limelight.web.events import EventStream, wanted
from limelight.web.guard import Guard
from limelight.web.inspection import EXPORTS, SCRIPTS, Inspection
from limelight.web.refusal import Refusal
from limelight.web.site import Site

PAGE = Path(__file__).parent / "page"

STREAMS: dict[str, type[ask.Strict]] = {
    "explain": ask.Explain,
    "curves": ask.Curves,
    "layers": ask.Layers,
    "tokens": ask.Tokens,
    "trust": ask.Trust,
    "evaluate": ask.Evaluate,
}
"""What is answered by a stream of events."""

ANSWERS: dict[str, type[ask.Strict]] = {
    "classify": ask.Classify,
    "prices": ask.Prices,
    "hide": ask.Hide,
    "compare-hiding": ask.CompareHiding,
    "run-picture": ask.RunPicture,
    "run-leaders": ask.RunLeaders,
    "run-strip": ask.RunStrip,
    "inspection-picture": ask.OfPicture,
    "inspection-strip": ask.InspectionStrip,
}
"""What is answered by one result."""


def create_app(site: Site, token: str, port: int) -> ASGIApp:
    """Return the application.

    Args:
        site: what it shows.
        token: with which every address begins.
        port: of the server, which requests must name.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _refuse_in_one_line(app)
    _pictures(app, site)
    _inspection(app, site)
    for name, kind in STREAMS.items():
        app.post(f"/api/{name}")(_stream(site, name, kind))
    for name, kind in ANSWERS.items():
        app.post(f"/api/{name}")(_answer(site, name, kind))

    @app.get("/api/start")
    def start() -> dict[str, Any]:
        return site.start()

    @app.post("/api/export")
    async def export(request: Request) -> Response:
        said = ask.parse(ask.Export, await request.body())
        return _file(await wanted(request.receive, _result(site, "export", said)))

    @app.api_route("/api/{_:path}", methods=["GET", "POST"])
    def nothing(_: str) -> None:
        raise Refusal(404, "there is no such address")

    mimetypes.add_type("text/javascript", ".js")  # whatever the system says, or the browser refuses it
    if PAGE.is_dir():
        app.mount("/", StaticFiles(directory=PAGE, html=True))
    return Guard(app, token, port)


def _pictures(app: FastAPI, site: Site) -> None:
    @app.get("/api/pictures")
    def page(
        first: Annotated[int, Query(ge=0, le=10_000_000)] = 0, count: Annotated[int, Query(ge=0, le=500)] = 60
    ) -> dict[str, Any]:
        return {"total": len(site.pictures), "pictures": site.pictures.page(first, count)}

    @app.post("/api/pictures")
    async def add(request: Request) -> dict[str, Any]:
        return await site.add(request.stream(), unquote(request.headers.get("x-name", "")))

    @app.get("/api/pictures/{name}/thumb")
    async def thumb(name: str, request: Request) -> Response:
        return Response(await wanted(request.receive, site.thumb(name)), media_type="image/jpeg")

    @app.get("/api/pictures/{name}/shown")
    async def shown(name: str, model: str, request: Request) -> Response:
        said = ask.OfPicture(picture=name, model=model)
        return _file(await wanted(request.receive, _result(site, "shown", said)))


def _inspection(app: FastAPI, site: Site) -> None:
    def here() -> Inspection:
        if not isinstance(site.run, Inspection):
            raise Refusal(404, "there is no inspection here; limelight serve --inspection DIR shows one")
        return site.run

    @app.get("/inspection.html")
    def page() -> Response:
        return Response(here().page()[0], media_type="text/html")

    @app.get("/inspection/page.css")
    def style() -> Response:
        return Response(here().page()[1], media_type="text/css")

    @app.get("/inspection/{name}")
    def part(name: str) -> Response:
        if name in ("page.js", "scatter.js"):
            return Response((SCRIPTS / name).read_bytes(), media_type="text/javascript")
        if name not in EXPORTS:
            raise Refusal(404, f"an inspection has no file of this name here; it has {', '.join(EXPORTS)}")
        return FileResponse(here().file(name), filename=name, media_type=EXPORTS[name])


def _stream(site: Site, name: str, kind: type[ask.Strict]) -> Callable[[Request], Awaitable[Response]]:
    async def stream(request: Request) -> Response:
        return EventStream(await site.submit(name, ask.parse(kind, await request.body())))

    return stream


def _answer(site: Site, name: str, kind: type[ask.Strict]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        said = ask.parse(kind, await request.body())
        return Response(await wanted(request.receive, _result(site, name, said)), media_type="application/json")

    return answer


async def _result(site: Site, name: str, said: ask.Strict) -> bytes:
    return await (await site.submit(name, said)).result()


def _file(result: bytes) -> Response:
    """Return a file that a worker has made: ``{"data": base64, "type": its media type, "name": …}``."""
    made = json.loads(result)
    headers = {"content-disposition": f'attachment; filename="{made["name"]}"'} if "name" in made else {}
    return Response(base64.b64decode(made["data"]), media_type=made["type"], headers=headers)


def _refuse_in_one_line(app: FastAPI) -> None:
    """Answer every refusal by its line, as JSON."""

    @app.exception_handler(Refusal)
    def refuse(_: Request, error: Refusal) -> Response:
        return JSONResponse({"error": error.line}, error.status)

    @app.exception_handler(ClientDisconnect)
    def leave(_: Request, __: Exception) -> Response:
        return JSONResponse({"error": "the page went away"}, 499)

    @app.exception_handler(HTTPException.__base__ or HTTPException)
    def refuse_so(_: Request, error: Exception) -> Response:
        status, detail = (getattr(error, name, None) for name in ("status_code", "detail"))
        return JSONResponse({"error": str(detail)}, int(status or 500))

    @app.exception_handler(RequestValidationError)
    def refuse_query(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return JSONResponse({"error": f"{first['loc'][-1]}: {first['msg']}"}, 400)

    @app.exception_handler(Exception)
    def fail(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": f"this failed: {type(error).__name__}"}, 500)
