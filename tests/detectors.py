"""Small detectors with random weights: torchvision's four kinds, and one that answers as DETR does."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, MaskRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD
from torchvision.ops import MultiScaleRoIAlign

SIDE, CLASSES = 32, 3


class Backbone(nn.Sequential):
    """One map of eight channels, a quarter of the picture's side."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
        self.out_channels = 8


def anchors() -> AnchorGenerator:
    return AnchorGenerator(sizes=((8, 16),), aspect_ratios=((1.0,),))


def head() -> nn.Module:
    return nn.Sequential(nn.Flatten(1), nn.Linear(8 * 9, 16), nn.ReLU())


def predictor() -> nn.Module:
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor

    return FastRCNNPredictor(16, CLASSES)


def faster_rcnn() -> nn.Module:
    few = {"rpn_pre_nms_top_n_test": 16, "rpn_post_nms_top_n_test": 6, "box_detections_per_img": 6}
    pool = MultiScaleRoIAlign(["0"], 3, 2)
    sizes = {"min_size": SIDE, "max_size": SIDE, "rpn_anchor_generator": anchors(), "box_roi_pool": pool}
    return FasterRCNN(Backbone(), box_head=head(), box_predictor=predictor(), box_score_thresh=0.01, **sizes, **few)


def mask_rcnn() -> nn.Module:
    few = {"rpn_pre_nms_top_n_test": 16, "rpn_post_nms_top_n_test": 6, "box_detections_per_img": 6}
    sizes = {"min_size": SIDE, "max_size": SIDE, "rpn_anchor_generator": anchors()}
    pools = {"box_roi_pool": MultiScaleRoIAlign(["0"], 3, 2), "mask_roi_pool": MultiScaleRoIAlign(["0"], 4, 2)}
    masks = {"mask_head": nn.Conv2d(8, 8, 3, padding=1), "mask_predictor": nn.ConvTranspose2d(8, CLASSES, 2, 2)}
    heads = {"box_head": head(), "box_predictor": predictor()}
    return MaskRCNN(Backbone(), box_score_thresh=0.01, **sizes, **few, **pools, **heads, **masks)


def retinanet() -> nn.Module:
    few = {"topk_candidates": 8, "detections_per_img": 6, "score_thresh": 0.0}
    net = RetinaNet(Backbone(), CLASSES, min_size=SIDE, max_size=SIDE, anchor_generator=anchors(), **few)
    nn.init.normal_(net.head.classification_head.cls_logits.weight, 0, 3e4)  # else all scores are alike
    return net


def ssd() -> nn.Module:
    few = {"topk_candidates": 8, "detections_per_img": 6, "score_thresh": 0.01}
    backbone = Backbone()
    backbone.out_channels = [8]
    return SSD(backbone, DefaultBoxGenerator([[2]], scales=[0.3, 0.6]), (SIDE, SIDE), CLASSES, **few)


class Detr(nn.Module):
    """Queries whose boxes and classes depend on the picture; the last class is no object."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(Backbone(), nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.classes, self.boxes = nn.Linear(128, 5 * (CLASSES + 1)), nn.Linear(128, 5 * 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        a = self.body(x)
        centres, sides = self.boxes(4 * a).sigmoid().view(-1, 5, 4).split(2, -1)
        logits = self.classes(9 * a).view(-1, 5, CLASSES + 1)
        return {"pred_logits": logits, "pred_boxes": torch.cat([centres, 0.2 + 0.5 * sides], -1)}


DETECTORS: dict[str, Callable[[], nn.Module]] = {
    "faster-rcnn": faster_rcnn,
    "mask-rcnn": mask_rcnn,
    "retinanet": retinanet,
    "ssd": ssd,
    "detr": Detr,
}


def build(name: str) -> nn.Module:
    torch.manual_seed(1)
    return DETECTORS[name]().eval()


def pictures(n: int = 2) -> Tensor:
    return torch.rand(n, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3))


def iou(a: Any, b: Any) -> float:
    """Worked out from the sides, in plain numbers."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (both - width * height)


def published(output: Any, box: Any, i: int | None) -> list[float]:
    """Return max_j IoU(L_t, L_j) cos(P_t, P_j) O_j for each picture, in plain numbers."""
    scores: list[float] = []
    if isinstance(output, list):
        for d in output:
            found = zip(d["boxes"].tolist(), d["labels"].tolist(), d["scores"].tolist(), strict=True)
            scores.append(max([iou(box, b) * s for b, label, s in found if i in (None, label)], default=0.0))
        return scores
    for logits, boxes in zip(output["pred_logits"].exp().tolist(), output["pred_boxes"].tolist(), strict=True):
        best = 0.0
        for p, (x, y, w, h) in zip(logits, boxes, strict=True):
            b = [SIDE * v for v in (x - w / 2, y - h / 2, x + w / 2, y + h / 2)]
            cosine = 1.0 if i is None else p[i] / sum(v * v for v in p[:-1]) ** 0.5
            best = max(best, iou(box, b) * cosine * (1 - p[-1] / sum(p)))
        scores.append(best)
    return scores
