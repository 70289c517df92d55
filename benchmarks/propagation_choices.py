r"""How much it matters where published code and papers part: rank correlation of maps, on the demo models.

    python benchmarks/propagation_choices.py > table.md
    python benchmarks/propagation_choices.py --methods attribution-equilibrium --positive \
        --models torchvision/squeezenet1_0 --weights FILE --pictures FOLDER

Compared is the map of the default with that of the other choice, pixel by pixel, by Spearman's rank correlation; means
over sixteen scenes, or the pictures of a folder, with the smallest. With ``--positive`` the shares of positive pixels
of both stand beside it.
"""

import argparse
import statistics
import warnings
from pathlib import Path
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
    ("attribution-equilibrium", "the ratio 2 counts in C (code)", "in all terms (eqs. 8, 9)", {"ratio_in": "all"}),
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


RATIO: dict[str, dict[str, Any]] = {"the ratio 2 counts in C (code)": {"ratio": 2.0}}
"""Options that the default of a choice has too."""


def correlations(a: torch.Tensor, b: torch.Tensor) -> list[float]:
    """Spearman's rank correlation of each pair of maps."""
    return [float(spearmanr(p.flatten(), q.flatten()).statistic) for p, q in zip(a, b, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the table of choices.")
    parser.add_argument("--methods", nargs="+", default=sorted({method for method, *_ in CHOICES}))
    parser.add_argument("--models", nargs="+", default=["demo/resnet", "demo/vgg"])
    parser.add_argument("--weights", help="a file, for one model")
    parser.add_argument("--pictures", type=Path, help="a folder of photographs; the default are drawn scenes")
    parser.add_argument("--positive", action="store_true", help="shares of positive pixels, too")
    given = parser.parse_args()
    warnings.simplefilter("ignore", ConservationWarning)
    torch.set_num_threads(1)
    pictures = (
        [Image.open(path).convert("RGB") for path in sorted(given.pictures.glob("*.jpg"))]
        if given.pictures
        else [Image.fromarray(s.image) for s in test_split(16)]
    )
    print(f"| method | default | other choice | {' | '.join(given.models)} |")
    print("| --- | --- | --- |" + " --- |" * len(given.models))
    loading = {"weights": given.weights} if given.weights else {}
    classifiers = [ll.load(m, **loading) for m in given.models]
    for method, default, other, options in CHOICES:
        if method not in given.methods:
            continue
        base = RATIO.get(default, {})
        cells: list[str] = []
        for c in classifiers:
            maps: list[tuple[torch.Tensor, torch.Tensor]] = []
            for start in range(0, len(pictures), 8):
                x = torch.stack([c.preprocess(p) for p in pictures[start : start + 8]])
                maps.append(
                    (ll.method(method, **base).run(c, x).raw, ll.method(method, **base, **options).run(c, x).raw)
                )
            a, b = (torch.cat(part) for part in zip(*maps, strict=True))
            found = correlations(a, b)
            shares = f"; positive {(a > 0).float().mean():.2f}, {(b > 0).float().mean():.2f}" if given.positive else ""
            cells.append(f"{statistics.mean(found):.3f} (least {min(found):.3f}){shares}")
        print(f"| `{method}` | {default} | {other} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
