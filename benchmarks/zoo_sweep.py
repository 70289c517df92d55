"""Does the library find a layer in every classifier of torchvision and timm?

Builds each model with random weights, asks Grad-CAM for a map without naming a layer, and writes what
happened to a JSONL file as it goes (run again to go on) and to a table::

    python benchmarks/zoo_sweep.py --family torchvision
    python benchmarks/zoo_sweep.py --only 'timm/vit_*' --limit 5
    python benchmarks/zoo_sweep.py --table docs/zoo-sweep.md
"""

import argparse
import collections
import fnmatch
import gc
import importlib.metadata
import itertools
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from limelight.engine.method import build
from limelight.zoo import available, load

FAILURES = ("dead", "not on the path", "constant")
"""How the library words that a map says nothing; "no positive evidence" is what random weights may give."""


def explain(name: str) -> dict[str, Any]:
    """Load one model and explain one picture of noise."""
    start = time.perf_counter()
    classifier = load(name, weights=None)
    side = 64 + classifier.size
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8))
    x = classifier.preprocess(picture)[None]
    layer = classifier.layers(None, x)[0]
    result = build("grad-cam").run(classifier, x)
    reason = result.reasons[0]
    problems = [
        "" if result.map.shape == (1, *x.shape[-2:]) and result.map.isfinite().all() else "map is not right",
        "" if min(result.raw.shape[-2:]) > 1 else "no grid",
        reason if reason.startswith(FAILURES) else "",
    ]
    return {
        "layer": layer.name,
        "kind": layer.kind,
        "input": list(x.shape[-2:]),
        "map": list(result.raw.shape[-2:]),
        "layout": layer.layout.kind if layer.layout else "",
        "before": round(layer.before, 3),
        "stages": classifier.stages,
        "problem": "; ".join(p for p in problems if p),
        "note": reason,
        "parameters": sum(p.numel() for p in classifier.module.parameters()),
        "seconds": round(time.perf_counter() - start, 2),
    }


def parameters(name: str) -> int:
    """Number of parameters of a timm model, without the memory for them where the model permits."""
    import timm

    try:
        with torch.device("meta"):
            model = timm.create_model(name, pretrained=False)
    except (RuntimeError, NotImplementedError, ValueError, TypeError):
        model = timm.create_model(name, pretrained=False)
    return sum(p.numel() for p in model.parameters())


def wanted(family: str, only: str) -> list[str]:
    """Names to run, one of each timm module in turn, so that a run cut short has seen every kind."""
    names: list[str] = []
    if family in ("torchvision", "all"):
        names += [f"torchvision/{n}" for n in available("torchvision")["torchvision"]]
    if family in ("timm", "all"):
        import timm

        groups = [[f"timm/{n}" for n in timm.list_models(module=m)] for m in timm.list_modules()]
        names += [n for turn in itertools.zip_longest(*groups) for n in turn if n]
    return [n for n in dict.fromkeys(names) if fnmatch.fnmatch(n, only)]


def sweep(names: list[str], out: Path, largest: float) -> None:
    done = {row["name"] for row in read(out)}
    for name in names:
        if name in done:
            continue
        row: dict[str, Any] = {"name": name}
        try:
            family, _, model = name.partition("/")
            if family == "timm" and (count := parameters(model)) > largest:
                row |= {"skipped": "too large", "parameters": count}
            else:
                row |= explain(name)
        except Exception as error:  # the sweep goes on; the table shows it
            row["problem"] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        gc.collect()
        with out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        if "skipped" not in row:
            print(
                f"{row.get('problem') or 'pass':<8} {name:<50} {row.get('layer', '')} {row.get('map', '')}", flush=True
            )


def read(out: Path) -> list[dict[str, Any]]:
    """Rows so far; of a model that was run again, the last."""
    lines = out.read_text().splitlines() if out.exists() else []
    return list({row["name"]: row for row in map(json.loads, lines)}.values())


def table(rows: list[dict[str, Any]], total: int, largest: float) -> str:
    """Write the results as a page."""
    run = sorted((r for r in rows if "skipped" not in r), key=lambda r: r["name"])
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("torch", "torchvision", "timm"))
    lines = [
        "# Which layer is explained when none is named",
        "",
        "Every classifier of torchvision, and of timm those with at most "
        f"{largest / 1e6:.0f} million parameters, built with random weights and explained by `grad-cam` without "
        "naming a layer, at its own input size. A model passes if a layer with a grid of positions is found, the "
        "gradient reaches it, and the map is finite and as large as the input.",
        "",
    ]
    for family, group in itertools.groupby(run, key=lambda r: r["name"].partition("/")[0]):
        results = list(group)
        passed = sum(not r["problem"] for r in results)
        lines.append(f"- {family}: {passed} of {len(results)} pass ({passed / len(results):.1%})")
    skipped = sum("skipped" in r for r in rows)
    lines += [
        f"- not run: {skipped} larger models of timm"
        + (f", {total - len(rows)} not reached" if total > len(rows) else ""),
        f"- versions: {versions}",
        "- again: `python benchmarks/zoo_sweep.py --table docs/zoo-sweep.md`",
        "",
    ]
    problems = collections.Counter(r["problem"] for r in run if r["problem"])
    if problems:
        lines += ["## What failed", "", *(f"- {count} × {problem}" for problem, count in problems.most_common()), ""]
    lines += ["## Results", "", "| model | layer | input | map | result |", "| --- | --- | --- | --- | --- |"]
    for r in run:
        size, grid = ("x".join(map(str, r.get(key, []))) for key in ("input", "map"))
        result = f"fail: {r['problem']}" if r["problem"] else "pass"
        lines.append(f"| {r['name']} | `{r.get('layer', '')}` | {size} | {grid} | {result.replace('|', '/')} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=("torchvision", "timm", "all"), default="all")
    parser.add_argument("--only", default="*", help="pattern of names, such as 'timm/vit_*'")
    parser.add_argument("--limit", type=int, help="at most so many models")
    parser.add_argument("--largest", type=float, default=30e6, help="most parameters of a timm model")
    parser.add_argument("--out", type=Path, default=Path("zoo_sweep.jsonl"), help="results, appended")
    parser.add_argument("--table", type=Path, help="where to write the page")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")  # of the zoos' own code
    names = wanted(options.family, options.only)
    sweep(names[: options.limit], options.out, options.largest)
    rows = [r for r in read(options.out) if r["name"] in set(names)]
    if options.table:
        options.table.write_text(table(rows, len(names), options.largest))
    run = [r for r in rows if "skipped" not in r]
    print(f"{sum(not r['problem'] for r in run)} of {len(run)} pass")
    return 0


if __name__ == "__main__":
    sys.exit(main())
