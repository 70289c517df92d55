"""The page of an inspection in a real browser: pictures are chosen by mouse, by keys, by the legend, and on a phone."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.commands import run
from limelight.pages.inspection import write_inspection
from report.inspections import NAMES, inspection, write_stars_and_rings

CHROMIUM = shutil.which("chromium")
pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]

Opener = Callable[..., Any]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inspection(inspection(), tmp_path_factory.mktemp("page") / "page.html")


def chosen(page: Any) -> tuple[list[str], list[str]]:
    """Return the names of the chosen pictures: those that are shown, and those that are only named."""
    return page.locator(".chosen figcaption").all_inner_texts(), page.locator(".chosen li").all_inner_texts()


def middle(page: Any, name: str) -> tuple[float, float]:
    """Return where a point is on the screen."""
    box = page.locator(f'circle[data-name="{name}"]').bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_a_click_and_a_lasso_show_pictures(opened: Opener) -> None:
    """The points lie in rows of six; 0 to 5 are examples of a strategy, 6 to 11 are not."""
    page = opened()
    page.locator(".scatter > svg").scroll_into_view_if_needed()
    page.mouse.click(*middle(page, NAMES[2]))
    assert chosen(page) == ([NAMES[2]], [])
    assert page.evaluate("[...document.querySelectorAll('.chosen img')].every(i => i.naturalWidth > 0)")
    (left, top), (right, bottom) = middle(page, NAMES[1]), middle(page, NAMES[8])
    page.mouse.move(left - 20, top - 15)  # the sheet begins 19 pixels above the point
    page.mouse.down()
    for place in ((right + 20, top - 15), (right + 20, bottom + 20), (left - 20, bottom + 20)):
        page.mouse.move(*place, steps=3)
    page.mouse.up()
    assert [sorted(names) for names in chosen(page)] == [NAMES[1:3], NAMES[7:9]]
    page.mouse.click(left - 20, (top + bottom) / 2)  # nothing is near
    assert chosen(page) == ([], [])


def test_the_keyboard_and_the_legend_choose_too(opened: Opener) -> None:
    page = opened()
    page.get_by_role("button", name="cat 3").click()
    shown, named = chosen(page)
    assert sorted([*shown, *named]) == NAMES[20:25]
    page.locator(".scatter > svg").focus()
    for key in ("Escape", "ArrowRight", "ArrowRight", "Enter", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    shown, named = chosen(page)
    assert (shown, named) == ([NAMES[1]], [NAMES[7]])
    page.keyboard.press("Enter")
    assert chosen(page) == ([NAMES[1]], [])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_and_a_finger_draws_on_a_phone(scheme: str, opened: Opener) -> None:
    page = opened(viewport={"width": 390, "height": 844}, has_touch=True, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.locator(".scatter > svg").scroll_into_view_if_needed()
    page.touchscreen.tap(*middle(page, NAMES[4]))
    assert chosen(page) == ([NAMES[4]], [])
    ground, colour = page.evaluate(
        "[document.querySelector('.scatter > svg'), document.querySelector('circle.g0')].map((it, i) => "
        "getComputedStyle(it)[i ? 'fill' : 'backgroundColor'].match(/\\d+/g).map(Number).reduce((a, b) => a + b) / 3)"
    )
    assert (ground > 200) == (scheme == "light")
    assert abs(ground - colour) > 80


def test_without_scripts_all_points_are_seen(opened: Opener) -> None:
    page = opened(java_script_enabled=False)
    assert page.locator(".scatter > svg circle").count() == 29
    assert not page.locator(".asked").is_visible()


def test_a_network_that_looks_at_a_mark_is_told_of(
    tmp_path: Path, opened: Opener, capsys: pytest.CaptureFixture[str]
) -> None:
    write_stars_and_rings(tmp_path / "photos")
    assert run("inspect", tmp_path / "photos", "--model", "demo/hans", "--tried", 0, "--out", tmp_path / "out") == 0
    said = " ".join(capsys.readouterr().out.split())
    verdict = "20 of 20 pictures of 'star' (100%) rest on a patch at the lower left"
    assert said.startswith(verdict)
    page = opened(tmp_path / "out" / "page.html")
    assert verdict in page.locator("main").inner_text()
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    page.locator(".legend button").first.click()
    assert sum(map(len, chosen(page))) >= 5
