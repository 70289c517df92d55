"""How fast the gradient CAMs are: against three other packages, and against the model's own forward pass.

    pip install -e ".[peers]"
    python benchmarks/gradient_cams.py [--models resnet18 resnet50 vgg16] [--batches 1 8] [--rounds 15]

Every contender runs once per round, in an order that changes from round to round, on one thread, with random
weights. Reported are medians: in units of F, one plain forward pass per image of the same batch, and as
ratios taken round by round, which a drifting machine does not disturb; beside each the largest difference of
the finished maps from ours.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torchvision
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

import limelight as ll
from limelight.engine.run import run
from limelight.ops import min_max

LAYERS = {"resnet18": "layer4", "resnet50": "layer4", "vgg16": "features"}
FOUR = ("grad-cam", "grad-cam++", "xgrad-cam", "layer-cam")
Contender = Callable[[], Any]


def contenders(name: str, batch: int, device: str) -> tuple[dict[str, Contender], Tensor]:
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval().to(device)
    x = torch.randn(batch, 3, 224, 224, device=device)
    target = torch.randint(0, 1000, (batch,), device=device)
    layer = model.get_submodule(LAYERS[name])
    classifier = ll.Classifier(model, layer=LAYERS[name])
    one = ll.method("grad-cam")
    four = [ll.method(n) for n in FOUR]

    def floor() -> Tensor:
        with torch.no_grad():
            return model(x)

    found: dict[str, Contender] = {
        "F": floor,
        "limelight": lambda: one(classifier, x, target),
        "limelight, four at once": lambda: [s.map for s in run(four, classifier, x, target)],
    }
    try:
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        theirs = GradCAM(model, [layer])
        targets = [ClassifierOutputTarget(int(t)) for t in target]
        found["grad-cam"] = lambda: torch.from_numpy(theirs(input_tensor=x, targets=targets))
    except ImportError:
        print("grad-cam is not installed")
    try:
        from torchcam.methods import GradCAM as TorchCAM

        extractor = TorchCAM(model, layer)
        extractor.disable_hooks()

        def torchcam() -> Tensor:
            extractor.enable_hooks()
            scores = model(x)
            (maps,) = extractor(target.tolist(), scores)
            extractor.disable_hooks()
            return F.interpolate(maps[:, None], x.shape[-2:], mode="bilinear")[:, 0]

        found["torchcam"] = torchcam
    except ImportError:
        print("torchcam is not installed")
    try:
        from captum.attr import LayerAttribution, LayerGradCam

        captum_cam = LayerGradCam(model, layer)

        def captum() -> Tensor:
            raw = captum_cam.attribute(x, target=target, relu_attributions=True)
            return LayerAttribution.interpolate(raw, x.shape[-2:], "bilinear")[:, 0]

        found["captum"] = captum
    except ImportError:
        print("captum is not installed")
    return found, target


def timed(work: Contender, device: str) -> float:
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(name: str, batch: int, rounds: int, device: str) -> list[list[str]]:
    found, _ = contenders(name, batch, device)
    names = list(found)
    ours = min_max(found["limelight"]().detach().cpu())[0]
    for work in found.values():  # warm up, and leave the first search for layers out
        work()
    times: dict[str, list[float]] = {n: [] for n in names}
    for i in range(rounds):
        for n in names[i % len(names) :] + names[: i % len(names)]:
            times[n].append(timed(found[n], device))
    rows: list[list[str]] = []
    for n in names:
        in_f = statistics.median(a / f for a, f in zip(times[n], times["F"], strict=True))
        against = statistics.median(a / b for a, b in zip(times[n], times["limelight"], strict=True))
        difference = ""
        if n not in ("F", "limelight", "limelight, four at once"):
            # Each package's last scaling differs; the pictures are compared after one and the same.
            theirs = min_max(found[n]().detach().cpu().float().relu())[0]
            difference = f"{float((theirs - ours).abs().max()):.1e}"
        milliseconds = 1000 * statistics.median(times[n]) / batch
        rows.append([name, str(batch), n, f"{milliseconds:.1f}", f"{in_f:.2f}", f"{against:.2f}", difference])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the gradient CAMs.")
    parser.add_argument("--models", nargs="+", default=list(LAYERS), choices=list(LAYERS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(1)
    table = Table("model", "batch", "contender", "ms/image", "in F", "/ limelight", "largest difference", box=None)
    for name in given.models:
        for batch in given.batches:
            for row in measure(name, batch, given.rounds, given.device):
                table.add_row(*row)
    console = Console(width=110)
    console.print(f"torch {torch.__version__}, {given.device}, 1 thread, medians of {given.rounds} rounds")
    console.print(table)


if __name__ == "__main__":
    main()
