"""Make what the README shows: the table of methods from the cards, and the pictures.

python tools/make_readme.py            # table and pictures
python tools/make_readme.py --table    # the table only
"""

import argparse
from pathlib import Path

from limelight.card import METHODS

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- methods -->\n", "<!-- /methods -->"


def methods_table() -> str:
    lines = ["| method | passes per image | what it does | paper |", "| --- | --- | --- | --- |"]
    lines += [f"| `{c.name}` | {c.cost} | {c.summary} | {c.cites} |" for c in METHODS.cards().values()]
    return "\n".join(lines) + "\n"


def with_table(text: str) -> str:
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + methods_table() + END + after


def pictures(folder: Path) -> None:
    from PIL import Image

    import limelight as ll
    from limelight import draw
    from limelight.data.synthetic import TEST_SEEDS, scene

    folder.mkdir(parents=True, exist_ok=True)
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


def main() -> None:
    parser = argparse.ArgumentParser(description="Make what the README shows.")
    parser.add_argument("--table", action="store_true", help="the table only")
    only_table = parser.parse_args().table
    readme = ROOT / "README.md"
    readme.write_text(with_table(readme.read_text()))
    if not only_table:
        pictures(ROOT / "docs" / "pictures")


if __name__ == "__main__":
    main()
