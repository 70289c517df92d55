"""What the metrics say about the gradient CAMs, and whether the papers' orders hold on this data.

    limelight evaluate PICTURES --model torchvision/squeezenet1_0 --weights FILE --methods all \
        --metrics adcc,average-drop,average-increase,coherency,complexity,insertion,deletion,overall --out study.parquet
    python benchmarks/gradient_cams_judged.py study.parquet --papers CSV… > table.md

The papers' tables are csv files with the columns paper, table, model, method, metric, value (in per cent).
"""

import argparse
import csv
from itertools import combinations
from pathlib import Path

import limelight as ll

METRICS = {
    "average_drop_pct": "average-drop",
    "average_increase_pct": "average-increase",
    "coherency_pct": "coherency",
    "complexity_pct": "complexity",
    "adcc_pct": "adcc",
    "insertion_auc_pct": "insertion",
    "deletion_auc_pct": "deletion",
    "overall_pct": "overall",
}
METHODS = {
    "Score-CAM": "score-cam",
    "Collection-CAM": "collection-cam",
    "RISE": "rise",
    "XRAI": "xrai",
    "Grad-CAM": "grad-cam",
    "GradCAM": "grad-cam",
    "Grad-CAM++": "grad-cam++",
    "GradCAM++": "grad-cam++",
    "Smooth Grad-CAM++": "smooth-grad-cam++",
    "XGrad-CAM": "xgrad-cam",
    "Layer-CAM": "layer-cam",
    "WGradCAM": "wgrad-cam",
    "Fake-CAM": "fake-cam",
}


def printed(files: list[Path]) -> dict[tuple[str, str], dict[str, dict[str, float]]]:
    """(paper and table, metric) -> model -> method -> printed value."""
    found: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for file in files:
        for row in csv.DictReader(file.open(encoding="utf-8")):
            if row["metric"] in METRICS and row["method"] in METHODS and row["model"] != "mean-of-3":
                table = f"{row['paper']} table {row['table']}"
                models = found.setdefault((table, METRICS[row["metric"]]), {})
                models.setdefault(row["model"], {})[METHODS[row["method"]]] = float(row["value"])
    return found


def orders(results: ll.Results, files: list[Path]) -> list[str]:
    lines = ["| table | metric | pair | papers: first is better | here |", "| --- | --- | --- | --- | --- |"]
    kinds: dict[str, int] = {}
    here = {m: {(c.first, c.second): c for c in results.compare(m)} for m in results.columns}
    for (table, metric), models in printed(files).items():
        if metric not in here:
            continue
        sign = 1 if results.columns[metric].better == "higher" else -1
        names = [m for m in results.methods if any(m in values for values in models.values())]
        for a, b in combinations(names, 2):
            both = [sign * (values[a] - values[b]) for values in models.values() if a in values and b in values]
            if not both:
                continue
            comparison = here[metric].get((a, b)) or here[metric][b, a]
            first, count = sum(d > 0 for d in both), len(both)
            theirs = f"{first} of {count} models"
            if comparison.verdict == "not distinguishable":
                kind, said = "can't be told here", f"not distinguishable (p = {comparison.p:.2g})"
            elif 2 * first == count:
                kind, said = "can't be told there", f"{comparison.verdict} is better; the paper is divided"
            elif (comparison.verdict == a) == (2 * first > count):
                kind, said = "hold here", f"{comparison.verdict} is better, as there"
            else:
                kind, said = "do not hold here", f"**{comparison.verdict} is better, unlike there**"
            kinds[kind] = kinds.get(kind, 0) + 1
            lines.append(f"| {table} | {metric} | {a} / {b} | {theirs} | {said} |")
    counted = ", ".join(f"{kinds[k]} {k}" for k in sorted(kinds))
    return [f"Of {sum(kinds.values())} printed orders: {counted}.", "", *lines]


def main() -> None:
    parser = argparse.ArgumentParser(description="Write what the metrics say about the gradient CAMs.")
    parser.add_argument("results", type=Path)
    parser.add_argument("--papers", type=Path, nargs="*", default=[])
    given = parser.parse_args()
    results = ll.Results.from_parquet(given.results)
    print(f"{len(results.images)} pictures, {results.settings['model']}\n")
    print(results.to_markdown())
    if given.papers:
        print("\n" + "\n".join(orders(results, given.papers)))


if __name__ == "__main__":
    main()
