"""Explain what a detector finds, box by box, judge the maps by the box's own score, and draw them.

    python benchmarks/detection.py --out detection.png

The detector is made of the embedded classifier of shapes, which looks at windows of the picture; it answers as those of
torchvision do. It needs no weights from elsewhere.
"""

import argparse
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import nms

import limelight as ll
from limelight import draw
from limelight.data.synthetic import TEST_SEEDS, scene
from limelight.draw.boxes import CHOSEN, Outline, outline


class Windows(nn.Module):
    """Boxes where a classifier is sure of what it sees in a window, in a list of dicts."""

    def __init__(self, classifier: nn.Module, side: int = 64, stride: int = 16, least: float = 0.5) -> None:
        super().__init__()
        self.classifier, self.side, self.stride, self.least = classifier, side, stride, least

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:  # noqa: D102
        windows = x.unfold(2, self.side, self.stride).unfold(3, self.side, self.stride)
        rows, columns = windows.shape[2:4]
        cut = windows.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, self.side, self.side)
        p = (
            self.classifier(F.interpolate(cut, x.shape[-2:], mode="bilinear"))
            .softmax(1)
            .view(len(x), rows * columns, -1)
        )
        corners = self.stride * torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).flip(1).to(x)
        boxes = torch.cat([corners, corners + self.side], 1)
        found: list[dict[str, Tensor]] = []
        for one in p:
            scores, labels = one.max(1)
            kept = nms(boxes, scores, 0.3)
            kept = kept[scores[kept] > self.least]
            found.append({"boxes": boxes[kept], "scores": scores[kept], "labels": labels[kept]})
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masks", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path("detection.png"))
    given = parser.parse_args()
    demo, shapes = ll.load("demo/resnet"), scene(TEST_SEEDS * 3, objects=3)
    detector = ll.Classifier(Windows(demo.module), mean=demo.mean, std=demo.std, size=128)
    picture = Image.fromarray(shapes.image)
    x = detector.preprocess(picture)[None]
    methods = [
        ll.method("d-rise", n_masks=given.masks, cells=8),
        ll.method("occlusion", window=24, stride=8),
        ll.method("random-map"),
    ]
    metrics = [ll.metric("insertion"), ll.metric("deletion"), ll.metric("proportion")]
    (found,) = detector.forward(x)
    rows: list[list[draw.Panel]] = []
    print("| box | score | method | insertion ↑ | deletion ↓ | share of the map on the object | passes |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for box, score, label in zip(found["boxes"], found["scores"], found["labels"], strict=True):
        name = demo.labels[int(label)] if demo.labels else str(int(label))
        mask = next(torch.from_numpy(o.mask) for o in shapes.objects if o.name == name)[None]
        target = ll.targets.box(box, label)
        gallery, results = ll.compare(detector, x, methods, metrics, target, truth=mask, progress=False)
        for row in results.rows:
            values = " | ".join(f"{v:.3f}" for v in row.values.values())
            print(f"| {name} | {score:.2f} | {row.method} | {values} | {row.forwards:.0f} |", flush=True)
        shown = outline(picture, [Outline(box.tolist(), CHOSEN)])
        line = [draw.Panel(shown, "found", f"{name} {score:.2f}")]
        line += [draw.Panel(e.overlay(), e.method) for e in gallery[0]]
        any_class = ll.explain(detector, x, methods[0], ll.targets.box(box), progress=False)[0]
        rows.append([*line[:2], draw.Panel(any_class.overlay(), "d-rise, of any class"), *line[2:]])
        draw.gallery(rows, size=176).save(given.out)


if __name__ == "__main__":
    main()
