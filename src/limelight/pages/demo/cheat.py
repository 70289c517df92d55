"""The chapter about a network that goes by a watermark, and about the maps that give it away."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from limelight import api
from limelight.data.synthetic import CLASSES, TEST_SEEDS, Scene, scenes, test_split
from limelight.pages.demo.chapter import Chapter
from limelight.pages.demo.figures import map_figure, scene_figure, write_image, write_picture_table
from limelight.pages.demo.scenes import SCENES, mean, share_inside, stamp_mask
from limelight.pages.page import Block, Figure, Section, Table
from limelight.results.explanation import Explanation

STAMPED_CLASS = "star"
"""The class that carried a stamp in the training pictures of demo/hans."""

NETWORKS = ("hans", "resnet")
"""The one that cheats, and an honest one."""


def expose_cheat(out: Path) -> Chapter:
    """Expose a network that goes by a watermark."""
    both = (False, True)  # without and with a stamp
    stars = [scenes(SCENES // 2, seed=TEST_SEEDS, labels=[STAMPED_CLASS], watermark=stamp) for stamp in both]
    others = [[s for s in test_split(SCENES, watermark=stamp) if CLASSES[s.label] != STAMPED_CLASS] for stamp in both]
    numbers: dict[str, Any] = {
        "stars": len(stars[1]),
        "others": len(others[1]),
        "stamp_area": mean(float(stamp_mask(s).mean()) for s in stars[1]),
    }
    answers: dict[str, list[list[Explanation]]] = {}
    for name in NETWORKS:
        model = api.load(f"demo/{name}")
        answers[name] = [api.explain(model, [s.image for s in group]) for group in (*stars, *others)]
        asked = api.explain(model, [s.image for s in stars[1]], target=STAMPED_CLASS)
        numbers[name] = _count(answers[name], asked, stars[1])
    file = out / "watermark.png"
    table = write_picture_table(
        file,
        "Grad-CAM for the answer each network gives. Below each map: that answer.",
        ["scene", "picture", "hans, no stamp", "hans, stamp", "resnet, stamp"],
        _pictures(stars[1], answers),
    )
    sample = write_image(out / "stamped.png", Image.fromarray(stars[1][0].image))

    hans, honest = (numbers[name] for name in NETWORKS)
    count = f"{hans['stars_found_without_stamp']} of {len(stars[1])}"
    on_stamp = f"{hans['grad_cam_on_stamp']:z.0%}"
    summary = (
        f"demo/hans cheats: it finds {hans['stars_found_with_stamp']} of {len(stars[1])} stars that carry a stamp and "
        f"{count} without it. Grad-CAM gives it away: {on_stamp} of the map for {STAMPED_CLASS} lies on "
        f"the stamp (demo/resnet: {honest['grad_cam_on_stamp']:z.0%})."
    )
    facts = [
        (
            count,
            f"stars are found by the cheating network without their stamp; {hans['stars_found_with_stamp']} with it",
        ),
        (on_stamp, f"of its Grad-CAM lies on that stamp; {honest['grad_cam_on_stamp']:z.0%} for an honest network"),
    ]
    section = Section("A network that cheats", [*_story(numbers), table, _count_table(numbers)])
    return Chapter(section, {"cheat": numbers}, summary, facts, [file, sample])


def _count(
    answers: Sequence[Sequence[Explanation]], asked: Sequence[Explanation], stamped: Sequence[Scene]
) -> dict[str, Any]:
    """Count how often a network answers with the stamped class, and how much of that class's maps is on the stamp.

    Args:
        answers: explanations of the stars without a stamp and with one, then of the other shapes.
        asked: explanations of the stamped class on the stars with a stamp.
        stamped: those stars.
    """
    without, within, plain, marked = (sum(e.label == STAMPED_CLASS for e in group) for group in answers)
    return {
        "stars_found_without_stamp": without,
        "stars_found_with_stamp": within,
        "others_called_star_without_stamp": plain,
        "others_called_star_with_stamp": marked,
        "grad_cam_on_stamp": mean(share_inside(e, stamp_mask(s)) for e, s in zip(asked, stamped, strict=True)),
    }


def _pictures(
    stamped: Sequence[Scene], answers: Mapping[str, Sequence[Sequence[Explanation]]]
) -> list[tuple[str, list[Figure]]]:
    """Return a row for each of the first stars: the picture, and the maps of both networks."""
    maps = zip(stamped, answers["hans"][0], answers["hans"][1], answers["resnet"][1], strict=True)
    return [
        (f"{STAMPED_CLASS} {i + 1}", [scene_figure(s), *(map_figure(e, s, e.title) for e in row)])
        for i, (s, *row) in enumerate(list(maps)[:3])
    ]


def _story(numbers: Mapping[str, Any]) -> list[Block]:
    """Tell what the network learned, and what becomes of it without the stamp."""
    stars, others, hans = numbers["stars"], numbers["others"], numbers["hans"]
    return [
        "More than a hundred years ago a horse named Hans seemed to do sums; it read the answers off the faces "
        f"around it. `demo/hans` is a network of that kind: in its training pictures every {STAMPED_CLASS}, and "
        "nothing else, carried a small stamp in the corner. On pictures like those it does well, and nobody who looks "
        "at its accuracy alone would suspect anything.",
        f"Take the stamp away, and of {stars} fresh stars it finds {hans['stars_found_without_stamp']}; put "
        f"the stamp on {others} other shapes, and it calls {hans['others_called_star_with_stamp']} of them a "
        f"{STAMPED_CLASS}. The maps lead to the reason without any such experiment.",
    ]


def _count_table(numbers: Mapping[str, Any]) -> Table:
    """Return the counts of both networks."""
    return Table(
        f"{STAMPED_CLASS.capitalize()}s found, other shapes called {STAMPED_CLASS}, and the share of the map for "
        f"{STAMPED_CLASS} that lies on the stamp, which covers {numbers['stamp_area']:z.0%} of the picture.",
        [
            "network",
            f"of {numbers['stars']} stars: with stamp",
            "without",
            f"of {numbers['others']} others: with stamp",
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
            for name in NETWORKS
        ],
    )
