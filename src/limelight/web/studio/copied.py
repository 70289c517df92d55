"""Code that makes an explanation again, for whoever copies it."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np

from limelight.api import example_image
from limelight.data.images import load_image
from limelight.data.synthetic import MOST_SCENES
from limelight.errors import InvalidImage
from limelight.model.classifier import Classifier
from limelight.web.studio.asked import Target
from limelight.web.studio.studio import Told


def python(one: Told, name: str | None = None) -> str:
    """Return lines of Python that make the very same map.

    Args:
        one: the explanation.
        name: of the picture's file; None for its path. Of a drawn scene the number says all.
    """
    image = scene_of(one.look.path) or repr(name or str(one.look.path))
    loaded = [repr(one.look.model), *(f"{option}={_value(value)}" for option, value in one.look.loading.items())]
    model = f"ll.load({', '.join(loaded)})" if one.look.loading else loaded[0]
    arguments = [model, image, repr(one.method.name)]
    if one.target.given or one.target.other is not None:
        arguments.append(f"target={_target(one.target, one.look.classifier)}")
    arguments += [f"{option}={_value(value)}" for option, value in one.options.items()]
    return f"import limelight as ll\n\nexplanation = ll.explain({', '.join(arguments)})\n"


def command(one: Told, name: str | None = None) -> str | None:
    """Return a line for the command line that makes the very same map; None where it has no words for it."""
    loading = _loading(one.look.loading)
    if loading is None:
        return None
    scene = scene_of(one.look.path)
    file = one.look.path.name if scene else name or str(one.look.path)
    words = ["limelight", "explain", file, "--model", one.look.model, "--method", one.method.name]
    if one.target.given or one.target.other is not None:
        words += ["--target", str(_class(one.target.index, one.look.classifier))]
    if one.target.other is not None:
        words += ["--against", str(_class(one.target.other, one.look.classifier))]
        words += ["--finer"] * (one.target.kind == "finer")
    for option, value in one.options.items():
        if option == "layer":
            words += ["--layer", value if isinstance(value, str) else ",".join(value)]
        else:
            words += ["-p", f"{option}={_written(value)}"]
    line = " ".join(map(shlex.quote, words + loading))
    draw = shlex.quote(f"import limelight as ll; {scene}.save({file!r})")
    return f"python -c {draw} && {line}" if scene else line


def _loading(loading: Mapping[str, Any]) -> list[str] | None:
    """Return the words by which a network is loaded so; None where there are commas in what commas divide."""
    words: list[str] = []
    for option, value in loading.items():
        if isinstance(value, bool):
            words.append(f"--{option}")
            continue
        parts = [str(v) for v in cast(Sequence[Any], value)] if isinstance(value, list | tuple) else [str(value)]
        if len(parts) > 1 and any("," in part for part in parts):
            return None
        words += [f"--{option}", ("x" if option == "size" else ",").join(parts)]
    return words


@lru_cache(1000)
def scene_of(path: Path) -> str | None:
    """Return the call that draws the scene that a file shows to the last pixel, if its name ends in the number of one.

    A name may have ``-watermark`` behind the number.
    """
    match = re.search(r"(\d{1,9})(-watermark)?$", path.stem)
    if not match or int(match[1]) >= MOST_SCENES:
        return None
    number, watermark = int(match[1]), bool(match[2])
    try:
        same = np.array_equal(np.asarray(load_image(path)), np.asarray(example_image(number, watermark=watermark)))
    except InvalidImage:  # not what Pillow reads alone
        return None
    return f"ll.example_image({number}{', watermark=True' * watermark})" if same else None


def _target(target: Target, classifier: Classifier) -> str:
    first = repr(_class(target.index, classifier))
    if target.other is None:
        return first
    other = repr(_class(target.other, classifier))
    return (
        f"ll.targets.finer({first}, others={other})"
        if target.kind == "finer"
        else f"ll.targets.margin({first}, {other})"
    )


def _class(index: int, classifier: Classifier) -> int | str:
    """Return a class's label where no other has it, else its index."""
    labels = classifier.labels or ()
    plain = index < len(labels) and labels.count(labels[index]) == 1 and labels[index].isprintable()
    return labels[index] if plain else index


def _value(value: Any) -> str:
    """Write a value of JSON in Python."""
    return repr(tuple(cast(list[Any], value)) if isinstance(value, list) else value)


def _written(value: Any) -> str:
    """Write a value as the command line reads it: a text as it is unless it would be read as JSON."""
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return value
    return json.dumps(value)
