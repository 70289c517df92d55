"""How fast the metrics are: against other packages, and against the model's own forward passes.

    pip install -e ".[peers]" quantus
    python benchmarks/metrics.py [--models squeezenet1_0 resnet18] [--batch 8] [--rounds 7]

Every contender runs once per round, in an order that changes from round to round, on one thread, with random
weights and smooth tie-free maps. Reported are medians: in units of the floor, the plain forward passes (and
tail backward passes) that the numbers can't be had without, and as ratios to ours taken round by round, which
a drifting machine does not disturb; beside each the largest difference of the numbers from ours. "frame by
frame" is insertion and deletion as they were published: one picture at a time, one changed copy at a time,
changed in NumPy.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil
from typing import Any

import numpy as np
import torch
import torchvision
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

import limelight as ll
from limelight.model.targets import Targets
from limelight.ops.blur import rise_blur
from limelight.scoring.image_batch import ImageBatch
from limelight.scoring.map_batch import MapBatch
from limelight.scoring.metric import measure

LAYERS = {"squeezenet1_0": "features", "resnet18": "layer4", "resnet50": "layer4", "vgg16": "features"}
Contender = Callable[[], Any]
Group = dict[str, Contender]


class Setting:
    """A model, pictures, and the maps that are judged."""

    def __init__(self, name: str, batch: int, device: str) -> None:
        torch.manual_seed(0)
        self.model = torchvision.models.get_model(name, weights=None).eval().to(device)
        self.x = torch.randn(batch, 3, 224, 224, device=device)
        self.classifier = ll.Classifier(self.model, layer=LAYERS[name])
        self.layer = self.model.get_submodule(LAYERS[name])
        self.method = ll.method("grad-cam")
        with torch.no_grad():
            self.target = self.model(self.x).argmax(1)
        smooth = F.interpolate(torch.rand(batch, 1, 7, 7), (224, 224), mode="bicubic")[:, 0].clamp(0, 1)
        self.maps = (0.98 * smooth + 0.02 * torch.rand(batch, 224, 224)).to(device)

    def forwards(self, count: float) -> None:
        """So many passes of every picture, a few at a time: larger batches are slower on a CPU."""
        at_once = 4 if self.x.device.type == "cpu" else 64
        with torch.no_grad():
            for start in range(0, round(count * len(self.x)), at_once):
                size = min(at_once, round(count * len(self.x)) - start)
                self.model(self.x.repeat(-(-size // len(self.x)), 1, 1, 1)[:size])


def insertion_and_deletion(s: Setting) -> Group:
    steps = 28
    insertion, deletion = ll.metric("insertion"), ll.metric("deletion")

    def ours() -> Tensor:
        subject = MapBatch(ImageBatch(s.classifier, s.x, Targets(s.target)), s.maps)  # both curves share their ends
        both = [measure(m, subject, has_method=False).values for m in (insertion, deletion)]
        return torch.stack(both)

    def frame_by_frame() -> Tensor:
        found = torch.zeros(2, len(s.x))
        with torch.no_grad():
            for i, x in enumerate(s.x):
                order = np.flip(np.argsort(s.maps[i].cpu().numpy().reshape(-1)))
                blurred, zero = rise_blur(x[None]), torch.zeros_like(x[None])
                for row, (start, end) in enumerate(((blurred, x[None]), (x[None], zero))):
                    changed, goal = start.clone().cpu().numpy().reshape(1, 3, -1), end.cpu().numpy().reshape(1, 3, -1)
                    scores = np.empty(steps + 1)
                    for step in range(steps + 1):
                        frame = torch.from_numpy(changed.reshape(1, 3, 224, 224)).to(s.x.device)
                        scores[step] = s.model(frame).softmax(1)[0, s.target[i]]
                        where = order[step * 8 * 224 : (step + 1) * 8 * 224]
                        changed[0, :, where] = goal[0, :, where]
                    found[row, i] = float((scores.sum() - scores[0] / 2 - scores[-1] / 2) / steps)
        return found

    return {"floor": lambda: s.forwards(2 * (steps + 1)), "limelight": ours, "frame by frame": frame_by_frame}


def drop_and_increase(s: Setting) -> Group:
    drop, increase = ll.metric("average-drop"), ll.metric("average-increase")

    def ours() -> Tensor:
        subject = MapBatch(ImageBatch(s.classifier, s.x, Targets(s.target)), s.maps)
        both = [measure(m, subject, has_method=False).values for m in (drop, increase)]
        return torch.stack(both).mean(1)

    found: Group = {"floor": lambda: s.forwards(2), "limelight": ours}
    try:
        from torchcam.metrics import ClassificationMetric

        class Given:
            """The same maps for a package that makes its own."""

            def __init__(self) -> None:
                self.model = s.model

            def __call__(self, *_: Any, **__: Any) -> list[Tensor]:
                return [s.maps]

            @contextmanager
            def _hooks_off(self) -> Iterator[None]:
                yield

            def fuse_cams(self, maps: list[Tensor]) -> Tensor:
                return maps[0]

        def torchcam() -> Tensor:
            metric = ClassificationMetric(Given(), lambda logits: logits.softmax(-1))
            metric.update(s.x, s.target.tolist())
            summary = metric.summary()
            return torch.tensor([summary["avg_drop"], summary["conf_increase"]])

        found["torchcam"] = torchcam
    except ImportError:
        print("torchcam is not installed")
    return found


def adcc(s: Setting) -> Group:
    """Explanation and judgement together: two passes forward, two backward from the output to the layer."""

    def floor() -> None:
        for _ in range(2):
            kept: list[Tensor] = []

            def hook(_m: nn.Module, _i: Any, output: Tensor, kept: list[Tensor] = kept) -> Tensor:
                kept.append(output.detach().requires_grad_())
                return kept[0].clone()

            handle = s.layer.register_forward_hook(hook)
            logits = _with_tail_gradient(s.model, s.x)
            torch.autograd.grad(logits.gather(1, s.target[:, None]).sum(), kept)
            handle.remove()

    def _with_tail_gradient(model: nn.Module, x: Tensor) -> Tensor:
        flags = [(p, p.requires_grad) for p in model.parameters()]
        for p, _ in flags:
            p.requires_grad_(False)
        logits = model(x)
        for p, flag in flags:
            p.requires_grad_(flag)
        return logits

    def ours() -> Tensor:
        results = ll.evaluate(s.classifier, s.x, [s.method], ["adcc"], s.target.tolist())
        return torch.from_numpy(results.values("adcc")[0])

    return {"floor": floor, "limelight": ours}


def road(s: Setting) -> Group:
    ours = ll.metric("road")
    found: Group = {
        "floor": lambda: s.forwards(9),
        "limelight": lambda: ours(s.classifier, s.x[:1], s.target[:1], s.maps[:1]),
    }
    try:
        from pytorch_grad_cam.metrics.road import ROADCombined
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

        theirs = ROADCombined(percentiles=[20, 40, 60, 80])
        targets = [ClassifierOutputSoftmaxTarget(int(s.target[0]))]
        found["grad-cam"] = lambda: torch.from_numpy(
            np.asarray(theirs(s.x[:1], s.maps[:1].cpu().numpy(), targets, s.model))
        )
    except ImportError:
        print("grad-cam is not installed")
    return found


def pixel_flipping(s: Setting) -> Group:
    """Deletion to the mean colour alone, where another package has something alike."""
    deletion = ll.metric("deletion", fill="black")
    found: Group = {
        "floor": lambda: s.forwards(ceil(28)),
        "limelight": lambda: deletion(s.classifier, s.x, s.target, s.maps),
    }
    try:
        import quantus

        metric = quantus.PixelFlipping(
            features_in_step=8 * 224,
            perturb_baseline="black",
            normalise=False,
            abs=False,
            disable_warnings=True,
            display_progressbar=False,
        )
        x, y, a = s.x.cpu().numpy(), s.target.cpu().numpy(), s.maps.cpu().numpy()[:, None]
        found["quantus"] = lambda: metric(s.model, x, y, a, softmax=True, device=str(s.x.device))
    except ImportError:
        print("quantus is not installed")
    return found


GROUPS: dict[str, Callable[[Setting], Group]] = {
    "insertion + deletion": insertion_and_deletion,
    "drop + increase": drop_and_increase,
    "grad-cam + adcc": adcc,
    "deletion": pixel_flipping,
    "road, 1 image": road,
}
SAME_NUMBERS = {"frame by frame", "torchcam", "grad-cam"}


def timed(work: Contender, device: str) -> float:
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measured(group: Group, rounds: int, device: str) -> list[list[str]]:
    names = list(group)
    ours = group["limelight"]()
    for name in names:  # warm up, and leave the first search for layers out
        group[name]()
    times: dict[str, list[float]] = {n: [] for n in names}
    for i in range(rounds):
        for n in names[i % len(names) :] + names[: i % len(names)]:
            times[n].append(timed(group[n], device))
    rows: list[list[str]] = []
    for n in names:
        in_floors = statistics.median(a / f for a, f in zip(times[n], times["floor"], strict=True))
        against = statistics.median(a / b for a, b in zip(times[n], times["limelight"], strict=True))
        difference = f"{float((group[n]().cpu() - ours.cpu()).abs().max()):.1e}" if n in SAME_NUMBERS else ""
        rows.append([n, f"{statistics.median(times[n]):.3f}", f"{in_floors:.2f}", f"{against:.2f}", difference])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the metrics.")
    parser.add_argument("--models", nargs="+", default=["squeezenet1_0", "resnet18"], choices=list(LAYERS))
    parser.add_argument("--groups", nargs="+", default=list(GROUPS), choices=list(GROUPS))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    table = Table("model", "metric", "contender", "s", "in floors", "/ limelight", "largest difference", box=None)
    for name in given.models:
        setting = Setting(name, given.batch, given.device)
        for group in given.groups:
            slow = group.startswith("road")
            for row in measured(GROUPS[group](setting), 1 if slow else given.rounds, given.device):
                table.add_row(name, group, *row)
    console = Console(width=120)
    console.print(
        f"torch {torch.__version__}, {given.device}, {given.threads} threads, {given.batch} images of 224 x 224, "
        f"medians of {given.rounds} rounds (road: 1)"
    )
    console.print(table)


if __name__ == "__main__":
    main()
