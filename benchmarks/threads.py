"""Threads that share a network: the same maps as one thread, and how much sooner they are there.

    python benchmarks/threads.py [--explanations 1000] [--threads 4] [--model demo/resnet] [--methods grad-cam lrp …]

Explanations by several methods, in turn, of pictures of their own, by one classifier: first in one thread, then in
several at once. Every map is compared with that of the one thread; a difference ends the program with exit code 1.
Throughput is given as the ratio of both times; above 1 the threads are faster.
"""

import argparse
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

import limelight as ll

METHODS = ("grad-cam", "layer-cam", "integrated-gradients", "lrp", "occlusion")
FEWER: dict[str, dict[str, Any]] = {"integrated-gradients": {"n": 4}, "occlusion": {"window": 64, "stride": 64}}


def compare(classifier: ll.Classifier, methods: list[ll.Method], explanations: int, threads: int) -> tuple[float, int]:
    """Return how many times faster so many threads are than one, and how many of the maps differ."""
    generator = torch.Generator().manual_seed(0)
    side = classifier.size
    pictures = torch.randn(16, 1, 3, side, side, generator=generator).to(classifier.device, classifier.dtype)

    def explain(i: int) -> torch.Tensor:
        return methods[i % len(methods)].run(classifier, pictures[i % len(pictures)], i % 3).raw

    for i in range(len(methods)):
        explain(i)  # what is found out once
    start = time.perf_counter()
    alone = [explain(i) for i in range(explanations)]
    between = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        together = list(pool.map(explain, range(explanations)))
    end = time.perf_counter()
    differ = sum(
        not torch.allclose(a, b, rtol=1e-4, atol=1e-5 * float(a.abs().max()))
        for a, b in zip(alone, together, strict=True)
    )
    return (between - start) / (end - between), differ


def main() -> None:
    """Compare, print, and say by the exit code whether all maps are the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--explanations", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--model", default="demo/resnet")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ll.errors.ConservationWarning)
    classifier = ll.load(given.model)
    methods = [ll.method(name, **FEWER.get(name, {})) for name in given.methods]
    ratio, differ = compare(classifier, methods, given.explanations, given.threads)
    print(f"{given.explanations} explanations of {given.model} by {', '.join(given.methods)}")
    print(f"maps of {given.threads} threads that differ from one thread's: {differ}")
    print(f"throughput of {given.threads} threads, in that of one: {ratio:.2f}")
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    main()
