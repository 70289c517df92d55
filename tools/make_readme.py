"""Make what the README shows: the table of methods from the cards, and the pictures.

python tools/make_readme.py            # table and pictures
python tools/make_readme.py --table    # the table only
"""

import argparse
from pathlib import Path

from limelight import card

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- methods -->\n", "<!-- /methods -->"


def methods_table() -> str:
    lines = ["| method | passes per image | what it does | paper |", "| --- | --- | --- | --- |"]
    lines += [f"| `{c.name}` | {c.cost} | {c.summary} | {c.cites} |" for c in card.methods().values()]
    return "\n".join(lines) + "\n"


def with_table(text: str) -> str:
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + methods_table() + END + after


def pictures(folder: Path) -> None:
    from PIL import Image

    import limelight as ll
    from limelight import draw
    from limelight.data.synthetic import scene

    folder.mkdir(parents=True, exist_ok=True)
    resnet, hans = ll.load("demo/resnet"), ll.load("demo/hans")
    shown = [Image.fromarray(scene(1_000_000_000 + i, objects=1).image) for i in (1, 4, 6, 9)]
    names = ["grad-cam", "grad-cam++", "hires-cam", "layer-cam", "wgrad-cam", "eigen-cam", "fake-cam"]
    ll.explain(resnet, shown, names).save(folder / "gallery.png")

    marked = [Image.fromarray(scene(1_000_000_000 + i, objects=1, watermark=True).image) for i in (1, 4, 6, 9)]
    rows = [
        [draw.Panel(marked[i], title="input" if i == 0 else "")]
        + [
            draw.Panel(e.overlay(), title=name if i == 0 else "", caption=e.title)
            for name, e in (("demo/resnet", honest), ("demo/hans", cheat))
        ]
        for i, (honest, cheat) in enumerate(
            zip(ll.explain(resnet, marked, "grad-cam"), ll.explain(hans, marked, "grad-cam"), strict=True)
        )
    ]
    left, right = rows[:2], rows[2:]
    draw.gallery([[*a, None, *b] for a, b in zip(left, right, strict=True)]).save(folder / "watermark.png")


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
