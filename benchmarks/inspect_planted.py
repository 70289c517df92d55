"""How often an inspection is right: on networks with a planted artefact, on clean ones, and beside two simpler ways.

    python benchmarks/inspect_planted.py watermark-20-2 clean-3 demo/resnet … [--own] [--n 2500]
    python benchmarks/inspect_planted.py --table

Names are those of ``tools/train_planted.py``, which trains the networks and draws the pictures where they are not there
yet, or of embedded networks, which see pictures without artefacts. All classes are inspected, or with ``--own`` only
the one in which something is planted. A line of ``study.jsonl`` tells the alarms of each way, and how many planted
pictures each names:

- ``inspect``: a verdict;
- ``maps``: spectral relevance analysis by itself (Lapuschkin et al. 2019), a class whose maps fall into more than one
  spectral cluster, by the largest gap of the eigenvalues; what is named are its clusters, but for the largest;
- ``pictures``: the same of the pictures, 16 x 16 cells of three colours: what can be seen without the network.

An alarm is right where it names planted pictures more often than chance would (hypergeometric p < 0.01), and in a class
of which all are planted; any other is a false one.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest, hypergeom
from torch.nn import functional as F

import limelight as ll
from limelight.inspection.clusters import eigenmap, similarity_graph
from limelight.inspection.inspect import find_strategies
from limelight.inspection.likeness import distances, resolutions, shares, signatures, usable
from limelight.inspection.record import GRID, MapStore
from limelight.inspection.worker import Source, Worker
from limelight.ops.clusters import kmeans

WAYS = {"inspect": "limelight inspect", "maps": "clusters of maps", "pictures": "clusters of pictures"}
TRAIN = Path(__file__).parents[1] / "tools" / "train_planted.py"
CLUSTERS, CHANCE = 8, 0.01

Places = npt.NDArray[np.int64]


class Alarm(NamedTuple):
    """Pictures of a class that are said to hang on something.

    Attributes:
        label: the class.
        named: pictures that are named.
        pictures: of the class.
        hits: of those named, with the artefact.
        planted: pictures of the class with the artefact.
        basis: of a verdict.
    """

    label: str
    named: int
    pictures: int
    hits: int
    planted: int
    basis: str = ""

    @property
    def right(self) -> bool:
        """Whether it is about the artefact."""
        by_chance = hypergeom(self.pictures, self.planted, self.named).sf(self.hits - 1)
        return self.planted == self.pictures or (self.planted > 0 and bool(by_chance < CHANCE))


class Study:
    """One network, and the pictures that it is asked about."""

    def __init__(self, name: str, folder: Path, n: int, own: bool) -> None:
        self.name, self.folder, self.own = name, folder, own
        embedded = name.startswith("demo/")
        file, shown = folder / f"{name}.safetensors", folder / f"pictures-{n}" / ("clean-0" if embedded else name)
        if not embedded and not file.exists():
            self._prepare(name, "--cache", str(folder / "cache"))
        if not (shown / "truth.csv").exists():
            self._prepare(shown.name, "--pictures", str(shown.parent), "--n", str(n))
        self.model, self.pictures = ll.load(name if embedded else str(file)), shown / "pictures.csv"
        rows = [*csv.DictReader((shown / "truth.csv").open())]
        self.planted = np.array([row["planted"] == "1" for row in rows])
        self.labels = np.array([row["class"] for row in rows])

    def _prepare(self, *arguments: str) -> None:
        subprocess.run([sys.executable, TRAIN, *arguments, "--folder", str(self.folder)], check=True)

    @cached_property
    def classes(self) -> list[str] | None:
        """Those that are inspected; None for all."""
        return [*dict.fromkeys(self.labels[self.planted].tolist())] if self.own else None

    def alarm(self, label: str, members: Places, basis: str = "") -> Alarm:
        """Compare what is named with the truth."""
        mine, hits = self.labels == label, int(self.planted[members].sum())
        return Alarm(label, len(members), int(mine.sum()), hits, int(self.planted[mine].sum()), basis)

    def run(self) -> dict[str, Any]:
        """Return a line of the study."""
        start = time.perf_counter()
        folder = self.folder / "maps" / f"{self.name}-{len(self.labels)}"
        inspection = find_strategies(Source(self.model, self.pictures), folder, classes=self.classes)
        seconds, worker = time.perf_counter() - start, inspection.worker
        labels = {one.target: one.label for one in inspection.classes}
        keys = np.array(worker.keys)
        store = MapStore(folder)
        (targets,) = store.columns_of(keys, "target")
        proven = [self.alarm(s.label, s.members, "+".join(s.basis)) for s in inspection.strategies if s.verdict]
        alarms: dict[str, list[Alarm]] = {"inspect": proven, "maps": [], "pictures": []}
        for maps in store.by_class(keys, np.where(np.isin(targets, [*labels]), targets, -1)):
            for way, groups in (
                ("maps", cluster_maps(maps.maps)),
                ("pictures", cluster_pictures(worker, maps.places)),
            ):
                smaller = [maps.places[groups == i] for i in range(1, int(groups.max()) + 1)]
                alarms[way] += [self.alarm(labels[maps.target], members) for members in smaller]
        known = {"network": self.name, "n": len(self.labels), "classes": len(labels), "seconds": round(seconds)}
        return known | {way: [one._asdict() for one in its] for way, its in alarms.items()}


def cluster_maps(maps: npt.NDArray[np.float32]) -> Places:
    """Return spectral clusters of maps, see ``partition``; -1 for those that are empty."""
    seen = usable(maps)
    p = shares(maps[seen])
    x = signatures(p)
    labels = np.full(len(maps), -1)
    labels[seen] = partition(distances(x), resolutions(p, x))
    return labels


def cluster_pictures(worker: Worker, places: Places) -> Places:
    """Return spectral clusters of pictures by their pixels, see ``partition``."""
    small = torch.stack([F.adaptive_avg_pool2d(worker.read(int(place))[0], GRID).flatten() for place in places])
    return partition(torch.cdist(small, small).numpy(), np.zeros(len(small), np.float32))


def partition(apart: npt.NDArray[np.float32], resolution: npt.NDArray[np.float32]) -> Places:
    """Return spectral clusters, as many as lie before the largest gap of the eigenvalues, numbered by size."""
    eigenvalues, rows = eigenmap(similarity_graph(apart, resolution), CLUSTERS + 1)
    k = int(np.diff(eigenvalues).argmax()) + 1
    labels = kmeans(rows[:, :k], k).labels
    return np.argsort(-np.bincount(labels), kind="stable").argsort()[labels]


def share(k: int, n: int) -> str:
    """Return a share with Wilson's 95 % interval."""
    between = binomtest(k, n).proportion_ci(method="wilson")
    return f"{k} of {n} [{100 * between.low:.0f}, {100 * between.high:.0f}]"


def kind_of(name: str) -> str:
    """Return what the network is, without the artefact's kind and the seed."""
    parts = name.split("-")
    return f"planted in {parts[1]} %" if len(parts) == 3 else parts[0]


def summarise(networks: Sequence[dict[str, Any]], way: str) -> list[str]:
    """Return a row on what one way says of several networks."""
    alarms = [[Alarm(**one) for one in network[way]] for network in networks]
    best = [max(right, key=lambda one: one.hits) for its in alarms if (right := [one for one in its if one.right])]
    false = [len({one.label for one in its if not one.right}) for its in alarms]
    named = [one.hits / one.named for one in best], [one.hits / one.planted for one in best]
    planted = any("-" in network["network"] and not network["network"].startswith("clean") for network in networks)
    found = share(len(best), len(alarms)) if planted else ""
    middle = [f"{statistics.median(each):.2f}" if each else "" for each in named]
    classes = sum(network["classes"] for network in networks)
    return [found, *middle, share(sum(map(bool, false)), len(false)), share(sum(false), classes)]


def tell(networks: Sequence[dict[str, Any]]) -> None:
    """Print a table of the study."""
    table = Table("networks", "way", "found", "precision", "recall", "with false alarms", "classes with false alarms")
    for kind in sorted({kind_of(one["network"]) for one in networks}):
        own = [one for one in networks if kind_of(one["network"]) == kind]
        for way, title in WAYS.items():
            table.add_row(kind, title, *summarise(own, way))
    Console(width=140).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description="Try inspections on networks of which it is known what they rely on.")
    parser.add_argument("names", nargs="*", help="KIND-PERCENT-SEED, clean-SEED, or demo/NAME")
    parser.add_argument("--folder", type=Path, default=Path("build/planted"), help="for networks, pictures and maps")
    parser.add_argument("--n", type=int, default=2500, help="pictures")
    parser.add_argument("--own", action="store_true", help="inspect the planted class alone")
    parser.add_argument("--table", action="store_true", help="print what is in study.jsonl")
    given = parser.parse_args()
    torch.set_num_threads(1)
    lines = given.folder / "study.jsonl"
    for name in given.names:
        line = json.dumps(Study(name, given.folder, given.n, given.own).run())
        print(line, flush=True)
        with lines.open("a", encoding="utf-8") as out:
            out.write(line + "\n")
    if given.table:
        rows = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
        tell([*{row["network"]: row for row in rows}.values()])


if __name__ == "__main__":
    main()
