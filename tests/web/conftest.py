"""A server whose processes only pretend, shared by the tests of a module."""

import asyncio
import os
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra web is not installed")

from .client import PORT, TOKEN, Answer, ask

MODELS = ["a", "b"]


class Here:
    """A site, its application, and a loop in which both run."""

    def __init__(
        self,
        folder: Path,
        functions: str = "web.pretend",
        models: list[str] = MODELS,
        reader: str | None = None,
        kind: str = "run",
    ):
        self.reader, self.kind = reader, kind
        self.runner, self.folder = asyncio.Runner(), folder
        self.site: Any = None
        self.app: Any = None
        self.functions, self.models = functions, models

    def open(self) -> "Here":
        from limelight.web.app import create_app
        from limelight.web.inspection import Inspection
        from limelight.web.pictures import scenes
        from limelight.web.run import Run
        from limelight.web.site import Site
        from limelight.web.workers import Workers

        async def start() -> None:
            kind = {one.name: one for one in (Run, Inspection)}[self.kind]
            run = None if self.reader is None else kind(self.folder / self.kind, None, self.folder, self.reader)
            if run is not None:
                await run.open()
            shown = scenes(self.folder) if run is None else run.pictures
            self.site = Site(Workers(self.models, {}, self.functions), shown, self.folder, run)
            await self.site.open()

        self.run(start())
        self.app = create_app(self.site, TOKEN, PORT)
        return self

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(asyncio.wait_for(work, 30))

    def get(self, path: str, **given: Any) -> Answer:
        return self.run(ask(self.app, "GET", path, **given))

    def post(self, path: str, body: Any, **given: Any) -> Answer:
        return self.run(ask(self.app, "POST", path, body, **given))

    def close(self) -> None:
        if self.site is not None:
            self.run(self.site.close())
        self.runner.close()


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    one = Here(tmp_path_factory.mktemp("own"))
    try:
        yield one.open()
    finally:
        one.close()
