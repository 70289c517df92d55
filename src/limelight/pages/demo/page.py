"""The page of the demonstration: its chapters in their order, and what stands around them."""

import platform
import shlex
from collections.abc import Sequence
from pathlib import Path

import torch

import limelight
from limelight.pages.demo.architectures import compare_architectures
from limelight.pages.demo.chapter import Chapter
from limelight.pages.demo.cheat import expose_cheat
from limelight.pages.demo.methods import compare_methods
from limelight.pages.demo.objects import ask_for_each_object
from limelight.pages.demo.reading import show_how_to_read
from limelight.pages.demo.scenes import SCENES
from limelight.pages.demo.trust import evaluate_maps
from limelight.pages.page import Code, Facts, Section, write_page

CHAPTERS = (
    show_how_to_read,
    expose_cheat,
    ask_for_each_object,
    compare_methods,
    evaluate_maps,
    compare_architectures,
)
"""In the order of the page; each takes the folder for its pictures."""


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


def write(out: Path, chapters: Sequence[Chapter], seconds: float) -> Path:
    """Write the page and return its path."""
    beginning = [
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
    file = out / "index.html"
    write_page(file, "Where does a network look?", beginning, [*(c.section for c in chapters), end], footer)
    return file
