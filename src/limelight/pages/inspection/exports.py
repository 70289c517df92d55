"""Write what an inspection found for programs: tables of pictures, a list for FiftyOne, and all numbers."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np

from limelight import files
from limelight.concept.references import Crop
from limelight.engine.provenance import versions
from limelight.inspection.findings import InspectedClass, Inspection, Strategy
from limelight.inspection.frame import Frame
from limelight.inspection.words import name_place
from limelight.pages.inspection.words import conclude, name_strategies
from limelight.text import csv_cell, to_json


def write_exports(inspection: Inspection, folder: Path) -> list[Path]:
    """Write ``pictures.csv``, ``strategies.csv``, ``fiftyone.json`` and ``findings.json``.

    * ``pictures.csv`` has a row for each picture: its class, the probability, its strategies, whether one is proven.
    * ``strategies.csv`` has a row for each picture of each strategy, to mend the data by.
    * ``fiftyone.json`` has the strategies of each picture, as the labels of a ``FiftyOneImageClassificationDataset``:
      ``fiftyone.Dataset.from_dir(data_path=PICTURES, labels_path="fiftyone.json", dataset_type=…)``, where PICTURES is
      the folder that was inspected.
    * ``findings.json`` has all numbers; what is not known is null. ``members`` and ``examples`` count in ``pictures``.

    Args:
        inspection: what is written.
        folder: is made.

    Returns:
        The files.
    """
    names = name_strategies(inspection.strategies)
    return [
        _write_csv(folder / "pictures.csv", PICTURE, _pictures(inspection, names)),
        _write_csv(folder / "strategies.csv", MEMBER, _members(inspection, names)),
        files.write(folder / "fiftyone.json", to_json(_fiftyone(inspection, names), None)),
        files.write(folder / "findings.json", to_json(list_findings(inspection), None)),
    ]


PICTURE = ("image", "class", "probability", "strategies", "proven", "error")
PIXELS = ("example_maps", "maps")
"""What of strategies and their parts is on the page alone."""
MEMBER = ("strategy", "class", "proven", "image")


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(map(csv_cell, row) for row in rows)
    return files.write(path, text.getvalue())


def _by_place(inspection: Inspection) -> dict[int, tuple[InspectedClass, float]]:
    """Return the class of each picture and its probability."""
    return {
        place: (one, p)
        for one in inspection.classes
        for place, p in zip(one.places.tolist(), one.probability.tolist(), strict=True)
    }


def _strategies_of(inspection: Inspection) -> dict[int, list[int]]:
    """Return the numbers of each picture's strategies."""
    of: dict[int, list[int]] = {}
    for number, strategy in enumerate(inspection.strategies):
        for place in strategy.members.tolist():
            of.setdefault(place, []).append(number)
    return of


def _pictures(inspection: Inspection, names: Sequence[str]) -> Iterable[Sequence[Any]]:
    known, of, unread = _by_place(inspection), _strategies_of(inspection), inspection.progress.unreadable
    for place, image in enumerate(inspection.names):
        own = of.get(place, [])
        label, p = (known[place][0].label, f"{known[place][1]:z.6g}") if place in known else ("", "")
        proven = int(any(inspection.strategies[number].verdict for number in own))
        yield image, label, p, "; ".join(names[number] for number in own), proven, unread.get(image, "")


def _members(inspection: Inspection, names: Sequence[str]) -> Iterable[Sequence[Any]]:
    for name, strategy in zip(names, inspection.strategies, strict=True):
        for place in strategy.members.tolist():
            yield name, strategy.label, int(bool(strategy.verdict)), inspection.names[place]


def _fiftyone(inspection: Inspection, names: Sequence[str]) -> dict[str, Any]:
    """Return labels by the name of the picture without its suffix, which is how FiftyOne finds its file.

    Where files differ in nothing else, each has its whole path, which FiftyOne takes too.
    """
    of = _strategies_of(inspection)
    shorts = [name.removesuffix(PurePosixPath(name).suffix) for name in inspection.names]
    counts, samples = Counter(shorts), inspection.worker.samples
    labels: dict[str, Any] = {}
    for place, (one, p) in sorted(_by_place(inspection).items()):
        short, image = shorts[place], samples[place].image
        labels[short if counts[short] == 1 or not isinstance(image, Path) else str(image.resolve())] = [
            {
                "label": names[number],
                "confidence": p,
                "attributes": {"class": one.label, "proven": bool(inspection.strategies[number].verdict)},
            }
            for number in of.get(place, [])
        ]
    return {"classes": [*names], "labels": labels}


def list_findings(inspection: Inspection) -> dict[str, Any]:
    """Return all that was found, ready for JSON; what is not known is None."""
    names = name_strategies(inspection.strategies)
    return {
        "model": inspection.model,
        "method": inspection.method,
        "of": inspection.of,
        "settings": dict(inspection.settings),
        "versions": versions(),
        "conclusion": conclude(inspection),
        "verdicts": list(inspection.verdicts),
        "classes": [_plain(one) for one in inspection.classes],
        "without_parts": inspection.without_parts,
        "strategies": [_strategy(one, name) for one, name in zip(inspection.strategies, names, strict=True)],
        "pictures": list(inspection.names),
        "unreadable": {
            n: inspection.progress.unreadable[n] for n in inspection.names if n in inspection.progress.unreadable
        },
    }


def _strategy(strategy: Strategy, name: str) -> dict[str, Any]:
    known = {field.name: getattr(strategy, field.name) for field in fields(strategy) if field.name not in PIXELS}
    return {"name": name, "suspicion": _plain(strategy.signs.suspicion), **{k: _plain(v) for k, v in known.items()}}


def _plain(value: Any) -> Any:
    """Return what JSON can hold: NaN is None."""
    if isinstance(value, Frame):
        return _frame(value)
    if isinstance(value, Crop):
        return {"picture": int(value.picture), "box": list(value.box), "answer": value.answer}
    if hasattr(value, "rate"):  # of answers to single pictures
        return _plain(value.rate)
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value) if f.name not in PIXELS}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(one) for one in cast(Sequence[Any], value)]
    return None if isinstance(value, float) and value != value else value


def _frame(frame: Frame) -> dict[str, Any]:
    """Return where a region is: its box with exclusive ends and its share of the picture."""
    rows, columns = (np.flatnonzero(frame.region.any(axis).numpy()).tolist() for axis in (1, 0))
    return {
        "bound": frame.bound,
        "place": name_place(frame),
        "box": [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1],
        "size": list(frame.region.shape),
        "share": float(frame.region.float().mean()),
    }
