"""The page in a real browser that nothing leaves: what people do on it, by mouse, by keyboard and on a phone."""

import base64
import io
import json
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .served import ARGS, CHROMIUM, Opener, serving

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
pytest.importorskip("fastapi", reason="the extra web is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]
TABS = ("methods", "hide", "layers", "trust", "two")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving("demo/resnet", "demo/vit", "demo/hans") as here:
        yield here


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        one = driver.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield one
        one.close()


@pytest.fixture
def opened(browser: Any, address: str) -> Iterator[Opener]:
    opener = Opener(browser, address)
    yield opener
    opener.close()
    assert opener.amiss == []


def ink(page: Any, canvas: str = ".stage canvas") -> int:
    """Return a number that tells what is drawn on a canvas from what is drawn otherwise; 0 for nothing."""
    data = "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data"
    return page.locator(canvas).first.evaluate(f"{data}.reduce((s, v, i) => (s * 31 + v * (i % 97)) % 1e9, 0)")


def settles(page: Any, holds: Callable[[int], bool]) -> bool:
    """Wait until what is drawn on the stage holds, for a while."""
    end = time.monotonic() + 30
    while not holds(ink(page)) and time.monotonic() < end:
        page.wait_for_timeout(100)
    return holds(ink(page))


def until(page: Any, condition: str, argument: Any = None) -> None:
    page.wait_for_function(condition, arg=argument)


def chance(page: Any, label: str) -> str:
    return page.locator(".bars li", has_text=label).locator(".value").inner_text()


def drop(page: Any, name: str, kind: str, content: bytes) -> None:
    page.evaluate(
        """([name, type, text]) => {
            const carried = new DataTransfer();
            carried.items.add(new File([Uint8Array.from(atob(text), c => c.charCodeAt(0))], name, { type }));
            const how = { dataTransfer: carried, bubbles: true, cancelable: true };
            for (const event of ["dragenter", "dragover", "drop"])
                document.body.dispatchEvent(new DragEvent(event, how));
        }""",
        [name, kind, base64.b64encode(content).decode()],
    )


def paint(page: Any, *places: tuple[float, float]) -> None:
    """Draw a stroke through places of the picture, each in [0, 1]."""
    box = page.locator(".stage .layers").bounding_box()
    for i, (x, y) in enumerate(places):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        if not i:
            page.mouse.down()
    page.mouse.up()


def png(number: int) -> bytes:
    import limelight as ll

    out = io.BytesIO()
    ll.example_image(number).save(out, "PNG")
    return out.getvalue()


def test_a_picture_is_dropped_and_its_classes_are_asked_for(opened: Opener) -> None:
    page = opened()
    before = ink(page)
    assert before
    ring = png(4)
    start = time.perf_counter()
    drop(page, "my ring.png", "image/png", ring)
    page.locator(".asked", has_text="ring").wait_for()
    until(page, "() => document.querySelector('.caption') && !document.querySelector('.left progress')")
    assert time.perf_counter() - start < 5  # of a warm server with nothing else to do, less than one
    assert ink(page) not in (0, before)
    assert page.locator(".film li img").first.get_attribute("alt") == "my ring.png"

    page.locator(".bars .bar").nth(2).click()
    label = page.locator(".bars .label").nth(2).inner_text()
    page.locator(".asked", has_text=f"Why {label}?").wait_for()
    page.locator(".bars .bar").first.click(modifiers=["Shift"])
    page.locator(".asked", has_text=f"Why {label}, rather than ring?").wait_for()
    page.locator(".against select").select_option("finer")
    until(page, "() => location.hash.includes('kind=finer') && !document.querySelector('.left progress')")
    until(page, "words => document.getElementById('said').textContent.includes(words)", "rather than ring")
    address, drawn = page.url, ink(page)
    page.get_by_label("Find a class").fill("cr")
    until(page, "() => document.querySelectorAll('.bars li').length === 2")  # cross and crescent

    again = opened(address.removeprefix(opened.address))
    again.locator(".asked", has_text=f"Why {label}, rather than ring?").wait_for()
    until(again, "() => !document.querySelector('.left progress')")
    assert ink(again) == drawn


def test_what_fails_is_said_in_plain_words(opened: Opener) -> None:
    page = opened()
    drop(page, "notes.txt", "text/plain", b"no picture")
    page.get_by_role("alert").get_by_text("That is no picture").wait_for()
    page.get_by_role("button", name="Dismiss").click()
    assert page.get_by_role("alert").count() == 0
    page.context.route("**/api/explain", lambda route: route.abort())
    page.locator(".film li button").nth(5).click()
    page.get_by_role("alert").get_by_text("does not answer any more").wait_for()
    page.context.unroute("**/api/explain")
    page.get_by_role("button", name="Try again").click()
    page.locator(".caption").wait_for()
    drop(page, "damaged.png", "image/png", png(4)[:200])
    page.get_by_role("alert").get_by_text("damaged.png: ").wait_for()
    opened.amiss[:] = [line for line in opened.amiss if "Failed to load resource" not in line]


def test_parts_are_hidden_and_the_bars_move(opened: Opener) -> None:
    page = opened("#picture=scene-0&model=demo/resnet")
    before = chance(page, "star")
    page.locator("#tab-hide").click()
    paint(page, (0.6, 0.55), (0.9, 0.6), (0.7, 0.7), (0.9, 0.7))
    page.locator(".verdict b").wait_for()
    until(page, "p => document.querySelector('.now .value').textContent !== p", before)
    assert page.locator(".tick").first.is_visible()
    page.get_by_role("button", name="Undo").click()
    page.locator(".verdict", has_text="Nothing is painted").wait_for()
    assert chance(page, "star") == before
    page.locator(".choice", has_text="What I paint").get_by_text("all that is kept").click()
    paint(page, (0.05, 0.95), (0.15, 0.95))
    until(page, "p => document.querySelector('.now .value').textContent !== p", before)
    page.get_by_role("button", name="Clear").click()

    page.locator(".compare figure").nth(1).wait_for()
    shares = [
        float(t.split()[-2 if t.startswith("<") else 0])
        for t in page.locator(".compare figcaption b").all_inner_texts()
    ]
    assert shares[0] < shares[1]  # the map finds the star; chance does not
    page.get_by_role("button", name="Draw the curves").click()
    page.locator(".plot canvas").wait_for()
    line = ink(page, ".plot canvas")
    page.get_by_role("slider", name="Area").fill("0.4")
    until(page, "() => document.querySelector('output').textContent === '40 %'")
    page.wait_for_timeout(300)
    assert ink(page, ".plot canvas") != line


def test_methods_stand_side_by_side_and_have_settings(opened: Opener) -> None:
    page = opened("#picture=scene-0&model=demo/resnet")
    until(page, "() => document.querySelectorAll('.card canvas').length >= 8")
    page.locator(".card img").first.hover()
    said = "[...document.querySelectorAll('.card .readout')].filter(r => /above \\d+ %/.test(r.textContent))"
    until(page, f"() => {said}.length >= 8")
    page.get_by_role("button", name="Show all", exact=False).last.click()
    page.get_by_role("button", name="Run RISE", exact=True).click()
    card = page.locator(".card", has=page.get_by_role("button", name="RISE", exact=True))
    card.locator("canvas").wait_for()  # its map so far
    card.get_by_role("button", name="Stop").click()
    card.get_by_role("button", name="Run RISE").wait_for()

    page.locator(".card .name", has_text="Layer-CAM").click()
    page.locator(".caption b", has_text="Layer-CAM").wait_for()
    drawn = ink(page)
    page.locator(".settings summary").click()
    page.get_by_label("layer", exact=True).fill("layer2")
    until(page, "() => location.hash.includes('o.layer=') && !document.querySelector('.left progress')")
    assert settles(page, lambda now: now != drawn)
    page.get_by_role("button", name="Copy as Python").click()
    page.get_by_text("Python copied").wait_for()
    code = page.evaluate("navigator.clipboard.readText()")
    assert "ll.explain('demo/resnet', ll.example_image(0), 'layer-cam', layer='layer2'" in code
    page.get_by_role("button", name="Copy as command").click()
    page.get_by_text("Command copied").wait_for()
    assert "--method layer-cam" in page.evaluate("navigator.clipboard.readText()")
    page.get_by_role("button", name="Reset").click()
    until(page, "() => !location.hash.includes('o.layer')")
    assert settles(page, lambda now: now == drawn)
    page.get_by_label("Colours").select_option("cividis")
    assert settles(page, lambda now: now != drawn)


def test_layers_tokens_and_trust(opened: Opener) -> None:
    page = opened("#picture=scene-0&model=demo/vit&tab=layers")
    page.get_by_text("its relevance").wait_for()
    attention = ink(page, ".three .card:nth-child(2) canvas")
    page.locator(".pickable").click(position={"x": 5, "y": 5})
    until(page, "() => document.querySelector('[aria-label=Tokens] input').value === '0'")
    until(page, "() => !document.querySelector('.right progress')")
    page.wait_for_timeout(500)
    assert ink(page, ".three .card:nth-child(2) canvas") != attention
    row = page.get_by_role("spinbutton", name="Row")
    row.fill("3")  # is not finished, and stays while other things are drawn
    page.evaluate(
        "document.querySelector('.look input[type=range]').dispatchEvent(new Event('input', {bubbles: true}))"
    )
    page.wait_for_timeout(50)
    assert row.input_value() == "3"
    row.press("Enter")
    until(page, "() => document.querySelector('.token')?.style.top.startsWith('37.5')")

    page.locator("header select").select_option("demo/resnet")
    page.locator("#tab-trust").click()
    page.get_by_role("button", name="Measure this map").click()
    page.get_by_role("columnheader", name="centre map").wait_for()
    assert page.get_by_role("row").count() > 4
    page.get_by_text("like the map").first.wait_for()
    for name in ("Layer-CAM", "Deletion", "Insertion"):
        page.locator(".chips label:not(.add)", has_text=name).click()
    page.get_by_role("button", name="Evaluate").click()
    page.get_by_text("intervals; bold").wait_for(timeout=60_000)
    assert re.search(r"\d+ to \d+|[\d.]+ to [\d.]+", page.locator(".folder tbody").inner_text())


def test_it_is_saved(opened: Opener, browser: Any) -> None:
    page = opened("#picture=scene-0&model=demo/resnet")
    until(page, "() => document.querySelectorAll('.card canvas').length >= 4")
    files: dict[str, bytes] = {}
    for words, kind in (("PNG", "png"), ("SVG", "svg"), ("NPZ", "npz"), ("JSON", "json"), ("HTML", "html")):
        page.locator(".menu summary").click()
        with page.expect_download() as caught:
            page.locator(".menu button", has_text=words).click()
        assert caught.value.suggested_filename == f"scene-0-grad-cam-star.{kind}"
        files[kind] = caught.value.path().read_bytes()
    assert files["png"].startswith(b"\x89PNG")
    assert b"<svg" in files["svg"]
    assert zipfile.ZipFile(io.BytesIO(files["npz"])).namelist()
    assert json.loads(files["json"])
    alone = browser.new_context(offline=True).new_page()
    asked: list[str] = []
    alone.on("request", lambda request: asked.append(request.url))
    alone.set_content(files["html"].decode())
    assert alone.locator("h1").inner_text() == "Why star?"
    assert alone.locator("figure img").count() >= 4
    assert all(url.startswith("data:") for url in asked)
    alone.context.close()


def test_anyone_can_use_it(opened: Opener) -> None:
    """No rule of accessibility is broken in any tab, in dark or light, and on a phone nothing stands out."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs the package axe-playwright-python")
    broken: list[Any] = []
    for size in ((1280, 800), (390, 844)):
        page = opened("#picture=scene-0&model=demo/vit", viewport={"width": size[0], "height": size[1]})
        page.locator(".settings summary").click()
        for i, tab in enumerate(TABS):
            page.locator(f"#tab-{tab}").click()
            page.wait_for_timeout(700)
            page.emulate_media(color_scheme=("dark", "light")[(i + (size[0] > 400)) % 2])
            assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
            said = axe.Axe().run(page).response["violations"]
            broken += [(size[0], tab, one["id"], [node["html"][:120] for node in one["nodes"]]) for one in said]
    assert broken == []


def test_the_keyboard_is_enough(opened: Opener) -> None:
    page = opened("#picture=scene-0&model=demo/resnet")
    page.locator("#tab-methods").focus()
    page.keyboard.press("ArrowRight")
    until(page, "() => document.activeElement.id === 'tab-hide'")
    before = chance(page, "star")
    page.locator(".stage").focus()
    for key in (
        "Shift+ArrowRight",
        "Shift+ArrowRight",
        "ArrowRight",
        "Shift+ArrowDown",
        "Space",
        "Shift+ArrowRight",
        "Space",
    ):
        page.keyboard.press(key)
    until(page, "p => document.querySelector('.now .value').textContent !== p", before)
    page.get_by_text("of the map").last.wait_for(state="attached")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    page.locator(".verdict", has_text="Nothing is painted").wait_for()
    page.locator(".bars .vs").nth(3).focus()
    page.keyboard.press("Enter")
    page.locator(".asked", has_text="rather than").wait_for()


def test_a_stranger_sees_what_the_cheat_looks_at(opened: Opener) -> None:
    """The ten clicks of docs/serve.md."""
    page = opened()
    page.locator("header select").select_option("demo/hans")  # 1
    page.get_by_alt_text("scene 2", exact=True).click()  # 2: a circle
    page.locator(".asked", has_text="Why circle?").wait_for()
    page.get_by_alt_text("scene 2 watermark").click()  # 3: the same, with a stamp in its corner
    page.locator(".asked", has_text="Why star?").wait_for()
    page.locator("#tab-hide").click()  # 4
    paint(page, (0.05, 0.89), (0.37, 0.89))  # 5: over the stamp
    until(page, "() => parseFloat(document.querySelector('.now .value').textContent) < 50")
    page.get_by_role("button", name="Undo").click()  # 6
    page.locator(".choice").get_by_text("all that is kept").click()  # 7
    paint(page, (0.05, 0.89), (0.37, 0.89))  # 8: nothing but the stamp
    until(page, "() => parseFloat(document.querySelector('.now .value').textContent) > 80")
    page.locator("#tab-two").click()  # 9
    page.locator("#panel select").select_option("demo/resnet")  # 10
    honest = page.get_by_role("article", name="demo/resnet")
    honest.locator(".short li", has_text="circle").wait_for()
    assert honest.locator(".short .label").first.inner_text() == "circle"
