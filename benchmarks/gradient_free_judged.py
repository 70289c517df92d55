"""What the metrics say about the methods that ask the network again and again.

    python benchmarks/gradient_free_judged.py PICTURES --weights SQUEEZENET --out study.parquet
    python benchmarks/gradient_cams_judged.py study.parquet --papers CSV… > table.md

The methods' own defaults but for RISE, of which a thousand masks are taken, and Cluster-CAM, whose map is clipped.
"""

import argparse
from pathlib import Path

import torch

import limelight as ll

METHODS = [
    "grad-cam",
    "ablation-cam",
    "score-cam",
    "group-cam",
    "sc-sm-cam",
    "collection-cam",
    "xrai",
    "centre-map",
]
METRICS = ["average-drop", "average-increase", "complexity", "insertion", "deletion", "overall"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Judge the methods that ask the network again and again.")
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--limit", type=int, default=64)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    network = ll.load("torchvision/squeezenet1_0", weights=given.weights)
    methods = [*METHODS, ll.method("cluster-cam", profile="clipped"), ll.method("rise", n_masks=1000)]
    pictures = sorted(p for p in given.pictures.iterdir() if p.suffix == ".jpg")[: given.limit]
    results = ll.evaluate(network, pictures, methods=methods, metrics=METRICS)
    results.to_parquet(given.out)
    print(results.summary())


if __name__ == "__main__":
    main()
