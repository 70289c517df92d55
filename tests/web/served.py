"""A page that is served by a real process, opened in a real browser from which no request may leave this machine."""

import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@contextlib.contextmanager
def serving(*models: str, **shown: Path) -> Iterator[str]:
    """Serve a page of some models, or of a ``run`` or an ``inspection``; yield its address."""
    given = [word for model in models for word in ("--model", model)]
    given += [word for kind, folder in shown.items() for word in (f"--{kind}", str(folder))]
    command = [sys.executable, "-m", "limelight", "serve", "--no-open", *given]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if address := re.search(r"http://\S+/", line):
                    yield address[0]
                    break
            else:
                raise AssertionError("the server ended before it was ready")
        finally:
            process.terminate()


class Opener:
    """Opens pages, and notes whatever they complain of, or ask of others."""

    def __init__(self, browser: Any, address: str):
        self.browser, self.address = browser, address
        self.amiss: list[str] = []
        self.contexts: list[Any] = []

    def __call__(self, fragment: str = "", **options: Any) -> Any:
        context = self.browser.new_context(
            **{"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce", **options}
        )
        self.contexts.append(context)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        context.route("**/*", self._only_ours)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.amiss.append(str(error)))
        page.goto(self.address + fragment)
        page.locator(".caption").wait_for()
        return page

    def _only_ours(self, route: Any) -> None:
        if route.request.url.startswith((self.address, "blob:", "data:")):
            route.continue_()
        else:
            self.amiss.append(f"asked for {route.request.url}")
            route.abort()

    def _listen(self, message: Any) -> None:
        if message.type in ("error", "warning") and "readback" not in message.text:  # which tests do
            self.amiss.append(message.text)

    def close(self) -> None:
        for context in self.contexts:
            context.close()
