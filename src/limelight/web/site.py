"""What the server knows and does, without HTTP."""

import base64
import hashlib
import json
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from limelight.data.images import most_pixels
from limelight.errors import LimelightError, nearest
from limelight.web.guard import LARGEST_UPLOAD
from limelight.web.lane import Job
from limelight.web.pictures import Picture, Pictures, clean_name
from limelight.web.refusal import Refusal
from limelight.web.requests import MOST_EVALUATED, Evaluate, OfPicture, Strict
from limelight.web.run import ASKED, Run
from limelight.web.workers import Workers


class Site:
    """The models, the pictures, and the processes that work on them."""

    def __init__(self, workers: Workers, pictures: Sequence[Picture], folder: Path, run: Run | None = None):
        """Start nothing yet.

        Args:
            workers: have the models.
            pictures: to begin with.
            folder: of our own, for files of a while.
            run: whose models and pictures these are, if they are those of one, or of an inspection.
        """
        self.workers, self.folder, self.run = workers, folder, run
        self.pictures = Pictures(pictures)
        self.about: dict[str, Any] = {}

    async def open(self) -> None:
        """Start the process that answers quickly, and ask it what there is.

        Raises:
            LimelightError: the models can't be loaded.
        """
        try:
            await self.workers.quick.open()
            job = self.workers.submit("start", {}, {})
            self.about = json.loads(await job.result())
        except Refusal as error:
            raise LimelightError(error.line) from None
        self.workers.cheap = {one["name"] for one in self.about["methods"] if one["cheap"]}
        if self.run is not None:
            await self.run.know(self.about)
        self.workers.uploads.warm_up()
        self.workers.thumbs.warm_up()

    async def close(self) -> None:
        """End all processes."""
        await self.workers.close()
        if self.run is not None:
            await self.run.close()

    def start(self) -> dict[str, Any]:
        """Return what the page begins with."""
        limits = {"bytes": LARGEST_UPLOAD, "pixels": most_pixels()}
        shown = {name: self.run is not None and self.run.name == name and self.run.about for name in ASKED.values()}
        return {**self.about, "total_pictures": len(self.pictures), "limits": limits, **shown}

    async def submit(self, function: str, request: Strict) -> Job:
        """Start a job that the page asks for.

        Raises:
            Refusal: it names a model or a picture that is not here, or too many wait.
        """
        said = request.model_dump(by_alias=True)
        if (model := said["model"]) not in self.workers.models:
            here = ", ".join(self.workers.models)
            raise Refusal(404, f"there is no model {model} here{nearest(model, self.workers.models)} There is: {here}")
        names: list[str] = []
        if isinstance(request, OfPicture):
            names = [request.picture]
        elif isinstance(request, Evaluate):
            names = self.pictures.all(MOST_EVALUATED) if request.pictures == "all" else request.pictures
            said["pictures"] = names
        pictures = [self.pictures.find(name) for name in names]
        if kind := ASKED.get(function):
            if self.run is None or self.run.name != kind:
                raise Refusal(404, f"there is no {kind} here; limelight serve --{kind} DIR shows one")
            return self.run.submit(function, said)
        if len(pictures) == 1 and (pictures[0].made or self.pictures.dropped(pictures[0].id)):
            said["name"] = pictures[0].name  # in code that makes a map again, as its file here is not for long
        if self.run is not None:
            await self.run.make(pictures)
        paths = {one.id: str(one.file()) for one in pictures}
        return self.workers.submit(function, said, paths)

    async def add(self, chunks: AsyncIterator[bytes], called: str) -> dict[str, Any]:
        """Take a picture that was dropped on the page: decode it in a process of its own.

        Raises:
            Refusal: it is none, too large, or damaged.
        """
        digest = hashlib.sha256()
        with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".upload") as file:
            async for chunk in chunks:
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            name = digest.hexdigest()[:32]
            known = self.pictures.dropped(name)
            picture = replace(known, name=clean_name(called)) if known else await self._decode(file.name, name, called)
        self.pictures.add(picture)
        return {"id": name, "name": picture.name, "width": picture.size[0], "height": picture.size[1]}

    async def _decode(self, source: str, name: str, called: str) -> Picture:
        target = self.folder / f"{uuid4().hex}.ppm"
        job = Job("decode", {"source": source, "target": str(target)})
        try:
            made = json.loads(await self.workers.uploads.submit(job).result())
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        self.pictures.keep_thumb(name, base64.b64decode(made["thumb"]))
        return Picture(name, clean_name(called), "", target, size=(made["width"], made["height"]))

    async def thumb(self, name: str) -> bytes:
        """Return a picture's thumbnail, JPEG.

        Raises:
            Refusal: there is no such picture, or it can't be read.
        """
        picture = self.pictures.find(name)
        if (known := self.pictures.thumb(name)) is not None:
            return known
        if self.run is not None:
            await self.run.make([picture])
        job = Job("thumb", {"source": str(picture.file())})
        made = json.loads(await self.workers.thumbs.submit(job).result())
        content = base64.b64decode(made["thumb"])
        self.pictures.keep_thumb(name, content)
        return content
