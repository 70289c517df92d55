"""What recording attention costs, and the methods that read it, in units of the network's own passes.

    python benchmarks/attention.py [--models vit_tiny_patch16_224] [--batch 4] [--rounds 7]
    python benchmarks/attention.py --memory

Every contender runs once per round, in an order that changes from round to round, on one thread, with random weights.
``F`` is a forward pass without a graph, ``F + R`` one with the gradient at the image. With ``pip install lxt``, its
gradient form of AttnLRP runs beside ours, on torchvision's ViT. ``--memory`` explains one image of 1,024 tokens by 12
layers of 12 heads, each in a process of its own, and reports the largest memory above that of the plain passes.
"""

import argparse
import importlib.util
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import timm
import torch
import torchvision
from rich.console import Console
from rich.table import Table
from torch import Tensor

import limelight as ll
from limelight.model.attention import watch_attention

METHODS = {
    "raw-attention": {},
    "attention-rollout": {},
    "generic-attention": {},
    "legrad": {},
    "grad-eclip": {},
    "attn-lrp": {},
    "attn-lrp, epsilon": {"gamma_conv": 0, "gamma_linear": 0},
    "grad-cam": {},
}


def gradient_of(model: torch.nn.Module, x: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(leaf).amax(1).sum(), leaf)
    return gradient


def lxt_vit() -> torch.nn.Module | None:
    """Return torchvision's ViT-B/16 as lxt changes it, or None without lxt; the module of our own stays as it is."""
    if importlib.util.find_spec("lxt") is None:
        return None
    try:
        from lxt.efficient import monkey_patch
    except ImportError as error:
        print(f"lxt is left out: {error}")
        return None
    origin = torchvision.models.vision_transformer.__file__
    spec = importlib.util.spec_from_file_location("torchvision.models.vision_transformer_of_lxt", origin)
    assert spec is not None
    assert spec.loader is not None
    twin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(twin)
    monkey_patch(twin)
    return twin.VisionTransformer(224, 16, 12, 12, 768, 3072).eval()


def contenders(name: str, batch: int) -> dict[str, Callable[[], Any]]:
    """Return what to time, by name."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(name) if name == "vit_b_16" else timm.create_model(name)
    head = getattr(model, "heads", None) or model.head
    for p in head.parameters():
        torch.nn.init.normal_(p, std=0.1)
    model = model.eval().requires_grad_(False)
    side = 224 if name == "vit_b_16" else model.default_cfg["input_size"][-1]
    x = torch.randn(batch, 3, side, side)
    classifier = ll.Classifier(model, size=side)

    def forward() -> Tensor:
        with torch.no_grad():
            return model(x)

    def recorded() -> list[Tensor]:
        with torch.no_grad(), watch_attention(model, batch) as watch:
            model(x)
        return [a.weights for a in watch.seen.values()]

    timed: dict[str, Callable[[], Any]] = {
        "F": forward,
        "F + R": lambda: gradient_of(model, x),
        "F, attention recorded": recorded,
    }
    for label, options in METHODS.items():
        built = ll.method(label.partition(",")[0], **options)
        timed[label] = lambda built=built: built.raw(classifier, x, 1)
    peer = lxt_vit() if name == "vit_b_16" else None
    if peer is not None:
        timed["lxt: gradient x input"] = lambda: gradient_of(peer, x) * x
    return timed


def measure_memory() -> None:
    """Report the largest memory of each way, in a process of its own."""
    start = "import sys; sys.path.insert(0, 'benchmarks'); import attention; attention.one_pass({!r})"
    for way in (
        "F",
        "F + R",
        "grad-cam",
        "raw-attention",
        "attention-rollout",
        "generic-attention",
        "legrad",
        "attn-lrp",
    ):
        done = subprocess.run([sys.executable, "-c", start.format(way)], capture_output=True, text=True, check=True)
        print(f"{way:20} {done.stdout.strip()}")


def one_pass(way: str) -> None:
    """Explain one image of 1,024 tokens by 12 layers of 12 heads; print the largest memory beyond the start's."""
    torch.manual_seed(0)
    model = timm.models.VisionTransformer(img_size=512, patch_size=16, embed_dim=768, depth=12, num_heads=12)
    model = model.eval().requires_grad_(False)
    x = torch.randn(1, 3, 512, 512)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if way == "F":
        with torch.no_grad():
            model(x)
    elif way == "F + R":
        gradient_of(model, x)
    else:
        ll.method(way).raw(ll.Classifier(model, size=512), x, 1)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{(after - before) / 2**20:.2f} GiB")


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the recording of attention, and the methods that read it.")
    parser.add_argument("--models", nargs="+", default=["vit_tiny_patch16_224", "vit_b_16"])
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--memory", action="store_true", help="measure memory in place of time")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.memory:
        measure_memory()
        return
    for model in given.models:
        timed = contenders(model, given.batch)
        times: dict[str, list[float]] = {n: [] for n in timed}
        for call in timed.values():
            call()
        names = list(timed)
        for i in range(given.rounds):
            for n in names[i % len(names) :] + names[: i % len(names)]:
                start = time.perf_counter()
                timed[n]()
                times[n].append(time.perf_counter() - start)
        table = Table("contender", "s per image", "in F", "in F + R")
        for n in names:
            ratios = [statistics.median(a / b for a, b in zip(times[n], times[u], strict=True)) for u in ("F", "F + R")]
            table.add_row(n, f"{statistics.median(times[n]) / given.batch:.3f}", *(f"{r:.2f}" for r in ratios))
        Console(width=100).print(f"{model}, batch {given.batch}, torch {torch.__version__}, 1 thread", table)


if __name__ == "__main__":
    main()
