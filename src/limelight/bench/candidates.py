"""The methods of a race: which are tried if none are named, and which of them the model can have."""

from collections.abc import Mapping, Sequence
from typing import Any

from limelight import api
from limelight.api.pictures import first_input
from limelight.api.targets import asked_at
from limelight.data.samples import Sample
from limelight.engine.method import Method, as_method
from limelight.errors import InvalidOption
from limelight.model.classifier import Classifier
from limelight.model.targets import Asked
from limelight.scoring.evaluate import as_list, label_each

USUAL = (
    *("grad-cam", "layer-cam", "grad-cam++", "eigen-cam", "relevance-cam", "input-x-gradient", "lrp-epsilon-plus"),
    *("attribution-equilibrium", "cluster-cam", "group-cam", "collection-cam"),
)
"""Methods that run if none are named: some of each family, from cheap to dear."""

FLOOR = ("random-map", "centre-map")
"""Maps that know nothing of the picture. They always run along and are never recommended."""

MOST_PASSES = 100
"""Passes per picture up to which a method is among the usual or the ``quick`` ones."""


def build_candidates(methods: Any, options: Mapping[str, Any]) -> list[Method]:
    """Return the methods that a user asks for, the options given to those named.

    Args:
        methods: names or methods, ``"quick"``, ``"all"``, or None for ``USUAL``.
        options: of all methods given by name.

    Raises:
        UnknownMethod: there is no such method.
        InvalidOption: one has no such option, or a single name is given where a list belongs.
    """
    if _is_collection(methods):
        names = USUAL if methods is None else [n for n, c in api.methods().items() if c.family != "baseline"]
        return [api.method(name, **options) for name in names if name != "fake-cam"]
    if isinstance(methods, str):
        raise InvalidOption(f"methods = {methods!r}; give a list of names, 'quick', 'all', or nothing")
    return [m if isinstance(m, Method) else as_method(m, **options) for m in as_list(methods, "methods")]


def find_unsuitable(
    methods: Any,
    model: Classifier,
    samples: Sequence[Sample],
    targets: Asked,
    chosen: Sequence[Method],
    progress: bool | None,
) -> dict[str, str]:
    """Return which of the chosen methods the model can't have, and why; none where the user named them.

    Args:
        methods: as the user gave them.
        model: to be explained.
        samples: the pictures, of which the first is tried.
        targets: what is explained of each.
        chosen: what ``build_candidates`` made of ``methods``.
        progress: whether to show a bar.
    """
    if not _is_collection(methods):
        return {}
    x = first_input(model, (s.image for s in samples))
    most = None if methods == "all" else MOST_PASSES
    return api.refusals(model, x, chosen, asked_at(targets, [0]), most, progress=progress)


def add_floor(model: Classifier, chosen: Sequence[Method], left_out: Mapping[str, str]) -> dict[str, Method]:
    """Return the methods that race, by name, with those of ``FLOOR``.

    Args:
        model: to be explained.
        chosen: methods.
        left_out: those of them that don't run, and why.

    Raises:
        InvalidOption: fewer than two are left that can be recommended.
    """
    methods = label_each([m.locate(model) for m in chosen if m.name not in left_out])
    controls = [name for name, m in methods.items() if is_control(m)]
    if len(methods) - len(controls) < 2:
        reasons = f" ({'; '.join(left_out.values())})" if left_out else ""
        verb = "says" if len(controls) == 1 else "say"
        alone = f"; {', '.join(controls)} {verb} nothing of the network" if controls else ""
        raise InvalidOption(f"there is nothing to choose from: a race takes at least two methods{alone}{reasons}")
    return methods | {name: api.method(name) for name in FLOOR if name not in methods}


def is_control(method: Method) -> bool:
    """Tell whether a method's maps know nothing of the network, so that it can't be recommended."""
    return method.card.family == "baseline" or method.card.name == "fake-cam"


def _is_collection(methods: Any) -> bool:
    """Tell whether the user left it to us which methods run."""
    return methods is None or methods in ("quick", "all")
