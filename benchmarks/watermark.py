"""How much of a map lies on the watermark by which a network cheats: the tables of docs/propagation.md.

    python benchmarks/watermark.py [--methods lrp-comp c-lrp] [--model demo/resnet]
    python benchmarks/watermark.py --gammas

On 48 synthetic scenes with a watermark and without a star, `demo/hans` is asked why it says star; reported is the share
of the positive relevance on the watermark, with 95 % intervals. With ``--gammas`` both forms of lrp-comp's gamma are
compared: by that share, and by how often the highest point of their maps of 300 scenes lies on the object that
`demo/resnet` is asked for (the pointing game).
"""

import argparse
import warnings

import torch

import limelight as ll
from limelight.data.synthetic import CLASSES, test_split
from limelight.results.summary import Figure

METHODS = (
    *("guided-grad-cam", "lrp-epsilon-plus", "c-lrp", "c-excitation-backprop", "rsp", "lrp-comp"),
    *("attribution-equilibrium", "deep-taylor", "excitation-backprop", "input-x-gradient", "guided-backprop"),
    *("grad-cam", "relevance-cam", "gradient", "rap", "full-grad"),
)


def share(model: str, methods: list[str | ll.Method]) -> list[Figure]:
    """The share of each method's positive relevance on the watermark."""
    marked = [s for s in test_split(80, watermark=True) if CLASSES[s.label] != "star"][:48]
    boxes = [[list(s.watermark)] for s in marked if s.watermark]
    images = [s.image for s in marked]
    found: list[Figure] = []
    for method in methods:
        results = ll.evaluate(model, images, methods=[method], metrics=["proportion"], targets="star", truth=boxes)
        found.append(results.summary()[results.rows[0].method, "proportion"])
    return found


def pointing(methods: list[str | ll.Method], objects: int) -> list[Figure]:
    """How often the highest point lies on the object that is asked for, in scenes of so many objects."""
    scenes = test_split(300, objects=objects)
    images, labels, masks = [s.image for s in scenes], [s.label for s in scenes], [s.mask_of(s.label) for s in scenes]
    found: list[Figure] = []
    for method in methods:
        results = ll.evaluate(
            "demo/resnet", images, methods=[method], metrics=["pointing-game"], targets=labels, truth=masks
        )
        found.append(results.summary()[results.rows[0].method, "pointing-game"])
    return found


def told(value: Figure) -> str:
    return f"{value.mean:.3f} [{value.low:.3f}, {value.high:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the table of shares on the watermark.")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--model", default="demo/hans")
    parser.add_argument("--gammas", action="store_true", help="compare the two forms of lrp-comp's gamma")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ll.errors.ConservationWarning)
    if given.gammas:
        gammas = "classic", "generalised"
        forms: list[str | ll.Method] = [ll.method("lrp-comp", gamma=gamma) for gamma in gammas]
        columns = gammas, share(given.model, forms), pointing(forms, 1), pointing(forms, 2)
        print("| gamma | on the watermark | pointing game, one object | two objects |\n| --- | --- | --- | --- |")
        for gamma, *values in zip(*columns, strict=True):
            print(f"| `{gamma}` | {' | '.join(map(told, values))} |")
        return
    rows = dict(zip(given.methods, share(given.model, given.methods), strict=True))
    print("| method | on the watermark |\n| --- | --- |")
    for name, value in sorted(rows.items(), key=lambda row: -row[1].mean):
        print(f"| `{name}` | {told(value)} |")


if __name__ == "__main__":
    main()
