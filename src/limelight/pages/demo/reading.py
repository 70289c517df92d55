"""The chapter that shows how to read a map."""

from pathlib import Path

from PIL import Image

from limelight import api
from limelight.data.synthetic import CLASSES, test_split
from limelight.pages.demo.chapter import Chapter
from limelight.pages.demo.figures import scene_figure, write_image
from limelight.pages.demo.scenes import share_on_object
from limelight.pages.demo.wording import name_brightest_place
from limelight.pages.page import Figure, Figures, Section


def show_how_to_read(out: Path) -> Chapter:
    """Show one map in four ways."""
    scene = test_split(1)[0]
    e = api.explain("demo/resnet", scene.image)
    name, place = CLASSES[scene.label], name_brightest_place(e)
    views = [
        scene_figure(scene, "What the network is given."),
        Figure(e.view("map"), f"The map alone, brightest at the {place}.", "The map: bright is evidence."),
        Figure(e.view("overlay"), f"The map laid over the {name}.", "The two together, as on all of this page."),
        Figure(e.view("contour"), f"A line around the {place}.", "The strongest tenth of the area."),
    ]
    file = write_image(out / "scene.png", Image.fromarray(scene.image))
    text = (
        f"The network says {e.label}, with a probability of {e.probability:z.2f}. A saliency map answers the question "
        "which parts of the picture that score came from: the brighter a place, the more it spoke for the answer."
    )
    more = (
        f"Of this map {share_on_object(e, scene):z.0%} lies on the {name}, which covers "
        f"{scene.mask_of(scene.label).mean():z.0%} of the "
        "picture. The map is computed on a coarse grid of the network’s last layer and then enlarged, so it is "
        "soft and reaches over edges. It shows where the evidence is, not how sure the network is: "
        "every map is scaled so that its own strongest place is brightest."
    )
    return Chapter(Section("How to read a map", [text, Figures(views), more]), {}, files=[file])
