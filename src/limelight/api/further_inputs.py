"""Read what a network takes beside the picture that is explained."""

import inspect
from collections.abc import Mapping
from os import PathLike
from typing import Any, cast

import torch
from PIL import Image

from limelight.api.pictures import as_input
from limelight.data.collect import list_pictures
from limelight.model.classifier import Classifier
from limelight.ops.arrays import is_tensor_or_array


def split_inputs(model: Classifier, given: Any, beside: Mapping[str, Any] | None) -> tuple[Any, dict[str, Any]]:
    """Return the picture, or pictures, and what goes beside them, of inputs that are given by name.

    Args:
        model: the network, which knows which of its inputs is the picture.
        given: pictures, or all inputs by name.
        beside: further inputs by name.

    Raises:
        InvalidOption: it can't be told which one is the picture, or one is given twice.
    """
    if not isinstance(given, Mapping):
        return given, dict(beside or {})
    known = inspect.signature(model.module.forward).parameters
    name = model.feed.name or next(iter(known), None)
    if name not in given and (list_pictures(given) is not None or len(known) == 1):
        return cast(Any, given), dict(beside or {})  # pictures with their classes; or what says itself that it is none
    return model.feed.split(model.module, cast(Mapping[str, Any], given), beside)


def read_further(model: Classifier, beside: Mapping[str, Any]) -> Classifier:
    """Return the network with further inputs, of which those that are pictures are preprocessed as the first one.

    Args:
        model: the network.
        beside: tensors or arrays with a row for each picture, or pictures.
    """
    return model.with_inputs({name: _as_rows(model, values) for name, values in beside.items()})


def _as_rows(model: Classifier, values: Any) -> Any:
    if is_tensor_or_array(values):
        return values
    pictures = list_pictures(values)
    given_pictures = [values] if pictures is None else pictures
    if all(isinstance(one, str | PathLike | Image.Image) for one in given_pictures):
        return torch.stack([as_input(model, one) for one in given_pictures])
    return values
