"""The chapter that asks for each of several objects in one picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limelight import api
from limelight.data.synthetic import Scene, SceneObject, test_split
from limelight.pages.demo.chapter import Chapter
from limelight.pages.demo.figures import scene_figure, write_picture_table
from limelight.pages.demo.scenes import SCENES, mean, share_inside
from limelight.pages.demo.wording import name_brightest_place
from limelight.pages.page import Figure, Section
from limelight.results.explanation import Explanation

METHODS = ("grad-cam", "eigen-cam")
"""One that looks at the class, and one that never does."""

Question = tuple[Scene, SceneObject]
"""A scene, and the object in it that is asked for."""


def ask_for_each_object(out: Path) -> Chapter:
    """Explain scenes of several objects for each of their classes."""
    scenes = test_split(SCENES // 3, objects=3)
    questions = [(s, o) for s in scenes for o in s.objects]
    gallery = api.explain(
        "demo/resnet",
        [s.image for s, _ in questions],
        method=list(METHODS),
        target=[o.label for _, o in questions],
    )
    numbers: dict[str, Any] = {"scenes": len(scenes), "questions": len(questions)}
    numbers["area"] = mean(float(o.mask.mean()) for _, o in questions)
    for j, name in enumerate(METHODS):
        numbers[name] = _shares([row[j] for row in gallery], questions)
    first = [i for i, (s, _) in enumerate(questions) if s is scenes[0]]
    file = out / "objects.png"
    table = write_picture_table(
        file,
        "One picture, asked for each of its objects. Below each map: the share of it on that object.",
        ["method", "picture", *(f"asked for {questions[i][1].name}" for i in first)],
        [
            (name, [scene_figure(scenes[0]), *(_map_figure(gallery[i][j], questions[i][1]) for i in first)])
            for j, name in enumerate(METHODS)
        ],
    )
    grad, eigen = (numbers[name] for name in METHODS)
    summary = (
        f"Maps answer what is asked: of three objects, the one asked for gets {grad['on_asked_object']:z.0%} of "
        f"grad-cam, the other two {grad['on_other_objects']:z.0%} together; eigen-cam never looks at the class, and "
        f"there it is {eigen['on_asked_object']:z.0%} and {eigen['on_other_objects']:z.0%}."
    )
    blocks = [
        "A map belongs to a class, not to a picture. Ask the same network, on the same picture, for each of the "
        "objects in turn, and a good method moves to the one in question.",
        table,
        f"Over {len(questions)} such questions {grad['on_asked_object']:z.0%} of a Grad-CAM lies on the object asked "
        f"for and {grad['on_other_objects']:z.0%} on the other two together (one object covers "
        f"{numbers['area']:z.0%} of the picture). For Eigen-CAM it is {eigen['on_asked_object']:z.0%} and "
        f"{eigen['on_other_objects']:z.0%}: it "
        "never looks at the class and gives one map to all questions, however convincing it looks.",
    ]
    fact = (
        f"{grad['on_asked_object']:z.0%}",
        f"of a Grad-CAM lies on the object asked for, {grad['on_other_objects']:z.0%} on the two beside it",
    )
    return Chapter(Section("One picture, several questions", blocks), {"classes": numbers}, summary, [fact], [file])


def _shares(maps: Sequence[Explanation], questions: Sequence[Question]) -> dict[str, float]:
    """Return how much of a method's maps lies on the object asked for, and on those beside it."""
    pairs = list(zip(maps, questions, strict=True))
    return {
        "on_asked_object": mean(share_inside(e, o.mask) for e, (_, o) in pairs),
        "on_other_objects": mean(
            sum(share_inside(e, other.mask) for other in s.objects if other is not o) for e, (s, o) in pairs
        ),
    }


def _map_figure(explanation: Explanation, asked: SceneObject) -> Figure:
    """Return a map over its picture, with its share on the object asked for."""
    e = explanation
    alt = f"{e.method} asked for {e.label}: brightest at the {name_brightest_place(e)}."
    return Figure(e.overlay(), alt, f"{share_inside(e, asked.mask):z.0%} on it")
