"""How fast the methods without gradients are: against other packages, and against the model's own forward passes.

    pip install -e ".[peers]"
    python benchmarks/gradient_free.py [--groups score ablation collection …] [--models resnet18] [--rounds 5]

Every contender of a group runs once per round, in an order that changes from round to round, on one thread,
with random weights. Reported are medians: in units of the floor, the plain forward passes that the masks of
the group need (four at a time on a CPU, 64 on a GPU), and as ratios to ours taken round by round. "passes" are
those that were measured, in forwards of the whole network.

- score: Score-CAM of an early layer with few channels: a mask's cost does not depend on the layer.
- ablation: Ablation-CAM of the last layer; the package grad-cam, which runs its variants one by one, does a
  stated part of the channels, and its time is extrapolated.
- collection: Collection-CAM of four stages, against a stated part of our own Score-CAM of the last, extrapolated.
- occlusion: windows of 32 pixels, side by side.
- rise: some hundred masks, and the building of the masks alone against resizing each grid by scikit-image.
- ward: the hierarchy and the choice among its partitions, against scipy's linkage alone.
- memory: what Score-CAM of all channels adds to the process, in its own process.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torchvision
from rich.console import Console
from rich.table import Table
from scipy.cluster import hierarchy
from skimage.transform import resize as skimage_resize
from torch import Tensor

import limelight as ll

Contender = Callable[[], Any]
Group = dict[str, Contender]
EARLY = {"resnet18": "layer1", "resnet50": "layer1", "squeezenet1_0": "features.3"}
LAST = {"resnet18": "layer4", "resnet50": "layer4", "squeezenet1_0": "features"}
STAGES = {
    "resnet18": ("layer1", "layer2", "layer3", "layer4"),
    "resnet50": ("layer1", "layer2", "layer3", "layer4"),
    "squeezenet1_0": None,
}
PART = 32
"""Channels of which grad-cam's Ablation-CAM, and our Score-CAM of the last layer, are timed."""


class Setting:
    """A model and pictures."""

    def __init__(self, name: str, batch: int, device: str) -> None:
        torch.manual_seed(0)
        self.name = name
        self.model = torchvision.models.get_model(name, weights=None).eval().to(device)
        self.x = torch.randn(batch, 3, 224, 224, device=device)
        with torch.no_grad():
            self.target = self.model(self.x).argmax(1)
        self.scale = 1.0  # of a contender that does a part of the work only

    def forwards(self, count: float) -> None:
        """So many passes of every picture."""
        at_once = 4 if self.x.device.type == "cpu" else 64
        left = round(count * len(self.x))
        with torch.no_grad():
            while left > 0:
                size = min(at_once, left)
                self.model(self.x[:1].expand(size, -1, -1, -1))
                left -= size

    def classifier(self, layer: str, **options: Any) -> ll.Classifier:
        """Wrap the model."""
        return ll.Classifier(self.model, layer=layer, **options)


def score(s: Setting) -> tuple[Group, dict[str, float]]:
    layer = EARLY[s.name]
    plain, fast = s.classifier(layer), s.classifier(layer, fuse=True)
    method = ll.method("score-cam", profile="torchcam")
    passes = method.run(plain, s.x, s.target).cost.forwards
    group: Group = {
        "F": lambda: s.forwards(passes),
        "limelight": lambda: method(plain, s.x, s.target),
        "limelight, fused": lambda: method(fast, s.x, s.target),
    }
    try:
        from torchcam.methods import ScoreCAM

        extractor = ScoreCAM(s.model, s.model.get_submodule(layer), batch_size=4)
        extractor.disable_hooks()

        def torchcam() -> Tensor:
            with torch.no_grad():
                maps: list[Tensor] = []
                for i in range(len(s.x)):
                    extractor.enable_hooks()
                    scores = s.model(s.x[i : i + 1])
                    maps += extractor(int(s.target[i]), scores)
                    extractor.disable_hooks()
                return torch.cat(maps)

        group["torchcam"] = torchcam
    except ImportError:
        print("torchcam is not installed")
    try:
        from pytorch_grad_cam import ScoreCAM as GradScoreCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        theirs = GradScoreCAM(s.model, [s.model.get_submodule(layer)])
        theirs.batch_size = 4
        targets = [ClassifierOutputTarget(int(t)) for t in s.target]
        group["grad-cam"] = lambda: theirs(input_tensor=s.x, targets=targets)
    except ImportError:
        print("grad-cam is not installed")
    return group, {"limelight": passes}


def ablation(s: Setting) -> tuple[Group, dict[str, float]]:
    layer = LAST[s.name]
    classifier = s.classifier(layer)
    closed, tails = ll.method("ablation-cam"), ll.method("ablation-cam", closed_form=False)
    passes = {
        "limelight": closed.run(classifier, s.x, s.target).cost.forwards,
        "limelight, no closed form": tails.run(classifier, s.x, s.target).cost.forwards,
    }
    group: Group = {
        "F": lambda: s.forwards(1),
        "limelight": lambda: closed(classifier, s.x, s.target),
        "limelight, no closed form": lambda: tails(classifier, s.x, s.target),
    }
    try:
        from pytorch_grad_cam import AblationCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        channels = classifier.layers(None, s.x)[0].channels
        module = s.model.get_submodule(layer)
        # The part is taken from both ends of an order; what was done is counted.
        theirs = AblationCAM(s.model, [module], batch_size=4, ratio_channels_to_ablate=PART / 2 / channels)
        targets = [ClassifierOutputTarget(int(t)) for t in s.target]
        seen: list[int] = []
        handle = s.model.register_forward_pre_hook(lambda _module, args: seen.append(len(args[0])))
        theirs(input_tensor=s.x, targets=targets)
        handle.remove()
        done = sum(seen) // len(s.x) - 2  # but for the passes with all channels
        s.scale = channels / done
        group[f"grad-cam, {done} channels x {s.scale:g}"] = lambda: theirs(input_tensor=s.x, targets=targets)
    except ImportError:
        print("grad-cam is not installed")
    return group, passes


def collection(s: Setting) -> tuple[Group, dict[str, float]]:
    classifier = s.classifier(LAST[s.name])
    method, part = ll.method("collection-cam", layer=STAGES[s.name]), ll.method("score-cam", top=PART)
    passes = method.run(classifier, s.x, s.target).cost.forwards
    channels = classifier.layers(None, s.x)[0].channels
    s.scale = channels / PART
    return {
        "F": lambda: s.forwards(passes),
        "limelight": lambda: method(classifier, s.x, s.target),
        f"Score-CAM, {PART} channels x {s.scale:g}": lambda: part(classifier, s.x, s.target),
    }, {"limelight": passes}


def occlusion(s: Setting) -> tuple[Group, dict[str, float]]:
    classifier = s.classifier(LAST[s.name])
    method = ll.method("occlusion", window=32, stride=32)
    passes = method.run(classifier, s.x, s.target).cost.forwards
    group: Group = {"F": lambda: s.forwards(passes), "limelight": lambda: method(classifier, s.x, s.target)}
    try:
        from captum.attr import Occlusion

        theirs = Occlusion(s.model)
        group["captum"] = lambda: theirs.attribute(
            s.x, (3, 32, 32), strides=(3, 32, 32), target=s.target, perturbations_per_eval=4
        )
    except ImportError:
        print("captum is not installed")
    return group, {"limelight": passes}


def rise(s: Setting) -> tuple[Group, dict[str, float]]:
    classifier = s.classifier(LAST[s.name])
    method = ll.method("rise", n_masks=200)
    passes = method.run(classifier, s.x, s.target).cost.forwards
    group: Group = {"F": lambda: s.forwards(passes), "limelight": lambda: method(classifier, s.x, s.target)}
    return group, {"limelight": passes}


def masks(s: Setting) -> tuple[Group, dict[str, float]]:
    """The masks alone, 500 of 7 x 7 cells; ours in chunks, as the method uses them."""
    from limelight.ops.random_masks import masks as ours

    n, cells, size = 500, 7, 224
    cell = -(-size // cells)
    rng = np.random.default_rng(0)
    grids = (rng.random((n, cells, cells)) < 0.5).astype(np.float32)
    shifts = rng.integers(0, cell, (n, 2))

    def published() -> np.ndarray:
        up = (cells + 1) * cell
        made = np.empty((n, size, size), np.float32)
        for i, (y, x) in enumerate(shifts):
            whole = skimage_resize(grids[i], (up, up), order=1, mode="reflect", anti_aliasing=False)
            made[i] = whole[y : y + size, x : x + size]
        return made

    def chunks() -> None:
        for start in range(0, n, 64):
            part = slice(start, start + 64)
            ours(torch.from_numpy(grids[part]), torch.from_numpy(shifts[part]), (size, size))

    return {
        "F": lambda: s.forwards(1),
        "limelight": chunks,
        "scikit-image, one by one": published,
    }, {}


def ward(s: Setting) -> tuple[Group, dict[str, float]]:
    """2048 vectors of four statistics."""
    from limelight.ops.hierarchy import dsra
    from limelight.ops.hierarchy import ward as ours

    vectors = np.random.default_rng(0).normal(size=(2048, 4))

    def whole() -> list[float]:
        tree = ours(vectors)
        return [dsra(vectors, tree.cut(k)) for k in range(2, 11)]

    return {
        "F": lambda: s.forwards(1),
        "limelight": whole,
        "scipy's linkage alone": lambda: hierarchy.linkage(vectors, "ward"),
    }, {}


GROUPS = {
    "score": score,
    "ablation": ablation,
    "collection": collection,
    "occlusion": occlusion,
    "rise": rise,
    "masks": masks,
    "ward": ward,
}

MEMORY = """
import resource, torch, torchvision, limelight as ll
torch.set_num_threads(1)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
net = torchvision.models.get_model({model!r}, weights=None).eval()
x = torch.randn({batch}, 3, 224, 224)
with torch.no_grad():
    net(x[:1])
before = peak()
ll.method("score-cam", top={top})(ll.Classifier(net), x)
print(before, peak())
"""


def memory(model: str, batch: int, top: int) -> None:
    """Peak memory of Score-CAM, in a process of its own; ``top`` masks per image show what any number needs."""
    code = MEMORY.format(model=model, batch=batch, top=top)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    before, after = map(float, done.stdout.split())
    print(
        f"Score-CAM, {model}, batch {batch}, {top} masks each: {after - before:.2f} GiB above the model's {before:.2f}"
    )


def timed(work: Contender, device: str) -> float:
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the methods without gradients.")
    parser.add_argument("--models", nargs="+", default=["resnet18"], choices=list(EARLY))
    parser.add_argument("--groups", nargs="+", default=[*GROUPS, "memory"], choices=[*GROUPS, "memory"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = Table("model", "group", "contender", "s", "in floors", "/ limelight", "passes")
    for model in options.models:
        for name in (g for g in options.groups if g != "memory"):
            s = Setting(model, options.batch, options.device)
            group, passes = GROUPS[name](s)
            names = list(group)
            for work in group.values():
                work()
            times: dict[str, list[float]] = {n: [] for n in names}
            for i in range(options.rounds):
                for n in names[i % len(names) :] + names[: i % len(names)]:
                    times[n].append(timed(group[n], options.device) * (s.scale if " channels x " in n else 1))
            for n in names:
                floors = statistics.median(a / f for a, f in zip(times[n], times["F"], strict=True))
                ratio = statistics.median(a / b for a, b in zip(times[n], times["limelight"], strict=True))
                seconds, spent = statistics.median(times[n]), f"{passes[n]:.4g}" if n in passes else ""
                table.add_row(model, name, n, f"{seconds:.3f}", f"{floors:.2f}", f"{ratio:.2f}", spent)
    Console(width=120).print(f"torch {torch.__version__}, {options.device}, 1 thread, batch {options.batch}", table)
    if "memory" in options.groups:
        memory("resnet50", 8, 16)
    print(f"peak of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
