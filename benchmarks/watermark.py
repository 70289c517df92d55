"""How much of a map lies on the watermark by which a network cheats: the table of docs/propagation.md.

    python benchmarks/watermark.py [--methods lrp-comp c-lrp]

On 48 synthetic scenes with a watermark and without a star, `demo/hans` is asked why it says star; reported is the share
of the positive relevance on the watermark, with 95 % intervals.
"""

import argparse

import torch

import limelight as ll
from limelight.data.synthetic import test_split

METHODS = (
    *("guided-grad-cam", "lrp-epsilon-plus", "c-lrp", "c-excitation-backprop", "rsp", "lrp-comp"),
    *("attribution-equilibrium", "deep-taylor", "excitation-backprop", "input-x-gradient", "guided-backprop"),
    *("grad-cam", "relevance-cam", "gradient", "rap", "full-grad"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the table of shares on the watermark.")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--model", default="demo/hans")
    given = parser.parse_args()
    torch.set_num_threads(1)
    marked = [s for s in test_split(80, watermark=True) if s.label != "star"][:48]
    boxes = [[list(s.watermark)] for s in marked if s.watermark]
    images = [s.image for s in marked]
    results = ll.evaluate(
        given.model, images, methods=given.methods, metrics=["proportion"], targets="star", truth=boxes
    )
    rows = {name: results.summary()[name, "proportion"] for name in given.methods}
    print("| method | on the watermark |\n| --- | --- |")
    for name, share in sorted(rows.items(), key=lambda row: -row[1].mean):
        print(f"| `{name}` | {share.mean:.3f} [{share.low:.3f}, {share.high:.3f}] |")


if __name__ == "__main__":
    main()
