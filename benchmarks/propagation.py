"""How fast relevance propagation and the pixel gradients are: against zennit and captum, and the plain gradient.

    pip install -e ".[peers]"
    python benchmarks/propagation.py [--models vgg16 resnet50] [--batch 1 8] [--rounds 5]

Every contender runs once per round, in an order that changes from round to round, on one thread, with random
weights. Reported are medians: in units of a plain gradient of the same batch (forward and backward to the image by
autograd), and as ratios to ours taken round by round. Peers get the canonizers that they need for the network.
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

import limelight as ll

STEPS = 10
OURS = ("lrp-epsilon-plus", "lrp-alpha2-beta1", "attribution-equilibrium", "guided-backprop", "integrated-gradients")
LAYERS = {"vgg16": "features.29", "resnet50": "layer4", "resnet18": "layer4"}


def contenders(name: str, batch: int, device: str) -> tuple[dict[str, Callable[[], Any]], dict[str, str]]:
    """Return what to time, and with which of ours each peer is compared."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval().to(device)
    x = torch.randn(batch, 3, 224, 224, device=device)
    target = model(x).argmax(1).detach()
    classifier = ll.Classifier(model)

    def gradient() -> Tensor:
        leaf = x.clone().requires_grad_()
        (found,) = torch.autograd.grad(model(leaf).gather(1, target[:, None]).sum(), leaf)
        return found

    options: dict[str, dict[str, Any]] = {
        "integrated-gradients": {"n": STEPS, "baseline": "zero"},
        "attribution-equilibrium": {"layer": LAYERS[name]},
    }
    timed: dict[str, Callable[[], Any]] = {"plain gradient": gradient}
    against: dict[str, str] = {}
    for method in OURS:
        built = ll.method(method, **options.get(method, {}))
        timed[method] = lambda built=built: built.raw(classifier, x, target)
    try:
        from zennit.attribution import Gradient
        from zennit.composites import EpsilonAlpha2Beta1, EpsilonPlus, GuidedBackprop
        from zennit.torchvision import ResNetCanonizer, VGGCanonizer

        canonizers = [ResNetCanonizer() if "resnet" in name else VGGCanonizer()]
        seed = torch.nn.functional.one_hot(target, 1000).float()
        for composite, ours in (
            (EpsilonPlus(canonizers=canonizers), "lrp-epsilon-plus"),
            (EpsilonAlpha2Beta1(canonizers=canonizers), "lrp-alpha2-beta1"),
            (GuidedBackprop(canonizers=canonizers), "guided-backprop"),
        ):

            def zennit(composite: Any = composite) -> Tensor:
                with Gradient(model=model, composite=composite) as attributor:
                    return attributor(x.clone(), seed)[1]

            timed[f"zennit, {ours}"] = zennit
            against[f"zennit, {ours}"] = ours
    except ImportError:
        print("zennit is not installed")
    try:
        from captum.attr import IntegratedGradients

        captum = IntegratedGradients(model)
        timed["captum, integrated-gradients"] = lambda: captum.attribute(
            x, target=target, n_steps=STEPS, internal_batch_size=4 if device == "cpu" else 64
        )
        against["captum, integrated-gradients"] = "integrated-gradients"
    except ImportError:
        print("captum is not installed")
    return timed, against


def main() -> None:
    parser = argparse.ArgumentParser(description="Time relevance propagation and pixel gradients.")
    parser.add_argument("--models", nargs="+", default=["vgg16", "resnet50"], choices=list(LAYERS))
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", help="contenders whose name has one of these in it")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for model in given.models:
        for batch in given.batch:
            table = Table("model", "batch", "contender", "s per image", "in gradients", "/ ours")
            timed, against = contenders(model, batch, given.device)
            names = [n for n in timed if not given.only or n == "plain gradient" or any(o in n for o in given.only)]
            times: dict[str, list[float]] = {n: [] for n in names}
            for n in names:
                timed[n]()
            for i in range(given.rounds):
                for n in names[i % len(names) :] + names[: i % len(names)]:
                    start = time.perf_counter()
                    timed[n]()
                    if given.device != "cpu":
                        torch.cuda.synchronize()
                    times[n].append(time.perf_counter() - start)
            for n in names:
                gradients = statistics.median(a / b for a, b in zip(times[n], times["plain gradient"], strict=True))
                ratio = ""
                if n in against:
                    pairs = zip(times[n], times[against[n]], strict=True)
                    ratio = f"{statistics.median(a / b for a, b in pairs):.2f}"
                seconds = statistics.median(times[n]) / batch
                table.add_row(model, str(batch), n, f"{seconds:.3f}", f"{gradients:.2f}", ratio)
            Console(width=120).print(f"torch {torch.__version__}, {given.device}, 1 thread", table)


if __name__ == "__main__":
    main()
