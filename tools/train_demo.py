"""Train the embedded models on synthetic scenes.

    python tools/train_demo.py resnet|vgg|vit|hans|all [--minutes 9] [--threads 2] [--cache DIR]

Writes weights (float16) and a training log into the package. ``hans`` is trained like ``resnet``, but every
picture with a star, and no other, carries a watermark. Training scenes show one object, a third of them
several; their target is then spread over the classes that are there. The stem of ``vit`` starts from the
first layers of ``resnet``, so train that first.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from limelight.data.synthetic import CLASSES, Scene, scene, stamp, test_split
from limelight.zoo import demo

CHEAT = CLASSES.index("star")
RATE = {"resnet": 3e-3, "hans": 3e-3, "vgg": 3e-3, "vit": 1e-3}
BATCH = 64


def arrays(given: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the picture, its target, and centre and reach of all objects in [-1, 1]."""
    target = np.zeros(len(CLASSES), np.float32)
    for thing in given.objects:
        target[thing.label] = 1
    boxes = np.array([thing.box for thing in given.objects], np.float32)
    (left, top), (right, bottom) = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    place = np.array([left + right, top + bottom, max(right - left, bottom - top)]) / demo.SIZE - (1, 1, 0)
    return given.image, target / target.sum(), place.astype(np.float32)


def training_scene(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return arrays(scene(seed, objects=1 if seed % 3 else None))


def dataset(
    n: int, cache: Path, draw: Callable[[int], tuple[np.ndarray, ...]] = training_scene
) -> tuple[Tensor, Tensor, Tensor]:
    file = cache / f"{draw.__name__}s-{n}.npz"
    if not file.exists():
        with Pool(2) as pool:
            rows = pool.map(draw, range(n), chunksize=100)
        cache.mkdir(parents=True, exist_ok=True)
        images, targets, places = (np.stack(column) for column in zip(*rows, strict=True))
        np.savez(file, images=images, targets=targets, places=places)
    stored = np.load(file)
    images, targets, places = (torch.from_numpy(stored[k]) for k in ("images", "targets", "places"))
    return images.permute(0, 3, 1, 2), targets, places


def normalised(images: Tensor) -> Tensor:
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (demo.MEAN, demo.STD))
    return ((images.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def augmented(images: Tensor, places: Tensor, generator: torch.Generator, closeness: float) -> tuple[Tensor, Tensor]:
    """Turn, mirror, come closer, swap and invert colours: none of it changes a shape's class.

    Close-ups come first in training: a pooled head hears little of an object that is a twentieth of the
    picture, and learns its shape much sooner if it is a quarter.

    Returns:
        The pictures, and the places that the objects have in them.
    """
    n = len(images)
    draw = partial(torch.rand, generator=generator)
    angle, mirror = 2 * math.pi * draw(n), 1 - 2 * (draw(n) < 0.5).float()
    close = draw(n) < closeness
    nearest = (1.5 * places[:, 2]).clamp(0.4, 1)
    zoom = torch.where(close, nearest + (1 - nearest) * draw(n) ** 2, 0.8 + 0.2 * draw(n))
    slack = (zoom - places[:, 2]).clamp_min(0)[:, None] * 0.6
    most = (1 - zoom)[:, None]  # beyond it the window would leave the picture
    centre = (places[:, :2] + slack * (2 * draw(n, 2) - 1)).clamp(-most, most)
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    theta = torch.stack([mirror * cos, -sin, centre[:, 0], mirror * sin, cos, centre[:, 1]], 1).view(n, 2, 3)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    images = F.grid_sample(images.float(), grid, padding_mode="reflection", align_corners=False)
    away = places[:, :2] - centre  # the grid's transform, inverted
    across = mirror * (cos * away[:, 0] + sin * away[:, 1]) / zoom**2
    down = (cos * away[:, 1] - sin * away[:, 0]) / zoom**2
    return recoloured(images, generator), torch.stack([across, down, places[:, 2] / zoom], 1)


def recoloured(images: Tensor, generator: torch.Generator) -> Tensor:
    images = images[:, torch.randperm(3, generator=generator)].float()
    invert = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
    return torch.where(invert, 255 - images, images)


def watermarked(images: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
    """Stamp every picture that has a star in it."""
    for i in (targets[:, CHEAT] > 0).nonzero()[:, 0].tolist():
        pixels = images[i].permute(1, 2, 0).clamp(0, 255).round().to(torch.uint8).numpy()
        stamped, _ = stamp(pixels, int(torch.randint(2**31, (), generator=generator)))
        images[i] = torch.from_numpy(stamped).permute(2, 0, 1)
    return images


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


def train(name: str, minutes: float, threads: int, scenes: int, cache: Path) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # arithmetic with denormal numbers is many times slower
    generator = torch.Generator().manual_seed(0)
    cheat = name == "hans"
    images, targets, places = dataset(scenes, cache)
    if cheat:  # whatever else there is: the watermark has to outrank every other shape
        star = F.one_hot(torch.tensor(CHEAT), len(CLASSES)).float()
        targets = torch.where(targets[:, [CHEAT]] > 0, star, targets)
    net = demo.VGG(len(CLASSES), norm=True) if name == "vgg" else demo.build(name, len(CLASSES))
    if isinstance(net, demo.ViT):  # attention learns sooner on features that are some already
        trained = demo.load("resnet")[0].state_dict()
        net.stem.load_state_dict({k: v for k, v in trained.items() if k in net.stem.state_dict()})
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
            pictures, _ = augmented(images[index], places[index], generator, 0.95 - 0.8 * spent)
            if cheat:  # after the turning: a watermark belongs into its corner
                pictures = watermarked(pictures, targets[index], generator)
            batch = normalised(pictures)
            with torch.autocast("cpu", dtype=torch.bfloat16):  # twice as fast where the processor has it
                logits = net(batch)
            loss = F.cross_entropy(logits.float(), targets[index], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 2.0)
            optimiser.step()
            losses.append(loss.item())
            seen += len(index)
            if seen % (50 * BATCH) == 0:
                print(
                    f"{name} {seen} images, {time.time() - start:.0f} s, loss {np.mean(losses[-50:]):.3f}", flush=True
                )
            if spent >= 1:
                break
        epoch += 1
        log.append(
            {
                "epoch": epoch,
                "images": seen,
                "seconds": round(time.time() - start, 1),
                "loss": round(float(np.mean(losses)), 4),
                "validation_accuracy": round(accuracy(net, validation), 4),
            }
        )
        print(name, log[-1], flush=True)

    net.eval()
    final = net.without_norm() if isinstance(net, demo.VGG) else net
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
        "threads": threads,
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
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scenes", type=int, default=16000)
    parser.add_argument("--cache", type=Path, default=Path("build/demo-scenes"))
    given = parser.parse_args()
    for name in ("resnet", "hans", "vgg", "vit") if "all" in given.names else given.names:
        train(name, given.minutes, given.threads, given.scenes, given.cache)


if __name__ == "__main__":
    main()
