"""The chapter that shows every method side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from limelight import api, draw
from limelight.card import Card
from limelight.data.synthetic import CLASSES, Scene, test_split
from limelight.model.classifier import Classifier
from limelight.pages.demo.chapter import Chapter
from limelight.pages.demo.figures import map_figure, scene_figure, write_image
from limelight.pages.demo.scenes import SCENES, first_of_each_class, mean, share_on_object
from limelight.pages.demo.wording import join_words
from limelight.pages.page import Block, Section, Table
from limelight.results.explanation import Explanation

MAX_PASSES = 100
"""Methods that need more passes per picture are left out, or nobody would wait for the demonstration."""

PIXEL_FAMILIES = ("propagation", "pixel gradient")
"""Families whose maps are of single pixels, which a picture behind them would hide."""

SIGNED_CAPTION = "Red pixels speak for the answer, blue ones against it."

Cards = Mapping[str, Card]
Rows = Sequence[Sequence[Explanation]]
"""Explanations by scene, then by method."""


def compare_methods(out: Path) -> Chapter:
    """Explain the same scenes by every method."""
    scenes = test_split(SCENES)
    model = api.load("demo/resnet")
    cards, left_out = select_methods(model, scenes[0])
    gallery = api.explain(model, [s.image for s in scenes], method=list(cards))
    shares = {
        name: mean(share_on_object(row[j], s) for row, s in zip(gallery, scenes, strict=True))
        for j, name in enumerate(cards)
    }
    area = mean(float(s.mask_of(s.label).mean()) for s in scenes)
    right = sum(row[0].target == s.label for row, s in zip(gallery, scenes, strict=True))
    shown = first_of_each_class(scenes)
    file = _write_gallery(out / "gallery.png", cards, gallery[shown[0]], scenes[shown[0]])
    files = [e.save(out / "maps" / f"{e.method}{suffix}") for e in gallery[shown[0]] for suffix in (".png", ".npz")]
    twins = _same_as("grad-cam", list(cards), gallery)
    # Those that see the picture alone; a layer they look at under an option only.
    controls = [name for name, c in cards.items() if {*c.needs} <= {"image", "own_draws", "acts_if_any"}]
    best = max((name for name in cards if name not in (*controls, *twins)), key=lambda name: shares[name])
    best_control = max(controls, key=lambda name: shares[name])
    summary = (
        f"{len(cards)} methods on demo/resnet, which names {right} of {SCENES} scenes rightly: the object covers "
        f"{area:z.0%} of the picture and gets {shares[best]:z.0%} of {best} and {shares[best_control]:z.0%} of "
        f"{best_control}, which knows nothing of the network."
    )
    blocks: list[Block] = [
        f"Of these methods {len(cards) - len(controls)} ask `demo/resnet`, which names {right} of {SCENES} scenes "
        "rightly. Many of them share a single pass through the network, forward and back, and differ only in what "
        f"they make of it. {join_words(controls).capitalize()} know nothing of the network: they are here to show "
        "what can be had without it.",
        *_map_tables(cards, [gallery[i] for i in shown], [scenes[i] for i in shown]),
        _method_table(cards, shares, area),
        "F is a forward pass, R a backward pass, and R_t one down to the explained layer only. A high share is no "
        "proof of a good map: a network may have reasons to look beside the object, as the cheat does, and a map that "
        "hugs the object can be wrong about the network.",
    ]
    if twins:
        blocks.append(
            f"On this network grad-cam and {', '.join(twins)} give the same maps. That is no accident: behind the "
            "explained layer there is only an average and one linear layer, and there their formulas coincide. "
            "On other networks they differ."
        )
    if left_out:
        blocks.append(Table("Left out here.", ["method", "why"], [[name, why] for name, why in left_out.items()]))
    numbers = {
        "scenes": SCENES,
        "right": right,
        "object_area": area,
        "on_object": shares,
        "blind": controls,
        "same_as_grad_cam": twins,
        "left_out": left_out,
    }
    return Chapter(Section("Every method, side by side", blocks), {"methods": numbers}, summary, [], [file, *files])


def select_methods(model: Classifier, scene: Scene) -> tuple[dict[str, Card], dict[str, str]]:
    """Return the methods that the model can have in good time, and why the others are left out."""
    cards = api.methods()
    methods = [api.method(name) for name in cards]
    left_out = api.refusals(model, scene.image, methods, most_passes=MAX_PASSES)
    return {name: card for name, card in cards.items() if name not in left_out}, left_out


def _same_as(method: str, names: Sequence[str], gallery: Rows) -> list[str]:
    """Return the other methods whose maps are those of one method, on every scene."""
    reference = names.index(method)
    return [
        name
        for j, name in enumerate(names)
        if j != reference and all(torch.allclose(row[j].map, row[reference].map, atol=1e-3) for row in gallery)
    ]


def _map_tables(cards: Cards, gallery: Rows, scenes: Sequence[Scene]) -> list[Table]:
    """Return a table of maps for every family, a column for each scene."""
    pairs = list(zip(gallery, scenes, strict=True))
    tables: list[Table] = []
    for family in dict.fromkeys(c.family for c in cards.values()):
        fine = family in PIXEL_FAMILIES
        caption = f"{family[0].upper()}{family[1:]}. {SIGNED_CAPTION if fine else ''}".strip()
        rows = [
            [name, *(map_figure(row[j], s, fine=fine) for row, s in pairs)]
            for j, (name, c) in enumerate(cards.items())
            if c.family == family
        ]
        pictures = [scene_figure(s, row[0].title) for row, s in pairs]
        tables.append(Table(caption, ["method", *(CLASSES[s.label] for s in scenes)], [["picture", *pictures], *rows]))
    return tables


def _method_table(cards: Cards, shares: Mapping[str, float], area: float) -> Table:
    """Return what each method does and costs, and how much of its maps lies on the object."""
    return Table(
        f"The methods. On the object: share of the map on it, mean of {SCENES} scenes; the object itself covers "
        f"{area:z.0%}, which is what a map gets that is the same everywhere.",
        ["method", "what it does", "passes per picture", "depends on the class", "on the object"],
        [
            [name, c.summary, c.passes, "yes" if c.class_sensitive else "no", f"{shares[name]:z.0%}"]
            for name, c in cards.items()
        ],
    )


def _write_gallery(path: Path, cards: Cards, row: Sequence[Explanation], scene: Scene) -> Path:
    """Write the maps of one scene by all methods as one picture, and return its path."""
    tiles = [draw.Panel(scene_figure(scene).image, "picture", row[0].title)]
    tiles += [
        draw.Panel(map_figure(e, scene, fine=c.family in PIXEL_FAMILIES).image, name)
        for e, (name, c) in zip(row, cards.items(), strict=True)
    ]
    return write_image(path, draw.gallery([tiles[i : i + 8] for i in range(0, len(tiles), 8)], size=160))
