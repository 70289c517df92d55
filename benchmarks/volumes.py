"""What explaining a volume takes: seconds and peak memory of a 3-D DenseNet-121 on one volume, in a process of its own.

    python benchmarks/volumes.py                    Grad-CAM and other methods at 96^3, as docs/volumes.md has them
    python benchmarks/volumes.py --side 128 --methods grad-cam score-cam

The network is built as medical imaging has it: one channel, kernels of 3 x 3 x 3 in dense blocks of 6, 12, 24 and 16
layers, growth 32. Weights are random, on which neither depends. One thread.
"""

import argparse
import resource
import subprocess
import sys
import time

import torch
from torch import Tensor, nn

import limelight as ll

BLOCKS = (6, 12, 24, 16)
METHODS = ("none", "forward", "grad-cam", "gradient", "score-cam", "lrp")
OPTIONS = {"score-cam": {"top": 8}}


class Grow(nn.Module):
    """A dense layer: new channels beside those that came."""

    def __init__(self, before: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.BatchNorm3d(before), nn.ReLU(inplace=True), nn.Conv3d(before, 4 * growth, 1, bias=False)),
            *(nn.BatchNorm3d(4 * growth), nn.ReLU(inplace=True), nn.Conv3d(4 * growth, growth, 3, 1, 1, bias=False)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return what came, and the new channels behind it."""
        return torch.cat([x, self.layers(x)], 1)


def densenet(
    blocks: tuple[int, ...] = BLOCKS, growth: int = 32, channels: int = 64, inputs: int = 1, classes: int = 2
) -> nn.Sequential:
    """Return a DenseNet for volumes; by default a DenseNet-121."""
    stem = nn.Sequential(
        *(nn.Conv3d(inputs, channels, 7, 2, 3, bias=False), nn.BatchNorm3d(channels), nn.ReLU(inplace=True)),
        nn.MaxPool3d(3, 2, 1),
    )
    parts: list[nn.Module] = [stem]
    for number, layers in enumerate(blocks):
        parts.append(nn.Sequential(*(Grow(channels + i * growth, growth) for i in range(layers))))
        channels += layers * growth
        last = number == len(blocks) - 1
        parts += [nn.BatchNorm3d(channels), nn.ReLU(inplace=True)]
        if not last:
            parts += [nn.Conv3d(channels, channels // 2, 1, bias=False), nn.AvgPool3d(2)]
            channels //= 2
    return nn.Sequential(*parts, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(channels, classes)).eval()


def peak() -> float:
    """Return the most memory that this process has had, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(method: str, side: int) -> None:
    """Explain a volume and say what it took."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net, x = densenet(), torch.randn(1, 1, side, side, side)
    start = time.perf_counter()
    if method == "forward":
        with torch.no_grad():
            net(x)
    elif method != "none":
        assert (
            ll.explain(ll.Classifier(net, size=side), x, method, **OPTIONS.get(method, {}))[0].map.shape == x.shape[2:]
        )
    print(f"{side}^3  {method:12}  {time.perf_counter() - start:7.1f} s  {peak():.2f} GiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, nargs="+", default=[96])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--here", action="store_true", help="in this process")
    asked = parser.parse_args()
    for size in asked.side:
        for name in asked.methods:
            if asked.here:
                measure(name, size)
            else:
                subprocess.run([sys.executable, __file__, "--here", "--side", str(size), "--methods", name], check=True)
