"""A run of the benchmark in a real browser: from its table to a map, the strip in another order, the address."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from limelight.bench.recipe_file import read_recipe
from limelight.bench.run import benchmark
from limelight.data.synthetic import CLASSES
from small_recipe import small

from .served import ARGS, CHROMIUM, Opener, serving
from .test_page_in_browser import ink

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
    folder = tmp_path_factory.mktemp("measured")
    methods = '[[methods]]\nname = "{}"\n'
    recipe = small(
        folder,
        data='[data]\ndataset = "scenes"\nn = 18\n',
        models='[models]\nnames = ["demo/resnet", "demo/vgg"]\n',
        methods=f'{methods.format("grad-cam")}layer = "layer2"\nonly = ["demo/resnet"]\n'
        + "".join(map(methods.format, ("eigen-cam", "random-map"))),
        metrics='[[metrics]]\nname = "pointing-game"\n[[metrics]]\nname = "proportion"\n',
    )
    benchmark(read_recipe(recipe), folder / "run")
    with serving(run=folder / "run") as address, playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        opener = Opener(browser, address)
        yield opener
        opener.close()
        browser.close()
    assert opener.amiss == []


def marks(page: Any) -> list[float]:
    return [float(text) for text in page.locator(".film .mark").all_inner_texts()]


def test_from_the_table_to_a_map_and_through_the_strip(opened: Opener) -> None:
    page = opened()
    assert page.locator("#tab-run").get_attribute("aria-selected") == "true"
    page.locator(".leaders li").nth(2).wait_for()
    rows = page.locator(".measured tbody tr")
    assert rows.locator(".name").all_inner_texts() == ["Grad-CAM", "Eigen-CAM", "Random map"]
    assert re.match(r"[\d.]+\n\d+(st|nd|rd|th) of 18\nmedian [\d.]+", rows.first.locator("td").nth(1).inner_text())
    assert page.locator(".settings summary").inner_text() == "Settings of Grad-CAM · 1 changed"  # as it was measured
    before = ink(page)
    rows.locator(".name", has_text="Eigen-CAM").click()
    page.locator(".caption b", has_text="Eigen-CAM").wait_for()
    page.wait_for_function("() => !document.querySelector('.left progress')")
    assert ink(page) not in (0, before)

    select = page.locator("#panel select")  # metric, order, and by which method
    select.nth(0).select_option("proportion")
    select.nth(1).select_option("worst")
    page.locator(".film .mark").nth(17).wait_for()
    values = marks(page)
    assert values == sorted(values)
    select.nth(2).select_option("random-map")
    page.wait_for_function("v => document.querySelector('.film .mark').textContent !== v", arg=f"{values[0]:.3g}")
    page.locator(".film li button").first.click()
    name = page.locator(".film li img").first.get_attribute("alt")
    page.locator("#panel h3", has_text=name).wait_for()
    page.locator("#panel p", has_text="demo/resnet says").wait_for()

    page.locator(".measured .name", has_text="Grad-CAM").click()
    page.locator("header select").select_option("demo/vgg")  # which has no Grad-CAM in this run
    page.locator(".measured tbody tr").nth(1).wait_for()
    page.wait_for_function("() => document.querySelectorAll('.measured tbody tr').length === 2")
    page.locator("header select").select_option("demo/resnet")
    page.locator(".measured .name", has_text="Grad-CAM").click()
    page.get_by_label("only what demo/resnet has wrong").check()
    page.wait_for_function("() => document.querySelectorAll('.film li').length < 18")
    for said in page.locator(".film li button").all():
        said.click()
        page.locator("#panel p", has_text=": wrong, it is").wait_for()

    again = opened(page.url.removeprefix(opened.address))
    again.locator(".measured .now", has_text="Grad-CAM").wait_for()
    again.locator("#panel h3", has_text=page.locator("#panel h3").first.inner_text()).wait_for()
    assert any(name in again.locator("h2").inner_text() for name in CLASSES)


def test_anyone_can_use_it(opened: Opener) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs the package axe-playwright-python")
    broken: list[Any] = []
    for width, scheme in ((1280, "light"), (390, "dark")):
        page = opened(viewport={"width": width, "height": 844}, color_scheme=scheme)
        page.get_by_label("Pictures in order").select_option("apart")
        page.locator(".film .mark").first.wait_for()
        page.locator(".leaders li").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        said = axe.Axe().run(page).response["violations"]
        broken += [(width, one["id"], [node["html"][:120] for node in one["nodes"]]) for one in said]
    assert broken == []
