"""The demonstration on photographs: a network that knows a thousand classes, and eight pictures that packages ship."""

import platform
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

import limelight
from limelight import api, targets
from limelight.pages.demo.chapter import Chapter
from limelight.pages.demo.figures import write_image, write_picture_table
from limelight.pages.demo.scores import QUESTIONS, interval_cell
from limelight.pages.demo.wording import join_words, name_brightest_place
from limelight.pages.page import Code, Facts, Figure, Section, Table, write_page
from limelight.results.explanation import Explanation, View

NETWORK = "pypi/efficientnet-lite0"

METHODS = ("grad-cam", "layer-cam", "eigen-cam", "relevance-cam", "guided-grad-cam", "lrp", "input-x-gradient")
"""Methods that are shown side by side: of one or a few passes, and of several families."""

PIXELS = ("guided-grad-cam", "lrp", "input-x-gradient")
"""Those whose maps are of single pixels, which a picture behind them would hide."""

EVALUATED = ("grad-cam", "layer-cam", "eigen-cam")
CONTROLS = ("random-map", "centre-map")
METRICS = ("average-drop", "adcc", "insertion")

Photo = npt.NDArray[np.uint8]


def photographs() -> dict[str, Photo]:
    """Return the photographs that scikit-image and scikit-learn bring, (h, w, 3), by what they show."""
    from skimage import data
    from sklearn.datasets import load_sample_image  # pyright: ignore[reportUnknownVariableType]

    sample = cast(Callable[[str], Photo], load_sample_image)
    return {
        "cat": data.chelsea(),
        "coffee": data.coffee(),
        "rocket": data.rocket(),
        "photographer": np.stack([cast(Photo, data.camera())] * 3, axis=-1),
        "motorcycle": data.stereo_motorcycle()[0],
        "palace": sample("china.jpg"),
        "flower": sample("flower.jpg"),
        "astronaut": data.astronaut(),
    }


def show_answers(out: Path) -> Chapter:
    """Show every photograph, the network's answer and why."""
    photos = photographs()
    for name, photo in photos.items():
        write_image(out / f"{name}.png", Image.fromarray(photo))
    row = api.explain(NETWORK, list(photos.values()), "grad-cam")
    named = list(zip(photos, row, strict=True))
    sheets = {out / f"photographs-{i // 4 + 1}.png": named[i : i + 4] for i in range(0, len(named), 4)}
    tables = [_photo_table(file, some) for file, some in sheets.items()]
    unsure = [f"{name} ({e.label})" for name, e in named if e.probability < 0.3]
    text = (
        "EfficientNet-Lite0 knows a thousand classes. It gives every picture one of them, also those that show none: "
        f"it is less than 0.3 sure of {join_words(unsure)}. A map tells what an answer rests on, right or wrong."
    )
    numbers = {name: {"label": e.label, "probability": e.probability} for name, e in named}
    files = [*sheets, *(out / f"{name}.png" for name in photos)]
    said = join_words([f"{name}: {e.title}" for name, e in named[:3]])
    return Chapter(Section("What it sees", [text, *tables]), {"answers": numbers}, f"It says of {said}.", files=files)


def _photo_table(file: Path, named: Sequence[tuple[str, Explanation]]) -> Table:
    """Return photographs beside their maps, and write the same into a file."""
    pictures = [Figure(e.view("image", on="original"), f"Photograph: {name}.") for name, e in named]
    maps = [_figure(e, on_original=True) for _, e in named]
    caption = "Photographs, and grad-cam for the answer; dark is what the network does not see."
    return write_picture_table(
        file, caption, ["", *(name for name, _ in named)], [("photograph", pictures), ("why", maps)]
    )


def ask_rather_than(out: Path) -> Chapter:
    """Explain a class, the next likely one, and the one rather than the other."""
    cat = photographs()["cat"]
    model = api.load(NETWORK)
    first, second = (int(i) for i in model(api.as_input(model, cat)[None])[0].topk(2).indices)
    a, b = ((model.labels or ())[i] for i in (first, second))
    asked = {a: first, b: second, f"{a} rather than {b}": targets.margin(first, second)}
    row = [_figure(api.explain(model, cat, "grad-cam", target)) for target in asked.values()]
    caption = "Three questions about one photograph."
    table = write_picture_table(out / "rather-than.png", caption, ["", *asked], [("grad-cam", row)])
    text = (
        f"Its first answer for the cat is {a}, its second {b}. What speaks for the one is much the same as what speaks "
        "for the other; what tells them apart is less. That is a question of its own: the score of the one, less that "
        "of the other."
    )
    return Chapter(
        Section("This rather than that", [text, table]), {"rather_than": [a, b]}, files=[out / "rather-than.png"]
    )


def compare_methods(out: Path) -> Chapter:
    """Explain one photograph by methods of several families."""
    cat = photographs()["cat"]
    (row,) = api.explain(NETWORK, [cat], list(METHODS))
    caption, figures = "One photograph, several methods.", [_figure(e) for e in row]
    table = write_picture_table(out / "methods.png", caption, ["", *METHODS], [("map", figures)])
    text = (
        "Each method answers the question in its own way. Those of single pixels are drawn alone, red for the answer "
        "and blue against it. They can't all be right about the network, so they have to be judged."
    )
    costs = Table(
        "What they take.", ["method", "passes", "seconds"], [[e.method, str(e.cost), f"{e.seconds:z.2f}"] for e in row]
    )
    return Chapter(
        Section("Several methods", [text, table, costs]), {"methods": list(METHODS)}, files=[out / "methods.png"]
    )


def judge_maps(out: Path) -> Chapter:
    """Judge maps by metrics, beside maps that know nothing."""
    photos = list(photographs().values())
    results = api.evaluate(NETWORK, photos, [*EVALUATED, *CONTROLS], list(METRICS), progress=False)
    figures = results.summary()
    arrows = {m: c.arrow for m, c in figures.columns.items()}
    rows = [[name, *(interval_cell(figures[name, m]) for m in METRICS)] for name in (*EVALUATED, *CONTROLS)]
    blocks = [
        "Nobody knows the truth about a photograph: a map that lies on the cat may be wrong about the network. These "
        "metrics ask the network itself. Two maps that know nothing of it stand beside the others.",
        Table("What the metrics ask.", ["metric", "its question"], [[f"`{m}`", QUESTIONS[m]] for m in METRICS]),
        Table(
            f"Means over {len(photos)} photographs, and where {figures.confidence:z.0%} of them fall when these are "
            "drawn anew. ↑ higher is better, ↓ lower; * the best, and what is not distinguishable from it.",
            ["method", *(f"{m} {arrows[m]}" for m in METRICS)],
            rows,
        ),
        f"{len(photos)} photographs are too few to tell good methods apart, and the marks say so. Take some hundred of "
        "yours: `limelight evaluate FOLDER --model …`.",
    ]
    alike = [name for name in CONTROLS if figures[name, "insertion"].like_best]
    beside = f"; {join_words(alike)} can't be told from the best" if alike else ""
    summary = (
        f"On {len(photos)} photographs grad-cam has an insertion of {figures['grad-cam', 'insertion'].mean:z.2f}, a "
        f"map of noise {figures['random-map', 'insertion'].mean:z.2f} (higher is better){beside}."
    )
    means = {name: {m: figures[name, m].mean for m in METRICS} for name in (*EVALUATED, *CONTROLS)}
    return Chapter(Section("How far can they be trusted?", blocks), {"trust": means}, summary)


CHAPTERS: Sequence[Callable[[Path], Chapter]] = (show_answers, ask_rather_than, compare_methods, judge_maps)
"""In the order of the page; each takes the folder for its pictures."""


def next_steps(out: Path) -> list[str]:
    """Return commands to try."""
    folder = shlex.quote(str(out))
    return [
        f"limelight explain {folder}/coffee.png --model {NETWORK} --method layer-cam --out coffee-map.png",
        f"limelight compare {folder}/flower.png --model {NETWORK} --methods grad-cam,lrp --out flower-maps.png",
        f"limelight serve --model {NETWORK} --folder {folder}",
    ]


def write(out: Path, chapters: Sequence[Chapter], seconds: float) -> Path:
    """Write the page and return its path."""
    beginning = [
        "Photographs, and a network that was trained on a million others: EfficientNet-Lite0, 4.7 million parameters, "
        f"ImageNet's thousand classes. Everything here was computed on this machine, in {seconds:z.0f} seconds.",
        Facts([fact for chapter in chapters for fact in chapter.facts]),
    ]
    end = Section("What to try next", ["The last one opens a page to play with:", Code("\n".join(next_steps(out)))])
    footer = (
        f"Made by `limelight demo --photos`: Limelight {limelight.__version__}, PyTorch {torch.__version__}, Python "
        f"{platform.python_version()}. The photographs come with scikit-image and scikit-learn."
    )
    file = out / "index.html"
    write_page(
        file, "What does a network see in a photograph?", beginning, [*(c.section for c in chapters), end], footer
    )
    return file


def _figure(e: Explanation, on_original: bool = False) -> Figure:
    """Return a map over its photograph, or one of single pixels by itself."""
    view: View = "signed" if e.method in PIXELS else "overlay"
    picture = e.view(view, on="original" if on_original else "input")
    return Figure(picture, f"{e.method} for {e.label}: brightest at the {name_brightest_place(e)}.", e.title)
