"""The models that come with the package, as a family like the others."""

from typing import Any

from limelight.errors import InvalidOption
from limelight.model.preprocess import Preprocess
from limelight.zoo import demo
from limelight.zoo.names import is_file_name
from limelight.zoo.recipe import Recipe, labels_that_fit
from limelight.zoo.weights import build_with_weights, draw_zero_weights, read_state


def names() -> list[str]:
    """Return the names of the embedded models."""
    return list(demo.NAMES)


def load(name: str, weights: str | None, **given: Any) -> Recipe:
    """Build an embedded model; its pictures fill the input, so nothing is cropped away.

    Args:
        name: one of ``names()``.
        weights: ``"DEFAULT"``, a file, or None for random weights.
        given: nothing; other families are told here how their weights in a saved file were made.

    Raises:
        UnknownModel: no embedded model has this name.
        InvalidOption: the weights are neither DEFAULT nor a file nor None.
        WeightsUnavailable: there is no such file.
        UnsupportedModel: the weights in the file belong to another model.
    """
    if weights not in (None, "DEFAULT") and not is_file_name(weights):
        raise InvalidOption(f"demo/{name} has no weights {weights!r}; give DEFAULT, a file, or None")
    classes = 10
    if weights == "DEFAULT":
        module, about = demo.load(name)
    elif weights is None:
        module, about = draw_zero_weights(demo.build(name)), {}
    else:
        module = build_with_weights(
            lambda n: demo.build(name, n or classes), read_state(weights), f"demo/{name} from {weights}"
        )
        about = {}
    known: dict[str, Any] = {"mean": demo.MEAN, "std": demo.STD, "size": demo.SIZE}
    about = known | about
    size, mean, std = int(about["size"]), tuple(about["mean"]), tuple(about["std"])
    return Recipe(
        module=module,
        function=Preprocess(size, size, mean, std),
        labels=labels_that_fit(about.get("classes"), classes),
        source={"zoo": "demo", "name": name},
    )
