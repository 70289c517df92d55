"""The script of the viewer in a real browser, in a plain page and with a stand-in for the model of anywidget."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from limelight.engine.saliency import Finish
from limelight.results import viewer
from limelight.results.explanation import Explanation, _tell_row
from results.one_explanation import explain_once

CHROMIUM = shutil.which("chromium")
playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs the package axe-playwright-python")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]

PAGE = """<!DOCTYPE html><html lang="en"><head><title>A notebook</title></head>
<body><main><h1>A notebook</h1><div id="cell"></div></main></body></html>"""
STAND_IN = """async ([state, script]) => {
    const heard = [];
    window.state = state;
    const model = {
        get: (name) => state[name],
        set: (name, value) => { state[name] = value; heard.forEach((listener) => listener()); },
        on: (event, listener) => heard.push(listener),
        save_changes: () => { state.saved = (state.saved || 0) + 1; },
    };
    const { default: widget } = await import(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
    window.end = widget.render({ model, el: document.getElementById("cell") });
}"""
PIXEL = "(c, [x, y]) => [...c.getContext('2d').getImageData(x * (c.width - 1), y * (c.height - 1), 1, 1).data]"
LOW, HIGH = (0x44, 0x01, 0x54), (0xFD, 0xE7, 0x25)
"""Both ends of viridis."""


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser.new_page(viewport={"width": 900, "height": 900}, reduced_motion="reduce")
        browser.close()


def explained(values: list[list[float]], method: str = "grad-cam") -> Explanation:
    raw = torch.tensor(values, dtype=torch.float32)
    known = {"provenance": {"method": method}, "method": method, "label": "<i>cat</i>", "probability": 0.5}
    return replace(explain_once(), raw=raw, image=torch.full((3, 8, 8), 0.5), finish=Finish((8, 8)), **known)


def colour(page: Any, ink: str, paper: str) -> None:
    page.evaluate("([ink, paper]) => { document.body.style = `color: ${ink}; background: ${paper}`; }", [ink, paper])


def open_viewer(page: Any, *row: Explanation) -> None:
    page.set_content(PAGE)
    style = (viewer.PAGE / "viewer.css").read_text(encoding="utf-8")
    state = {"rows": [_tell_row(row, [e.title for e in row])], "look": viewer.LOOK, "css": style}
    page.evaluate(STAND_IN, [state, viewer.join_scripts()])


def pixel(page: Any, x: float, y: float, number: int = 0) -> list[int]:
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 30)))")
    return page.locator(".stage canvas").nth(number).evaluate(PIXEL, [x, y])


def near(pixel: list[int], colour: tuple[int, int, int], alpha: float) -> bool:
    """Whether a pixel has a colour, as far as a canvas keeps one that is seen through."""
    return all(abs(a - b) <= 4 for a, b in zip(pixel, (*colour, 255 * alpha), strict=True))


def broken_rules(page: Any) -> list[str]:
    return [f"{one['id']}: {one['nodes'][0]['html'][:120]}" for one in axe.Axe().run(page).response["violations"]]


def test_a_map_is_drawn_read_and_changed(page: Any) -> None:
    amiss: list[str] = []
    page.on("pageerror", lambda error: amiss.append(str(error)))
    open_viewer(page, replace(explained([[0, 1], [2, 4]]), notes=("a <note>",)))
    assert near(pixel(page, 1, 1), HIGH, 0.75)
    assert near(pixel(page, 0, 0), LOW, 0.75 / 4)
    page.get_by_role("slider", name="Strength").fill("1")
    assert near(pixel(page, 1, 1), HIGH, 1)
    assert page.evaluate("state.saved && state.look.opacity") == 1
    page.get_by_role("slider", name="Hide the lowest").fill("0.5")  # of 0, 1, 2, 4 what is below 2
    assert pixel(page, 0, 0)[3] == 0
    assert near(pixel(page, 1, 1), HIGH, 1)
    page.get_by_role("combobox", name="Colours").select_option("cividis")
    assert near(pixel(page, 1, 1), (0xFE, 0xE8, 0x38), 1)
    page.get_by_role("checkbox", name="Map").uncheck()
    assert pixel(page, 1, 1) == [0, 0, 0, 0]

    box = page.locator(".layers").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 9, box["y"] + box["height"] - 9)
    reading = page.locator(".reading span").first
    assert reading.inner_text() == "here: 4 · above 75 % of the map"
    page.mouse.move(1, 1)
    assert reading.inner_text() == ""
    page.get_by_role("group").focus()
    for key in ("Shift+ArrowRight", "ArrowUp"):  # from the middle to 0.6, 0.48
        page.keyboard.press(key)
    assert reading.inner_text() == "here: 1.94 · above 50 % of the map"  # 0.54 * 0.7 + 0.46 * 3.4
    page.get_by_role("status").get_by_text("1.94").wait_for(state="attached")  # said when it rests
    page.keyboard.press("Escape")
    assert reading.inner_text() == ""

    assert page.locator(".caption b").inner_text() == "<i>cat</i> 0.50"
    assert page.locator(".caption .note").inner_text() == "a <note>"
    assert broken_rules(page) == []
    page.evaluate("end()")
    assert page.locator("canvas").count() == 0
    assert amiss == []


def test_maps_beside_each_other_share_a_cross_hair_in_the_dark(page: Any) -> None:
    signed = explained([[-4, 0], [0, 4]], "integrated-gradients")
    empty = replace(explained([[0, 0], [0, 0]]), reason="no positive evidence")
    open_viewer(page, signed, empty)
    colour(page, "#eee", "#111")
    assert near(pixel(page, 0, 0), (33, 102, 172), 0.75)
    assert near(pixel(page, 1, 1), (230, 97, 1), 0.75)
    box = page.locator(".layers").nth(1).bounding_box()
    page.mouse.move(box["x"] + 9, box["y"] + 9)
    assert page.locator(".reading span:first-child").all_inner_texts() == ["-4 · above 0 %", "0 · above 0 %"]
    assert page.locator(".caption .note").inner_text() == "no positive evidence"
    page.locator("#cell > [data-theme=dark]").wait_for()
    assert broken_rules(page) == []
    colour(page, "black", "white")
    page.locator("#cell > [data-theme=light]").wait_for()
    assert broken_rules(page) == []
