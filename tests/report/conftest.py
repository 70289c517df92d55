"""A browser, and pages opened in it without network."""

import shutil
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def browser() -> Generator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any, file: Path) -> Generator[Callable[..., Any]]:
    """Open the page without network; whatever it asks for or complains of fails the test."""
    amiss: list[str] = []
    contexts: list[Any] = []

    def stop(route: Any) -> None:
        if route.request.url.startswith(("file:", "data:")):
            route.continue_()
        else:
            amiss.append(f"asked for {route.request.url}")
            route.abort()

    def go(path: Path = file, **options: Any) -> Any:
        context = browser.new_context(offline=True, reduced_motion="reduce", **options)
        contexts.append(context)
        context.route("**/*", stop)
        page = context.new_page()
        page.on("console", lambda message: amiss.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: amiss.append(str(error)))
        page.goto(path.as_uri())
        return page

    yield go
    for context in contexts:
        context.close()
    assert amiss == []
