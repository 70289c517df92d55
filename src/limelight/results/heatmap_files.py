"""Maps as files that other programs read: grey PNGs, and a list of them."""

import json
from collections.abc import Sequence
from os import PathLike, path
from pathlib import Path

import numpy as np
from PIL import Image

from limelight import draw, files
from limelight.errors import InvalidOption
from limelight.results.explanation import Explanation
from limelight.results.pictures import to_array

LIST = "heatmaps.json"
LARGEST = 255
"""Of a grey value, which stands for a map's 1."""


def save_heatmaps(
    explanations: Sequence[Explanation],
    folder: str | PathLike[str],
    pictures: Sequence[str | PathLike[str]] | None = None,
) -> Path:
    """Write maps as grey PNGs of 8 bits and a JSON list of them, as ``fiftyone.Heatmap`` reads them.

    Each entry of ``heatmaps`` has ``filepath``, the picture; ``map_path``, its map, which covers the whole of it;
    ``range``, the grey values of no and of all evidence; ``method``, ``label``, ``target``, ``score``, ``probability``
    and ``reason``. Paths are relative to the folder of the list.

    Args:
        explanations: of pictures.
        folder: is made.
        pictures: the file of each picture, on the whole of which the map is laid, 0 where the network did not look.
            None: the network's inputs are written beside the maps.

    Returns:
        The list, ``heatmaps.json``.

    Raises:
        InvalidOption: not one file per explanation, or nothing is known of the original.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "grad-cam")
        >>> listing = save_heatmaps([explanation], "heatmaps")
        >>> json.loads(listing.read_text())["heatmaps"][0]["map_path"]
        'map-0000.png'
    """
    if pictures is not None and len(pictures) != len(explanations):
        raise InvalidOption(f"{len(pictures)} pictures for {len(explanations)} explanations; give the file of each")
    folder = Path(folder)
    entries = [
        _write(e, i, folder, None if pictures is None else Path(pictures[i])) for i, e in enumerate(explanations)
    ]
    return files.write(folder / LIST, json.dumps({"heatmaps": entries}, indent=1))


def _write(explanation: Explanation, number: int, folder: Path, picture: Path | None) -> dict[str, object]:
    """Write one map, and the network's input where there is no other picture; return its entry."""
    ground = explanation.ground("input" if picture is None else "original")
    values = ground.map(to_array(explanation.map)).clip(0, 1)
    name = f"map-{number:04d}.png"
    files.write(folder / name, draw.to_png_bytes(Image.fromarray(np.rint(values * LARGEST).astype(np.uint8))))
    if picture is None:
        picture = folder / f"picture-{number:04d}.png"
        files.write(picture, draw.to_png_bytes(Image.fromarray(ground.pixels)))
    known = explanation.settings()
    return {
        "filepath": Path(path.relpath(picture, folder)).as_posix(),
        "map_path": name,
        "range": [0, LARGEST],
        "method": explanation.method,
        **{key: known[key] for key in ("label", "target", "score", "probability", "reason")},
    }
