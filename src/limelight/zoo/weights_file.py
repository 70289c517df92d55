"""Models of a zoo as .safetensors files: the weights, and in the header where the model came from."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from limelight import files
from limelight.errors import UnsupportedModel
from limelight.model.classifier import Classifier
from limelight.zoo.families import build, wrap
from limelight.zoo.header import HEADER, Header
from limelight.zoo.weights import open_safetensors


def save(classifier: Classifier, header: dict[str, Any], path: Path) -> None:
    """Write a classifier's weights, and the header from which ``load`` builds it again."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

    state = {k: v.detach().cpu().clone().contiguous() for k, v in classifier.module.state_dict().items()}
    with files.whole(path) as draft:
        try:
            save_file(state, draft, {HEADER: json.dumps(header)})
        except SafetensorError as error:  # what the system says, in a message
            raise OSError(str(error)) from error


def load(path: Path, device: str | torch.device | None, trust: bool, given: dict[str, Any]) -> Classifier:
    """Build the model that the header names, with the weights in the file.

    Raises:
        UnsupportedModel: the file holds weights only, or is damaged.
    """
    header = read_header(path)
    if header is None:
        raise weights_only(path)
    with files.refusing(UnsupportedModel, _damaged(path)):
        source = dict(header.source or {})
        family, name = str(source.pop("zoo")), str(source.pop("name"))
        recipe = build(family, name, str(path), trust=trust, **source)
        recipe.module.to(getattr(torch, header.dtype))
        if header.preprocess is not None:
            recipe = replace(recipe, function=header.preprocess.build())
    if device is not None:
        recipe.module.to(device)  # what is amiss there is not the file's fault
    with files.refusing(UnsupportedModel, _damaged(path)):
        return wrap(header.name, recipe, **header.settings(given))


def read_header(path: Path) -> Header | None:
    """Read what ``save`` wrote beside the weights; None for a file that holds weights only.

    Raises:
        UnsupportedModel: the file is damaged.
    """
    with open_safetensors(path) as file:
        text = (file.metadata() or {}).get(HEADER)
    with files.refusing(UnsupportedModel, _damaged(path)):
        return None if text is None else Header.model_validate_json(text)


def _damaged(path: Path) -> str:
    return f"{path} is damaged, or not as limelight.save writes it"


def weights_only(path: Path) -> UnsupportedModel:
    """Return the error for a file that does not say which network its weights belong to."""
    return UnsupportedModel(
        f"{path} holds weights, but not the network they belong to; name it: "
        f"load('torchvision/NAME', weights={str(path)!r}), with timm/… or hf/… if it is one of these"
    )
