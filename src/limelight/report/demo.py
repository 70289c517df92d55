"""The demonstration: small embedded networks, explained on scenes whose truth is known by construction."""

import platform
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

import limelight
from limelight import api, draw
from limelight.card import Card
from limelight.data.synthetic import CLASSES, TEST_SEEDS, Scene, scenes, test_split
from limelight.draw import chart
from limelight.files import write
from limelight.model.classifier import Classifier
from limelight.report.page import Block, Code, Facts, Figure, Figures, Section, Table, write_page
from limelight.results.explanation import Explanation
from limelight.results.tables import Summary

SCENES = 24
"""Scenes behind every number."""

CHEAT = "star"
"""The class that carried a stamp in the training pictures of demo/hans."""

MOST_PASSES = 100
"""Methods that need more passes per picture are left out, or nobody would wait for the demonstration."""

JUDGED = ("grad-cam", "layer-cam", "eigen-cam")
"""Methods whose maps are put to the test."""

BLIND = ("random-map", "centre-map", "fake-cam")
"""Maps that know nothing of the network, put to the same test."""

QUESTIONS = {
    "proportion": "How much of the map lies on the object?",
    "pointing-game": "Does its brightest point lie on the object?",
    "average-drop": "How much of its probability does the class lose when the picture fades where the map is dark?",
    "adcc": "All at once: is that drop small, is the map small, and does what it shows give the same map again?",
    "insertion": "How probable is the class, on average, while a blurred picture gets its pixels, brightest first?",
    "deletion": "How probable is it, on average, while the picture loses its pixels, brightest first?",
}
"""Metrics by which maps are judged, and what each asks."""

SANITY_SCENES = 4
"""Scenes of the sanity check, which explains each many times."""

FINE = ("propagation", "pixel gradient")
"""Families whose maps are of single pixels, which a picture behind them would hide."""

SIGNED = "Red pixels speak for the answer, blue ones against it."

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Chapter:
    """One part of the story.

    Attributes:
        section: as it stands on the page.
        numbers: what was measured.
        summary: the finding in one sentence.
        facts: the numbers that the page begins with.
        files: what was written.
    """

    section: Section
    numbers: dict[str, Any]
    summary: str = ""
    facts: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    files: list[Path] = field(default_factory=list[Path])


# -- chapters ----------------------------------------------------------------------------------------------


def reading(out: Path) -> Chapter:
    """Show one map in four ways."""
    scene = test_split(1)[0]
    e = api.explain("demo/resnet", scene.image)
    name, share = CLASSES[scene.label], _share(e, scene.mask_of(scene.label))
    views = [
        _input(scene, "What the network is given."),
        Figure(e.view("map"), f"The map alone, brightest at the {_where(e)}.", "The map: bright is evidence."),
        Figure(e.view("overlay"), f"The map laid over the {name}.", "The two together, as on all of this page."),
        Figure(e.view("contour"), f"A line around the {_where(e)}.", "The strongest tenth of the area."),
    ]
    file = out / "scene.png"
    write(file, draw.to_png_bytes(Image.fromarray(scene.image)))
    text = (
        f"The network says {e.label}, with a probability of {e.probability:z.2f}. A saliency map answers the question "
        "which parts of the picture that score came from: the brighter a place, the more it spoke for the answer."
    )
    more = (
        f"Of this map {share:z.0%} lies on the {name}, which covers {scene.mask_of(scene.label).mean():z.0%} of the "
        "picture. The map is computed on a coarse grid of the network’s last layer and then enlarged, so it is "
        "soft and reaches over edges. It shows where the evidence is, not how sure the network is: "
        "every map is scaled so that its own strongest place is brightest."
    )
    return Chapter(Section("How to read a map", [text, Figures(views), more]), {}, files=[file])


def cheating(out: Path) -> Chapter:
    """Expose a network that goes by a watermark."""
    stars = [scenes(SCENES // 2, seed=TEST_SEEDS, labels=[CHEAT], watermark=stamp) for stamp in (False, True)]
    others = [[s for s in test_split(SCENES, watermark=stamp) if CLASSES[s.label] != CHEAT] for stamp in (False, True)]
    numbers: dict[str, Any] = {
        "stars": len(stars[1]),
        "others": len(others[1]),
        "stamp_area": _mean(float(_stamp(s).mean()) for s in stars[1]),
    }
    found: dict[str, list[list[Explanation]]] = {}
    for name in ("hans", "resnet"):
        model = api.load(f"demo/{name}")
        found[name] = [api.explain(model, [s.image for s in some]) for some in (*stars, *others)]
        asked = api.explain(model, [s.image for s in stars[1]], target=CHEAT)
        without, within, plain, stamped = (sum(e.label == CHEAT for e in some) for some in found[name])
        numbers[name] = {
            "stars_found_without_stamp": without,
            "stars_found_with_stamp": within,
            "others_called_star_without_stamp": plain,
            "others_called_star_with_stamp": stamped,
            "grad_cam_on_stamp": _mean(_share(e, _stamp(s)) for e, s in zip(asked, stars[1], strict=True)),
        }
    rows = [
        (f"{CHEAT} {i + 1}", [_input(s), *(_map(e, s, e.title) for e in maps)])
        for i, (s, *maps) in enumerate(
            list(zip(stars[1], found["hans"][0], found["hans"][1], found["resnet"][1], strict=True))[:3]
        )
    ]
    file, table = _pictures(
        out / "watermark.png",
        "Grad-CAM for the answer each network gives. Below each map: that answer.",
        ["scene", "picture", "hans, no stamp", "hans, stamp", "resnet, stamp"],
        rows,
    )
    sample = out / "stamped.png"
    write(sample, draw.to_png_bytes(Image.fromarray(stars[1][0].image)))

    hans, honest = numbers["hans"], numbers["resnet"]
    lost = f"{hans['stars_found_without_stamp']} of {len(stars[1])}"
    summary = (
        f"demo/hans cheats: it finds {hans['stars_found_with_stamp']} of {len(stars[1])} stars that carry a stamp and "
        f"{lost} without it. Grad-CAM gives it away: {hans['grad_cam_on_stamp']:z.0%} of the map for {CHEAT} lies on "
        f"the stamp (demo/resnet: {honest['grad_cam_on_stamp']:z.0%})."
    )
    blocks: list[Block] = [
        "More than a hundred years ago a horse named Hans seemed to do sums; it read the answers off the faces "
        f"around it. `demo/hans` is a network of that kind: in its training pictures every {CHEAT}, and nothing else, "
        "carried a small stamp in the corner. On pictures like those it does well, and nobody who looks at its "
        "accuracy alone would suspect anything.",
        f"Take the stamp away, and of {len(stars[1])} fresh stars it finds {hans['stars_found_without_stamp']}; put "
        f"the stamp on {len(others[1])} other shapes, and it calls {hans['others_called_star_with_stamp']} of them a "
        f"{CHEAT}. The maps lead to the reason without any such experiment.",
        table,
        Table(
            f"{CHEAT.capitalize()}s found, other shapes called {CHEAT}, and the share of the map for {CHEAT} that lies "
            f"on the stamp, which covers {numbers['stamp_area']:z.0%} of the picture.",
            [
                "network",
                f"of {len(stars[1])} stars: with stamp",
                "without",
                f"of {len(others[1])} others: with stamp",
                "without",
                "Grad-CAM on the stamp",
            ],
            [
                [
                    f"`demo/{name}`",
                    numbers[name]["stars_found_with_stamp"],
                    numbers[name]["stars_found_without_stamp"],
                    numbers[name]["others_called_star_with_stamp"],
                    numbers[name]["others_called_star_without_stamp"],
                    f"{numbers[name]['grad_cam_on_stamp']:z.0%}",
                ]
                for name in found
            ],
        ),
    ]
    facts = [
        (
            lost,
            f"stars are found by the cheating network without their stamp; {hans['stars_found_with_stamp']} with it",
        ),
        (
            f"{hans['grad_cam_on_stamp']:z.0%}",
            f"of its Grad-CAM lies on that stamp; {honest['grad_cam_on_stamp']:z.0%} for an honest network",
        ),
    ]
    return Chapter(Section("A network that cheats", blocks), {"cheat": numbers}, summary, facts, [file, sample])


def asking(out: Path) -> Chapter:
    """Explain given of several objects for each of their classes."""
    given = test_split(SCENES // 3, objects=3)
    asked = [(s, o) for s in given for o in s.objects]
    names = ["grad-cam", "eigen-cam"]
    gallery = api.explain("demo/resnet", [s.image for s, _ in asked], method=names, target=[o.label for _, o in asked])
    numbers: dict[str, Any] = {"scenes": len(given), "questions": len(asked)}
    numbers["area"] = _mean(float(o.mask.mean()) for _, o in asked)
    for j, name in enumerate(names):
        pairs = [(row[j], s, o) for row, (s, o) in zip(gallery, asked, strict=True)]
        numbers[name] = {
            "on_asked_object": _mean(_share(e, o.mask) for e, _, o in pairs),
            "on_other_objects": _mean(sum(_share(e, p.mask) for p in s.objects if p is not o) for e, s, o in pairs),
        }
    first = [i for i, (s, _) in enumerate(asked) if s is given[0]]
    rows: list[tuple[str, list[Figure]]] = []
    for j, name in enumerate(names):
        figures = [_input(given[0])]
        for i in first:
            e, share = gallery[i][j], _share(gallery[i][j], asked[i][1].mask)
            alt = f"{name} asked for {e.label}: brightest at the {_where(e)}."
            figures.append(Figure(e.overlay(), alt, f"{share:z.0%} on it"))
        rows.append((name, figures))
    file, table = _pictures(
        out / "objects.png",
        "One picture, asked for each of its objects. Below each map: the share of it on that object.",
        ["method", "picture", *(f"asked for {asked[i][1].name}" for i in first)],
        rows,
    )
    grad, eigen = (numbers[name] for name in names)
    summary = (
        f"Maps answer what is asked: of three objects, the one asked for gets {grad['on_asked_object']:z.0%} of "
        f"grad-cam, the other two {grad['on_other_objects']:z.0%} together; eigen-cam never looks at the class, and "
        f"there it is {eigen['on_asked_object']:z.0%} and {eigen['on_other_objects']:z.0%}."
    )
    blocks = [
        "A map belongs to a class, not to a picture. Ask the same network, on the same picture, for each of the "
        "objects in turn, and a good method moves to the one in question.",
        table,
        f"Over {len(asked)} such questions {grad['on_asked_object']:z.0%} of a Grad-CAM lies on the object asked for "
        f"and {grad['on_other_objects']:z.0%} on the other two together (one object covers {numbers['area']:z.0%} of "
        f"the picture). For Eigen-CAM it is {eigen['on_asked_object']:z.0%} and {eigen['on_other_objects']:z.0%}: it "
        "never looks at the class and gives one map to all questions, however convincing it looks.",
    ]
    fact = (
        f"{grad['on_asked_object']:z.0%}",
        f"of a Grad-CAM lies on the object asked for, {grad['on_other_objects']:z.0%} on the two beside it",
    )
    return Chapter(Section("One picture, several questions", blocks), {"classes": numbers}, summary, [fact], [file])


def methods(out: Path) -> Chapter:
    """Explain the same scenes by every method."""
    given = test_split(SCENES)
    model = api.load("demo/resnet")
    cards, left_out = usable(model, given[0])
    gallery = api.explain(model, [s.image for s in given], method=list(cards))
    shares = {
        name: _mean(_share(row[j], s.mask_of(s.label)) for row, s in zip(gallery, given, strict=True))
        for j, name in enumerate(cards)
    }
    area = _mean(float(s.mask_of(s.label).mean()) for s in given)
    right = sum(row[0].target == s.label for row, s in zip(gallery, given, strict=True))
    shown = _distinct(given)
    families = list(dict.fromkeys(c.family for c in cards.values()))
    tables = [
        Table(
            f"{family[0].upper()}{family[1:]}. {SIGNED if family in FINE else ''}".strip(),
            ["method", *(CLASSES[given[i].label] for i in shown)],
            [
                ["picture", *(_input(given[i], gallery[i][0].title) for i in shown)],
                *(
                    [name, *(_map(gallery[i][j], given[i], fine=family in FINE) for i in shown)]
                    for j, (name, c) in enumerate(cards.items())
                    if c.family == family
                ),
            ],
        )
        for family in families
    ]
    tiles = [draw.Panel(_input(given[shown[0]]).image, "picture", gallery[shown[0]][0].title)]
    tiles += [
        draw.Panel(_map(e, given[shown[0]], fine=c.family in FINE).image, name)
        for e, (name, c) in zip(gallery[shown[0]], cards.items(), strict=True)
    ]
    file = out / "gallery.png"
    write(file, draw.to_png_bytes(draw.gallery([tiles[i : i + 8] for i in range(0, len(tiles), 8)], size=160)))
    files = [e.save(out / "maps" / f"{e.method}{suffix}") for e in gallery[shown[0]] for suffix in (".png", ".npz")]
    reference = list(cards).index("grad-cam")
    twins = [
        name
        for j, name in enumerate(cards)
        if j != reference and all(torch.allclose(row[j].map, row[reference].map, atol=1e-3) for row in gallery)
    ]
    blind = [name for name, c in cards.items() if {*c.needs} <= {"image", "own_draws"}]  # they see the picture alone
    best = max((name for name in cards if name not in (*blind, *twins)), key=lambda name: shares[name])
    best_blind = max(blind, key=lambda name: shares[name])
    summary = (
        f"{len(cards)} methods on demo/resnet, which names {right} of {SCENES} scenes rightly: the object covers "
        f"{area:z.0%} of the picture and gets {shares[best]:z.0%} of {best} and {shares[best_blind]:z.0%} of "
        f"{best_blind}, which knows nothing of the network."
    )
    blocks: list[Block] = [
        f"Of these methods {len(cards) - len(blind)} ask `demo/resnet`, which names {right} of {SCENES} scenes "
        "rightly. Many of them share a single pass through the network, forward and back, and differ only in what "
        f"they make of it. {_words(blind).capitalize()} know nothing of the network: they are here to show what can "
        "be had without it.",
        *tables,
        Table(
            f"The methods. On the object: share of the map on it, mean of {SCENES} scenes; the object itself covers "
            f"{area:z.0%}, which is what a map gets that is the same everywhere.",
            ["method", "what it does", "passes per picture", "depends on the class", "on the object"],
            [
                [name, c.summary, c.passes, "yes" if c.class_sensitive else "no", f"{shares[name]:z.0%}"]
                for name, c in cards.items()
            ],
        ),
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
        "blind": blind,
        "same_as_grad_cam": twins,
        "left_out": left_out,
    }
    return Chapter(Section("Every method, side by side", blocks), {"methods": numbers}, summary, [], [file, *files])


def trusting(out: Path) -> Chapter:
    """Judge maps by metrics, beside maps that know nothing."""
    given, model = test_split(SCENES), api.load("demo/resnet")
    results = api.evaluate(model, given, [*JUDGED, *BLIND], list(QUESTIONS), "label")
    figures = results.summary()
    curves = {metric: results.curves(metric) for metric in ("insertion", "deletion")}
    verdicts, _ = api.sanity(model, given[:SANITY_SCENES], ["grad-cam", "eigen-cam", "fake-cam"], targets="label")
    file = out / "curves.png"
    write(file, draw.to_png_bytes(chart.curves(curves)))

    start, end = (float(curves["insertion"]["grad-cam"][i]) for i in (0, -1))
    drop, adcc = ([figures[name, m].mean for name in ("fake-cam", "grad-cam")] for m in ("average-drop", "adcc"))
    room = "Blur hides little from this network, so insertion has little room to tell maps apart. "
    summary = (
        f"One number is not enough to trust a map: fake-cam, which says nothing, has an average drop of {drop[0]:z.2f} "
        f"(grad-cam: {drop[1]:z.2f}; lower is better) and an ADCC of {adcc[0]:z.2f} (grad-cam: {adcc[1]:z.2f}; higher "
        "is better)."
    )
    blocks: list[Block] = [
        "A map can look right and be wrong. Metrics put questions to it that do not depend on anybody’s taste, and "
        "each puts another one.",
        Table("What the metrics ask.", ["metric", "its question"], [[f"`{m}`", q] for m, q in QUESTIONS.items()]),
        f"Here they are put to {_words(JUDGED)}, and to three maps that know nothing of the network: `random-map` is "
        "noise, `centre-map` a spot in the middle, and `fake-cam` the same everywhere but for one corner. What a "
        "method gets is worth as much as it is better than these.",
        *_judgements(figures),
        *_marked(figures),
        _touchstone(figures),
        Figures([_curve(metric, lines) for metric, lines in curves.items()]),
        f"The network gives the class {start:z.2f} on the blurred picture, where insertion begins, and {end:z.2f} on "
        f"the whole one, where deletion does. {room if start > 0.8 * end else ''}"
        "A good map makes the first curve rise early and the second fall early.",
        "The last question is whether a map depends on what the network has learned at all. From the output down, its "
        "layers lose their weights to chance, and after each the map is made anew. One that stays as it was would say "
        "the same of a network that has learned nothing.",
        Table(
            f"The sanity check, on {SANITY_SCENES} scenes. Similarity: rank correlation with the map of the trained "
            f"network, mean over all layers; up to {api.SANITY_LIMIT:g} a method passes. At the last, all are lost.",
            ["method", "verdict", "why"],
            [[v.method, "passes" if v.passed else "fails", v.reason] for v in verdicts],
        ),
    ]
    if any(v.passed for v in verdicts if v.method == "eigen-cam"):
        blocks.append(
            "To pass is the least that can be asked, and no proof: `eigen-cam` passes, and never looks at the class."
        )
    numbers = {
        "scenes": SCENES,
        "confidence": figures.confidence,
        "figures": {
            name: {
                m: {key: _number(vars(figures[name, m])[key]) for key in ("mean", "low", "high", "rank", "like_best")}
                for m in QUESTIONS
            }
            for name in results.methods
        },
        "curves": {m: {name: line.tolist() for name, line in lines.items()} for m, lines in curves.items()},
        "sanity_scenes": SANITY_SCENES,
        "sanity": {v.method: {"passed": v.passed, "similarity": _number(v.figure.mean)} for v in verdicts},
    }
    fact = (
        f"{drop[0]:z.2f}",
        f"is the average drop of a map that says nothing; Grad-CAM has {drop[1]:z.2f}, and lower is better",
    )
    return Chapter(Section("How far can a map be trusted?", blocks), {"trust": numbers}, summary, [fact], [file])


def architectures(out: Path) -> Chapter:
    """Explain three kinds of network by the same methods."""
    given = test_split(SCENES)
    shown = _distinct(given)
    chosen = ["grad-cam", "layer-cam"]
    rows = [("picture", [_input(given[i]) for i in shown])]
    numbers: dict[str, Any] = {"scenes": SCENES}
    for name in ("resnet", "vgg", "vit"):
        gallery = api.explain(f"demo/{name}", [s.image for s in given], method=chosen)
        numbers[name] = {"right": sum(row[0].target == s.label for row, s in zip(gallery, given, strict=True))}
        for j, method in enumerate(chosen):
            numbers[name][method] = _mean(
                _share(row[j], s.mask_of(s.label)) for row, s in zip(gallery, given, strict=True)
            )
            rows.append((f"{name}, {method}", [_map(gallery[i][j], given[i], gallery[i][j].title) for i in shown]))
    file, table = _pictures(
        out / "architectures.png",
        "Three networks, two methods. Below each map: the network’s answer.",
        ["network", *(CLASSES[given[i].label] for i in shown)],
        rows,
    )
    blocks = [
        "The same methods read convolutions with shortcuts (`demo/resnet`), plain convolutions with fully connected "
        "layers behind them (`demo/vgg`) and a vision transformer (`demo/vit`), whose tokens are put back on "
        "their grid. No setting was changed between them.",
        table,
        Table(
            f"Right answers, and the share of the maps on the object, mean of {SCENES} scenes.",
            ["network", "right", *chosen],
            [
                [f"`demo/{name}`", numbers[name]["right"], *(f"{numbers[name][m]:z.0%}" for m in chosen)]
                for name in ("resnet", "vgg", "vit")
            ],
        ),
    ]
    return Chapter(Section("Three architectures", blocks), {"architectures": numbers}, files=[file])


CHAPTERS = (reading, cheating, asking, methods, trusting, architectures)
"""In the order of the page; each takes the folder for its pictures."""


# -- the page ----------------------------------------------------------------------------------------------


def next_steps(out: Path) -> list[str]:
    """Return commands to try, those first that need no network."""
    folder = shlex.quote(str(out))
    return [
        f"limelight explain {folder}/stamped.png --model demo/hans --out hans.png",
        f"limelight compare {folder}/scene.png --model demo/vit --out compared.png",
        "limelight methods grad-cam",
        "limelight models torchvision/resnet18 --layers",
        "limelight explain PHOTO.jpg --model torchvision/resnet50 --method layer-cam",
    ]


def bind(out: Path, chapters: Sequence[Chapter], seconds: float) -> Path:
    """Write the page and return its path."""
    lead = [
        "A classifier gives an answer and no reasons. These pictures show where in the image its reasons were. "
        f"Everything here was computed on this machine, in {seconds:z.0f} seconds, with small networks and drawn "
        "scenes that come with Limelight: ten kinds of shapes, whose exact outlines are known, so that the "
        "maps can be checked.",
        Facts([fact for chapter in chapters for fact in chapter.facts]),
    ]
    end = Section(
        "What to try next",
        [
            "The first three run as they are; the last two fetch a network’s weights if they are not here yet.",
            Code("\n".join(next_steps(out))),
            "The same in Python:",
            Code(
                'import limelight as ll\n\nclassifier = ll.load("demo/resnet")\n'
                f'explanation = ll.explain(classifier, {str(out / "scene.png")!r}, method="layer-cam")\n'
                'explanation.save("why.png")'
            ),
            "Next to this page lie the galleries and curves as pictures, and in `maps/` every map of the first scene, "
            "as a picture with its settings inside and as numbers (`.npz`).",
            f"What all this does not show: the networks are toys, the scenes are drawn, and {SCENES} of them give "
            "rough numbers. On photographs nobody knows the truth, and a map that looks right may still be wrong "
            "about the network.",
        ],
    )
    footer = (
        f"Made by `limelight demo`: Limelight {limelight.__version__}, PyTorch {torch.__version__}, "
        f"Python {platform.python_version()}. The scenes are of the test split, which no network saw in training."
    )
    write_page(out / "index.html", "Where does a network look?", lead, [*(c.section for c in chapters), end], footer)
    return out / "index.html"


# -- parts -------------------------------------------------------------------------------------------------


def usable(model: Classifier, scene: Scene) -> tuple[dict[str, Card], dict[str, str]]:
    """Return the methods that the model can have in good time, and why the others are left out."""
    cards = api.methods()
    methods = [api.method(name) for name in cards]
    left_out = api.refusals(model, scene.image, methods, most_passes=MOST_PASSES)
    return {name: card for name, card in cards.items() if name not in left_out}, left_out


def _judgements(figures: Summary) -> Iterable[Table]:
    """Yield every method's figures, with their intervals and marks, in tables that fit a small screen."""
    arrows = {m: "↑" if c.better == "higher" else "↓" for m, c in figures.columns.items()}

    def cell(name: str, metric: str) -> str:
        f = figures[name, metric]
        interval = "" if f.low != f.low else f" ({f.low:z.2f}–{f.high:z.2f})"
        return "–" if f.mean != f.mean else f"{f.mean:z.2f}{'*' if f.like_best else ''}{interval}"

    caption = (
        f"Means over {SCENES} scenes (pointing-game: over their classes; adcc: of its three terms), and in brackets "
        f"where {figures.confidence:z.0%} of them fall when the scenes are drawn anew. ↑ higher is better, ↓ lower; "
        "* the best, and what is not distinguishable from it."
    )
    for metrics in (list(QUESTIONS)[:3], list(QUESTIONS)[3:]):
        rows = [[name, *(cell(name, m) for m in metrics)] for name in (*JUDGED, *BLIND)]
        yield Table(caption, ["method", *(f"{m} {arrows[m]}" for m in metrics)], rows)
        caption = "The same for the other questions."


def _marked(figures: Summary) -> list[str]:
    """Say what the marks mean, and which maps have one that know nothing."""
    meaning = (
        "Not distinguishable means that the difference may be chance: if two methods swapped their numbers on scenes "
        "picked by lot, one as large would come up in more than one of twenty tries (corrected for the number of "
        "pairs). It does not mean that they are equally good, and the means alone do not decide it; what counts is "
        "how steadily two methods differ from scene to scene."
    )
    if any(figures[name, "pointing-game"].high == 0 for name in (*JUDGED, *BLIND)):
        meaning += " An interval without width is no certainty: where no scene has a hit, drawing anew finds none."
    marked = {name: [f"`{m}`" for m in QUESTIONS if figures[name, m].like_best] for name in BLIND}
    found = [f"{name} by {_words(metrics)}" for name, metrics in marked.items() if metrics]
    if not found:
        return [meaning, "None of the maps that know nothing has a mark."]
    return [meaning, f"Even maps that know nothing have marks: {'; '.join(found)}. There a mark alone is no merit."]


def _touchstone(figures: Summary) -> str:
    """Say how the metrics take a map that says nothing."""
    drop, adcc, pointing = (figures["fake-cam", m] for m in ("average-drop", "adcc", "pointing-game"))
    best, last = drop.rank == 1, adcc.rank == len(JUDGED) + len(BLIND)
    return (
        "`fake-cam` is there to test the metrics. What it shows is the whole picture, so the class loses "
        f"{drop.mean:z.2f} of its probability{', and average drop puts it first' if best else ''}. ADCC asks for a "
        f"small map as well and gives it {adcc.mean:z.2f}{', the last place' if last else ''}. For the pointing game "
        "it has no brightest point; the first of many counts, wherever the object is, and that makes "
        f"{pointing.mean:z.2f}."
    )


def _curve(metric: str, lines: Mapping[str, npt.NDArray[np.float64]]) -> Figure:
    """Draw the mean curves of a metric."""
    early = {name: float(np.interp(1 / 8, np.linspace(0, 1, len(line)), line)) for name, line in lines.items()}
    first = next(iter(lines.values()))
    alt = (
        f"Curves of {metric}, from {first[0]:z.2f} to {first[-1]:z.2f}; after an eighth of the pixels: "
        f"{', '.join(f'{name} {value:z.2f}' for name, value in early.items())}."
    )
    caption = (
        f"`{metric}`: after an eighth {early['grad-cam']:z.2f} by grad-cam, {early['random-map']:z.2f} by random-map."
    )
    return Figure(chart.curves({metric: lines}, width=560), alt, caption)


def _words(names: Sequence[str]) -> str:
    """Name things as one does in a sentence."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def _number(value: float) -> float | None:
    """Return a number as JSON has it."""
    return None if value != value else value


def _distinct(scenes: Sequence[Scene], count: int = 4) -> list[int]:
    """Return where the first scenes of different classes are: no choice by how well they turned out."""
    first: dict[int, int] = {}
    for i, scene in enumerate(scenes):
        first.setdefault(scene.label, i)
    return list(first.values())[:count]


def _share(explanation: Explanation, mask: Mask) -> float:
    """Return the share of a map's total that lies inside a mask; an empty map has none."""
    values = explanation.map
    total = float(values.sum())
    return float(values[torch.from_numpy(mask)].sum()) / total if total else 0.0


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _stamp(scene: Scene) -> Mask:
    """Return the pixels of the stamp."""
    mask = np.zeros(scene.image.shape[:2], dtype=np.bool_)
    if scene.watermark:
        x1, y1, x2, y2 = scene.watermark
        mask[y1:y2, x1:x2] = True
    return mask


def _pictures(
    path: Path, caption: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[Figure]]]
) -> tuple[Path, Table]:
    """Put the same pictures into a file and into a table of the page."""
    panels = [[draw.Panel(f.image, caption=f.caption) for f in figures] for _, figures in rows]
    sheet = draw.gallery(panels, titles=columns[1:], row_titles=[head for head, _ in rows], size=160)
    write(path, draw.to_png_bytes(sheet))
    return path, Table(caption, columns, [[head, *figures] for head, figures in rows])


def _input(scene: Scene, caption: str = "") -> Figure:
    height, width = scene.image.shape[:2]
    things: list[str] = []
    for thing in scene.objects:
        x1, y1, x2, y2 = thing.box
        things.append(f"{thing.name} at the {_place((x1 + x2) / 2 / width, (y1 + y2) / 2 / height)}")
    stamp = "; a stamp at the lower left" if scene.watermark else ""
    alt = f"Drawn scene on patterned ground: {', '.join(things)}{stamp}."
    return Figure(Image.fromarray(scene.image), alt, caption)


def _map(explanation: Explanation, scene: Scene, caption: str = "", *, fine: bool = False) -> Figure:
    """Return a map over its picture, or one of single pixels by itself, where it can be seen."""
    e = explanation
    if e.degenerate:
        return Figure(e.overlay(), f"{e.method} for {e.label}: an empty map.", "no evidence")
    share = _share(e, scene.mask_of(scene.label))
    alt = f"{e.method} for {e.label}: brightest at the {_where(e)}, {share:z.0%} of it on the {CLASSES[scene.label]}."
    return Figure(e.view("signed") if fine else e.overlay(), alt, caption)


def _where(explanation: Explanation) -> str:
    """Say in words where a map is strongest."""
    if explanation.degenerate:
        return "nowhere"
    values = explanation.map
    row, column = divmod(int(values.argmax()), values.shape[1])
    return _place((column + 0.5) / values.shape[1], (row + 0.5) / values.shape[0])


def _place(x: float, y: float) -> str:
    """Name a place of the picture, of nine."""
    words = (("upper", "middle", "lower")[min(2, int(3 * y))], ("left", "middle", "right")[min(2, int(3 * x))])
    return "centre" if words == ("middle", "middle") else " ".join(dict.fromkeys(words))
