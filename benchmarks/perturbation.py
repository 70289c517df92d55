"""How fast the perturbation methods are: against the model's own passes, forward and backward.

    python benchmarks/perturbation.py [--models resnet18 squeezenet1_0] [--batch 1 8] [--rounds 3]

A few steps are timed, as all steps are alike. The floor of a method is plain PyTorch: the very passes that were seen
while it ran, in its batch sizes, with a gradient to the picture where it took one. A method and its floor run once per
round, in an order that changes from round to round, on one thread, with random weights; on a CPU it is the processor's
time that counts, which other programs of the machine disturb least. Reported are medians per image of all timed steps,
with what stands before the first: the clean pass and the blurs. TorchRay's extremal perturbation is timed too where it
is installed.
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
from torch import Tensor, nn

import limelight as ll

Contender = Callable[[], Any]
Passes = list[tuple[int, bool]]
"""Of each: how many pictures, and whether a gradient came back."""
EMP = {"profile": "pytorch", "baseline": "gauss-51-50"}


def contenders(steps: int, points: int) -> dict[str, tuple[str, dict[str, Any], int, int]]:
    """Return the methods: name, options, steps that are timed, and that they have in all."""
    integral = {"points": points}
    found: dict[str, tuple[str, dict[str, Any], int, int]] = {
        "emp": ("emp", {**EMP, "n": steps}, steps, 500),
        "aop(grad-cam, emp)": ("aop", {"optimiser": "emp", "optimiser_options": {"n": steps}}, steps, 500),
        f"i-gos, {points} points": ("i-gos", {**integral, "n": 1}, 1, 15),
        f"sigcam, {points} points": ("sigcam", {"optimiser_options": integral, "n": 1, "warmup": 0}, 1, 15),
        "extremal-perturbation": ("extremal-perturbation", {"n": steps}, steps, 800),
    }
    return {name: made for name, made in found.items() if made[0] in ll.methods()}


class Setting:
    """A model and pictures."""

    def __init__(self, name: str, batch: int, device: str) -> None:
        torch.manual_seed(0)
        self.model: nn.Module = torchvision.models.get_model(name, weights=None).eval().to(device)
        self.x = torch.rand(batch, 3, 224, 224, device=device) * 4 - 2
        with torch.no_grad():
            self.target = self.model(self.x).argmax(1)
        self.classifier = ll.Classifier(self.model)

    def passes(self, work: Contender) -> Passes:
        """Return what the model was asked for."""
        seen: Passes = []
        handle = self.model.register_forward_pre_hook(
            lambda _module, args: seen.append((len(args[0]), args[0].requires_grad))
        )
        work()
        handle.remove()
        return seen

    def floor(self, passes: Passes) -> None:
        """Do the same in plain PyTorch."""
        for size, back in passes:
            x = self.x[torch.arange(size, device=self.x.device) % len(self.x)]
            with torch.set_grad_enabled(back):
                score = self.model(x.requires_grad_(back))[:, 0].sum()
            if back:
                torch.autograd.grad(score, x)


def torchray(s: Setting, steps: int) -> Contender | None:
    try:
        from torchray.attribution.extremal_perturbation import extremal_perturbation  # type: ignore
    except ImportError:
        print("torchray is not installed")
        return None
    ask: Any = extremal_perturbation

    def theirs() -> list[Tensor]:
        return [ask(s.model, x[None], int(t), areas=[0.1], max_iter=steps) for x, t in zip(s.x, s.target, strict=True)]

    return theirs


def timed(work: Contender, device: str) -> float:
    if device == "cpu":
        start = time.process_time()
        work()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def rows(s: Setting, given: argparse.Namespace) -> list[list[str]]:
    """Time the methods on a setting."""
    group: dict[str, Contender] = {}
    told: dict[str, list[str]] = {}
    for name, (method, options, steps, whole) in contenders(given.steps, given.points).items():
        if given.only and not any(part in name for part in given.only):
            continue
        built = ll.method(method, **options)
        cost = built.run(s.classifier, s.x, s.target).cost
        told[name] = [name, f"{steps} of {whole}", f"{cost.forwards:.4g}", f"{cost.backwards:.4g}"]
        group[name] = lambda built=built: built.run(s.classifier, s.x, s.target)
        passes = s.passes(group[name])
        group[f"floor of {name}"] = lambda passes=passes: s.floor(passes)
    peer = torchray(s, given.steps) if "extremal-perturbation" in told else None
    if peer is not None:
        group["torchray"] = peer
        told["torchray"] = ["torchray's extremal perturbation", f"{given.steps} of 800", "", ""]
    names = list(group)
    times: dict[str, list[float]] = {n: [] for n in names}
    for i in range(given.rounds):
        for n in names[i % len(names) :] + names[: i % len(names)]:
            times[n].append(timed(group[n], given.device))
    for n, cells in told.items():
        floors = times[f"floor of {'extremal-perturbation' if n == 'torchray' else n}"]
        ratio = statistics.median(a / b for a, b in zip(times[n], floors, strict=True))
        cells += [f"{statistics.median(times[n]) / len(s.x):.3f}", f"{ratio:.2f}"]
    return list(told.values())


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the perturbation methods.")
    parser.add_argument("--models", nargs="+", default=["resnet18", "squeezenet1_0"])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--points", type=int, default=4, help="of I-GOS's integral, which has 20")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="contenders whose name has one of these in it")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for model in given.models:
        for batch in given.batch:
            table = Table("model", "batch", "contender", "steps", "F", "R", "s per image", "in floors")
            for cells in rows(Setting(model, batch, given.device), given):
                table.add_row(model, str(batch), *cells)
            Console(width=130).print(f"torch {torch.__version__}, {given.device}, 1 thread", table)


if __name__ == "__main__":
    main()
