"""Make the pictures of the page: docs/pictures/serve*.png.

python tools/picture_serve.py
"""

import contextlib
import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from make_readme import run_snippets
from PIL import Image
from playwright.sync_api import sync_playwright

from limelight.bench.recipe_file import read_recipe
from limelight.bench.run import benchmark

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from web.served import ARGS, CHROMIUM, Opener, serving  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"


def save(page: Any, name: str) -> None:
    """Save what is seen, in few colours, which take less room."""
    with Image.open(io.BytesIO(page.screenshot())) as image:
        small = image.convert("RGB").resize((image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.LANCZOS)
        small.quantize(160, kmeans=4).save(PICTURES / f"{name}.png", optimize=True)


def idle(page: Any) -> None:
    page.wait_for_timeout(500)
    page.wait_for_function("() => !document.querySelector('progress')", timeout=120_000)
    page.wait_for_timeout(500)


def methods(opened: Callable[..., Any]) -> None:
    page = opened("#picture=scene-0&model=demo/resnet")
    page.wait_for_function("() => document.querySelectorAll('.card canvas').length >= 8")
    idle(page)
    save(page, "serve")


def brush(opened: Callable[..., Any]) -> None:
    page = opened("#picture=scene-2-watermark&model=demo/hans&tab=hide", color_scheme="dark")
    idle(page)
    box = page.locator(".stage .layers").bounding_box()
    for i, x in enumerate((0.05, 0.2, 0.37)):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + 0.89 * box["height"])
        if not i:
            page.mouse.down()
    page.mouse.up()
    page.locator(".verdict b").wait_for()
    idle(page)
    page.mouse.move(0, 0)
    save(page, "serve-hide")


def phone(opened: Callable[..., Any]) -> None:
    page = opened("#picture=scene-0&model=demo/resnet", viewport={"width": 390, "height": 844})
    idle(page)
    save(page, "serve-phone")


def run(opened: Callable[..., Any]) -> None:
    page = opened(viewport={"width": 1280, "height": 1120})
    page.locator("#panel select").nth(1).select_option("worst")
    page.locator(".film .mark").first.wait_for()
    page.locator(".film li button").first.click()
    idle(page)
    page.mouse.move(0, 0)
    save(page, "serve-run")


def inspection(opened: Callable[..., Any]) -> None:
    page = opened(viewport={"width": 1280, "height": 1000})
    page.locator(".strategies").wait_for()
    idle(page)
    save(page, "serve-inspection")


def take(address: str, *pictures: Callable[[Opener], None]) -> None:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        opener = Opener(browser, address)
        for picture in pictures:
            picture(opener)
        opener.close()
        browser.close()


def main() -> None:
    with serving("demo/resnet", "demo/vit", "demo/hans") as address:
        take(address, methods, brush, phone)
    with tempfile.TemporaryDirectory() as folder:
        benchmark(read_recipe("demo"), folder)
        with serving(run=Path(folder)) as address:
            take(address, run)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        run_snippets("inspecting")
        with serving(inspection=Path("inspected")) as address:
            take(address, inspection)


if __name__ == "__main__":
    main()
