"""What a benchmark costs: per picture and model, how it grows, and what a whole table of a paper takes.

    pip install -e ".[ray,tables]"
    python benchmarks/scale.py cost [--models resnet18 …]   the ADCC table's recipe on one picture, against its floor
    python benchmarks/scale.py growth                       more pictures, more methods
    python benchmarks/scale.py workers [--images 16]        one worker against two, one thread each; share in the model
    python benchmarks/scale.py rows                         the summary of a million rows: seconds and memory
    python benchmarks/scale.py plan [--device cuda]         hours of the ADCC table on GPUs, against arithmetic

Weights are random, the time does not depend on them. One thread. The floor is the
plain forward passes that the rows of the run say were needed, in batches of 16, timed right before and after the run.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torchvision
from rich.console import Console
from rich.table import Table

import limelight as ll
from limelight.bench.cell import Cell
from limelight.bench.plan import settings
from limelight.bench.recipe import Recipe
from limelight.bench.recipe_file import read_recipe
from limelight.bench.recipe_parse import make_recipe
from limelight.bench.recipe_vary import vary_recipe
from limelight.bench.run import Progress, benchmark
from limelight.bench.store import Store

SIX = ("vgg16", "resnet18", "resnet50", "resnet101", "resnext50_32x4d", "resnext101_32x8d")
PICTURES = 50_000
PEAK = {"TF32": 494.7e12, "BF16": 989.4e12}
"""Dense arithmetic of an H200's tensor cores, operations per second, by NVIDIA's data sheet."""

console = Console()


def show(title: str, columns: list[str], rows: list[list[object]]) -> None:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for i, name in enumerate(columns):
        table.add_column(name, justify="right" if i else "left")
    for row in rows:
        table.add_row(*(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row))
    console.print(table)


def forward_seconds(name: str, batch: int = 16, device: str = "cpu", repeats: int = 3) -> float:
    """Return the seconds of one image's forward pass, laid out as is fastest."""
    model = torchvision.models.get_model(name, weights=None).eval().to(device, memory_format=torch.channels_last)
    x = torch.randn(batch, 3, 224, 224, device=device).contiguous(memory_format=torch.channels_last)
    found: list[float] = []
    with torch.inference_mode():
        for _ in range(repeats + 1):
            start = time.perf_counter()
            float(model(x).sum())  # waits for a GPU
            found.append(time.perf_counter() - start)
    return statistics.median(found[1:]) / batch


def passes_of(run: Path) -> tuple[float, int]:
    """Return the passes that the rows of a run say were spent, forward and backward, and the number of its pictures."""
    table = Store(run).table(["image", "method", "forwards", "backwards", "spent"]).to_pandas()
    maps = table.groupby(["image", "method"], observed=True)[["forwards", "backwards"]].first()
    return float(maps.to_numpy().sum() + table["spent"].sum()), table["image"].nunique()


def timed(recipe: Recipe, folder: Path, **options: object) -> Progress:
    return benchmark(recipe, folder, **options)  # type: ignore[arg-type]


def adcc(model: str, pictures: int = 1) -> Recipe:
    """The recipe of ADCC's table 2, for drawn pictures and random weights."""
    recipe = vary_recipe(read_recipe("adcc-table2"), dataset="scenes", models=[f"torchvision/{model}=none"])
    given = recipe.model_dump()
    given["data"]["n"] = pictures
    return make_recipe(given, recipe.name)


def small(methods: list[str], pictures: int, model: str = "torchvision/resnet50") -> Recipe:
    """A recipe without a method of thousands of passes."""
    return make_recipe(
        {
            "name": "small",
            "data": {"dataset": "scenes", "n": pictures},
            "models": {"names": [model], "weights": "none"},
            "methods": [{"name": name} for name in methods],
            "metrics": [{"name": name} for name in ("adcc", "insertion", "deletion")],
        },
        "small",
    )


def cost(models: list[str], room: Path) -> None:
    rows: list[list[object]] = []
    for name in models:
        before = forward_seconds(name)
        tally = timed(adcc(name), room / name)
        each = (before + forward_seconds(name)) / 2
        passes, pictures = passes_of(room / name)
        floor = passes * each
        rows.append([name, each * 1000, passes / pictures, tally.worked, tally.worked / floor, tally.share_inside])
        show(
            "ADCC's table 2, one picture",
            ["model", "ms per pass", "passes", "seconds", "seconds / floor", "inside"],
            rows,
        )


def growth(room: Path) -> None:
    methods = ["grad-cam", "layer-cam", "eigen-cam", "collection-cam"]
    rows: list[list[object]] = []
    for count in (1, 2, 4):
        tally = timed(small(methods[:count], 8, "torchvision/resnet18"), room / f"m{count}")
        rows.append([f"{count} methods, 8 pictures", tally.worked, tally.worked / 8 / count])
    for pictures in (4, 8, 16):
        tally = timed(small(methods[:2], pictures, "torchvision/resnet18"), room / f"p{pictures}")
        rows.append([f"2 methods, {pictures} pictures", tally.worked, tally.worked / pictures / 2])
    show("resnet18, three metrics", ["", "seconds", "seconds per picture and method"], rows)


def workers(images: int, room: Path) -> None:
    recipe = small(["grad-cam", "layer-cam", "collection-cam"], images)
    rows: list[list[object]] = []
    speeds: list[float] = []
    for count in (1, 2):
        tally = timed(recipe, room / f"w{count}", executor="ray", workers=count, threads=1)
        speeds.append(tally.speed)
        rows.append([f"Ray, {count}", tally.measuring, tally.speed, tally.speed / speeds[0], tally.share_inside])
    tally = timed(recipe, room / "local", threads=1)
    rows.append(["local", tally.measuring, tally.speed, tally.speed / speeds[0], tally.share_inside])
    show(f"resnet50, {images} pictures", ["workers", "seconds", "pictures/s", "of one", "inside"], rows)
    ours, theirs = (Store(room / one).table(["key", "value"]).sort_by("key") for one in ("local", "w2"))
    difference = np.abs(ours["value"].to_numpy() - theirs["value"].to_numpy())
    console.print(f"greatest difference between two workers and local: {np.nanmax(difference):.2g}")


SUMMARY = """
import resource, sys, time
from limelight.pages.benchmark import open_run
start = time.perf_counter()
figures = sum(len(list(summary)) for _, summary in open_run(sys.argv[1]).by_model)
seconds, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(f"{figures} figures with intervals and ranks: {seconds:.1f} s, at most {peak:.2f} GiB with all that is imported")
"""


def rows(room: Path) -> None:
    names = [name for name, card in ll.methods().items() if card.layers == "one"][:10]
    metrics = ("average-drop", "insertion", "deletion", "complexity", "overall")
    recipe = make_recipe(
        {
            "name": "million",
            "data": {"dataset": "scenes", "n": 5000},
            "models": {"names": ["demo/resnet", "demo/vgg", "demo/vit", "demo/hans"]},
            "methods": [{"name": name} for name in names],
            "metrics": [{"name": name} for name in metrics],
        },
        "million",
    )
    store, rng, key = Store(room / "million", settings(recipe)), np.random.default_rng(0), 0
    held: list[Cell] = []
    for model in recipe.models.names:
        for image in range(5000):
            values = rng.random((len(names), len(metrics)))
            cells = [
                Cell(
                    image=f"{image}.png",
                    method=method,
                    key=key + i,
                    model=model,
                    metric=metric,
                    values={metric: float(values[m, k])},
                    target=image % 8,
                    forwards=1.0,
                )
                for i, (m, k) in enumerate(np.ndindex(values.shape))
                for method, metric in [(names[m], metrics[k])]
            ]
            key += len(cells)
            held += cells
            if image % 500 == 499:
                store.add(held)
                held = []
    console.print(f"{key:,} rows in {len(store.files)} files")
    subprocess.run([sys.executable, "-c", SUMMARY, str(room / "million")], check=True)


def plan(models: list[str], device: str) -> None:
    """Multiply passes by arithmetic, and, on a GPU, by the time that a pass was seen to take."""
    from torch.utils.flop_counter import FlopCounterMode

    rows: list[list[object]] = []
    total = {"operations": 0.0, "seconds": 0.0}
    for name in models:
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            torchvision.models.get_model(name, weights=None).eval()(torch.zeros(1, 3, 224, 224))
        passes = PASSES["small" if name in ("vgg16", "resnet18") else "large"]
        operations = passes * counter.get_total_flops() * PICTURES
        total["operations"] += operations
        row: list[object] = [name, counter.get_total_flops() / 1e9, passes, operations / PEAK["TF32"] / 3600]
        if device != "cpu":
            seconds = passes * forward_seconds(name, 256, device) * PICTURES
            total["seconds"] += seconds
            row.append(seconds / 3600)
        rows.append(row)
    last: list[object] = ["all six", "", "", total["operations"] / PEAK["TF32"] / 3600]
    rows.append([*last, total["seconds"] / 3600] if device != "cpu" else last)
    columns = ["model", "GFLOP per pass", "passes", "hours at TF32's peak"]
    show(
        f"ADCC's table 2, {PICTURES:,} pictures, one H200",
        [*columns, *(["hours of plain passes"] if device != "cpu" else [])],
        rows,
    )


PASSES = {"small": 1422, "large": 4427}
"""Passes per picture that recipes/README.md has for networks whose last layer has 512 and 2048 channels."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["cost", "growth", "workers", "rows", "plan"])
    parser.add_argument("--models", nargs="+", default=list(SIX), choices=SIX)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as room:
        if given.what == "cost":
            cost(given.models, Path(room))
        elif given.what == "growth":
            growth(Path(room))
        elif given.what == "workers":
            workers(given.images, Path(room))
        elif given.what == "rows":
            rows(Path(room))
        else:
            plan(given.models, given.device)


if __name__ == "__main__":
    main()
