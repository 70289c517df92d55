"""A small benchmark run of drawn numbers, and what ``Results`` says of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from limelight.bench.cell import Cell, join_cells, key_of
from limelight.bench.recipe import Recipe
from limelight.bench.store import Store
from limelight.results.summary import Summary
from limelight.results.tables import Results
from limelight.scoring.evaluate import columns

METHODS = ("grad-cam", "layer-cam", "eigen-cam", "rise")
METRICS = ("average-drop", "insertion", "adcc", "pointing-game")


def settings_of(models: Sequence[str] = ("demo/resnet", "demo/vgg"), **more: Any) -> dict[str, Any]:
    made = Recipe(
        name="small",
        models={"names": models},
        methods=[{"name": m} for m in METHODS],
        metrics=[{"name": m} for m in METRICS],
        **more,
    )
    return {"limelight": 1, "recipe": made.model_dump(mode="json", exclude={"about", "paper"})}


def draw_cells(model: str, images: int, seed: int, methods: Sequence[str] = METHODS) -> list[Cell]:
    """Draw numbers that differ by method, some of which are not defined or of empty maps."""
    rng, found = np.random.default_rng(seed), list[Cell]()
    for i in range(images):
        hard, target = rng.random(), int(rng.integers(4))
        for m, method in enumerate(methods):
            parts = {"coherency": 0.9 - 0.1 * m, "complexity": 0.3 * rng.random(), "average-drop": 0.5 * hard}
            values = {
                "average-drop": 0.6 * hard + 0.04 * m + 0.1 * rng.random(),
                "insertion": float("nan") if i % 7 == 3 else 1 - 0.5 * hard - 0.01 * rng.random(),
                "adcc": 0.5,
                "pointing-game": float("nan") if (i + m) % 11 == 5 else float(rng.random() > 0.3 + 0.1 * m),
            }
            for metric, value in values.items():
                curve = tuple(np.linspace(0, value, 9))
                found.append(
                    Cell(
                        image=f"picture-{i:03d}.png",
                        method=method,
                        key=key_of(model, str(i), method, metric),
                        model=model,
                        metric=metric,
                        values={metric: value},
                        target=target,
                        reason="all zero" if i == 2 and m == 1 else "",
                        seconds=0.01 * (m + 1),
                        forwards=1.0 + 100 * (method == "rise"),
                        backwards=float(m < 3),
                        spent={metric: float(m)},
                        parts={f"adcc.{k}": v for k, v in parts.items()} if metric == "adcc" else {},
                        curves={metric: curve} if metric == "insertion" and value == value else {},
                    )
                )
    return found


def summary_of(found: Sequence[Cell], settings: dict[str, Any], model: str) -> Summary:
    """Say by ``Results`` what the report says by arrays."""
    rows = join_cells(sorted((c for c in found if c.model == model), key=lambda c: c.image))
    return Results(rows, columns(Recipe(**settings["recipe"]).metrics_by_label)).summary()


PAPER = """paper,table,model,method,metric,value
A 2021,1,ResNet,Grad-CAM,average_drop_pct,34.5
A 2021,1,ResNet,RISE,running_time_ms,12
A 2021,1,ResNet,Grad-CAM++,average_drop_pct,1.0
A 2021,1,AlexNet,Grad-CAM,average_drop_pct,1.0
"""


def make_run(folder: Path) -> Path:
    """Write a run of two models, with failures, notes and a paper's numbers."""
    store = Store(folder, settings_of(data={"dataset": "folder"}))
    made = [*draw_cells("demo/resnet", 40, 0), *draw_cells("demo/vgg", 24, 1)]
    store.add(made[::2])
    store.add(made[1::2])
    for i in range(3):
        store.add(
            [
                Cell(
                    image=f"broken-{i}.png",
                    method="rise",
                    key=key_of("failed", str(i), m),
                    model="demo/vgg",
                    metric=m,
                    error="InvalidImage: <no> JPEG",
                )
                for m in METRICS
            ]
        )
    store.note(
        {
            "about": "A small run & its tale.",
            "versions": {"torch": "9.9"},
            "weights": {"demo/resnet": "sha256:1"},
            "left_out": {"x/net": "no file"},
        }
    )
    (folder / "paper.csv").write_text(PAPER, encoding="utf-8")
    return folder
