"""What the metrics say about the perturbation methods, and what a first mask from an activation map is worth to them.

    python benchmarks/perturbation_judged.py judge PICTURES --model NAME --weights FILE --out FOLDER [--side 128]
    python benchmarks/perturbation_judged.py tell FOLDER --papers CSV --figure warm-start.png > table.md

``judge`` writes a file per picture and method, and goes on where it was stopped; several may share a folder, each with
other ``--methods``, and ``tell`` takes the pictures that all methods of the folder have done. Every method has the
settings of the AOP paper's Table 1; those that search as I-GOS does are read in three ways: as the text, with no noise
(``sigcam, no noise``), and with the profile of the first author's later search (``sigcam, author``). The explained
class is the predicted one. What the mask of a step is worth is F(m) = p_c(picture of m) + l1 mean |1 - m| + tv TV(m),
with the last baseline and the first weights, whatever the method itself minimised in that step, so that all steps of
all methods are comparable.

The paper's tables are csv files with the columns paper, table, model, method, metric, value (in per cent).
"""

import argparse
import random
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gradient_cams_judged import METHODS as NAMES
from gradient_cams_judged import orders, printed
from torch import Tensor

import limelight as ll
from limelight.api.pictures import as_input
from limelight.draw.chart import COLOURS
from limelight.engine.baselines import fill_images
from limelight.maps.perturbation.masks import Penalty, Play, Rendering, bilinear, render
from limelight.model.preprocess import Preprocess
from limelight.ops import statistics

NAMES.update(
    {
        "EMP": "emp",
        "I-GOS": "i-gos",
        "GradCAM + EMP": "aop(grad-cam, emp)",
        "GradCAM + I-GOS": "aop(grad-cam, i-gos)",
        "SIGCAM": "sigcam",
    }
)
METHODS: dict[str, dict[str, Any]] = {
    "grad-cam": {},
    "wgrad-cam": {},
    "emp": {"profile": "pytorch", "baseline": "gauss-51-50"},
    "i-gos": {},
    "aop(grad-cam, emp)": {"base": "grad-cam", "optimiser": "emp"},
    "aop(grad-cam, i-gos)": {"base": "grad-cam", "optimiser": "i-gos"},
    "sigcam": {},
}
READINGS: dict[str, dict[str, Any]] = {"": {}, ", no noise": {"noise": 0.0}, ", author": {"profile": "author"}}
"""What the methods that search as I-GOS does are told besides, by the end of their names."""
AT_ONCE = "sigcam, no warm-up"
"""SIGCAM with the full blur from the first step on; it is not judged."""
SEARCHES = ("i-gos", "aop(grad-cam, i-gos)", "sigcam")
"""I-GOS, from one first mask or another."""
NEAR = 0.01
"""How much above an objective counts as near it."""
METRICS = ["deletion", "insertion", "overall"]
Numbers = npt.NDArray[np.float64]


def settings(name: str) -> dict[str, Any]:
    """Return the options of a method, or of one reading of it.

    >>> settings("sigcam, no noise")
    {'optimiser_options': {'noise': 0.0}}
    """
    if name == AT_ONCE:
        return {"warmup": 0}
    plain, reading = next((n, r) for r in reversed(READINGS) for n in METHODS if n + r == name)
    given = READINGS[reading]
    return METHODS[plain] | ({"optimiser_options": given} if "noise" in given and plain != "i-gos" else given)


def judge(network: ll.Classifier, pictures: list[Path], folder: Path, names: list[str]) -> None:
    """Write the rows, and of methods that search as I-GOS does what every step's mask is worth."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        x = as_input(network, picture)[None]
        for name in names:
            options = settings(name)
            written = folder / f"{picture.stem} {name}.npz"
            if written.exists():
                continue
            masks: list[Tensor] = []
            watched = {"watch": lambda step, masks=masks: masks.append(step.mask)} if name.startswith(SEARCHES) else {}
            method = ll.method(name.split("(")[0].split(",")[0], **options, **watched)
            if name == AT_ONCE:
                method(network, x)
            else:
                found = ll.evaluate(network, [picture], methods=[method], metrics=METRICS, protocol="aop")
                rows = [replace(row, method=name) for row in found.rows]
                ll.Results(rows, found.columns, found.settings).to_parquet(written.with_suffix(".parquet"))
            if masks:
                every = torch.cat(masks)
                rendering = bilinear(name not in {s + ", author" for s in SEARCHES})
                worth = worths(network, x, every, rendering)
                np.savez(written, worth=worth, masks=every.numpy())
            else:
                np.savez(written)
            print(written.stem, flush=True)


def worths(network: ll.Classifier, x: Tensor, masks: Tensor, rendering: Rendering) -> Numbers:
    """Return F of the masks of one image, (steps,)."""
    with torch.no_grad():
        play = Play(x, fill_images(network, x, "gauss-51-50"), rendering=rendering)
        shown = play.picture(masks, torch.zeros(len(masks), dtype=torch.long))
        scores = network(shown).softmax(1)[:, network(x).argmax()]
        return (scores + Penalty(1.0, 20.0, 2.0)(masks)).double().numpy()


def gathered(folder: Path) -> ll.Results:
    """Return the rows of the pictures that all methods of the folder have explained."""
    parts = [ll.Results.from_parquet(file) for file in sorted(folder.glob("*.parquet"))]
    done = {(row.image, row.method): row for part in parts for row in part.rows}
    names = [name for name in every_method() if any(name == method for _, method in done)]
    images = sorted({image for image, _ in done if all((image, name) in done for name in names)})
    return ll.Results([done[i, name] for i in images for name in names], parts[0].columns, parts[0].settings)


def every_method() -> list[str]:
    """Return the names of all methods, of those that search by the readings of the search."""
    return [*METHODS, AT_ONCE, *(name + reading for reading in READINGS if reading for name in SEARCHES)]


def reading_of(name: str) -> str:
    """Return the end of a method's name that tells its reading.

    >>> reading_of("sigcam, author"), reading_of("sigcam"), reading_of("sigcam, no warm-up")
    (', author', '', '')
    """
    return next(reading for reading in reversed(READINGS) if name.endswith(reading))


def read_as(results: ll.Results, reading: str) -> ll.Results:
    """Return the rows of the methods that search in one way, by their plain names, and of those that don't search."""
    rows = [
        replace(row, method=row.method.removesuffix(reading))
        for row in results.rows
        if not row.method.startswith(SEARCHES) or reading_of(row.method) == reading
    ]
    return ll.Results(rows, results.columns, results.settings)


def passes(results: ll.Results) -> list[str]:
    """Return what the methods cost."""
    lines = ["| method | forward passes | backward passes |", "| --- | --- | --- |"]
    for name in results.methods:
        rows = [row for row in results.rows if row.method == name]
        forwards, backwards = (np.mean([getattr(row, of) for row in rows]) for of in ("forwards", "backwards"))
        lines.append(f"| {name} | {forwards:.4g} | {backwards:.4g} |")
    return lines


def signs(results: ll.Results, files: list[Path]) -> list[str]:
    """Return which means stand in another order than the printed ones, whether they can be told or not."""
    lines: list[str] = []
    for (_, metric), models in printed(files).items():
        means = dict(zip(results.methods, results.values(metric).mean(1).tolist(), strict=True))
        pairs = [(v, a, b) for v in models.values() for a, b in combinations((m for m in means if m in v), 2)]
        other = [f"{a} / {b}" for v, a, b in pairs if (v[a] - v[b]) * (means[a] - means[b]) < 0]
        lines.append(f"- {metric}, {len(other)} of {len(pairs)}: {'; '.join(other) or 'none'}")
    return [
        "Means that stand in another order than the printed ones, whether that can be told from chance or not:",
        "",
        *lines,
    ]


def searches(folder: Path, what: str = "worth") -> dict[str, Numbers]:
    """Return F of every step, (pictures, steps), by method, of the pictures that all of them have searched."""
    named = {n: {f.name.split()[0]: f for f in folder.glob(f"* {n}.npz")} for n in every_method()}
    found = {n: files for n, files in named.items() if files and n.startswith(SEARCHES)}
    pictures = sorted(set.intersection(*(set(files) for files in found.values())))
    return {n: np.stack([np.load(files[p])[what] for p in pictures]) for n, files in found.items()}


def tied(masks: dict[str, Numbers]) -> list[str]:
    """Return how much of a picture first masks take, and how much of it the last leave all alike.

    Args:
        masks: of every step, (pictures, steps, s, s), by method.
    """
    lines = ["| method | taken by the first mask | alike after the last |", "| --- | --- | --- |"]
    for name, of_pictures in masks.items():
        rendering = bilinear(reading_of(name) != ", author")
        ends = [torch.from_numpy(of_pictures[:, step]) for step in (0, -1)]
        first, last = (render(1 - one, (224, 224), rendering).flatten(1) for one in ends)
        alike = (last == last.min(1, keepdim=True).values).double().mean(1)
        lines.append(f"| {name} | {mean((first > 0).double().mean(1).numpy())} | {mean(alike.numpy())} |")
    return lines


def readings(results: ll.Results, found: dict[str, Numbers]) -> list[str]:
    """Return what the readings of the search change: of the same method, less the text's own reading."""
    rows: list[tuple[str, list[Numbers]]] = []
    for name in (n for n in found if reading_of(n)):
        plain = name.removesuffix(reading_of(name))
        places = [results.methods.index(n) for n in (name, plain)]
        judged = [results.values(metric) for metric in METRICS]
        pairs = [(found[name][:, -1], found[plain][:, -1]), *((v[places[0]], v[places[1]]) for v in judged)]
        rows.append((name, [a - b for a, b in pairs]))
    p = np.array([[statistics.paired_p("mean", d, np.zeros_like(d)) for d in ds] for _, ds in rows])
    p = np.stack([statistics.holm(column) for column in p.T], 1)  # a family for each number
    lines = [f"| less the text's | {' | '.join(['last objective', *METRICS])} |", "| --- " * (len(METRICS) + 2) + "|"]
    for (name, differences), told in zip(rows, p, strict=True):
        cells = [f"{mean(d)}, p = {one:.2g}" for d, one in zip(differences, told, strict=True)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def steps_to(worth: Numbers, goal: Numbers) -> Numbers:
    """Return the first steps at which F (pictures, steps) is at most the goal (pictures,); infinity where it never is.

    >>> steps_to(np.array([[3.0, 2.0, 1.0], [3.0, 3.0, 3.0]]), np.array([2.0, 1.0]))
    array([ 1., inf])
    """
    reached = worth <= goal[:, None]
    return np.where(reached.any(1), reached.argmax(1), np.inf)


def warm_start(every: dict[str, Numbers], reading: str) -> list[str]:
    """Return how fast each search comes to where I-GOS ends, by one reading of the search."""
    found = {name: worth for name, worth in every.items() if reading_of(name) == reading}
    plain = found["i-gos" + reading]
    goal, last = plain[:, -1], plain.shape[1] - 1

    def median(steps: Numbers) -> str:
        drawn = np.random.default_rng(0).choice(steps, (10_000, len(steps)))
        medians = np.sort(np.median(drawn, 1))
        numbers = np.median(steps), medians[250], medians[9750 - 1]
        middle, low, high = (f"{n:g}" if np.isfinite(n) else f"> {last}" for n in numbers)
        never = np.isinf(steps).sum()
        return f"{middle} [{low}, {high}]; {never} of {len(steps)} never"

    others = [name for name in found if not name.startswith("i-gos")]
    p = statistics.holm([statistics.paired_p("mean", found[name][:, -1], goal) for name in others])
    told = dict(zip(others, p.tolist(), strict=True))
    head = ["method", "objective, first mask", f"falls by more than {NEAR}", "last mask", "less that of i-gos", "p"]
    head += ["steps to the last of i-gos", f"steps to {NEAR} above it"]
    lines = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    for name, worth in found.items():
        falls = f"{(worth[:, 0] - worth[:, -1] > NEAR).sum()} of {len(worth)}"
        cells = [mean(worth[:, 0]), falls, mean(worth[:, -1])]
        cells += [mean(worth[:, -1] - goal), f"{told[name]:.2g}"] if name in told else ["", ""]
        cells += [median(steps_to(worth, goal)), median(steps_to(worth, goal + NEAR))]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    if AT_ONCE in found:
        back = median(steps_to(plain, found[AT_ONCE][:, -1]))
        lines += ["", f"The other way round, steps of i-gos to the last objective of '{AT_ONCE}': {back}."]
    return lines


def mean(values: Numbers) -> str:
    """Return a mean with its interval."""
    low, high = statistics.interval("mean", values)
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def figure(found: dict[str, Numbers], path: Path) -> None:
    """Draw F against the step, and how far it is from I-GOS's, with 95 % intervals of the means."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = {name: worth for name, worth in found.items() if not name.startswith("aop")}
    drawn = Figure(figsize=(10, 3.8), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(drawn)
    left, right = drawn.subplots(1, 2)
    for name, worth in shown.items():
        colour = COLOURS[6 if name == AT_ONCE else list(READINGS).index(reading_of(name))]
        style = "-" if name.startswith("i-gos") else "--"
        plain = found["i-gos" + reading_of(name)]
        for axes, values in ((left, worth), *([] if worth is plain else [(right, worth - plain)])):
            band = np.array([statistics.interval("mean", one) for one in values.T])
            steps = np.arange(len(values.T))
            axes.plot(steps, values.mean(0), color=colour, linestyle=style, label=name)
            axes.fill_between(steps, band[:, 0], band[:, 1], color=colour, alpha=0.15, linewidth=0)
    last = max(len(worth.T) for worth in shown.values()) - 1
    left.set(title="objective of the mask", xlabel="step", xlim=(0, last), ylim=(0, 1.05))
    right.set(title="less that of i-gos at the same step", xlabel="step", xlim=(0, last))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False, fontsize="small")
    canvas.print_png(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Judge the perturbation methods.")
    every = every_method()
    commands = parser.add_subparsers(dest="command", required=True)
    work = commands.add_parser("judge", help="explain and measure")
    work.add_argument("pictures", type=Path)
    work.add_argument("--model", default="torchvision/squeezenet1_0")
    work.add_argument("--weights", default="DEFAULT")
    work.add_argument("--limit", type=int, default=24)
    work.add_argument("--out", type=Path, required=True)
    work.add_argument("--side", type=int, default=224, help="of what the network sees, pixels")
    work.add_argument("--methods", nargs="*", default=every, choices=every, metavar="METHOD")
    say = commands.add_parser("tell", help="write the tables and draw the figure")
    say.add_argument("folder", type=Path)
    say.add_argument("--papers", type=Path, nargs="*", default=[])
    say.add_argument("--figure", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.command == "judge":
        network = ll.load(given.model, weights=given.weights)
        network = network.with_preprocess(
            Preprocess(round(256 / 224 * given.side), given.side, network.mean, network.std)
        )
        pictures = sorted(p for p in given.pictures.iterdir() if p.suffix == ".jpg")
        random.Random(0).shuffle(pictures)  # names are sorted by kind
        judge(network, pictures[: given.limit], given.out, given.methods)
        return
    results, found = gathered(given.folder), searches(given.folder)
    print(f"{len(results.images)} pictures, {results.settings['model']}\n")
    told = [reading for reading in READINGS if "i-gos" + reading in found]
    parts = [[results.to_markdown()], passes(results), *(warm_start(found, reading) for reading in told)]
    parts += [readings(results, found)] if len(told) > 1 else []
    parts += [tied(searches(given.folder, "masks"))]
    for reading in told if given.papers else []:
        judged = read_as(results, reading)
        parts += [[f"Orders, {reading.strip(', ') or 'as the text'}:"], signs(judged, given.papers)]
        parts += [orders(judged, given.papers)]
    print("\n\n".join("\n".join(lines) for lines in parts))
    if given.figure:
        figure(found, given.figure)


if __name__ == "__main__":
    main()
