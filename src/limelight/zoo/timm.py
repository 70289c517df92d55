"""timm's classifiers."""

from pathlib import Path
from typing import Any, cast

from torch import nn

from limelight.errors import InvalidOption, MissingExtra, WeightsUnavailable, nearest
from limelight.zoo.hub import WEIGHTS, fetch_file
from limelight.zoo.names import is_file_name, no_such_model
from limelight.zoo.network import require_host, say_offline
from limelight.zoo.recipe import Recipe, labels_that_fit
from limelight.zoo.weights import Checkpoint, build_with_weights, draw_zero_weights, read_checkpoint

TRAINED_WITH = ("img_size", "input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")
"""Settings of timm's trainer that say how pictures become inputs."""


def require_timm() -> Any:
    """Return the package timm.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import timm
    except ImportError:
        raise MissingExtra("timm", "zoo") from None
    return timm


def names() -> list[str]:
    """Return the names of all architectures."""
    return require_timm().list_models()


def load(name: str, weights: str | None, **given: Any) -> Recipe:
    """Build a model with the preprocessing and labels of its checkpoint.

    Args:
        name: an architecture, with or without the tag of a checkpoint (``resnet18.a1_in1k``).
        weights: ``"DEFAULT"``, a tag, a file, or None for random weights.
        given: ``trust``, see ``limelight.load``; ``trained``, the settings that belong to the weights in a saved file.

    Raises:
        MissingExtra: timm is not installed.
        UnknownModel: no architecture of this name.
        InvalidOption: no checkpoint of this name.
        WeightsUnavailable: the checkpoint is not here and can't be fetched.
        UnsupportedModel: the weights in the file belong to another model, or it has no classes.
    """
    timm = require_timm()
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise no_such_model("timm", name, nearest(architecture, timm.list_models()))
    if weights is not None and weights != "DEFAULT" and not is_file_name(weights):
        tag = weights
    tags = [n.partition(".")[2] for n in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise InvalidOption(
            f"timm/{architecture} has no weights {tag!r}{nearest(tag, tags)} "
            f"(it has: {', '.join(tags) or 'none'}; or give a file, or None)"
        )
    full, checkpoint = f"{architecture}.{tag}" if tag else architecture, Checkpoint({})
    if weights is None:
        module = draw_zero_weights(_build(full))
    elif is_file_name(weights):
        checkpoint = read_checkpoint(weights, trust=bool(given.get("trust")))
        module = build_with_weights(lambda n: _build(full, n), checkpoint.state, f"timm/{full} from {weights}")
    else:
        module = _download(full)
    settings = checkpoint.settings if checkpoint.architecture else given.get("trained", {})
    trained = {name: settings[name] for name in TRAINED_WITH if settings.get(name)}
    config = timm.data.resolve_data_config(trained, model=module)
    classes = int(cast(Any, module).num_classes)
    return Recipe(
        module=module,
        function=timm.data.create_transform(**config, is_training=False),
        labels=labels_that_fit(checkpoint.labels, classes)
        or labels_that_fit(imagenet_labels() if classes == 1000 else None, classes),
        source={"zoo": "timm", "name": full, **({"trained": trained} if trained else {})},
    )


def imagenet_labels() -> list[str]:
    """Return the first name of each class of ImageNet, in the usual order."""
    info = require_timm().data.ImageNetInfo()
    return [str(info.index_to_description(i)).partition(",")[0] for i in range(info.num_classes())]


def _build(name: str, classes: int | None = None) -> nn.Module:
    options = {} if classes is None else {"num_classes": classes}
    return cast(nn.Module, require_timm().create_model(name, pretrained=False, **options))


def _download(name: str) -> nn.Module:
    timm = require_timm()
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise WeightsUnavailable(
            f"timm has no weights for {name}; give weights=PATH to a file, or None for random ones"
        )
    if not config.hf_hub_id:  # a plain address, which timm fetches by itself
        import torch

        file = Path(torch.hub.get_dir()) / "checkpoints" / Path(config.url).name
        if not file.is_file():
            require_host(config.url, f"timm/{name}", str(file))
        try:
            return cast(nn.Module, timm.create_model(name, pretrained=True))
        except OSError as error:
            raise WeightsUnavailable(say_offline(f"timm/{name}", f"fetching failed ({error})", str(file))) from error
    files = [config.hf_hub_filename] if config.hf_hub_filename else WEIGHTS
    file = fetch_file(config.hf_hub_id, files, f"timm/{name}")
    return cast(nn.Module, timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": str(file)}))
