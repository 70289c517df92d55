"""An inspection in a real browser: from its page to a picture, whose mark is painted over, and back."""

from collections.abc import Iterator
from typing import Any

import pytest

from cli.commands import run
from report.inspections import write_stars_and_rings

from .served import ARGS, CHROMIUM, Opener, serving
from .test_page_in_browser import paint

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
pytest.importorskip("fastapi", reason="the extra web is not installed")
pytest.importorskip("pyarrow", reason="the extra bench is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opener]:
    folder = tmp_path_factory.mktemp("inspected")
    write_stars_and_rings(folder / "photos")
    assert run("inspect", folder / "photos", "--model", "demo/hans", "--tried", 0, "--out", folder / "out") == 0
    with serving(inspection=folder / "out") as address, playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        opener = Opener(browser, address)
        yield opener
        opener.close()
        browser.close()
    assert opener.amiss == []


def test_from_the_page_to_a_picture_whose_mark_is_painted_over(opened: Opener) -> None:
    page = opened()
    assert page.locator("#tab-inspection").get_attribute("aria-selected") == "true"
    verdict = page.locator("#panel .verdict").first.inner_text()
    assert verdict.startswith("20 of 20 pictures of 'star' (100%) rest on a patch at the lower left")
    page.get_by_role("button", name="star (all) proven").wait_for()
    assert page.locator(".film li").count() == 20
    page.get_by_role("link", name="Open the page of the inspection").click()
    assert verdict in page.locator("main").inner_text()
    page.locator(".legend button").first.click()
    page.locator(".chosen li a, .chosen figure a").first.wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="strategies.csv").click()
    assert download.value.path().read_text().startswith("strategy,class,proven,image")
    example = page.locator("figure[data-key] a").first
    name = example.locator("xpath=..").locator("figcaption").inner_text()
    example.click()
    page.locator(".now .value").wait_for()
    assert "star" in page.locator(".bars h2").inner_text()
    assert page.locator("#tab-hide").get_attribute("aria-selected") == "true"
    before = float(page.locator(".now .value").inner_text().removesuffix(" %"))
    paint(page, *((x, y) for y in (0.84, 0.9, 0.96) for x in (0.02, 0.38, 0.02)))
    page.locator("#panel .verdict", has_text="painted:").wait_for()
    page.wait_for_function("v => parseFloat(document.querySelector('.now .value').textContent) < v / 2", arg=before)
    page.locator("#tab-inspection").click()
    page.locator("#panel h3", has_text=name).wait_for()


def test_anyone_can_use_it(opened: Opener) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs the package axe-playwright-python")
    broken: list[Any] = []
    for width, scheme in ((1280, "light"), (390, "dark")):
        page = opened(viewport={"width": width, "height": 844}, color_scheme=scheme)
        for _ in range(2):
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            said = axe.Axe().run(page).response["violations"]
            broken += [(width, one["id"], [node["html"][:120] for node in one["nodes"]]) for one in said]
            page.goto(f"{opened.address}inspection.html")
            page.locator("figure[data-key] a").first.wait_for()
    assert broken == []
