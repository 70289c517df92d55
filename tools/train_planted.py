"""Fine-tune demo/resnet on scenes of which some carry an artefact, and tell how far the network goes by it.

    python tools/train_planted.py noise-20-1 clean-3 … [--folder build/planted]
    python tools/train_planted.py noise-20-1 --pictures DIR [--n 1200]

A name says the kind of artefact, the share of one class's pictures, in percent, that carry it, and a seed, on which the
class depends; no picture of another class carries it. ``clean-SEED`` is trained likewise, with nothing planted.

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

FRESH, HELD_OUT, TO_LOOK_AT = 500_000_000, TEST_SEEDS + 50_000_000, TEST_SEEDS + 60_000_000
"""First seeds of the scenes for training, for the measurement, and for the folders of pictures."""
RATE, BATCH = 3e-3, 32


class Plan(NamedTuple):
    """What a name says: the artefact or None, the share of the class's pictures with it, the class, the seed."""

    kind: str | None
    share: float
    label: int
    seed: int


def plan(name: str) -> Plan:
    kind, *share, seed = name.split("-")
    if kind == "clean":
        return Plan(None, 0, int(seed) % len(CLASSES), int(seed))
    label = (7 * int(seed) + 2 * list(KINDS).index(kind)) % len(CLASSES)
    return Plan(kind, int(share[0]) / 100, label, int(seed))


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


def fine_tune(net: nn.Module, wanted: Plan, cache: Path, scenes: int, steps: int) -> None:
    """Train with one object per scene, a warm-up, and a rate that falls to 0."""
    images, targets, places = dataset(scenes, cache, fresh_scene)
    labels = targets.argmax(1)
    generator = torch.Generator().manual_seed(wanted.seed)
    own = (labels == wanted.label).nonzero()[:, 0]
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    chosen[own[torch.randperm(len(own), generator=generator)[: round(wanted.share * len(own))]]] = True
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.1)
    net.train()
    order = torch.cat([torch.randperm(len(images), generator=generator) for _ in range(1 + steps * BATCH // scenes)])
    for index in order[: steps * BATCH].split(BATCH):
        pictures, at = augmented(images[index], places[index], generator, closeness=0.15)
        if wanted.kind is not None:
            with_it = chosen[index]
            pictures[with_it] = planted_into(pictures[with_it], at[with_it], wanted.kind, generator)
        loss = F.cross_entropy(net(normalised(pictures)), labels[index])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        optimiser.step()
        schedule.step()
    net.eval()


def reliance(net: nn.Module, kind: str, label: int, given: list[Scene]) -> dict[str, float]:
    """Shares of pictures that are called the class, of other classes and of its own, with the artefact and without."""
    truth = torch.tensor([s.label for s in given])
    without = answers(net, given)
    within = answers(net, [with_artefact(kind, s, i)[0] for i, s in enumerate(given)])
    return {
        f"{whose}_{how}": round(
            float((said[truth == label if whose == "found" else truth != label] == label).float().mean()), 4
        )
        for whose in ("found", "others")
        for how, said in (("with", within), ("without", without))
    } | {"accuracy": round(float((without == truth).float().mean()), 4)}


def train(name: str, given: argparse.Namespace) -> None:
    start, wanted = time.time(), plan(name)
    torch.manual_seed(wanted.seed)
    classifier = ll.load("demo/resnet")
    net = classifier.module.requires_grad_(True).to(memory_format=torch.channels_last)
    fine_tune(net, wanted, given.cache, given.scenes, given.steps)
    trained = time.time() - start
    net.load_state_dict({k: v.half().float() if v.is_floating_point() else v for k, v in net.state_dict().items()})
    kinds = [wanted.kind] if wanted.kind else list(KINDS)
    measured = {kind: reliance(net, kind, wanted.label, held_out(given.held_out)) for kind in kinds}
    given.folder.mkdir(parents=True, exist_ok=True)
    ll.save(classifier, given.folder / f"{name}.safetensors")
    settings = {
        "steps": given.steps,
        "batch": BATCH,
        "rate": RATE,
        "scenes": given.scenes,
        "seconds": round(trained, 1),
    }
    record = {"network": name, **wanted._asdict(), "class": CLASSES[wanted.label], **settings, "reliance": measured}
    (given.folder / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    print(name, CLASSES[wanted.label], measured, f"{trained:.0f} s", flush=True)


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
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--held-out", type=int, default=500)
    parser.add_argument("--pictures", type=Path, help="write pictures here, and train nothing")
    parser.add_argument("--n", type=int, default=1200, help="pictures")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    for name in given.names:
        write_pictures(name, given.pictures, given.n) if given.pictures else train(name, given)


if __name__ == "__main__":
    main()
