"""An inspection, read in a process of its own: its pictures, and the strategies that they follow."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic

from limelight import api, files
from limelight.bench.store import Store
from limelight.card import METHODS
from limelight.data.datasets import open_dataset
from limelight.data.samples import Sample
from limelight.errors import CorruptStore, InvalidOption, LimelightError
from limelight.text import file_name, to_json
from limelight.web.studio.catalogue import title_of
from limelight.web.studio.pictured import Events, Pictured, Request, find_source, make, refuse_arrays

FINDINGS = "findings.json"


class InspectedClass(pydantic.BaseModel):
    """What is read of a class, see ``limelight.inspection.findings.InspectedClass``."""

    target: int
    label: str
    places: list[int]
    probability: list[float | None]


class Strategy(pydantic.BaseModel):
    """What is read of a strategy, see ``limelight.inspection.findings.Strategy``."""

    name: str
    members: list[int]
    examples: list[int]
    verdict: str


class Findings(pydantic.BaseModel):
    """What is read of ``findings.json``, see ``limelight.pages.inspection.exports``."""

    method: str
    of: str
    conclusion: str
    classes: list[InspectedClass]
    strategies: list[Strategy]
    pictures: list[str]
    unreadable: dict[str, str]


class Studio(Pictured):
    """An inspection that is finished.

    Args:
        models: none.
        read: not used.
        settings: ``inspection``, the folder; ``source``, where its pictures are now, or None; ``made``, a folder of
            our own.

    Raises:
        InvalidOption: its pictures can't be shown or are not there.
        CorruptStore: a file is damaged.
    """

    kind = "inspection"

    def __init__(self, models: Sequence[str], read: Callable[[str], Path], settings: Mapping[str, Any]) -> None:
        folder = Path(settings["inspection"])
        self.notes = Store(folder).notes
        self.findings = _read_findings(folder / FINDINGS)
        samples = _find_pictures(self.notes, settings["source"], self.findings.pictures)
        super().__init__(samples, [str(place) for place in range(len(samples))], Path(settings["made"]))
        self.strips = [[*dict.fromkeys([*one.examples, *one.members])] for one in self.findings.strategies]
        self.members = [{*strip} for strip in self.strips]
        self.explained = {
            place: (one.target, one.label, p)
            for one in self.findings.classes
            for place, p in zip(one.places, one.probability, strict=True)
        }

    def label(self, place: int) -> str:
        """Return a picture's true class in words; "" if it is unknown."""
        if self.findings.of == "label" and place in self.explained:
            return self.explained[place][1]
        label = self.samples[place].label
        return label if isinstance(label, str) else ""


def _read_findings(path: Path) -> Findings:
    """Return what was found.

    Raises:
        CorruptStore: the file is damaged.
    """
    again = "; run `limelight inspect` again, and it is written anew"
    with files.refusing(CorruptStore, f"{path} can't be read as the findings of an inspection", again):
        findings = Findings.model_validate(json.loads(files.text_of(path)))
        places = {place for one in findings.strategies for place in (*one.members, *one.examples)}
        if not places <= {*range(len(findings.pictures))}:
            raise ValueError("a strategy has pictures that are not there")
    return findings


def _find_pictures(notes: Mapping[str, Any], given: str | None, names: Sequence[str]) -> list[Sample]:
    """Return the pictures in the order of the inspection; of one that is gone since the path where it would be.

    Raises:
        InvalidOption: all are gone, or can't be shown.
    """
    dataset = notes.get("dataset", "folder")
    source = find_source("inspection", dataset, notes.get("source"), given)
    try:
        there = api.as_samples(source) if dataset == "folder" else open_dataset(dataset, source, notes.get("split"))
    except LimelightError as error:
        raise InvalidOption(f"the inspection's pictures: {error}") from error
    known = {sample.name: sample for sample in there}
    if not known.keys() & {*names}:
        raise InvalidOption(f"none of the inspection's pictures ({names[0]}, …) is in {source}; is --folder right?")
    folder = Path("" if source is None else source if source.is_dir() else source.parent)
    samples = [known.get(name) or Sample(_inside(folder, name), name) for name in names]
    refuse_arrays("inspection", samples)
    return samples


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a name in a folder; names may come from strangers, and none leads out of it."""
    path = Path(os.path.normpath(folder / name))
    return path if path.is_relative_to(os.path.normpath(folder)) else folder / file_name(name)


def opened(studio: Studio, request: Request) -> Events:
    """Tell what was found, and of every picture its id, name, label and file, and whether we write that."""
    findings, options = studio.findings, studio.notes.get("options", {})
    known = findings.method in METHODS.cards()
    about = {
        "title": title_of(findings.method),
        "method": findings.method if known else None,
        "options": {k: to_json(v, None) if isinstance(v, dict) else v for k, v in options.items()},
        "of": findings.of,
        "conclusion": findings.conclusion,
        "verdicts": [one.verdict for one in findings.strategies if one.verdict],
        "strategies": [
            {"name": one.name, "proven": bool(one.verdict), "pictures": len(one.members)} for one in findings.strategies
        ],
    }
    pictures = [
        (studio.ids[i], sample.name, studio.label(i), *studio.path(i)) for i, sample in enumerate(studio.samples)
    ]
    yield "result", {"about": about, "pictures": pictures}


def picture(studio: Studio, request: Request) -> Events:
    """Tell for which class a picture was explained, how probable that was, and the numbers of its strategies.

    One that was dropped on the page has none.
    """
    place = studio.by_id.get(request["picture"], -1)
    name = studio.samples[place].name if place >= 0 else ""
    target, _, probability = studio.explained.get(place, (None, "", None))
    yield (
        "result",
        {
            "inspected": place >= 0,
            "name": name,
            "target": target,
            "probability": probability,
            "strategies": [i for i, members in enumerate(studio.members) if place in members],
            "error": studio.findings.unreadable.get(name, ""),
        },
    )


def strip(studio: Studio, request: Request) -> Events:
    """Tell some of the pictures that follow a strategy, by its number, the most typical first; or of all.

    Raises:
        InvalidOption: there is no such strategy.
    """
    number: int | None = request["strategy"]
    if number is not None and number >= len(studio.members):
        raise InvalidOption(f"there is no strategy {number}; there are {len(studio.members)}")
    everyone: Sequence[int] = range(len(studio.samples))
    places = everyone if number is None else studio.strips[number]
    shown = places[request["first"] : request["first"] + request["count"]]
    pictures = [{"id": studio.ids[i], "name": studio.samples[i].name, "label": studio.label(i)} for i in shown]
    yield "result", {"total": len(places), "pictures": pictures}


FUNCTIONS = {"opened": opened, "make": make, "inspection-picture": picture, "inspection-strip": strip}
