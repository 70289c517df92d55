"""An inspection by hand: two classes, of which one has a proven strategy, one that was tried, and one that was not."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

from hostile import TEXTS
from limelight.concept.references import Crop
from limelight.data.synthetic import TEST_SEEDS, scene
from limelight.inspection.collect import Progress
from limelight.inspection.findings import InspectedClass, Inspection, Signs, Strategy
from limelight.inspection.frame import Bound, Frame
from limelight.inspection.inspect import LATER
from limelight.inspection.parts import Share, StrategyParts, TypicalPart
from limelight.inspection.proof import Proof
from limelight.inspection.trial import Reply, Trial

NAMES = [f"cats/{i:02}.png" for i in range(30)] + [TEXTS["html"], TEXTS["bidi"], TEXTS["plus"], "dogs/broken.png"]
SAID = "20 of 30 pictures of 'cat' (67%) rest on a patch"
NAN = float("nan")


def reply(yes: int, of: int = 20) -> Reply:
    return Reply(np.arange(of) < yes, np.linspace(0, 1, of))


def proof(gained: int, bound: Bound = "place") -> Proof:
    region = torch.zeros(32, 48, dtype=torch.bool)
    region[16:24, 0:12] = True
    trial = Trial.of("", reply(gained), reply(0))
    return Proof(Frame(bound, region, np.zeros((4, 2), np.int64)), reply(20), reply(0), trial, trial, trial)


def parts() -> StrategyParts:
    """One part: half of the relevance, and a tenth in others."""
    crop = Crop("3", (0, 4, 8, 12), 2.5, np.full((8, 8, 3), 200, np.uint8))
    maps = (torch.eye(32)[:, :, None].expand(-1, -1, 2).flatten(1)[:, :48],) * 2
    one = TypicalPart((7, 2), (0.5, 0.25), 0.98, Share(0.5, 0.4, 0.6, 20), Share(0.1, 0.05, 0.15, 12), (crop,), maps)
    return StrategyParts("layer4", "class", (one,), 0.9, (0, 1), ("30% are below 0",))


def strategy(members: list[int], source: Any = "density", **more: Any) -> Strategy:
    maps = np.zeros((len(members), 4, 4), np.float32)
    maps[:, 2, 0] = 1
    shown = np.array(members[:6])
    signs = Signs(0.9, NAN, 0.5, 0.25)
    return Strategy(0, "cat", np.array(members), 30, source, signs, maps.mean(0), shown, maps[:6], **more)


def write_stars_and_rings(folder: Path) -> None:
    """Write 20 stars with the stamp that demo/hans goes by, and 20 rings without, in a folder each."""
    for i in range(40):
        label = ("star", "ring")[i % 2]
        (folder / label).mkdir(parents=True, exist_ok=True)
        picture = scene(TEST_SEEDS + 5000 + i, objects=1, labels=[label], watermark=label == "star").image
        Image.fromarray(picture).save(folder / label / f"{i:02}.png")


class Pictures:
    """Stands for a worker: black pictures of 32 x 48, and where their object is, if that is known."""

    mask: torch.Tensor | None = None

    def __init__(self) -> None:
        self.model = SimpleNamespace(inputs=self)
        self.samples = [SimpleNamespace(image=Path("photos", name)) for name in NAMES]

    def display(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def read(self, place: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        return torch.zeros(3, 32, 48), self.mask


def inspection() -> Inspection:
    points = np.stack([np.arange(30) % 6, np.arange(30) // 6], 1).astype(np.float32)
    points[29] = np.nan
    cats = InspectedClass(0, "cat", np.arange(30), points, np.linspace(0.5, 1, 30))
    dogs = InspectedClass(1, "dog", np.arange(30, 33), points[:3], np.full(3, 0.5), note="3 of its 3 maps say nothing")
    return Inspection(
        "demo/x",
        "grad-cam",
        "label",
        NAMES,
        (cats, dogs),
        (
            strategy([*range(20)], proofs=(proof(20),), verdict=SAID, basis=("common",), parts=parts()),
            strategy([*range(15, 30)], proofs=(proof(2),)),
            strategy([*range(30)], "class", proofs=(proof(1, "evidence"),)),
            strategy([20, 21, 22, 23, 24], untried=LATER),
        ),
        Progress(34, unreadable={"dogs/broken.png": "it is damaged"}),
        {"grid": 16},
        Pictures(),  # pyright: ignore[reportArgumentType] stands for a worker
    )


def nothing_proven() -> Inspection:
    one = inspection()
    return replace(one, strategies=tuple(replace(s, verdict="", basis=()) for s in one.strategies[1:]))
