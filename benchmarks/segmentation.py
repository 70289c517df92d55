"""Explain the regions of a segmenter by several methods, judge them by insertion and deletion, and draw them.

    python benchmarks/segmentation.py --models DIR --ask people.jpg=person bus.jpg=bus --out segmentation.png

DIR holds ``real_models.py`` with ``load_deeplab``, ``deeplab_input`` and ``names``: DeepLabV3 on MobileNetV2 with the
classes of PASCAL VOC. A region is where the class wins; its score is the mean probability in it.
"""

import argparse
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor

import limelight as ll
from limelight import draw

METHODS: dict[str, dict[str, Any]] = {
    "grad-cam": {},
    "layer-cam": {},
    "ablation-cam": {},
    "integrated-gradients": {"n": 16},
    "occlusion": {"window": 48, "stride": 24},
    "rise": {"n_masks": 150},
    "random-map": {},
}
METRICS = [ll.metric("insertion", step="32W"), ll.metric("deletion", step="32W"), ll.metric("proportion")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder of real_models.py")
    parser.add_argument("--ask", nargs="+", required=True, help="PICTURE=CLASS")
    parser.add_argument("--methods", nargs="+", default=[*METHODS])
    parser.add_argument("--side", type=int, default=513, help="of the input, in pixels")
    parser.add_argument("--out", type=Path, default=Path("segmentation.png"))
    given = parser.parse_args()
    sys.path.insert(0, str(given.models))
    real: Any = import_module("real_models")
    grey = [128 / 255] * 3
    network = ll.Classifier(real.load_deeplab(), size=given.side, mean=grey, std=grey, labels=real.names("voc"))
    methods = [ll.method(name, **METHODS[name]) for name in given.methods]
    rows: list[list[draw.Panel]] = []
    print("| region | method | insertion ↑ | deletion ↓ | share of the map inside | passes |")
    print("| --- | --- | --- | --- | --- | --- |")
    for picture, name in (one.rsplit("=", 1) for one in given.ask):
        x, height, width = real.deeplab_input(picture, given.side)
        region: Tensor = network.forward(x).argmax(1) == network.labels.index(name)
        target = ll.targets.mask(name, region, score="prob")
        start = time.perf_counter()
        gallery, results = ll.compare(network, x, methods, METRICS, target, truth=region, progress=False)
        for row in results.rows:
            values = " | ".join(f"{v:.3f}" for v in row.values.values())
            print(f"| {name} | {row.method} | {values} | {row.forwards + row.backwards:.0f} |", flush=True)
        found = gallery[0]
        image = found[0].view("image").crop((0, 0, width, height))
        where = draw.overlay(image, region[0, :height, :width].numpy().astype(float))
        line = [draw.Panel(image, "input"), draw.Panel(where, f"where {name} wins", f"{found[0].score:.2f}")]
        line += [draw.Panel(e.overlay().crop((0, 0, width, height)), e.method) for e in found]
        rows.append(line)
        draw.gallery(rows, size=176).save(given.out)
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
