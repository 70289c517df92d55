"""Make what the documents show: the tables of methods and metrics from the cards, and the pictures.

python tools/make_readme.py                          # tables and pictures
python tools/make_readme.py --table                  # the tables only
python tools/make_readme.py --squeezenet FILE        # also the photograph, with SqueezeNet's ImageNet weights
python tools/make_readme.py --inspecting             # the page of an inspection, which takes a browser
"""

import argparse
import contextlib
import re
import tempfile
from pathlib import Path
from typing import Any

from limelight.card import METHODS, METRICS

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "methods.md")
"""Have tables."""


def methods_table() -> str:
    lines = ["| method | passes per image | what it does | paper |", "| --- | --- | --- | --- |"]
    lines += [f"| `{c.name}` | {c.passes} | {c.summary} | {c.cites} |" for c in METHODS.cards().values()]
    return "\n".join(lines) + "\n"


def metrics_table() -> str:
    lines = ["| metric | good | passes per image | what it says | paper |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| `{c.name}` | {'↑' if c.better == 'higher' else '↓'} | {c.passes} | {c.summary} | {c.cites} |"
        for c in METRICS.cards().values()
    ]
    return "\n".join(lines) + "\n"


def families_table() -> str:
    lines = ["| family | | names |", "| --- | --- | --- |"]
    for registry, kind in ((METHODS, "methods"), (METRICS, "metrics")):
        families: dict[str, list[str]] = {}
        for card in registry.cards().values():
            families.setdefault(card.family, []).append(f"`{card.name}`")
        lines += [f"| {family} | {len(names)} {kind} | {' '.join(names)} |" for family, names in families.items()]
    return "\n".join(lines) + "\n"


TABLES = {"methods": methods_table, "metrics": metrics_table, "families": families_table}


def with_tables(text: str) -> str:
    for name, table in TABLES.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        if begin not in text:
            continue
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = before + begin + table() + end + after
    return text


def pictures(folder: Path) -> None:
    from PIL import Image

    import limelight as ll
    from limelight import draw
    from limelight.api import sanity_strip
    from limelight.data.synthetic import TEST_SEEDS, scene
    from limelight.draw import chart

    folder.mkdir(parents=True, exist_ok=True)
    two = Image.fromarray(scene(TEST_SEEDS * 2, objects=2).image)
    ll.explain(ll.load("demo/resnet"), two, "cluster-cam", n_clusters=4).save(folder / "clusters.png", view="parts")
    names = ["grad-cam", "grad-cam++", "hires-cam", "layer-cam", "eigen-cam"]
    rows: list[list[draw.Panel]] = []
    # The same pictures for every network: one object, then three of which two are asked for.
    for model in ("demo/resnet", "demo/vgg", "demo/vit"):
        network = ll.load(model)
        several = Image.fromarray(scene(TEST_SEEDS * 3 + 4, objects=3).image)
        asked = [o.name for o in scene(TEST_SEEDS * 3 + 4, objects=3).objects[:2]]
        for picture, target in ((Image.fromarray(scene(TEST_SEEDS + 9, objects=1).image), None), (several, asked[0])):
            explained = ll.explain(network, picture, names, target)[0]
            titles = [model, *names] if not rows else [model if target is None else "", *[""] * len(names)]
            panels = [explained[0].view("image"), *(e.overlay() for e in explained)]
            captions = [explained[0].title, *[""] * len(names)]
            rows.append([draw.Panel(*cell) for cell in zip(panels, titles, captions, strict=True)])
    draw.gallery(rows, size=176).save(folder / "gallery.png")
    photographs(folder)
    propagation(folder)
    clustering(folder)
    transformers(folder)
    ll.explain(ll.load("demo/resnet"), ll.example_image(), "sigcam").save(folder / "trace.png", view="trace")

    honest, cheat = ll.load("demo/resnet"), ll.load("demo/hans")
    rows = []
    for i in (1, 4, 6, 9):
        picture = Image.fromarray(scene(TEST_SEEDS + i, objects=1, watermark=True).image)
        answers = [ll.explain(network, picture, "grad-cam") for network in (honest, cheat)]
        named = zip(("demo/resnet", "demo/hans"), answers, strict=True)
        rows.append([draw.Panel(picture, "input"), *(draw.Panel(e.overlay(), n, e.title) for n, e in named)])
    halves = [[*a, *b] for a, b in zip(rows[:2], rows[2:], strict=True)]
    untitled = [draw.Panel(p.image, "", p.caption) for p in halves[1]]
    draw.gallery([halves[0], untitled], size=176).save(folder / "watermark.png")

    gallery, results = ll.compare(
        honest,
        Image.fromarray(scene(TEST_SEEDS + 9, objects=1).image),
        ["grad-cam", "layer-cam", "eigen-cam", "random-map", "fake-cam"],
        ["adcc", "insertion", "deletion"],
    )
    captions = {r.method: " · ".join(f"{k} {v:.2f}" for k, v in r.values.items()) for r in results.rows}
    sheet = gallery.picture(captions=captions)
    curves = chart.curves({name: results.curves(name) for name in ("insertion", "deletion")}, width=sheet.width)
    chart.stack([sheet, curves]).save(folder / "judged.png")

    of_pages(folder)
    sanity_strip(honest, ll.example_image(), ["grad-cam", "layer-cam", "fake-cam"]).save(folder / "sanity.png")


def of_pages(folder: Path) -> None:
    """Scans, signals, pairs, bands and a wide picture, as the snippets of their pages make them."""
    import limelight as ll
    from limelight import draw

    pages = {"volumes": ("planes", "slices", "signal"), "your-data": ("wide",), "several-inputs": ("pairs",)}
    for page, made in pages.items():
        _, written = run_page(page)
        for name in made:
            (folder / f"{name}.png").write_bytes(written[f"{name}.png"])
    known, _ = run_page("models")
    infrared, field = known["explanation"], known["field"]
    visible = ll.Classifier(known["network"], size=96, bands=(2, 1, 0))
    panels = [
        draw.Panel(ll.explain(visible, field).view("image"), "red, green, blue"),
        draw.Panel(infrared.view("image"), "near infrared, red, green"),
        draw.Panel(infrared.overlay(), infrared.method, infrared.title),
    ]
    draw.gallery([panels], size=224).save(folder / "bands.png")


def run_page(page: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Run the snippets of a page in a folder of their own; return their names and the files that they wrote."""
    with tempfile.TemporaryDirectory() as there, contextlib.chdir(there):
        names = run_snippets(page)
        return names, {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()}


def run_snippets(page: str) -> dict[str, Any]:
    """Run the snippets of a page in this folder; return their names."""
    names: dict[str, Any] = {}
    text = (ROOT / "docs" / f"{page}.md").read_text()
    for snippet in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        exec(compile(snippet, f"{page}.md", "exec"), names)
    return names


def propagation(folder: Path) -> None:
    """Relevance: what a cheat goes by, two classes of one picture, the way back, and what a parameter does."""
    from PIL import Image

    import limelight as ll
    from limelight import draw
    from limelight.data.synthetic import TEST_SEEDS, scene

    cheat, honest = ll.load("demo/hans"), ll.load("demo/resnet")
    marked = Image.fromarray(scene(TEST_SEEDS + 4, objects=1, watermark=True).image)
    two = scene(TEST_SEEDS * 2, objects=2)
    both = Image.fromarray(two.image)
    names = ["grad-cam", "lrp-comp", "attribution-equilibrium", "guided-grad-cam"]
    found = ll.explain(cheat, marked, names, "star")[0]
    rows = [
        [draw.Panel(marked, "demo/hans: why star?"), *(draw.Panel(e.view("signed"), e.method) for e in found)],
    ]
    line = [draw.Panel(both, "two objects, two questions")]
    for o in two.objects:
        for name in ("lrp-epsilon-plus", "c-lrp"):
            e = ll.explain(honest, both, name, o.name)
            line.append(draw.Panel(e.view("signed"), name, f"why {o.name}?"))
    rows.append(line)
    stops = [ll.method("lrp-epsilon-plus", layer=name) for name in ("layer4", "layer3", "layer2", "layer1")]
    line = [draw.Panel(both, "on its way back")]
    way = ll.explain(honest, both, stops, two.objects[0].name)[0]
    line += [draw.Panel(e.view("signed"), e.provenance["layers"][0]) for e in way]
    rows.append(line)
    ratios = (1.0, 1.25, 1.5, 2.0)
    sweep = [ll.method("attribution-equilibrium", ratio=ratio) for ratio in ratios]
    swept = ll.explain(honest, both, sweep, two.objects[0].name)[0]
    line = [draw.Panel(both, "attribution equilibrium")]
    line += [draw.Panel(e.view("signed"), f"ratio {ratio:g}") for ratio, e in zip(ratios, swept, strict=True)]
    rows.append(line)
    draw.gallery(rows, size=176).save(folder / "propagation.png")


def clustering(folder: Path) -> None:
    """Clusters of channels: the four methods, what Cluster-CAM scores, and the two ways to finish its map."""
    from PIL import Image

    import limelight as ll
    from limelight import draw
    from limelight.data.synthetic import TEST_SEEDS, scene

    network, two = ll.load("demo/resnet"), scene(TEST_SEEDS * 2, objects=2)
    both = Image.fromarray(two.image)
    names = ["group-cam", "sc-sm-cam", "collection-cam", "cluster-cam"]
    rows: list[list[draw.Panel]] = []
    masked: list[list[draw.Panel]] = []
    for o in two.objects:
        found = ll.explain(network, both, names, o.name)[0]
        line = [draw.Panel(both, f"why {o.name}?"), *(draw.Panel(e.overlay(), e.method) for e in found)]
        clipped = ll.explain(network, both, ll.method("cluster-cam", profile="clipped"), o.name)
        rows.append([*line, draw.Panel(clipped.overlay(), "cluster-cam, clipped")])
        masked.append([draw.Panel(both, f"why {o.name}?"), *found[-1].parts(masked=True)])
    draw.gallery(rows, size=160).save(folder / "clustering.png")
    draw.gallery(masked, size=176).save(folder / "clusters-masked.png")


def transformers(folder: Path) -> None:
    """Methods for transformers: one object, then two, of which each is asked for."""
    from PIL import Image

    import limelight as ll
    from limelight import draw
    from limelight.data.synthetic import TEST_SEEDS, scene

    network, two = ll.load("demo/vit"), scene(TEST_SEEDS * 2, objects=2)
    one = Image.fromarray(scene(TEST_SEEDS + 9, objects=1).image)
    names = ["grad-cam", "hires-cam", "attention-rollout", "generic-attention", "legrad", "grad-eclip", "attn-lrp"]
    rows: list[list[draw.Panel]] = []
    for picture, target in ((one, None), *((Image.fromarray(two.image), o.name) for o in two.objects)):
        found = ll.explain(network, picture, names, target)[0]
        titles = ["demo/vit", *names] if not rows else [""] * (1 + len(names))
        panels = [found[0].view("image"), *(e.overlay() for e in found)]
        captions = [found[0].title, *[""] * len(names)]
        rows.append([draw.Panel(*cell) for cell in zip(panels, titles, captions, strict=True)])
    draw.gallery(rows, size=144).save(folder / "transformers.png")


def photographs(folder: Path) -> None:
    """A real network's answers to photographs, and why."""
    import limelight as ll
    from limelight import draw
    from limelight.pages.demo.photos import NETWORK, photographs

    photos = photographs()
    shown = ll.explain(NETWORK, [photos[name] for name in SHOWN], ["grad-cam", "lrp"])
    rows = [
        [draw.Panel(camera.view("image"), "", camera.title) for camera, _ in shown],
        [draw.Panel(camera.overlay(), "", camera.method) for camera, _ in shown],
        [draw.Panel(relevance.view("signed"), "", relevance.method) for _, relevance in shown],
    ]
    draw.gallery(rows, size=176).save(folder / "photographs.png")


SHOWN = ("cat", "coffee", "photographer", "motorcycle", "flower", "astronaut")
"""Photographs for the README: of objects that are not all in the middle, and one that has no class of its own."""


def photograph(weights: Path, folder: Path) -> None:
    """One photo, the methods that ask the network again and again, their metrics and passes."""
    from PIL import Image
    from skimage.data import chelsea

    import limelight as ll
    from limelight import draw

    network = ll.load("torchvision/squeezenet1_0", weights=str(weights))
    cat = Image.fromarray(chelsea())
    names = ["grad-cam", "ablation-cam", "score-cam", "rise", "xrai", "collection-cam", "cluster-cam"]
    gallery, results = ll.compare(network, cat, names, ["adcc", "insertion", "deletion"])
    said = {r.method: " · ".join(f"{k} {v:.2f}" for k, v in r.values.items()) for r in results.rows}
    row = gallery[0]
    panels = [draw.Panel(row[0].view("image"), "the photo", row[0].title)]
    panels += [draw.Panel(e.overlay(), e.method, f"{said[e.method]}\n{e.cost}") for e in row]
    panels += [panel for panel in row[-1].parts() if panel.frame]
    draw.gallery([panels[:5], panels[5:]], size=216).save(folder / "photo.png")


def report(run: Path, folder: Path) -> None:
    """The first page of a run's report, as a browser shows it."""
    from limelight.pages.benchmark import open_run, write_report

    screenshot(write_report(open_run(run), run / "report.html"), folder / "report.png", 2010)


def inspecting(folder: Path) -> None:
    """The upper part of the page of an inspection, as docs/inspecting.md makes it."""
    with tempfile.TemporaryDirectory() as there, contextlib.chdir(there):
        run_snippets("inspecting")
        screenshot(Path("inspected/page.html"), folder / "inspecting.png", HEIGHT)


HEIGHT = 1552
"""Of the page of an inspection down to its first table, pixels."""


def screenshot(page: Path, path: Path, height: int) -> None:
    """Save the upper part of a page, as a browser shows it."""
    import shutil

    from PIL import Image
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1180, "height": height})
        tab.goto(page.resolve().as_uri())
        tab.screenshot(path=path)
        browser.close()
    with Image.open(path) as image:  # few colours take a fifth of the room
        image.convert("RGB").quantize(128).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make what the documents show.")
    parser.add_argument("--table", action="store_true", help="the tables only")
    parser.add_argument("--squeezenet", type=Path, metavar="FILE", help="weights, to make the photograph too")
    parser.add_argument("--run", type=Path, metavar="FOLDER", help="a run, to make the page of its report too")
    parser.add_argument("--inspecting", action="store_true", help="the page of an inspection only")
    given = parser.parse_args()
    for page in PAGES:
        page.write_text(with_tables(page.read_text()))
    if given.squeezenet:
        photograph(given.squeezenet, ROOT / "docs" / "pictures")
    elif given.run:
        report(given.run, ROOT / "docs" / "pictures")
    elif given.inspecting:
        inspecting(ROOT / "docs" / "pictures")
    elif not given.table:
        pictures(ROOT / "docs" / "pictures")


if __name__ == "__main__":
    main()
