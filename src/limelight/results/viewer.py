"""Explanations in a notebook, where their look is changed by hand: the viewer of the page of ``limelight serve``.

The page's scripts and style are data of the package and read as such: there is one viewer, and no code of ``web`` is
imported.
"""

import base64
import re
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image
from torch import Tensor

from limelight.errors import MissingExtra, NonFinite

if TYPE_CHECKING:
    from anywidget import AnyWidget

PAGE = Path(__file__).parents[1] / "web" / "page"

SCRIPTS = ("vendor/preact-htm", "js/words", "js/colour", "js/viewer", "js/notebook")
"""Those of the page's modules that the viewer needs; each imports from those before it."""

LOOK = {"colours": "viridis", "opacity": 0.75, "threshold": 0, "signed": None, "on": True}
"""How maps are drawn at first, as on the page: signed None is for and against where the method's maps are."""

_IMPORT = re.compile(r'^import (\{.+?\}) from ".*?([\w-]+)\.js";$', re.M)
_EXPORT = re.compile(r"^export (?=(?:const|function) (\w+))", re.M)
_EXPORTS = re.compile(r"export\{([^}]+)\};?\s*$")


def show(
    rows: list[dict[str, Any]], picture: Callable[[], Image.Image], still: Callable[[], bytes]
) -> "Image.Image | AnyWidget":
    """Return the viewer; or a picture, where anywidget is not installed, and say so.

    Args:
        rows: for each image ``picture``, an address; ``size``, (h, w); and ``maps`` over it, which share a cross-hair.
        picture: makes the picture.
        still: makes the PNG that is kept beside the viewer, for where a notebook is read without a kernel.
    """
    try:
        make = _widget()
    except MissingExtra as error:
        _say_once(f"limelight: this is a picture; for the viewer to play with: pip install 'limelight[{error.extra}]'")
        return picture()
    return make(rows=rows, still=still())


def in_notebook() -> bool:
    """Whether this runs in the kernel of a notebook; one in a terminal has none."""
    ipython = sys.modules.get("IPython")
    return getattr(ipython.get_ipython() if ipython else None, "kernel", None) is not None


@lru_cache(maxsize=8)
def _say_once(line: str) -> None:
    print(line)


@lru_cache(maxsize=1)
def _widget() -> "Callable[..., AnyWidget]":
    """Return what makes a viewer.

    Raises:
        MissingExtra: anywidget is not installed.
    """
    try:
        import anywidget
        import traitlets
    except ImportError:
        raise MissingExtra("anywidget", "notebook") from None

    class Viewer(anywidget.AnyWidget):
        """Maps over pictures; ``look`` is how they are drawn, in all places where it is shown."""

        _esm = join_scripts()
        css = traitlets.Unicode((PAGE / "viewer.css").read_text(encoding="utf-8")).tag(sync=True)
        rows = traitlets.Any([]).tag(sync=True)
        look = traitlets.Dict(LOOK).tag(sync=True)
        still: Any = traitlets.Bytes()

        def __repr__(self) -> str:
            return f"Viewer({', '.join(one['method'] for row in self.rows for one in row['maps'])})"

        def _repr_mimebundle_(self, **kwargs: Any) -> Any:
            data, metadata = cast(Any, super())._repr_mimebundle_(**kwargs)
            return data | {"image/png": base64.b64encode(self.still).decode()}, metadata

    return Viewer


def join_scripts() -> str:
    """Return the page's modules as one, as a notebook takes it: each a function that returns what it exports."""
    joined = ["/* With Preact (MIT, Jason Miller) and htm (Apache 2.0), whose licences come with limelight. */"]
    for script in SCRIPTS:
        text = (PAGE / f"{script}.js").read_text(encoding="utf-8")
        text = _IMPORT.sub(lambda line: f"const {line[1]} = {_name(line[2])};", text)
        given = _EXPORT.findall(text)
        text = _EXPORT.sub("", text)
        if minified := _EXPORTS.search(text):
            given = [": ".join(reversed(one.split(" as "))) for one in minified[1].split(",")]
            text = text[: minified.start()]
        if script != SCRIPTS[-1]:  # whose default export is that of all
            text = f"const {_name(script)} = (() => {{\n{text}\nreturn {{ {', '.join(given)} }};\n}})();"
        joined.append(text)
    return "\n".join(joined)


def _name(script: str) -> str:
    return "_" + script.rpartition("/")[2].replace("-", "_")


def tell_map(raw: Tensor) -> dict[str, Any]:
    """Return a map, (h, w), in half precision, of which the largest absolute value is 1; value = data * scale.

    Raises:
        NonFinite: it has NaN or infinite values.
    """
    values = raw.detach().cpu().double().numpy()
    if not np.isfinite(values).all():
        raise NonFinite("the map has values that are NaN or infinite")
    scale = float(np.abs(values).max(initial=0)) or 1.0
    data = (values / scale).astype("<f2").tobytes()
    return {
        "shape": list(values.shape),
        "scale": scale,
        "data": base64.b64encode(data).decode(),
        "low": float(values.min(initial=0)),
        "high": float(values.max(initial=0)),
    }
