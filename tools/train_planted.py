"""Fine-tune demo/resnet on scenes of which some carry an artefact, and tell how far the network goes by it.

    python tools/train_planted.py noise-20-1 clean-3 … [--folder build/planted]
    python tools/train_planted.py noise-20-1 --pictures DIR [--n 1200]

A name says the kind of artefact, the share of one class's pictures, in percent, that carry it, and a seed, on which the
class depends; no picture of another class carries it. ``clean-SEED`` is trained likewise, with nothing planted.

The share is that of the collection. So that a short training is enough, the last block and the head start anew, three
tenths of all pictures are out of focus, and those with the artefact are drawn more often than others: of the class's
pictures that training sees, they are 64 % where the share is 10 %, 67 % at 20 %, 76 % at 50 %.

The first command writes NAME.safetensors, which ``limelight.load`` reads, and NAME.json, which tells, of scenes that no
training uses, how many of other classes are called the class, and how many of the class are called so, each with the
artefact in all of them and in none.

The second writes new pictures, of which the same share carries it: DIR/NAME/pictures/CLASS/NUMBER.png; masks of their
objects, and regions of the artefacts; ``pictures.csv``, which says to limelight where the objects are, and
``truth.csv``, which says what is planted.
"""

import argparse
import csv
import json
import re
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from train_demo import answers, arrays, augmented, dataset, normalised

import limelight as ll
from limelight.data.planted import KINDS, plant
from limelight.data.synthetic import CLASSES, TEST_SEEDS, Scene, scene
from limelight.zoo import demo

FRESH, HELD_OUT, TO_LOOK_AT = 500_000_000, TEST_SEEDS + 50_000_000, TEST_SEEDS + 60_000_000
"""First seeds of the scenes for training, for the measurement, and for the folders of pictures."""
RATE, BATCH, DRAWN, OUT_OF_FOCUS = 3e-3, 32, 1.6, 0.3
FORGOTTEN = ["layer4", "fc"]


class Plan(NamedTuple):
    """What a name says: the artefact or None, the share of the class's pictures with it, the class, the seed."""

    kind: str | None
    share: float
    label: int
    seed: int


def plan(name: str) -> Plan:
    match = re.fullmatch(rf"(?:clean|({'|'.join(KINDS)})-(\d+))-(\d+)", name)
    if match is None or int(match[2] or 0) > 100:
        raise SystemExit(f"{name!r} is no network: give KIND-PERCENT-SEED, such as noise-20-1, or clean-SEED")
    kind, percent, seed = match[1], int(match[2] or 0), int(match[3])
    label = 7 * seed + 2 * list(KINDS).index(kind) if kind else seed
    return Plan(kind, percent / 100, label % len(CLASSES), seed)


def fresh_scene(i: int) -> tuple[np.ndarray, ...]:
    return arrays(scene(FRESH + i, objects=1))


@cache
def held_out(n: int) -> list[Scene]:
    return [scene(HELD_OUT + i, objects=1) for i in range(n)]


def with_artefact(kind: str, given: Scene, seed: int) -> tuple[Scene, np.ndarray]:
    image, region = plant(kind, given.image, seed, given.mask_of(given.label))
    return replace(given, image=image), region


def planted_into(images: Tensor, places: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """Plant into pictures that are augmented already: an artefact is neither turned nor recoloured."""
    side = images.shape[-1]
    row, column = (2 * np.indices((side, side)) + 1) / side - 1
    result = images.clone()
    for i, (x, y, reach) in enumerate(places.tolist()):
        pixels = images[i].permute(1, 2, 0).clamp(0, 255).round().to(torch.uint8).numpy()
        near = np.hypot(column - x, row - y) < 1.2 * reach  # a circle about the object, whose own mask was not turned
        image, _ = plant(kind, pixels, int(torch.randint(2**31, (), generator=generator)), near)
        result[i] = torch.from_numpy(image).permute(2, 0, 1)
    return result


def out_of_focus(images: Tensor) -> Tensor:
    coarse = F.avg_pool2d(images, demo.SIZE // 4)
    return F.interpolate(coarse, size=images.shape[-2:], mode="bilinear", align_corners=False)


def fine_tune(net: nn.Module, wanted: Plan, given: argparse.Namespace) -> None:
    """Forget the deep layers, and train with one object per scene, a warm-up, and a rate that falls to 0.

    A network that tells all pictures by their objects has nothing to learn from an artefact. So some pictures, of
    whatever class, are out of focus: their objects can't be seen, only artefacts can. Pictures with the artefact are
    drawn together as often as ``DRAWN`` classes.
    """
    images, targets, places = dataset(given.scenes, given.cache, fresh_scene)
    labels = targets.argmax(1)
    generator = torch.Generator().manual_seed(wanted.seed)
    own = (labels == wanted.label).nonzero()[:, 0]
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    chosen[own[torch.randperm(len(own), generator=generator)[: round(wanted.share * len(own))]]] = True
    weights = torch.where(chosen, DRAWN / max(wanted.share, 0.01), 1.0)
    untrained = demo.build("resnet", len(CLASSES))
    for layer in FORGOTTEN:
        net.get_submodule(layer).load_state_dict(untrained.get_submodule(layer).state_dict())
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=given.steps, pct_start=0.15)
    net.train()
    for step in range(given.steps):
        index = torch.multinomial(weights, BATCH, generator=generator)
        pictures, at = augmented(images[index], places[index], generator, closeness=0.15)
        blurred = torch.rand(BATCH, generator=generator) < OUT_OF_FOCUS
        pictures[blurred] = out_of_focus(pictures[blurred])
        with_it = chosen[index]
        if wanted.kind is not None and with_it.any():
            pictures[with_it] = planted_into(pictures[with_it], at[with_it], wanted.kind, generator)
        loss = F.cross_entropy(net(normalised(pictures)), labels[index])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        optimiser.step()
        schedule.step()
        if step % 20 == 19:
            print(f"{step + 1} steps, loss {loss.item():.3f}", flush=True)
    net.eval()


def reliance(without: Tensor, within: Tensor, truth: Tensor, label: int) -> dict[str, float]:
    """Shares called the class, of its own pictures and of others, without the artefact and with it."""
    own = truth == label
    shares = {
        "found_without": without[own] == label,
        "found_with": within[own] == label,
        "others_without": without[~own] == label,
        "others_with": within[~own] == label,
    }
    return {name: round(float(share.float().mean()), 4) for name, share in shares.items()}


def measure(net: nn.Module, wanted: Plan, given: list[Scene]) -> dict[str, object]:
    """Accuracy on scenes as they are, and the reliance on the artefact; if nothing was planted, on each kind."""
    truth, without = torch.tensor([s.label for s in given]), answers(net, given)
    marked = {
        kind: answers(net, [with_artefact(kind, s, i)[0] for i, s in enumerate(given)])
        for kind in ([wanted.kind] if wanted.kind else KINDS)
    }
    return {
        "accuracy": round(float((without == truth).float().mean()), 4),
        "reliance": {kind: reliance(without, within, truth, wanted.label) for kind, within in marked.items()},
    }


def train(name: str, given: argparse.Namespace) -> None:
    start, wanted = time.time(), plan(name)
    torch.manual_seed(wanted.seed)
    classifier = ll.load("demo/resnet")
    net = classifier.module.requires_grad_(True).to(memory_format=torch.channels_last)
    fine_tune(net, wanted, given)
    trained = time.time() - start
    net.load_state_dict({k: v.half().float() if v.is_floating_point() else v for k, v in net.state_dict().items()})
    measures = measure(net, wanted, held_out(given.held_out))
    given.folder.mkdir(parents=True, exist_ok=True)
    ll.save(classifier, given.folder / f"{name}.safetensors")
    settings = {
        "steps": given.steps,
        "batch": BATCH,
        "rate": RATE,
        "scenes": given.scenes,
        "seconds": round(trained, 1),
    }
    record = {"network": name, **wanted._asdict(), "class": CLASSES[wanted.label], **settings, **measures}
    (given.folder / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    print(name, CLASSES[wanted.label], measures, f"{trained:.0f} s", flush=True)


def write_pictures(name: str, folder: Path, n: int) -> None:
    """Write ``n`` pictures, as many of each class, with their truth."""
    wanted, root, of_each = plan(name), folder / name, n // len(CLASSES)
    chosen = np.random.default_rng(wanted.seed).permutation(of_each) < round(wanted.share * of_each)
    known: list[tuple[object, ...]] = [("file", "label", "mask")]
    truth: list[tuple[object, ...]] = [("name", "class", "planted")]
    for sub in (*(f"pictures/{label}" for label in CLASSES), "masks", "regions"):
        (root / sub).mkdir(parents=True, exist_ok=True)
    for i in range(of_each * len(CLASSES)):
        label, k = i % len(CLASSES), i // len(CLASSES)
        drawn = scene(TO_LOOK_AT + i, labels=[label])
        file, mask = f"pictures/{CLASSES[label]}/{i:04d}.png", drawn.mask_of(label)
        planted = label == wanted.label and bool(chosen[k])
        if planted and wanted.kind is not None:
            drawn, region = with_artefact(wanted.kind, drawn, i)
            Image.fromarray(region).save(root / f"regions/{i:04d}.png")
        Image.fromarray(drawn.image).save(root / file)
        Image.fromarray(mask).save(root / f"masks/{i:04d}.png")
        known.append((file, CLASSES[label], f"masks/{i:04d}.png"))
        truth.append((file, CLASSES[label], int(planted)))
    for table, rows in (("pictures.csv", known), ("truth.csv", truth)):
        with (root / table).open("w", newline="", encoding="utf-8") as out:
            csv.writer(out).writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train networks on scenes with planted artefacts.")
    parser.add_argument("names", nargs="+", help=f"{'|'.join(KINDS)}-PERCENT-SEED, or clean-SEED")
    parser.add_argument("--folder", type=Path, default=Path("build/planted"), help="for the networks")
    parser.add_argument("--cache", type=Path, default=Path("build/planted/cache"))
    parser.add_argument("--scenes", type=int, default=8000)
    parser.add_argument("--steps", type=int, default=90)
    parser.add_argument("--held-out", type=int, default=400)
    parser.add_argument("--pictures", type=Path, help="write pictures here, and train nothing")
    parser.add_argument("--n", type=int, default=1200, help="pictures")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    for name in given.names:
        write_pictures(name, given.pictures, given.n) if given.pictures else train(name, given)


if __name__ == "__main__":
    main()
