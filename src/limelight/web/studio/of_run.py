"""What the page asks of the networks of a run: all that it asks of others; they are loaded as they were measured."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from limelight.bench.plan import load_measured
from limelight.bench.store import Store, recipe_of
from limelight.errors import InvalidOption
from limelight.model.classifier import Classifier
from limelight.web.studio import explaining, studio
from limelight.web.studio.asked import Request
from limelight.web.studio.explaining import Events
from limelight.web.studio.functions import FUNCTIONS as OF_ANY


class Studio(studio.Studio):
    """The networks of a run.

    Args:
        models: names.
        read: a picture's name -> the path of its file.
        loading: ``run``, the folder, and ``device``, ``trust`` and ``weights`` for ``load_measured``.
    """

    def __init__(self, models: Sequence[str], read: Callable[[str], Path], loading: Mapping[str, Any]) -> None:
        super().__init__(models, read)
        self._given = {name: value for name, value in loading.items() if name != "run"}
        self._store = Store(loading["run"])
        self._recipe, self._weights = recipe_of(self._store), self._store.notes.get("weights", {})

    def load(self, name: str) -> Classifier:
        """Load a network as it was measured.

        Raises:
            InvalidOption: its weights are others by now, or it is in files that are not trusted.
        """
        try:
            return load_measured(self._recipe, name, self._weights.get(name), **self._given)
        except InvalidOption as error:
            raise InvalidOption(f"{name}: {error}") from error

    def code(self, name: str) -> str | None:
        """Return lines of Python that load a network as it was measured; None where its name says all."""
        recipe = self._recipe
        loaded = recipe.loading(name).model_dump() or recipe.weights(name) != "DEFAULT" or self._given != _USUAL
        if recipe.preprocess is None and recipe.models.multilabel is None and not loaded:
            return None
        given = ", ".join(f"{option}={value!r}" for option, value in (_USUAL | self._given).items())
        return (
            "from limelight.bench.plan import load_model\n"
            "from limelight.bench.store import Store, recipe_of\n\n"
            f"recipe = recipe_of(Store({str(self._store.folder.absolute())!r}))\n"
            f"model = load_model(recipe, {name!r}, {given})\n"
        )


_USUAL = {"device": None, "trust": False, "weights": None}


def explain(studio: Studio, request: Request) -> Events:
    """Explain a picture, with code that loads the network as it was measured."""
    for kind, said in explaining.explain(studio, request):
        code = studio.code(request["model"]) if "python" in said else None
        if code is not None:
            called = f"ll.explain({request['model']!r}, "
            start, end = said["python"].replace(called, "ll.explain(model, ").split("\n\n", 1)
            said = said | {"python": f"{start}\n{code}{end}", "command": None}
        yield kind, said


FUNCTIONS = {**OF_ANY, "explain": explain}
