"""The class before and after the most relevant pixels are erased: a picture and a row per method.

    python benchmarks/erased_pixels.py PICTURES --model torchvision/vgg16 --weights FILE --out erased.png

As figure 11 of Attribution Equilibrium: 4 000 pixels, by RAP, LRP, Attribution Equilibrium, and noise in place of a
map. What is erased becomes the mean colour. Printed is how often the class changes.
"""

import argparse
from pathlib import Path

import torch
from PIL import Image

import limelight as ll
from limelight import draw
from limelight.ops import resize
from limelight.ops.order import ranks

METHODS: dict[str, dict[str, int]] = {
    "rap": {},
    "lrp-epsilon-plus": {},
    "attribution-equilibrium": {},
    "random-map": {"grid": 224},
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw what is left when the most relevant pixels are erased.")
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--model", default="torchvision/vgg16")
    parser.add_argument("--weights", default="DEFAULT")
    parser.add_argument("--pixels", type=int, default=4000)
    parser.add_argument("--out", type=Path, default=Path("erased.png"))
    given = parser.parse_args()
    c = ll.load(given.model, weights=given.weights)
    x = torch.stack([c.preprocess(Image.open(path).convert("RGB")) for path in given.pictures])
    lines = [[draw.Panel(_picture(c, one), "input", _label(c, one)) for one in x]]
    for name, options in METHODS.items():
        raw = resize(ll.method(name, **options).run(c, x).raw, (x.shape[-2], x.shape[-1]))
        left = torch.where((ranks(raw) < given.pixels)[:, None], torch.zeros_like(x), x)
        lines.append([draw.Panel(_picture(c, one), name, _label(c, one)) for one in left])
        changed = sum(_label(c, a)[:-5] != _label(c, b)[:-5] for a, b in zip(x, left, strict=True))
        print(f"{name}: another class on {changed} of {len(x)}", flush=True)
    draw.gallery([list(column) for column in zip(*lines, strict=True)]).save(given.out)


def _label(c: ll.Classifier, one: torch.Tensor) -> str:
    """The class that the network sees, with its probability."""
    with torch.no_grad():
        p, index = c(one[None]).softmax(1)[0].max(0)
    return f"{c.labels[int(index)] if c.labels else int(index)} {float(p):.2f}"


def _picture(c: ll.Classifier, one: torch.Tensor) -> Image.Image:
    return Image.fromarray((c.display(one).permute(1, 2, 0) * 255).round().byte().numpy())


if __name__ == "__main__":
    main()
