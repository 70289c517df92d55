"""What the page asks of the network of an inspection, which is told from others by its weights."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from limelight import zoo
from limelight.bench.store import Store
from limelight.errors import InvalidOption, LimelightError
from limelight.model.classifier import Classifier
from limelight.web.studio import explaining, studio
from limelight.web.studio.asked import Request
from limelight.web.studio.explaining import Events
from limelight.web.studio.functions import FUNCTIONS as OF_ANY


class Studio(studio.Studio):
    """The network of an inspection, maybe beside others.

    Args:
        models: names.
        read: a picture's name -> the path of its file.
        loading: ``inspection``, the folder; ``noted``, whether it says how the network is loaded; all else is for
            ``limelight.load``.
    """

    def __init__(self, models: Sequence[str], read: Callable[[str], Path], loading: Mapping[str, Any]) -> None:
        super().__init__(models, read, {k: v for k, v in loading.items() if k not in ("inspection", "noted")})
        self._store, self._noted = Store(loading["inspection"]), loading["noted"]

    def load(self, name: str) -> Classifier:
        """Load a network.

        Raises:
            InvalidOption: the inspection names it, and it can't be loaded so, or is in files that are not trusted.
        """
        if not self._noted:
            return super().load(name)
        if self._store.notes.get("model") is None and not zoo.needs_no_trust(name, None):
            raise InvalidOption(f"{name}, which was inspected, was given as a module; say with --model what loads it")
        weights = self._loading.get("weights")
        own = weights == self._store.notes.get("load", {}).get("weights")  # and not said on the command line
        if not self._loading.get("trust") and not zoo.needs_no_trust(name, weights if own else None):
            raise InvalidOption(f"the inspection names files for {name}, which are opened with `--trust` only")
        try:
            return super().load(name)
        except LimelightError as error:
            raise InvalidOption(f"the inspection's model: {error}; say with --model what it is now") from error

    def inspected(self) -> str:
        """Return the name of the network that was inspected.

        Raises:
            InvalidOption: none has its weights.
        """
        digest, name = (self._store.settings[key] for key in ("weights", "model"))
        for one in self.models:
            if f"sha256:{self.classifier(one).weights_hash()}" == digest:
                return one
        if self._noted:
            raise InvalidOption(f"the weights of {name} are other than those that were inspected; inspect it again")
        raise InvalidOption(f"none of the models has the weights that were inspected; name {name} with --model, too")


def start(studio: Studio, request: Request) -> Events:
    """Tell what there is, and which of the networks was inspected."""
    for kind, said in explaining.start(studio, request):
        yield kind, said | {"inspected": studio.inspected()} if kind == "result" else said


FUNCTIONS = {**OF_ANY, "start": start}
