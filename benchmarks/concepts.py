"""How long concepts take, in units of a pass there and back of the same network.

    python benchmarks/concepts.py [--models demo/resnet pypi/efficientnet-lite0] [--channels 5] [--rounds 5]

For each network: a look (recorded pass, relevance to the layer and on to the picture), and the maps of some channels,
one after the other along one recording, and side by side along recorded copies of the picture.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import limelight as ll
from limelight.concept.basis import Channels
from limelight.concept.concepts import settings_for
from limelight.concept.look import Batch, look
from limelight.model.cost import Meter
from limelight.model.targets import Targets


def contenders(name: str, channels: int, device: str) -> dict[str, Callable[[], Any]]:
    """Return what to time."""
    classifier = ll.load(name, device=device)
    x = torch.randn(1, 3, *classifier.input_size, device=device)
    settings = settings_for(classifier, None, None, Meter(), x, strict=False)
    batch = Batch(settings, x, Targets.parse(0, classifier, x))
    seen = look(batch)
    masks = Channels("", tuple(range(channels)), settings.prefix).masks(seen.acts)

    def there_and_back() -> None:
        with torch.enable_grad():
            leaf = x.clone().requires_grad_()
            torch.autograd.grad(classifier.module(leaf)[:, 0].sum(), leaf)

    return {
        "there and back": there_and_back,
        "a look": lambda: look(batch),
        f"{channels} channels, one by one": lambda: seen.condition(masks, copies=1),
        f"{channels} channels, side by side": lambda: seen.condition(masks, copies=channels),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Time concepts.")
    parser.add_argument("--models", nargs="+", default=["demo/resnet", "demo/vgg", "pypi/efficientnet-lite0"])
    parser.add_argument("--channels", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    torch.set_num_threads(1)
    table = Table("model", "what", "ms", "in passes there and back")
    for model in given.models:
        timed = contenders(model, given.channels, given.device)
        times: dict[str, list[float]] = {name: [] for name in timed}
        with torch.no_grad():
            for _ in range(given.rounds + 1):
                for name, run in timed.items():
                    start = time.perf_counter()
                    run()
                    if given.device != "cpu":
                        torch.cuda.synchronize()
                    times[name].append(time.perf_counter() - start)
        unit = times["there and back"][1:]
        for name, seconds in times.items():  # but the first, which warms up
            ratio = statistics.median(a / b for a, b in zip(seconds[1:], unit, strict=True))
            table.add_row(model, name, f"{1000 * statistics.median(seconds[1:]):.0f}", f"{ratio:.2f}")
    Console(width=100).print(f"torch {torch.__version__}, {given.device}, 1 thread", table)


if __name__ == "__main__":
    main()
