"""The page of a small run in a real browser that no request may leave."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from limelight.bench.recipe import Recipe
from limelight.bench.run import benchmark
from limelight.pages import Section, Table, write_page
from limelight.pages.benchmark import Run, open_run, write_report
from limelight.pages.page import Value

CHROMIUM = shutil.which("chromium")
pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]

MODELS = ("demo/resnet", "demo/vgg")
METHODS = ("grad-cam", "lrp-epsilon-plus", "random-map")
METRICS = ("average-drop", "insertion", "complexity")
PAPER = "model,method,metric,value\nResNet,Grad-CAM,average_drop_pct,34.5\nVGG,Grad-CAM,complexity,0.2\n"
SHEET = {"width": 680, "height": 1000}
"""A4 between its margins, in pixels of CSS."""

Opener = Callable[..., Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    recipe = Recipe.model_validate(
        {
            "name": "small",
            "about": "A few scenes.",
            "data": {"dataset": "scenes", "n": 4},
            "models": {"names": MODELS},
            "methods": [{"name": m} for m in METHODS],
            "metrics": [{"name": m} for m in METRICS],
        }
    )
    benchmark(recipe, folder, published=PAPER)
    return open_run(folder)


@pytest.fixture(scope="module")
def file(run: Run) -> Path:
    return write_report(run, run.store.folder / "report.html")


def first(table: Any) -> list[str]:
    """Return the row heads that are shown, from top to bottom."""
    return table.locator("tbody tr:visible th").all_inner_texts()


def sorting(page: Any) -> tuple[Any, Any]:
    """Return the first leaderboard and the button of its first metric."""
    table = page.locator("table.sortable").first
    return table, table.locator("thead button").nth(1)


def test_nothing_foreign_runs_or_is_fetched(file: Path, browser: Any, tmp_path: Path) -> None:
    """Should a tag of a stranger ever stand in a page, the page's policy makes nothing of it."""
    foreign = """<script>document.title = "taken"</script><img src="https://example.com/a.png" alt=""
        onerror="document.title = 'taken'"><p style="position: fixed">x</p><style>h1 { display: none }</style>
        <form action="https://example.com"></form><base href="https://example.com">"""
    (tmp_path / "page.html").write_text(file.read_text(encoding="utf-8").replace("<main", f"{foreign}<main"))
    context = browser.new_context()
    asked: list[str] = []
    context.route("https://**", lambda route: asked.append(route.request.url) or route.abort())
    page = context.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    assert page.title() == "Small: the benchmark"
    assert page.locator("h1").is_visible()
    assert page.locator("p[style]").evaluate("p => getComputedStyle(p).position") == "static"
    page.evaluate("document.forms[0].submit()")
    assert page.url.startswith("file:")
    assert page.evaluate("document.baseURI").startswith("file:")
    assert asked == []
    context.close()


# -- what it shows ----------------------------------------------------------------------------------------


def test_it_opens_whole_and_asks_for_nothing(opened: Opener) -> None:
    page = opened()
    assert page.title() == "Small: the benchmark"
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    headings = page.locator("h2").all_inner_texts()
    assert headings == [
        *("Leaderboard", "Quality and cost", "Curves", "Picture by picture", "Best and worst", "Beside the paper"),
        *("Empty maps and failures", "How it was measured"),
    ]
    for link in page.locator("nav a").all():
        link.click()
        assert page.locator("h2", has_text=link.inner_text()).is_visible()
        assert page.evaluate("document.querySelector(':target').getBoundingClientRect().top < innerHeight")


def test_the_first_screen_says_who_may_be_trusted(run: Run, opened: Opener) -> None:
    page = opened(viewport={"width": 1280, "height": 720})
    facts = page.locator(".facts div")
    assert facts.count() == 3
    for fact in facts.all():
        box = fact.bounding_box()
        assert box["y"] + box["height"] < 720
    among = {m: 0 for m in METHODS}
    for _, summary in run.by_model:
        for figure in summary:
            among[figure.method] += figure.like_best
    said = facts.first.inner_text()
    assert said.startswith(f"{max(among.values())} of {len(MODELS) * len(METRICS)}")
    assert all((m in said) == (count == max(among.values())) for m, count in among.items())
    assert "random-map" in facts.last.inner_text()


def test_without_scripts_all_can_be_read(opened: Opener) -> None:
    page = opened(java_script_enabled=False)
    assert page.locator(".filter:visible, button:visible").count() == 0
    for i in range(len(MODELS)):
        assert first(page.locator(".group table.sortable").nth(i)) == list(METHODS)
    for image in page.locator("section > .group > .figures img, td img").all():
        box = image.bounding_box()
        assert box["width"] > 50 < box["height"]
    details = page.locator("details").last
    inside = details.locator(":scope > :not(summary)").first
    assert not inside.is_visible()
    details.locator("summary").click()
    assert inside.is_visible()


# -- sorting and filtering --------------------------------------------------------------------------------


def test_a_column_sorts_by_mouse_and_keyboard(run: Run, opened: Opener) -> None:
    page = opened()
    table, button = sorting(page)

    def orders() -> list[str | None]:
        return [head.get_attribute("aria-sort") for head in table.locator("thead th").all()]

    summary = run.summaries[0]
    by_drop = sorted(METHODS, key=lambda m: summary[m, "average-drop"].mean)
    others: list[str | None] = [None] * (len(METRICS) + 3)
    assert orders() == [None, None, *others]
    button.click()  # a low drop is good, so it comes first
    assert (first(table), orders()) == (by_drop, [None, "ascending", *others])
    for key, order, word in (("Enter", by_drop[::-1], "descending"), ("Space", by_drop, "ascending")):
        page.keyboard.press(key)
        assert (first(table), orders()) == (order, [None, word, *others])
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    assert (first(table), orders()) == (sorted(METHODS), ["ascending", None, *others])


def test_what_has_no_number_comes_last(opened: Opener, tmp_path: Path) -> None:
    rows = [["a", Value("–")], ["b", Value("2", 2.0)], ["c", Value("10", 10.0)]]
    table = Table("Some.", ["name", "number"], rows, ["ascending", "descending"])
    write_page(tmp_path / "page.html", "Some", [], [Section("One", [table])])
    page = opened(tmp_path / "page.html")
    found, button = sorting(page)
    for order in ("cba", "bca"):
        button.click()
        assert "".join(first(found)) == order


def test_the_keyboard_reaches_everything_and_is_seen_there(opened: Opener) -> None:
    page = opened()
    stops: list[tuple[str, str]] = []
    for _ in range(200):
        page.keyboard.press("Tab")
        name, text, seen = page.evaluate(
            """() => {
              const at = document.activeElement, style = getComputedStyle(at);
              const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
              return [at.tagName, at.textContent.trim(), seen || at === document.body];
            }"""
        )
        if name == "BODY":
            break
        assert seen, (name, text)
        stops.append((name, text))
    names = [name for name, _ in stops]
    assert names[0] == "A"
    assert names.count("INPUT") == 1
    assert names.count("BUTTON") == page.locator("thead th button").count() > 10
    assert names.count("SUMMARY") == page.locator("summary").count() > 3


def test_the_filter_leaves_what_has_every_word(opened: Opener) -> None:
    page = opened()
    boards = page.locator(".group:has(table.sortable)")
    page.get_by_label("Show only models and methods with").focus()

    def typed(text: str) -> list[list[str]]:
        page.keyboard.press("Control+A")
        page.keyboard.press("Backspace")
        page.keyboard.type(text)
        return [first(board) for board in boards.all()]

    output = page.locator(".filter output")
    assert typed("RANDOM") == [["random-map"]] * 2
    assert output.inner_text() == "2 of 6 rows"
    assert typed("vgg map") == [[], ["random-map"]]
    assert not boards.first.is_visible()
    assert typed("nothing") == [[], []]
    assert output.inner_text() == "0 of 6 rows"
    assert typed("") == [list(METHODS)] * 2
    assert output.inner_text() == ""


# -- on a phone, in print, in the dark ----------------------------------------------------------------------


def test_nothing_sticks_out(opened: Opener) -> None:
    page = opened(bypass_csp=True)  # to wait for what a string says
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    for width in (320, 390, 1280):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
        regions = page.locator(".wide, pre").all()
        scrolling = [it for it in regions if it.evaluate("it => it.scrollWidth > it.clientWidth")]
        boards = [it for it in scrolling if it.locator(".sortable").count()]
        assert bool(boards) == (width < 400)  # where there is room, nothing has to be scrolled for the figures
        for region in scrolling:
            region.focus()
            page.keyboard.press("ArrowRight")
            page.wait_for_function("document.activeElement.scrollLeft > 0")
        for caption in page.locator("caption").all():  # which is read without scrolling
            box = caption.bounding_box()
            assert box["x"] + box["width"] <= width
        for board in boards:  # whose row is read stays in sight
            head = board.locator("tbody th").first
            assert head.bounding_box()["x"] == pytest.approx(board.bounding_box()["x"], abs=1)


def test_paper_has_all_of_it(opened: Opener) -> None:
    page = opened(viewport=SHEET, color_scheme="light")
    page.get_by_label("Show only models and methods with").fill("vgg grad")
    page.emulate_media(media="print")
    assert page.locator(".filter:visible, nav:visible, .skip:visible").count() == 0
    for board in page.locator(".group:has(table.sortable)").all():  # what was filtered away would be missed
        assert first(board) == list(METHODS)
    assert page.evaluate("document.documentElement.scrollWidth") <= SHEET["width"]
    cut = "[...document.querySelectorAll('.wide, pre')].filter(it => it.scrollWidth > it.clientWidth + 1)"
    assert page.evaluate(f"{cut}.map(it => it.getAttribute('aria-label') || it.textContent.slice(0, 50))") == []
    assert page.evaluate("getComputedStyle(document.querySelector('thead button'), '::after').display") == "none"
    for inside in page.locator("details > :not(summary)").all():  # paper can't be clicked
        assert inside.is_visible()
    pages = page.pdf(format="A4", prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", pages)) > 4


CONTRAST = """
() => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  for (const image of document.querySelectorAll('img[src^="data:image/svg"]')) {  // drawings have words too
    const drawing = document.createElement("div");
    drawing.innerHTML = new TextDecoder().decode(
      Uint8Array.from(atob(image.src.split(",")[1]), (c) => c.charCodeAt(0))).replace(/^.*?<svg/s, "<svg");
    image.replaceWith(drawing);
  }
  const parsed = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const over = ([r, g, b, a], ground) => [r, g, b].map((c, i) => c * a + ground[i] * (1 - a));
  const light = (rgb) => {
    const [r, g, b] = rgb.map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [low, high] = [light(a), light(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  // All that may lie behind an element: a gradient counts with each of its colours.
  const grounds = (element) => {
    if (!element) return [[255, 255, 255]];
    const style = getComputedStyle(element), colour = parsed(style.backgroundColor);
    let found = colour[3] === 1 ? [colour.slice(0, 3)] : grounds(element.parentElement).map((g) => over(colour, g));
    for (const one of style.backgroundImage.match(/rgba?\\([^)]*\\)/g) || [])
      found = found.concat(found.map((g) => over(parsed(one), g)));
    return found;
  };
  const low = [];
  let count = 0;
  for (const element of document.body.querySelectorAll("*")) {
    const text = [...element.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data.trim()).join("");
    if (!text || element.closest("script, style, defs") || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const colour = parsed(element instanceof SVGElement ? style.fill : style.color);
    for (let up = element; up; up = up.parentElement) colour[3] *= Number(getComputedStyle(up).opacity);
    const worst = Math.min(...grounds(element).map((g) => contrast(over(colour, g), g)));
    count += 1;
    if (!(worst >= 4.5)) low.push([element.tagName, text.slice(0, 40), worst]);
  }
  return [count, low];
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_words_stand_out_from_their_ground(opened: Opener, scheme: str) -> None:
    page = opened(color_scheme=scheme, bypass_csp=True)  # the drawings are looked at inside the page
    sorting(page)[1].click()
    ground = [int(c) for c in re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))]
    assert (sum(ground) < 384) == (scheme == "dark")
    count, low = page.evaluate(CONTRAST)
    assert count > 300
    assert low == []


# -- for those who hear it ----------------------------------------------------------------------------------


def test_headings_are_in_order_and_pictures_have_names(opened: Opener) -> None:
    page = opened()
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    tree = page.locator("body").aria_snapshot()
    levels = [int(level) for level in re.findall(r"heading .*\[level=(\d)\]", tree)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip([0, *levels], levels, strict=False)), levels
    pictures = re.findall(r"- '?img\b(.*)", tree)
    assert len(pictures) == page.locator("img, svg").count() > 20
    assert all(len(name) > 12 for name in pictures), pictures
    for role in ("banner", "navigation", "main", "contentinfo"):
        assert f"- {role}" in tree
    assert re.search(r'button "average-drop ↓"', tree)  # the arrow that shows the order is not read out
    assert 'searchbox "Show only models and methods with"' in tree
    assert len(re.findall(r'- region ".+"', tree)) >= page.locator(".wide").count()
