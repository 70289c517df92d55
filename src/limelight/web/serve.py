"""Run the server until it is interrupted."""

import asyncio
import contextlib
import os
import secrets
import socket
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limelight.errors import InvalidOption, MissingExtra
from limelight.files import reason_of
from limelight.web import inspection as inspections
from limelight.web import run as runs

if TYPE_CHECKING:
    import uvicorn

    from limelight.web.site import Site

DEMO = ("demo/resnet", "demo/vit", "demo/hans")
"""Models when none is named: two that answer by different means, and one that cheats."""

LOCALHOST = "127.0.0.1"


def serve(
    models: Sequence[str] = (),
    loading: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    port: int | None = None,
    ready: Callable[[str], None] = print,
    functions: str | None = None,
    run: Path | None = None,
    inspection: Path | None = None,
) -> None:
    """Serve the page on this machine until it is interrupted.

    Args:
        models: names; the demo's when there are none.
        loading: how they are loaded, for ``zoo.load``.
        folder: of pictures; drawn scenes else. Beside a run or an inspection, where its pictures are now.
        port: a free one else.
        ready: is called with the address.
        functions: the module of what the processes do, if not ours.
        run: folder of a run of ``limelight benchmark``, whose models and pictures are shown.
        inspection: folder of an inspection of ``limelight inspect``, the same.

    Raises:
        MissingExtra: FastAPI or uvicorn is not installed.
        InvalidOption: the port is taken; models beside a run; both a run and an inspection, or what is none.
        InvalidImage: the folder has no pictures.
        LimelightError: a model can't be loaded, or a run or an inspection can't be read.
    """
    for package in ("fastapi", "uvicorn"):
        if find_spec(package) is None:
            raise MissingExtra(package, "web")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # decoders have no use for threads, whose stacks take addresses
    how = dict(loading or {})
    names = list(dict.fromkeys(models))
    if run is not None and inspection is not None:
        raise InvalidOption("--run and --inspection have a page each; leave one out")
    if run is not None:
        how = runs.refuse_beside(run, models, how) | {"run": str(run)}
    elif inspection is not None:
        how = inspections.refuse_beside(inspection, models, how) | {"inspection": str(inspection)}
    else:
        names = names or list(DEMO)
    with tempfile.TemporaryDirectory(prefix="limelight-") as own, _listen(port) as listening:
        asyncio.run(_serve(names, how, folder, Path(own), listening, ready, functions))


async def _serve(
    models: list[str],
    loading: dict[str, Any],
    folder: Path | None,
    own: Path,
    listening: socket.socket,
    ready: Callable[[str], None],
    functions: str | None,
) -> None:
    from limelight.web import pictures
    from limelight.web.site import Site
    from limelight.web.workers import STUDIO, Workers

    async with contextlib.AsyncExitStack() as end:
        run = None
        for kind in (runs.Run, inspections.Inspection):
            if kind.name in loading:
                run = kind(Path(loading[kind.name]), folder, own)
                end.push_async_callback(run.close)
                models, functions = models or run.models, functions or run.networks
        workers = Workers(models, loading, functions or STUDIO)
        end.push_async_callback(workers.close)
        workers.quick.warm_up()  # imports PyTorch while the folder, or the run, is read
        if run is not None:
            await run.open()
            shown = run.pictures
        else:
            shown = pictures.scenes(own) if folder is None else pictures.in_folder(folder)
        site = Site(workers, shown, own, run)
        token, port = secrets.token_urlsafe(24), listening.getsockname()[1]
        opening = asyncio.create_task(site.open())
        await asyncio.sleep(0)
        import uvicorn  # while the first process imports PyTorch

        from limelight.web.app import create_app

        await opening
        config = uvicorn.Config(
            create_app(site, token, port),
            log_level="error",
            access_log=False,  # the token would be in it
            timeout_graceful_shutdown=2,
            server_header=False,
            proxy_headers=False,
            ws="none",
            lifespan="off",
        )
        server = _ending_with(site)(config)
        asyncio.get_running_loop().call_soon(ready, f"http://{LOCALHOST}:{port}/{token}/")
        await server.serve(sockets=[listening])


def _ending_with(site: "Site") -> "type[uvicorn.Server]":
    """Return a server that ends all jobs when it ends, and with them the streams that it would wait for."""
    import uvicorn

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await site.close()
            await super().shutdown(sockets)

    return Server


def open_browser(address: str) -> None:
    """Show the page in the user's browser, if there is one."""
    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


def _listen(port: int | None) -> socket.socket:
    listening = socket.socket()
    try:
        if os.name == "posix":  # elsewhere it would let two servers have one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((LOCALHOST, port or 0))
    except OSError as error:
        listening.close()
        raise InvalidOption(f"--port {port}: {reason_of(error)}; without --port a free one is taken") from error
    return listening
