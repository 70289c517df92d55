"""Make docs/matrix.md: which methods and metrics work with which kinds of models, tried on small random networks.

python tools/make_matrix.py     # about two minutes on one core; exit code 1 if anything fails other than by a refusal
"""

import re
import sys
import tempfile
import traceback
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator

import limelight as ll
from limelight.errors import ConservationWarning, LimelightError, MissingExtra, ModelFailed
from limelight.text import markdown

PAGE = Path(__file__).parents[1] / "docs" / "matrix.md"
SIDE = 32
"""Pixels along each axis of a picture; a signal has 96 values, a volume 12 along each axis."""

METHODS: dict[str, dict[str, Any]] = {
    "ss-cam": {"n": 2},
    "is-cam": {"n": 2},
    "occlusion": {"window": 6, "stride": 6},
    "rise": {"n_masks": 8},
    "tis": {"n_masks": 8},
    "d-rise": {"n_masks": 8, "cells": 4},
    "xrai": {"steps": 2, "segmentation": "slic", "min_new_pixels": 2, "dilation": 1},
    "integrated-gradients": {"n": 2},
    "smooth-grad": {"n": 2},
    "smooth-grad-cam++": {"n": 2},
    "var-grad": {"n": 2},
    "gradient-shap": {"n": 2},
    "emp": {"n": 2, "size": 6},
    "extremal-perturbation": {"n": 2, "sigma": 9},
    "i-gos": {"n": 2, "points": 2, "size": 6, "l1": 0.01, "tv": 0.2},
    "aop": {"size": 6, "warmup": 1, "optimiser_options": {"n": 2, "points": 2}},
    "sigcam": {"size": 6, "warmup": 1, "n": 3, "optimiser_options": {"points": 4}},
    "lime": {"n_samples": 40, "scale": 27, "baseline": "black"},
}
"""Options with which a method takes few passes."""
METRICS: dict[str, dict[str, Any]] = {
    "morf": {"cell": 3, "steps": 3, "repeats": 1},
    "lerf": {"cell": 3, "steps": 3, "repeats": 1},
    "morf-insertion": {"points": 3},
    "erasure": {"pixels": 20},
    "road": {"percentiles": (30, 70)},
    **{name: {"step": "4W"} for name in ("deletion", "insertion", "overall", "cross-deletion")},
}
"""The same of the metrics."""
JUDGED = "occlusion"
"""The method whose maps the metrics judge; it needs neither layers nor gradients."""


@dataclass(frozen=True)
class Kind:
    """A kind of model: a small one, two inputs, and what is asked of it.

    Attributes:
        classifier: the model.
        x: its inputs, (2, c, *space).
        target: as in ``ll.explain``.
        inputs: as in ``ll.explain``.
        judged: what the metrics are asked of, if that is not the target.
    """

    classifier: ll.Classifier
    x: Tensor
    target: Any = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    judged: Any = None


# -- the models --------------------------------------------------------------------------------------------


def features(channels: int = 3, sides: int = 2) -> nn.Sequential:
    """Return convolutions over one, two or three axes of space, pooled to eight numbers."""
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[sides - 1]
    norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[sides - 1]
    pool = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[sides - 1]
    return nn.Sequential(
        *(conv(channels, 6, 3, 2, 1, bias=False), norm(6), nn.ReLU(), conv(6, 8, 3, 1, 1), nn.ReLU()),
        *(pool(1), nn.Flatten()),
    )


def network(channels: int = 3, sides: int = 2, outputs: int = 4) -> nn.Sequential:
    head = nn.Linear(8, outputs)
    nn.init.normal_(head.weight)
    nn.init.constant_(head.bias, 3)  # a score below 0 has no share that could be lost, and no relevance
    return nn.Sequential(*features(channels, sides), head)


class Segmenter(nn.Module):
    """Scores of three classes at every pixel, under the name that torchvision gives them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU())
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the scores (n, 3, H, W)."""
        return {"out": self.head(self.body(x))}


class WithAge(nn.Module):
    """A picture and a number."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = features(), nn.Linear(9, 4)

    def forward(self, image: Tensor, age: Tensor) -> Tensor:
        """Return the scores (n, 4) of pictures and numbers (n, 1)."""
        return self.head(torch.cat([self.features(image), age], 1))


class Pair(nn.Module):
    """Whether two pictures are alike, by what both have."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = features(), nn.Linear(8, 2)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the scores (n, 2) of pictures a and b."""
        return self.head(self.features(a) * self.features(b))


def transformer() -> nn.Module:
    net = VisionTransformer(SIDE, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=4)
    nn.init.normal_(net.heads.head.weight)  # torchvision begins with zeros
    return net


def detector() -> nn.Module:
    backbone: Any = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
    backbone.out_channels = 8
    anchors = AnchorGenerator(sizes=((8, 16),), aspect_ratios=((1.0,),))
    few: dict[str, Any] = {"topk_candidates": 8, "detections_per_img": 6, "score_thresh": 0.0}
    net = RetinaNet(backbone, 3, min_size=SIDE, max_size=SIDE, anchor_generator=anchors, **few)
    for part in net.head.modules():  # torchvision begins with weights so small that all boxes are alike
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="linear")
    return net


def detecting() -> Kind:
    """Return a detector that is asked for a box that it finds in the first picture."""
    net, x = detector().eval(), pictures()
    with torch.no_grad():
        first = net(x)[0]
    return Kind(
        ll.Classifier(net, size=SIDE, layer="backbone"), x, ll.targets.box(first["boxes"][0], int(first["labels"][0]))
    )


def from_onnx() -> ll.Classifier:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        file = Path(folder) / "model.onnx"
        free: dict[str, Any] = {"input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}, "opset_version": 17}
        torch.onnx.export(network().eval(), (torch.zeros(2, 3, SIDE, SIDE),), str(file), dynamo=False, **free)
        return ll.load(file)


def probabilities(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return how bright each quarter of a picture is beside the others, (n, 4)."""
    quarters = x.reshape(len(x), 3, 2, SIDE // 2, 2, SIDE // 2).mean((1, 3, 5)).reshape(len(x), 4)
    return np.exp(9 * quarters) / np.exp(9 * quarters).sum(1, keepdims=True)


def kind(module: nn.Module, channels: int = 3, size: tuple[int, ...] = (SIDE, SIDE), **asked: Any) -> Kind:
    return Kind(ll.Classifier(module.eval(), size=size), pictures(channels, size), **asked)


def pictures(channels: int = 3, size: tuple[int, ...] = (SIDE, SIDE)) -> Tensor:
    """Return smooth random inputs, (2, channels, *size), which have parts that segments can be made of."""
    mode = ("linear", "bilinear", "trilinear")[len(size) - 1]
    return nn.functional.interpolate(2 * torch.randn(2, channels, *(4 for _ in size)), size, mode=mode)


def middle(size: Iterable[int] = (SIDE, SIDE)) -> Tensor:
    """Return the pixels in the middle, (*size)."""
    region = torch.zeros(*size, dtype=torch.bool)
    region[tuple(slice(side // 4, 3 * side // 4) for side in size)] = True
    return region


KINDS: dict[str, tuple[str, Callable[[], Kind]]] = {
    "CNN, colour pictures": ("two convolutions, batch normalisation, pooling, a linear layer", lambda: kind(network())),
    "CNN, grey pictures": ("the same, of one channel", lambda: kind(network(1), 1)),
    "CNN, 5 bands": ("the same, of five channels", lambda: kind(network(5), 5)),
    "vision transformer": ("torchvision's, with two blocks and a class token", lambda: kind(transformer())),
    "CNN, signals": ("the CNN along one axis, of two channels", lambda: kind(network(2, 1), 2, (96,))),
    "CNN, volumes": ("the CNN along three axes", lambda: kind(network(1, 3), 1, (12, 12, 12))),
    "segmenter": (
        'scores at every pixel; asked is `ll.targets.mask` of a class and a region, of metrics with `score="prob"`',
        lambda: kind(
            Segmenter(),
            target=ll.targets.mask(1, middle()),
            judged=ll.targets.mask(1, middle(), score="prob"),
        ),
    ),
    "detector": ('torchvision\'s RetinaNet with `layer="backbone"`; asked is `ll.targets.box`', detecting),
    "embedding": (
        "the CNN, whose eight outputs are no classes; asked is `ll.targets.similarity`",
        lambda: kind(network(outputs=8), target=ll.targets.similarity(torch.randn(8).abs())),
    ),
    "regression": (
        "the CNN with one output, a number above 0; asked is `ll.targets.regression`",
        lambda: kind(network(outputs=1), target=ll.targets.regression()),
    ),
    "picture and number": (
        "the CNN, with a number beside the picture given as `inputs=`",
        lambda: kind(WithAge(), inputs={"age": torch.rand(2, 1)}),
    ),
    "pair of pictures": (
        "two pictures, of which the one that `input=` names is explained",
        lambda: Kind(ll.Classifier(Pair().eval(), size=SIDE, input="a"), pictures(), 0, {"b": pictures()}),
    ),
    "ONNX, converted": ("the CNN, exported and loaded again", lambda: Kind(from_onnx(), pictures())),
    "black box": (
        "`ll.BlackBox` of a function of arrays, which returns probabilities",
        lambda: Kind(ll.BlackBox(probabilities, arrays=True, size=SIDE), pictures()),
    ),
}
"""What each kind is, for the page, and the function that makes it."""


# -- trying them -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tried:
    """What came of one method or metric with one kind of model; it works where nothing else is said.

    Attributes:
        family: of the method or metric.
        name: of the method or metric.
        refused: why, if it was.
        alone: why two inputs at a time are refused, if one is not.
        warned: of which operations it says that there is no rule for their relevance.
        empty: why no map says anything, or no number is one.
        failed: the traceback of what is no refusal.
    """

    family: str
    name: str
    refused: str = ""
    alone: str = ""
    warned: str = ""
    empty: str = ""
    failed: str = ""

    @property
    def works(self) -> bool:
        """Whether it gave a map, or a number."""
        return not (self.refused or self.empty or self.failed)


def try_one(family: str, name: str, use: Callable[[str, int], str]) -> Tried:
    """Try a method or metric on two inputs, and if it refuses them on one."""
    alone = ""
    for n in (2, 1):
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("error")
                warnings.simplefilter("always", ConservationWarning)  # random weights absorb much; that is not listed
                empty = use(name, n)
            warned = next((str(w.message) for w in told if "no rule for" in str(w.message)), "")
            return Tried(family, name, alone=alone, warned=warned, empty=empty)
        except (ModelFailed, MissingExtra):  # these models do not fail by themselves
            return Tried(family, name, failed=traceback.format_exc())
        except LimelightError as error:
            alone = " ".join(str(error).split())
        except Exception:
            return Tried(family, name, failed=traceback.format_exc())
    return Tried(family, name, refused=alone)


def explain(k: Kind, name: str, n: int) -> str:
    """Explain n inputs by a method; return why every map is empty, or ""."""
    method, inputs = ll.method(name, **METHODS.get(name, {})), {key: rows[:n] for key, rows in k.inputs.items()}
    explanations = ll.explain(k.classifier, k.x[:n], method, k.target, inputs=inputs, progress=False)
    for e in explanations:
        assert e.map.shape == k.x.shape[2:]
        assert torch.isfinite(e.raw).all()
    says = [e for e in explanations if e.raw.amin() < e.raw.amax()]
    return "" if says else explanations[0].reason


def judge(k: Kind, name: str, n: int) -> str:
    """Judge n maps by a metric; return "undefined" where it has no number, or ""."""
    metric, method = ll.metric(name, **METRICS.get(name, {})), ll.method(JUDGED, **METHODS[JUDGED])
    truth = middle(k.x.shape[2:]).expand(n, *k.x.shape[2:])
    target, inputs = k.target if k.judged is None else k.judged, {key: rows[:n] for key, rows in k.inputs.items()}
    results = ll.evaluate(k.classifier, k.x[:n], method, metric, target, truth, inputs=inputs, progress=False)
    return "" if any(np.isfinite(row.values[name]) for row in results.rows) else "undefined"


def try_all(name: str) -> tuple[list[Tried], list[Tried]]:
    """Return what came of all methods, and of all metrics, with one kind of model."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        k = KINDS[name][1]()
        methods = [try_one(c.family, c.name, partial(explain, k)) for c in ll.methods().values()]
        metrics = [try_one(c.family, c.name, partial(judge, k)) for c in ll.metrics().values()]
    return methods, metrics


# -- the page ----------------------------------------------------------------------------------------------


def by_family(tried: Iterable[Tried]) -> dict[str, list[Tried]]:
    families: dict[str, list[Tried]] = defaultdict(list)
    for t in tried:
        families[t.family].append(t)
    return families


def line(name: str, tried: Iterable[Tried]) -> str:
    """Return the row of a kind of model."""
    cells = [f"{sum(t.works for t in family)} of {len(family)}" for family in by_family(tried).values()]
    return f"| {name} | {' | '.join(cells)} |"


def table(tried: Mapping[str, list[Tried]]) -> list[str]:
    families = by_family(next(iter(tried.values())))
    head = [f"| model | {' | '.join(families)} |", "| --- " * (1 + len(families)) + "|"]
    return [*head, *(line(name, each) for name, each in tried.items())]


def members(tried: Iterable[Tried]) -> list[str]:
    return [f"- {name}: {', '.join(f'`{t.name}`' for t in each)}" for name, each in by_family(tried).items()]


def reason(t: Tried, what: str) -> str:
    """Return what a method or metric says, with dots in place of its own name."""
    return re.sub(rf"(?<![\w-]){re.escape(t.name)}(?![\w-])", "…", getattr(t, what))


def reasons(tried: Mapping[str, list[Tried]], what: str) -> list[str]:
    """Return a table of what is refused, works alone, or is empty: each reason once for all that give it together."""
    kinds: dict[tuple[str, str], list[str]] = defaultdict(list)
    for kind_name, each in tried.items():
        for t in each:
            if getattr(t, what):
                kinds[reason(t, what), t.name].append(kind_name)
    names: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (why, name), where in kinds.items():
        names[why, ", ".join(where)].append(name)
    families = by_family(next(iter(tried.values())))
    return [f"| {where} | {summed(each, families)} | {markdown(why)} |" for (why, where), each in names.items()]


def summed(names: Iterable[str], families: Mapping[str, list[Tried]]) -> str:
    """Return names, with that of a family in place of all of its members."""
    left, parts = set(names), list[str]()
    for family, each in families.items():
        here = [t.name for t in each if t.name in left]
        parts += [f"every {family}"] if 1 < len(here) == len(each) else [f"`{name}`" for name in here]
    return ", ".join(parts)


SECTIONS = {
    "refused": ("Refused", "refused", "what it says (… is its name)"),
    "alone": ("One input at a time", "works with one input", "what it says of two"),
    "warned": ("With a warning", "works", "what it warns of"),
    "empty": ("Nothing to see", "what", "why"),
}


def part(title: str, tried: Mapping[str, list[Tried]]) -> list[str]:
    """Return a table, the members of its families, and what does not work."""
    lines = [f"## {title}", "", *table(tried), "", *members(next(iter(tried.values())))]
    for what, (heading, column, why) in SECTIONS.items():
        if rows := reasons(tried, what):
            lines += ["", f"### {heading}", "", f"| model | {column} | {why} |", "| --- | --- | --- |", *rows]
    return [*lines, ""]


INTRO = f"""# What works with which model

Each row is a kind of model, each column a family of methods; a second table has the families of metrics. `9 of 10`
means that nine of the family's ten methods explain such a model; what the tenth says stands below the table. A method
works if it takes the model and gives finite maps of the input's size, of which at least one is not the same everywhere;
a metric works if it gives a number. That tells nothing of how good they are: for that see [choosing.md](choosing.md).

The models are small and have random weights, the inputs are two smooth random ones, and every method runs with few
masks, steps and samples. `xrai` has `segmentation="slic"`, since its default cuts pictures only. The metrics judge maps
of `{JUDGED}`. All of it is made by `python tools/make_matrix.py`, in about two minutes.

## The models
"""


def page(tried: Mapping[str, tuple[list[Tried], list[Tried]]]) -> str:
    models = [f"- **{name}**: {what}" for name, (what, _) in KINDS.items()]
    methods, metrics = ({name: both[i] for name, both in tried.items()} for i in (0, 1))
    lines = [INTRO, *models, "", *part("Methods", methods), *part("Metrics", metrics)]
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    tried = {name: try_all(name) for name in KINDS}
    failures = [(name, t) for name, both in tried.items() for each in both for t in each if t.failed]
    for name, t in failures:
        print(f"{name}, {t.name}: {t.failed}", file=sys.stderr)
    if not failures:
        PAGE.write_text(page(tried), encoding="utf-8")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
