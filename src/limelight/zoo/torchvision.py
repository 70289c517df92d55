"""torchvision's classifiers."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable
from urllib.error import URLError
from urllib.parse import urlsplit

import torch
from PIL import Image
from torch import Tensor, nn

from limelight.errors import InvalidOption, WeightsUnavailable, nearest
from limelight.zoo.names import is_file_name, no_such_model
from limelight.zoo.network import require_host, say_offline
from limelight.zoo.recipe import Recipe, labels_that_fit
from limelight.zoo.weights import Checkpoint, build_with_weights, draw_zero_weights, read_checkpoint

AUXILIARY = ("googlenet", "inception_v3")
"""Models with auxiliary heads for training, which warn unless told how to draw their weights."""


def names() -> list[str]:
    """Return the names of all classifiers."""
    from torchvision import models

    return models.list_models(module=models)


def load(name: str, weights: str | None, **given: Any) -> Recipe:
    """Build a model with the preprocessing and labels of its checkpoint.

    Args:
        name: a name in ``names()``.
        weights: ``"DEFAULT"``, a name such as ``"IMAGENET1K_V2"``, a file, or None for random weights.
        given: ``trust``, see ``limelight.load``; ``entry``, the checkpoint whose preprocessing belongs to the weights
            in a saved file.

    Raises:
        UnknownModel: no classifier of this name.
        InvalidOption: no checkpoint of this name.
        WeightsUnavailable: the checkpoint is not here and can't be fetched.
        UnsupportedModel: the weights in the file belong to another model.
    """
    if name not in names():
        raise no_such_model("torchvision", name, nearest(name, names()))
    entries = _checkpoints(name)
    from_file = weights is not None and is_file_name(weights)
    entry_name = given.get("entry", "DEFAULT") if weights is None or from_file else weights
    if entry_name not in entries:
        known = [*entries]
        raise InvalidOption(
            f"{name} has no weights {entry_name!r}{nearest(entry_name, known)} "
            f"(it has: {', '.join(known)}; or give a file, or None)"
        )
    entry, checkpoint = entries[entry_name], Checkpoint({})
    if weights is None:
        module = draw_zero_weights(_build(name, **_sized(name, int(entry.meta["min_size"][0]))))
    elif from_file:
        checkpoint = read_checkpoint(weights, trust=bool(given.get("trust")))
        state = checkpoint.state
        options = _options(name, state)
        module = build_with_weights(lambda n: _build(name, n, **options), state, f"torchvision/{name} from {weights}")
        side = options.get("image_size", entry.meta["min_size"][0])
        entry = next((e for e in (entry, *entries.values()) if e.meta["min_size"][0] == side), entry)
    else:
        module = _download(name, entry)
    transforms = entry.transforms()
    classes = _classes(module)
    return Recipe(
        module=module,
        function=transforms,
        labels=labels_that_fit(checkpoint.labels, classes) or labels_that_fit(entry.meta.get("categories"), classes),
        source={"zoo": "torchvision", "name": name, "entry": entry.name},
    )


@runtime_checkable
class _Checkpoint(Protocol):
    """Trained weights of a model, and what belongs to them."""

    @property
    def name(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def meta(self) -> dict[str, Any]: ...
    @property
    def transforms(self) -> Callable[[], Callable[[Image.Image], Tensor]]: ...


def _checkpoints(name: str) -> Mapping[str, _Checkpoint]:
    """Return the checkpoints of a model by name; ``DEFAULT`` is a second name of one of them."""
    from torchvision import models

    entries = models.get_model_weights(name)  # pyright: ignore[reportUnknownMemberType]
    return cast(Mapping[str, _Checkpoint], entries.__members__)


def _build(name: str, classes: int | None = None, **options: Any) -> nn.Module:
    from torchvision import models

    if classes is not None:
        options["num_classes"] = classes
    if name in AUXILIARY:
        options = {"init_weights": True, "aux_logits": False} | options
    return models.get_model(name, weights=None, **options)


def _sized(name: str, side: int) -> dict[str, Any]:
    """Return the option for models that are built for one size of input."""
    return {"image_size": side} if name.startswith("vit_") else {}


def _options(name: str, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read off a state dict how its model was built."""
    if name in AUXILIARY:
        return {"aux_logits": any(key.lower().startswith("aux") for key in state)}
    if {"encoder.pos_embedding", "conv_proj.weight"} <= set(state):
        patches = state["encoder.pos_embedding"].shape[1] - 1
        return _sized(name, round(patches**0.5) * int(state["conv_proj.weight"].shape[-1]))
    return {}


def _download(name: str, entry: _Checkpoint) -> nn.Module:
    from torchvision import models

    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(entry.url).path).name
    what = f"torchvision/{name} ({entry.name})"
    if not file.is_file():
        require_host(entry.url, what, str(file))
    try:
        return models.get_model(name, weights=entry)
    except URLError as error:
        raise WeightsUnavailable(say_offline(what, f"fetching them failed ({error})", str(file))) from error


def _classes(module: nn.Module) -> int:
    """Number of outputs: those of the last layer that has weights."""
    layers = [m for m in module.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    return int(layers[-1].weight.shape[0])
