"""What the metrics say about the methods for transformers.

    python tools/train_transformers.py registers windows
    python benchmarks/transformers_judged.py judge class-token registers windows
    python benchmarks/transformers_judged.py tell > tables.md
    python benchmarks/transformers_judged.py judge class-token registers --skip 64 --scenes 192 \
        --methods grad-cam generic-attention grad-eclip attn-lrp --out again
    python benchmarks/transformers_judged.py tell class-token registers --out again

The last two judge those that came out best once more, on other scenes.

The networks are ``demo/vit`` (class-token) and the two of tools/train_transformers.py. ``judge`` writes a file per
network and method and goes on where it was stopped. Pictures are the first drawn test scenes of one object that the
network names rightly; the predicted class is explained. Of scenes of two objects the smaller one is asked for, whether
or not the network names it first, and only the place of the map is judged.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

import limelight as ll
from limelight.data.synthetic import CLASSES, Scene, test_split
from limelight.engine.method import Method
from limelight.errors import UnsupportedModel
from limelight.ops import statistics
from limelight.zoo import demo

ROOT = Path(__file__).parents[1]
NETWORKS = ("class-token", "registers", "windows")
BASE = "grad-cam"
METHODS: dict[str, dict[str, Any]] = {
    "grad-cam": {},
    "hires-cam": {},
    "layer-cam": {},
    "grad-cam++": {},
    "shapley-cam": {},
    "eigen-grad-cam": {},
    "grad-cam score=finer": {"score": "finer"},
    "grad-cam balance=libra": {"balance": "libra"},
    "raw-attention": {},
    "attention-rollout": {},
    "generic-attention": {},
    "transformer-attribution": {},
    "legrad": {},
    "grad-eclip": {},
    "attn-lrp": {},
    "attn-lrp attention=constant": {"attention": "constant"},
    "input-x-gradient": {},
    "input-x-gradient balance=libra": {"balance": "libra"},
    "integrated-gradients": {"n": 20},
    "integrated-gradients balance=libra": {"n": 20, "balance": "libra"},
    "smooth-grad": {"n": 20},
    "rise": {"n_masks": 200},
    "vit-cx": {},
    "tis": {"n_masks": 128},
    "centre-map": {},
    "random-map": {},
}
"""Names in the tables, and options: few masks and steps, so that the study is short."""
ONE_OBJECT = {k: {} for k in ("insertion", "deletion", "proportion", "pointing-game", "average-drop")}
ONE_OBJECT["adcc"] = {"level": "image"}  # so that differences of pictures have a mean
DECIDING = ("insertion", "deletion", "proportion")
TWO_OBJECTS = {k: {} for k in ("proportion", "pointing-game")}


def load(name: str, weights: Path) -> ll.Classifier:
    if name == "class-token":
        return ll.load("demo/vit")
    sys.path.append(str(ROOT / "tools"))
    from train_transformers import build

    net = build(name)
    net.load_state_dict(torch.load(weights / f"{name}.pt", weights_only=True))
    return ll.Classifier(net, labels=CLASSES, mean=demo.MEAN, std=demo.STD, size=demo.SIZE, name=name)


def method(label: str) -> Method:
    return ll.method(label.partition(" ")[0], **METHODS[label])


def named_rightly(network: ll.Classifier, skip: int, count: int) -> list[Scene]:
    """Return test scenes of one object that the network names rightly, after the first such ones."""
    scenes = test_split(skip + count + 50)
    with torch.no_grad():
        found = network.module(as_batch(scenes)).argmax(1).tolist()
    return [s for s, label in zip(scenes, found, strict=True) if s.label == label][skip : skip + count]


def as_batch(scenes: list[Scene]) -> torch.Tensor:
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (demo.MEAN, demo.STD))
    return (torch.stack([torch.from_numpy(s.image) for s in scenes]).permute(0, 3, 1, 2) / 255 - mean) / std


def judge(name: str, labels: list[str], skip: int, count: int, weights: Path, out: Path) -> None:
    network, folder = load(name, weights), out / name
    folder.mkdir(parents=True, exist_ok=True)
    one, two = named_rightly(network, skip, count), test_split((skip + count) // 2, objects=2)[skip // 2 :]
    smaller = [s.objects[-1] for s in two]
    truth = np.stack([o.mask for o in smaller])
    for label in labels:
        first, second, refused = (folder / f"{label}{suffix}" for suffix in (".parquet", ".two.parquet", ".json"))
        if refused.exists() or second.exists():
            continue
        start, own, asked = time.process_time(), {label: method(label)}, [o.label for o in smaller]
        try:
            if not first.exists():
                ll.evaluate(network, one, own, metrics(ONE_OBJECT), progress=False).to_parquet(first)
            ll.evaluate(network, two, own, metrics(TWO_OBJECTS), asked, truth, progress=False).to_parquet(second)
        except UnsupportedModel as error:
            refused.write_text(json.dumps(str(error)))
        print(name, label, f"{time.process_time() - start:.0f} s", flush=True)


def metrics(options: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {k: ll.metric(k, **given) for k, given in options.items()}


def read(folder: Path, suffix: str) -> tuple[ll.Results, dict[str, str]]:
    """Return what was measured, in the order of METHODS, and why the others were refused."""
    files = {label: folder / f"{label}{suffix}" for label in METHODS}
    read = [ll.Results.from_parquet(file) for file in files.values() if file.exists()]
    reasons = {label: folder / f"{label}.json" for label in METHODS}
    refused = {label: json.loads(file.read_text()) for label, file in reasons.items() if file.exists()}
    return ll.Results([r for part in read for r in part.rows], read[0].columns, read[0].settings), refused


def tell(names: list[str], out: Path) -> None:
    one = {name: read(out / name, ".parquet") for name in names}
    for name, (results, refused) in one.items():
        print(f"### {name}\n", *table(results), "", sep="\n")
        print(*(f"- `{label}`: {why}" for label, why in refused.items()), "", sep="\n")
    print("### How far ahead of Grad-CAM\n")
    print("| method | " + " | ".join(f"{name}, {m}" for name in names for m in DECIDING) + " |")
    print("| --- " * (1 + len(names) * len(DECIDING)) + "|")
    ahead = [differences(results, m) for results, _ in one.values() for m in DECIDING]
    for label in (label for label in METHODS if any(label in a for a in ahead)):
        print(f"| {label} | " + " | ".join(shown(a[label]) if label in a else "–" for a in ahead) + " |")
    two = {name: read(out / name, ".two.parquet")[0] for name in names}
    print("\n### Two objects, the smaller one asked for\n")
    print("| method | " + " | ".join(f"{name}, {m}" for name in names for m in TWO_OBJECTS) + " |")
    print("| --- " * (1 + len(names) * len(TWO_OBJECTS)) + "|")
    columns = [cells(results, m) for results in two.values() for m in TWO_OBJECTS]
    for label in (label for label in METHODS if any(label in c for c in columns)):
        print(f"| {label} | " + " | ".join(c.get(label, "–") for c in columns) + " |")


def shown(ahead: tuple[float, float, float]) -> str:
    return "{:+.3f} [{:+.3f}, {:+.3f}]".format(*ahead)


def table(results: ll.Results) -> list[str]:
    """Return each figure with its interval, and the passes that an explanation takes."""
    arrows = {"higher": "↑", "lower": "↓"}
    heads = [*(f"{m} {arrows[c.better]}" for m, c in results.columns.items()), "forward", "backward"]
    columns = [cells(results, m) for m in results.columns]
    lines = ["| method | " + " | ".join(heads) + " |", "| --- " * (len(heads) + 1) + "|"]
    for label in results.methods:
        passes = [(r.forwards, r.backwards) for r in results.rows if r.method == label]
        row = [*(c[label] for c in columns), *(f"{mean:.3g}" for mean in np.mean(passes, 0))]
        lines.append(f"| {label} | " + " | ".join(row) + " |")
    return lines


def cells(results: ll.Results, metric: str) -> dict[str, str]:
    """Return each method's figure and interval; ▲ and ▼: better and worse than Grad-CAM on the same pictures."""
    summary, ahead = results.summary(), differences(results, metric)
    ends = {k: (round(low, 3), round(high, 3)) for k, (_, low, high) in ahead.items()}  # beyond rounding
    marks = {k: " ▲" if low > 0 else " ▼" if high < 0 else "" for k, (low, high) in ends.items()}
    return {label: f"{summary[label, metric]}{marks[label]}" for label in results.methods}


def differences(results: ll.Results, metric: str) -> dict[str, tuple[float, float, float]]:
    """Return by how much each method is better than Grad-CAM, with the bootstrap interval of paired differences."""
    pooled, base = results.pool(metric), results.methods.index(BASE)
    sign = 1 if results.columns[metric].better == "higher" else -1
    found: dict[str, tuple[float, float, float]] = {}
    for label, column in zip(results.methods, pooled.columns, strict=True):
        ahead = sign * (column - pooled.columns[base])
        ends = statistics.interval(pooled.pooling, ahead, pooled.groups)
        found[label] = (statistics.estimate(pooled.pooling, ahead, pooled.groups), *ends)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Judge the methods for transformers on scenes of known truth.")
    parser.add_argument("command", choices=["judge", "tell"])
    parser.add_argument("names", nargs="*", default=list(NETWORKS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--scenes", type=int, default=64)
    parser.add_argument("--skip", type=int, default=0, help="scenes that are left out before these")
    parser.add_argument("--weights", type=Path, default=Path("build/transformers"))
    parser.add_argument("--out", type=Path, default=Path("build/transformers-judged"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if given.command == "tell":
        tell(given.names, given.out)
        return
    for name in given.names:
        judge(name, given.methods, given.skip, given.scenes, given.weights, given.out)


if __name__ == "__main__":
    main()
