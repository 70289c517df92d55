"""A model in an .onnx file: a module with layers and gradients if it can be converted, else a black box."""

import ast
import importlib
import json
import math
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limelight import files
from limelight.errors import ConversionWarning, MissingExtra, UnsupportedModel
from limelight.model.black_box import BlackBox, open_onnx
from limelight.model.classifier import Classifier
from limelight.zoo import onnx_module

TOLERANCE = {torch.float16: 2e-2}
"""Share of the largest score by which the scores of a converted model may differ; 0.001 in other types."""

NAMES = ("names", "labels", "classes", "class_names", "id2label")
"""Under which exporters keep the names of classes in a model's metadata."""


def load(path: Path, device: str | torch.device | None, whitebox: bool, given: dict[str, Any]) -> Classifier:
    """Read an ONNX model.

    Args:
        path: of the file.
        device: where to put the module.
        whitebox: whether it is converted; if that fails a warning says why, and it is a black box.
        given: arguments of the user's for ``Classifier``.

    Raises:
        MissingExtra: onnxruntime is not installed.
        UnsupportedModel: the file is damaged, takes no images, or is to have a layer but can't be converted.
    """
    session = open_onnx(path)
    settings = _settings(session, path, given)
    if not whitebox:
        return _black_box(session, settings, "it was asked for")
    try:
        model = _read(path)
        module = onnx_module.convert(model)
        difference = compare(module, session, settings.get("size", 224))
    except (UnsupportedModel, MissingExtra) as error:
        if "layer" in settings:
            raise UnsupportedModel(f"{path} has no layers: {error}") from error
        warnings.warn(f"{path.name} is a black box, without layers and gradients: {error}", ConversionWarning, 2)
        return _black_box(session, settings, str(error))
    layers = onnx_module.layer_names(model)
    if isinstance(settings.get("layer"), str):
        settings["layer"] = layers.get(settings["layer"], settings["layer"])
    classifier = Classifier(module if device is None else module.to(device), **settings)
    classifier.origin = (
        f"converted from ONNX, opset {onnx_module.opset_of(model)}, {len(layers)} operations; scores of noise differ "
        f"from ONNX Runtime's by at most {difference:z.1e} of the largest"
    )
    return classifier


def compare(module: nn.Module, session: Any, size: Any) -> float:
    """Return by how much the outputs of a converted module differ from ONNX Runtime's, as a share of the largest.

    Args:
        module: the converted one.
        session: of ONNX Runtime.
        size: side of the pictures of noise, or one for each axis.

    Raises:
        UnsupportedModel: they differ by more than rounding, or one of the two fails.
    """
    free = not isinstance(session.get_inputs()[0].shape[0], int)
    worst, dtype = 0.0, torch.float32
    for coarse, n in ((8, 1), (2, 1), (1, 1), (4, 2), (1, 2)):
        if n == 1 or free:
            x = _noise(session, n, size, coarse)
            dtype, wanted = x.dtype, _run(session, x)
            try:
                with torch.no_grad():
                    output: Any = module(x)
            except Exception as error:  # it raises what PyTorch raises
                why = files.reason_of(error)
                raise UnsupportedModel(f"what it was converted to fails for a batch of {n}: {why}") from error
            returned: list[Any] = list(output.values()) if isinstance(output, dict) else [output]  # pyright: ignore
            if [getattr(t, "shape", None) for t in returned] != [t.shape for t in wanted]:
                raise UnsupportedModel(f"what it was converted to returns something else for a batch of {n}")
            worst = max([worst, *map(_difference, returned, wanted)])
    if not worst <= TOLERANCE.get(dtype, 1e-3):
        raise UnsupportedModel(
            f"what it was converted to gives other scores than ONNX Runtime: they differ by {worst:z.2g} of the largest"
        )
    return worst


def _difference(ours: Tensor, theirs: Tensor) -> float:
    if not theirs.numel() or torch.equal(ours, theirs):
        return 0.0
    gap, largest = float((ours.double() - theirs.double()).abs().max()), float(theirs.double().abs().max())
    return gap / largest if gap < math.inf and largest > 0 else math.inf


def _noise(session: Any, n: int, size: Any, coarse: int) -> Tensor:
    """Return images of normalised noise, in squares of so many pixels."""
    given = session.get_inputs()[0]
    dtype = {"tensor(double)": torch.float64, "tensor(float16)": torch.float16}.get(given.type, torch.float32)
    sides: list[int] = [size] * (len(given.shape) - 2) if isinstance(size, int) else [*size]
    channels = given.shape[1] if isinstance(given.shape[1], int) else 3
    fewer = [max(1, side // coarse) for side in sides]
    noise = torch.randn(n, channels, *fewer, generator=torch.Generator().manual_seed(coarse))
    return nn.functional.interpolate(noise, sides).to(dtype)


def _run(session: Any, x: Tensor) -> list[Tensor]:
    """Return what ONNX Runtime gives for images."""
    with files.refusing(UnsupportedModel, f"ONNX Runtime fails with images of shape {tuple(x.shape)}"):
        outputs: list[Any] = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    return [torch.as_tensor(np.asarray(one)) for one in outputs]


def _black_box(session: Any, settings: Mapping[str, Any], why: str) -> BlackBox:
    options = {key: value for key, value in settings.items() if key != "layer"}
    if "outputs" not in options and not isinstance(session.get_inputs()[0].shape[0], int):
        scores = _run(session, _noise(session, 1, options.get("size", 224), 4))[0].flatten(1).float()
        sums_to_one = scores.shape[1] > 1 and bool((scores >= 0).all() and (scores.sum(1) - 1).abs().max() < 1e-4)
        options["outputs"] = "probabilities" if sums_to_one else "logits"
    box = BlackBox.onnx(session, **options)
    box.origin = f"a black box, without layers and gradients: {why}"
    return box


def _read(path: Path) -> Any:
    """Return an ``onnx.ModelProto``, with the weights that lie beside it."""
    try:
        onnx: Any = importlib.import_module("onnx")
    except ImportError:
        raise MissingExtra("onnx", "onnx") from None
    with files.refusing(UnsupportedModel, f"{path} can't be read"):
        return onnx.load(str(path))


def _settings(session: Any, path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments for a classifier: what the user gives goes before what the file says."""
    inputs: list[Any] = session.get_inputs()
    shape: Any = inputs[0].shape if inputs else ()
    if len(inputs) != 1 or len(shape) < 3:
        takes = ", ".join(f"{one.name} {one.shape}" for one in inputs) or "nothing"
        raise UnsupportedModel(f"{path} takes {takes}; expected one input, images (n, channels, …)")
    if isinstance(shape[1], int) and shape[1] > 4 and shape[-1] in (1, 3, 4):
        raise UnsupportedModel(
            f"{path} takes images of shape {shape}, with the channels last; export it with channels first "
            "(tf2onnx: --inputs-as-nchw)"
        )
    said: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
    size: Any = shape[2:]
    if not all(isinstance(side, int) for side in size):  # it takes any
        size = _literal(said.get("imgsz", ""))
    if not isinstance(size, list | tuple) or not all(isinstance(side, int) for side in size):  # pyright: ignore
        size = None
    named: list[Any] = [_names(said.get(key, "")) for key in NAMES]
    labels = next((names for names in named if names), None)
    classes: list[Any] = session.get_outputs()[0].shape[-1:]
    if labels is not None and classes not in ([len(labels)], []) and isinstance(classes[0], int):
        labels = None  # names of something else
    read: dict[str, Any] = {"name": path.name, "size": tuple(size) if size else None, "labels": labels}  # pyright: ignore
    said_now = {key: value for key, value in given.items() if value is not None}
    return {key: value for key, value in (read | said_now).items() if value is not None}


def _names(text: str) -> Any:
    """Return the names of classes in a text: a list or a dict, of JSON or Python, or names with commas or lines."""
    content = _literal(text)
    if isinstance(content, dict | list | tuple):
        return content if isinstance(content, dict) else [str(one) for one in content]  # pyright: ignore
    parts = [one.strip() for one in (text.splitlines() if "\n" in text.strip() else text.split(","))]
    return [one for one in parts if one] if len(parts) > 1 else None


def _literal(text: str) -> Any:
    with suppress(ValueError):
        return json.loads(text)
    with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
        return ast.literal_eval(text)
    return None
