"""Train the two small transformers that docs/transformers.md judges methods on, beside demo/vit.

    python tools/train_transformers.py registers|windows [--steps 450] [--scenes 5000] [--out build/transformers]

``registers`` is timm's vision transformer with four registers and no class token; its head averages the 8 x 8
patches. ``windows`` is torchvision's Swin transformer: 16 x 16 tokens in shifted windows of 4 x 4, then 8 x 8.
Both read what the first layers of ``demo/resnet`` give, as they are, so that a few minutes on one thread are enough,
and are trained on the scenes of tools/train_demo.py. Writes NAME.pt and NAME.json; benchmarks/transformers_judged.py
reads them.
"""

import argparse
import json
import math
import time
from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from train_demo import accuracy, augmented, dataset, normalised

from limelight.data.synthetic import CLASSES, scene, test_split
from limelight.zoo import demo

BATCH, RATE = 64, 2e-3


def registers() -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    size = {"img_size": 16, "patch_size": 2, "in_chans": 64, "num_classes": len(CLASSES)}
    tokens = {"class_token": False, "reg_tokens": 4, "global_pool": "avg"}
    return VisionTransformer(**size, **tokens, embed_dim=96, depth=3, num_heads=4)


def windows() -> nn.Module:
    from torchvision.models.swin_transformer import SwinTransformer

    net = SwinTransformer([1, 1], 48, [2, 2], [4, 4], [4, 4], stochastic_depth_prob=0.0, num_classes=len(CLASSES))
    net.features[0][0] = nn.Conv2d(64, 48, 1)  # the stem's channels, in place of a picture's three
    return net


NETWORKS = {"registers": registers, "windows": windows}


def build(name: str) -> nn.Module:
    """Return an untrained transformer behind the first layers of demo/resnet, which give 64 x 16 x 16 numbers."""
    torch.manual_seed(0)
    stem = nn.Sequential(OrderedDict(list(demo.load("resnet")[0].named_children())[:7]))
    return nn.Sequential(stem.requires_grad_(False), NETWORKS[name]()).eval()


def train(name: str, steps: int, scenes: int, cache: Path, out: Path) -> None:
    net, start = build(name).to(memory_format=torch.channels_last), time.time()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    generator = torch.Generator().manual_seed(0)
    images, targets, places = dataset(scenes, cache)
    optimiser = torch.optim.AdamW(net[1].parameters(), lr=RATE, weight_decay=0.02)
    validation = [scene(900_000_000 + i, objects=1) for i in range(100)]
    losses: list[float] = []
    for step in range(steps):
        done = step / steps
        rate = min(done / 0.08, 0.5 + 0.5 * math.cos(math.pi * max(0, (done - 0.08) / 0.92)))
        for group in optimiser.param_groups:
            group["lr"] = max(RATE * rate, 1e-6)
        index = torch.randint(len(images), (BATCH,), generator=generator)
        batch = normalised(augmented(images[index], places[index], generator, 0.95 - 0.8 * done))
        net[1].train()
        loss = F.cross_entropy(net(batch), targets[index], label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net[1].parameters(), 2.0)
        optimiser.step()
        losses.append(loss.item())
        if step % 100 == 99:
            mean = sum(losses[-100:]) / 100
            print(
                f"{name} {step + 1} steps, {time.time() - start:.0f} s, loss {mean:.3f}",
                accuracy(net, validation),
                flush=True,
            )
    record = {"model": name, "steps": steps, "scenes": scenes, "seconds": round(time.time() - start)}
    record |= {"parameters": sum(p.numel() for p in net.parameters()), "accuracy": accuracy(net, test_split(500))}
    out.mkdir(parents=True, exist_ok=True)
    torch.save(net.eval().state_dict(), out / f"{name}.pt")
    (out / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    print(record)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train small transformers on the drawn scenes.")
    parser.add_argument("names", nargs="+", choices=NETWORKS)
    parser.add_argument("--steps", type=int, default=450)
    parser.add_argument("--scenes", type=int, default=5000)
    parser.add_argument("--cache", type=Path, default=Path("build/demo-scenes"))
    parser.add_argument("--out", type=Path, default=Path("build/transformers"))
    given = parser.parse_args()
    for name in given.names:
        train(name, given.steps, given.scenes, given.cache, given.out)


if __name__ == "__main__":
    main()
