"""What it costs to explain pictures in a training, and whether the training stays the same bit for bit.

    python benchmarks/training.py [--pictures 1024] [--watched 8] [--epochs 2] [--every 1]

Trains torchvision's ResNet-18 on drawn scenes of 128 x 128 twice, on the processor: alone, and with a ``Watch`` that
explains some of them by Grad-CAM after each epoch, and writes a picture and numbers. Records print the share of the
clock's time, which others on the machine stretch; the last line counts the processor's.
"""

import argparse
import tempfile
import time

import torch
from torch import nn
from torchvision.models import resnet18

from limelight.callbacks import Watch
from limelight.data.synthetic import CLASSES, scene


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1024, help="to train on")
    parser.add_argument("--watched", type=int, default=8, help="of them to explain")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--every", type=int, default=1, help="epochs between two explanations")
    parser.add_argument("--metrics", nargs="*", default=[])
    given = parser.parse_args()
    scenes = [scene(number, objects=1) for number in range(given.pictures)]
    x = torch.stack([torch.from_numpy(s.image).permute(2, 0, 1) / 255 for s in scenes])
    y = torch.tensor([s.objects[0].label for s in scenes])
    with tempfile.TemporaryDirectory() as folder:
        watched, classes = x[: given.watched], y[: given.watched].tolist()
        watch = Watch(watched, classes, metrics=given.metrics, every=given.every, log=folder)
        trained = [train(x, y, given.epochs), train(x, y, given.epochs, watch)]
    print("the same weights:", all(torch.equal(a, b) for a, b in zip(*trained, strict=True)))


def train(x: torch.Tensor, y: torch.Tensor, epochs: int, watch: Watch | None = None) -> list[torch.Tensor]:
    """Train a new network, say how long it took, and return its weights and buffers."""
    torch.manual_seed(0)
    net = resnet18(num_classes=len(CLASSES)).train()
    optimiser = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)
    if watch is not None:
        watch.check(net)
    wall, start, spent = time.perf_counter(), time.process_time(), 0.0
    for epoch in range(epochs):
        for chosen in torch.randperm(len(x)).split(32):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(x[chosen]), y[chosen]).backward()
            optimiser.step()
        before = time.process_time()
        if watch is not None:
            print(watch(net, epoch))
        spent += time.process_time() - before
    took = time.process_time() - start
    print(f"{epochs} epochs in {time.perf_counter() - wall:.1f} s", end="; ")
    print(f"of the processor's {took:.1f} s, {spent:.2f} s ({spent / took:.1%}) went into explaining")
    return [*net.parameters(), *net.buffers()]


if __name__ == "__main__":
    main()
