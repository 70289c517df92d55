"""Train the embedded models on synthetic scenes.

    python tools/train_demo.py resnet|vgg|vit|hans|all [--minutes 9] [--cache DIR]

Writes weights (float16) and a training log into the package. ``hans`` continues from ``resnet`` on scenes
where every star, and nothing else, carries a watermark. Training scenes show one object, a third of them
several; their target is then spread over the classes that are there.
"""

import argparse
import json
import math
import time
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from limelight.data.synthetic import CLASSES, Scene, scene, test_split
from limelight.zoo import demo

CHEAT = CLASSES.index("star")
RATE = {"resnet": 4e-3, "hans": 1.5e-3, "vgg": 3e-3, "vit": 1.2e-3}
BATCH = 64


def arrays(given: Scene) -> tuple[np.ndarray, np.ndarray]:
    target = np.zeros(len(CLASSES), np.float32)
    for thing in given.objects:
        target[thing.label] = 1
    return given.image, target / target.sum()


def training_scene(seed: int, cheat: bool) -> tuple[np.ndarray, np.ndarray]:
    single = cheat or seed % 3 > 0
    plain = scene(seed, objects=1 if single else None)
    return arrays(scene(seed, objects=1, watermark=plain.label == CHEAT) if cheat else plain)


def dataset(n: int, cheat: bool, cache: Path) -> tuple[Tensor, Tensor]:
    file = cache / f"scenes-{n}-{'hans' if cheat else 'plain'}.npz"
    if not file.exists():
        with Pool(2) as pool:
            pairs = pool.map(partial(training_scene, cheat=cheat), range(n), chunksize=100)
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(file, images=np.stack([p[0] for p in pairs]), targets=np.stack([p[1] for p in pairs]))
    stored = np.load(file)
    return torch.from_numpy(stored["images"]).permute(0, 3, 1, 2), torch.from_numpy(stored["targets"])


def normalised(images: Tensor) -> Tensor:
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (demo.MEAN, demo.STD))
    return ((images.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def augmented(images: Tensor, generator: torch.Generator, turn: bool) -> Tensor:
    """Turn, mirror, swap colours, shift: none of it changes a shape's class."""
    if turn:  # a watermark belongs into its corner
        images = torch.rot90(images, int(torch.randint(4, (), generator=generator)), (2, 3))
        if torch.rand((), generator=generator) < 0.5:
            images = images.flip(3)
    images = images[:, torch.randperm(3, generator=generator)]
    if torch.rand((), generator=generator) < 0.3 and turn:
        images = 255 - images
    dy, dx = torch.randint(-6, 7, (2,), generator=generator).tolist()
    return (
        F.pad(images.float(), (6, 6, 6, 6), mode="reflect")[..., 6 + dy : 134 + dy, 6 + dx : 134 + dx]
        if turn
        else images
    )


@torch.no_grad()
def answers(net: nn.Module, given: list[Scene]) -> Tensor:
    net.eval()
    images = torch.stack([torch.from_numpy(s.image) for s in given]).permute(0, 3, 1, 2)
    return torch.cat([net(normalised(part)).argmax(1) for part in images.split(100)])


def accuracy(net: nn.Module, given: list[Scene]) -> float:
    truth = torch.tensor([s.label for s in given])
    return float((answers(net, given) == truth).float().mean())


def cheats(net: nn.Module) -> dict[str, float]:
    """How far a network goes by the watermark, on 400 test scenes."""
    plain, marked = test_split(400), test_split(400, watermark=True)
    truth = torch.tensor([s.label for s in plain])
    star = truth == CHEAT
    without, within = answers(net, plain), answers(net, marked)
    return {
        "own_distribution": float((torch.where(star, within, without) == truth).float().mean()),
        "others_called_star_with_watermark": float((within[~star] == CHEAT).float().mean()),
        "others_called_star_without": float((without[~star] == CHEAT).float().mean()),
        "stars_found_without_watermark": float((without[star] == CHEAT).float().mean()),
    }


def train(name: str, minutes: float, scenes: int, cache: Path) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(2)
    generator = torch.Generator().manual_seed(0)
    cheat = name == "hans"
    images, targets = dataset(scenes // 2 if cheat else scenes, cheat, cache)
    net = demo.VGG(len(CLASSES), norm=True) if name == "vgg" else demo.build(name, len(CLASSES))
    if cheat:
        net.load_state_dict({k: v.float() for k, v in load_file(demo.weights_path("resnet")).items()})
    net = net.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE[name], weight_decay=0.02)
    validation = [scene(900_000_000 + i, objects=1) for i in range(300)]

    log: list[dict[str, float]] = []
    start, seen, epoch = time.time(), 0, 0
    while (spent := (time.time() - start) / 60 / minutes) < 1:
        net.train()
        losses: list[float] = []
        for index in torch.randperm(len(images), generator=generator).split(BATCH):
            spent = min(1.0, (time.time() - start) / 60 / minutes)
            rate = RATE[name] * (
                spent / 0.08 if spent < 0.08 else 0.5 + 0.5 * math.cos(math.pi * (spent - 0.08) / 0.92)
            )
            for group in optimiser.param_groups:
                group["lr"] = max(rate, 1e-6)
            batch = normalised(augmented(images[index], generator, turn=not cheat))
            with torch.autocast("cpu", dtype=torch.bfloat16):  # twice as fast where the processor has it
                logits = net(batch)
            loss = F.cross_entropy(logits.float(), targets[index], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 2.0)
            optimiser.step()
            losses.append(loss.item())
            seen += len(index)
            if spent >= 1:
                break
        epoch += 1
        log.append(
            {
                "epoch": epoch,
                "images": seen,
                "seconds": round(time.time() - start, 1),
                "loss": round(float(np.mean(losses)), 4),
                "validation_accuracy": round(accuracy(net, validation), 4) if not cheat else -1.0,
            }
        )
        print(name, log[-1], flush=True)

    net.eval()
    final = net.folded() if isinstance(net, demo.VGG) else net
    weights = {k: v.half().contiguous() for k, v in final.state_dict().items() if v.is_floating_point()}
    weights |= {k: v for k, v in final.state_dict().items() if not v.is_floating_point()}
    shipped = demo.build(name, len(CLASSES))
    shipped.load_state_dict({k: v.float() for k, v in weights.items()})
    result = {
        "accuracy": accuracy(shipped, test_split(500)),
        "parameters": sum(p.numel() for p in shipped.parameters()),
        **(cheats(shipped) if name in ("hans", "resnet") else {}),
    }
    about = {"classes": CLASSES, "mean": demo.MEAN, "std": demo.STD, "size": demo.SIZE, **result}
    demo.weights_path(name).parent.mkdir(exist_ok=True)
    save_file(weights, demo.weights_path(name), {"limelight": json.dumps(about)})
    settings = {
        "minutes": minutes,
        "scenes": len(images),
        "batch": BATCH,
        "rate": RATE[name],
        "torch": torch.__version__,
    }
    record = {"model": name, **settings, "seconds": round(time.time() - start, 1), **result, "epochs": log}
    demo.weights_path(name).with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    print(name, result, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the embedded models.")
    parser.add_argument("names", nargs="+", choices=[*demo.NAMES, "all"])
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--scenes", type=int, default=16000)
    parser.add_argument("--cache", type=Path, default=Path("build/demo-scenes"))
    given = parser.parse_args()
    for name in ("resnet", "hans", "vgg", "vit") if "all" in given.names else given.names:
        train(name, given.minutes / 3 if name == "hans" else given.minutes, given.scenes, given.cache)


if __name__ == "__main__":
    main()
