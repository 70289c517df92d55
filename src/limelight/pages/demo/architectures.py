"""The chapter that explains three kinds of network by the same methods."""

from pathlib import Path
from typing import Any

from limelight import api
from limelight.data.synthetic import CLASSES, test_split
from limelight.pages.demo.chapter import Chapter
from limelight.pages.demo.figures import map_figure, scene_figure, write_picture_table
from limelight.pages.demo.scenes import SCENES, first_of_each_class, mean, share_on_object
from limelight.pages.page import Section, Table

NETWORKS = ("resnet", "vgg", "vit")
METHODS = ("grad-cam", "layer-cam")


def compare_architectures(out: Path) -> Chapter:
    """Explain three kinds of network by the same methods."""
    scenes = test_split(SCENES)
    shown = first_of_each_class(scenes)
    rows = [("picture", [scene_figure(scenes[i]) for i in shown])]
    numbers: dict[str, Any] = {"scenes": SCENES}
    for name in NETWORKS:
        gallery = api.explain(f"demo/{name}", [s.image for s in scenes], method=list(METHODS))
        numbers[name] = {"right": sum(row[0].target == s.label for row, s in zip(gallery, scenes, strict=True))}
        for j, method in enumerate(METHODS):
            numbers[name][method] = mean(share_on_object(row[j], s) for row, s in zip(gallery, scenes, strict=True))
            maps = [map_figure(gallery[i][j], scenes[i], gallery[i][j].title) for i in shown]
            rows.append((f"{name}, {method}", maps))
    file = out / "architectures.png"
    table = write_picture_table(
        file,
        "Three networks, two methods. Below each map: the network’s answer.",
        ["network", *(CLASSES[scenes[i].label] for i in shown)],
        rows,
    )
    blocks = [
        "The same methods read convolutions with shortcuts (`demo/resnet`), plain convolutions with fully connected "
        "layers behind them (`demo/vgg`) and a vision transformer (`demo/vit`), whose tokens are put back on "
        "their grid. No setting was changed between them.",
        table,
        Table(
            f"Right answers, and the share of the maps on the object, mean of {SCENES} scenes.",
            ["network", "right", *METHODS],
            [
                [f"`demo/{name}`", numbers[name]["right"], *(f"{numbers[name][m]:z.0%}" for m in METHODS)]
                for name in NETWORKS
            ],
        ),
    ]
    return Chapter(Section("Three architectures", blocks), {"architectures": numbers}, files=[file])
