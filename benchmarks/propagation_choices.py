"""How much it matters where published code and papers part: rank correlation of maps, on the demo models.

    python benchmarks/propagation_choices.py > table.md

Compared is the map of the default with that of the other choice, pixel by pixel, by Spearman's rank correlation; means
over sixteen scenes, with the smallest.
"""

import statistics
import warnings
from typing import Any

import torch
from PIL import Image
from scipy.stats import spearmanr

import limelight as ll
from limelight.data.synthetic import test_split
from limelight.errors import ConservationWarning

CHOICES: list[tuple[str, str, str, dict[str, Any]]] = [
    ("attribution-equilibrium", "shortcuts get nothing (code)", "by total of their shares", {"residual": "balanced"}),
    ("attribution-equilibrium", "bounds of each image (code)", "black and white", {"bounds": "data"}),
    (
        "attribution-equilibrium",
        "kernels one high mix channels (code)",
        "pointwise ones",
        {"channel_mixing": "pointwise"},
    ),
    ("attribution-equilibrium", "amounts are fixed (code)", "each layer keeps its amount", {"keep_mass": True}),
    ("rap", "negative relevance by type of layer (code)", "along excitation", {"negative_route": "excitatory"}),
    ("rap", "negative relevance by type of layer (code)", "along inhibition", {"negative_route": "inhibitory"}),
    ("rsp", "no purging (code)", "purging (paper)", {"purge": True}),
    ("relevance-cam", "others start at -1/K (code)", "at -1/(K - 1)", {"others": "1/(K-1)"}),
    ("excitation-backprop", "sums as they come (code)", "positive parts of sums", {"clamp_add": True}),
    ("c-lrp", "contrast y / (K - 1)", "scores of the others (clrp1)", {"variant": "clrp1"}),
    ("c-lrp", "contrast y / (K - 1)", "probabilities (sglrp)", {"variant": "sglrp"}),
    ("lrp-comp", "stabiliser by sign, generalised gamma", "as in the tutorial", {"tutorial": True}),
    ("deeplift", "the larger maximum answers", "gradient of the image's (captum)", {"max_pool": "gradient"}),
]


def main() -> None:
    warnings.simplefilter("ignore", ConservationWarning)
    torch.set_num_threads(1)
    scenes = [s.image for s in test_split(16)]
    models = ("demo/resnet", "demo/vgg")
    print(f"| method | default | other choice | {' | '.join(models)} |")
    print("| --- | --- | --- |" + " --- |" * len(models))
    classifiers = [ll.load(m) for m in models]
    for method, default, other, options in CHOICES:
        cells: list[str] = []
        for c in classifiers:
            x = torch.stack([c.preprocess(Image.fromarray(s)) for s in scenes])
            a, b = ll.method(method).run(c, x).raw, ll.method(method, **options).run(c, x).raw
            found = [float(spearmanr(p.flatten(), q.flatten()).statistic) for p, q in zip(a, b, strict=True)]
            cells.append(f"{statistics.mean(found):.3f} (least {min(found):.3f})")
        print(f"| `{method}` | {default} | {other} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
