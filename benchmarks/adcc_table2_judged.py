"""Of the orders of methods that ADCC's Table 2 prints: how many hold in a run of its recipe on another network.

    limelight benchmark adcc-table2 --dataset folder --data PICTURES --add-model NAME=WEIGHTS --limit 64 --out RUN
    python benchmarks/adcc_table2_judged.py RUN

Two methods stand in some order by each metric on each of the paper's six networks. On the run's network the same order
is found, the other one, or none that can be told (paired permutation test, Holm, 5 %).
"""

import sys
from collections import Counter

import pandas as pd

from limelight.bench.cell import Cell, join_cells
from limelight.bench.recipe_file import read_published, read_recipe
from limelight.bench.store import Store
from limelight.pages.benchmark.published import parse_published
from limelight.results.tables import Results
from limelight.scoring.evaluate import columns


def results(run: str) -> Results:
    rows = join_cells(map(Cell.from_record, Store(run).table().to_pylist()))
    return Results(rows, columns(read_recipe("adcc-table2").metrics_by_label))


def main(run: str) -> None:
    found, recipe = results(run), read_recipe("adcc-table2")
    paper = {(p.model, p.metric, p.method): p.value for p in parse_published(read_published(recipe, "adcc-table2"))}
    counts: dict[str, Counter[str]] = {}
    for metric, column in found.columns.items():
        for pair in found.compare(metric):
            for model in recipe.models.names:
                a, b = (paper.get((model, metric, method)) for method in (pair.first, pair.second))
                if a is None or b is None or a == b:
                    continue
                theirs = pair.first if (a > b) == (column.better == "higher") else pair.second
                said = {theirs: "the same", "not distinguishable": "can't be told"}.get(pair.verdict, "the other")
                for name in (metric, "all", model):
                    counts.setdefault(name, Counter())[said] += 1
    print(pd.DataFrame(counts).T.fillna(0).astype(int)[["the same", "the other", "can't be told"]].to_string())


if __name__ == "__main__":
    main(sys.argv[1])
